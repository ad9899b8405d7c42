//! The calls that are counted, in the process that valgrind watches.

use std::hint::black_box;

use p256::pkcs8::DecodePrivateKey;
use rsa::RsaPrivateKey;
use strongroom::{KeyName, Vault, VaultOptions};

use crate::operations::{ec_pairs, rsa_pairs_of, symmetric_pairs};
use crate::pairs::{Call, Pair};

/// The argument that makes this program such a process.
pub(crate) const CHILD: &str = "--calls";

/// The operations, of which each is counted in a process of its own.
///
/// No private operation with an RSA key is among them: the numbers that blind it are drawn anew each time, and how
/// long the division by them takes depends on them.
pub(crate) const NAMES: &[&str] = &[
    "sign_es256",
    "verify_es256",
    "sign_es256k",
    "verify_es256k",
    "verify_rs256_2048",
    "wrap_a256kw",
    "unwrap_a256kw",
    "encrypt_a256gcm_1k",
    "decrypt_a256gcm_1k",
    GET_KEY,
];

const GET_KEY: &str = "get_key";

/// Calls of each side that are counted.
pub(crate) const COUNTED: u32 = 128;

/// Calls before these, which fill the caches and reserve the first 256 encryptions with GCM: more than are done here.
const WARM: u32 = 32;

struct Sides<'a> {
    vault: Call<'a>,
    bare: Option<Call<'a>>,
}

/// Has a thread make them, whose stack begins at a page: where that of the program begins depends on its environment and
/// its path, and how many instructions a copy takes on where it lies.
pub(crate) fn make_counted(name: &str) {
    std::thread::scope(|scope| {
        let made = scope.spawn(|| make(name, COUNTED)).join();
        made.expect("the calls are made");
    });
}

/// Makes `count` calls through the vault, and then the same without it.
pub(crate) fn make(name: &str, count: u32) {
    let vault = VaultOptions::new().create_in_memory().expect("a vault");
    let mut sides = sides(&vault, name);
    for _ in 0..WARM.min(count) {
        (sides.vault)();
        if let Some(bare) = &mut sides.bare {
            bare();
        }
    }
    counted_calls(&mut sides.vault, count);
    if let Some(bare) = &mut sides.bare {
        counted_calls(bare, count);
    }
}

/// Valgrind knows it by its name: it counts from where this is entered to where it is left, and then writes what it has
/// counted.
#[inline(never)]
fn counted_calls(call: &mut Call<'_>, count: u32) {
    for _ in 0..count {
        call();
    }
}

fn sides<'a>(vault: &'a Vault, name: &str) -> Sides<'a> {
    let mut pairs = Vec::new();
    if name == GET_KEY {
        ec_pairs(vault, &mut pairs);
        let name: KeyName = "sign-es256".parse().expect("a legal name");
        return Sides {
            vault: Box::new(move || drop(black_box(vault.get_key(&name).expect("the key")))),
            bare: None,
        };
    }
    // No more keys than needed: to prepare one takes long under valgrind.
    let pair = [symmetric_pairs, ec_pairs, fixed_rsa_pairs]
        .iter()
        .find_map(|prepare| {
            prepare(vault, &mut pairs);
            let place = pairs.iter().position(|pair| pair.name() == name)?;
            Some(pairs.swap_remove(place))
        });
    let (vault, bare) = pair.expect("an operation of this name").into_calls();
    Sides {
        vault,
        bare: Some(bare),
    }
}

/// With the same key in every run.
fn fixed_rsa_pairs<'a>(vault: &'a Vault, pairs: &mut Vec<Pair<'a>>) {
    let key = RsaPrivateKey::from_pkcs8_pem(include_str!("rsa-2048.pem")).expect("an RSA key");
    rsa_pairs_of(key, vault, pairs);
}
