//! Sixteen threads on one vault, making, using, rotating and purging resident and wrapped keys, for five seconds or
//! `STRONGROOM_SOAK_SECONDS`: no error but those of keys that others changed, and at the end token and records agree.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hsm_softhsm_tests::Token;
use strongroom::backend::pkcs11::{KeyKeeping, Pkcs11Backend};
use strongroom::{
    CreateKeyOptions, Curve, EncryptionAlgorithm, Error, ErrorKind, KeyType, OctKeySize,
    SignatureAlgorithm, Unlock, Vault, VaultOptions, WrapAlgorithm,
};

use super::{labels, master_key, name, place_of, settled, within};
use crate::backends::own_options;
use crate::support::variable;

const THREADS: u64 = 16;
/// Fewer than threads, so that they meet.
const NAMES: u64 = 10;

#[test]
fn sixteen_threads_leave_token_and_records_in_agreement() {
    let seconds = variable("STRONGROOM_SOAK_SECONDS").map_or(5, |seconds| {
        seconds.to_str().unwrap().parse::<u64>().unwrap()
    });
    within(Duration::from_secs(seconds + 120), || {
        let token = Token::new();
        let options = || own_options(&token).session_patience(Duration::from_secs(60));
        let wrapped = options()
            .id("wrapped".parse().unwrap())
            .keeping(KeyKeeping::Wrapped)
            // Fewer than keys, so that they are unwrapped again.
            .unwrapped_keys(3);
        let master = master_key();
        let place = place_of(token.softhsm()).with_file_name("soak");
        let vault = VaultOptions::new()
            .backend(Arc::new(Pkcs11Backend::new(options())))
            .backend(Arc::new(Pkcs11Backend::new(wrapped)))
            .open_or_create(place, Unlock::raw_key(&master))
            .unwrap();
        let end = Instant::now() + Duration::from_secs(seconds);
        let done: [AtomicUsize; 8] = Default::default();
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let (vault, done) = (&vault, &done);
                scope.spawn(move || {
                    let mut random = Random(thread + 1);
                    while Instant::now() < end {
                        step(vault, &mut random, done);
                    }
                });
            }
        });
        let done: Vec<_> = done
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        println!(
            "{seconds} s: made {}, rotated {}, signed {}, encrypted and opened {}, wrapped and opened {}, deleted \
             {}, recovered {}, purged {}",
            done[0], done[1], done[2], done[3], done[4], done[5], done[6], done[7]
        );
        assert!(done.iter().all(|count| *count > 0), "{done:?}");
        for deleted in vault.list_deleted_key_properties() {
            let key = deleted.unwrap().properties().name().clone();
            vault.recover_deleted_key(&key).unwrap();
        }
        let mut resident = 0;
        for key in vault.list_key_properties() {
            let key = key.unwrap().name().clone();
            let versions: Vec<_> = vault.list_key_properties_versions(&key).unwrap().collect();
            for version in &versions {
                use_once(&vault, version.id(), &done_nowhere()).unwrap();
                resident += usize::from(version.backend().as_str() == "pkcs11");
            }
        }
        settled(&vault, &token);
        let mut labels = labels(&token);
        labels.retain(|label| label != "strongroom/kek");
        assert_eq!(labels.len(), resident);
        assert!(vault.check().unwrap().is_clean());
    });
}

fn done_nowhere() -> [AtomicUsize; 8] {
    Default::default()
}

/// Xorshift: the same in every run, but for how the threads meet.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }
}

fn step(vault: &Vault, random: &mut Random, done: &[AtomicUsize; 8]) {
    let number = random.below(NAMES);
    let key = name(&format!("key-{number}"));
    let count = |place: usize| {
        move |()| {
            done[place].fetch_add(1, Ordering::Relaxed);
        }
    };
    let outcome = match random.below(20) {
        0..=2 => vault
            .create_key(&key, options(number))
            .map(drop)
            .map(count(0)),
        3 => vault.rotate_key(&key).map(drop).map(count(1)),
        4 | 5 => vault.delete_key(&key).map(drop).map(count(5)),
        6 => vault.recover_deleted_key(&key).map(drop).map(count(6)),
        7 | 8 => vault.purge_deleted_key(&key).map(drop).map(count(7)),
        9 => vault.reconcile_backends().map(|findings| {
            assert_eq!(findings, [], "keys that come and go are not missed");
        }),
        _ => vault
            .get_key(&key)
            .and_then(|bundle| use_once(vault, bundle.id(), done)),
    };
    if let Err(error) = outcome {
        assert!(expected(&error), "{error:?}");
    }
}

/// Resident and wrapped, for signing and for encrypting.
fn options(number: u64) -> CreateKeyOptions {
    let backend = match number % 2 {
        0 => "pkcs11".parse().unwrap(),
        _ => "wrapped".parse().unwrap(),
    };
    match number / 2 % 2 {
        0 => CreateKeyOptions::ec(Curve::P256).backend(&backend),
        _ => CreateKeyOptions::oct(OctKeySize::Bits256).backend(&backend),
    }
}

/// What another thread may have done to the key in the meantime.
fn expected(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::KeyNotFound | ErrorKind::DeletedKeyNotFound | ErrorKind::KeyDeleted
    )
}

fn use_once(
    vault: &Vault,
    id: &strongroom::KeyIdentifier,
    done: &[AtomicUsize; 8],
) -> strongroom::Result<()> {
    let count = |place: usize| done[place].fetch_add(1, Ordering::Relaxed);
    if vault.get_key(id)?.properties().key_type() == KeyType::EcHsm {
        let es256 = SignatureAlgorithm::Es256;
        let signed = vault.sign_data(id, es256, b"text")?;
        vault.verify_data(id, es256, b"text", signed.signature())?;
        count(2);
        return Ok(());
    }
    let gcm = EncryptionAlgorithm::A256Gcm;
    let sealed = vault.encrypt(id, gcm, b"text", Default::default())?;
    assert_eq!(vault.decrypt(id, gcm, (&sealed).into())?.expose(), b"text");
    count(3);
    let wrapped = vault.wrap_key(id, WrapAlgorithm::A256Kw, &[7; 32])?;
    let back = vault.unwrap_key(id, WrapAlgorithm::A256Kw, wrapped.wrapped_key())?;
    assert_eq!(back.expose(), [7; 32]);
    count(4);
    Ok(())
}
