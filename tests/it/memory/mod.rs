//! Secrets in memory: what a core dump holds, what a lock leaves, what a forked child finds, and what the system
//! refuses. A core dump is what the kernel would write, read from a child process that waits between operations; the
//! same search finds the same secrets when protection is off.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use self::dump::{Dump, Secret};
use self::known::{Known, Made};
use self::work::work_and_wait;

mod alive;
mod dump;
mod forks;
mod known;
mod locking;
mod work;

/// What a child process is to do.
const CHILD: &str = "STRONGROOM_MEMORY_CHILD";

pub(crate) fn job() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// A child process, which is this binary with a job, and talks in lines.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(test: &str, job: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(CHILD, job)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// Waits until the child says that it has come to `phase`.
    fn wait_for(&mut self, phase: &str) {
        self.wait_for_line(&format!("phase {phase}"));
    }

    pub(crate) fn wait_for_line(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            let length = self.output.read_line(&mut line).unwrap();
            assert!(length > 0, "the child ended before it said: {text}");
            if line.contains(text) {
                return line;
            }
        }
    }

    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    pub(crate) fn end(mut self) {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
    }
}

/// In the child: says where it is and waits.
fn phase(name: &str) {
    println!("phase {name}");
    let mut byte = [0];
    // The parent's end is also a sign to go on.
    let _ = std::io::stdin().lock().read(&mut byte).unwrap();
}

/// What was found of each kind of secret.
#[derive(Debug, Default)]
struct Found {
    /// What the caller holds all the time.
    unlocking: Vec<String>,
    /// What the child used for one call each.
    passing: Vec<String>,
    at_rest: Vec<String>,
    private: Vec<String>,
    /// What came to be in the child.
    made_at_rest: Vec<String>,
    made_private: Vec<String>,
}

impl Found {
    fn kinds(&mut self) -> [&mut Vec<String>; 6] {
        [
            &mut self.unlocking,
            &mut self.passing,
            &mut self.at_rest,
            &mut self.private,
            &mut self.made_at_rest,
            &mut self.made_private,
        ]
    }

    fn of(dump: &Dump, known: &Known, made: &Made) -> Self {
        // In the same order.
        let kinds = [
            &known.unlocking,
            &known.passing,
            &known.at_rest,
            &known.private,
            &made.at_rest,
            &made.private,
        ];
        let secrets: Vec<&Secret> = kinds.into_iter().flatten().collect();
        let mut all = dump.find_each(&secrets).into_iter();
        let mut found = Self::default();
        for (place, secrets) in found.kinds().into_iter().zip(kinds) {
            *place = all.by_ref().take(secrets.len()).flatten().collect();
        }
        found
    }

    /// All but what the caller holds.
    fn of_the_vault(&mut self) -> Vec<String> {
        let [_, kinds @ ..] = self.kinds();
        kinds.into_iter().flat_map(std::mem::take).collect()
    }
}

