//! The files of a vault: how long they are, and how they leave the page cache.

use std::fs::File;
use std::path::Path;

use rustix::fs::{Advice, fadvise};

/// The length of all of them.
pub(crate) fn bytes(path: &Path) -> f64 {
    let mut bytes = 0;
    each(path, &mut |file| {
        bytes += file.metadata().expect("facts").len();
    });
    bytes as f64
}

/// What is not in use by anybody leaves the page cache, once it is on the disk. Whether it did shows in what has to be
/// read again.
pub(crate) fn forget(path: &Path) {
    each(path, &mut |file| {
        file.sync_all().expect("synced");
        fadvise(&file, 0, None, Advice::DontNeed).expect("the system is asked");
    });
}

/// What is read comes into the page cache.
pub(crate) fn remember(path: &Path) {
    each(path, &mut |mut file| {
        std::io::copy(&mut file, &mut std::io::sink()).expect("read");
    });
}

fn each(path: &Path, visit: &mut impl FnMut(File)) {
    for entry in std::fs::read_dir(path).expect("the vault's files") {
        let entry = entry.expect("the vault's files");
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            each(&entry.path(), visit);
        } else if kind.is_file() {
            visit(File::open(entry.path()).expect("a file"));
        }
    }
}
