use super::{CryptoResult, invalid};
use crate::crypto::CryptoError;
use crate::model::spec::OctKeyLength;
use crate::secret::SecretBytes;

pub(super) fn validate(key: &SecretBytes) -> CryptoResult<OctKeyLength> {
    let length = OctKeyLength::try_from(key.len())
        .map_err(|error| CryptoError::InvalidKey(error.to_string()))?;
    let union = key.expose().iter().fold(0, |union, byte| union | byte);
    if union == 0 {
        return Err(invalid("every byte of the symmetric key is zero"));
    }
    Ok(length)
}
