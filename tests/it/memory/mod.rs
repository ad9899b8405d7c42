//! Secrets in memory: what a core dump holds, what a lock leaves, what a forked child finds, and what the system
//! refuses. A core dump is what the kernel would write, read from a child process that waits between operations; the
//! same search finds the same secrets when protection is off.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use crypto_bigint::{BoxedUint, Odd};
use strongroom::backend::testing::refuse_protected_memory;
use strongroom::{
    AuditOptions, AuditReads, Ciphertext, CreateKeyOptions, Curve, EncryptOptions,
    EncryptionAlgorithm, ImportKeyOptions, ImportedKey, MasterKey, MemoryProtection, Passphrase,
    PassphraseParameters, RecipientKey, RsaKeySize, SecretBytes, Shredding, SignatureAlgorithm,
    Unlock, Vault, VaultOptions, WrapAlgorithm,
};

use self::dump::{Dump, Secret};
use crate::support::{fixed_rsa, hex, name};

mod dump;
mod forks;
mod locking;

/// What a child process is to do.
const CHILD: &str = "STRONGROOM_MEMORY_CHILD";

fn job() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// A child process, which is this binary with a job, and talks in lines.
#[derive(Debug)]
struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(test: &str, job: &str) -> Self {
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

    fn wait_for_line(&mut self, text: &str) -> String {
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

    fn end(mut self) {
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

/// Two vaults with keys that are known: one under a raw key, one under a passphrase.
#[derive(Debug)]
struct Known {
    directory: tempfile::TempDir,
    private: Vec<Secret>,
    unlocking: Vec<Secret>,
    at_rest: Vec<Secret>,
    /// What the child uses for one call each, and lets go of.
    passing: Vec<Secret>,
}

/// What came to be in the child.
#[derive(Debug)]
struct Made {
    at_rest: Vec<Secret>,
    private: Vec<Secret>,
}

/// Every file with a secret that the child uses for a while.
const PASSING: [(&str, usize); 3] = [
    ("recipient key", 32),
    ("second passphrase", PASSPHRASE_LENGTH),
    ("brought key", 32),
];

/// Text that is as random as its length allows.
fn random_text(length: usize) -> String {
    let character = |byte: &u8| char::from(b'0' + byte % 64);
    random(length).iter().map(character).collect()
}

/// The keys of both vaults.
fn at_rest_keys(base: &Path, unlock: [Unlock<'_>; 2]) -> Vec<(String, SecretBytes)> {
    let mut keys = Vec::new();
    for (vault, unlock) in ["raw", "pass"].into_iter().zip(unlock) {
        for (key, bytes) in Vault::at_rest_keys(&base.join(vault), unlock).unwrap() {
            keys.push((format!("{vault}: {key}"), bytes));
        }
    }
    keys
}

/// The order of a curve, and the bits of the power of two of its Montgomery form.
fn order(curve: Curve) -> Option<(Vec<u8>, usize)> {
    match curve {
        Curve::P256 => Some((
            hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
            256,
        )),
        Curve::P384 => Some((
            hex(
                "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf\
                 581a0db248b0a77aecec196accc52973",
            ),
            384,
        )),
        Curve::P521 => Some((
            hex(
                "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa\
                 51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
            ),
            576,
        )),
        _ => None,
    }
}

const PASSPHRASE_LENGTH: usize = 48;

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fs::File::open("/dev/urandom")
        .unwrap()
        .read_exact(&mut bytes)
        .unwrap();
    bytes
}

/// `number` times 2 to the power of `bits`, modulo `modulus`: how libraries hold numbers that they multiply.
fn montgomery(number: &[u8], bits: usize, modulus: &[u8]) -> Vec<u8> {
    assert_eq!(number.len(), modulus.len());
    let mut number = number.to_vec();
    for _ in 0..bits {
        let mut carry = 0;
        for byte in number.iter_mut().rev() {
            let doubled = u16::from(*byte) << 1 | carry;
            *byte = doubled as u8;
            carry = doubled >> 8;
        }
        if carry == 1 || number.as_slice() >= modulus {
            let mut borrow = 0;
            for (byte, other) in number.iter_mut().zip(modulus).rev() {
                let difference = i16::from(*byte) - i16::from(*other) - borrow;
                *byte = difference as u8;
                borrow = i16::from(difference < 0);
            }
        }
    }
    number
}

/// Numbers of an RSA key in PKCS#8, by their names in PKCS#1.
fn rsa_numbers(size: RsaKeySize) -> Vec<(&'static str, Vec<u8>)> {
    let pem = match size {
        RsaKeySize::Bits2048 => include_str!("../data/rsa-2048.pem"),
        _ => include_str!("../data/rsa-4096.pem"),
    };
    let (_, document) = pkcs8::SecretDocument::from_pem(pem).unwrap();
    let info = document
        .decode_msg::<pkcs8::PrivateKeyInfoRef<'_>>()
        .unwrap();
    let key: pkcs1::RsaPrivateKeyRef<'_> =
        pkcs8::der::Decode::from_der(info.private_key.as_bytes()).unwrap();
    let [mut p, mut q] = [key.prime1, key.prime2].map(|prime| prime.as_bytes().to_vec());
    let [mut dp, mut dq] = [key.exponent1, key.exponent2].map(|number| number.as_bytes().to_vec());
    // As the vault has them: the larger prime first.
    if p < q {
        std::mem::swap(&mut p, &mut q);
        std::mem::swap(&mut dp, &mut dq);
    }
    let bits = u32::try_from(8 * p.len()).unwrap();
    let number = |bytes: &[u8]| BoxedUint::from_be_slice(bytes, bits).unwrap();
    let modulus = Odd::new(number(&p)).unwrap();
    let inverse = number(&q)
        .invert_odd_mod(&modulus)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    vec![
        (
            "qInv in Montgomery form",
            montgomery(&inverse, 8 * p.len(), &p),
        ),
        ("d", key.private_exponent.as_bytes().to_vec()),
        ("p", p),
        ("q", q),
        ("dP", dp),
        ("dQ", dq),
        ("qInv", inverse),
    ]
}

const CURVES: [(Curve, &str); 4] = [
    (Curve::P256, "ec-p256"),
    (Curve::P384, "ec-p384"),
    (Curve::P521, "ec-p521"),
    (Curve::P256K, "ec-p256k"),
];

/// A random scalar as the SEC1 form takes it.
fn ec_key(curve: Curve) -> (ImportedKey, Vec<u8>) {
    let (length, oid): (usize, &[u8]) = match curve {
        Curve::P256 => (32, &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]),
        Curve::P384 => (48, &[6, 5, 0x2b, 0x81, 4, 0, 0x22]),
        Curve::P521 => (66, &[6, 5, 0x2b, 0x81, 4, 0, 0x23]),
        _ => (32, &[6, 5, 0x2b, 0x81, 4, 0, 0x0a]),
    };
    let mut d = random(length);
    // Below the order of each curve.
    d[0] = u8::from(curve != Curve::P521);
    let mut body = vec![2, 1, 1, 4, u8::try_from(length).unwrap()];
    body.extend(&d);
    body.extend([0xa0, u8::try_from(oid.len()).unwrap()]);
    body.extend(oid);
    let mut der = vec![0x30, u8::try_from(body.len()).unwrap()];
    der.extend(body);
    (ImportedKey::from_sec1_der(&der).unwrap(), d)
}

impl Known {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        let master = random(32);
        let text = random_text(PASSPHRASE_LENGTH);
        fs::write(base.join("master"), &master).unwrap();
        fs::write(base.join("passphrase"), &text).unwrap();
        let key = MasterKey::from_bytes(&master).unwrap();
        let passphrase = Passphrase::new(&text).unwrap();
        let unlock = [Unlock::raw_key(&key), Unlock::passphrase(&passphrase)];
        let options = || {
            let parameters = PassphraseParameters::new(19_456, 1, 1).unwrap();
            VaultOptions::new().passphrase_parameters(parameters)
        };
        let vault = options().create(base.join("raw"), unlock[0]).unwrap();
        let mut private = Vec::new();
        let import = |label: &str, key: ImportedKey| {
            vault
                .import_key(&name(label), ImportKeyOptions::new(key))
                .unwrap();
        };
        for (size, label) in [
            (RsaKeySize::Bits2048, "rsa-2048"),
            (RsaKeySize::Bits4096, "rsa-4096"),
        ] {
            import(label, fixed_rsa(size));
            for (number, bytes) in rsa_numbers(size) {
                private.push(Secret::new(format!("{label} {number}"), &bytes));
            }
        }
        for (curve, label) in CURVES {
            let (key, d) = ec_key(curve);
            import(label, key);
            private.push(Secret::new(format!("{label} d"), &d));
            if let Some((order, bits)) = order(curve) {
                let form = montgomery(&d, bits, &order);
                private.push(Secret::new(format!("{label} d in Montgomery form"), &form));
            }
        }
        let (key, d) = ec_key(Curve::P256);
        import("purged", key);
        private.push(Secret::new("purged d", &d));
        for (label, length) in [("oct-256", 32), ("oct-512", 64)] {
            let bytes = random(length);
            import(label, ImportedKey::oct(SecretBytes::copied_from(&bytes)));
            private.push(Secret::new(label, &bytes));
        }
        vault.close().unwrap();
        let other = options().create(base.join("pass"), unlock[1]).unwrap();
        let bytes = random(32);
        other
            .import_key(
                &name("oct-256"),
                ImportKeyOptions::new(ImportedKey::oct(SecretBytes::copied_from(&bytes))),
            )
            .unwrap();
        private.push(Secret::new("oct-256 of the other vault", &bytes));
        other.close().unwrap();
        let at_rest: Vec<Secret> = at_rest_keys(base, unlock)
            .into_iter()
            .filter(|(key, _)| !key.contains("private: "))
            .map(|(key, bytes)| Secret::new(key, bytes.expose()))
            .collect();
        let passing = PASSING.map(|(file, length)| {
            let secret = random_text(length);
            fs::write(base.join(file), &secret).unwrap();
            Secret::new(file, secret.as_bytes())
        });
        for vault in ["raw", "pass"] {
            let found = Dump::of_bytes(fs::read(base.join(vault).join("vault.hdr")).unwrap())
                .find(&at_rest);
            assert_eq!(found, Vec::<String>::new(), "in the header of {vault}");
        }
        Self {
            private,
            unlocking: vec![
                Secret::new("master key", &master),
                Secret::new("passphrase", text.as_bytes()),
            ],
            at_rest,
            passing: passing.into(),
            directory,
        }
    }

    /// What has come to be since, now that the child has ended.
    fn made(&self) -> Made {
        let base = self.directory.path();
        let key = MasterKey::from_bytes(&fs::read(base.join("master")).unwrap()).unwrap();
        let text = fs::read_to_string(base.join("passphrase")).unwrap();
        let passphrase = Passphrase::new(&text).unwrap();
        let (private, at_rest): (Vec<_>, Vec<_>) = at_rest_keys(
            base,
            [Unlock::raw_key(&key), Unlock::passphrase(&passphrase)],
        )
        .into_iter()
        .map(|(name, bytes)| Secret::new(name, bytes.expose()))
        .filter(|secret| !self.at_rest.iter().any(|known| known.is_equal_to(secret)))
        .partition(|secret| secret.name.contains("private: "));
        let is_new = |secret: &Secret| {
            ["private: made", "private: the vault"]
                .iter()
                .any(|name| secret.name.contains(name))
        };
        let private: Vec<Secret> = private.into_iter().filter(is_new).collect();
        assert_eq!(private.len(), 3, "two versions and the vault's own key");
        let names: Vec<&str> = at_rest.iter().map(|secret| secret.name.as_str()).collect();
        for name in ["raw: KEK", "raw: KDK of made", "raw: KDK of brought"] {
            assert!(names.contains(&name), "{names:?}");
        }
        Made { at_rest, private }
    }

    fn job(&self, protection: &str) -> String {
        format!("{protection} {}", self.directory.path().display())
    }
}

/// In the child: opens both vaults as the job says.
#[derive(Debug)]
struct Opened {
    raw: Vault,
    pass: Vault,
    _master: MasterKey,
    _passphrase: Passphrase,
}

fn open_both(job: &str) -> Opened {
    let (protection, base) = job.split_once(' ').unwrap();
    let base = PathBuf::from(base);
    let protection = match protection {
        "full" => MemoryProtection::Full,
        "standard" => MemoryProtection::Standard,
        _ => {
            refuse_protected_memory().unwrap();
            MemoryProtection::Standard
        }
    };
    let mut master = zeroize::Zeroizing::new([0; 32]);
    read_into(&base.join("master"), &mut *master);
    let mut text = zeroize::Zeroizing::new([0; PASSPHRASE_LENGTH]);
    read_into(&base.join("passphrase"), &mut *text);
    let master = MasterKey::from_bytes(&*master).unwrap();
    let passphrase = Passphrase::new(std::str::from_utf8(&*text).unwrap()).unwrap();
    let options = || {
        let parameters = PassphraseParameters::new(19_456, 1, 1).unwrap();
        VaultOptions::new()
            .memory_protection(protection)
            .passphrase_parameters(parameters)
    };
    Opened {
        raw: options()
            .open(base.join("raw"), Unlock::raw_key(&master))
            .unwrap(),
        pass: options()
            .open(base.join("pass"), Unlock::passphrase(&passphrase))
            .unwrap(),
        _master: master,
        _passphrase: passphrase,
    }
}

fn read_into(path: &Path, bytes: &mut [u8]) {
    fs::File::open(path).unwrap().read_exact(bytes).unwrap();
}

/// Every kind of operation with every key.
fn operate(vault: &Vault) {
    use EncryptionAlgorithm as E;
    use SignatureAlgorithm as S;
    // First, because it takes the key out of the cache.
    vault
        .update_key_properties(
            &name("ec-p256"),
            strongroom::UpdateKeyOptions::new().enabled(true),
        )
        .unwrap();
    for label in ["rsa-2048", "rsa-4096"] {
        let key = name(label);
        for algorithm in [S::Rs256, S::Ps384] {
            let signed = vault.sign_data(&key, algorithm, b"data").unwrap();
            vault
                .verify_data(&key, algorithm, b"data", signed.signature())
                .unwrap();
        }
        for algorithm in [E::RsaOaep256, E::Rsa1_5] {
            let sealed = vault
                .encrypt(&key, algorithm, b"text", EncryptOptions::new())
                .unwrap();
            vault
                .decrypt(&key, algorithm, Ciphertext::from(&sealed))
                .unwrap();
        }
        let wrapped = vault
            .wrap_key(&key, WrapAlgorithm::RsaOaep, &[5; 32])
            .unwrap();
        vault
            .unwrap_key(&key, WrapAlgorithm::RsaOaep, wrapped.wrapped_key())
            .unwrap();
    }
    for ((_, label), algorithm) in CURVES.iter().zip([S::Es256, S::Es384, S::Es512, S::Es256K]) {
        vault.sign_data(&name(label), algorithm, b"data").unwrap();
    }
    operate_symmetric(vault);
    let tag = vault
        .sign_data(&name("oct-512"), S::Hs512, b"data")
        .unwrap();
    vault
        .verify_data(&name("oct-512"), S::Hs512, b"data", tag.signature())
        .unwrap();
    assert!(vault.list_key_properties().count() > 8);
    vault.get_key(&name("rsa-2048")).unwrap();
    vault.backup_key(&name("rsa-4096")).unwrap();
}

fn operate_symmetric(vault: &Vault) {
    use EncryptionAlgorithm as E;
    let key = name("oct-256");
    for algorithm in [E::A256Gcm, E::A256CbcPad] {
        let sealed = vault
            .encrypt(&key, algorithm, b"text", EncryptOptions::new())
            .unwrap();
        vault
            .decrypt(&key, algorithm, Ciphertext::from(&sealed))
            .unwrap();
    }
    let wrapped = vault
        .wrap_key(&key, WrapAlgorithm::A256Kw, &[5; 32])
        .unwrap();
    vault
        .unwrap_key(&key, WrapAlgorithm::A256Kw, wrapped.wrapped_key())
        .unwrap();
}

/// Whatever changes keys, the ways to unlock the vault, or its own keys.
fn change(vault: &Vault, master: &MasterKey, base: &Path) {
    let sign = |key: &str| {
        vault
            .sign_data(&name(key), SignatureAlgorithm::Es256, b"data")
            .unwrap();
    };
    vault
        .set_audit_options(AuditOptions::on().reads(AuditReads::All))
        .unwrap();
    vault
        .create_key(&name("made"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    sign("made");
    vault.rotate_key(&name("made")).unwrap();
    sign("made");
    let passing = |(file, length): (&str, usize)| {
        let mut bytes = zeroize::Zeroizing::new(vec![0; length]);
        read_into(&base.join(file), &mut bytes);
        bytes
    };
    let [recipient, passphrase, brought] = PASSING.map(passing);
    let brought = ImportedKey::oct(SecretBytes::from(brought));
    vault
        .import_key(&name("brought"), ImportKeyOptions::new(brought))
        .unwrap();
    sign("purged");
    vault.delete_key(&name("purged")).unwrap();
    let shredding = vault.purge_deleted_key(&name("purged")).unwrap();
    assert_eq!(shredding, Shredding::Done);
    vault.rotate_kek().unwrap();
    let recipient = RecipientKey::from_bytes(&recipient).unwrap();
    let passphrase = Passphrase::new(std::str::from_utf8(&passphrase).unwrap()).unwrap();
    let current = Unlock::raw_key(master);
    let slot = vault
        .add_unlock_slot(current, Unlock::passphrase(&passphrase))
        .unwrap();
    let slot = vault
        .replace_unlock_slot(
            Unlock::passphrase(&passphrase),
            slot,
            Unlock::recipient(&recipient),
        )
        .unwrap();
    let third = vault
        .add_unlock_slot(Unlock::recipient(&recipient), current)
        .unwrap();
    vault.remove_unlock_slot(third).unwrap();
    vault.remove_unlock_slot(slot).unwrap();
    let checkpoint = vault.audit_checkpoint().unwrap();
    assert!(vault.verify_audit_since(&checkpoint).unwrap().is_intact());
    vault.export_audit(std::io::sink()).unwrap();
    assert!(vault.check().unwrap().is_clean());
}

/// In the child: opens, works, waits; locks, waits.
fn work_and_wait(job: &str) {
    let opened = open_both(job);
    let bound = opened.raw.key(&name("ec-p256")).unwrap();
    phase("opened");
    operate(&opened.raw);
    operate_symmetric(&opened.pass);
    let base = job.split_once(' ').unwrap().1;
    change(&opened.raw, &opened._master, base.as_ref());
    operate(&opened.raw);
    operate_symmetric(&opened.pass);
    opened
        .raw
        .sign_data(&name("made"), SignatureAlgorithm::Es256, b"data")
        .unwrap();
    phase("between operations");
    opened.raw.lock().unwrap();
    opened.pass.lock().unwrap();
    phase("locked");
    drop(bound);
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
        kinds.into_iter().map(std::mem::take).flatten().collect()
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
