//! Makes the vectors. What each must give is written here by hand; nothing is asked of the library but good blobs.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use strongroom::{
    BackupOptions, CreateKeyOptions, Entropy, ImportKeyOptions, OctKeySize, Passphrase,
    PassphraseParameters, RecipientKey, Unlock, Vault,
};

use super::independent::{expand, mac, open, seal, sha512, sub_key};
use super::{golden, options, policies, streams};
use crate::image::{scratch, write_image};
use crate::support::{fixed_oct, master_key, name};

pub(super) const PASSPHRASE: &str = "correct horse battery staple";
pub(super) const RECIPIENT: [u8; 32] = [0x42; 32];
pub(super) const SALT: [u8; 24] = [0x5a; 24];
const HEADER: usize = 20_480;

pub(super) fn write(file: &str, path: &Path) {
    let vectors = match file {
        "backups.json" => backups(),
        "backups-2.json" => policies::second_edition(),
        "headers.json" => headers(),
        "streams.json" => panic!("streams of the first edition are not made any more"),
        "streams-2.json" => streams::second_edition(),
        other => panic!("no such vectors: {other}"),
    };
    std::fs::write(path, serde_json::to_string_pretty(&vectors).unwrap()).unwrap();
}

/// The golden vault's header, opened by the second implementation.
pub(super) struct Golden {
    file: Vec<u8>,
    vault_id: Vec<u8>,
    root: Vec<u8>,
}

impl Golden {
    pub(super) fn read() -> Self {
        let file = golden()[Path::new("vault.hdr")].clone();
        let vault_id = file[16..32].to_vec();
        let master: Vec<u8> = (1..=32).collect();
        let slot = &file[64..64 + 2_048];
        let context = [b"strongroom/v1/slot\0", &vault_id[..], &slot[..128]].concat();
        let root = open(&master, &context, &slot[128..232]);
        Self {
            file,
            vault_id,
            root,
        }
    }

    fn copy(&self) -> Vec<u8> {
        self.file[..HEADER].to_vec()
    }

    fn ring_context(&self, label: &str, seq: &[u8]) -> Vec<u8> {
        [
            b"strongroom/v1/",
            label.as_bytes(),
            &[0],
            &self.vault_id,
            seq,
        ]
        .concat()
    }

    fn ring(&self, label: &str, at: usize, length: usize) -> Vec<u8> {
        let key = sub_key(&self.root, label, &self.vault_id);
        let context = self.ring_context(label, &self.file[48..56]);
        open(&key, &context, &self.file[at..at + length])
    }

    fn kek_ring(&self) -> Vec<u8> {
        self.ring("kekring", 16_448, 152)
    }

    pub(super) fn sdk_ring(&self) -> Vec<u8> {
        self.ring("sdkring", 16_608, 1_520)
    }

    /// Seals a ring into a copy, for the seq that stands in it.
    fn put_ring(&self, copy: &mut [u8], label: &str, at: usize, ring: &[u8]) {
        let key = sub_key(&self.root, label, &self.vault_id);
        let context = self.ring_context(label, &copy[48..56]);
        let sealed = seal(&key, &context, &SALT, ring);
        copy[at..at + sealed.len()].copy_from_slice(&sealed);
    }

    fn finish(&self, copy: &mut [u8]) {
        checksum(copy);
        let key = sub_key(&self.root, "header", &self.vault_id);
        let mac = mac(&key, &copy[..20_416]);
        copy[20_416..].copy_from_slice(&mac);
    }
}

fn checksum(copy: &mut [u8]) {
    let sum = sha512(&copy[..20_384]);
    copy[20_384..20_416].copy_from_slice(&sum[..32]);
}

/// How far a header was made right again after its change.
#[derive(Clone, Copy, PartialEq)]
enum Mended {
    Nothing,
    Checksum,
    Everything,
}

use Mended::{Checksum, Everything, Nothing};

