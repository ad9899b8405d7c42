//! The files of a vault, with a point at every operation on them.

use std::sync::Arc;

use crate::error::{ErrorKind, Result};
use crate::store::files::{Access, FileFacts, Files, VaultFile};
use crate::store::points::{Hook, installed};

/// These files, with the hook that this thread has installed.
pub(crate) fn watched(files: Arc<dyn Files>) -> Arc<dyn Files> {
    match installed() {
        Some(hook) => Arc::new(Watched { files, hook }),
        None => files,
    }
}

struct Watched {
    files: Arc<dyn Files>,
    hook: Hook,
}

struct WatchedFile {
    file: Box<dyn VaultFile>,
    hook: Hook,
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watched")
    }
}

impl std::fmt::Debug for WatchedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WatchedFile")
    }
}

impl Files for Watched {
    fn open(&self, name: &str, access: Access) -> Result<Option<Box<dyn VaultFile>>> {
        (self.hook)("file: open")?;
        let hook = Arc::clone(&self.hook);
        let opened = self.files.open(name, access)?;
        Ok(opened.map(|file| Box::new(WatchedFile { file, hook }) as Box<dyn VaultFile>))
    }
    fn list(&self, within: Option<&str>) -> Result<Option<Vec<String>>> {
        (self.hook)("file: list")?;
        self.files.list(within)
    }
    fn remove(&self, name: &str) -> Result<bool> {
        (self.hook)("file: remove")?;
        self.files.remove(name)
    }
    fn set_mode(&self, name: &str, mode: u32) -> Result<()> {
        (self.hook)("file: set the mode")?;
        self.files.set_mode(name, mode)
    }
    fn sync_directory(&self, within: Option<&str>) -> Result<()> {
        (self.hook)("file: sync the directory")?;
        self.files.sync_directory(within)
    }
    fn subdirectory(&self, name: &str) -> Result<Option<Arc<dyn Files>>> {
        (self.hook)("file: open a directory")?;
        let hook = Arc::clone(&self.hook);
        let within = self.files.subdirectory(name)?;
        Ok(within.map(|files| Arc::new(Self { files, hook }) as Arc<dyn Files>))
    }
    fn make_directory(&self, name: &str) -> Result<()> {
        (self.hook)("file: make a directory")?;
        self.files.make_directory(name)
    }
    fn remove_directory(&self, name: &str) -> Result<bool> {
        (self.hook)("file: remove a directory")?;
        self.files.remove_directory(name)
    }
    fn rename(&self, within: Option<&str>, from: &str, to: &str) -> Result<()> {
        (self.hook)("file: rename")?;
        self.files.rename(within, from, to)
    }
}

impl VaultFile for WatchedFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        (self.hook)("file: read")?;
        self.file.read_at(bytes, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        if let Err(error) = (self.hook)("file: write") {
            if error.kind() == ErrorKind::StorageFull {
                // The disk had room for a part.
                self.file.write_at(&bytes[..bytes.len() / 2], offset)?;
            }
            return Err(error);
        }
        self.file.write_at(bytes, offset)
    }
    fn sync_data(&self) -> Result<()> {
        (self.hook)("file: sync")?;
        self.file.sync_data()
    }
    fn forget_cached(&self) -> Result<()> {
        self.file.forget_cached()
    }
    fn try_lock(&self) -> Result<bool> {
        (self.hook)("file: lock")?;
        self.file.try_lock()
    }
    fn unlock(&self) -> Result<()> {
        self.file.unlock()
    }
    fn facts(&self) -> Result<FileFacts> {
        (self.hook)("file: examine")?;
        self.file.facts()
    }
}
