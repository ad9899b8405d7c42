//! Releasing exportable keys to attested environments.

use serde_json::{Map, Value, json};

use super::attestation::Target;
use super::records::reference;
use super::{Act, Inner, Operation, Vault};
use crate::error::{Error, ErrorKind, Result};
use crate::model::base64url;
use crate::model::identifier::{KeyIdentifier, KeySelector};
use crate::model::release_policy::KeyEncryptionAlgorithm;
use crate::model::results::{KeyBundle, KeyProperties};
use crate::policy;

/// The longest nonce, in bytes.
const MAX_NONCE: usize = 1_024;

/// How a key is released.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReleaseOptions<'a> {
    nonce: Option<&'a str>,
    algorithm: KeyEncryptionAlgorithm,
}

impl<'a> ReleaseOptions<'a> {
    /// No nonce; `CKM_RSA_AES_KEY_WRAP`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What makes this release unlike all others, up to 1,024 bytes: the attestation token must hold it, in its claim `nonce`, or
    /// in `x-ms-runtime.client-payload.nonce` as it is or in base64. The answer holds it too.
    #[must_use]
    pub fn nonce(mut self, nonce: &'a str) -> Self {
        self.nonce = Some(nonce);
        self
    }

    /// How the key is wrapped.
    #[must_use]
    pub fn algorithm(mut self, algorithm: KeyEncryptionAlgorithm) -> Self {
        self.algorithm = algorithm;
        self
    }
}

/// A released key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReleaseResult {
    key_id: KeyIdentifier,
    value: String,
}

impl ReleaseResult {
    /// The version that was released.
    #[must_use]
    pub fn key_id(&self) -> &KeyIdentifier {
        &self.key_id
    }

    /// A JWS in compact form, signed with ES256 by the vault's [identity key](Vault::identity_public_key), whose RFC 7638 thumbprint is its
    /// `kid`. Its payload is Azure's: `request` with `enc`, `kid` and `nonce`, and `response.key` with the key's bundle, in
    /// which `key.key_hsm` is base64url of `{"schema_version": "1.0", "header": {"kid", "alg": "dir", "enc"}, "ciphertext"}`.
    ///
    /// The ciphertext, in base64url, is an AES-256 key under RSA-OAEP and, behind it, the PKCS#8 of the key (or the bytes of
    /// a symmetric one) under that by RFC 5649. `kid` in it names the key of the environment that unwraps.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl Vault {
    /// Gives an exportable key to an environment that proves by an attestation token that it meets the key's release
    /// policy: Azure's [Release](https://learn.microsoft.com/rest/api/keyvault/keys/release/release). It works outside the version's dates.
    ///
    /// `target` is a JSON Web Token of at most 64 KiB, signed with RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or ES512
    /// by an authority that the policy names and the [application trusts](crate::AttestationAuthority). `exp` must be there;
    /// it, `nbf` and `iat` have the vault's leeway, and a minute at least. The first RSA key among `x-ms-runtime.keys` that is
    /// for encryption, and has a `kid`, gets the key.
    ///
    /// # Errors
    ///
    /// [`KeyNotFound`](ErrorKind::KeyNotFound); [`NotExportable`](ErrorKind::NotExportable), [`KeyDisabled`](ErrorKind::KeyDisabled),
    /// [`OperationNotPermitted`](ErrorKind::OperationNotPermitted) when `key_ops` do not list `export`;
    /// [`BadParameter`](ErrorKind::BadParameter) and [`TooLarge`](ErrorKind::TooLarge) for what is no such token;
    /// [`ReleaseRefused`](ErrorKind::ReleaseRefused) for one that is not valid or does not meet the policy;
    /// [`BackendUnavailable`](ErrorKind::BackendUnavailable) when the authority's keys are not to be had;
    /// [`Unsupported`](ErrorKind::Unsupported) without an authority; and the errors of backend and storage.
    pub fn release<'a>(
        &self,
        key: impl Into<KeySelector<'a>>,
        target: &str,
        options: ReleaseOptions<'_>,
    ) -> Result<ReleaseResult> {
        let selector = key.into();
        self.act(Operation::Release, selector, |act| {
            act.inner().release(act, selector, target, options)
        })
    }
}

