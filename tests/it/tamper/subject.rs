//! A small vault as an image in memory, and everything that it can be asked.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use strongroom::{
    Ciphertext, Clock, CreateKeyOptions, Curve, EncryptOptions, EncryptionAlgorithm, ErrorKind,
    ImportKeyOptions, ImportedKey, KeyIdentifier, KeyName, OctKeySize, OpenFinding, SecretBytes,
    SignatureAlgorithm, Tags, Unlock, UpdateKeyOptions, Vault, VaultOptions, WrapAlgorithm,
};

pub(super) use crate::image::{Image, read_image, scratch, write_image};
use crate::programme::Figures;
use crate::support::{FakeClock, master_key, name, variable};

/// What something is asked and must answer, if it answers at all.
#[derive(Clone)]
enum Fact {
    Signature(KeyIdentifier, SignatureAlgorithm, Vec<u8>),
    Ciphertext(KeyIdentifier, Vec<u8>, Vec<u8>, Vec<u8>),
    Wrapped(KeyIdentifier, WrapAlgorithm, Vec<u8>),
    Mac(KeyName, SignatureAlgorithm, Vec<u8>),
}

/// A vault's image with what is true of it.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) image: Image,
    /// The image some changes earlier.
    pub(super) earlier: Image,
    facts: Vec<Fact>,
    /// Names, versions, attributes and tags, as text.
    portrait: String,
    /// Whether the uses encrypt too, which writes to the vault.
    encrypts: bool,
}

/// The keys that are neither deleted nor purged in the end.
const KEYS: [&str; 10] = [
    "signer",
    "other-signer",
    "data",
    "mac",
    "kek-0",
    "kek-1",
    "kek-2",
    "kek-3",
    "kek-4",
    "deleted",
];
const TEXT: &[u8] = b"the plaintext of the tests";
const WRAPPED: [u8; 32] = [0x77; 32];

pub(super) fn options(clock: &Arc<FakeClock>) -> VaultOptions {
    VaultOptions::new()
        .clock(Arc::clone(clock) as Arc<dyn Clock>)
        .storage_cache(8 << 20)
}

pub(super) fn open(path: &Path) -> strongroom::Result<Vault> {
    options(&FakeClock::new()).open(path, Unlock::raw_key(&master_key()))
}

/// Two EC keys, one with two versions and tags, an AES key with a GCM counter, an HMAC key, a deleted key,
/// a purged one, and changed settings.
pub(super) fn fill(vault: &Vault) -> Subject {
    let mut facts = Vec::new();
    let signer = name("signer");
    let ec = || CreateKeyOptions::ec(Curve::P256).tag("team", "billing");
    vault.create_key(&signer, ec()).unwrap();
    for _ in 0..2 {
        let signed = vault
            .sign_data(&signer, SignatureAlgorithm::Es256, TEXT)
            .unwrap();
        facts.push(Fact::Signature(
            signed.key_id().clone(),
            SignatureAlgorithm::Es256,
            signed.signature().to_vec(),
        ));
        vault.rotate_key(&signer).unwrap();
    }
    let other = name("other-signer");
    vault
        .create_key(&other, CreateKeyOptions::ec(Curve::P256K))
        .unwrap();
    let signed = vault
        .sign_data(&other, SignatureAlgorithm::Es256K, TEXT)
        .unwrap();
    facts.push(Fact::Signature(
        signed.key_id().clone(),
        SignatureAlgorithm::Es256K,
        signed.signature().to_vec(),
    ));

    let aes = name("data");
    vault
        .create_key(&aes, CreateKeyOptions::oct(OctKeySize::Bits256))
        .unwrap();
    let sealed = vault
        .encrypt(
            &aes,
            EncryptionAlgorithm::A256Gcm,
            TEXT,
            EncryptOptions::new(),
        )
        .unwrap();
    facts.push(Fact::Ciphertext(
        sealed.key_id().clone(),
        sealed.ciphertext().to_vec(),
        sealed.iv().unwrap().to_vec(),
        sealed.tag().unwrap().to_vec(),
    ));
    let wrapped = vault
        .wrap_key(&aes, WrapAlgorithm::A256Kw, &WRAPPED)
        .unwrap();
    facts.push(Fact::Wrapped(
        wrapped.key_id().clone(),
        WrapAlgorithm::A256Kw,
        wrapped.wrapped_key().to_vec(),
    ));

    let mac_key = name("mac");
    let secret = SecretBytes::from(vec![0x42; 64]);
    vault
        .import_key(&mac_key, ImportKeyOptions::new(ImportedKey::oct(secret)))
        .unwrap();
    let mac = vault
        .sign_data(&mac_key, SignatureAlgorithm::Hs512, TEXT)
        .unwrap();
    facts.push(Fact::Mac(
        mac_key.clone(),
        SignatureAlgorithm::Hs512,
        mac.signature().to_vec(),
    ));
    for number in 0..6 {
        let key = name(&format!("kek-{number}"));
        vault
            .create_key(&key, CreateKeyOptions::oct(OctKeySize::Bits128))
            .unwrap();
        let wrapped = vault
            .wrap_key(&key, WrapAlgorithm::A128Kw, &WRAPPED)
            .unwrap();
        if number == 5 {
            // It is purged later.
            continue;
        }
        facts.push(Fact::Wrapped(
            wrapped.key_id().clone(),
            WrapAlgorithm::A128Kw,
            wrapped.wrapped_key().to_vec(),
        ));
    }

    for gone in ["deleted", "purged"] {
        vault
            .create_key(&name(gone), CreateKeyOptions::ec(Curve::P256))
            .unwrap();
        vault.delete_key(&name(gone)).unwrap();
    }
    vault.purge_deleted_key(&name("purged")).unwrap();
    let rules = vault.algorithm_rules().refuse("RSA1_5").unwrap();
    vault.set_algorithm_rules(rules).unwrap();
    let (portrait, errors) = portrait(vault);
    assert!(errors.is_empty(), "{errors:?}");
    Subject {
        image: Image::new(),
        earlier: Image::new(),
        facts,
        portrait,
        encrypts: false,
    }
}