/// What a dump holds in the phases of [`work_and_wait`], and what is in the memory that it leaves out.
fn search(test: &str, protection: &str, mut look: impl FnMut(&str, Found, Found)) {
    let known = Known::new();
    let mut process = Process::start(test, &known.job(protection));
    let dumps = ["opened", "between operations", "locked"].map(|phase| {
        process.wait_for(phase);
        let dumps = Dump::of(process.child.id());
        process.go_on();
        (phase, dumps)
    });
    process.end();
    // Only now does anybody else know them.
    let made = known.made();
    for (phase, (dump, left_out)) in &dumps {
        eprintln!("{phase}: {} bytes searched", dump.length());
        let [dump, left_out] = [dump, left_out].map(|dump| Found::of(dump, &known, &made));
        look(phase, dump, left_out);
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn t6_with_full_protection_a_core_dump_between_operations_or_after_a_lock_holds_no_key() {
    const TEST: &str = "memory::t6_with_full_protection_a_core_dump_between_operations_or_after_a_lock_holds_no_key";
    if let Some(job) = job() {
        return work_and_wait(&job);
    }
    let mut all = Vec::new();
    search(TEST, "full", |phase, mut dump, mut left_out| {
        let mut tell = |place: &str, found: Vec<String>| {
            all.extend(found.iter().map(|found| format!("{phase}{place}: {found}")));
        };
        tell("", std::mem::take(&mut dump.unlocking));
        tell("", dump.of_the_vault());
        // The controls: what the caller holds, and what an open vault has to have.
        assert_eq!(left_out.unlocking.len(), 2, "{phase}");
        if phase == "between operations" {
            require_at_rest(&left_out.at_rest);
            require_new_kek(&left_out);
            require_private(&left_out.private);
            require(&left_out.made_private, "raw: private: made");
        }
        if phase == "locked" {
            // Not even where no dump looks.
            tell(", in memory that is left out", left_out.of_the_vault());
        }
    });
    assert!(all.is_empty(), "{all:#?}");
}

#[test]
fn t6_with_standard_protection_a_core_dump_holds_keys_in_use_but_not_those_above_them() {
    const TEST: &str = "memory::t6_with_standard_protection_a_core_dump_holds_keys_in_use_but_not_those_above_them";
    if let Some(job) = job() {
        return work_and_wait(&job);
    }
    search(TEST, "standard", |phase, dump, left_out| {
        for found in [&dump.unlocking, &dump.at_rest, &dump.made_at_rest] {
            assert_eq!(*found, NOTHING, "{phase}");
        }
        if phase == "between operations" {
            require_private(&dump.private);
            require(&dump.made_private, "raw: private: made");
            // The control for those that are held: they are where no dump looks.
            assert_eq!(left_out.unlocking.len(), 2);
            require_at_rest(&left_out.at_rest);
            require_new_kek(&left_out);
        } else {
            assert_eq!(dump.private, NOTHING, "{phase}");
            assert_eq!(dump.made_private, NOTHING, "{phase}");
        }
    });
}

#[test]
fn t6_without_protection_the_same_search_finds_the_keys() {
    const TEST: &str = "memory::t6_without_protection_the_same_search_finds_the_keys";
    if let Some(job) = job() {
        return work_and_wait(&job);
    }
    search(TEST, "none", |phase, mut dump, _| {
        assert_eq!(dump.unlocking.len(), 2, "{phase}");
        if phase == "between operations" {
            require_at_rest(&dump.at_rest);
            require_private(&dump.private);
            require_new_kek(&dump);
            require(&dump.made_private, "raw: private: made");
        }
        if phase == "locked" {
            assert_eq!(dump.of_the_vault(), NOTHING);
        }
    });
}

/// Every private and secret key, by what an opened key holds.
#[track_caller]
fn require_private(found: &[String]) {
    for name in [
        "rsa-2048 d",
        "rsa-2048 p",
        "rsa-2048 q",
        "rsa-2048 dP",
        "rsa-2048 dQ",
        "rsa-4096 d",
        "rsa-4096 p",
        "rsa-4096 q",
        "rsa-4096 dP",
        "rsa-4096 dQ",
        "rsa-2048 qInv",
        "rsa-4096 qInv",
        "ec-p256 d",
        "ec-p384 d",
        "ec-p521 d",
        "ec-p256k d",
        "oct-256",
        "oct-512",
        "oct-256 of the other vault",
    ] {
        require(found, name);
    }
}

/// The one that was replaced is gone.
#[track_caller]
fn require_new_kek(found: &Found) {
    require(&found.made_at_rest, "raw: KEK");
    let old = |line: &String| line.starts_with("raw: KEK (");
    assert!(!found.at_rest.iter().any(old), "{:#?}", found.at_rest);
}

/// The keys of the hierarchy that an open vault holds.
#[track_caller]
fn require_at_rest(found: &[String]) {
    for name in [
        "raw: SDK 1",
        "raw: meta key",
        "raw: audit key",
        "raw: index key",
        "pass: KEK",
    ] {
        require(found, name);
    }
}

#[track_caller]
fn require(found: &[String], name: &str) {
    let forms = ["", " in Montgomery form"].map(|form| format!("{name}{form} ("));
    assert!(
        found
            .iter()
            .any(|line| forms.iter().any(|form| line.starts_with(form))),
        "{name} is not in {found:#?}"
    );
}
