//! A token opens a vault: it wraps the secret of a slot under a key that never leaves it.

use std::fmt;
use std::sync::Arc;

use cryptoki_sys::{CKA_PRIVATE, CKA_VALUE_LEN};
use subtle::ConstantTimeEq;

use super::attributes::{
    Custody, Permissions, aes_key, private_key, public_parts, require_rsa, rsa_public,
};
use super::connection::Connection;
use super::error::{ErrorClass, TokenError, TokenResult};
use super::handles::ObjectClass;
use super::known_answers::internal;
use super::lease::Lease;
use super::mechanism::{Mechanism, Ulong};
use super::objects::find_by_id;
use super::operations::{RsaOpening, decrypt, encrypt};
use super::own_keys::{OwnKeys, is, is_kept};
use super::profile::Profile;
use super::raw::ObjectHandle;
use super::routes::Route;
use super::token::Retry;
use super::trials::Trials;
use super::{Pkcs11Backend, Pkcs11Options};
use crate::backend::{BackendError, BackendErrorKind, BackendResult};
use crate::crypto::hash::Hasher;
use crate::crypto::limits::DEFAULT_RSA_EXPONENT;
use crate::crypto::public_key::PublicKey;
use crate::env::Entropy;
use crate::error::Result;
use crate::format::slot::SlotKind;
use crate::model::algorithm::{AesMode, CryptoOperation, EncryptionAlgorithm, HashAlgorithm};
use crate::model::material::PublicParts;
use crate::model::operation::KeyOperation;
use crate::model::spec::{KeySpec, OctKeyLength, OctKeySize, RsaKeySize};
use crate::seal::slot::{KeptSecret, Provided, ProvidedSlot, SlotProvider, Unlock};
use crate::secret::{Key32, SecretBytes};

/// The labels of keys that the library makes. They name no vault: all vaults that the token opens share them.
const AES_LABEL: &str = "strongroom/unlock/aes";
const RSA_LABEL: &str = "strongroom/unlock/rsa";

const IV_LENGTH: usize = 12;
const TAG_LENGTH: usize = 16;
/// IV, ciphertext of 32 bytes, tag.
const GCM_LENGTH: usize = IV_LENGTH + 32 + TAG_LENGTH;

/// RSA keys that the library makes, and the smallest that it uses.
const RSA_SIZE: RsaKeySize = RsaKeySize::Bits3072;
const OAEP: EncryptionAlgorithm = EncryptionAlgorithm::RsaOaep256;
const GCM: EncryptionAlgorithm = EncryptionAlgorithm::A256Gcm;

/// Unlocks a vault with a token: `Unlock::from(&token)`.
///
/// The token wraps the 32 random bytes of a slot under an AES-256 key of its own, with AES-GCM, and nobody takes that
/// key out: to unlock the vault takes its directory, this token and its PIN. The key is made when the first slot is
/// (label `strongroom/unlock/aes`), or is one that [`TokenUnlock::key_label`] names. All vaults that the token opens
/// share it.
///
/// A token without AES-GCM does it by RSA-OAEP (SHA-256) with an RSA key of 3072 bits or more
/// (`strongroom/unlock/rsa`). Anyone who has the public half can make such a slot, and a vault around it; so it
/// opens only together with [`VaultOptions::expect_root`](crate::VaultOptions::expect_root). Nothing weaker is used.
///
/// **A token that is lost, initialised anew or locked is a vault lost,** unless something else unlocks it, too. So the
/// vault insists on another slot, but for
/// [`VaultOptions::allow_sole_device_slot`](crate::VaultOptions::allow_sole_device_slot).
///
/// The same token may keep keys of the same vault: [`TokenUnlock::of`] shares the backend's sessions, PIN and
/// memory of refused PINs.
///
/// # Errors of opening
///
/// [`BackendUnavailable`](crate::ErrorKind::BackendUnavailable) while the token is away,
/// [`BackendAuthentication`](crate::ErrorKind::BackendAuthentication) when it refuses the PIN;
/// [`WrongKey`](crate::ErrorKind::WrongKey) when no slot of the vault belongs to this token and its keys, or the slot
/// was altered.
///
/// # Examples
///
/// ```no_run
/// use strongroom::backend::pkcs11::{Pkcs11Options, PinSource, TokenSelector, TokenUnlock};
/// use strongroom::{Passphrase, Pin, Unlock, VaultOptions};
///
/// let token = TokenUnlock::new(Pkcs11Options::new(
///     "/usr/lib/softhsm/libsofthsm2.so",
///     TokenSelector::Label("unlock".to_owned()),
///     PinSource::value(Pin::new("1234-5678")?),
/// ));
/// let recovery = Passphrase::new("correct horse battery staple")?;
/// let vault = VaultOptions::new().create("/var/lib/app/vault", Unlock::passphrase(&recovery))?;
/// vault.add_unlock_slot(Unlock::passphrase(&recovery), Unlock::from(&token))?;
/// vault.close()?;
///
/// let vault = VaultOptions::new().open("/var/lib/app/vault", Unlock::from(&token))?;
/// # Ok::<(), strongroom::Error>(())
/// ```
#[derive(Clone)]
pub struct TokenUnlock {
    connection: Arc<Connection>,
    label: Option<Box<str>>,
}

