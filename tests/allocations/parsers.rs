//! The parsers of the public API, and the layouts behind the seals.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use strongroom::fuzzing::{self, recipient_key, sealed_backup, sealed_domain_file};
use strongroom::{
    AuditCheckpoint, BackupKey, ContinuationToken, ImportedKey, JsonWebKey, KeyBackup,
    KeyIdentifier, KeyName, KeyVersion, Passphrase, Principal, PublicKey, Recipient,
    RestoreOptions, SecurityDomain, SlotId, Vault, VaultOptions, VaultUrl,
};

use crate::allowed;
use crate::counting::{alone, peak};

/// Numbers at the edges of lengths.
const NUMBERS: [u64; 6] = [
    u64::MAX,
    0x7fff_ffff_ffff_ffff,
    0x0000_ffff_0000_ffff,
    0x0fff_ffff,
    0x0010_0000_0010_0000,
    0x8001_8001_8001_8001,
];
/// Places of a long input that are changed.
const PLACES: usize = 40;

/// The input, and the input with edge numbers everywhere.
fn hostile(input: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let step = (input.len() / PLACES).max(1);
    let near = 0..input.len().min(40);
    let places: Vec<usize> = near.chain((40..input.len()).step_by(step)).collect();
    let whole = std::iter::once(input.to_vec());
    whole.chain(places.into_iter().flat_map(move |at| {
        NUMBERS.into_iter().flat_map(move |number| {
            [1, 2, 4, 8].map(move |width| {
                let mut altered = input.to_vec();
                let bytes = number.to_be_bytes();
                let places = altered[at..].iter_mut();
                places
                    .zip(&bytes[8 - width..])
                    .for_each(|(place, new)| *place = *new);
                altered
            })
        })
    }))
}

/// The largest share of what is allowed that any input took, in percent; an error with the first that took more.
pub(crate) fn worst(input: &[u8], parse: &dyn Fn(&[u8])) -> Result<usize, String> {
    // What is made once is made now.
    parse(input);
    let mut most = 0;
    for altered in hostile(input) {
        let allowed = allowed(altered.len());
        let taken = peak(|| parse(&altered));
        if taken > allowed {
            let beginning: String = altered
                .iter()
                .take(80)
                .map(|byte| format!("{byte:02x}"))
                .collect();
            return Err(format!(
                "{taken} bytes for {} bytes, {allowed} are allowed: {beginning}",
                altered.len()
            ));
        }
        most = most.max(100 * taken / allowed);
    }
    Ok(most)
}

#[track_caller]
fn bounded(what: &str, inputs: &[Vec<u8>], parse: impl Fn(&[u8])) {
    assert!(!inputs.is_empty(), "{what}: no inputs");
    let worst = inputs
        .iter()
        .map(|input| worst(input, &parse).unwrap_or_else(|text| panic!("{what}: {text}")))
        .max();
    println!(
        "{what}: {} inputs with edge numbers everywhere, at most {} % of what is allowed",
        inputs.len(),
        worst.unwrap()
    );
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The seeds of a fuzz target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let target = fuzzing::target(target);
    let mut seeds: Vec<Vec<u8>> = (target.seeds)().into_iter().map(|(_, seed)| seed).collect();
    let folder = root().join("fuzz/seeds").join(target.name);
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        seeds.push(std::fs::read(entry.unwrap().path()).unwrap());
    }
    seeds
}

/// Those behind one selector, without it.
fn behind(target: &str, selector: u8) -> Vec<Vec<u8>> {
    seeds(target)
        .into_iter()
        .filter_map(|seed| seed.strip_prefix(&[selector]).map(<[u8]>::to_vec))
        .collect()
}

/// Our vectors of this file: every sixteenth, because they differ in a few bytes.
fn vectors(file: &str, member: &str) -> Vec<Vec<u8>> {
    let path = root().join("tests/it/data/vectors").join(file);
    let vectors: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let vectors = vectors["vectors"].as_array().unwrap();
    vectors
        .iter()
        .step_by(16)
        .map(|vector| STANDARD.decode(vector[member].as_str().unwrap()).unwrap())
        .collect()
}