/// The subject of most tests: closed cleanly, all files read.
pub(super) fn subject() -> Subject {
    let directory = scratch();
    let path = directory.path().join("vault");
    let clock = FakeClock::new();
    let vault = options(&clock)
        .create(&path, Unlock::raw_key(&master_key()))
        .unwrap();
    let mut subject = fill(&vault);
    vault.close().unwrap();
    // Reopened, so that both slots of the anchor are in use.
    subject.earlier = read_image(&path);
    let vault = open(&path).unwrap();
    let mut tags = Tags::new();
    tags.insert("team", "payments").unwrap();
    let update = UpdateKeyOptions::new().tags(tags);
    vault.update_key_properties(&name("mac"), update).unwrap();
    vault.rotate_key(&name("other-signer")).unwrap();
    let gcm = EncryptionAlgorithm::A256Gcm;
    vault
        .encrypt(&name("data"), gcm, TEXT, EncryptOptions::new())
        .unwrap();
    let rules = vault.algorithm_rules().refuse("RSA-OAEP").unwrap();
    vault.set_algorithm_rules(rules).unwrap();
    vault.delete_key(&name("kek-5")).unwrap();
    vault.purge_deleted_key(&name("kek-5")).unwrap();
    vault.recover_deleted_key(&name("deleted")).unwrap();
    subject.portrait = portrait(&vault).0;
    vault.close().unwrap();
    drop(vault);
    subject.image = read_image(&path);
    subject
}

/// Names, versions, attributes and tags of everything that can be listed, and the errors met.
fn portrait(vault: &Vault) -> (String, Vec<ErrorKind>) {
    let mut lines = Vec::new();
    let mut errors = Vec::new();
    for item in vault.list_key_properties() {
        match item {
            Ok(key) => {
                lines.push(format!(
                    "{key:?} {:?}",
                    key.tags().iter().collect::<Vec<_>>()
                ));
                match vault.list_key_properties_versions(key.name()) {
                    Ok(versions) => {
                        lines.extend(versions.map(|version| format!("  {version:?}")));
                    }
                    Err(error) => errors.push(error.kind()),
                }
                match vault.get_key(key.name()) {
                    Ok(bundle) => lines.push(format!("  {bundle:?}")),
                    Err(error) => errors.push(error.kind()),
                }
            }
            Err(error) => {
                errors.push(error.kind());
                break;
            }
        }
    }
    for item in vault.list_deleted_key_properties() {
        match item {
            Ok(key) => lines.push(format!("deleted {key:?}")),
            Err(error) => {
                errors.push(error.kind());
                break;
            }
        }
    }
    lines.sort();
    let mut text = String::new();
    for line in lines {
        writeln!(text, "{line}").unwrap();
    }
    writeln!(text, "{:?}", vault.algorithm_rules()).unwrap();
    writeln!(text, "{:?}", vault.deletion_settings()).unwrap();
    (text, errors)
}

