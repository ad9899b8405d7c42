use pkcs8::der::pem::{Decoder, Error as PemError, LineEnding, encode_string};
use zeroize::Zeroizing;

use super::{MAX_PEM_LENGTH, malformed};
use crate::error::{Error, ErrorKind, Result};

pub(super) const PKCS8: &str = "PRIVATE KEY";
pub(super) const ENCRYPTED_PKCS8: &str = "ENCRYPTED PRIVATE KEY";
pub(super) const PKCS1: &str = "RSA PRIVATE KEY";
pub(super) const SEC1: &str = "EC PRIVATE KEY";
pub(super) const SPKI: &str = "PUBLIC KEY";

const PARAMETERS_BEGIN: &str = "-----BEGIN EC PARAMETERS-----";
const PARAMETERS_END: &str = "-----END EC PARAMETERS-----";

/// The label and the decoded bytes, which are wiped.
pub(super) struct Document<'a> {
    label: &'a str,
    der: Zeroizing<Vec<u8>>,
}

impl<'a> Document<'a> {
    pub(super) fn label(&self) -> &'a str {
        self.label
    }

    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }
}

/// Decodes text with one block. Explanations before it are skipped, and so is the block of curve
/// parameters that `openssl ecparam` puts first.
pub(super) fn decode(text: &str) -> Result<Document<'_>> {
    if text.len() > MAX_PEM_LENGTH {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("a key in PEM has at most {MAX_PEM_LENGTH} bytes"),
        ));
    }
    let text = text.trim_ascii();
    let text = match text
        .strip_prefix(PARAMETERS_BEGIN)
        .and_then(|rest| rest.split_once(PARAMETERS_END))
    {
        Some((_, rest)) => rest.trim_ascii_start(),
        None => text,
    };
    if text.contains("Proc-Type:") {
        return Err(malformed(
            "the PEM text is encrypted in the old way (Proc-Type header): convert it with `openssl pkcs8 -topk8`",
        ));
    }
    let mut decoder = Decoder::new_detect_wrap(text.as_bytes()).map_err(|error| refused(&error))?;
    let label = decoder.type_label();
    let mut der = Zeroizing::new(vec![0; decoder.remaining_len()]);
    decoder.decode(&mut der).map_err(|error| refused(&error))?;
    if !decoder.is_finished() {
        return Err(refused(&PemError::Length));
    }
    Ok(Document { label, der })
}

pub(super) fn encode_public(der: &[u8]) -> Option<String> {
    encode_string(SPKI, LineEnding::LF, der).ok()
}

fn refused(error: &PemError) -> Error {
    malformed(format!(
        "this is not PEM text with exactly one key: {error}"
    ))
}
