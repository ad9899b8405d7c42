//! The file operations that strongroom itself performs in a vault's directory: the seam for faults.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    Read,
    ReadWrite,
    /// Read and write; made with mode 0600 when there is none.
    Create,
}

/// What is known of a file without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FileFacts {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) length: u64,
    pub(crate) mode: u32,
}

/// The files of one directory. Names are single components; none is ever followed through a symbolic link.
pub(crate) trait Files: fmt::Debug + Send + Sync {
    /// `None` when there is no such file.
    fn open(&self, name: &str, access: Access) -> Result<Option<Box<dyn VaultFile>>>;
    /// The names in the directory, or in its subdirectory `within`; `None` when that does not exist.
    fn list(&self, within: Option<&str>) -> Result<Option<Vec<String>>>;
    /// Whether there was such a file.
    fn remove(&self, name: &str) -> Result<bool>;
    fn set_mode(&self, name: &str, mode: u32) -> Result<()>;
    /// Makes the directory's, or its subdirectory's, entries durable.
    fn sync_directory(&self, within: Option<&str>) -> Result<()>;
    /// The files of a subdirectory; `None` when there is no directory of that name.
    fn subdirectory(&self, name: &str) -> Result<Option<Arc<dyn Files>>>;
    /// Makes a subdirectory with mode 0700, where nothing has its name.
    fn make_directory(&self, name: &str) -> Result<()>;
    /// Removes a subdirectory if it is there and empty; whether it was.
    fn remove_directory(&self, name: &str) -> Result<bool>;
    /// Gives a file or subdirectory, which may stand in the subdirectory `within`, another name in the directory
    /// itself. A file that has this name goes.
    fn rename(&self, within: Option<&str>, from: &str, to: &str) -> Result<()>;
}

/// An open file.
pub(crate) trait VaultFile: fmt::Debug + Send + Sync {
    /// Reads until `bytes` is full or the file ends; the number of bytes read.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize>;
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()>;
    /// `fdatasync`.
    fn sync_data(&self) -> Result<()>;
    /// Asks the system to forget its clean pages, so that the next read comes from the disk.
    fn forget_cached(&self) -> Result<()>;
    /// Whether the exclusive lock could be had at once.
    fn try_lock(&self) -> Result<bool>;
    /// Lets go of the lock, whoever else has a copy of the descriptor.
    fn unlock(&self) -> Result<()>;
    fn facts(&self) -> Result<FileFacts>;
}

/// The real files, relative to a directory descriptor.
#[derive(Debug)]
pub(crate) struct DirectoryFiles {
    directory: OwnedFd,
}

impl DirectoryFiles {
    pub(crate) fn new(directory: OwnedFd) -> Self {
        Self { directory }
    }

    fn descriptor(&self, within: Option<&str>) -> Result<Option<OwnedFd>> {
        let name = within.unwrap_or(".");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match retry(|| fs::openat(&self.directory, name, flags, Mode::empty())) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failure("open", name, errno)),
        }
    }
}

impl Files for DirectoryFiles {
    fn open(&self, name: &str, access: Access) -> Result<Option<Box<dyn VaultFile>>> {
        let mut flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        flags |= match access {
            Access::Read => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
            Access::Create => OFlags::RDWR | OFlags::CREATE,
        };
        let mode = Mode::RUSR | Mode::WUSR;
        let fd = match retry(|| fs::openat(&self.directory, name, flags, mode)) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failure("open", name, errno)),
        };
        let file = OpenFile {
            fd,
            name: name.to_owned(),
        };
        let stat = fs::fstat(&file.fd).map_err(|errno| failure("examine", name, errno))?;
        if fs::FileType::from_raw_mode(stat.st_mode) != fs::FileType::RegularFile {
            return Err(Error::new(
                ErrorKind::UnsafePermissions,
                format!("`{name}` in the vault's directory is not an ordinary file; restore it"),
            ));
        }
        Ok(Some(Box::new(file)))
    }

    fn list(&self, within: Option<&str>) -> Result<Option<Vec<String>>> {
        let shown = within.unwrap_or(".");
        let Some(fd) = self.descriptor(within)? else {
            return Ok(None);
        };
        let entries = fs::Dir::new(fd).map_err(|errno| failure("list", shown, errno))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|errno| failure("list", shown, errno))?;
            let name = entry.file_name().to_string_lossy();
            if name != "." && name != ".." {
                names.push(name.into_owned());
            }
        }
        names.sort();
        Ok(Some(names))
    }

    fn remove(&self, name: &str) -> Result<bool> {
        match fs::unlinkat(&self.directory, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(failure("remove", name, errno)),
        }
    }

    fn set_mode(&self, name: &str, mode: u32) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = retry(|| fs::openat(&self.directory, name, flags, Mode::empty()))
            .map_err(|errno| failure("open", name, errno))?;
        fs::fchmod(&fd, Mode::from_raw_mode(mode))
            .map_err(|errno| failure("set the mode of", name, errno))
    }

    fn sync_directory(&self, within: Option<&str>) -> Result<()> {
        let shown = within.unwrap_or(".");
        match self.descriptor(within)? {
            Some(fd) => retry(|| fs::fsync(&fd)).map_err(|errno| failure("sync", shown, errno)),
            None => Ok(()),
        }
    }

    fn subdirectory(&self, name: &str) -> Result<Option<Arc<dyn Files>>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match retry(|| fs::openat(&self.directory, name, flags, Mode::empty())) {
            Ok(fd) => Ok(Some(Arc::new(Self::new(fd)))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(failure("open", name, errno)),
        }
    }

    fn make_directory(&self, name: &str) -> Result<()> {
        fs::mkdirat(&self.directory, name, Mode::RWXU)
            .map_err(|errno| failure("make", name, errno))?;
        // The umask may have taken bits away.
        self.set_mode(name, 0o700)
    }

    fn remove_directory(&self, name: &str) -> Result<bool> {
        match fs::unlinkat(&self.directory, name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(errno) => Err(failure("remove", name, errno)),
        }
    }

    fn rename(&self, within: Option<&str>, from: &str, to: &str) -> Result<()> {
        let renamed = match self.descriptor(within)? {
            Some(source) => fs::renameat(&source, from, &self.directory, to),
            None => Err(Errno::NOENT),
        };
        renamed.map_err(|errno| failure("rename", from, errno))
    }
}

