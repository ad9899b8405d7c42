//! A vault's directory: checked, opened, and locked against every other handle.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::engine_process;
use super::files::{Access, DirectoryFiles, Files, VaultFile, failure, retry};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Process;

pub(crate) const HEADER_FILE: &str = "vault.hdr";
pub(crate) const ANCHOR_FILE: &str = "vault.anchor";
pub(crate) const LOCK_FILE: &str = "vault.lock";

const LOCK_MAGIC: &[u8; 8] = b"SRMLOCK1";
const MARK_CLEAN: u8 = b'c';
const MARK_OPEN: u8 = b'o';

/// An opened vault directory; while this lives, no other handle opens the same vault.
pub(crate) struct VaultDir {
    path: PathBuf,
    files: Arc<dyn Files>,
    lock: Box<dyn VaultFile>,
    closed_cleanly: bool,
    /// The process that has the lock.
    owner: Process,
}

impl VaultDir {
    /// Opens and locks the directory of an existing vault.
    ///
    /// Errors: `ForkedProcess`, `VaultNotFound`, `UnsafePermissions`, `VaultInUse`, `ReadOnly`, `Io`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        engine_process::check()?;
        let path = resolve(path)?;
        let files = open_directory(&path)?;
        let names = files.list(None)?.unwrap_or_default();
        if !names
            .iter()
            .any(|name| name == HEADER_FILE || name == LOCK_FILE)
        {
            return Err(not_found(&path));
        }
        Self::lock(path, files)
    }

    /// As [`VaultDir::open`], for reading alone: no byte of the directory changes. The lock is that of the file
    /// `vault.lock`, where there is one.
    pub(crate) fn open_unwritten(path: &Path) -> Result<Self> {
        let path = resolve(path)?;
        let files = open_directory(&path)?;
        let lock = files.open(LOCK_FILE, Access::Read)?;
        let header = files.open(HEADER_FILE, Access::Read)?;
        match lock.or(header) {
            Some(lock) => Self::locked(path, files, lock),
            None => Err(not_found(&path)),
        }
    }

    /// Makes a new directory (mode 0700) and locks it.
    ///
    /// Errors: `VaultExists`, and those of [`VaultDir::open`].
    pub(crate) fn create(path: &Path) -> Result<Self> {
        engine_process::check()?;
        let path = resolve(path)?;
        match fs::mkdirat(CWD, &path, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(exists(&path)),
            Err(errno) => return Err(failure("make", &path.display().to_string(), errno)),
        }
        let files = open_directory(&path)?;
        // The umask may have taken bits away.
        files.set_mode(".", 0o700)?;
        Self::lock(path, files)
    }

    /// As [`VaultDir::open`], with other file operations: for faults in tests.
    #[cfg(test)]
    pub(crate) fn map_files(mut self, wrap: impl FnOnce(Arc<dyn Files>) -> Arc<dyn Files>) -> Self {
        self.files = wrap(Arc::clone(&self.files));
        self
    }

    fn lock(path: PathBuf, files: Arc<dyn Files>) -> Result<Self> {
        let lock = files
            .open(LOCK_FILE, Access::Create)?
            .ok_or_else(|| not_found(&path))?;
        Self::locked(path, files, lock)
    }

    fn locked(path: PathBuf, files: Arc<dyn Files>, lock: Box<dyn VaultFile>) -> Result<Self> {
        if !lock.try_lock()? {
            return Err(Error::new(
                ErrorKind::VaultInUse,
                format!(
                    "{} is open in another process or through another handle of this one",
                    path.display()
                ),
            ));
        }
        let mut mark = [0; 9];
        let length = lock.read_at(&mut mark, 0)?;
        let closed_cleanly = length == 9 && mark[..8] == LOCK_MAGIC[..] && mark[8] == MARK_CLEAN;
        Ok(Self {
            path,
            files,
            lock,
            closed_cleanly,
            owner: Process::here(),
        })
    }

    /// The directory, with no symbolic link in its parents.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn files(&self) -> &Arc<dyn Files> {
        &self.files
    }

    /// Whether the handle before this one was closed without an error.
    pub(crate) fn closed_cleanly(&self) -> bool {
        self.closed_cleanly
    }

    /// Notes in `vault.lock` that the vault is open, or was closed cleanly.
    ///
    /// Not synced: the mark tells of cached pages, which do not outlive the system that holds them.
    pub(crate) fn set_clean_mark(&self, clean: bool) -> Result<()> {
        let mut mark = [0; 9];
        mark[..8].copy_from_slice(LOCK_MAGIC);
        mark[8] = if clean { MARK_CLEAN } else { MARK_OPEN };
        self.lock.write_at(&mark, 0)
    }

    /// Gives a finished directory its final name, durably.
    ///
    /// Errors: `VaultExists` when something has that name, `ReadOnly`, `StorageFull`, `Io`.
    pub(crate) fn publish(self, to: &Path) -> Result<()> {
        self.files.sync_directory(None)?;
        match fs::renameat_with(CWD, &self.path, CWD, to, fs::RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST | Errno::NOTEMPTY) => return Err(exists(to)),
            // Some network file systems do not know the flag.
            Err(Errno::INVAL) if fs::lstat(to).is_err() => fs::rename(&self.path, to)
                .map_err(|errno| failure("rename", &to.display().to_string(), errno))?,
            Err(errno) => return Err(failure("rename", &to.display().to_string(), errno)),
        }
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        retry(|| fs::openat(CWD, parent, flags, Mode::empty()))
            .and_then(|fd| fs::fsync(&fd))
            .map_err(|errno| failure("sync", &parent.display().to_string(), errno))
    }
}