fn vault() -> Vault {
    VaultOptions::new().create_in_memory().unwrap()
}

#[test]
fn containers_of_keys_are_bounded() {
    let _alone = alone();
    bounded("DER and PEM", &seeds("containers"), |input| {
        let _ = ImportedKey::from_pkcs8_der(input);
        let _ = ImportedKey::from_pkcs1_der(input);
        let _ = ImportedKey::from_sec1_der(input);
        let _ = PublicKey::from_spki_der(input);
        if let Ok(text) = std::str::from_utf8(input) {
            let _ = ImportedKey::from_pem(text);
            let _ = PublicKey::from_spki_pem(text);
        }
    });
    bounded("JSON Web Keys", &seeds("jwk"), |input| {
        let _ = ImportedKey::from_jwk(input);
        if let Ok(text) = std::str::from_utf8(input) {
            let _ = text.parse::<JsonWebKey>();
        }
    });
}

/// Long inputs that mean little: members, nesting, lines, digits.
#[test]
fn long_texts_are_bounded() {
    let _alone = alone();
    let members: String = (0..6_000).map(|at| format!("\"{at}\":0,")).collect();
    let operations = "\"sign\",".repeat(7_000);
    let texts = [
        format!("{{{members}\"kty\":\"oct\"}}"),
        format!("{{\"kty\":\"oct\",\"key_ops\":[{operations}\"sign\"]}}"),
        "[".repeat(60_000),
        format!("{{\"kty\":\"oct\",\"k\":\"{}\"}}", "A".repeat(60_000)),
        format!("{{\"kty\":\"oct\",\"k\":\"{}\"}}", "\\u0041".repeat(10_000)),
        format!("{{\"kty\":{}", "{\"a\":".repeat(10_000)),
        format!("{{\"kty\":{}", "1".repeat(60_000)),
        format!(
            "-----BEGIN PRIVATE KEY-----\n{}-----END PRIVATE KEY-----\n",
            "AAAA\n".repeat(20_000)
        ),
        "-----BEGIN EC PARAMETERS-----\nAAAA\n-----END EC PARAMETERS-----\n".repeat(1_500),
        "\n".repeat(120_000),
        format!("https://a/keys/{}", "a".repeat(1 << 20)),
        "a".repeat(1 << 20),
        "0".repeat(1 << 20),
    ];
    for text in texts {
        let allowed = allowed(text.len());
        let taken = peak(|| {
            let _ = ImportedKey::from_jwk(text.as_bytes());
            let _ = text.parse::<JsonWebKey>();
            let _ = ImportedKey::from_pem(&text);
            let _ = PublicKey::from_spki_pem(&text);
            identifiers(text.as_bytes());
        });
        assert!(
            taken <= allowed,
            "{taken} bytes for {} bytes, {allowed} are allowed: {:.60}",
            text.len(),
            text
        );
    }
}

fn identifiers(input: &[u8]) {
    let _ = AuditCheckpoint::from_bytes(input);
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let _ = text.parse::<KeyName>();
    let _ = text.parse::<KeyVersion>();
    let _ = text.parse::<KeyIdentifier>();
    let _ = text.parse::<VaultUrl>();
    let _ = text.parse::<ContinuationToken>();
    let _ = text.parse::<Principal>();
    let _ = text.parse::<Recipient>();
    let _ = text.parse::<SlotId>();
    let _ = Passphrase::new(text);
}

#[test]
fn identifiers_and_paging_tokens_are_bounded() {
    let _alone = alone();
    let texts: Vec<Vec<u8>> = behind("identifiers", 0);
    bounded("identifiers", &texts, identifiers);
    bounded("audit checkpoints", &behind("audit", 2), identifiers);
}

