//! Keys that the token wraps under a key of its own, and that live in the vault's records.

use std::sync::Arc;

use cryptoki_sys::{CKA_VALUE, CKK_EC};

use super::attributes::{Custody, Permissions, ec_public, imported, private_key};
use super::error::TokenResult;
use super::known_answers::{internal, known_secret};
use super::lease::Lease;
use super::mechanism::{Mechanism, Ulong};
use super::operations::data_object;
use super::raw::ObjectHandle;
use super::routes::Usage;
use super::trials::Trials;
use crate::crypto::Engine;
use crate::crypto::rustcrypto::RustCryptoEngine;
use crate::env::OsEntropy;
use crate::model::algorithm::WrapAlgorithm;
use crate::model::spec::{Curve, OctKeySize};

/// The mechanism with which a token wraps keys: RFC 5649, under whichever number it has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyWrapping {
    /// CKM_AES_KEY_WRAP_KWP.
    Kwp,
    /// CKM_AES_KEY_WRAP_PAD: right when it unwraps, but some modules pad to a multiple of 8 before they wrap,
    /// so that zeros follow the key.
    Pad,
}

impl KeyWrapping {
    const ALL: [Self; 2] = [Self::Kwp, Self::Pad];

    pub(super) fn mechanism(self) -> Mechanism<'static> {
        match self {
            Self::Kwp => Mechanism::AesKeyWrapKwp,
            Self::Pad => Mechanism::AesKeyWrapPad,
        }
    }

    /// The number in blobs.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Kwp => 1,
            Self::Pad => 2,
        }
    }

    pub(super) fn from_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|wrapping| wrapping.number() == number)
    }
}

/// The longest wrapped key: PKCS#8 of RSA 4096 has about 2,400 bytes.
pub(super) const MAX_WRAPPED: usize = 4_096;

/// Chosen by known answers among the token's mechanisms, because modules mean different things by one number.
pub(super) fn probe_wrapping(
    trials: &Trials<'_>,
    mechanisms: &[Ulong],
) -> TokenResult<Option<KeyWrapping>> {
    for wrapping in KeyWrapping::ALL {
        let listed = mechanisms.contains(&wrapping.mechanism().number());
        if listed && trials.holds(|lease| known_answer(lease, wrapping))? {
            return Ok(Some(wrapping));
        }
    }
    Ok(None)
}

/// The answer comes from the library's own key wrap.
fn known_answer(lease: &Lease<'_>, wrapping: KeyWrapping) -> TokenResult<bool> {
    let known = known_secret(OctKeySize::Bits256.into())?;
    // No multiple of 8 bytes.
    let payload: Vec<u8> = (0..37).collect();
    let answer = RustCryptoEngine::new(Arc::new(OsEntropy))
        .load(&known)
        .and_then(|software| software.wrap_key(WrapAlgorithm::A256KwPad, &payload))
        .map_err(internal)?;
    let kek = lease.create_object(&imported(
        &known,
        false,
        &Custody::PROBE,
        &Permissions::some(&[Usage::Wrap, Usage::Unwrap]),
    ))?;
    let mechanism = wrapping.mechanism();
    let data = lease.unwrap_key(&mechanism, kek, &answer, &data_object())?;
    let value = lease.get_attribute(data, CKA_VALUE)?;
    lease.destroy_object(data)?;
    if value.as_deref() != Some(&payload[..]) {
        return Ok(false);
    }
    wraps_private_keys(lease, wrapping, kek)?;
    lease.destroy_object(kek)?;
    Ok(true)
}

/// A private key goes there and back, under a key of the token.
pub(super) fn wraps_private_keys(
    lease: &Lease<'_>,
    wrapping: KeyWrapping,
    kek: ObjectHandle,
) -> TokenResult<()> {
    let mechanism = wrapping.mechanism();
    let custody = Custody {
        extractable: true,
        ..Custody::PROBE
    };
    let permissions = Permissions::some(&[Usage::Sign]);
    let (public, private) = lease.generate_key_pair(
        &Mechanism::EcKeyPairGen,
        &ec_public(Curve::P256),
        &private_key(None, &custody, &permissions),
    )?;
    let wrapped = lease.wrap_key(&mechanism, kek, private, MAX_WRAPPED)?;
    let back = lease.unwrap_key(
        &mechanism,
        kek,
        &wrapped,
        &private_key(Some(CKK_EC), &Custody::PROBE, &permissions),
    )?;
    [public, private, back]
        .into_iter()
        .try_for_each(|object| lease.destroy_object(object))
}