impl Drop for VaultDir {
    fn drop(&mut self) {
        // Closing would not do: between fork and exec, a child that another thread starts holds a copy of the
        // descriptor, and the lock with it. A forked process that drops its copy must not unlock its parent's.
        if self.owner.is_here() {
            // There is nothing more to be done about an error than to close.
            let _ = self.lock.unlock();
        }
    }
}

impl fmt::Debug for VaultDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultDir")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn not_found(path: &Path) -> Error {
    Error::new(
        ErrorKind::VaultNotFound,
        format!("there is no vault at {}", path.display()),
    )
}

fn exists(path: &Path) -> Error {
    Error::new(
        ErrorKind::VaultExists,
        format!("{} exists already", path.display()),
    )
}

/// The path without links in its parents, which nobody else may change.
fn resolve(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).map_err(|error| {
        Error::bad_parameter("the path of the vault is empty").with_source(error)
    })?;
    let name = path
        .file_name()
        .ok_or_else(|| Error::bad_parameter("the path of the vault names no directory"))?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    let resolved = parent.canonicalize().map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            not_found(&path)
        } else {
            Error::new(
                ErrorKind::Io,
                format!("could not resolve {}", parent.display()),
            )
            .with_source(error)
        }
    })?;
    // A link in the path is as dangerous as what it leads to: both chains count.
    for ancestor in parent.ancestors().chain(resolved.ancestors()) {
        check_ancestor(ancestor)?;
    }
    Ok(resolved.join(name))
}

fn open_directory(path: &Path) -> Result<Arc<dyn Files>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match retry(|| fs::openat(CWD, path, flags, Mode::empty())) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Err(not_found(path)),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            return Err(unsafe_permissions(
                path,
                "is a symbolic link or no directory",
            ));
        }
        Err(errno) => return Err(failure("open", &path.display().to_string(), errno)),
    };
    let stat = fs::fstat(&directory)
        .map_err(|errno| failure("examine", &path.display().to_string(), errno))?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(unsafe_permissions(path, "belongs to another user"));
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(unsafe_permissions(
            path,
            "is writable for its group or for everyone",
        ));
    }
    let files: Arc<dyn Files> = Arc::new(DirectoryFiles::new(directory));
    #[cfg(test)]
    let files = super::tests::fire::watched(files);
    Ok(files)
}

/// Whoever may write a parent can exchange the vault below it.
fn check_ancestor(path: &Path) -> Result<()> {
    let shown = path.display().to_string();
    let stat = fs::lstat(path).map_err(|errno| failure("examine", &shown, errno))?;
    let root = stat.st_uid == 0;
    if !root && stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(unsafe_permissions(path, "belongs to another user"));
    }
    // The mode of a link means nothing; where it leads is checked on the resolved chain.
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Ok(());
    }
    let sticky = root && stat.st_mode & 0o1000 != 0;
    if stat.st_mode & 0o022 != 0 && !sticky {
        return Err(unsafe_permissions(
            path,
            "is writable for its group or for everyone",
        ));
    }
    Ok(())
}

fn unsafe_permissions(path: &Path, what: &str) -> Error {
    Error::new(
        ErrorKind::UnsafePermissions,
        format!(
            "{} {what}; a vault needs a directory that only its owner can change",
            path.display()
        ),
    )
}
