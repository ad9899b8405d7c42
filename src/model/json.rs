//! The members of a JSON object that may hold secrets: bounded, without duplicates, wiped on drop.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};
use crate::secret::SecretBytes;

/// The longest JSON Web Key, in bytes of JSON.
pub(crate) const MAX_JWK_LENGTH: usize = 64 * 1024;
/// How deep objects and arrays of a JSON Web Key may be nested; the key itself is the first level.
pub(crate) const MAX_JWK_DEPTH: u32 = 8;

/// The most members of an object, and the most values of an array, in a JSON Web Key: more than any key has, because
/// short ones take many times their length in memory.
pub(crate) const MAX_JWK_MEMBERS: usize = 128;

/// One value. What no JSON Web Key needs is checked and dropped.
pub(super) enum Member {
    Text(Zeroizing<String>),
    Texts(Vec<Zeroizing<String>>),
    Null,
    Other,
}

/// The members of one object by name.
pub(super) struct Members {
    members: BTreeMap<String, Member>,
}

impl Members {
    /// Parses a whole JSON text. An error says where it is, never what is there.
    pub(super) fn parse(json: &[u8]) -> Result<Self> {
        if json.len() > MAX_JWK_LENGTH {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("a JSON Web Key has at most {MAX_JWK_LENGTH} bytes"),
            ));
        }
        // Every type of value is visited by `Value`, so no message of serde quotes a value.
        serde_json::from_slice(json)
            .map_err(|error| malformed(format!("this is not a JSON Web Key: {error}")))
    }

    /// Whether the member is there and not null.
    pub(super) fn has(&self, name: &str) -> bool {
        !matches!(self.members.get(name), None | Some(Member::Null))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&str>> {
        match self.members.get(name) {
            None | Some(Member::Null) => Ok(None),
            Some(Member::Text(text)) => Ok(Some(text)),
            Some(_) => Err(malformed(format!("the member {name} must be a string"))),
        }
    }

    pub(super) fn texts(&self, name: &str) -> Result<Option<impl Iterator<Item = &str>>> {
        match self.members.get(name) {
            None | Some(Member::Null) => Ok(None),
            Some(Member::Texts(texts)) => Ok(Some(texts.iter().map(|text| text.as_str()))),
            Some(_) => Err(malformed(format!(
                "the member {name} must be an array of strings"
            ))),
        }
    }

    /// The bytes of a member in unpadded, canonical base64url.
    pub(super) fn secret(&self, name: &str) -> Result<Option<SecretBytes>> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let mut buffer = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
        let length = URL_SAFE_NO_PAD
            .decode_slice(text, &mut buffer)
            .map_err(|_| {
                malformed(format!(
                    "the member {name} is not base64url without padding, line breaks or loose bits at the end"
                ))
            })?;
        let bytes = &buffer[..length];
        if bytes.is_empty() {
            return Err(malformed(format!("the member {name} is empty")));
        }
        Ok(Some(SecretBytes::copied_from(bytes)))
    }

    pub(super) fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.secret(name)?.map(|bytes| bytes.expose().to_vec()))
    }
}

pub(super) fn malformed(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidKeyMaterial, message)
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.contains_key(&name) {
                return Err(A::Error::custom("a member is there twice"));
            }
            let value = map.next_value_seed(Value { depth: 2 })?;
            members.insert(name, value);
            check_count(members.len())?;
        }
        Ok(Members { members })
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Members, E> {
        Err(E::custom("a JSON object is needed, but this is a string"))
    }
}

/// Takes any value at a nesting depth.
struct Value {
    depth: u32,
}

impl Value {
    fn deeper<E: de::Error>(&self) -> Result<Self, E> {
        if self.depth > MAX_JWK_DEPTH {
            return Err(E::custom("it is nested too deeply"));
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Member, E> {
        // `String::from` allocates once, exactly.
        Ok(Member::Text(Zeroizing::new(String::from(text))))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Member, E> {
        Ok(Member::Text(Zeroizing::new(text)))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Member, E> {
        Ok(Member::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Member, E> {
        Ok(Member::Null)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Member, E> {
        Ok(Member::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Member, A::Error> {
        self.deeper::<A::Error>()?;
        let mut texts = Vec::new();
        let mut only_texts = true;
        let mut count = 0;
        while let Some(value) = seq.next_element_seed(self.deeper()?)? {
            count += 1;
            check_count(count)?;
            match value {
                Member::Text(text) if only_texts => texts.push(text),
                _ => only_texts = false,
            }
        }
        Ok(if only_texts {
            Member::Texts(texts)
        } else {
            Member::Other
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Member, A::Error> {
        self.deeper::<A::Error>()?;
        let mut names = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a nested member is there twice"));
            }
            map.next_value_seed(self.deeper()?)?;
            check_count(names.len())?;
        }
        Ok(Member::Other)
    }
}

fn check_count<E: de::Error>(count: usize) -> Result<(), E> {
    if count > MAX_JWK_MEMBERS {
        return Err(E::custom(
            "an object or an array has more members than any key",
        ));
    }
    Ok(())
}
