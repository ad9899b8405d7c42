//! Digests of whole inputs and of streams.

use std::fmt;

use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::model::algorithm::HashAlgorithm;

/// The digest of `data`.
pub(crate) fn digest(algorithm: HashAlgorithm, data: &[u8]) -> Vec<u8> {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(data);
    hasher.finish()
}

/// A digest computed piece by piece, for inputs that are not in memory.
pub(crate) struct Hasher {
    state: State,
}

enum State {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    pub(crate) fn new(algorithm: HashAlgorithm) -> Self {
        let state = match algorithm {
            HashAlgorithm::Sha256 => State::Sha256(Sha256::new()),
            HashAlgorithm::Sha384 => State::Sha384(Sha384::new()),
            HashAlgorithm::Sha512 => State::Sha512(Sha512::new()),
        };
        Self { state }
    }

    pub(crate) fn update(&mut self, data: &[u8]) {
        match &mut self.state {
            State::Sha256(state) => state.update(data),
            State::Sha384(state) => state.update(data),
            State::Sha512(state) => state.update(data),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        match self.state {
            State::Sha256(state) => state.finalize().to_vec(),
            State::Sha384(state) => state.finalize().to_vec(),
            State::Sha512(state) => state.finalize().to_vec(),
        }
    }
}

// The state may belong to a secret input.
impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest as reference};

    use super::*;

    #[test]
    fn digests_agree_with_another_implementation_whatever_the_pieces() {
        let data: Vec<u8> = (0..1000_u32).map(|i| (i % 251) as u8).collect();
        for (algorithm, other) in [
            (HashAlgorithm::Sha256, &SHA256),
            (HashAlgorithm::Sha384, &SHA384),
            (HashAlgorithm::Sha512, &SHA512),
        ] {
            for length in [0, 1, 63, 64, 65, 127, 128, 129, 1000] {
                let expected = reference(other, &data[..length]);
                assert_eq!(digest(algorithm, &data[..length]), expected.as_ref());
                let mut hasher = Hasher::new(algorithm);
                for piece in data[..length].chunks(7) {
                    hasher.update(piece);
                }
                assert_eq!(hasher.finish(), expected.as_ref());
            }
            assert_eq!(digest(algorithm, b"").len(), algorithm.digest_length());
        }
    }
}