fn headers() -> Value {
    let golden = Golden::read();
    let mut vectors = Vec::new();
    let mut add = |name: &str, file: Vec<u8>, expect: &str| {
        let mut edits = Vec::new();
        let common = file.len().min(golden.file.len());
        let mut at = 0;
        while at < common {
            let run = (at..common)
                .take_while(|at| file[*at] != golden.file[*at])
                .count();
            if run > 0 {
                edits.push(json!([at, to_hex(&file[at..at + run])]));
            }
            at += run.max(1);
        }
        let length = (file.len() != golden.file.len()).then_some(file.len());
        vectors.push(json!({
            "name": name, "edits": edits, "length": length, "expect": expect,
        }));
    };
    let twice = |copy: &[u8]| [copy, copy].concat();
    let copy = golden.copy();
    let seq = u64::from_be_bytes(copy[48..56].try_into().unwrap());

    // Files that open: one whole copy is enough.
    add("as it was written", golden.file.clone(), "ok");
    for (half, at) in [("first", 100), ("second", HEADER + 100)] {
        let mut file = golden.file.clone();
        file[at] ^= 1;
        add(&format!("the {half} copy is damaged"), file, "ok");
        let mut file = golden.file.clone();
        let start = at - 100;
        file[start..start + HEADER].fill(0);
        add(&format!("the {half} copy is gone"), file, "ok");
    }
    add("only the first copy", copy.clone(), "ok");
    add(
        "the second copy is cut",
        golden.file[..30_000].to_vec(),
        "ok",
    );
    let with_seq = |number: u64| {
        let mut copy = golden.copy();
        copy[48..56].copy_from_slice(&number.to_be_bytes());
        golden.put_ring(&mut copy, "kekring", 16_448, &golden.kek_ring());
        golden.put_ring(&mut copy, "sdkring", 16_608, &golden.sdk_ring());
        golden.finish(&mut copy);
        copy
    };
    add(
        "the next header, before its STATE",
        twice(&with_seq(seq + 1)),
        "ok",
    );
    let mixed = [with_seq(seq + 1), copy.clone()].concat();
    add("the next header in the first copy only", mixed, "ok");
    add(
        "the header after the next",
        twice(&with_seq(seq + 2)),
        "RolledBack",
    );
    add(
        "an earlier header",
        twice(&with_seq(seq - 1)),
        "HeaderReplayed",
    );
    add(
        "another header of the same number",
        twice(&with_seq(seq)),
        "HeaderReplayed",
    );

    // Files that are none.
    add("an empty file", Vec::new(), "Corrupt");
    add(
        "one byte less than a copy",
        copy[..HEADER - 1].to_vec(),
        "Corrupt",
    );
    add("zeros", vec![0; 2 * HEADER], "Corrupt");
    add("ones", vec![0xff; 2 * HEADER], "Corrupt");
    add("half a copy", copy[..HEADER / 2].to_vec(), "Corrupt");

    // One byte or field, in both copies.
    let changes: &[(&str, usize, &[u8], Mended, &str)] = &[
        ("magic", 0, b"SRMHDR02", Checksum, "Corrupt"),
        ("format 0", 8, &[0, 0], Everything, "NewerFormat"),
        ("format 2", 8, &[0, 2], Everything, "NewerFormat"),
        ("format 2, damaged", 8, &[0, 2], Nothing, "Corrupt"),
        ("min_reader 0", 10, &[0, 0], Everything, "NewerFormat"),
        ("min_reader 2", 10, &[0, 2], Everything, "NewerFormat"),
        (
            "length one less",
            12,
            &[0, 0, 0x4f, 0xff],
            Everything,
            "Corrupt",
        ),
        (
            "length one more",
            12,
            &[0, 0, 0x50, 0x01],
            Everything,
            "Corrupt",
        ),
        ("length huge", 12, &[0xff; 4], Everything, "Corrupt"),
        ("vault id", 16, &[0; 16], Checksum, "WrongKey"),
        ("domain id", 32, &[0; 16], Checksum, "Tampered"),
        (
            "domain id, MAC right",
            32,
            &[0; 16],
            Everything,
            "HeaderReplayed",
        ),
        ("seq", 48, &[0, 0, 0, 0, 0, 0, 0, 99], Checksum, "Tampered"),
        (
            "seq, MAC right, rings of another",
            48,
            &[0, 0, 0, 0, 0, 0, 0, 99],
            Everything,
            "Tampered",
        ),
        ("no slots", 56, &[0, 0], Everything, "Corrupt"),
        ("two slots, one empty", 56, &[0, 2], Everything, "Corrupt"),
        ("nine slots", 56, &[0, 9], Everything, "Corrupt"),
        ("very many slots", 56, &[0xff, 0xff], Everything, "Corrupt"),
        ("suite 0", 58, &[0], Everything, "NewerFormat"),
        (
            "suite of ChaCha20-Poly1305",
            58,
            &[3],
            Everything,
            "WrongKey",
        ),
        ("suite 4", 58, &[4], Everything, "NewerFormat"),
        ("reserved after the suite", 63, &[1], Everything, "Corrupt"),
        ("slot of kind 0", 64, &[0], Everything, "Corrupt"),
        ("slot of a passphrase", 64, &[2], Everything, "WrongKey"),
        ("slot of an unknown kind", 64, &[7], Everything, "WrongKey"),
        ("flags of the slot", 65, &[1], Everything, "WrongKey"),
        (
            "wrapped secret of no length",
            66,
            &[0, 0],
            Everything,
            "Corrupt",
        ),
        (
            "wrapped secret too short",
            66,
            &[0, 103],
            Everything,
            "Corrupt",
        ),
        (
            "wrapped secret one longer",
            66,
            &[0, 105],
            Everything,
            "WrongKey",
        ),
        (
            "wrapped secret longer than its place",
            66,
            &[0xff, 0xff],
            Everything,
            "Corrupt",
        ),
        (
            "memory of a raw key",
            68,
            &[0, 0, 0, 1],
            Everything,
            "WrongKey",
        ),
        ("salt of the slot", 80, &[1], Everything, "WrongKey"),
        ("id of the slot", 128, &[0xaa], Everything, "WrongKey"),
        ("KEM of a raw key", 144, &[0, 0x20], Everything, "WrongKey"),
        ("reserved in the slot", 191, &[1], Everything, "Corrupt"),
        (
            "salt of the wrapped secret",
            192,
            &[0; 24],
            Everything,
            "WrongKey",
        ),
        (
            "commitment of the wrapped secret",
            216,
            &[0; 32],
            Everything,
            "WrongKey",
        ),
        (
            "ciphertext of the wrapped secret",
            250,
            &[0; 4],
            Everything,
            "WrongKey",
        ),
        (
            "tag of the wrapped secret",
            292,
            &[0; 4],
            Everything,
            "WrongKey",
        ),
        ("after the wrapped secret", 296, &[1], Everything, "Corrupt"),
        ("in an unused slot", 2_112, &[1], Everything, "Corrupt"),
        (
            "at the end of the last slot",
            16_447,
            &[1],
            Everything,
            "Corrupt",
        ),
        ("KEK ring's salt", 16_448, &[0; 24], Checksum, "Tampered"),
        (
            "KEK ring's salt, MAC right",
            16_448,
            &[0; 24],
            Everything,
            "Tampered",
        ),
        (
            "KEK ring's ciphertext, MAC right",
            16_510,
            &[0; 4],
            Everything,
            "Corrupt",
        ),
        ("after the KEK ring", 16_600, &[1], Everything, "Corrupt"),
        (
            "SDK ring's commitment, MAC right",
            16_640,
            &[0; 4],
            Everything,
            "Tampered",
        ),
        (
            "SDK ring's ciphertext, MAC right",
            17_000,
            &[0; 4],
            Everything,
            "Corrupt",
        ),
        ("after the SDK ring", 18_128, &[1], Everything, "Corrupt"),
        ("in the reserved part", 18_144, &[1], Everything, "Corrupt"),
        (
            "at the end of the reserved part",
            20_383,
            &[1],
            Everything,
            "Corrupt",
        ),
        ("checksum", 20_384, &[0; 4], Nothing, "Corrupt"),
        ("MAC", 20_416, &[0; 4], Nothing, "Tampered"),
        ("end of the MAC", 20_479, &[0xfe], Nothing, "Tampered"),
    ];
    for (name, at, new, mended, expect) in changes {
        let mut copy = golden.copy();
        assert_ne!(copy[*at..at + new.len()], **new, "{name} changes nothing");
        copy[*at..at + new.len()].copy_from_slice(new);
        match mended {
            Nothing => {}
            Checksum => checksum(&mut copy),
            Everything => golden.finish(&mut copy),
        }
        add(name, twice(&copy), expect);
    }

    // Rings that were sealed rightly, with contents that no version writes.
    let kek: &[(&str, usize, &[u8], &str)] = &[
        ("layout 0", 0, &[0, 0], "NewerFormat"),
        ("layout 2", 0, &[0, 2], "NewerFormat"),
        ("a flag", 2, &[0, 1], "NewerFormat"),
        ("term 0", 4, &[0; 4], "Corrupt"),
        (
            "previous term not before the current one",
            40,
            &[0xff; 4],
            "Corrupt",
        ),
        ("a previous key without a term", 44, &[1], "Corrupt"),
        ("reserved", 79, &[1], "Corrupt"),
    ];
    let sdk: &[(&str, usize, &[u8], &str)] = &[
        ("layout 2", 0, &[0, 2], "NewerFormat"),
        ("no epochs", 2, &[0, 0], "Corrupt"),
        ("41 epochs", 2, &[0, 41], "Corrupt"),
        ("two epochs of which one is 0", 2, &[0, 2], "Corrupt"),
        ("a current epoch without a key", 4, &[0, 0, 0, 9], "Corrupt"),
        ("epoch 0", 8, &[0; 4], "Corrupt"),
        ("a key behind the last epoch", 60, &[1], "Corrupt"),
    ];
    for (label, at, ring, changes) in [
        ("kekring", 16_448, golden.kek_ring(), kek),
        ("sdkring", 16_608, golden.sdk_ring(), sdk),
    ] {
        for (name, position, new, expect) in changes {
            let mut ring = ring.clone();
            assert_ne!(ring[*position..position + new.len()], **new);
            ring[*position..position + new.len()].copy_from_slice(new);
            let mut copy = golden.copy();
            golden.put_ring(&mut copy, label, at, &ring);
            golden.finish(&mut copy);
            add(&format!("{label}: {name}"), twice(&copy), expect);
        }
    }
    json!({ "base": "tests/golden/v1/aes-256-gcm/vault/vault.hdr", "vectors": vectors })
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Random bytes that are the same each time, and known afterwards.
#[derive(Debug, Default)]
pub(super) struct Known {
    count: AtomicU64,
    pub(super) filled: Mutex<Vec<Vec<u8>>>,
}

impl Entropy for Known {
    fn fill(&self, bytes: &mut [u8]) -> strongroom::Result<()> {
        for chunk in bytes.chunks_mut(64) {
            let number = self.count.fetch_add(1, Ordering::Relaxed);
            let block = mac(b"vectors", &number.to_be_bytes());
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        self.filled.lock().unwrap().push(bytes.to_vec());
        Ok(())
    }
}

/// A good blob and what it takes to alter it and make it right again.
#[derive(Clone)]
pub(super) struct Blob {
    /// Without the MAC.
    pub(super) header: Vec<u8>,
    pub(super) payload: Vec<u8>,
    file_key: Vec<u8>,
    /// The domain's key, with a domain stanza.
    domain: Option<Vec<u8>>,
}

impl Blob {
    /// As it was made.
    pub(super) fn take(bytes: &[u8], file_key: &[u8], domain: Option<Vec<u8>>) -> Self {
        let length = u32::from_be_bytes(bytes[12..16].try_into().unwrap()) as usize;
        let end = bytes.len() - if domain.is_some() { 64 } else { 0 };
        let context = [b"strongroom/v1/backup\0", &sha512(&bytes[..length])[..32]].concat();
        let blob = Self {
            header: bytes[..length - 64].to_vec(),
            payload: open(file_key, &context, &bytes[length..end]),
            file_key: file_key.to_vec(),
            domain,
        };
        assert_eq!(blob.build().len(), bytes.len());
        blob
    }

    /// The header's length as it is, all MACs and the seal right.
    pub(super) fn build(&self) -> Vec<u8> {
        let mut header = self.header.clone();
        let length = u32::try_from(header.len() + 64).unwrap();
        header[12..16].copy_from_slice(&length.to_be_bytes());
        self.build_as_is(header)
    }

    fn build_as_is(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let key = expand(&self.file_key, b"strongroom/v1/backup-header");
        let header_mac = mac(&key, &bytes);
        bytes.extend(header_mac);
        let context = [b"strongroom/v1/backup\0", &sha512(&bytes)[..32]].concat();
        bytes.extend(seal(&self.file_key, &context, &SALT, &self.payload));
        self.sign(bytes)
    }

    fn sign(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if let Some(key) = &self.domain {
            let key = expand(key, b"strongroom/v1/backup-mac");
            let domain_mac = mac(&key, &sha512(&bytes));
            bytes.extend(domain_mac);
        }
        bytes
    }

    fn with_header(&self, at: usize, new: &[u8]) -> Vec<u8> {
        let mut blob = self.clone();
        blob.header[at..at + new.len()].copy_from_slice(new);
        blob.build()
    }

    pub(super) fn with_payload(&self, at: usize, new: &[u8]) -> Vec<u8> {
        let mut blob = self.clone();
        blob.payload[at..at + new.len()].copy_from_slice(new);
        blob.build()
    }

    fn with_stanza(&self, mode: u8, kind: u16, epoch: u32, data: &[u8]) -> Vec<u8> {
        let mut blob = self.clone();
        blob.header.extend(kind.to_be_bytes());
        blob.header
            .extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        blob.header.extend(epoch.to_be_bytes());
        blob.header.extend(data);
        blob.header[57] += 1;
        blob.header[11] |= mode;
        blob.build()
    }
}

pub(super) fn blob(
    vault: &Vault,
    known: &Known,
    options: &BackupOptions<'_>,
    domain: Option<Vec<u8>>,
) -> Blob {
    let mark = known.filled.lock().unwrap().len();
    let bytes = vault
        .backup_key_with(&name("v"), options)
        .unwrap()
        .into_bytes();
    let filled = known.filled.lock().unwrap()[mark..].to_vec();
    assert_eq!(filled[0], bytes[32..48], "the blob id is drawn first");
    Blob::take(&bytes, &filled[1], domain)
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

fn backups() -> Value {
    let directory = scratch();
    let path = directory.path().join("vault");
    write_image(&path, &golden());
    let known = Arc::new(Known::default());
    let vault = options()
        .entropy(Arc::clone(&known) as Arc<dyn Entropy>)
        .open(&path, Unlock::raw_key(&master_key()))
        .unwrap();
    vault
        .import_key(&name("v"), ImportKeyOptions::new(fixed_oct(32)))
        .unwrap();
    let ring = Golden::read().sdk_ring();
    let sdk = ring[12..44].to_vec();
    let key = RecipientKey::from_bytes(&RECIPIENT).unwrap();
    let secret = Passphrase::new(PASSPHRASE).unwrap();
    let with_key = BackupOptions::new().recipient(&key.recipient());
    let with_secret = BackupOptions::new()
        .passphrase(&secret)
        .passphrase_parameters(PassphraseParameters::new(19_456, 1, 1).unwrap());
    let everybody = with_secret.clone().recipient(&key.recipient());
    let domain = blob(&vault, &known, &BackupOptions::new(), Some(sdk.clone()));
    let all = blob(&vault, &known, &everybody, Some(sdk.clone()));
    let recipient = blob(&vault, &known, &with_key.without_domain(), None);
    let passphrase = blob(&vault, &known, &with_secret.without_domain(), None);

    let mut vectors = Vec::new();
    let mut add = |name: &str, open: &str, blob: Vec<u8>, expect: &str| {
        vectors.push(json!({
            "name": format!("{open}: {name}"), "open": open, "blob": STANDARD.encode(blob),
            "expect": expect,
        }));
    };

    // What opens.
    add("good", "domain", domain.build(), "ok");
    add("good, for everybody", "domain", all.build(), "ok");
    add("good, for everybody", "recipient", all.build(), "ok");
    add("good, for everybody", "passphrase", all.build(), "ok");
    add("good", "recipient", recipient.build(), "ok");
    add("good", "passphrase", passphrase.build(), "ok");
    add(
        "vouched for by the domain",
        "recipient, not accepted",
        all.build(),
        "ok",
    );
    add(
        "with a stanza of an unknown type",
        "domain",
        domain.with_stanza(0, 9, 0, b"new"),
        "ok",
    );
    add(
        "with a stanza of type 4",
        "domain",
        domain.with_stanza(2, 4, 0, &[7; 1_168]),
        "ok",
    );

    // Framing.
    let whole = domain.build();
    let with = |at: usize, new: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    };
    add("nothing", "domain", Vec::new(), "InvalidBackup");
    add(
        "only the magic",
        "domain",
        whole[..8].to_vec(),
        "InvalidBackup",
    );
    add(
        "the fixed part alone",
        "domain",
        whole[..64].to_vec(),
        "InvalidBackup",
    );
    add(
        "the header alone",
        "domain",
        whole[..240].to_vec(),
        "InvalidBackup",
    );
    add(
        "one byte less",
        "domain",
        whole[..whole.len() - 1].to_vec(),
        "InvalidBackup",
    );
    add(
        "one byte more",
        "domain",
        [&whole[..], &[0]].concat(),
        "InvalidBackup",
    );
    add(
        "without the domain's MAC",
        "domain",
        whole[..whole.len() - 64].to_vec(),
        "InvalidBackup",
    );
    let short = [&whole[..240], &[0; 71 + 64][..]].concat();
    add(
        "a payload below the shortest",
        "domain",
        short,
        "InvalidBackup",
    );
    add(
        "another magic",
        "domain",
        domain.with_header(0, b"SRMBKP02"),
        "InvalidBackup",
    );
    add(
        "the magic of a header",
        "domain",
        domain.with_header(0, b"SRMHDR01"),
        "InvalidBackup",
    );
    add(
        "format 0",
        "domain",
        domain.with_header(8, &[0, 0]),
        "NewerFormat",
    );
    add(
        "format 2",
        "domain",
        domain.with_header(8, &[0, 2]),
        "NewerFormat",
    );
    for suite in [0, 1, 4, 255] {
        add(
            &format!("suite {suite}"),
            "domain",
            domain.with_header(10, &[suite]),
            "NewerFormat",
        );
    }
    add(
        "sealed with another suite",
        "domain",
        domain.with_header(10, &[3]),
        "InvalidBackup",
    );
    for (mode, expect) in [
        (0, "InvalidBackup"),
        (2, "InvalidBackup"),
        (3, "InvalidBackup"),
        (5, "InvalidBackup"),
        (9, "InvalidBackup"),
        (17, "InvalidBackup"),
        (25, "InvalidBackup"),
        (33, "NewerFormat"),
        (65, "NewerFormat"),
        (129, "NewerFormat"),
    ] {
        add(
            &format!("mode {mode}"),
            "domain",
            domain.with_header(11, &[mode]),
            expect,
        );
    }
    for length in [0, 215, 216, 239, 241, 65_537, u32::MAX] {
        let mut header = domain.header.clone();
        header[12..16].copy_from_slice(&length.to_be_bytes());
        let bytes = domain.build_as_is(header);
        add(
            &format!("header length {length}"),
            "domain",
            bytes,
            "InvalidBackup",
        );
    }
    add(
        "another domain",
        "domain",
        domain.with_header(16, &[1; 16]),
        "WrongDomain",
    );
    add(
        "no domain",
        "domain",
        domain.with_header(16, &[0; 16]),
        "WrongDomain",
    );
    add(
        "another blob id",
        "domain",
        domain.with_header(32, &[1; 16]),
        "InvalidBackup",
    );
    add(
        "another time, unsigned",
        "domain",
        flipped(&whole, 55),
        "InvalidBackup",
    );
    add(
        "no stanzas",
        "domain",
        domain.with_header(56, &[0, 0]),
        "InvalidBackup",
    );
    add(
        "two stanzas of which one is there",
        "domain",
        domain.with_header(56, &[0, 2]),
        "InvalidBackup",
    );
    add(
        "17 stanzas",
        "domain",
        domain.with_header(56, &[0, 17]),
        "InvalidBackup",
    );
    add(
        "very many stanzas",
        "domain",
        domain.with_header(56, &[255, 255]),
        "InvalidBackup",
    );
    for at in 58..64 {
        add(
            &format!("reserved byte {at}"),
            "domain",
            domain.with_header(at, &[1]),
            "InvalidBackup",
        );
    }

    // Stanzas.
    add(
        "a stanza of type 0",
        "domain",
        domain.with_header(64, &[0, 0]),
        "InvalidBackup",
    );
    add(
        "only a stanza of an unknown type",
        "domain",
        {
            let mut blob = domain.clone();
            blob.header[64..66].copy_from_slice(&[0, 9]);
            blob.header[68..72].fill(0);
            blob.header[11] = 0;
            blob.header[16..32].fill(0);
            blob.domain = None;
            blob.build()
        },
        "NewerFormat",
    );
    add(
        "a stanza one byte too long",
        "domain",
        domain.with_header(66, &[0, 105]),
        "InvalidBackup",
    );
    add(
        "a stanza one byte too short",
        "domain",
        domain.with_header(66, &[0, 103]),
        "InvalidBackup",
    );
    add(
        "a stanza of no length",
        "domain",
        domain.with_header(66, &[0, 0]),
        "InvalidBackup",
    );
    add(
        "epoch 0",
        "domain",
        domain.with_header(68, &[0; 4]),
        "InvalidBackup",
    );
    add(
        "an epoch that is not there",
        "domain",
        domain.with_header(68, &[0, 0, 0, 9]),
        "WrongDomain",
    );
    add(
        "two domain stanzas",
        "domain",
        {
            let data = domain.header[72..].to_vec();
            domain.with_stanza(1, 1, 1, &data)
        },
        "InvalidBackup",
    );
    add(
        "two passphrases",
        "domain",
        {
            let mut twice = domain.clone();
            twice.header[11] |= 4;
            twice.header[57] = 2;
            twice.header.extend([0, 3, 0, 152, 0, 0, 0, 0]);
            twice.header.extend([0; 152]);
            twice.with_stanza(4, 3, 0, &[0; 152])
        },
        "InvalidBackup",
    );
    add(
        "a recipient of a wrong length",
        "domain",
        domain.with_stanza(2, 2, 0, &[0; 81]),
        "InvalidBackup",
    );
    add(
        "a recipient with an epoch",
        "domain",
        domain.with_stanza(2, 2, 1, &[0; 80]),
        "InvalidBackup",
    );
    add(
        "a recipient that the modes lack",
        "domain",
        domain.with_stanza(0, 2, 0, &[0; 80]),
        "InvalidBackup",
    );
    add(
        "salt of the file key",
        "domain",
        domain.with_header(72, &[0; 24]),
        "InvalidBackup",
    );
    add(
        "commitment of the file key",
        "domain",
        domain.with_header(96, &[0; 32]),
        "InvalidBackup",
    );
    add(
        "sealed file key",
        "domain",
        domain.with_header(130, &[0; 4]),
        "InvalidBackup",
    );
    add(
        "tag of the file key",
        "domain",
        domain.with_header(160, &[0; 4]),
        "InvalidBackup",
    );

    // MACs and the payload's seal; the domain's MAC is made right again where something else is wrong.
    let resigned = |at: usize| {
        let mut bytes = whole[..whole.len() - 64].to_vec();
        bytes[at] ^= 1;
        domain.sign(bytes)
    };
    add("the header's MAC", "domain", resigned(176), "InvalidBackup");
    add(
        "the end of the header's MAC",
        "domain",
        resigned(239),
        "InvalidBackup",
    );
    add(
        "the payload's salt",
        "domain",
        resigned(240),
        "InvalidBackup",
    );
    add(
        "the payload's commitment",
        "domain",
        resigned(264),
        "InvalidBackup",
    );
    add(
        "the payload's ciphertext",
        "domain",
        resigned(296),
        "InvalidBackup",
    );
    add(
        "the payload's tag",
        "domain",
        resigned(whole.len() - 65),
        "InvalidBackup",
    );
    add(
        "the domain's MAC",
        "domain",
        flipped(&whole, whole.len() - 64),
        "InvalidBackup",
    );
    add(
        "the end of the domain's MAC",
        "domain",
        flipped(&whole, whole.len() - 1),
        "InvalidBackup",
    );
    add(
        "the domain's MAC of another blob",
        "domain",
        {
            let mut bytes = whole.clone();
            let other = all.build();
            let end = bytes.len() - 64;
            bytes[end..].copy_from_slice(&other[other.len() - 64..]);
            bytes
        },
        "InvalidBackup",
    );
    add(
        "the domain's MAC under the file key",
        "domain",
        {
            let mut forged = domain.clone();
            forged.domain = Some(domain.file_key.clone());
            forged.build()
        },
        "InvalidBackup",
    );
    add(
        "the payload under another header",
        "domain",
        {
            let mut bytes = with(55, &[whole[55] ^ 1])[..176].to_vec();
            let key = expand(&domain.file_key, b"strongroom/v1/backup-header");
            let header_mac = mac(&key, &bytes);
            bytes.extend(header_mac);
            bytes.extend(&whole[240..whole.len() - 64]);
            domain.sign(bytes)
        },
        "InvalidBackup",
    );

    // The payload, sealed rightly: name `v`, one version of an oct key of 32 bytes.
    let at_version = 2 + 8 + 1 + 16 + 8 + 8 + 8;
    let payload: &[(&str, usize, &[u8], &str)] = &[
        ("layout 0", 0, &[0, 0], "NewerFormat"),
        (
            "a name longer than the payload",
            2,
            &[255; 8],
            "InvalidBackup",
        ),
        ("an empty name", 2, &[0; 8], "InvalidBackup"),
        ("a name with a bad character", 10, b"_", "InvalidBackup"),
        ("a name that is no text", 10, &[0xff], "InvalidBackup"),
        ("no versions", 43, &[0; 8], "InvalidBackup"),
        (
            "two versions of which one is there",
            43,
            &[0, 0, 0, 0, 0, 0, 0, 2],
            "InvalidBackup",
        ),
        ("very many versions", 43, &[255; 8], "InvalidBackup"),
        (
            "neither enabled nor disabled",
            at_version + 20,
            &[2],
            "InvalidBackup",
        ),
        (
            "neither some nor no start",
            at_version + 21,
            &[2],
            "InvalidBackup",
        ),
        ("no operations", at_version + 23, &[0], "InvalidBackup"),
        (
            "very many tags",
            at_version + 24,
            &[255; 8],
            "InvalidBackup",
        ),
        (
            "a kind of key that does not exist",
            at_version + 64,
            &[0, 0, 0, 3],
            "InvalidBackup",
        ),
        ("a key of no length", at_version + 68, &[0], "InvalidBackup"),
        (
            "a key of another length",
            at_version + 68,
            &[16],
            "InvalidBackup",
        ),
        (
            "a backend without a name",
            at_version + 70,
            &[0; 8],
            "InvalidBackup",
        ),
        (
            "a backend that is not there",
            at_version + 78,
            b"hardware",
            "BackendUnavailable",
        ),
        (
            "a public part of an unknown kind",
            at_version + 88,
            &[2],
            "InvalidBackup",
        ),
        (
            "material longer than the payload",
            at_version + 89,
            &[255; 8],
            "InvalidBackup",
        ),
    ];
    for (name, at, new, expect) in payload {
        assert_ne!(domain.payload[*at..at + new.len()], **new, "{name}");
        add(name, "domain", domain.with_payload(*at, new), expect);
    }
    let with_contents = |contents: &[u8]| {
        let mut blob = domain.clone();
        blob.payload = contents.to_vec();
        blob.build()
    };
    let contents = &domain.payload;
    add(
        "an empty payload",
        "domain",
        with_contents(b""),
        "InvalidBackup",
    );
    add(
        "only a layout",
        "domain",
        with_contents(&contents[..2]),
        "InvalidBackup",
    );
    add(
        "half a payload",
        "domain",
        with_contents(&contents[..contents.len() / 2]),
        "InvalidBackup",
    );
    add(
        "something after the payload",
        "domain",
        with_contents(&[&contents[..], &[0]].concat()),
        "InvalidBackup",
    );
    let version = &contents[at_version..];
    let two = |first: &[u8], second: &[u8]| {
        let mut contents = contents[..at_version].to_vec();
        contents[50] = 2;
        with_contents(&[&contents[..], first, second].concat())
    };
    add(
        "the same version twice",
        "domain",
        two(version, version),
        "InvalidBackup",
    );
    let mut later = version.to_vec();
    later[19] += 1;
    add(
        "one version id at two places",
        "domain",
        two(version, &later),
        "InvalidBackup",
    );
    let mut other = later.clone();
    other[0] ^= 1;
    add("two versions", "domain", two(version, &other), "ok");
    add(
        "two versions, the newest first",
        "domain",
        two(&other, version),
        "InvalidBackup",
    );
    let secret_at = contents
        .windows(32)
        .position(|window| window.iter().copied().eq(1..=32))
        .unwrap();
    add(
        "a key of zeros",
        "domain",
        domain.with_payload(secret_at, &[0; 32]),
        "InvalidBackup",
    );

    // Recipients: fixed part 64, stanza header 8, encapsulated key 32, ciphertext 32, tag 16.
    let sealed = recipient.build();
    add(
        "nobody vouches for it",
        "recipient, not accepted",
        sealed.clone(),
        "UnauthenticatedBackup",
    );
    add("not for him", "other recipient", sealed.clone(), "WrongKey");
    add(
        "not for him, but for others",
        "other recipient",
        all.build(),
        "WrongKey",
    );
    add(
        "only for the domain",
        "recipient",
        domain.build(),
        "WrongKey",
    );
    add(
        "only for a passphrase",
        "recipient",
        passphrase.build(),
        "WrongKey",
    );
    add(
        "not for the domain",
        "domain",
        sealed.clone(),
        "WrongDomain",
    );
    for (what, at) in [
        ("the encapsulated key", 72),
        ("the sealed file key", 104),
        ("the tag of the file key", 151),
    ] {
        let mut new = [recipient.header[at]];
        new[0] ^= 1;
        add(
            what,
            "recipient",
            recipient.with_header(at, &new),
            "WrongKey",
        );
    }
    add(
        "an encapsulated key of small order",
        "recipient",
        recipient.with_header(72, &[0; 32]),
        "WrongKey",
    );
    add(
        "another blob id",
        "recipient",
        recipient.with_header(32, &[1; 16]),
        "WrongKey",
    );
    add(
        "a domain id without a domain",
        "recipient",
        recipient.with_header(16, &[1]),
        "InvalidBackup",
    );
    add(
        "another time",
        "recipient",
        flipped(&sealed, 55),
        "InvalidBackup",
    );
    add(
        "the header's MAC",
        "recipient",
        flipped(&sealed, 152),
        "InvalidBackup",
    );
    add(
        "the payload",
        "recipient",
        flipped(&sealed, 300),
        "InvalidBackup",
    );
    add(
        "a domain's MAC without a domain",
        "recipient",
        [&sealed[..], &[0; 64]].concat(),
        "InvalidBackup",
    );
    add(
        "the domain's MAC is wrong",
        "recipient",
        {
            let all = all.build();
            flipped(&all, all.len() - 1)
        },
        "InvalidBackup",
    );
    add(
        "a forged payload in the domain's name",
        "recipient",
        {
            let mut forged = all.clone();
            forged.payload[secret_at] ^= 0x80;
            forged.domain = Some(forged.file_key.clone());
            forged.build()
        },
        "InvalidBackup",
    );

    // Passphrases: parameters at 72, 76 and 80, zero at 84, salt at 88, sealed file key at 120.
    let hashed = passphrase.build();
    add(
        "another passphrase",
        "other passphrase",
        hashed.clone(),
        "WrongKey",
    );
    add(
        "only for the domain",
        "passphrase",
        domain.build(),
        "WrongKey",
    );
    for (what, at, value) in [
        ("too little memory", 72, 19_455),
        ("very much memory", 72, u32::MAX),
        ("no passes", 76, 0),
        ("17 passes", 76, 17),
        ("more work than is allowed", 76, 3),
        ("no lanes", 80, 0),
        ("nine lanes", 80, 9_u32),
    ] {
        let bytes = passphrase.with_header(at, &value.to_be_bytes());
        add(what, "passphrase", bytes, "KdfCostRefused");
    }
    add(
        "more memory than it was made with",
        "passphrase",
        passphrase.with_header(72, &19_464_u32.to_be_bytes()),
        "WrongKey",
    );
    add(
        "reserved",
        "passphrase",
        passphrase.with_header(87, &[1]),
        "InvalidBackup",
    );
    add(
        "salt of the hash",
        "passphrase",
        passphrase.with_header(88, &[0; 32]),
        "WrongKey",
    );
    add(
        "commitment of the file key",
        "passphrase",
        passphrase.with_header(144, &[0; 4]),
        "WrongKey",
    );
    add(
        "sealed file key",
        "passphrase",
        passphrase.with_header(180, &[0; 4]),
        "WrongKey",
    );
    add(
        "the header's MAC",
        "passphrase",
        flipped(&hashed, 224),
        "InvalidBackup",
    );
    add(
        "the payload",
        "passphrase",
        flipped(&hashed, 350),
        "InvalidBackup",
    );

    // What is no backup of a key.
    let file = vault
        .export_domain(&BackupOptions::new().recipient(&key.recipient()))
        .unwrap();
    add(
        "a domain file",
        "recipient",
        file.into_bytes(),
        "InvalidBackup",
    );
    let mut stream = Vec::new();
    let small = options()
        .entropy(Arc::clone(&known) as Arc<dyn Entropy>)
        .create_in_memory()
        .unwrap();
    small
        .create_key(&name("k"), CreateKeyOptions::oct(OctKeySize::Bits128))
        .unwrap();
    small
        .backup_to(
            &mut stream,
            &BackupOptions::new()
                .recipient(&key.recipient())
                .without_domain(),
            |_| (),
        )
        .unwrap();
    let head = u32::from_be_bytes(stream[8..12].try_into().unwrap()) as usize;
    add(
        "the head of a whole vault",
        "recipient",
        stream[12..12 + head].to_vec(),
        "InvalidBackup",
    );
    add(
        "the backup of a whole vault",
        "recipient",
        stream,
        "InvalidBackup",
    );
    json!({
        "recipient": to_hex(&RECIPIENT), "passphrase": PASSPHRASE, "vectors": vectors,
    })
}
