//! Directories of a process that disappear with it, even if it was killed.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What the directories in use are called. They get this name when their lock is held already.
const PREFIX: &str = "strongroom-tests-";
const LOCK: &str = "in-use";

/// A directory that is removed when it is dropped; if the process ends without that, by the next process that makes
/// one beside it.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    /// Locked as long as the directory is in use.
    _lock: File,
}

impl Scratch {
    /// On a file system in memory if there is one: SoftHSM2 syncs every object it writes.
    pub(crate) fn in_memory() -> Self {
        Self::at_best(Path::new("/dev/shm"))
    }

    /// Where shared libraries may be loaded from, for file systems in memory often forbid that: beside this
    /// executable.
    pub(crate) fn executable() -> Self {
        Self::at_best(&executables())
    }

    /// There if it can be written to, else where temporary files are.
    fn at_best(base: &Path) -> Self {
        if base.is_dir() && tempfile::tempfile_in(base).is_ok() {
            Self::beside(base)
        } else {
            Self::beside(&std::env::temp_dir())
        }
    }

    fn beside(base: &Path) -> Self {
        remove_abandoned(base);
        let new = tempfile::Builder::new()
            .prefix("strongroom-new-")
            .tempdir_in(base)
            .unwrap_or_else(|error| {
                panic!("no temporary directory in {}: {error}", base.display())
            });
        let lock = File::create(new.path().join(LOCK)).expect("a new directory takes a file");
        lock.lock().expect("a new file can be locked");
        let unique = new.path().file_name().expect("the name just made");
        let unique = unique.to_string_lossy().replace("strongroom-new-", PREFIX);
        let path = base.join(unique);
        fs::rename(new.keep(), &path).expect("a directory can be renamed in its place");
        Self { path, _lock: lock }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What could not be removed is left to the next process.
        drop(remove_tree(&self.path));
    }
}

/// The directory of this executable.
pub(crate) fn executables() -> PathBuf {
    let executable = std::env::current_exe().expect("the path of this executable");
    executable
        .parent()
        .expect("an executable is in a directory")
        .to_owned()
}

/// Removes a directory, whatever a test did to the permissions in it.
pub(crate) fn remove_tree(path: &Path) -> std::io::Result<()> {
    fs::remove_dir_all(path).or_else(|_| {
        make_writable(path);
        fs::remove_dir_all(path)
    })
}

fn make_writable(path: &Path) {
    drop(fs::set_permissions(path, fs::Permissions::from_mode(0o700)));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}

/// Removes the directories whose process is gone.
fn remove_abandoned(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // Other users' are not to be opened.
        let Ok(lock) = File::options().write(true).open(entry.path().join(LOCK)) else {
            continue;
        };
        match lock.try_lock() {
            Ok(()) => drop(remove_tree(&entry.path())),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}
