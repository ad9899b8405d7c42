//! Filling vaults.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::SecretKey;
use p256::elliptic_curve::sec1::ToSec1Point;
use strongroom::{
    CreateKeyOptions, Curve, ImportKeyOptions, ImportedKey, KeyName, Unlock, Vault, VaultOptions,
};

use crate::master_key;

/// So many threads fill a vault.
const THREADS: usize = 4;

/// So many different private keys are imported under all the names.
pub(crate) const POOL: usize = 256;

pub(crate) fn nth(number: usize) -> KeyName {
    name(&format!("key-{number}"))
}

pub(crate) fn name(text: &str) -> KeyName {
    text.parse().expect("a legal name")
}

/// P-256 with a tag, as it is created.
pub(crate) fn ec() -> CreateKeyOptions {
    CreateKeyOptions::ec(Curve::P256).tag("team", "billing")
}

fn create(path: &Path) -> Vault {
    VaultOptions::new()
        .create(path, Unlock::raw_key(&master_key()))
        .expect("a vault")
}

/// P-256 keys that were made before, imported under names of their own: they are as long as any that the vault makes, and
/// the store cannot tell them apart.
pub(crate) fn keys(path: &Path, count: usize) {
    let pool: Vec<String> = (0..POOL).map(private_jwk).collect();
    let vault = create(path);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let from = next.fetch_add(Vault::MAX_BATCH_ITEMS, Ordering::Relaxed);
                    if from >= count {
                        break;
                    }
                    let until = count.min(from + Vault::MAX_BATCH_ITEMS);
                    let items = (from..until).map(|number| {
                        let json = pool[number % POOL].as_bytes();
                        let key = ImportedKey::from_jwk(json).expect("a key");
                        let options = ImportKeyOptions::new(key).tag("team", "billing");
                        (nth(number), options)
                    });
                    for made in vault.import_many(items.collect()).expect("a batch") {
                        made.expect("a key");
                    }
                }
            });
        }
    });
    vault.close().expect("closed");
}

/// Some other scalar for each number.
fn private_jwk(number: usize) -> String {
    let mut scalar = [0x5a; 32];
    scalar[16..24].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    let secret = SecretKey::from_slice(&scalar).expect("a scalar");
    let point = secret.public_key().to_sec1_point(false);
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!(
        r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}","d":"{}"}}"#,
        text(point.x().expect("a point")),
        text(point.y().expect("a point")),
        text(&scalar),
    )
}

/// One P-256 key, rotated until it has so many versions. A batch may not name a key twice.
pub(crate) fn versions(path: &Path, name: &KeyName, count: usize) {
    let vault = create(path);
    vault.create_key(name, ec()).expect("a key");
    for _ in 1..count {
        vault.rotate_key(name).expect("a version");
    }
    vault.close().expect("closed");
}