/// Uses every key; every answer must be the right one, every error is collected.
fn use_keys(vault: &Vault, facts: &[Fact]) -> Vec<ErrorKind> {
    let mut errors = Vec::new();
    for fact in facts {
        let outcome = match fact {
            Fact::Signature(key, algorithm, signature) => {
                vault.verify_data(key, *algorithm, TEXT, signature)
            }
            Fact::Ciphertext(key, ciphertext, iv, tag) => vault
                .decrypt(
                    key,
                    EncryptionAlgorithm::A256Gcm,
                    Ciphertext::new(ciphertext).iv(iv).tag(tag),
                )
                .map(|plaintext| assert_eq!(plaintext.expose(), TEXT, "another plaintext")),
            Fact::Wrapped(key, algorithm, wrapped) => vault
                .unwrap_key(key, *algorithm, wrapped)
                .map(|key| assert_eq!(key.expose(), WRAPPED, "another key")),
            Fact::Mac(key, algorithm, expected) => vault
                .sign_data(key, *algorithm, TEXT)
                .map(|mac| assert_eq!(mac.signature(), expected, "another MAC")),
        };
        if let Err(error) = outcome {
            errors.push(error.kind());
        }
    }
    for key in KEYS {
        if let Err(error) = vault.get_key(&name(key)) {
            errors.push(error.kind());
        }
    }
    errors
}

/// What became of one alteration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// Opening failed.
    Refused(ErrorKind),
    /// Everything is there and right; what opening mended, and what the check reports as harmless.
    Whole {
        mended: Vec<OpenFinding>,
        harmless: Vec<ErrorKind>,
    },
    /// It opened, and damage was reported: the kinds of the check's findings, and those that the use of the
    /// keys met. Whatever answered, answered right.
    Damaged {
        check: Vec<ErrorKind>,
        uses: Vec<ErrorKind>,
    },
}

impl Outcome {
    pub(super) fn untouched() -> Self {
        Self::Whole {
            mended: Vec::new(),
            harmless: Vec::new(),
        }
    }
}

/// Kinds that say that the stored data is not as it should be. Anything else, above all a `KeyNotFound`, would be
/// a lie about the contents.
pub(super) fn tells_of_damage(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Corrupt
            | ErrorKind::Tampered
            | ErrorKind::RolledBack
            | ErrorKind::HeaderReplayed
            | ErrorKind::AnchorMissing
            | ErrorKind::NewerFormat
            | ErrorKind::VaultFailed
    )
}

/// How much of a vault is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Depth {
    /// Every key is used.
    Uses,
    /// Also everything is listed, and the check looks everything over: both visit all buckets.
    Everything,
}

impl Subject {
    /// The uses of the keys encrypt with AES-GCM too: that reads and writes a G record.
    pub(super) fn with_encryption(mut self) -> Self {
        self.encrypts = true;
        self
    }

