//! kill -9 at any moment of making, rotating and purging keys: afterwards every acknowledged key works, every purged
//! one is gone, and the token holds exactly the keys of the records, but for objects without a name that SoftHSM2 leaves.
//! Where keys are wrapped it holds the one that wraps them, whole, however often making it was cut short.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cryptoki::object::{Attribute, AttributeType};
use hsm_softhsm_tests::{Configuration, SoftHsm, Token, child};
use strongroom::backend::KeyBackend;
use strongroom::backend::pkcs11::{KeyKeeping, Pkcs11Backend};
use strongroom::{
    BackendFinding, BackendFindingKind, CreateKeyOptions, EncryptionAlgorithm, KeyName, KeyType,
    MaintenanceOptions, OctKeySize, Unlock, Vault, VaultOptions,
};

use super::{labels, markers, master_key, name, place_of, signer, within};
use crate::backends::own_options;
use crate::programme::{Figures, cases};

#[test]
fn after_a_kill_at_any_moment_token_and_records_agree() {
    let test = "faults::kill::after_a_kill_at_any_moment_token_and_records_agree";
    kill_at_work(test, KeyKeeping::Resident, cases(100, 2_000));
}

#[test]
fn after_a_kill_while_keys_are_wrapped_token_and_records_agree() {
    let test = "faults::kill::after_a_kill_while_keys_are_wrapped_token_and_records_agree";
    kill_at_work(test, KeyKeeping::Wrapped, cases(30, 600));
}

fn kill_at_work(test: &'static str, keeping: KeyKeeping, rounds: usize) {
    if child::job().is_some() {
        work(keeping);
    }
    let patience = Duration::from_secs(600).max(Duration::from_secs(3) * rounds as u32);
    within(patience, move || {
        let start = Instant::now();
        let figures = Figures::begin(match keeping {
            KeyKeeping::Wrapped => "kill -9, keys wrapped by a token",
            _ => "kill -9, keys in a token",
        });
        let token = Token::alone();
        let backend = Arc::new(backend(&token, keeping));
        let mut seen = Seen::default();
        for round in 0..rounds as u64 {
            let mut working = Working::start(test, &token);
            while !working.told().contains("start\n") {
                working.goes_on();
                thread::sleep(Duration::from_millis(1));
            }
            // The numbers 0 to 60 in an order without a pattern that the work could share.
            thread::sleep(Duration::from_micros(round * 37_747 % 60_000));
            working.kill();
            look(&token, &backend, keeping, &working.told(), &mut seen);
            figures.count(1);
        }
        figures.finish();
        println!(
            "{rounds} kills in {:.0} s: {} keys acknowledged, {} purged, {} cut short, {} objects without a name",
            start.elapsed().as_secs_f32(),
            seen.made,
            seen.purged,
            seen.cut,
            seen.nameless
        );
        // On a busy machine a process does not get far before it is killed.
        assert!(seen.made * 4 > rounds && seen.purged > 0 && seen.cut > 0);
    });
}

/// How often the process is killed while, or just after, it makes the key that wraps others.
const CUT_SHORT: u64 = 20;

