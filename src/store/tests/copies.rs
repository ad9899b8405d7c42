//! Copies of a vault's files. The test binaries include this file.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

/// Of files that nobody writes.
#[allow(dead_code, reason = "not every test binary uses it")]
pub(crate) fn copy_directory(from: &Path, to: &Path) {
    try_copy(from, to).unwrap();
}

/// The files as they were at one moment, while a vault is at work on them.
///
/// The storage engine writes beside its callers. A copy made meanwhile had newer bytes behind older ones, across syncs, as
/// no crash leaves them, and did not open: seen once.
pub(crate) fn copy_of_one_moment(from: &Path, to: &Path) {
    for _ in 0..200 {
        match try_copy(from, to) {
            // What is the same before and after was there at the moment between.
            Ok(()) if is_copy(from, to) => return,
            Ok(()) => {}
            // A file went meanwhile.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}"),
        }
        fs::remove_dir_all(to).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the files of {} never rest", from.display());
}

fn try_copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            try_copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

fn is_copy(from: &Path, to: &Path) -> bool {
    names(from) == names(to)
        && names(to).iter().flatten().all(|name| {
            let (from, to) = (from.join(name), to.join(name));
            if to.is_dir() {
                is_copy(&from, &to)
            } else {
                fs::read(from).ok() == fs::read(to).ok()
            }
        })
}

fn names(directory: &Path) -> Option<Vec<std::ffi::OsString>> {
    let entries = fs::read_dir(directory).ok()?;
    let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name())).collect();
    let mut names = names.ok()?;
    names.sort_unstable();
    Some(names)
}
