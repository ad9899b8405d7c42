//! What the vault states of a key and of how it is kept.

use serde_json::{Value, json};

use super::records::reference;
use super::{Act, Inner, Operation, Vault};
use crate::backend::KeyCustody;
use crate::error::{Error, ErrorKind, Result};
use crate::model::identifier::KeySelector;
use crate::model::key::Origin;
use crate::model::results::KeyBundle;

/// The form of the statements.
const VERSION: &str = "1.0";

/// What the vault states of a version of a key: the members of Azure's `attributes.attestation`.
///
/// The statements are JWS in compact form, signed with ES256 by the vault's [identity key](Vault::identity_public_key), which is no certificate
/// authority: they are worth what the reader knows of that key, for example from a [pin](Vault::pin).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyAttestation {
    identity_pem: String,
    private_key: String,
    public_key: Option<String>,
}

impl KeyAttestation {
    /// `certificatePemFile`: the public half of the identity key as PEM, `PUBLIC KEY`. There is no certificate.
    #[must_use]
    pub fn certificate_pem_file(&self) -> &[u8] {
        self.identity_pem.as_bytes()
    }

    /// `privateKeyAttestation`: a JWS that says of the private or secret key: `kid`, `kty`, `key_ops`, `backend`, `hsm`, `origin` (`generated`
    /// or `imported`), `exportable`, `backup_allowed`, the time `iat`, and as far as the backend knows `local`, `sensitive`,
    /// `always_sensitive`, `extractable` and `never_extractable`. What it does not know is not there.
    #[must_use]
    pub fn private_key_attestation(&self) -> &[u8] {
        self.private_key.as_bytes()
    }

    /// `publicKeyAttestation`: a JWS whose payload has `kid`, the public `jwk` and `iat`; none for a symmetric key.
    #[must_use]
    pub fn public_key_attestation(&self) -> Option<&[u8]> {
        self.public_key.as_deref().map(str::as_bytes)
    }

    /// `version` of these statements: `1.0`.
    #[must_use]
    pub fn version(&self) -> &'static str {
        VERSION
    }
}

/// A key version with what the vault states of it.
#[derive(Clone, PartialEq, Debug)]
pub struct AttestedKey {
    bundle: KeyBundle,
    attestation: KeyAttestation,
}

impl AttestedKey {
    /// As [`Vault::get_key`] gives it.
    #[must_use]
    pub fn bundle(&self) -> &KeyBundle {
        &self.bundle
    }

    /// The statements.
    #[must_use]
    pub fn attestation(&self) -> &KeyAttestation {
        &self.attestation
    }
}

impl Vault {
    /// A version with a signed statement of where it came from and how its backend keeps it: Azure's
    /// [Get Key Attestation](https://learn.microsoft.com/rest/api/keyvault/keys/get-key-attestation/get-key-attestation).
    ///
    /// **Blocking:** it asks the backend, and makes the identity key at its first need.
    ///
    /// # Errors
    ///
    /// [`KeyNotFound`](ErrorKind::KeyNotFound); [`BackendUnavailable`](ErrorKind::BackendUnavailable) when the backend is
    /// away; and the errors of storage.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// let name = KeyName::from_static("signer");
    /// vault.create_key(&name, CreateKeyOptions::ec(Curve::P256))?;
    /// let attested = vault.get_key_attestation(&name)?;
    /// assert_eq!(attested.attestation().version(), "1.0");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn get_key_attestation<'a>(&self, key: impl Into<KeySelector<'a>>) -> Result<AttestedKey> {
        let selector = key.into();
        self.act(Operation::GetKeyAttestation, selector, |act| {
            act.inner().attest(act, selector)
        })
    }
}

impl Inner {
    fn attest(&self, act: &Act<'_>, selector: KeySelector<'_>) -> Result<AttestedKey> {
        let (key, version) = self.store.read(|view| {
            let key = self.load_active(view, selector.name())?;
            let version = self.load_selected(view, &key, selector)?;
            Ok((key, version))
        })?;
        act.note_version(version.version);
        let body = &version.body;
        let custody = self.backend(&body.backend)?.custody(&reference(body))?;
        let mut private = json!({
            "hsm": body.hsm,
            "origin": match body.origin {
                Origin::Generated => "generated",
                Origin::Imported => "imported",
            },
            "backup_allowed": body.backup_allowed || !body.hsm,
        });
        state(&mut private, &custody);
        let bundle = self.bundle(&key.object, version);
        let unwritable = |_| Error::new(ErrorKind::Internal, "a key cannot be written as JSON");
        let jwk = serde_json::to_value(bundle.key()).map_err(unwritable)?;
        let (kid, issued) = (bundle.id().to_string(), self.now().unix_seconds());
        private["kid"] = kid.clone().into();
        private["iat"] = issued.into();
        private["kty"] = jwk["kty"].clone();
        private["key_ops"] = jwk["key_ops"].clone();
        private["backend"] = bundle.properties().backend().as_str().into();
        private["exportable"] = bundle.properties().exportable().into();
        let public_key = match bundle.key().public_parts() {
            None => None,
            Some(_) => Some(self.sign_jws(act, &json!({"kid": kid, "iat": issued, "jwk": jwk}))?),
        };
        Ok(AttestedKey {
            attestation: KeyAttestation {
                private_key: self.sign_jws(act, &private)?,
                public_key,
                identity_pem: self.identity_key(act)?.to_spki_pem()?,
            },
            bundle,
        })
    }
}

fn state(statement: &mut Value, custody: &KeyCustody) {
    let KeyCustody {
        local,
        sensitive,
        always_sensitive,
        extractable,
        never_extractable,
    } = *custody;
    for (name, value) in [
        ("local", local),
        ("sensitive", sensitive),
        ("always_sensitive", always_sensitive),
        ("extractable", extractable),
        ("never_extractable", never_extractable),
    ] {
        if let Some(value) = value {
            statement[name] = value.into();
        }
    }
}
