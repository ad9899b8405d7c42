//! Tink's keysets, from the keys that the others have.

use tink_core::keyset::{Handle, insecure};
use tink_proto::key_data::KeyMaterialType;
use tink_proto::keyset::Key;
use tink_proto::prost::Message;
use tink_proto::{
    AesGcmKey, EcdsaParams, EcdsaPrivateKey, EcdsaPublicKey, EcdsaSignatureEncoding,
    EllipticCurveType, HashType, HmacKey, HmacParams, KeyData, KeyStatusType, Keyset,
    OutputPrefixType,
};

/// A P-256 key that signs with SHA-256 and gives `r` and `s` without any prefix.
pub(crate) fn ecdsa(secret: &[u8], x: &[u8], y: &[u8]) -> Handle {
    tink_signature::init();
    let params = EcdsaParams {
        hash_type: HashType::Sha256.into(),
        curve: EllipticCurveType::NistP256.into(),
        encoding: EcdsaSignatureEncoding::IeeeP1363.into(),
    };
    let public_key = EcdsaPublicKey {
        version: 0,
        params: Some(params),
        x: x.to_vec(),
        y: y.to_vec(),
    };
    let key = EcdsaPrivateKey {
        version: 0,
        public_key: Some(public_key),
        key_value: secret.to_vec(),
    };
    handle(
        tink_signature::ECDSA_SIGNER_TYPE_URL,
        key.encode_to_vec(),
        KeyMaterialType::AsymmetricPrivate,
    )
}

/// IV, ciphertext and tag come without any prefix.
pub(crate) fn aes_gcm(key: &[u8]) -> Handle {
    tink_aead::init();
    let key = AesGcmKey {
        version: 0,
        key_value: key.to_vec(),
    };
    handle(
        tink_aead::AES_GCM_TYPE_URL,
        key.encode_to_vec(),
        KeyMaterialType::Symmetric,
    )
}

/// HMAC with SHA-256, whole.
pub(crate) fn hmac(key: &[u8]) -> Handle {
    tink_mac::init();
    let key = HmacKey {
        version: 0,
        params: Some(HmacParams {
            hash: HashType::Sha256.into(),
            tag_size: 32,
        }),
        key_value: key.to_vec(),
    };
    handle(
        tink_mac::HMAC_TYPE_URL,
        key.encode_to_vec(),
        KeyMaterialType::Symmetric,
    )
}

fn handle(type_url: &str, value: Vec<u8>, material: KeyMaterialType) -> Handle {
    let key = Key {
        key_data: Some(KeyData {
            type_url: type_url.to_owned(),
            value,
            key_material_type: material.into(),
        }),
        status: KeyStatusType::Enabled.into(),
        key_id: 1,
        output_prefix_type: OutputPrefixType::Raw.into(),
    };
    let keyset = Keyset {
        primary_key_id: 1,
        key: vec![key],
    };
    insecure::new_handle(keyset).expect("a keyset")
}
