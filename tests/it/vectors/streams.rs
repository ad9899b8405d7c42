//! Makes the vectors of streams of the second edition. Those of the first were made when there was no other.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use strongroom::{
    AlgorithmRules, AuditOptions, AuditReads, BackupOptions, Entropy, ImportKeyOptions, Permission,
    Permissions, RecipientKey, SoftDelete, Unlock, Vault,
};

use super::generate::{Blob, Golden, Known, RECIPIENT, SALT, to_hex};
use super::independent::{expand, mac, open, seal, sha512};
use super::{golden, options};
use crate::image::{scratch, write_image};
use crate::support::{START_MS, fixed_oct, master_key, name};

/// The parts of a stream without their lengths: head, frames.
fn parts(stream: &[u8]) -> Vec<Vec<u8>> {
    assert_eq!(stream[..8], *b"SRMVLT01");
    let mut parts = Vec::new();
    let mut rest = &stream[8..];
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        parts.push(rest[4..4 + length].to_vec());
        rest = &rest[4 + length..];
    }
    parts
}

fn join(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = b"SRMVLT01".to_vec();
    for part in parts {
        stream.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        stream.extend(part);
    }
    stream
}

/// What seals the frames of one stream.
struct Frames {
    blob_id: Vec<u8>,
    key: Vec<u8>,
    domain: Option<Vec<u8>>,
}

impl Frames {
    fn place(&self, index: u64, kind: u8) -> Vec<u8> {
        [
            b"strongroom/v1/vault-frame\0",
            &self.blob_id[..],
            &index.to_be_bytes(),
            &[kind],
        ]
        .concat()
    }

    fn open(&self, index: u64, frame: &[u8]) -> Vec<u8> {
        let end = frame.len() - if self.domain.is_some() { 64 } else { 0 };
        open(&self.key, &self.place(index, frame[0]), &frame[1..end])
    }

    fn seal(&self, index: u64, kind: u8, payload: &[u8]) -> Vec<u8> {
        let place = self.place(index, kind);
        let sealed = seal(&self.key, &place, &SALT, payload);
        let mut frame = [&[kind][..], &sealed].concat();
        if let Some(key) = &self.domain {
            let key = expand(key, b"strongroom/v1/backup-mac");
            frame.extend(mac(&key, &sha512(&[place, sealed].concat())));
        }
        frame
    }
}

fn short_hash(bytes: &[u8]) -> Vec<u8> {
    sha512(bytes)[..32].to_vec()
}

/// The settings that the vault of the vectors has, as the format document writes them.
struct Settings {
    deletion: Vec<u8>,
    algorithms: Vec<u8>,
    audit: Vec<u8>,
    policies: Vec<Vec<u8>>,
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_be_bytes(), bytes].concat()
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    [&(items.len() as u64).to_be_bytes()[..], &items.concat()].concat()
}

impl Settings {
    fn new() -> Self {
        let names = [long(b"RSA1_5"), long(b"RSNULL")];
        Self {
            deletion: vec![0, 1, 30, 0],
            algorithms: [&[0, 1][..], &list(&names)].concat(),
            // On, one read of three, 5,000 entries, 400 days.
            audit: [
                &[0, 1, 1][..],
                &3_u32.to_be_bytes(),
                &5_000_u32.to_be_bytes(),
                &[1],
                &400_u32.to_be_bytes(),
            ]
            .concat(),
            // Get is bit 1 of them and sign bit 13.
            policies: vec![
                [
                    &[0, 1][..],
                    &long(b"billing"),
                    &(1_u32 | 1 << 12).to_be_bytes(),
                    &[1],
                    &list(&[long(b"b*")]),
                ]
                .concat(),
            ],
        }
    }

    fn payload(&self) -> Vec<u8> {
        let policies: Vec<_> = self.policies.iter().map(|policy| long(policy)).collect();
        [
            &[0, 1][..],
            &long(&self.deletion),
            &long(&self.algorithms),
            &long(&self.audit),
            &list(&policies),
        ]
        .concat()
    }
}