#[derive(Debug)]
struct OpenFile {
    fd: OwnedFd,
    name: String,
}

impl OpenFile {
    fn failure(&self, operation: &str, errno: Errno) -> Error {
        failure(operation, &self.name, errno)
    }
}

impl VaultFile for OpenFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            let position = offset + done as u64;
            match retry(|| rustix::io::pread(&self.fd, &mut bytes[done..], position)) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(errno) => return Err(self.failure("read", errno)),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let position = offset + done as u64;
            match retry(|| rustix::io::pwrite(&self.fd, &bytes[done..], position)) {
                // No progress without an error: POSIX allows it only on a full device.
                Ok(0) => return Err(self.failure("write", Errno::NOSPC)),
                Ok(count) => done += count,
                Err(errno) => return Err(self.failure("write", errno)),
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        #[cfg(feature = "testing")]
        super::slow_disk::wait();
        // Not repeated after an error: the system may since have forgotten the pages that it could not write.
        fs::fdatasync(&self.fd).map_err(|errno| self.failure("sync", errno))
    }

    fn forget_cached(&self) -> Result<()> {
        match fs::fadvise(&self.fd, 0, None, fs::Advice::DontNeed) {
            // A file system without the call reads from its cache: nothing is lost but the check.
            Ok(()) | Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => Err(self.failure("advise", errno)),
        }
    }

    fn try_lock(&self) -> Result<bool> {
        match retry(|| fs::flock(&self.fd, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(self.failure("lock", errno)),
        }
    }

    fn unlock(&self) -> Result<()> {
        retry(|| fs::flock(&self.fd, FlockOperation::Unlock))
            .map_err(|errno| self.failure("unlock", errno))
    }

    fn facts(&self) -> Result<FileFacts> {
        let stat = fs::fstat(&self.fd).map_err(|errno| self.failure("examine", errno))?;
        Ok(facts_of(&stat))
    }
}

/// The types of the fields differ between targets.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
pub(super) fn facts_of(stat: &fs::Stat) -> FileFacts {
    FileFacts {
        device: stat.st_dev as u64,
        inode: stat.st_ino as u64,
        length: u64::try_from(stat.st_size).unwrap_or(0),
        mode: stat.st_mode as u32,
    }
}

/// An interrupted call did nothing and is made again.
pub(super) fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}

/// The error for a failed system call on a file of the vault.
pub(super) fn failure(operation: &str, name: &str, errno: Errno) -> Error {
    let (kind, advice) = match errno {
        Errno::NOSPC | Errno::DQUOT => (
            ErrorKind::StorageFull,
            "no space is left; free some and reopen the vault",
        ),
        Errno::ROFS => (ErrorKind::ReadOnly, "the file system is read-only"),
        Errno::ACCESS | Errno::PERM => (
            ErrorKind::ReadOnly,
            "this process has no permission for it; check owner and mode",
        ),
        Errno::LOOP => (
            ErrorKind::UnsafePermissions,
            "it is a symbolic link, which a vault never follows",
        ),
        _ => (ErrorKind::Io, "the system reported an error"),
    };
    Error::new(
        kind,
        format!("could not {operation} `{name}` in the vault's directory: {advice}"),
    )
    .with_source(std::io::Error::from(errno))
}
