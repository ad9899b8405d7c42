//! What responses hold.

use serde::Serialize;

use crate::model::attributes::RecoveryLevel;
use crate::model::identifier::KeyIdentifier;
use crate::model::jwk::JsonWebKey;
use crate::model::release_policy::ReleasePolicy;
use crate::model::results::{DeletedKey, DeletedKeyProperties, KeyBundle, KeyProperties};
use crate::model::tags::Tags;
use crate::model::time::Timestamp;
use crate::rest::call::base_id;
use crate::rest::response::Bytes;
use crate::vault::{AttestedKey, KeyAttestation};

/// `KeyBundle`.
#[derive(Serialize)]
pub(in crate::rest) struct KeyBody<'a> {
    key: &'a JsonWebKey,
    attributes: Attributes<'a>,
    #[serde(skip_serializing_if = "Tags::is_empty")]
    tags: &'a Tags,
    #[serde(skip_serializing_if = "Option::is_none")]
    release_policy: Option<&'a ReleasePolicy>,
}

impl<'a> KeyBody<'a> {
    fn new(key: &'a JsonWebKey, properties: &'a KeyProperties) -> Self {
        Self {
            key,
            attributes: properties.into(),
            tags: properties.tags(),
            release_policy: properties.release_policy(),
        }
    }
}

impl<'a> From<&'a AttestedKey> for KeyBody<'a> {
    fn from(attested: &'a AttestedKey) -> Self {
        let mut body = Self::from(attested.bundle());
        body.attributes.attestation = Some(attested.attestation().into());
        body
    }
}

impl<'a> From<&'a KeyBundle> for KeyBody<'a> {
    fn from(bundle: &'a KeyBundle) -> Self {
        Self::new(bundle.key(), bundle.properties())
    }
}

/// `KeyAttributes`.
#[derive(Serialize)]
struct Attributes<'a> {
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<Timestamp>,
    created: Timestamp,
    updated: Timestamp,
    #[serde(rename = "recoveryLevel")]
    recovery_level: RecoveryLevel,
    #[serde(rename = "recoverableDays")]
    recoverable_days: u8,
    /// Absent unless it is true, as vaults without HSMs answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    exportable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attestation: Option<Attestation<'a>>,
}

/// `KeyAttestation`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attestation<'a> {
    certificate_pem_file: Bytes<'a>,
    private_key_attestation: Bytes<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key_attestation: Option<Bytes<'a>>,
    version: &'static str,
}

impl<'a> From<&'a KeyAttestation> for Attestation<'a> {
    fn from(attestation: &'a KeyAttestation) -> Self {
        Self {
            certificate_pem_file: Bytes(attestation.certificate_pem_file()),
            private_key_attestation: Bytes(attestation.private_key_attestation()),
            public_key_attestation: attestation.public_key_attestation().map(Bytes),
            version: attestation.version(),
        }
    }
}

impl From<&KeyProperties> for Attributes<'_> {
    fn from(properties: &KeyProperties) -> Self {
        Self {
            enabled: properties.enabled(),
            nbf: properties.not_before(),
            exp: properties.expires_on(),
            created: properties.created_on(),
            updated: properties.updated_on(),
            recovery_level: properties.recovery_level(),
            recoverable_days: properties.recoverable_days(),
            exportable: properties.exportable().then_some(true),
            attestation: None,
        }
    }
}

/// `DeletedKeyBundle`.
#[derive(Serialize)]
pub(in crate::rest) struct DeletedKeyBody<'a> {
    #[serde(flatten)]
    key: KeyBody<'a>,
    #[serde(flatten)]
    deletion: Deletion,
}

impl<'a> From<&'a DeletedKey> for DeletedKeyBody<'a> {
    fn from(deleted: &'a DeletedKey) -> Self {
        Self {
            key: KeyBody::new(deleted.key(), deleted.properties()),
            deletion: Deletion {
                // A key that is gone at once has no place from which it could be recovered.
                recovery_id: deleted
                    .scheduled_purge_date()
                    .map(|_| deleted.recovery_id()),
                deleted_date: deleted.deleted_on(),
                scheduled_purge_date: deleted.scheduled_purge_date(),
            },
        }
    }
}

#[derive(Serialize)]
struct Deletion {
    #[serde(rename = "recoveryId", skip_serializing_if = "Option::is_none")]
    recovery_id: Option<String>,
    #[serde(rename = "deletedDate")]
    deleted_date: Timestamp,
    #[serde(rename = "scheduledPurgeDate", skip_serializing_if = "Option::is_none")]
    scheduled_purge_date: Option<Timestamp>,
}

/// `KeyItem`.
#[derive(Serialize)]
pub(in crate::rest) struct KeyItem<'a> {
    kid: String,
    attributes: Attributes<'a>,
    #[serde(skip_serializing_if = "Tags::is_empty")]
    tags: &'a Tags,
}

impl<'a> KeyItem<'a> {
    /// The key as a whole: an identifier without a version.
    pub(in crate::rest) fn of_key(properties: &'a KeyProperties) -> Self {
        Self {
            kid: base_id(properties.id()),
            attributes: properties.into(),
            tags: properties.tags(),
        }
    }

    /// One version.
    pub(in crate::rest) fn of_version(properties: &'a KeyProperties) -> Self {
        Self {
            kid: properties.id().to_string(),
            ..Self::of_key(properties)
        }
    }
}

/// `DeletedKeyItem`.
#[derive(Serialize)]
pub(in crate::rest) struct DeletedKeyItem<'a> {
    #[serde(flatten)]
    item: KeyItem<'a>,
    #[serde(flatten)]
    deletion: Deletion,
}

impl<'a> From<&'a DeletedKeyProperties> for DeletedKeyItem<'a> {
    fn from(deleted: &'a DeletedKeyProperties) -> Self {
        Self {
            item: KeyItem::of_key(deleted.properties()),
            deletion: Deletion {
                recovery_id: Some(deleted.recovery_id()),
                deleted_date: deleted.deleted_on(),
                scheduled_purge_date: deleted.scheduled_purge_date(),
            },
        }
    }
}

/// `KeyListResult` and `DeletedKeyListResult`.
#[derive(Serialize)]
pub(in crate::rest) struct List<T> {
    pub(in crate::rest) value: Vec<T>,
    /// Null at the end.
    #[serde(rename = "nextLink")]
    pub(in crate::rest) next_link: Option<String>,
}

/// What encrypt, decrypt, sign, wrapKey and unwrapKey answer.
#[derive(Serialize)]
pub(in crate::rest) struct KeyOperationResult<'a> {
    pub(in crate::rest) kid: &'a KeyIdentifier,
    /// Only symmetric keys have it, as in Managed HSM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::rest) alg: Option<&'static str>,
    pub(in crate::rest) value: Bytes<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::rest) iv: Option<Bytes<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::rest) tag: Option<Bytes<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::rest) aad: Option<Bytes<'a>>,
}

#[derive(Serialize)]
pub(in crate::rest) struct VerifyResult {
    pub(in crate::rest) value: bool,
}

#[derive(Serialize)]
pub(in crate::rest) struct BackupResult<'a> {
    pub(in crate::rest) value: Bytes<'a>,
}

#[derive(Serialize)]
pub(in crate::rest) struct KeyReleaseResult<'a> {
    /// A JWS in compact form.
    pub(in crate::rest) value: &'a str,
}

#[derive(Serialize)]
pub(in crate::rest) struct RandomBytes<'a> {
    pub(in crate::rest) value: Bytes<'a>,
}