fn settle(vault: &Vault) {
    for key in ["a", "b", "c"] {
        vault
            .import_key(&name(key), ImportKeyOptions::new(fixed_oct(32)))
            .unwrap();
    }
    vault.delete_key(&name("c")).unwrap();
    let rules = AlgorithmRules::default().refuse("RSA1_5").unwrap();
    vault.set_algorithm_rules(rules).unwrap();
    let permissions = Permissions::from([Permission::Get, Permission::Sign])
        .for_names(["b*".parse().unwrap()])
        .unwrap();
    vault
        .set_access_policy(&"billing".parse().unwrap(), permissions)
        .unwrap();
    let audit = AuditOptions::on()
        .reads(AuditReads::Sampled(3.try_into().unwrap()))
        .retain_entries(5_000)
        .unwrap()
        .retain_days(400)
        .unwrap();
    vault.set_audit_options(audit).unwrap();
}

/// What every stream of the vectors is made from: its head, and the payloads of its frames.
struct Source {
    head: Blob,
    frames: Frames,
    /// Kind and payload: settings, three keys.
    contents: Vec<(u8, Vec<u8>)>,
    /// The place of the deleted key among them.
    deleted: usize,
}

impl Source {
    /// The second implementation reads what the library made, to the last byte.
    fn read(stream: &[u8], filled: &[Vec<u8>], domain: Option<Vec<u8>>, vault: &Vault) -> Self {
        let parts = parts(stream);
        assert_eq!((parts.len(), filled[0].len()), (6, 16));
        let head = Blob::take(&parts[0], &filled[1], domain.clone());
        let expected = [
            &[0, 2, 0, 0][..],
            vault.status().unwrap().vault_id(),
            &3_u64.to_be_bytes(),
        ]
        .concat();
        assert_eq!(head.payload, expected);
        let frames = Frames {
            blob_id: filled[0].clone(),
            key: expand(&filled[1], b"strongroom/v1/vault-frames"),
            domain,
        };
        let contents: Vec<(u8, Vec<u8>)> = (0..4)
            .map(|index| {
                let frame = &parts[index + 1];
                (frame[0], frames.open(index as u64, frame))
            })
            .collect();
        let deleted = contents.iter().position(|(kind, _)| *kind == 3).unwrap();
        let source = Self {
            head,
            frames,
            contents,
            deleted,
        };
        assert_eq!(source.contents[0], (4, Settings::new().payload()));
        assert!(
            source.contents[1..]
                .iter()
                .all(|(kind, _)| [1, 3].contains(kind))
        );
        let dates = &source.contents[deleted].1[..24];
        let start = START_MS / 1_000;
        let expected = [
            &[0, 1, 0, 0, 0, 0, 0, 0][..],
            &start.to_be_bytes(),
            &(start + 30 * 86_400).to_be_bytes(),
        ]
        .concat();
        assert_eq!(dates, expected);
        let (kind, end) = (parts[5][0], source.frames.open(4, &parts[5]));
        assert_eq!(kind, 2);
        assert_eq!(end, source.end(&parts[..5], 4));
        source
    }

    fn end(&self, before: &[Vec<u8>], count: u64) -> Vec<u8> {
        let chain = before[1..]
            .iter()
            .fold(short_hash(&before[0]), |chain, frame| {
                short_hash(&[chain, short_hash(frame)].concat())
            });
        [
            &[0, 1, 0, 0][..],
            &count.to_be_bytes(),
            &0_u64.to_be_bytes(),
            &chain,
        ]
        .concat()
    }

    /// A stream of these frames with all seals and MACs right, and the right end.
    fn build(&self, head: &Blob, contents: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut parts = vec![head.build()];
        for (index, (kind, payload)) in (0..).zip(contents) {
            parts.push(self.frames.seal(index, *kind, payload));
        }
        let count = contents.len() as u64;
        let end = self.end(&parts, count);
        parts.push(self.frames.seal(count, 2, &end));
        join(&parts)
    }

    /// The same stream with one payload changed.
    fn with(&self, index: usize, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut contents = self.contents.clone();
        change(&mut contents[index].1);
        self.build(&self.head, &contents)
    }

    fn with_settings(&self, change: impl FnOnce(&mut Settings)) -> Vec<u8> {
        let mut settings = Settings::new();
        change(&mut settings);
        self.with(0, |payload| *payload = settings.payload())
    }

