//! Calls of the system that fail: a full disk, a failing disk, a disk that became read-only. `strace` lets the
//! n-th call of a kind on the vault's files fail, whoever makes it, sled or strongroom. The error has the right
//! kind, nothing answers from a handle that has failed, and a vault that is opened again has every acknowledged
//! change.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use strongroom::{ErrorKind, Vault};

use super::disk::scratch;
use super::workload::{Bulk, acknowledged, compare, run};
use super::{Layout, child, job, kind_named, mark, open, open_marks, require_sound};
use crate::support::name;

const TEST: &str = "crash::faults::a_call_that_fails_loses_nothing_and_ends_the_handle";
const SEED: u64 = 7;
const CHANGES: u64 = 12;

/// Works until something fails, and marks what.
fn work(layout: &Layout) {
    let mut marks = open_marks(layout);
    let vault = match open(&layout.vault()) {
        Ok(vault) => vault,
        Err(error) => return mark(&mut marks, &format!("open {:?}", error.kind())),
    };
    match run(&vault, layout, (SEED, 0), 0..CHANGES, Bulk::Sometimes) {
        Ok(()) => {}
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty());
            mark(&mut marks, &format!("failed {:?}", error.kind()));
            let after = [
                vault.get_key(&name("thread-0-key-0")).unwrap_err().kind(),
                vault
                    .delete_key(&name("thread-0-key-0"))
                    .unwrap_err()
                    .kind(),
                first_of_a_listing(&vault),
            ];
            assert_eq!(after, [ErrorKind::VaultFailed; 3]);
            mark(&mut marks, "poisoned");
        }
    }
    if let Err(error) = vault.close() {
        mark(&mut marks, &format!("close {:?}", error.kind()));
    }
    mark(&mut marks, "end");
}

fn first_of_a_listing(vault: &Vault) -> ErrorKind {
    vault
        .list_key_properties()
        .next()
        .unwrap()
        .unwrap_err()
        .kind()
}

fn copy(from: &Path, to: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The files that strongroom itself reads and writes; "." is the directory.
const OWN_FILES: [&str; 6] = [
    "vault.journal",
    "vault.anchor",
    "vault.lock",
    "vault.hdr",
    "vault.spare",
    ".",
];

/// Lets calls on these files fail, `when` as `strace` counts them in each thread, and tells what the process marked.
fn inject(layout: &Layout, names: &[&str], call: &str, error: &str, when: &str) -> String {
    let vault = layout.vault();
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-o"])
        .arg(layout.base.join("trace"));
    for own in names {
        strace.arg("-P").arg(match *own {
            "." => vault.clone(),
            own => vault.join(own),
        });
    }
    let process = child(TEST, &layout.base.display().to_string());
    strace
        .args(["-e", &format!("trace={call}"), "-e"])
        .arg(format!("inject={call}:error={error}:when={when}"))
        .arg("--")
        .arg(process.get_program())
        .args(process.get_args())
        .env(super::CHILD, layout.base.display().to_string())
        .stdout(Stdio::null())
        .stderr(fs::File::create(layout.base.join("errors")).unwrap());
    let mut running = strace
        .spawn()
        .expect("faults are injected by strace: install it");
    let patience = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = running.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > patience {
            running.kill().unwrap();
            panic!("{call} {error} {when}: the process hangs");
        }
        thread::sleep(Duration::from_millis(2));
    };
    assert!(
        status.success(),
        "{call} {error} {when}: {status} {}",
        fs::read_to_string(layout.base.join("errors")).unwrap()
    );
    layout.read_marks()
}