impl TokenUnlock {
    /// With the token of these options, which is not touched yet. What they say about keys of a backend is of no
    /// consequence here.
    #[must_use]
    pub fn new(options: Pkcs11Options) -> Self {
        Self {
            connection: options.into_connection(),
            label: None,
        }
    }

    /// With the token of a backend, through the same sessions.
    #[must_use]
    pub fn of(backend: &Pkcs11Backend) -> Self {
        Self {
            connection: Arc::clone(&backend.connection),
            label: None,
        }
    }

    /// Uses a key with this label (CKA_LABEL) and makes none: for tokens that an officer has prepared. It has to be
    /// AES of 256 bits that encrypts and decrypts (RSA of at least 3072 bits that decrypts, where the token has no
    /// AES-GCM), private, sensitive, never extractable, and have an id (CKA_ID).
    #[must_use]
    pub fn key_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into().into_boxed_str());
        self
    }

    fn keys(&self, kind: SlotKind) -> OwnKeys<'_> {
        let (class, default) = match kind {
            SlotKind::Pkcs11RsaOaep => (ObjectClass::Private, RSA_LABEL),
            _ => (ObjectClass::Secret, AES_LABEL),
        };
        OwnKeys {
            class,
            label: self.label.as_deref().unwrap_or(default),
        }
    }

    fn wrap(
        &self,
        secret: &Key32,
        context: &[u8; 32],
        entropy: &dyn Entropy,
    ) -> BackendResult<KeptSecret> {
        let profile = self.connection.settled_profile()?;
        let (kind, kept, id) = if has_gcm(&profile) {
            let (kept, id) = self.wrap_by_gcm(&profile, secret, context, entropy)?;
            (SlotKind::Pkcs11AesGcm, kept, id)
        } else if let Some(route) = oaep_route(&profile, RSA_SIZE) {
            let (kept, id) = self.wrap_by_oaep(&profile, route, secret, entropy)?;
            (SlotKind::Pkcs11RsaOaep, kept, id)
        } else {
            return Err(BackendError::new(
                BackendErrorKind::Unsupported,
                "the token has neither AES-GCM nor RSA-OAEP with SHA-256, so it cannot unlock a vault",
            ));
        };
        Ok(KeptSecret {
            kind,
            tag: tag(self.connection.serial()?, &id),
            kept,
        })
    }

    /// What is kept, and the id of the key. It was unwrapped once before it is believed.
    fn wrap_by_gcm(
        &self,
        profile: &Profile,
        secret: &Key32,
        context: &[u8; 32],
        entropy: &dyn Entropy,
    ) -> TokenResult<(Vec<u8>, Vec<u8>)> {
        let keys = self.keys(SlotKind::Pkcs11AesGcm);
        let make = |lease: &Lease<'_>, id: &_| {
            let custody = custody(profile, id, keys.label);
            let operations = [KeyOperation::Encrypt, KeyOperation::Decrypt].into();
            let routes = profile.routes.of(aes_256());
            let permissions = Permissions::new(&routes, operations, |route| route == Route::Gcm);
            let template = aes_key(Some(32), &custody, &permissions);
            lease
                .generate_key(&Mechanism::AesKeyGen, &template)
                .map(drop)
        };
        self.use_current(keys, &make, |lease, key| {
            let length = lease.get_attribute(key, CKA_VALUE_LEN)?;
            if length.is_some_and(|length| length != Ulong::to_ne_bytes(32)) {
                return Ok(None);
            }
            let kept = gcm_wrap(lease, key, secret, context, entropy)?;
            Ok(is_same(&gcm_unwrap(lease, key, &kept, context)?, secret).then_some(kept))
        })
    }

    fn wrap_by_oaep(
        &self,
        profile: &Profile,
        route: Route,
        secret: &Key32,
        entropy: &dyn Entropy,
    ) -> TokenResult<(Vec<u8>, Vec<u8>)> {
        let keys = self.keys(SlotKind::Pkcs11RsaOaep);
        let make = |lease: &Lease<'_>, id: &_| {
            let custody = custody(profile, id, keys.label);
            let routes = [(CryptoOperation::Decrypt(OAEP), route)];
            let permissions = Permissions::new(&routes, [KeyOperation::Decrypt].into(), |_| true);
            let (public, private) = lease.generate_key_pair(
                &Mechanism::RsaPkcsKeyPairGen,
                &rsa_public(RSA_SIZE, DEFAULT_RSA_EXPONENT),
                &private_key(None, &custody, &permissions),
            )?;
            let right = public_parts(lease, public, None)
                .and_then(|parts| require_rsa(&parts, RSA_SIZE, DEFAULT_RSA_EXPONENT));
            lease.destroy_object(public)?;
            if right.is_err() {
                lease.destroy_object(private)?;
            }
            right
        };
        self.use_current(keys, &make, |lease, key| {
            let parts = public_parts(lease, key, None)?;
            let Some(size) = size_of(&parts) else {
                return Ok(None);
            };
            let kept = PublicKey::from_parts(&parts)
                .and_then(|public| public.encrypt_with(OAEP, secret.expose(), entropy))
                .map_err(internal)?;
            let opened = oaep_unwrap(lease, key, route, &parts, size, &kept)?;
            Ok(is_same(&opened, secret).then_some(kept))
        })
    }

    /// Wraps under the key for new slots, which is made if need be: what `wrap` gives, and the id of the key. `wrap`
    /// gives `None` for a key that is not fit.
    fn use_current(
        &self,
        keys: OwnKeys<'_>,
        make: super::own_keys::Make<'_>,
        wrap: impl Fn(&Lease<'_>, ObjectHandle) -> TokenResult<Option<Vec<u8>>>,
    ) -> TokenResult<(Vec<u8>, Vec<u8>)> {
        let token = self.connection.token();
        let trials = Trials::new(token);
        let mut kept = None;
        let make = self.label.is_none().then_some(make);
        let chosen = keys.current(token, make, |candidate| {
            kept = trials
                .run(|lease| {
                    let key = find_by_id(lease, &candidate.id, keys.class)?;
                    let guarded =
                        is_kept(lease, key)? && is(lease, key, CKA_PRIVATE, true)? == Some(true);
                    if guarded { wrap(lease, key) } else { Ok(None) }
                })?
                .flatten();
            Ok(kept.is_some())
        })?;
        let kept = kept.ok_or_else(|| internal("a key was chosen that wrapped nothing"))?;
        Ok((kept, chosen.id))
    }

    fn unwrap(&self, slot: &ProvidedSlot<'_>) -> BackendResult<Provided> {
        let token = self.connection.token();
        let serial = self.connection.serial()?;
        let keys = self.keys(slot.kind);
        let id = token.run(Retry::Safe, |lease| {
            let (ids, _) = keys.existing(lease)?;
            if ids.is_empty() {
                // A token that is gone finds nothing either.
                lease.health()?;
            }
            Ok(ids.into_iter().find(|id| tag(serial, id) == *slot.tag))
        })?;
        let Some(id) = id else {
            return Ok(Provided::Foreign(format!(
                "the vault's slot for a token belongs to another token than the one with serial number {serial}, or to a \
                 key that this one does not have (any more); use the right token, or another way to unlock"
            )));
        };
        let open = || match slot.kind {
            SlotKind::Pkcs11RsaOaep => self.unwrap_by_oaep(&id, slot.kept),
            _ => Ok(token.run(Retry::Safe, |lease| {
                let key = find_by_id(lease, &id, keys.class)?;
                gcm_unwrap(lease, key, slot.kept, slot.context)
            })?),
        };
        let opened = match open() {
            // Of a decryption nobody sees why it failed, so a passing trouble may look like this.
            Err(error) if error.kind() == BackendErrorKind::DecryptFailed => open(),
            opened => opened,
        };
        match opened {
            Ok(secret) => {
                Ok(Key32::copied_from(secret.expose()).map_or(Provided::Refused, Provided::Secret))
            }
            Err(error) if error.kind() == BackendErrorKind::DecryptFailed => Ok(Provided::Refused),
            Err(error) => Err(error),
        }
    }

    fn unwrap_by_oaep(&self, id: &[u8], kept: &[u8]) -> BackendResult<SecretBytes> {
        let profile = self.connection.profile()?;
        Ok(self.connection.token().run(Retry::Safe, |lease| {
            let key = find_by_id(lease, id, ObjectClass::Private)?;
            let parts = public_parts(lease, key, None)?;
            let found = size_of(&parts).and_then(|size| Some((size, oaep_route(&profile, size)?)));
            let Some((size, route)) = found else {
                return Err(TokenError::new(ErrorClass::Unsupported, "C_Decrypt"));
            };
            oaep_unwrap(lease, key, route, &parts, size, kept)
        })?)
    }
}