    /// Opens, uses and checks the vault at `path`. Uses come first, as they do in an application.
    pub(super) fn examine(&self, path: &Path, depth: Depth) -> Outcome {
        let vault = match open(path) {
            Ok(vault) => vault,
            Err(error) => return Outcome::Refused(error.kind()),
        };
        let mut uses = use_keys(&vault, &self.facts);
        if self.encrypts {
            let gcm = EncryptionAlgorithm::A256Gcm;
            if let Err(error) = vault.encrypt(&name("data"), gcm, TEXT, EncryptOptions::new()) {
                uses.push(error.kind());
            }
        }
        if depth == Depth::Everything {
            let (portrait, errors) = portrait(&vault);
            if errors.is_empty() {
                assert_eq!(portrait, self.portrait, "the vault tells other data");
            }
            uses.extend(errors);
        }
        let uses = sorted(uses);
        for kind in &uses {
            assert!(tells_of_damage(*kind), "{kind:?} is a wrong answer");
        }
        let mut findings = Vec::new();
        let mut harmless = Vec::new();
        if depth == Depth::Everything {
            match vault.check() {
                Ok(report) => {
                    for finding in report.findings() {
                        let list = if finding.is_harmless() {
                            &mut harmless
                        } else {
                            &mut findings
                        };
                        list.push(finding.kind());
                    }
                }
                Err(error) => findings.push(error.kind()),
            }
            // What an application meets, the check must find.
            assert!(
                uses.is_empty() || !findings.is_empty(),
                "the check misses what a use met: {uses:?}"
            );
        }
        let mended = vault.open_report().unwrap().findings().to_vec();
        if findings.is_empty() && uses.is_empty() {
            let harmless = sorted(harmless);
            Outcome::Whole { mended, harmless }
        } else {
            let check = sorted(findings);
            Outcome::Damaged { check, uses }
        }
    }
}

fn sorted(mut kinds: Vec<ErrorKind>) -> Vec<ErrorKind> {
    kinds.sort_by_key(|kind| format!("{kind:?}"));
    kinds.dedup();
    kinds
}

/// Runs the cases on two threads, each with a directory of its own. Each case has to give an answer in time,
/// however many there are.
pub(super) fn in_parallel<C: Send + Sync + Clone + std::fmt::Debug + 'static>(
    cases: Vec<C>,
    judge: impl Fn(&Path, &C) + Send + Sync + Clone + 'static,
) {
    let figures = Figures::begin("damage, by the tables");
    figures.count(cases.len());
    let middle = cases.len().div_ceil(2);
    let halves: Vec<Vec<C>> = cases.chunks(middle.max(1)).map(<[C]>::to_vec).collect();
    let workers: Vec<_> = halves
        .into_iter()
        .map(|half| {
            let judge = judge.clone();
            let (done, answers) = mpsc::channel();
            let worker = std::thread::spawn(move || {
                let directory = scratch();
                let path = directory.path().join("vault");
                for case in &half {
                    judge(&path, case);
                    let _ = done.send(format!("{case:?}"));
                }
            });
            (worker, answers)
        })
        .collect();
    for (worker, answers) in workers {
        let mut last = "the beginning".to_owned();
        loop {
            match answers.recv_timeout(Duration::from_secs(300)) {
                Ok(case) => last = case,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("no answer after {last}"),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        if let Err(panic) = worker.join() {
            std::panic::resume_unwind(panic);
        }
    }
    figures.finish();
}

pub(super) fn exhaustive() -> bool {
    variable("STRONGROOM_EXHAUSTIVE").is_some()
}

/// Every `stride`th byte, or all of them.
pub(super) fn sample(bytes: Range<usize>, stride: usize) -> impl Iterator<Item = usize> {
    bytes.step_by(if exhaustive() { 1 } else { stride })
}

/// The same for the engine's file, which is large and does not belong to the formats of the vault: a tenth of the
/// stride is thorough enough.
pub(super) fn sample_of_many(bytes: Range<usize>, stride: usize) -> impl Iterator<Item = usize> {
    bytes.step_by(if exhaustive() { stride / 10 } else { stride })
}

/// The bit that is flipped; all eight have their turn.
pub(super) fn mask(at: usize) -> u8 {
    1 << ((at * 5) % 8)
}

/// All that is wrong is collected, so that one run shows the whole picture.
#[derive(Clone, Default)]
pub(super) struct Surprises(Arc<Mutex<Vec<String>>>);

impl Surprises {
    pub(super) fn note(&self, surprise: String) {
        self.0.lock().unwrap().push(surprise);
    }

    pub(super) fn expect<T: PartialEq + std::fmt::Debug>(
        &self,
        what: &str,
        found: &T,
        expected: &[T],
    ) {
        if !expected.contains(found) {
            self.note(format!("{what}: {found:?}, not {expected:?}"));
        }
    }

    pub(super) fn none(&self) {
        let surprises = self.0.lock().unwrap();
        assert!(
            surprises.is_empty(),
            "{} surprises:\n{}",
            surprises.len(),
            surprises[..surprises.len().min(40)].join("\n")
        );
    }
}