impl Inner {
    fn release(
        &self,
        act: &Act<'_>,
        selector: KeySelector<'_>,
        target: &str,
        options: ReleaseOptions<'_>,
    ) -> Result<ReleaseResult> {
        let ReleaseOptions { nonce, algorithm } = options;
        if nonce.is_some_and(|nonce| nonce.is_empty() || nonce.len() > MAX_NONCE) {
            return Err(Error::bad_parameter(format!(
                "a nonce has 1 to {MAX_NONCE} bytes"
            )));
        }
        let (key, version) = self.store.read(|view| {
            let key = self.load_active(view, selector.name())?;
            let version = self.load_selected(view, &key, selector)?;
            Ok((key, version))
        })?;
        act.note_version(version.version);
        if let Some(refusal) = policy::release_refusals(&version.attributes).next() {
            return Err(refusal);
        }
        let rules = match &version.attributes.release_policy {
            Some(policy) => policy.rules()?,
            None => return Err(Error::internal("an exportable key without a policy")),
        };
        let Target {
            key_id: target_id,
            key: target,
        } = self.attested_target(target, &rules, nonce)?;
        let ciphertext = self.backend(&version.body.backend)?.release(
            &reference(&version.body),
            &target,
            algorithm,
        )?;
        let bundle = self.bundle(&key.object, version);
        let payload = payload(&bundle, &target_id, &ciphertext, options)?;
        let value = self.sign_jws(act, &payload)?;
        Ok(ReleaseResult {
            key_id: bundle.id().clone(),
            value,
        })
    }
}

fn payload(
    bundle: &KeyBundle,
    target_id: &str,
    ciphertext: &[u8],
    options: ReleaseOptions<'_>,
) -> Result<Value> {
    let unwritable =
        |_: serde_json::Error| Error::new(ErrorKind::Internal, "a released key cannot be written");
    let algorithm = options.algorithm.as_str();
    let key_hsm = json!({
        "schema_version": "1.0",
        "header": {"kid": target_id, "alg": "dir", "enc": algorithm},
        "ciphertext": base64url::encode(ciphertext),
    });
    let mut jwk = serde_json::to_value(bundle.key()).map_err(unwritable)?;
    jwk["key_hsm"] = base64url::encode(key_hsm.to_string().as_bytes()).into();
    let properties = bundle.properties();
    let mut request = Map::new();
    request.insert("enc".to_owned(), algorithm.into());
    request.insert("kid".to_owned(), bundle.id().to_string().into());
    if let Some(nonce) = options.nonce {
        request.insert("nonce".to_owned(), nonce.into());
    }
    Ok(json!({
        "request": request,
        "response": {"key": {
            "key": jwk,
            "attributes": attributes(properties),
            "tags": serde_json::to_value(properties.tags()).map_err(unwritable)?,
            "release_policy": serde_json::to_value(properties.release_policy()).map_err(unwritable)?,
        }},
    }))
}

fn attributes(properties: &KeyProperties) -> Value {
    let mut attributes = json!({
        "enabled": properties.enabled(),
        "created": properties.created_on().unix_seconds(),
        "updated": properties.updated_on().unix_seconds(),
        "recoverableDays": properties.recoverable_days(),
        "recoveryLevel": properties.recovery_level().as_str(),
        "exportable": properties.exportable(),
    });
    for (name, time) in [
        ("nbf", properties.not_before()),
        ("exp", properties.expires_on()),
    ] {
        if let Some(time) = time {
            attributes[name] = time.unix_seconds().into();
        }
    }
    attributes
}
