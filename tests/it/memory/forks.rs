//! Vaults on both sides of a fork.
#![expect(unsafe_code, reason = "a fork")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use strongroom::{
    CreateKeyOptions, Curve, EncryptOptions, EncryptionAlgorithm, ErrorKind, MasterKey, OctKeySize,
    SignatureAlgorithm, Unlock, Vault, VaultOptions,
};

use super::work::{open_both, operate, operate_symmetric};
use super::{Dump, Known, Process, job, phase};
use crate::support::{master_key, name, refused};

mod system {
    unsafe extern "C" {
        pub(super) fn fork() -> i32;
        pub(super) fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
        pub(super) fn _exit(status: i32) -> !;
    }
}

/// Runs `child` in a fork of this process, which has one thread that does anything.
fn fork(child: impl FnOnce()) -> i32 {
    // SAFETY: the C library makes its own locks usable in the child.
    let process = unsafe { system::fork() };
    assert!(process >= 0);
    if process == 0 {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
        // SAFETY: it ends the process.
        unsafe { system::_exit(i32::from(outcome.is_err())) }
    }
    process
}

/// As [`fork`], with values that each of the two processes has for itself.
fn fork_with<T>(values: T, child: impl FnOnce(T)) -> (i32, T) {
    let mut values = Some(values);
    let process = fork(|| child(values.take().unwrap()));
    (process, values.unwrap())
}

/// Waits for it; `true` when it ended without a panic.
fn succeeded(process: i32) -> bool {
    let mut status = -1;
    // SAFETY: `status` is a place for the answer.
    let ended = unsafe { system::waitpid(process, &raw mut status, 0) };
    ended == process && status == 0
}

type Files = BTreeMap<String, (SystemTime, Vec<u8>)>;

fn files(directory: &Path) -> Files {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| {
            let modified = path.metadata().unwrap().modified().unwrap();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, (modified, fs::read(&path).unwrap()))
        })
        .collect()
}

const SIGNER: &str = "signer";
const CIPHER: &str = "cipher";

fn sign(vault: &Vault) -> strongroom::Result<()> {
    vault
        .sign_data(&name(SIGNER), SignatureAlgorithm::Es256, b"data")
        .map(drop)
}

const TEST: &str = "memory::forks::t9_a_forked_child_is_refused_and_harms_nobody";

