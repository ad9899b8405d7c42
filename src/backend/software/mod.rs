//! Keys in software: the material stands in the blob, which the vault seals.

use std::fmt;
use std::sync::Arc;

use super::{
    BackendError, BackendErrorKind, BackendId, BackendResult, Capabilities, Encrypted, KeyBackend,
    KeyBlob, KeyCustody, KeyHandle, KeyReference, KeyRequest, KeyTag, NewKey, Support,
};
use crate::crypto::engine::CryptoEngine;
use crate::crypto::public_key::PublicKey;
use crate::crypto::{CryptoError, CryptoKey, CryptoResult, Engine, key_transport, validation};
use crate::env::{Entropy, OsEntropy};
use crate::error::Error;
use crate::format::material;
use crate::model::algorithm::{
    CryptoOperation, EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm,
};
use crate::model::material::KeyMaterial;
use crate::model::release_policy::KeyEncryptionAlgorithm;
use crate::model::spec::{Curve, KeySpec, OctKeyLength, OctKeySize, RsaKeySize};
use crate::secret::{ProtectedBytes, SecretBytes};

/// The backend of the types `RSA`, `EC` and `oct`; its id is `software`.
///
/// Every vault has one. Keys made by one engine work with every other.
pub struct SoftwareBackend {
    id: BackendId,
    engine: Arc<dyn Engine>,
    entropy: Arc<dyn Entropy>,
    capabilities: Arc<Capabilities>,
    protected: bool,
}

impl SoftwareBackend {
    /// The name of the software backend.
    pub const ID: &'static str = "software";

    /// On the RustCrypto crates, with the random generator of the operating system.
    #[must_use]
    pub fn new() -> Self {
        Self::with_entropy(Arc::new(OsEntropy))
    }

    /// The same with another source of random bytes.
    #[must_use]
    pub fn with_entropy(entropy: Arc<dyn Entropy>) -> Self {
        Self {
            id: BackendId::from_static(Self::ID),
            engine: CryptoEngine::RustCrypto.start(Arc::clone(&entropy)),
            entropy,
            capabilities: Arc::new(capabilities()),
            protected: false,
        }
    }

    /// The same on another engine.
    ///
    /// # Examples
    ///
    /// ```
    /// use strongroom::CryptoEngine;
    /// use strongroom::backend::software::SoftwareBackend;
    ///
    /// let backend = SoftwareBackend::new().with_engine(CryptoEngine::RustCrypto);
    /// # drop(backend);
    /// ```
    #[must_use]
    pub fn with_engine(mut self, engine: CryptoEngine) -> Self {
        self.engine = engine.start(Arc::clone(&self.entropy));
        self
    }

    /// Opened keys are bytes in protected memory, and are parsed anew for each operation.
    #[must_use]
    pub(crate) fn protected(mut self) -> Self {
        self.protected = true;
        self
    }

    fn new_key(material: &KeyMaterial) -> BackendResult<NewKey> {
        let blob = material::encode(material).map_err(stored)?;
        Ok(NewKey::new(KeyBlob::new(blob), material.public_parts()))
    }
}

impl Default for SoftwareBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SoftwareBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftwareBackend")
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

/// Every kind of key that software holds.
fn specs() -> impl Iterator<Item = KeySpec> {
    let rsa = RsaKeySize::ALL.into_iter().map(KeySpec::Rsa);
    let ec = Curve::ALL.into_iter().map(KeySpec::Ec);
    let oct = (OctKeyLength::MIN_BYTES..=OctKeyLength::MAX_BYTES)
        .filter_map(|bytes| OctKeyLength::try_from(bytes).ok())
        .map(KeySpec::Oct);
    rsa.chain(ec).chain(oct)
}

fn capabilities() -> Capabilities {
    let mut capabilities = Capabilities::new();
    for spec in specs() {
        for operation in CryptoOperation::all().filter(|operation| operation.fits(spec)) {
            capabilities = capabilities.with(spec, operation, Support::Native);
        }
        capabilities = capabilities.with_import(spec);
    }
    let generated = RsaKeySize::ALL
        .into_iter()
        .map(KeySpec::Rsa)
        .chain(Curve::ALL.into_iter().map(KeySpec::Ec))
        .chain(
            OctKeySize::ALL
                .into_iter()
                .map(|size| KeySpec::Oct(size.into())),
        );
    for spec in generated {
        capabilities = capabilities.with_generation(spec);
    }
    capabilities
}

impl KeyBackend for SoftwareBackend {
    fn id(&self) -> &BackendId {
        &self.id
    }

    fn capabilities(&self) -> Arc<Capabilities> {
        Arc::clone(&self.capabilities)
    }

    fn check(&self) -> BackendResult<()> {
        Ok(())
    }

    fn generate(&self, request: &KeyRequest<'_>) -> BackendResult<NewKey> {
        let material =
            self.engine
                .generate(request.spec, request.public_exponent, &*self.entropy)?;
        Self::new_key(&material)
    }

    fn import(&self, _request: &KeyRequest<'_>, material: &KeyMaterial) -> BackendResult<NewKey> {
        Self::new_key(material)
    }

    fn open(&self, key: &KeyReference<'_>) -> BackendResult<Arc<dyn KeyHandle>> {
        let material = material::decode(key.blob.expose()).map_err(stored)?;
        let public = material
            .public_parts()
            .map(|parts| PublicKey::on(&*self.engine, &parts))
            .transpose()
            .map_err(stored)?;
        let (spec, parsed) = (material.spec(), self.engine.load(&material)?);
        let key = if self.protected {
            Ready::Each {
                blob: ProtectedBytes::copied_from(key.blob.expose()),
                engine: Arc::clone(&self.engine),
            }
        } else {
            Ready::Always(parsed)
        };
        Ok(Arc::new(SoftwareKey { spec, public, key }))
    }

