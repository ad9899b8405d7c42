//! Strings of a request that may be secret.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, Visitor};
use zeroize::Zeroizing;

use crate::rest::problem::Problem;

/// A string of the body: in its place there, or wiped.
pub(in crate::rest) enum Text<'a> {
    InPlace(&'a str),
    /// It had escapes.
    Unescaped(Zeroizing<String>),
}

impl Text<'_> {
    pub(in crate::rest) fn as_str(&self) -> &str {
        match self {
            Self::InPlace(text) => text,
            Self::Unescaped(text) => text,
        }
    }

    /// The bytes that it stands for in unpadded, canonical base64url.
    ///
    /// Errors: 400, which names the member.
    pub(in crate::rest) fn bytes(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, Problem> {
        let text = self.as_str();
        // Estimated before it is allocated: no more than the text has.
        let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
        let length = URL_SAFE_NO_PAD
            .decode_slice(text, &mut bytes)
            .map_err(|_| {
                Problem::bad_parameter(format!("Property {name} is not base64url without padding."))
            })?;
        // Shortening moves nothing, and the whole allocation is wiped.
        bytes.truncate(length);
        Ok(bytes)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text::InPlace(text))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text<'de>, E> {
        // `String::from` allocates once, exactly.
        Ok(Text::Unescaped(Zeroizing::new(String::from(text))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_unpadded_base64url_is_taken() {
        let bytes = |text: &str| {
            Text::InPlace(text)
                .bytes("value")
                .map(|bytes| bytes.to_vec())
                .map_err(|problem| problem.status())
        };
        assert_eq!(bytes(""), Ok(vec![]));
        assert_eq!(bytes("-_8"), Ok(vec![0xfb, 0xff]));
        // Standard alphabet, padding, line break, loose bits, an impossible length.
        for bad in ["+/8", "-_8=", "-_8\n", "-_9", "A", "AAAAA", "\u{e4}"] {
            assert_eq!(bytes(bad), Err(400), "{bad:?}");
        }
    }

    #[test]
    fn a_string_without_escapes_is_not_copied() {
        let json = r#""c2VjcmV0""#;
        let text: Text<'_> = serde_json::from_str(json).unwrap();
        assert!(matches!(text, Text::InPlace("c2VjcmV0")));
        let text: Text<'_> = serde_json::from_str(r#""\u0063""#).unwrap();
        assert!(matches!(&text, Text::Unescaped(_)));
        assert_eq!(text.as_str(), "c");
    }
}
