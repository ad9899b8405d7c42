//! Unpadded base64url, the form of bytes on Azure's wire.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serializer};

pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The padded form with `+` and `/`.
pub(crate) fn encode_standard(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Refuses padding, other alphabets and trailing bits.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&encode(bytes))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    decode(&text).ok_or_else(|| serde::de::Error::custom("bytes are written as unpadded base64url"))
}

/// The same for an optional member of at most 16 bytes.
pub(crate) mod short_option {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::model::short_bytes::ShortBytes;

    pub(crate) fn serialize<S: Serializer>(
        bytes: &Option<ShortBytes>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => super::serialize(bytes, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<ShortBytes>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|text| {
                let bytes = super::decode(&text).as_deref().and_then(ShortBytes::new);
                bytes.ok_or_else(|| {
                    serde::de::Error::custom("at most 16 bytes, written as unpadded base64url")
                })
            })
            .transpose()
    }
}
