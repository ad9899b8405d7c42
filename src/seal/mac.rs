//! HMAC-SHA-512 and the derivation of keys from it.

use hmac::digest::FixedOutput;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha512};
use zeroize::ZeroizeOnDrop;

use crate::secret::Key32;

/// Bytes of an untruncated MAC.
pub(crate) const MAC_LENGTH: usize = 64;

/// An HMAC-SHA-512 key that is kept. It is stored as its bytes, in protected memory: hashed ahead, its pads would
/// save half of the cost of a short message, and be as good as the key to whoever finds them.
pub(crate) struct MacKey {
    key: Key32,
}

impl MacKey {
    pub(crate) fn new(key: Key32) -> Self {
        Self { key }
    }

    #[cfg(feature = "testing")]
    pub(super) fn key(&self) -> &Key32 {
        &self.key
    }

    /// The MAC of the concatenated pieces.
    pub(crate) fn mac(&self, pieces: &[&[u8]]) -> [u8; MAC_LENGTH] {
        let mut mac = [0; MAC_LENGTH];
        Keyed::new(&self.key).write(pieces.iter().copied(), &mut mac);
        mac
    }

    /// The first `N` bytes of the MAC.
    pub(crate) fn truncated<const N: usize>(&self, pieces: &[&[u8]]) -> [u8; N] {
        const { assert!(N <= MAC_LENGTH) };
        let mut truncated = [0; N];
        truncated.copy_from_slice(&self.mac(pieces)[..N]);
        truncated
    }
}

/// HMAC-SHA-512 with its two pads already hashed, for a few messages in a row. The hash states wipe themselves.
pub(super) struct Keyed {
    keyed: Box<Hmac<Sha512>>,
}

impl Keyed {
    pub(super) fn new(key: &Key32) -> Self {
        Self {
            keyed: Box::new(
                Hmac::new_from_slice(key.expose()).expect("HMAC takes keys of every length"),
            ),
        }
    }

    /// The MAC into `output`, which has [`MAC_LENGTH`] bytes, without a copy elsewhere.
    pub(super) fn write<'p>(&self, pieces: impl Iterator<Item = &'p [u8]>, output: &mut [u8]) {
        let mut mac = Hmac::<Sha512>::clone(&self.keyed);
        for piece in pieces {
            mac.update(piece);
        }
        let output = output.try_into().expect("callers give MAC_LENGTH bytes");
        mac.finalize_into(output);
    }
}

/// SHA-512 of the bytes, its first 32 bytes: the format's unkeyed hash.
pub(crate) fn hash32(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(&hash64(bytes)[..32]);
    hash
}

/// SHA-512.
pub(crate) fn hash64(bytes: &[u8]) -> [u8; 64] {
    Sha512::digest(bytes).into()
}

/// `HKDF-Expand(SHA-512, key, info, 32)`. Written out because the crate of that name insists on keys
/// of 64 bytes with this hash, which RFC 5869 asks for but neither C2SP nor security need: ours are
/// uniform.
pub(crate) fn expand(key: &Key32, info: &[&[u8]]) -> Key32 {
    let mut block = zeroize::Zeroizing::new([0; MAC_LENGTH]);
    let pieces = info.iter().copied().chain([&[1][..]]);
    Keyed::new(key).write(pieces, &mut *block);
    Key32::copied_from(&block[..32]).expect("32 bytes were sliced")
}

// An HMAC consists of two cores and one buffer of its hash, and each of these wipes itself.
const _: () = {
    const fn wipes_itself<T: ZeroizeOnDrop>() {}
    wipes_itself::<Sha512>();
};
