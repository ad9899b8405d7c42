//! A disk that forgets: from a record of a process's file operations to what a power cut can leave.
//!
//! The operations are recorded by `strace`, because only that sees all of them: sled writes through the C
//! library, strongroom itself by system calls of its own, and neither a shim under the C library nor the seam
//! for files sees the other's. A machine without `strace`, or one that forbids it, fails the tests.
//!
//! The model, which promises less than the file systems in use do:
//! * Bytes of a file, and its length, are durable once a sync of that file has returned that began after the
//!   write had returned. `sync_file_range` makes nothing durable.
//! * Names (made, renamed, removed) are durable once a sync of their directory has returned; they become
//!   durable in their order, as with any journal, but without regard to the bytes of the files.
//! * Of everything else any part can be there: whole writes, single pages of them, single sectors.
//!
//! Both test binaries include this file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

mod random;
mod recording;

pub(crate) use random::Random;
pub(crate) use recording::Recording;

const PAGE: usize = 4_096;
const SECTOR: usize = 512;

/// What a power cut makes of the writes that nothing synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// All are gone.
    Dropped,
    /// Each is there or not.
    ByWrite,
    /// Each page of each is there or not.
    ByPage,
    /// Those before one are there, and of that one a part that ends with a sector.
    Torn,
    /// All are there, as after the end of a process.
    Kept,
}

impl Cut {
    pub(crate) const ALL: [Self; 5] = [
        Self::Dropped,
        Self::ByWrite,
        Self::ByPage,
        Self::Torn,
        Self::Kept,
    ];
}

/// A step of a recorded run. A call that takes time has a start and an end.
#[derive(Debug, Clone)]
enum Step {
    Write {
        call: usize,
        path: PathBuf,
        offset: usize,
        bytes: Vec<u8>,
    },
    Resize {
        path: PathBuf,
        length: usize,
    },
    Sync {
        call: usize,
        path: PathBuf,
    },
    End {
        call: usize,
    },
    Name(NameChange),
    /// Bytes written to the file of marks.
    Mark(String),
}

