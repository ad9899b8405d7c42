//! Why an operation would be refused.

use std::fmt;

use super::{Act, Inner, Operation, Vault, perform};
use crate::backend::{Capabilities, Support};
use crate::error::{AzureError, Error, ErrorKind, Result};
use crate::model::algorithm::CryptoOperation;
use crate::model::identifier::KeySelector;
use crate::model::key::VersionRecord;
use crate::policy::{self, Lifecycle, Question};

/// One reason why an operation would be refused, see [`Vault::explain`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    kind: ErrorKind,
    message: String,
}

impl Refusal {
    /// The kind of error that the operation would give, were this the only reason.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// A sentence that says what to do.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What Azure Key Vault answers for this reason, if it has such an answer.
    #[must_use]
    pub fn azure(&self) -> Option<AzureError> {
        self.kind.azure()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self {
            kind: error.kind(),
            message: error.to_string(),
        }
    }
}

impl Vault {
    /// Every reason why an operation with a key would be refused now: a missing permission, a key that is deleted
    /// or not there, an algorithm that does not fit the key or that the vault's rules refuse, a version that is disabled or
    /// outside its dates, `key_ops`, the limit of GCM encryptions, and a backend that is not attached, does not answer or cannot do it.
    /// While the backend answers, the first is the one that the operation itself gives.
    ///
    /// An empty list says that nothing speaks against it; data of a wrong length, a wrong signature or a failing device
    /// show only when it is done. **Blocking:** it may ask a device whether it is there.
    ///
    /// # Errors
    ///
    /// [`Forbidden`](ErrorKind::Forbidden) for a handle that may not `get` the key, and the errors of storage.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// let name = KeyName::from_static("signer");
    /// vault.create_key(&name, CreateKeyOptions::ec(Curve::P256).enabled(false).operations([KeyOperation::Verify]))?;
    ///
    /// let reasons = vault.explain(&name, CryptoOperation::Sign(SignatureAlgorithm::Es256))?;
    /// let kinds: Vec<ErrorKind> = reasons.iter().map(Refusal::kind).collect();
    /// assert_eq!(kinds, [ErrorKind::KeyDisabled, ErrorKind::OperationNotPermitted]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn explain<'a>(
        &self,
        key: impl Into<KeySelector<'a>>,
        operation: CryptoOperation,
    ) -> Result<Vec<Refusal>> {
        let selector = key.into();
        self.act(Operation::Explain, selector, |act| {
            act.inner().explain(act, selector, operation)
        })
    }
}

impl Inner {
    fn explain(
        &self,
        act: &Act<'_>,
        selector: KeySelector<'_>,
        operation: CryptoOperation,
    ) -> Result<Vec<Refusal>> {
        let mut reasons = Vec::new();
        if let Err(forbidden) = act.require(of(operation).need(), selector.name()) {
            reasons.push(Refusal::from(forbidden));
        }
        let now_ms = self.now_ms();
        let now = self.decision_time(now_ms);
        let found = self.store.read(|view| {
            let Some(key) = self
                .load_key(view, selector.name())?
                .filter(|key| policy::lifecycle(&key.object, now.time) != Lifecycle::Gone)
            else {
                return self.load_active(view, selector.name()).map(|_| None);
            };
            let version = self.load_selected(view, &key, selector)?;
            let count = self.load_gcm_count(view, &key, version.version)?;
            Ok(Some((key, version, count)))
        });
        let (key, version, gcm_count) = match found {
            Ok(Some(found)) => found,
            // It was made between the two looks.
            Ok(None) => return Ok(reasons),
            Err(error) if error.kind() == ErrorKind::KeyNotFound => {
                reasons.push(error.into());
                return Ok(reasons);
            }
            Err(error) => return Err(error),
        };
        act.note_version(version.version);
        if key.object.deletion.is_some() {
            reasons.push(
                Error::new(
                    ErrorKind::KeyNotFound,
                    "this key is deleted; bring it back with recover_deleted_key",
                )
                .into(),
            );
        }
        let VersionRecord {
            attributes, body, ..
        } = &version;
        let backend = self.backend(&body.backend);
        if let Err(absent) = &backend {
            reasons.push(Refusal {
                kind: absent.kind(),
                message: absent.to_string(),
            });
        }
        let now = || now;
        let refusals = policy::refusals(Question {
            tag: body.tag,
            spec: body.spec,
            attributes,
            operation,
            rules: self.rules.get(),
            now: &now,
        });
        reasons.extend(refusals.map(Refusal::from));
        let id = self.identifier(&key.object.name, version.version);
        if let Some(exhausted) = self.gcm_refusal(&id, operation, gcm_count) {
            reasons.push(exhausted.into());
        }
        if let Ok(backend) = backend
            && operation.fits(body.spec)
            && !perform::is_public(operation)
        {
            let able =
                |able: &Capabilities| able.support(body.spec, operation) != Support::Unsupported;
            // It may have gone away after it told what it can do.
            let able = backend
                .check()
                .map(|()| able(&backend.capabilities()))
                .map_err(Error::from);
            match able {
                Ok(true) => {}
                Ok(false) => reasons.push(
                    Error::new(
                        ErrorKind::Unsupported,
                        format!(
                            "the backend {} does not {operation} with keys of {}",
                            backend.id(),
                            body.spec
                        ),
                    )
                    .into(),
                ),
                Err(error) => reasons.push(error.into()),
            }
        }
        Ok(reasons)
    }
}

/// The public operation that does it.
const fn of(operation: CryptoOperation) -> Operation {
    match operation {
        CryptoOperation::Encrypt(_) => Operation::Encrypt,
        CryptoOperation::Decrypt(_) => Operation::Decrypt,
        CryptoOperation::Sign(_) => Operation::Sign,
        CryptoOperation::Verify(_) => Operation::Verify,
        CryptoOperation::WrapKey(_) => Operation::WrapKey,
        CryptoOperation::UnwrapKey(_) => Operation::UnwrapKey,
    }
}
