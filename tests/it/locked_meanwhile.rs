//! Vaults that are locked or closed while a stream of theirs is being written, and what the audit log says of locks: a
//! lock waits for the end of the stream, a close does not, and what it leaves is no backup.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use strongroom::{
    AuditEntry, AuditOptions, BackupOptions, CreateKeyOptions, ErrorKind, OctKeySize, Permission,
    Permissions, RestoreOptions, Unlock, Vault,
};

use crate::support::{Place, master_key, name, refused};

/// Stops at one of its calls until it is told to go on.
struct Pausing {
    written: Vec<u8>,
    calls_left: usize,
    stopped: Sender<()>,
    go_on: Receiver<()>,
}

impl Pausing {
    /// The writer, a sign that it has stopped, and the way to let it go on.
    fn at(call: usize) -> (Self, Receiver<()>, Sender<()>) {
        let (stopped, has_stopped) = channel();
        let (let_go, go_on) = channel();
        let writer = Self {
            written: Vec::new(),
            calls_left: call,
            stopped,
            go_on,
        };
        (writer, has_stopped, let_go)
    }
}

impl Write for Pausing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls_left = self.calls_left.wrapping_sub(1);
        if self.calls_left == 0 {
            self.stopped.send(()).unwrap();
            self.go_on.recv().unwrap();
        }
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// More keys than one step of a backup looks at.
const KEYS: usize = 80;

fn filled(place: &Place) -> Vault {
    let options = place.options().audit(AuditOptions::on());
    let vault = options
        .create(&place.path, Unlock::raw_key(&master_key()))
        .unwrap();
    for number in 0..KEYS {
        let oct = CreateKeyOptions::oct(OctKeySize::Bits256);
        vault.create_key(&name(&format!("k{number}")), oct).unwrap();
    }
    vault
}

fn is_whole(vault: &Vault, stream: &[u8]) -> strongroom::Result<u64> {
    vault
        .restore_all_plan(stream, &RestoreOptions::new(), |_| ())
        .map(|plan| plan.present())
}

/// Runs `work` into a writer that stops; meanwhile `lock` begins, and waits.
fn locked_during(
    vault: &Vault,
    call: usize,
    work: impl Fn(&mut Pausing) -> strongroom::Result<()> + Sync,
) -> Vec<u8> {
    let (mut writer, has_stopped, let_go) = Pausing::at(call);
    thread::scope(|scope| {
        let working = scope.spawn(|| {
            work(&mut writer).unwrap();
            writer.written
        });
        has_stopped.recv().unwrap();
        let locking = scope.spawn(|| vault.lock());
        while !vault.is_locked() {
            thread::yield_now();
        }
        // New work is refused, and the lock has not happened: the stream is not at its end.
        assert_eq!(refused(vault.get_key(&name("k0"))), ErrorKind::VaultLocked);
        assert!(!locking.is_finished());
        let_go.send(()).unwrap();
        let written = working.join().unwrap();
        locking.join().unwrap().unwrap();
        written
    })
}

#[test]
fn a_lock_waits_until_a_backup_is_whole() {
    // In the middle, in another step of the listing, and before the very last part.
    for call in [20, 2 * KEYS - 6, 2 * KEYS + 7] {
        let place = Place::new();
        let vault = filled(&place);
        let stream = locked_during(&vault, call, |writer| {
            let report = vault.backup_to(writer, &BackupOptions::new(), |_| ())?;
            assert_eq!(report.keys(), KEYS as u64);
            Ok(())
        });
        drop(vault);
        let vault = place.open().unwrap();
        assert_eq!(is_whole(&vault, &stream).unwrap(), KEYS as u64);
    }
}

#[test]
fn a_lock_waits_until_the_audit_log_is_exported() {
    let place = Place::new();
    let vault = filled(&place);
    let exported = locked_during(&vault, 30, |writer| {
        vault
            .export_audit(writer)
            .map(|count| assert!(count >= KEYS as u64))
    });
    let lines = exported.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines >= KEYS, "{lines}");
    assert_eq!(exported.last(), Some(&b'\n'));
}

#[test]
fn a_close_ends_a_backup_with_an_error_and_what_was_written_is_none() {
    let place = Place::new();
    let vault = filled(&place);
    let (mut writer, has_stopped, let_go) = Pausing::at(20);
    let (failed, written) = thread::scope(|scope| {
        let working = scope.spawn(|| {
            let done = vault.backup_to(&mut writer, &BackupOptions::new(), |_| ());
            (done.map(drop), writer.written)
        });
        has_stopped.recv().unwrap();
        vault.close().unwrap();
        let_go.send(()).unwrap();
        working.join().unwrap()
    });
    assert_eq!(refused(failed), ErrorKind::VaultFailed);
    drop(vault);
    let vault = place.open().unwrap();
    assert_eq!(
        refused(is_whole(&vault, &written)),
        ErrorKind::InvalidBackup
    );
    let restored = vault.restore_all_from(&written[..], &RestoreOptions::new(), |_| ());
    assert_eq!(refused(restored), ErrorKind::InvalidBackup);
    assert!(vault.check().unwrap().is_clean());
}

fn locks(place: &Place) -> Vec<AuditEntry> {
    let vault = loop {
        match place.open() {
            Ok(vault) => break vault,
            // A thread that locks by itself lets go of the files when it is done.
            Err(error) if error.kind() == ErrorKind::VaultInUse => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert!(vault.verify_audit().unwrap().is_intact());
    vault
        .audit_entries(0)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.operation() == "VaultLock")
        .collect()
}

#[test]
fn a_lock_leaves_an_audit_entry() {
    let place = Place::new();
    let vault = filled(&place);
    let restricted = vault.restricted(Permissions::from([Permission::Get]));
    assert_eq!(refused(restricted.lock()), ErrorKind::Forbidden);
    vault.lock().unwrap();
    // Once more is no error, and nothing that could be recorded.
    vault.lock().unwrap();
    drop((restricted, vault));
    let entries = locks(&place);
    let errors: Vec<Option<&str>> = entries.iter().map(AuditEntry::error_kind).collect();
    assert_eq!(errors, [Some("Forbidden"), None]);
    assert_eq!(entries[1].actor(), None);
}

#[test]
fn a_vault_that_locks_itself_leaves_an_audit_entry() {
    let place = Place::new();
    drop(filled(&place));
    let options = place.options().lock_after_idle(Duration::from_millis(60));
    let vault = options
        .open(&place.path, Unlock::raw_key(&master_key()))
        .unwrap();
    while !vault.is_locked() {
        thread::sleep(Duration::from_millis(5));
    }
    let entries = locks(&place);
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].error_kind(), entries[0].actor()), (None, None));
    drop(vault);
}
