//! From a selector to a result: opening the version, asking the policy, performing.

use std::sync::Arc;

use super::cache::OpenVersion;
use super::perform::{self, Input, Output};
use super::records::reference;
use super::{Act, Inner};
use crate::crypto::limits::MAX_ENCRYPT_BYTES;
use crate::error::{Error, ErrorKind, Result};
use crate::model::algorithm::{
    AesMode, CryptoOperation, EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm,
};
use crate::model::encrypted::Encrypted;
use crate::model::identifier::{KeyIdentifier, KeySelector};
use crate::model::options::EncryptOptions;
use crate::model::results::{EncryptResult, SignResult, WrapResult};
use crate::model::short_bytes::ShortBytes;
use crate::policy;
use crate::secret::SecretBytes;

/// Who chooses the IV.
pub(super) enum IvSource<'a> {
    /// The library, or the caller's options for CBC.
    Policy,
    /// The caller, at his own risk.
    Hazmat(&'a [u8]),
}

impl Inner {
    /// The open version that is meant, from the cache or from the store.
    pub(super) fn open_version(&self, selector: KeySelector<'_>) -> Result<Arc<OpenVersion>> {
        let now_ms = self.clock.coarse_unix_milliseconds();
        if let Some(open) = self.cache.get(selector, now_ms) {
            // A closed or failed vault must not go on from its cache.
            self.store.ensure_usable()?;
            return Ok(open);
        }
        let epoch = self.cache.epoch(selector.name());
        let (key, version) = self.store.read(|view| {
            let key = self.load_active(view, selector.name())?;
            let version = self.load_selected(view, &key, selector)?;
            Ok((key, version))
        })?;
        let body = version.body;
        let id = self.identifier(&key.object.name, version.version);
        let handle = self
            .backend(&body.backend)?
            .open(&reference(&body))
            .map_err(|error| self.gone_or(&id, error.into()))?;
        let is_newest = key.object.newest == version.version;
        let open = Arc::new(OpenVersion::new(
            id,
            body.tag,
            body.spec,
            version.attributes,
            handle,
            now_ms,
        ));
        self.cache.insert(epoch, &open, is_newest);
        Ok(open)
    }

    /// Authorizes and performs one operation.
    #[inline(always)]
    pub(super) fn run(
        &self,
        act: &Act<'_>,
        selector: KeySelector<'_>,
        operation: CryptoOperation,
        input: Input<'_>,
    ) -> Result<(Arc<OpenVersion>, Output)> {
        let open = self.open_version(selector)?;
        act.note_version(open.id.version());
        let authorized = self.authorize(&open, operation)?;
        let output = self.perform(authorized, &open, input)?;
        Ok((open, output))
    }

    #[inline(always)]
    pub(super) fn perform(
        &self,
        authorized: policy::Authorized,
        open: &OpenVersion,
        input: Input<'_>,
    ) -> Result<Output> {
        perform::perform(authorized, open, input).map_err(|error| self.gone_or(&open.id, error))
    }

    /// The error of a backend, unless the reason is that the key was purged meanwhile: a device that holds keys
    /// has lost it then, even while it is in use.
    fn gone_or(&self, id: &KeyIdentifier, error: Error) -> Error {
        if !matches!(
            error.kind(),
            ErrorKind::BackendUnavailable | ErrorKind::BackendRejected
        ) {
            return error;
        }
        let now = self.store.read(|view| {
            let key = self.load_active(view, id.name())?;
            self.load_selected(view, &key, id.into())
        });
        match now {
            Err(gone) if gone.kind() == ErrorKind::KeyNotFound => gone,
            _ => error,
        }
    }

    #[inline]
    fn authorize(
        &self,
        open: &OpenVersion,
        operation: CryptoOperation,
    ) -> Result<policy::Authorized> {
        policy::authorize(policy::Question {
            tag: open.tag,
            spec: open.spec,
            attributes: &open.attributes,
            operation,
            rules: self.rules.get(),
            // Most versions have no dates, and reading the clock takes a while.
            now: &|| self.decision_time(self.now_ms()),
        })
    }