    fn destroy(&self, _tag: KeyTag, _blob: Option<&KeyBlob>) -> BackendResult<()> {
        // The blob was all there is.
        Ok(())
    }

    fn export(&self, key: &KeyReference<'_>) -> BackendResult<KeyBlob> {
        Ok(KeyBlob::new(SecretBytes::copied_from(key.blob.expose())))
    }

    fn custody(&self, _key: &KeyReference<'_>) -> BackendResult<KeyCustody> {
        Ok(KeyCustody::IN_PROCESS)
    }

    fn releases(&self, _spec: KeySpec) -> bool {
        true
    }

    fn release(
        &self,
        key: &KeyReference<'_>,
        target: &PublicKey,
        algorithm: KeyEncryptionAlgorithm,
    ) -> BackendResult<Vec<u8>> {
        let material = material::decode(key.blob.expose()).map_err(stored)?;
        key_transport::wrap(target, algorithm, &material, &*self.entropy)
            .map_err(|error| BackendError::new(BackendErrorKind::Device, error.to_string()))
    }

    fn restore(&self, request: &KeyRequest<'_>, blob: &KeyBlob) -> BackendResult<NewKey> {
        let material = material::decode(blob.expose()).map_err(stored)?;
        let material = validation::validate(material.into(), &*self.entropy)?;
        if material.spec() != request.spec {
            return Err(BackendError::new(
                BackendErrorKind::InvalidInput,
                "the key is of another kind than its record says",
            ));
        }
        Self::new_key(&material)
    }
}

/// What was stored does not read back.
fn stored(error: Error) -> BackendError {
    BackendError::new(BackendErrorKind::InvalidInput, error.to_string())
}

struct SoftwareKey {
    spec: KeySpec,
    public: Option<PublicKey>,
    key: Ready,
}

/// When a key is made ready for use.
enum Ready {
    Always(Box<dyn CryptoKey>),
    /// For each operation, from bytes in protected memory.
    Each {
        blob: ProtectedBytes,
        engine: Arc<dyn Engine>,
    },
}

impl SoftwareKey {
    fn with_key<T>(
        &self,
        operation: impl FnOnce(&dyn CryptoKey) -> CryptoResult<T>,
    ) -> BackendResult<T> {
        match &self.key {
            Ready::Always(key) => Ok(operation(&**key)?),
            Ready::Each { blob, engine } => {
                let material = material::decode(blob.expose()).map_err(stored)?;
                let key = engine.load(&material)?;
                // One copy less while it works.
                drop(material);
                Ok(operation(&*key)?)
            }
        }
    }
}

impl fmt::Debug for SoftwareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftwareKey")
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

impl KeyHandle for SoftwareKey {
    fn spec(&self) -> KeySpec {
        self.spec
    }

    fn public_key(&self) -> Option<&PublicKey> {
        self.public.as_ref()
    }

    fn sign(&self, algorithm: SignatureAlgorithm, digest: &[u8]) -> BackendResult<Vec<u8>> {
        self.with_key(|key| key.sign(algorithm, digest))
    }

    fn sign_deterministic(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
    ) -> BackendResult<Vec<u8>> {
        self.with_key(|key| key.sign_deterministic(algorithm, digest))
    }

    fn verify(&self, algorithm: SignatureAlgorithm, data: &[u8], mac: &[u8]) -> BackendResult<()> {
        self.with_key(|key| key.verify(algorithm, data, mac))
    }

    fn encrypt(
        &self,
        algorithm: EncryptionAlgorithm,
        plaintext: &[u8],
        iv: &[u8],
        aad: &[u8],
    ) -> BackendResult<Encrypted> {
        self.with_key(|key| key.encrypt(algorithm, plaintext, iv, aad))
    }

    fn decrypt(
        &self,
        algorithm: EncryptionAlgorithm,
        ciphertext: &[u8],
        iv: &[u8],
        aad: &[u8],
        tag: &[u8],
    ) -> BackendResult<SecretBytes> {
        self.with_key(|key| key.decrypt(algorithm, ciphertext, iv, aad, tag))
    }

    fn wrap_key(&self, algorithm: WrapAlgorithm, key: &[u8]) -> BackendResult<Vec<u8>> {
        self.with_key(|own| own.wrap_key(algorithm, key))
    }

    fn unwrap_key(&self, algorithm: WrapAlgorithm, wrapped: &[u8]) -> BackendResult<SecretBytes> {
        self.with_key(|key| key.unwrap_key(algorithm, wrapped))
    }
}

impl From<CryptoError> for BackendError {
    fn from(error: CryptoError) -> Self {
        let kind = match &error {
            CryptoError::Unsupported => BackendErrorKind::Unsupported,
            CryptoError::InvalidInput(_) | CryptoError::InvalidKey(_) => {
                BackendErrorKind::InvalidInput
            }
            CryptoError::InvalidSignature => BackendErrorKind::InvalidSignature,
            CryptoError::DecryptFailed => BackendErrorKind::DecryptFailed,
            CryptoError::Random(_) | CryptoError::Internal(_) => BackendErrorKind::Device,
        };
        Self::new(kind, error.to_string())
    }
}