#[derive(Debug, Clone)]
enum NameChange {
    File(PathBuf),
    Directory(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl NameChange {
    fn touches(&self, directory: &Path) -> bool {
        let within = |path: &Path| path.parent() == Some(directory);
        match self {
            Self::File(path) | Self::Directory(path) | Self::Remove(path) => within(path),
            Self::Rename(from, to) => within(from) || within(to),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(usize),
    Directory,
}

type Names = BTreeMap<PathBuf, Node>;

#[derive(Debug, Clone, Default)]
struct Content {
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Debug, Clone)]
struct Pending {
    number: usize,
    change: Change,
    /// The call that makes it, while that runs.
    running: Option<usize>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Resize(usize),
}

/// What is on the disk for certain, and what may be there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    contents: Vec<Content>,
    /// As the running system sees them.
    names: Names,
    durable_names: Names,
    /// With the content that a new file has.
    pending_names: Vec<(NameChange, usize)>,
    /// Syncs that run, by call.
    syncs: BTreeMap<usize, Running>,
    changes: usize,
}

#[derive(Debug, Clone)]
enum Running {
    /// Covers these changes.
    File(usize, BTreeSet<usize>),
    /// Covers so many changes of names from the first of all on.
    Directory(PathBuf, usize),
}

impl Disk {
    /// The files of a directory, all of them durable.
    pub(crate) fn load(root: &Path) -> Self {
        let mut disk = Self::default();
        disk.names.insert(PathBuf::new(), Node::Directory);
        disk.load_within(root, Path::new(""));
        disk.durable_names = disk.names.clone();
        disk
    }

    fn load_within(&mut self, root: &Path, within: &Path) {
        for entry in fs::read_dir(root.join(within)).unwrap() {
            let entry = entry.unwrap();
            let path = within.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                self.names.insert(path.clone(), Node::Directory);
                self.load_within(root, &path);
            } else {
                self.names
                    .insert(path.clone(), Node::File(self.contents.len()));
                self.contents.push(Content {
                    durable: fs::read(root.join(&path)).unwrap(),
                    pending: Vec::new(),
                });
            }
        }
    }

    fn content(&self, path: &Path) -> usize {
        match self.names.get(path) {
            Some(Node::File(content)) => *content,
            other => panic!("{} is {other:?}", path.display()),
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Write {
                call,
                path,
                offset,
                bytes,
            } => self.change(path, Change::Write(*offset, bytes.clone()), Some(*call)),
            Step::Resize { path, length } => self.change(path, Change::Resize(*length), None),
            Step::Name(change) => {
                let content = self.contents.len();
                if matches!(change, NameChange::File(_)) {
                    self.contents.push(Content::default());
                }
                apply_name(&mut self.names, change, content);
                self.pending_names.push((change.clone(), content));
            }
            Step::Sync { call, path } => {
                let running = match self.names.get(path) {
                    Some(Node::Directory) => {
                        Running::Directory(path.clone(), self.pending_names.len())
                    }
                    _ => {
                        let content = self.content(path);
                        let returned = self.contents[content]
                            .pending
                            .iter()
                            .filter(|pending| pending.running.is_none())
                            .map(|pending| pending.number)
                            .collect();
                        Running::File(content, returned)
                    }
                };
                self.syncs.insert(*call, running);
            }
            Step::End { call } => self.end(*call),
            Step::Mark(_) => {}
        }
    }

    fn change(&mut self, path: &Path, change: Change, running: Option<usize>) {
        let content = self.content(path);
        self.changes += 1;
        self.contents[content].pending.push(Pending {
            number: self.changes,
            change,
            running,
        });
    }

    fn end(&mut self, call: usize) {
        match self.syncs.remove(&call) {
            None => {
                let pending = self.contents.iter_mut().flat_map(|own| &mut own.pending);
                for pending in pending.filter(|pending| pending.running == Some(call)) {
                    pending.running = None;
                }
            }
            Some(Running::File(content, covered)) => {
                let Content { durable, pending } = &mut self.contents[content];
                pending.retain(|pending| {
                    let covered = covered.contains(&pending.number);
                    if covered {
                        apply_change(durable, &pending.change);
                    }
                    !covered
                });
            }
            Some(Running::Directory(path, covered)) => {
                let covered = covered.min(self.pending_names.len());
                let last = self.pending_names[..covered]
                    .iter()
                    .rposition(|(change, _)| change.touches(&path));
                let count = last.map_or(0, |last| last + 1);
                for (change, content) in self.pending_names.drain(..count) {
                    apply_name(&mut self.durable_names, &change, content);
                }
                for running in self.syncs.values_mut() {
                    if let Running::Directory(_, covered) = running {
                        *covered = covered.saturating_sub(count);
                    }
                }
            }
        }
    }

    /// Whether bytes of this file are not durable.
    pub(crate) fn is_unsynced(&self, path: &str) -> bool {
        match self.names.get(Path::new(path)) {
            Some(Node::File(content)) => !self.contents[*content].pending.is_empty(),
            _ => false,
        }
    }

    /// What is on the disk after a power cut now.
    pub(crate) fn after(&self, cut: Cut, random: &mut Random) -> Image {
        let kept_names = match cut {
            Cut::Dropped => 0,
            Cut::Kept => self.pending_names.len(),
            _ => random.below(self.pending_names.len() + 1),
        };
        let mut names = self.durable_names.clone();
        for (change, content) in &self.pending_names[..kept_names] {
            apply_name(&mut names, change, *content);
        }
        let mut image = Image::default();
        for (path, node) in names {
            match node {
                Node::Directory => image.directories.push(path),
                Node::File(content) => {
                    let bytes = self.contents[content].after(cut, random);
                    image.files.insert(path, bytes);
                }
            }
        }
        image
    }
}

impl Content {
    fn after(&self, cut: Cut, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let torn = random.below(self.pending.len());
        for (number, Pending { change, .. }) in self.pending.iter().enumerate() {
            match (cut, change) {
                (Cut::Dropped, _) => break,
                (Cut::Kept, _) => apply_change(&mut bytes, change),
                (Cut::ByPage, Change::Write(offset, written)) => {
                    let mut from = 0;
                    while from < written.len() {
                        let to = (((offset + from) / PAGE + 1) * PAGE - offset).min(written.len());
                        if random.one_in(2) {
                            write_at(&mut bytes, offset + from, &written[from..to]);
                        }
                        from = to;
                    }
                }
                (Cut::ByWrite | Cut::ByPage, _) => {
                    if random.one_in(2) {
                        apply_change(&mut bytes, change);
                    }
                }
                (Cut::Torn, _) if number < torn => apply_change(&mut bytes, change),
                (Cut::Torn, Change::Write(offset, written)) => {
                    if number == torn {
                        let sectors = (offset + written.len()).div_ceil(SECTOR) - offset / SECTOR;
                        let end = (offset / SECTOR + random.below(sectors)) * SECTOR;
                        let length = end.saturating_sub(*offset).min(written.len());
                        write_at(&mut bytes, *offset, &written[..length]);
                    }
                }
                (Cut::Torn, Change::Resize(_)) => {}
            }
        }
        bytes
    }
}

fn apply_change(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(offset, written) => write_at(bytes, *offset, written),
        Change::Resize(length) => bytes.resize(*length, 0),
    }
}

