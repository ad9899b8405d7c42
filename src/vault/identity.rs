//! The vault's own key, with which it signs what it says of itself.

use std::sync::PoisonError;

use super::settings::setting;
use super::tombstones::open_setting;
use super::{Act, Inner, Operation, Subject, Vault};
use crate::backend::{KeyReference, KeyRequest};
use crate::crypto::hash;
use crate::crypto::public_key::PublicKey;
use crate::error::{Error, Result};
use crate::format::settings::{self, IDENTITY_KEY};
use crate::model::algorithm::{HashAlgorithm, SignatureAlgorithm};
use crate::model::base64url;
use crate::model::key::{KeyBlob, KeyTag};
use crate::model::material::PublicParts;
use crate::model::operation::{KeyOperation, KeyOperations};
use crate::model::options::Placement;
use crate::model::spec::{Curve, KeySpec};
use crate::store::CommitOptions;

const SPEC: KeySpec = KeySpec::Ec(Curve::P256);

/// The key: P-256, made at its first need.
struct Identity {
    public: PublicParts,
    blob: KeyBlob,
}

impl Vault {
    /// The public part of the vault's identity key, with which it signs audit checkpoints, released keys and attestations: ECDSA over P-256. It
    /// is made at its first need, and stays the same from then on; then one write to disk.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](crate::ErrorKind::Forbidden) for a restricted handle;
    /// [`RandomUnavailable`](crate::ErrorKind::RandomUnavailable); and the errors of storage.
    pub fn identity_public_key(&self) -> Result<PublicKey> {
        self.act(Operation::IdentityPublicKey, Subject::Vault, |act| {
            act.inner().identity_key(act)
        })
    }
}

impl Inner {
    /// Signs with the identity key: ES256, 64 bytes.
    pub(super) fn sign_as_vault(&self, act: &Act<'_>, message: &[u8]) -> Result<Vec<u8>> {
        let Identity { public, blob } = self.identity(act)?;
        let digest = hash::digest(HashAlgorithm::Sha256, message);
        let reference =
            KeyReference::new(KeyTag::from_bytes([0; 16]), SPEC, &blob).with_public(Some(&public));
        let handle = self.place(&Placement::Software)?.open(&reference)?;
        Ok(handle.sign(SignatureAlgorithm::Es256, &digest)?)
    }

    pub(super) fn identity_key(&self, act: &Act<'_>) -> Result<PublicKey> {
        PublicKey::from_parts(&self.identity(act)?.public)
    }

    /// A JWS in compact form (RFC 7515), signed with the identity key: ES256, `kid` is the key's thumbprint (RFC 7638).
    pub(super) fn sign_jws(&self, act: &Act<'_>, payload: &serde_json::Value) -> Result<String> {
        let Identity { public, .. } = self.identity(act)?;
        let PublicParts::Ec { x, y, .. } = &public else {
            return Err(Error::internal("the identity of a vault is a P-256 key"));
        };
        let (x, y) = (base64url::encode(x), base64url::encode(y));
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let thumbprint = hash::digest(HashAlgorithm::Sha256, jwk.as_bytes());
        let header = serde_json::json!({"alg": "ES256", "kid": base64url::encode(&thumbprint)});
        let part = |json: &serde_json::Value| base64url::encode(json.to_string().as_bytes());
        let signed = format!("{}.{}", part(&header), part(payload));
        let signature = self.sign_as_vault(act, signed.as_bytes())?;
        Ok(format!("{signed}.{}", base64url::encode(&signature)))
    }

    fn identity(&self, act: &Act<'_>) -> Result<Identity> {
        if let Some(identity) = self.load_identity()? {
            return Ok(identity);
        }
        let _guard = self
            .identity_making
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match self.load_identity()? {
            Some(identity) => Ok(identity),
            None => self.make_identity(act),
        }
    }

    fn load_identity(&self) -> Result<Option<Identity>> {
        let plaintext = self
            .store
            .read(|view| open_setting(&self.hierarchy, view, IDENTITY_KEY))?;
        let Some(plaintext) = plaintext else {
            return Ok(None);
        };
        let (public, blob) = settings::decode_identity(&plaintext)?;
        Ok(Some(Identity { public, blob }))
    }

    fn make_identity(&self, act: &Act<'_>) -> Result<Identity> {
        let label = self.label();
        let operations = KeyOperations::from([KeyOperation::Sign, KeyOperation::Verify]);
        let request = KeyRequest::new(KeyTag::from_bytes([0; 16]), SPEC, operations, &label);
        let made = self.place(&Placement::Software)?.generate(&request)?;
        let (blob, public) = made.into_parts();
        let public =
            public.ok_or_else(|| Error::internal("a P-256 key without its public part"))?;
        let plaintext = settings::encode_identity(&public, &blob)?;
        let change = setting(&self.hierarchy, IDENTITY_KEY, &plaintext, &*self.entropy)?;
        act.commit(vec![change], CommitOptions::default())?;
        self.note_time();
        Ok(Identity { public, blob })
    }
}