    pub(super) fn encrypt(
        &self,
        act: &Act<'_>,
        selector: KeySelector<'_>,
        algorithm: EncryptionAlgorithm,
        plaintext: &[u8],
        options: EncryptOptions<'_>,
        iv_source: IvSource<'_>,
    ) -> Result<EncryptResult> {
        let open = self.open_version(selector)?;
        act.note_version(open.id.version());
        let authorized = self.authorize(&open, CryptoOperation::Encrypt(algorithm))?;
        perform::at_most(plaintext, MAX_ENCRYPT_BYTES, "the data")?;
        perform::check_data(algorithm, plaintext, options.aad)?;
        let iv: Option<ShortBytes> = match (algorithm.iv_length(), iv_source) {
            (None, _) if options.iv.is_none() => None,
            (None, _) => {
                return Err(Error::bad_parameter(format!("{algorithm} takes no iv")));
            }
            (Some(length), source) => {
                let given = match source {
                    IvSource::Hazmat(iv) => Some(iv),
                    IvSource::Policy => options.iv,
                };
                match given {
                    Some(iv) if iv.len() != length => {
                        return Err(Error::bad_parameter(format!(
                            "{algorithm} needs an iv of {length} bytes, but {} were given",
                            iv.len()
                        )));
                    }
                    Some(iv) => ShortBytes::new(iv),
                    None => {
                        let mut made = ShortBytes::zeroed(length);
                        if let Some(iv) = &mut made {
                            self.entropy.fill(iv)?;
                        }
                        made
                    }
                }
            }
        };
        if algorithm.aes_mode() == Some(AesMode::Gcm) {
            // Last: what is refused uses no count.
            self.count_gcm_encryption(&open, algorithm)?;
        }
        let input = Input::Encrypt {
            plaintext,
            iv: iv.as_deref().unwrap_or_default(),
            aad: options.aad,
        };
        match self.perform(authorized, &open, input)? {
            Output::Encrypted(Encrypted { ciphertext, tag }) => Ok(EncryptResult {
                key_id: open.id.clone(),
                algorithm,
                ciphertext: ciphertext.into(),
                iv,
                tag,
            }),
            _ => Err(Error::internal("an encryption gave no ciphertext")),
        }
    }

    pub(super) fn sign(
        &self,
        act: &Act<'_>,
        selector: KeySelector<'_>,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
        deterministic: bool,
    ) -> Result<SignResult> {
        let input = Input::Sign {
            digest,
            deterministic,
        };
        let (open, output) = self.run(act, selector, CryptoOperation::Sign(algorithm), input)?;
        Ok(SignResult {
            key_id: open.id.clone(),
            algorithm,
            signature: output.into_bytes()?,
        })
    }

    pub(super) fn verify(
        &self,
        act: &Act<'_>,
        selector: KeySelector<'_>,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        let input = Input::Verify { digest, signature };
        self.run(act, selector, CryptoOperation::Verify(algorithm), input)
            .map(drop)
    }

    pub(super) fn wrap(
        &self,
        act: &Act<'_>,
        selector: KeySelector<'_>,
        algorithm: WrapAlgorithm,
        key: &[u8],
    ) -> Result<WrapResult> {
        let operation = CryptoOperation::WrapKey(algorithm);
        let (open, output) = self.run(act, selector, operation, Input::WrapKey(key))?;
        Ok(WrapResult {
            key_id: open.id.clone(),
            algorithm,
            wrapped_key: output.into_bytes()?,
        })
    }

    pub(super) fn unwrap(
        &self,
        act: &Act<'_>,
        selector: KeySelector<'_>,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
    ) -> Result<SecretBytes> {
        let operation = CryptoOperation::UnwrapKey(algorithm);
        let (_, output) = self.run(act, selector, operation, Input::UnwrapKey(wrapped))?;
        output.into_secret()
    }
}