impl SlotProvider for TokenUnlock {
    fn keep(
        &self,
        secret: &Key32,
        context: &[u8; 32],
        entropy: &dyn Entropy,
    ) -> Result<KeptSecret> {
        Ok(self.wrap(secret, context, entropy)?)
    }

    fn serves(&self, kind: SlotKind) -> bool {
        matches!(kind, SlotKind::Pkcs11AesGcm | SlotKind::Pkcs11RsaOaep)
    }

    fn open(&self, slot: &ProvidedSlot<'_>) -> Result<Provided> {
        Ok(self.unwrap(slot)?)
    }
}

impl<'a> From<&'a TokenUnlock> for Unlock<'a> {
    fn from(token: &'a TokenUnlock) -> Self {
        Self::provider(token)
    }
}

impl fmt::Debug for TokenUnlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenUnlock")
            .field("connection", &self.connection)
            .field("label", &self.label)
            .finish()
    }
}

fn custody<'a>(profile: &Profile, id: &'a crate::backend::KeyTag, label: &'a str) -> Custody<'a> {
    Custody {
        named: Some((id, label)),
        limit_mechanisms: profile.limits_mechanisms,
        ..Custody::PROBE
    }
}

/// Tells tokens and their keys apart without naming either.
fn tag(serial: &str, id: &[u8]) -> [u8; 16] {
    let mut hasher = Hasher::new(HashAlgorithm::Sha512);
    hasher.update(b"strongroom/v1/token\0");
    hasher.update(&(serial.len() as u64).to_be_bytes());
    hasher.update(serial.as_bytes());
    hasher.update(id);
    let mut tag = [0; 16];
    tag.copy_from_slice(&hasher.finish()[..16]);
    tag
}