#[test]
fn after_a_kill_while_the_wrapping_key_is_made_there_is_a_whole_one() {
    let test = "faults::kill::after_a_kill_while_the_wrapping_key_is_made_there_is_a_whole_one";
    let keeping = KeyKeeping::Wrapped;
    if child::job().is_some() {
        work(keeping);
    }
    within(Duration::from_secs(600), || {
        let softhsm = SoftHsm::copy(&Configuration::new());
        let (mut nameless, mut half, mut again) = (0, 0, 0);
        for round in 0..CUT_SHORT {
            // A token without a wrapping key, and no vault with keys of another.
            let token = softhsm.new_token();
            drop(fs::remove_dir_all(place_of(&softhsm)));
            let mut working = Working::start(test, &token);
            // Nothing else is written to the token: an object is the wrapping key, as far as it got.
            while token.object_files() == 0 {
                working.goes_on();
                std::hint::spin_loop();
            }
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_micros(round * 37 % 80) {
                std::hint::spin_loop();
            }
            working.kill();
            match keks(&token)[..] {
                [] => nameless += 1,
                [false] => half += 1,
                _ => {}
            }
            let before = keks(&token);
            let backend = Arc::new(backend(&token, keeping));
            let vault = open(&token, &backend);
            for key in ["one", "two"] {
                vault.create_key(&name(key), signer()).unwrap();
            }
            assert!(vault.check().unwrap().is_sound());
            vault.close().unwrap();
            // Whoever comes later chooses the same.
            let files = token.object_files();
            let backend = Arc::new(self::backend(&token, keeping));
            let vault = open(&token, &backend);
            vault.create_key(&name("three"), signer()).unwrap();
            for key in ["one", "two", "three"] {
                every_version_works(&vault, &name(key));
            }
            vault.close().unwrap();
            assert_eq!(token.object_files(), files);
            let after = keks(&token);
            assert!(after.contains(&true), "{before:?}, {after:?}");
            assert!(after.len() <= before.len() + 1, "{before:?}, {after:?}");
            again += u64::from(after.len() > before.len());
        }
        println!(
            "{CUT_SHORT} kills: {nameless} left an object without a name, {half} one without a value; {again} times the \
             key was made anew"
        );
    });
}

/// The objects of the token that have the label of a wrapping key, and whether they are whole: what SoftHSM2 writes
/// last tells that the token made the key.
fn keks(token: &Token) -> Vec<bool> {
    let session = token.session();
    let labelled = [Attribute::Label(KEK.into()), Attribute::Token(true)];
    let objects = session.find_objects(&labelled).unwrap();
    let made_here = objects.into_iter().map(|object| {
        let local = session.get_attributes(object, &[AttributeType::Local]);
        local.unwrap() == [Attribute::Local(true)]
    });
    made_here.collect()
}

const KEK: &str = "strongroom/kek";

/// A child at work, and what it has told.
struct Working {
    child: Child,
    acknowledgements: PathBuf,
}

impl Working {
    fn start(test: &str, token: &Token) -> Self {
        let acknowledgements = acknowledgements(token);
        drop(fs::remove_file(&acknowledgements));
        let mut command = child::command(test, "work");
        token.lend(&mut command);
        Self {
            child: command.stdout(Stdio::null()).spawn().unwrap(),
            acknowledgements,
        }
    }

