//! What a token answers, read as the backend reads it: doors for the fuzz targets, which have no token.

use cryptoki_sys::CK_TOKEN_INFO;

use super::attributes::{ec_parts, rsa_parts, tag_in_label, tag_of_marker};
use super::rollback_guard;
use super::token_info::{TokenInfo, instance};
use crate::model::key::{BackendInstance, KeyTag, VaultLabel};
use crate::model::material::PublicParts;
use crate::model::pin::VaultPin;
use crate::model::spec::Curve;

/// CKA_EC_POINT, or CKA_MODULUS and CKA_PUBLIC_EXPONENT.
pub(crate) fn public_key(
    curve: Option<Curve>,
    first: &[u8],
    exponent: &[u8],
) -> Option<PublicParts> {
    match curve {
        Some(curve) => ec_parts(curve, first),
        None => rsa_parts(first.to_vec(), exponent.to_vec()),
    }
}

/// CKA_LABEL of a key of this vault, or of a marker.
pub(crate) fn tag(vault: &VaultLabel, label: &str) -> Option<KeyTag> {
    tag_in_label(vault, label).or_else(|| tag_of_marker(label))
}

/// CKA_VALUE of an object of the rollback guard.
pub(crate) fn pin(value: &[u8]) -> Option<VaultPin> {
    rollback_guard::parse(value)
}

/// The texts of CK_TOKEN_INFO and what tells the token apart, from the bytes of label, manufacturer, model and serial
/// number, and the number of sessions.
pub(crate) fn token_info(
    texts: &[u8; 96],
    sessions: u64,
) -> ([String; 4], Option<usize>, Option<BackendInstance>) {
    let mut info = CK_TOKEN_INFO {
        ulMaxRwSessionCount: sessions,
        ..CK_TOKEN_INFO::default()
    };
    info.label.copy_from_slice(&texts[..32]);
    info.manufacturerID.copy_from_slice(&texts[32..64]);
    info.model.copy_from_slice(&texts[64..80]);
    info.serialNumber.copy_from_slice(&texts[80..]);
    let info = TokenInfo::parse(&info);
    let instance = instance(&info.serial);
    let texts = [info.label, info.manufacturer, info.model, info.serial];
    (texts, info.max_rw_sessions, instance)
}