fn aes_256() -> KeySpec {
    KeySpec::Oct(OctKeyLength::from(OctKeySize::Bits256))
}

/// Whether the token itself does AES-256-GCM, as known answers have shown.
fn has_gcm(profile: &Profile) -> bool {
    let routes = profile.routes.of(aes_256());
    [CryptoOperation::Encrypt(GCM), CryptoOperation::Decrypt(GCM)]
        .into_iter()
        .all(|operation| routes.contains(&(operation, Route::Gcm)))
}

/// How the token opens RSA-OAEP with SHA-256.
fn oaep_route(profile: &Profile, size: RsaKeySize) -> Option<Route> {
    let routes = profile.routes.of(KeySpec::Rsa(size));
    let mut routes = routes.into_iter();
    routes
        .find(|(operation, _)| *operation == CryptoOperation::Decrypt(OAEP))
        .map(|(_, route)| route)
}

/// The size of an RSA key that is long enough.
fn size_of(parts: &PublicParts) -> Option<RsaKeySize> {
    let PublicParts::Rsa { n, .. } = parts else {
        return None;
    };
    [RsaKeySize::Bits3072, RsaKeySize::Bits4096]
        .into_iter()
        .find(|size| size.modulus_length() == n.len())
}

fn is_same(opened: &SecretBytes, secret: &Key32) -> bool {
    opened.expose().ct_eq(secret.expose().as_slice()).into()
}

/// IV ‖ ciphertext ‖ tag.
fn gcm_wrap(
    lease: &Lease<'_>,
    key: ObjectHandle,
    secret: &Key32,
    context: &[u8; 32],
    entropy: &dyn Entropy,
) -> TokenResult<Vec<u8>> {
    let mut iv = [0; IV_LENGTH];
    entropy.fill(&mut iv).map_err(internal)?;
    let (ciphertext, tag) =
        encrypt(lease, key, AesMode::Gcm, secret.expose(), &iv, context)?.into_parts();
    let tag = tag.ok_or_else(|| internal("GCM gave no tag"))?;
    Ok([&iv[..], &ciphertext, &tag].concat())
}

/// Errors: `DecryptFailed` for what [`gcm_wrap`] did not make with this key and context.
fn gcm_unwrap(
    lease: &Lease<'_>,
    key: ObjectHandle,
    kept: &[u8],
    context: &[u8; 32],
) -> TokenResult<SecretBytes> {
    if kept.len() != GCM_LENGTH {
        return Err(TokenError::new(ErrorClass::DecryptFailed, "C_Decrypt"));
    }
    let (iv, sealed) = kept.split_at(IV_LENGTH);
    let (ciphertext, tag) = sealed.split_at(sealed.len() - TAG_LENGTH);
    decrypt(lease, key, AesMode::Gcm, ciphertext, iv, context, tag)
}

fn oaep_unwrap(
    lease: &Lease<'_>,
    key: ObjectHandle,
    route: Route,
    parts: &PublicParts,
    size: RsaKeySize,
    kept: &[u8],
) -> TokenResult<SecretBytes> {
    RsaOpening::new(route, parts, size, OAEP.as_str(), kept, None)
        .map_err(|_| TokenError::new(ErrorClass::DecryptFailed, "C_Decrypt"))?
        .run(lease, key)
}