fn fork_with_an_open_vault(base: &Path) {
    let path = base.join("vault");
    let master = master_key();
    let unlock = Unlock::raw_key(&master);
    let options = || VaultOptions::new().lock_after_idle(Duration::from_secs(600));
    let vault = options().create(&path, unlock).unwrap();
    vault
        .create_key(&name(SIGNER), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    vault
        .create_key(&name(CIPHER), CreateKeyOptions::oct(OctKeySize::Bits256))
        .unwrap();
    // A count that a close would write back.
    vault
        .encrypt(
            &name(CIPHER),
            EncryptionAlgorithm::A256Gcm,
            b"text",
            EncryptOptions::new(),
        )
        .unwrap();
    sign(&vault).unwrap();
    let bound = vault.key(&name(SIGNER)).unwrap();
    let domain = vault.security_domain().unwrap();
    let listing = vault.list_key_properties();
    // The anchor is synced within a second of a change.
    std::thread::sleep(Duration::from_millis(1_500));
    let before = files(&path);
    let handles = (vault, bound, listing, domain);
    let (child, handles) = fork_with(handles, |(vault, bound, mut listing, domain)| {
        let forked = ErrorKind::ForkedProcess;
        assert_eq!(refused(sign(&vault)), forked);
        assert_eq!(
            refused(bound.sign(SignatureAlgorithm::Es256, &[7; 32])),
            forked
        );
        assert_eq!(refused(vault.get_key(&name(SIGNER))), forked);
        let ec = CreateKeyOptions::ec(Curve::P256);
        assert_eq!(refused(vault.create_key(&name("new"), ec)), forked);
        assert_eq!(refused(vault.delete_key(&name(SIGNER))), forked);
        assert_eq!(refused(vault.check()), forked);
        assert_eq!(refused(listing.next().unwrap()), forked);
        assert_eq!(refused(vault.security_domain()), forked);
        assert_eq!(refused(vault.lock()), forked);
        assert_eq!(refused(vault.close()), forked);
        let other = base.join("sister");
        let sister = VaultOptions::new().create_in_domain(&other, unlock, &domain);
        assert_eq!(refused(sister), forked);
        // By the last handles, as far as this process knows.
        drop((vault, bound, listing, domain));
        // What the caller holds is as before, and the child can have vaults of its own in memory, but no others.
        assert_eq!(master.expose(), master_key().expose());
        assert_eq!(refused(VaultOptions::new().open(&path, unlock)), forked);
        assert_eq!(refused(VaultOptions::new().create(&other, unlock)), forked);
        assert!(!other.exists());
        let own = VaultOptions::new().create_in_memory().unwrap();
        own.create_key(&name(SIGNER), CreateKeyOptions::ec(Curve::P256))
            .unwrap();
        sign(&own).unwrap();
        own.lock().unwrap();
    });
    assert!(succeeded(child));
    assert!(before == files(&path), "the child changed a file");
    // The parent still has the lock.
    Process::start(TEST, &format!("try {}", path.display())).end();
    let (vault, bound, mut listing, domain) = handles;
    sign(&vault).unwrap();
    bound.sign(SignatureAlgorithm::Es256, &[7; 32]).unwrap();
    listing.next().unwrap().unwrap();
    vault
        .create_key(&name("new"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    assert!(vault.check().unwrap().is_clean());
    drop((bound, listing, domain));
    vault.close().unwrap();
    drop(vault);
    let vault = VaultOptions::new().open(&path, unlock).unwrap();
    let report = vault.open_report().unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(vault.list_key_properties().count(), 3);
    vault.close().unwrap();
    drop((vault, options));
    // The controls: once nobody has it, a process opens it as the one that was refused tried to; and the comparison
    // of files sees what it changes.
    let before = files(&path);
    Process::start(TEST, &format!("change {}", path.display())).end();
    assert!(
        before != files(&path),
        "the comparison of files sees nothing"
    );
}

#[test]
fn t9_a_forked_child_is_refused_and_harms_nobody() {
    if let Some(job) = job() {
        let open = |path| VaultOptions::new().open(path, Unlock::raw_key(&master_key()));
        return match job.split_once(' ') {
            Some(("try", path)) => assert_eq!(refused(open(path)), ErrorKind::VaultInUse),
            Some((_, path)) => {
                let vault = open(path).unwrap();
                vault.delete_key(&name(SIGNER)).unwrap();
                vault.close().unwrap();
            }
            None => fork_with_an_open_vault(job.as_ref()),
        };
    }
    let place = tempfile::tempdir().unwrap();
    Process::start(TEST, place.path().to_str().unwrap()).end();
}

#[test]
fn t9_a_fork_finds_zeros_in_place_of_the_keys() {
    const TEST: &str = "memory::forks::t9_a_fork_finds_zeros_in_place_of_the_keys";
    if let Some(job) = job() {
        let opened = open_both(&job);
        operate(&opened.raw);
        operate_symmetric(&opened.pass);
        let child = fork(|| {
            // Until the parent of all closes its end.
            let _ = std::io::stdin().lock().read(&mut [0]).unwrap();
        });
        println!();
        phase(&format!("forked {child}"));
        assert!(succeeded(child));
        return;
    }
    for protection in ["full", "none"] {
        let known = Known::new();
        let mut process = Process::start(TEST, &known.job(protection));
        let line = process.wait_for_line("phase forked ");
        let child = line.rsplit(' ').next().unwrap().trim().parse().unwrap();
        // The controls: they are in the memory of the parent; and without protection in that of the child.
        let parent = Dump::of_everything(process.child.id());
        super::require_at_rest(&parent.find(&known.at_rest));
        super::require_private(&parent.find(&known.private));
        let dump = Dump::of_everything(child);
        if protection == "full" {
            assert_eq!(dump.find(&known.at_rest), Vec::<String>::new());
            assert_eq!(dump.find(&known.private), Vec::<String>::new());
        } else {
            super::require_at_rest(&dump.find(&known.at_rest));
            super::require_private(&dump.find(&known.private));
        }
        assert_eq!(dump.find(&known.unlocking).len(), 2);
        process.end();
    }
}

#[test]
fn a_process_can_fork_before_it_opens_a_vault() {
    const TEST: &str = "memory::forks::a_process_can_fork_before_it_opens_a_vault";
    if let Some(base) = job() {
        let path = Path::new(&base).join("vault");
        // Made before the fork, as a daemon may do that reads its key first.
        let master = master_key();
        let scratch = VaultOptions::new().create_in_memory().unwrap();
        let child = fork(|| {
            let vault = VaultOptions::new()
                .create(&path, Unlock::raw_key(&master))
                .unwrap();
            assert!(
                vault.memory_report().is_full(),
                "{:?}",
                vault.memory_report()
            );
            vault
                .create_key(&name(SIGNER), CreateKeyOptions::ec(Curve::P256))
                .unwrap();
            vault.close().unwrap();
        });
        assert!(succeeded(child));
        drop(scratch);
        let master = MasterKey::from_bytes(master.expose()).unwrap();
        let vault = VaultOptions::new()
            .open(&path, Unlock::raw_key(&master))
            .unwrap();
        sign(&vault).unwrap();
        return;
    }
    let place = tempfile::tempdir().unwrap();
    Process::start(TEST, place.path().to_str().unwrap()).end();
}
