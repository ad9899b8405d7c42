//! What `strace` tells of a run, as steps of the model.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Disk, NameChange, Random, Step};

#[cfg(test)]
mod tests;

const CALLS: &str = "trace=openat,open,creat,write,pwrite64,pwritev,pwritev2,writev,fsync,fdatasync,\
    sync_file_range,rename,renameat,renameat2,unlink,unlinkat,rmdir,ftruncate,truncate,fallocate,\
    mkdir,mkdirat,link,linkat,symlink,symlinkat,copy_file_range,sendfile,sync,syncfs";

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

    /// The same run on a disk that makes nothing of a sync.
    #[allow(dead_code, reason = "one of the test binaries")]
    pub(crate) fn without_syncs(mut self) -> Self {
        self.steps.retain(|step| !matches!(step, Step::Sync { .. }));
        self
    }

    /// How many moments there are at which the power can go.
    pub(crate) fn len(&self) -> usize {
        self.steps.len() + 1
    }

    /// Moments for cuts, ascending: most of them while bytes of one of these files are not durable.
    pub(crate) fn moments(&self, count: usize, paths: &[&str], random: &mut Random) -> Vec<usize> {
        let all: Vec<usize> = (0..self.len()).collect();
        let mut in_flight = Vec::new();
        self.visit(&all, |moment, disk, _| {
            if paths.iter().any(|path| disk.is_unsynced(path)) {
                in_flight.push(moment);
            }
        });
        let mut moments: Vec<usize> = (0..count)
            .map(|number| {
                if number % 5 == 0 || in_flight.is_empty() {
                    random.below(self.len())
                } else {
                    in_flight[random.below(in_flight.len())]
                }
            })
            .collect();
        moments.sort_unstable();
        moments
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
        if text.ends_with(b" <detached ...>") {
            // The process ended during the call: nobody saw it return.
            if self.open_calls.remove(&thread).is_none() {
                let call = self.number();
                self.begin(call, text.strip_suffix(b" <detached ...>").unwrap());
            }
        } else if let Some(begun) = text.strip_suffix(b" <unfinished ...>") {
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
        if matches!(answer, "?" | "? <unavailable>") || answer.contains("(errno ") {
            // The process ended during the call. `strace` may then read a number that is no error's.
            return;
        }
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
