//! V: one version of a key.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::layout::{self, Bounded};
use crate::error::Result;
use crate::model::attributes::Validity;
use crate::model::key::{KeyBlob, KeyTag, Origin, VersionAttributes, VersionBody, VersionRecord};
use crate::model::material::PublicParts;
use crate::model::operation::KeyOperations;
use crate::model::release_policy::ReleasePolicy;
use crate::model::spec::{Curve, KeySpec, OctKeyLength, RsaKeySize};
use crate::model::tags::Tags;
use crate::model::time::Timestamp;
use crate::model::version::KeyVersion;
use crate::secret::SecretBytes;

const LAYOUT_1: u16 = 1;
/// With a release policy: what has none keeps layout 1.
const LAYOUT_2: u16 = 2;

#[derive(Serialize, Deserialize)]
pub(super) struct Version1<'a> {
    version: [u8; 16],
    ordinal: u32,
    enabled: bool,
    not_before: Option<u64>,
    expires_on: Option<u64>,
    operations: u8,
    #[serde(borrow)]
    tags: Bounded<(&'a str, &'a str), { Tags::MAX_COUNT }>,
    created: u64,
    updated: u64,
    tag: [u8; 16],
    spec: Spec1,
    hsm: bool,
    backend: &'a str,
    imported: bool,
    backup_allowed: bool,
    public: Option<Public1<'a>>,
    #[serde(with = "serde_bytes")]
    blob: &'a [u8],
    #[serde(with = "serde_bytes")]
    rejection_secret: &'a [u8],
}

#[derive(Serialize, Deserialize)]
struct Version2<'a> {
    #[serde(borrow)]
    first: Version1<'a>,
    #[serde(borrow)]
    release_policy: ReleasePolicy1<'a>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ReleasePolicy1<'a> {
    content_type: &'a str,
    #[serde(with = "serde_bytes")]
    json: &'a [u8],
    immutable: bool,
}

impl<'a> From<&'a ReleasePolicy> for ReleasePolicy1<'a> {
    fn from(policy: &'a ReleasePolicy) -> Self {
        Self {
            content_type: policy.content_type(),
            json: policy.json(),
            immutable: policy.is_immutable(),
        }
    }
}

impl ReleasePolicy1<'_> {
    /// Errors: `Corrupt`.
    pub(super) fn into_policy(self) -> Result<ReleasePolicy> {
        ReleasePolicy::new(self.content_type, self.json, self.immutable)
            .map_err(|_| layout::corrupt("a key version has an impossible release policy"))
    }
}

#[derive(Serialize, Deserialize)]
enum Spec1 {
    Rsa { bits: u16 },
    Ec { curve: u8 },
    Oct { bytes: u8 },
}

#[derive(Serialize, Deserialize)]
enum Public1<'a> {
    Rsa {
        #[serde(borrow, with = "serde_bytes")]
        n: &'a [u8],
        #[serde(borrow, with = "serde_bytes")]
        e: &'a [u8],
    },
    Ec {
        #[serde(borrow, with = "serde_bytes")]
        x: &'a [u8],
        #[serde(borrow, with = "serde_bytes")]
        y: &'a [u8],
    },
}

/// The number of a curve in every layout.
pub(super) const fn curve_number(curve: Curve) -> u8 {
    match curve {
        Curve::P256 => 1,
        Curve::P384 => 2,
        Curve::P521 => 3,
        Curve::P256K => 4,
    }
}

pub(super) fn curve_from_number(number: u8) -> Option<Curve> {
    Curve::ALL
        .into_iter()
        .find(|curve| curve_number(*curve) == number)
}

impl<'a> From<&'a VersionRecord> for Version1<'a> {
    fn from(record: &'a VersionRecord) -> Self {
        let VersionRecord {
            version,
            ordinal,
            attributes,
            body,
        } = record;
        let VersionAttributes {
            enabled,
            validity,
            operations,
            tags,
            release_policy: _,
            created,
            updated,
        } = attributes;
        let VersionBody {
            tag,
            spec,
            hsm,
            backend,
            origin,
            backup_allowed,
            public,
            blob,
            rejection_secret,
        } = body;
        Self {
            version: *version.as_bytes(),
            ordinal: *ordinal,
            enabled: *enabled,
            not_before: validity.not_before().map(Timestamp::unix_seconds),
            expires_on: validity.expires_on().map(Timestamp::unix_seconds),
            operations: operations.to_bits(),
            tags: Bounded(tags.iter().collect()),
            created: created.unix_seconds(),
            updated: updated.unix_seconds(),
            tag: *tag.as_bytes(),
            spec: match spec {
                KeySpec::Rsa(size) => Spec1::Rsa {
                    bits: u16::try_from(size.bits()).unwrap_or_default(),
                },
                KeySpec::Ec(curve) => Spec1::Ec {
                    curve: curve_number(*curve),
                },
                KeySpec::Oct(length) => Spec1::Oct {
                    bytes: u8::try_from(length.bytes()).unwrap_or_default(),
                },
            },
            hsm: *hsm,
            backend: backend.as_str(),
            imported: *origin == Origin::Imported,
            backup_allowed: *backup_allowed,
            public: public.as_ref().map(|public| match public {
                PublicParts::Rsa { n, e } => Public1::Rsa { n, e },
                PublicParts::Ec { x, y, .. } => Public1::Ec { x, y },
            }),
            blob: blob.expose(),
            rejection_secret: rejection_secret
                .as_ref()
                .map_or(&[][..], SecretBytes::expose),
        }
    }
}