    fn goes_on(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the child ended");
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn told(&self) -> String {
        told(&self.acknowledgements)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        // A test that fails leaves no child behind.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn backend(token: &Token, keeping: KeyKeeping) -> Pkcs11Backend {
    Pkcs11Backend::new(own_options(token).keeping(keeping))
}

#[derive(Default)]
struct Seen {
    made: usize,
    purged: usize,
    /// Rounds in which something was under way.
    cut: usize,
    nameless: usize,
}

fn acknowledgements(token: &Token) -> PathBuf {
    place_of(token.softhsm()).with_file_name("acknowledgements")
}

/// Whole lines only.
fn told(path: &Path) -> String {
    let mut text = fs::read_to_string(path).unwrap_or_default();
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    text
}

fn open(token: &Token, backend: &Arc<Pkcs11Backend>) -> Vault {
    let master = master_key();
    VaultOptions::new()
        .backend(Arc::clone(backend) as Arc<dyn KeyBackend>)
        .open_or_create(place_of(token.softhsm()), Unlock::raw_key(&master))
        .unwrap()
}

/// The child: makes, rotates and purges keys until it is killed.
fn work(keeping: KeyKeeping) -> ! {
    let token = Token::lent().unwrap();
    let vault = open(&token, &Arc::new(backend(&token, keeping)));
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(acknowledgements(&token))
        .unwrap();
    let round = std::process::id();
    tell(&mut file, "start");
    for count in 0.. {
        let key = name(&format!("key-{round}-{count}"));
        tell(&mut file, &format!("making {key}"));
        let options = match count % 4 {
            3 => CreateKeyOptions::oct(OctKeySize::Bits256).hsm(),
            _ => signer(),
        };
        vault.create_key(&key, options).unwrap();
        tell(&mut file, &format!("made {key}"));
        if count % 3 == 1 {
            vault.rotate_key(&key).unwrap();
        }
        if count % 2 == 0 {
            tell(&mut file, &format!("dropping {key}"));
            vault.delete_key(&key).unwrap();
            vault.purge_deleted_key(&key).unwrap();
            tell(&mut file, &format!("purged {key}"));
        }
    }
    unreachable!("it is killed");
}

fn tell(file: &mut File, line: &str) {
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn named<'a>(told: &'a str, what: &'a str) -> impl Iterator<Item = KeyName> {
    told.lines()
        .filter_map(move |line| line.strip_prefix(what)?.strip_prefix(' '))
        .map(name)
}

fn look(
    token: &Token,
    backend: &Arc<Pkcs11Backend>,
    keeping: KeyKeeping,
    told: &str,
    seen: &mut Seen,
) {
    let vault = open(token, backend);
    let report = only_nameless(vault.open_report().unwrap().backend_findings());
    assert_eq!(only_nameless(&vault.reconcile_backends().unwrap()), report);
    seen.nameless = report;
    let settled = vault.maintain(MaintenanceOptions::new()).unwrap();
    assert_eq!((settled.settled(), settled.unsettled()), (0, 0));
    assert!(vault.check().unwrap().is_sound());

    let purged: BTreeSet<_> = named(told, "purged").collect();
    let dropping: BTreeSet<_> = named(told, "dropping").collect();
    let made: BTreeSet<_> = named(told, "made").collect();
    seen.made += made.len();
    seen.purged += purged.len();
    let last = told.lines().last().unwrap_or_default();
    seen.cut += usize::from(last.starts_with("making") || last.starts_with("dropping"));
    for key in vault.list_deleted_key_properties() {
        let key = key.unwrap().properties().name().clone();
        assert!(dropping.contains(&key) && !purged.contains(&key), "{key}");
        vault.recover_deleted_key(&key).unwrap();
    }
    let mut records = BTreeSet::new();
    for key in vault.list_key_properties() {
        records.insert(key.unwrap().name().clone());
    }
    for key in &made {
        assert!(records.contains(key) || dropping.contains(key), "{key}");
    }
    for key in &purged {
        assert!(!records.contains(key), "{key} was purged");
    }
    for key in &records {
        every_version_works(&vault, key);
    }
    let objects = labels(token);
    let held = objects.iter().filter(|label| !label.is_empty());
    if keeping == KeyKeeping::Wrapped {
        // No more than the rounds that were cut before there was one.
        assert!(held.clone().all(|label| label == KEK), "{objects:?}");
    } else {
        let expected: usize = records
            .iter()
            .map(|key| vault.list_key_properties_versions(key).unwrap().count())
            .sum();
        assert_eq!(held.count(), expected, "{objects:?}");
    }
    assert_eq!(markers(token), 0);
    // The token stays small, and purging is tried here too.
    for key in records.iter().skip(2) {
        vault.delete_key(key).unwrap();
        vault.purge_deleted_key(key).unwrap();
    }
    vault.close().unwrap();
}

fn every_version_works(vault: &Vault, key: &KeyName) {
    for version in vault.list_key_properties_versions(key).unwrap() {
        let id = version.id().clone();
        if vault.get_key(&id).unwrap().properties().key_type() == KeyType::OctHsm {
            let gcm = EncryptionAlgorithm::A256Gcm;
            let sealed = vault.encrypt(&id, gcm, b"text", Default::default());
            let sealed = sealed.unwrap();
            let opened = vault.decrypt(&id, gcm, (&sealed).into()).unwrap();
            assert_eq!(opened.expose(), b"text");
            continue;
        }
        let es256 = strongroom::SignatureAlgorithm::Es256;
        let signature = vault.sign_data(&id, es256, b"text").unwrap();
        vault
            .verify_data(&id, es256, b"text", signature.signature())
            .unwrap();
    }
}

/// How many objects have no name; anything else is a defect.
fn only_nameless(findings: &[BackendFinding]) -> usize {
    for finding in findings {
        assert_eq!(
            finding.kind(),
            BackendFindingKind::NamelessObject,
            "{finding:?}"
        );
    }
    findings.len()
}