#[test]
fn a_call_that_fails_loses_nothing_and_ends_the_handle() {
    if let Some(base) = job() {
        return work(&Layout::new(base.as_ref()));
    }
    let begun = Instant::now();
    let place = scratch();
    let original = Layout::new(&place.path().join("original"));
    fs::create_dir(&original.base).unwrap();
    original.prepare();
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let mut runs = 0;
    for (call, error) in [
        ("pwrite64", "ENOSPC"),
        ("pwrite64", "EIO"),
        ("fdatasync", "EIO"),
        ("fdatasync", "ENOSPC"),
        ("fsync", "EIO"),
        ("sync_file_range", "EIO"),
        ("openat", "EROFS"),
        ("openat", "EACCES"),
    ] {
        for when in [1, 2, 3, 5, 8, 13] {
            let layout = Layout::new(&place.path().join("case"));
            fs::create_dir(&layout.base).unwrap();
            copy(&original.disk(), &layout.disk());
            fs::write(layout.marks(), b"").unwrap();
            let story = format!("{call} {error} {when}");
            let files = [&["db"][..], &OWN_FILES].concat();
            let marks = inject(&layout, &files, call, error, &when.to_string());
            runs += 1;
            for line in marks.lines() {
                let Some((what, kind)) = line.split_once(' ') else {
                    continue;
                };
                if !["open", "failed", "close"].contains(&what) {
                    continue;
                }
                *outcomes.entry(format!("{what} {kind}")).or_default() += 1;
                let kind = kind_named(kind).unwrap_or_else(|| panic!("{story}: {line}"));
                let expected = match error {
                    "ENOSPC" => ErrorKind::StorageFull,
                    "EIO" => ErrorKind::Io,
                    _ => ErrorKind::ReadOnly,
                };
                let closed = what == "close" && kind == ErrorKind::VaultFailed;
                assert!(kind == expected || closed, "{story}: {line}");
            }
            if marks.contains("failed") {
                assert!(marks.contains("poisoned"), "{story}: {marks}");
            }
            let vault = open(&layout.vault())
                .unwrap_or_else(|error| panic!("{story}: it does not open again: {error:?}"));
            compare(&vault, SEED, &acknowledged(&marks, 1))
                .unwrap_or_else(|what| panic!("{story}: {what:?}"));
            require_sound(&vault, &layout.vault()).unwrap_or_else(|what| panic!("{story}: {what}"));
            vault.close().unwrap();
            fs::remove_dir_all(&layout.base).unwrap();
        }
    }
    eprintln!("{runs} runs, {outcomes:?}, {:?}", begun.elapsed());
    for wanted in [
        "open StorageFull",
        "failed StorageFull",
        "open Io",
        "failed Io",
        "open ReadOnly",
    ] {
        assert!(
            outcomes.contains_key(wanted),
            "{wanted} never happened: {outcomes:?}"
        );
    }
}

#[test]
fn an_interrupted_call_is_made_again() {
    let place = scratch();
    let original = Layout::new(&place.path().join("original"));
    fs::create_dir(&original.base).unwrap();
    original.prepare();
    // sled opens the directory, too, and takes an interruption for an error: opening is looked at below sled's calls.
    for call in ["pread64", "pwrite64", "flock"] {
        let layout = Layout::new(&place.path().join(call));
        fs::create_dir(&layout.base).unwrap();
        copy(&original.disk(), &layout.disk());
        fs::write(layout.marks(), b"").unwrap();
        let marks = inject(&layout, &OWN_FILES, call, "EINTR", "1+2");
        let trace = fs::read_to_string(layout.base.join("trace")).unwrap();
        let interrupted = trace.matches("(INJECTED)").count();
        eprintln!("{call}: {interrupted} times");
        assert!(interrupted >= 2, "{call}: {trace}");
        let ended = marks.lines().any(|line| line == "end");
        let trouble = ["open ", "failed ", "close "];
        let troubled = |line: &str| trouble.iter().any(|start| line.starts_with(start));
        assert!(ended && !marks.lines().any(troubled), "{call}: {marks}");
        let vault = open(&layout.vault()).unwrap();
        compare(&vault, SEED, &acknowledged(&marks, 1)).unwrap();
        require_sound(&vault, &layout.vault()).unwrap();
        vault.close().unwrap();
    }
}

#[test]
fn a_read_only_directory_is_refused_as_such_and_left_alone() {
    let place = scratch();
    let layout = Layout::new(place.path());
    layout.prepare();
    let set = |mode| {
        for entry in fs::read_dir(layout.vault()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let mode = fs::Permissions::from_mode(mode & 0o600);
                fs::set_permissions(path, mode).unwrap();
            }
        }
        fs::set_permissions(layout.vault(), fs::Permissions::from_mode(mode)).unwrap();
    };
    set(0o500);
    let opened = open(&layout.vault());
    if rustix::process::geteuid().is_root() {
        // Modes do not bind the superuser: the vault simply opens. Injected errors stand in for him.
        opened.unwrap().close().unwrap();
    } else {
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::ReadOnly);
    }
    set(0o700);
    open(&layout.vault()).unwrap().close().unwrap();
}
