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
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

const CALLS: &str = "trace=openat,open,creat,write,pwrite64,pwritev,pwritev2,writev,fsync,fdatasync,\
    sync_file_range,rename,renameat,renameat2,unlink,unlinkat,rmdir,ftruncate,truncate,fallocate,\
    mkdir,mkdirat,link,linkat,symlink,symlinkat,copy_file_range,sendfile,sync,syncfs";
const PAGE: usize = 4_096;
const SECTOR: usize = 512;

/// Reproducible choices.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).unwrap()
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

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

/// The recorded operations of one run below one directory.
#[derive(Debug)]
pub(crate) struct Recording {
    start: Disk,
    steps: Vec<Step>,
}

impl Recording {
    /// Runs `program`, which works below `root` and writes its marks to `marks`.
    pub(crate) fn of(program: &mut Command, root: &Path, marks: &Path) -> Self {
        let trace = tempfile::NamedTempFile::new().unwrap();
        let start = Disk::load(root);
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "--seccomp-bpf", "-qq", "-xx", "-y", "-s", "8000000"])
            .args(["-e", CALLS, "-e", "signal=none", "-o"])
            .arg(trace.path())
            .arg("--")
            .arg(program.get_program())
            .args(program.get_args());
        for (name, value) in program.get_envs() {
            strace.env(name, value.unwrap());
        }
        let output = strace
            .output()
            .expect("power cuts are replayed from what strace records: install it");
        assert!(
            output.status.success(),
            "the recorded run failed: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let text = fs::read(trace.path()).unwrap();
        let mut parser = Parser {
            root: root.to_owned(),
            marks: marks.to_owned(),
            known: start.names.keys().cloned().collect(),
            positions: BTreeMap::new(),
            open_calls: BTreeMap::new(),
            calls: 0,
            steps: Vec::new(),
        };
        for line in text.split(|byte| *byte == b'\n') {
            parser.line(line);
        }
        Self {
            start,
            steps: parser.steps,
        }
    }

    /// How many moments there are at which the power can go.
    pub(crate) fn len(&self) -> usize {
        self.steps.len() + 1
    }

    /// How many bytes were written to files.
    pub(crate) fn bytes_written(&self) -> usize {
        self.steps
            .iter()
            .map(|step| match step {
                Step::Write { bytes, .. } => bytes.len(),
                _ => 0,
            })
            .sum()
    }

    /// Visits the disk at these moments, which must ascend, with the marks that were set before.
    pub(crate) fn visit(&self, moments: &[usize], mut visit: impl FnMut(usize, &Disk, &str)) {
        let mut disk = self.start.clone();
        let mut marks = String::new();
        let mut done = 0;
        for moment in moments {
            for step in &self.steps[done..*moment] {
                match step {
                    Step::Mark(text) => marks.push_str(text),
                    step => disk.apply(step),
                }
            }
            done = *moment;
            visit(*moment, &disk, &marks);
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

    /// Whether anything is not durable.
    pub(crate) fn is_settled(&self) -> bool {
        self.pending_names.is_empty()
            && self
                .contents
                .iter()
                .all(|content| content.pending.is_empty())
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
    if room {
        if let Ok(directory) = tempfile::tempdir_in(memory) {
            return directory;
        }
    }
    tempfile::tempdir().unwrap()
}

struct Parser {
    root: PathBuf,
    marks: PathBuf,
    known: BTreeSet<PathBuf>,
    /// Where `write` goes on, by descriptor.
    positions: BTreeMap<String, usize>,
    /// Calls that have begun, by thread: number, text so far.
    open_calls: BTreeMap<String, (usize, Vec<u8>)>,
    calls: usize,
    steps: Vec<Step>,
}

impl Parser {
    fn line(&mut self, line: &[u8]) {
        let Some(space) = line.iter().position(|byte| *byte == b' ') else {
            return;
        };
        let thread = String::from_utf8(line[..space].to_vec()).unwrap();
        let text = line[space..].trim_ascii();
        if text.starts_with(b"+++") || text.starts_with(b"---") {
            return;
        }
        if let Some(begun) = text.strip_suffix(b" <unfinished ...>") {
            let call = self.number();
            self.begin(call, begun);
            self.open_calls.insert(thread, (call, begun.to_vec()));
        } else if text.starts_with(b"<... ") {
            let (call, mut begun) = self.open_calls.remove(&thread).unwrap();
            let rest = text.iter().position(|byte| *byte == b'>').unwrap();
            begun.extend_from_slice(&text[rest + 1..]);
            self.finish(call, &begun);
        } else {
            let call = self.number();
            self.begin(call, text);
            self.finish(call, text);
        }
    }

    fn number(&mut self) -> usize {
        self.calls += 1;
        self.calls
    }

    /// Writes and syncs count from their start.
    fn begin(&mut self, call: usize, text: &[u8]) {
        let Some((name, arguments)) = split(text) else {
            return;
        };
        match name {
            "pwrite64" | "write" => {
                let Some(path) = self.descriptor(arguments[0]) else {
                    if self
                        .absolute(arguments[0])
                        .is_some_and(|path| path == self.marks)
                    {
                        let bytes = quoted(arguments[1]);
                        self.steps
                            .push(Step::Mark(String::from_utf8(bytes).unwrap()));
                    }
                    return;
                };
                let bytes = quoted(arguments[1]);
                let offset = if name == "write" {
                    let position = self.positions.entry(number_of(arguments[0])).or_default();
                    let offset = *position;
                    *position += bytes.len();
                    offset
                } else {
                    arguments[3].trim_end_matches(')').parse().unwrap()
                };
                self.steps.push(Step::Write {
                    call,
                    path,
                    offset,
                    bytes,
                });
            }
            "fsync" | "fdatasync" => {
                if let Some(path) = self.descriptor(arguments[0].trim_end_matches(')')) {
                    self.steps.push(Step::Sync { call, path });
                }
            }
            _ => {}
        }
    }

    /// Everything else counts once it has returned.
    fn finish(&mut self, call: usize, text: &[u8]) {
        let Some((name, arguments)) = split(text) else {
            return;
        };
        let text = std::str::from_utf8(text).unwrap();
        let answer = text[text.rfind('=').unwrap() + 1..].trim();
        if answer.starts_with('-') || answer.starts_with('?') {
            let written = matches!(name, "pwrite64" | "write" | "fsync" | "fdatasync");
            assert!(
                !(written && self.descriptor(arguments[0]).is_some()),
                "a recorded {name} failed: {answer}"
            );
            return;
        }
        match name {
            "pwrite64" | "write" => {
                if self.descriptor(arguments[0]).is_some() {
                    assert_eq!(answer, arguments[2], "a short write");
                    self.steps.push(Step::End { call });
                }
            }
            "fsync" | "fdatasync" => {
                if self.descriptor(arguments[0]).is_some() {
                    self.steps.push(Step::End { call });
                }
            }
            "openat" => {
                self.positions.insert(number_of(answer), 0);
                let Some(path) = self.descriptor(answer) else {
                    return;
                };
                if arguments[2].contains("O_CREAT") && self.known.insert(path.clone()) {
                    self.name(NameChange::File(path));
                } else if arguments[2].contains("O_TRUNC") {
                    self.steps.push(Step::Resize { path, length: 0 });
                }
            }
            "ftruncate" => {
                if let Some(path) = self.descriptor(arguments[0]) {
                    let length = arguments[1].trim_end_matches(')').parse().unwrap();
                    self.steps.push(Step::Resize { path, length });
                }
            }
            "mkdir" => self.directory(self.named(None, arguments[0])),
            "mkdirat" => self.directory(self.named(Some(arguments[0]), arguments[1])),
            "unlink" | "rmdir" => self.remove(self.named(None, arguments[0])),
            "unlinkat" => self.remove(self.named(Some(arguments[0]), arguments[1])),
            "rename" => self.rename(
                self.named(None, arguments[0]),
                self.named(None, arguments[1]),
            ),
            "renameat" | "renameat2" => self.rename(
                self.named(Some(arguments[0]), arguments[1]),
                self.named(Some(arguments[2]), arguments[3]),
            ),
            "sync_file_range" => {}
            other => assert!(
                !arguments.iter().any(|argument| self
                    .absolute(argument)
                    .is_some_and(|path| path.starts_with(&self.root))
                    || (argument.starts_with('"') && self.named(None, argument).is_some())),
                "the model does not know {other}"
            ),
        }
    }

    fn directory(&mut self, path: Option<PathBuf>) {
        if let Some(path) = path {
            self.known.insert(path.clone());
            self.name(NameChange::Directory(path));
        }
    }

    fn remove(&mut self, path: Option<PathBuf>) {
        if let Some(path) = path {
            self.known.remove(&path);
            self.name(NameChange::Remove(path));
        }
    }

    fn rename(&mut self, from: Option<PathBuf>, to: Option<PathBuf>) {
        let (Some(from), Some(to)) = (from, to) else {
            return;
        };
        let moved: Vec<PathBuf> = self
            .known
            .iter()
            .filter(|path| path.starts_with(&from))
            .cloned()
            .collect();
        for path in moved {
            self.known.remove(&path);
            let rest = path.strip_prefix(&from).unwrap();
            self.known.insert(if rest.as_os_str().is_empty() {
                to.clone()
            } else {
                to.join(rest)
            });
        }
        self.name(NameChange::Rename(from, to));
    }

    fn name(&mut self, change: NameChange) {
        self.steps.push(Step::Name(change));
    }

    /// The path of a descriptor below the root, relative to it.
    fn descriptor(&self, argument: &str) -> Option<PathBuf> {
        let path = self.absolute(argument.trim_end_matches(')'))?;
        path.strip_prefix(&self.root).map(Path::to_owned).ok()
    }

    /// `5<\x2f\x74>`; none for a file that was removed.
    fn absolute(&self, argument: &str) -> Option<PathBuf> {
        let (_, rest) = argument.split_once('<')?;
        let (path, deleted) = rest.split_once('>')?;
        deleted.is_empty().then(|| path_of(&unescape(path)))
    }

    /// A named path below the root, relative to it.
    fn named(&self, directory: Option<&str>, argument: &str) -> Option<PathBuf> {
        let path = path_of(&quoted(argument.trim_end_matches(')')));
        let path = match directory {
            Some(directory) if path.is_relative() => self.absolute(directory)?.join(path),
            _ => path,
        };
        path.strip_prefix(&self.root).map(Path::to_owned).ok()
    }
}

/// The name of a call and its arguments; strings are all in hexadecimal, so commas only separate.
fn split(text: &[u8]) -> Option<(&str, Vec<&str>)> {
    let text = std::str::from_utf8(text).unwrap();
    let (name, rest) = text.split_once('(')?;
    // Single characters are looked for, since megabytes are looked through.
    let rest = match rest.rfind('=') {
        Some(end) => rest[..end].trim_end().trim_end_matches(')'),
        None => rest,
    };
    Some((name, rest.split(',').map(str::trim).collect()))
}

fn number_of(argument: &str) -> String {
    argument.split('<').next().unwrap().trim().to_owned()
}

fn quoted(argument: &str) -> Vec<u8> {
    let inner = argument
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    unescape(inner.unwrap_or_else(|| panic!("strace did not record all of a string")))
}

fn unescape(text: &str) -> Vec<u8> {
    let mut digits = [0_u8; 256];
    for (value, digit) in (0..).zip(b"0123456789abcdef") {
        digits[usize::from(*digit)] = value;
    }
    let text = text.as_bytes();
    let mut bytes = vec![0; text.len() / 4];
    let mut at = 0;
    while at < bytes.len() {
        let high = digits[usize::from(text[4 * at + 2])];
        bytes[at] = high << 4 | digits[usize::from(text[4 * at + 3])];
        at += 1;
    }
    bytes
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}