impl Version1<'_> {
    pub(super) fn into_record(self) -> Result<VersionRecord> {
        let impossible = || layout::corrupt("a key version holds an impossible value");
        let spec = match self.spec {
            Spec1::Rsa { bits } => {
                KeySpec::Rsa(RsaKeySize::try_from(u32::from(bits)).map_err(|_| impossible())?)
            }
            Spec1::Ec { curve } => KeySpec::Ec(curve_from_number(curve).ok_or_else(impossible)?),
            Spec1::Oct { bytes } => {
                KeySpec::Oct(OctKeyLength::try_from(usize::from(bytes)).map_err(|_| impossible())?)
            }
        };
        let public = match (self.public, spec) {
            (Some(Public1::Rsa { n, e }), KeySpec::Rsa(_)) => Some(PublicParts::Rsa {
                n: n.to_vec(),
                e: e.to_vec(),
            }),
            (Some(Public1::Ec { x, y }), KeySpec::Ec(curve)) => Some(PublicParts::Ec {
                curve,
                x: x.to_vec(),
                y: y.to_vec(),
            }),
            (None, KeySpec::Oct(_)) => None,
            _ => return Err(impossible()),
        };
        let tags = self
            .tags
            .0
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(VersionRecord {
            version: KeyVersion::from_bytes(self.version),
            ordinal: self.ordinal,
            attributes: VersionAttributes {
                enabled: self.enabled,
                validity: Validity::new(
                    self.not_before.map(Timestamp::from_unix_seconds),
                    self.expires_on.map(Timestamp::from_unix_seconds),
                )
                .map_err(|_| impossible())?,
                operations: KeyOperations::from_bits(self.operations),
                tags: Tags::try_from_entries(tags).map_err(|_| impossible())?,
                release_policy: None,
                created: Timestamp::from_unix_seconds(self.created),
                updated: Timestamp::from_unix_seconds(self.updated),
            },
            body: VersionBody {
                tag: KeyTag::from_bytes(self.tag),
                spec,
                hsm: self.hsm,
                backend: self.backend.parse().map_err(|_| impossible())?,
                origin: if self.imported {
                    Origin::Imported
                } else {
                    Origin::Generated
                },
                backup_allowed: self.backup_allowed,
                public,
                blob: KeyBlob::new(SecretBytes::copied_from(self.blob)),
                rejection_secret: match self.rejection_secret {
                    [] => None,
                    bytes => Some(SecretBytes::copied_from(bytes)),
                },
            },
        })
    }
}

/// layout ‖ version.
pub(crate) fn encode(record: &VersionRecord) -> Result<Zeroizing<Vec<u8>>> {
    let first = Version1::from(record);
    match &record.attributes.release_policy {
        None => layout::encode_record(LAYOUT_1, &[], &first),
        Some(policy) => {
            let second = Version2 {
                first,
                release_policy: policy.into(),
            };
            layout::encode_record(LAYOUT_2, &[], &second)
        }
    }
}

/// Errors: `NewerFormat`, `Corrupt`.
pub(crate) fn decode(bytes: &[u8]) -> Result<VersionRecord> {
    let (number, rest) = layout::split_number(bytes)?;
    match number {
        LAYOUT_1 => layout::decode::<Version1<'_>>(rest)?.into_record(),
        LAYOUT_2 => {
            let Version2 {
                first,
                release_policy,
            } = layout::decode(rest)?;
            let mut record = first.into_record()?;
            record.attributes.release_policy = Some(release_policy.into_policy()?);
            Ok(record)
        }
        _ => Err(layout::newer(
            "a key version has a layout of a newer version",
        )),
    }
}
