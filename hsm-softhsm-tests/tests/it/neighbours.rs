//! Vaults of one process share their module: what one does with its token is no matter for the keys of another.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hsm_softhsm_tests::Token;
use strongroom::backend::KeyBackend;
use strongroom::backend::pkcs11::{KeyKeeping, Pkcs11Backend};
use strongroom::{CreateKeyOptions, Curve, SignatureAlgorithm, VaultOptions};

use crate::backends::own_options;
use crate::support::name;

const THREADS: usize = 8;
const CONNECTIONS: usize = 10;

/// A connection makes all handles of the module void, and with them the session that has unwrapped keys.
#[test]
fn keys_in_use_stay_in_use_while_others_connect() {
    for keeping in [KeyKeeping::Wrapped, KeyKeeping::Resident] {
        let (token, other) = (Token::new(), Token::new());
        let backend = Pkcs11Backend::new(own_options(&token).keeping(keeping));
        let vault = VaultOptions::new()
            .backend(std::sync::Arc::new(backend))
            .create_in_memory()
            .unwrap();
        for thread in 0..THREADS {
            let options = CreateKeyOptions::ec(Curve::P256).hsm();
            vault
                .create_key(&name(&format!("k-{thread}")), options)
                .unwrap();
        }
        let over = AtomicBool::new(false);
        let signed: usize = thread::scope(|scope| {
            let signers: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (vault, over) = (&vault, &over);
                    scope.spawn(move || {
                        let mut signed = 0;
                        while !over.load(Ordering::Relaxed) {
                            // Each has a key of its own, and one that all use.
                            for key in [format!("k-{thread}"), "k-0".to_owned()] {
                                let es256 = SignatureAlgorithm::Es256;
                                vault.sign(&name(&key), es256, &[7; 32]).unwrap();
                                signed += 1;
                            }
                        }
                        signed
                    })
                })
                .collect();
            let begin = Instant::now();
            let mut connections = 0;
            while connections < CONNECTIONS && signers.iter().all(|signer| !signer.is_finished()) {
                Pkcs11Backend::new(own_options(&other)).check().unwrap();
                connections += 1;
                assert!(begin.elapsed() < Duration::from_secs(120));
            }
            over.store(true, Ordering::Relaxed);
            signers
                .into_iter()
                .map(|signer| signer.join().unwrap())
                .sum()
        });
        assert!(signed > 2 * CONNECTIONS, "{signed} signatures");
    }
}