fn write_at(bytes: &mut Vec<u8>, offset: usize, written: &[u8]) {
    if written.is_empty() {
        return;
    }
    let end = offset + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(written);
}

fn apply_name(names: &mut Names, change: &NameChange, content: usize) {
    match change {
        NameChange::File(path) => {
            names.insert(path.clone(), Node::File(content));
        }
        NameChange::Directory(path) => {
            names.insert(path.clone(), Node::Directory);
        }
        NameChange::Remove(path) => {
            names.remove(path);
        }
        NameChange::Rename(from, to) => {
            let moved: Vec<PathBuf> = names
                .keys()
                .filter(|path| path.starts_with(from))
                .cloned()
                .collect();
            for path in moved {
                let node = names.remove(&path).unwrap();
                let rest = path.strip_prefix(from).unwrap();
                let target = if rest.as_os_str().is_empty() {
                    to.clone()
                } else {
                    to.join(rest)
                };
                names.insert(target, node);
            }
        }
    }
}

/// Files as a power cut left them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Image {
    directories: Vec<PathBuf>,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Image {
    /// Makes a directory of the files.
    pub(crate) fn write(&self, root: &Path) {
        // A directory sorts before what is in it.
        for path in &self.directories {
            fs::DirBuilder::new()
                .mode(0o700)
                .create(root.join(path))
                .unwrap();
        }
        for (path, bytes) in &self.files {
            let file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(root.join(path))
                .unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0).unwrap();
        }
    }

    /// Whether there is a file or directory of this name.
    #[allow(dead_code, reason = "one of the test binaries")]
    pub(crate) fn contains(&self, path: &str) -> bool {
        self.files.contains_key(Path::new(path))
            || self.directories.iter().any(|own| own == Path::new(path))
    }

    /// The files with their lengths, for messages.
    pub(crate) fn summary(&self) -> String {
        self.files
            .iter()
            .map(|(path, bytes)| format!("{} {}; ", path.display(), bytes.len()))
            .collect()
    }
}

/// A directory for images: in memory where the system has such, since thousands are written.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(memory)
        .is_ok_and(|facts| facts.f_bavail.saturating_mul(facts.f_frsize) > 512 * 1024 * 1024);
    if room && let Ok(directory) = tempfile::tempdir_in(memory) {
        return directory;
    }
    tempfile::tempdir().unwrap()
}