    fn with_head_layout(&self, layout: u8, contents: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut head = self.head.clone();
        head.payload[1] = layout;
        self.build(&head, contents)
    }
}

/// Name, stream, expectation without the settings, expectation with them.
type Case = (&'static str, Vec<u8>, &'static str, &'static str);

const OK: &str = "ok";
const INVALID: &str = "InvalidBackup";
const NEWER: &str = "NewerFormat";

fn cases(source: &Source, stream: Vec<u8>) -> Vec<Case> {
    let start = START_MS / 1_000;
    let deleted = source.deleted;
    let dates = |from: u64, until: u64| {
        source.with(deleted, |payload| {
            payload[8..16].copy_from_slice(&from.to_be_bytes());
            payload[16..24].copy_from_slice(&until.to_be_bytes());
        })
    };
    let with_contents = |contents: &[(u8, Vec<u8>)]| source.build(&source.head, contents);
    let contents = &source.contents;
    let called = |index: usize, kind: u8| {
        let mut contents = contents.clone();
        contents[index].0 = kind;
        with_contents(&contents)
    };
    let moved = |from: usize, to: usize| {
        let mut contents = contents.clone();
        let one = contents.remove(from);
        contents.insert(to, one);
        with_contents(&contents)
    };
    let twice = [&contents[..1], &contents[..]].concat();
    let parts = parts(&stream);
    vec![
        ("good", stream.clone(), OK, OK),
        ("sealed again", with_contents(contents), OK, OK),
        ("keys in another order", moved(1, 3), OK, OK),
        (
            "no settings",
            with_contents(&contents[1..]),
            INVALID,
            INVALID,
        ),
        ("nothing but the end", with_contents(&[]), INVALID, INVALID),
        ("settings twice", with_contents(&twice), INVALID, INVALID),
        ("settings after a key", moved(0, 1), INVALID, INVALID),
        ("no end", join(&parts[..5]), INVALID, INVALID),
        (
            "the deleted key cut out",
            join(&[&parts[..=deleted], &parts[deleted + 2..]].concat()),
            INVALID,
            INVALID,
        ),
        ("a frame of kind 5", called(1, 5), NEWER, NEWER),
        ("a frame of kind 0", called(1, 0), NEWER, NEWER),
        ("a key called settings", called(1, 4), INVALID, INVALID),
        ("settings called a key", called(0, 1), INVALID, INVALID),
        (
            "a deleted key called one in use",
            called(deleted, 1),
            INVALID,
            INVALID,
        ),
        (
            "a key in use called deleted",
            called(if deleted == 1 { 2 } else { 1 }, 3),
            INVALID,
            INVALID,
        ),
        (
            "a head of layout 3",
            source.with_head_layout(3, contents),
            NEWER,
            NEWER,
        ),
        (
            "a head of layout 1",
            source.with_head_layout(1, contents),
            NEWER,
            "BadParameter",
        ),
        (
            "reserved in the head",
            {
                let mut head = source.head.clone();
                head.payload[3] = 1;
                source.build(&head, contents)
            },
            INVALID,
            INVALID,
        ),
        (
            "a deletion of layout 2",
            source.with(deleted, |payload| payload[1] = 2),
            NEWER,
            NEWER,
        ),
        (
            "reserved in a deletion",
            source.with(deleted, |payload| payload[7] = 1),
            INVALID,
            INVALID,
        ),
        (
            "a deletion and no key",
            source.with(deleted, |payload| payload.truncate(24)),
            INVALID,
            INVALID,
        ),
        (
            "a deletion cut off",
            source.with(deleted, |payload| payload.truncate(23)),
            INVALID,
            INVALID,
        ),
        (
            "something after the deleted key",
            source.with(deleted, |payload| payload.push(0)),
            INVALID,
            INVALID,
        ),
        (
            "90 days until the purge",
            dates(start, start + 90 * 86_400),
            OK,
            OK,
        ),
        (
            "a second more than 90 days",
            dates(start, start + 90 * 86_400 + 1),
            INVALID,
            INVALID,
        ),
        (
            "purged before it was deleted",
            dates(start, start - 1),
            INVALID,
            INVALID,
        ),
        (
            "dates at the end of time",
            dates(1, u64::MAX),
            INVALID,
            INVALID,
        ),
        (
            "settings of layout 2",
            source.with(0, |payload| payload[1] = 2),
            OK,
            NEWER,
        ),
        (
            "settings cut off",
            source.with(0, |payload| payload.truncate(payload.len() - 1)),
            INVALID,
            INVALID,
        ),
        (
            "something after the settings",
            source.with(0, |payload| payload.push(0)),
            INVALID,
            INVALID,
        ),
        (
            "empty settings",
            source.with(0, |payload| payload.clear()),
            INVALID,
            INVALID,
        ),
        (
            "a length beyond the settings",
            source.with(0, |payload| payload[2] = 0x80),
            INVALID,
            INVALID,
        ),
        (
            "91 days of retention",
            source.with_settings(|settings| settings.deletion[2] = 91),
            INVALID,
            INVALID,
        ),
        (
            "purge protection without soft delete",
            source.with_settings(|settings| settings.deletion[2..].copy_from_slice(&[0, 1])),
            INVALID,
            INVALID,
        ),
        (
            "retention of layout 2",
            source.with_settings(|settings| settings.deletion[1] = 2),
            OK,
            NEWER,
        ),
        (
            "an unknown algorithm",
            source.with_settings(|settings| {
                let names = [long(b"XYZ"), long(b"RSNULL")];
                settings.algorithms = [&[0, 1][..], &list(&names)].concat();
            }),
            OK,
            NEWER,
        ),
        (
            "an unknown permission",
            source.with_settings(|settings| settings.policies[0][17] |= 0x80),
            OK,
            NEWER,
        ),
        (
            "two policies of one principal",
            source.with_settings(|settings| settings.policies.push(settings.policies[0].clone())),
            INVALID,
            INVALID,
        ),
        (
            "1,025 policies",
            source.with_settings(|settings| {
                settings.policies = (0..1_025)
                    .map(|number| {
                        [
                            &[0, 1][..],
                            &long(format!("p{number}").as_bytes()),
                            &1_u32.to_be_bytes(),
                            &[0],
                        ]
                        .concat()
                    })
                    .collect();
            }),
            INVALID,
            INVALID,
        ),
        (
            "no audit entries retained",
            source.with_settings(|settings| settings.audit[7..11].fill(0)),
            INVALID,
            INVALID,
        ),
    ]
}

pub(super) fn second_edition() -> Value {
    let directory = scratch();
    let path = directory.path().join("vault");
    write_image(&path, &golden());
    let domain = options()
        .open(&path, Unlock::raw_key(&master_key()))
        .unwrap()
        .security_domain()
        .unwrap();
    let known = Arc::new(Known::default());
    let vault = options()
        .entropy(Arc::clone(&known) as Arc<dyn Entropy>)
        .soft_delete(SoftDelete::days(30).unwrap())
        .create_in_domain(
            directory.path().join("small"),
            Unlock::raw_key(&master_key()),
            &domain,
        )
        .unwrap();
    settle(&vault);
    let sdk = Golden::read().sdk_ring()[12..44].to_vec();
    let key = RecipientKey::from_bytes(&RECIPIENT).unwrap();
    let with_key = BackupOptions::new().recipient(&key.recipient());
    let mut vectors = Vec::new();
    for (by, wanted, domain) in [
        ("domain", with_key.clone(), Some(sdk)),
        ("recipient", with_key.without_domain(), None),
    ] {
        let mark = known.filled.lock().unwrap().len();
        let mut stream = Vec::new();
        vault.backup_to(&mut stream, &wanted, |_| ()).unwrap();
        let filled = known.filled.lock().unwrap()[mark..].to_vec();
        let source = Source::read(&stream, &filled, domain, &vault);
        for (name, stream, without, with) in cases(&source, stream) {
            vectors.push(json!({
                "name": format!("{by}: {name}"), "open": by, "stream": STANDARD.encode(stream),
                "expect": without, "expect_with_settings": with,
            }));
        }
    }
    json!({ "recipient": to_hex(&RECIPIENT), "vectors": vectors })
}
