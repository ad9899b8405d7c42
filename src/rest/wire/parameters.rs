//! What requests hold.
//!
//! Members that are absent and members that are null are the same. Members that nobody knows are ignored, as the service
//! does, so that clients can send back what they got and newer ones more than is understood here. Members that would ask
//! for something that is not offered are read all the same, to be refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{Text, required};
use crate::model::json_object::Object;
use crate::model::operation::{KeyOperation, KeyOperations};
use crate::model::release_policy::ReleasePolicy;
use crate::model::tags::Tags;
use crate::model::time::Timestamp;
use crate::rest::problem::Problem;

#[derive(Deserialize)]
pub(in crate::rest) struct KeyCreateParameters<'a> {
    pub(in crate::rest) kty: Option<String>,
    pub(in crate::rest) key_size: Option<u32>,
    pub(in crate::rest) public_exponent: Option<u64>,
    pub(in crate::rest) key_ops: Option<Vec<String>>,
    pub(in crate::rest) attributes: Option<Object<KeyAttributes>>,
    pub(in crate::rest) tags: Option<BTreeMap<String, String>>,
    pub(in crate::rest) crv: Option<String>,
    #[serde(borrow)]
    pub(in crate::rest) release_policy: Option<Object<KeyReleasePolicy<'a>>>,
}

#[derive(Deserialize)]
pub(in crate::rest) struct KeyImportParameters<'a> {
    #[serde(rename = "Hsm")]
    pub(in crate::rest) hsm: Option<bool>,
    /// Read where private JSON Web Keys are read; here it stays as it stands in the body.
    #[serde(borrow)]
    pub(in crate::rest) key: Option<&'a RawValue>,
    pub(in crate::rest) attributes: Option<Object<KeyAttributes>>,
    pub(in crate::rest) tags: Option<BTreeMap<String, String>>,
    #[serde(borrow)]
    pub(in crate::rest) release_policy: Option<Object<KeyReleasePolicy<'a>>>,
}

#[derive(Deserialize)]
pub(in crate::rest) struct KeyUpdateParameters<'a> {
    pub(in crate::rest) key_ops: Option<Vec<String>>,
    pub(in crate::rest) attributes: Option<Object<KeyAttributes>>,
    pub(in crate::rest) tags: Option<BTreeMap<String, String>>,
    #[serde(borrow)]
    pub(in crate::rest) release_policy: Option<Object<KeyReleasePolicy<'a>>>,
}

/// The members that a caller may set; the others are the vault's, and clients send them back.
#[derive(Deserialize, Default)]
pub(in crate::rest) struct KeyAttributes {
    pub(in crate::rest) enabled: Option<bool>,
    pub(in crate::rest) nbf: Option<Timestamp>,
    pub(in crate::rest) exp: Option<Timestamp>,
    pub(in crate::rest) exportable: Option<bool>,
    pub(in crate::rest) external_key: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(in crate::rest) struct KeyReleasePolicy<'a> {
    #[serde(rename = "contentType")]
    content_type: Option<String>,
    #[serde(borrow)]
    data: Option<Text<'a>>,
    immutable: Option<bool>,
}

#[derive(Deserialize)]
pub(in crate::rest) struct KeyReleaseParameters {
    /// The attestation token.
    pub(in crate::rest) target: Option<String>,
    pub(in crate::rest) nonce: Option<String>,
    pub(in crate::rest) enc: Option<String>,
}

/// Encrypt, decrypt, wrapKey and unwrapKey.
#[derive(Deserialize)]
pub(in crate::rest) struct KeyOperationParameters<'a> {
    pub(in crate::rest) alg: Option<String>,
    #[serde(borrow)]
    pub(in crate::rest) value: Option<Text<'a>>,
    #[serde(borrow)]
    pub(in crate::rest) iv: Option<Text<'a>>,
    #[serde(borrow)]
    pub(in crate::rest) aad: Option<Text<'a>>,
    #[serde(borrow)]
    pub(in crate::rest) tag: Option<Text<'a>>,
}

#[derive(Deserialize)]
pub(in crate::rest) struct KeySignParameters<'a> {
    pub(in crate::rest) alg: Option<String>,
    #[serde(borrow)]
    pub(in crate::rest) value: Option<Text<'a>>,
    pub(in crate::rest) context: Option<IgnoredAny>,
    pub(in crate::rest) external_mu: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(in crate::rest) struct KeyVerifyParameters<'a> {
    pub(in crate::rest) alg: Option<String>,
    #[serde(borrow)]
    pub(in crate::rest) digest: Option<Text<'a>>,
    /// The signature.
    #[serde(borrow)]
    pub(in crate::rest) value: Option<Text<'a>>,
    pub(in crate::rest) context: Option<IgnoredAny>,
    pub(in crate::rest) external_mu: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(in crate::rest) struct KeyRestoreParameters<'a> {
    #[serde(borrow)]
    pub(in crate::rest) value: Option<Text<'a>>,
}

#[derive(Deserialize)]
pub(in crate::rest) struct RandomBytesRequest {
    pub(in crate::rest) count: Option<i64>,
}

impl KeyAttributes {
    /// Errors: 400 for what no key of this vault can have.
    pub(in crate::rest) fn check(&self) -> Result<(), Problem> {
        if self.external_key.is_some() {
            return Err(Problem::not_offered("Property attributes.external_key"));
        }
        Ok(())
    }
}

impl KeyReleasePolicy<'_> {
    /// Errors: 400 for what the grammar of policies does not allow.
    pub(in crate::rest) fn check(self) -> Result<ReleasePolicy, Problem> {
        let data = required(self.data, "release_policy.data")?.bytes("release_policy.data")?;
        let content_type = self.content_type.as_deref();
        Ok(ReleasePolicy::from_wire(
            content_type,
            &data,
            self.immutable,
        )?)
    }
}

/// Errors: 400 for names that are empty in number, unknown or repeated.
pub(in crate::rest) fn key_operations(names: &[String]) -> Result<KeyOperations, Problem> {
    let mut operations = KeyOperations::NONE;
    for name in names {
        let operation: KeyOperation = name.parse()?;
        if operations.contains(operation) {
            return Err(Problem::bad_parameter(format!(
                "Property key_ops lists {operation} twice."
            )));
        }
        operations = operations.with(operation);
    }
    if operations.is_empty() {
        return Err(Problem::bad_parameter(
            "Property key_ops is empty. Leave it out to get the operations of the key's type.",
        ));
    }
    Ok(operations)
}

/// Errors: 400 for what is beyond the limits of tags.
pub(in crate::rest) fn tags(entries: BTreeMap<String, String>) -> Result<Tags, Problem> {
    Ok(Tags::try_from_entries(entries)?)
}