/// Each layout is decoded and encoded again within the bound, although the bound is for decoding alone.
#[test]
fn layouts_behind_the_seals_are_bounded() {
    let _alone = alone();
    for name in ["record", "audit"] {
        let run = fuzzing::target(name).run;
        bounded(name, &seeds(name), |input| {
            // A signed checkpoint is no layout.
            if name != "audit" || input[0] % 4 != 3 {
                run(input);
            }
        });
    }
}

#[test]
fn blobs_are_bounded_from_their_first_byte_on() {
    let _alone = alone();
    let vault = vault();
    let key = recipient_key();
    let passphrase = Passphrase::new("an open secret").unwrap();
    let blobs = vectors("backups.json", "blob");
    bounded("blobs", &blobs, |blob| {
        let _ = KeyBackup::inspect(blob);
        for options in [
            RestoreOptions::new(),
            RestoreOptions::new().recipient_key(&key),
            RestoreOptions::new().passphrase(&passphrase),
        ] {
            let options = options.accept_unauthenticated(true).max_kdf_work_kib(0);
            let _ = vault.restore_plan(blob, &options);
            let _ = vault.restore_key_with(blob, &options);
        }
        let _ = SecurityDomain::open(blob, BackupKey::recipient(&key), &[0; 32], 0);
    });
    let streams = vectors("streams.json", "stream");
    bounded("streams", &streams, |stream| {
        let options = RestoreOptions::new()
            .recipient_key(&key)
            .accept_unauthenticated(true);
        let _ = vault.restore_all_from(stream, &options, |_| ());
    });
}

/// A mebibyte was taken for a count of 2^64 - 1 in 20 bytes, two for a backup of 200 bytes: serde reserves that much
/// for every sequence whose length bincode announces. Whoever knows a public key can make such a backup.
#[test]
fn an_announced_count_takes_no_memory() {
    let _alone = alone();
    let run = fuzzing::target("record").run;
    // Refused algorithms, tombstones, the tags of a version, domain epochs and the names of a policy.
    let counted: [(u8, &[u8]); 4] = [(7, &[]), (8, &[0; 8]), (17, &[0; 4]), (2, &[0; 24])];
    for (selector, before) in counted {
        let input = [&[selector, 0, 1][..], before, &[0xff; 8], &[0; 16]].concat();
        let taken = peak(|| run(&input));
        assert!(taken <= 4_096, "{taken} bytes behind selector {selector}");
    }
    let vault = vault();
    let key = recipient_key();
    let payload = [
        &[0, 1, 0, 0, 0, 0, 0, 0, 0, 1, b'k'][..],
        &[0; 32],
        &[0xff; 8],
        &[0; 150],
    ]
    .concat();
    let blob = sealed_backup(&payload);
    let options = RestoreOptions::new()
        .recipient_key(&key)
        .accept_unauthenticated(true);
    let restore = || vault.restore_key_with(&blob, &options).unwrap_err();
    restore();
    let taken = peak(restore);
    assert!(taken <= 16_384, "{taken} bytes");
}

/// Whoever knows a public key can seal any payload: then lengths behind the seal are hostile, too.
#[test]
fn payloads_behind_a_good_seal_are_bounded() {
    let _alone = alone();
    let vault = vault();
    let key = recipient_key();
    let payloads = behind("backup", 3);
    let sealed = |payload: &[u8], seal: fn(&[u8]) -> Vec<u8>, open: &dyn Fn(&[u8])| {
        for altered in hostile(payload) {
            let blob = seal(&altered);
            let allowed = allowed(blob.len());
            let taken = peak(|| open(&blob));
            assert!(taken <= allowed, "{taken} bytes, {allowed} are allowed");
        }
    };
    for payload in &payloads {
        sealed(payload, sealed_backup, &|blob| {
            let options = RestoreOptions::new()
                .recipient_key(&key)
                .accept_unauthenticated(true);
            let _ = vault.restore_plan(blob, &options);
        });
    }
    for payload in behind("stream", 3) {
        sealed(&payload, sealed_domain_file, &|file| {
            let _ = SecurityDomain::open(file, BackupKey::recipient(&key), &[0; 32], 0);
        });
    }
    assert!(payloads.len() >= 2);
}
