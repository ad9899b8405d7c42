//! Algorithms by their JWA names, and the one table that says which key does which.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::operation::{KeyOperation, KeyOperations};
use super::spec::{Curve, KeyFamily, KeySpec, OctKeySize};
use crate::error::{Error, Result};

/// Defines an algorithm enum with its JWA names, in one list.
macro_rules! algorithms {
    (
        $(#[$enum_doc:meta])*
        $name:ident, $what:literal { $( $(#[$doc:meta])* $variant:ident = $text:literal, )+ }
    ) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$doc])* #[serde(rename = $text)] $variant, )+
        }

        impl $name {
            /// All algorithms of this kind.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// The name in JWA and on Azure's wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|algorithm| algorithm.as_str() == text)
                    .ok_or_else(|| {
                        Error::bad_parameter(concat!("unknown ", $what, " algorithm; the names are those of JWA and are compared with case"))
                    })
            }
        }
    };
}

algorithms! {
    /// How a digest is signed.
    SignatureAlgorithm, "signature" {
        /// RSASSA-PKCS1-v1_5 with SHA-256; digest 32 bytes.
        Rs256 = "RS256",
        /// RSASSA-PKCS1-v1_5 with SHA-384; digest 48 bytes.
        Rs384 = "RS384",
        /// RSASSA-PKCS1-v1_5 with SHA-512; digest 64 bytes.
        Rs512 = "RS512",
        /// RSASSA-PSS with SHA-256, MGF1 with SHA-256, 32 bytes of salt; digest 32 bytes.
        Ps256 = "PS256",
        /// RSASSA-PSS with SHA-384, MGF1 with SHA-384, 48 bytes of salt; digest 48 bytes.
        Ps384 = "PS384",
        /// RSASSA-PSS with SHA-512, MGF1 with SHA-512, 64 bytes of salt; digest 64 bytes.
        Ps512 = "PS512",
        /// ECDSA on P-256 with SHA-256; digest 32 bytes, signature `r ‖ s` of 64 bytes.
        Es256 = "ES256",
        /// ECDSA on P-384 with SHA-384; digest 48 bytes, signature `r ‖ s` of 96 bytes.
        Es384 = "ES384",
        /// ECDSA on P-521 with SHA-512; digest 64 bytes, signature `r ‖ s` of 132 bytes.
        Es512 = "ES512",
        /// ECDSA on P-256K with SHA-256; digest 32 bytes, signature `r ‖ s` of 64 bytes with low `s`.
        Es256K = "ES256K",
        /// HMAC with SHA-256 over the bytes given; MAC of 32 bytes.
        Hs256 = "HS256",
        /// HMAC with SHA-384 over the bytes given; MAC of 48 bytes.
        Hs384 = "HS384",
        /// HMAC with SHA-512 over the bytes given; MAC of 64 bytes.
        Hs512 = "HS512",
        /// PKCS#1 v1.5 padding of the value itself, without DigestInfo. It signs anything, so a vault
        /// refuses it until its settings allow it.
        RsNull = "RSNULL",
    }
}

algorithms! {
    /// How data are encrypted.
    EncryptionAlgorithm, "encryption" {
        /// RSAES-OAEP with SHA-1, MGF1 with SHA-1 and an empty label. Kept for compatibility.
        RsaOaep = "RSA-OAEP",
        /// RSAES-OAEP with SHA-256, MGF1 with SHA-256 and an empty label.
        RsaOaep256 = "RSA-OAEP-256",
        /// RSAES-PKCS1-v1_5. Kept for compatibility; decryption rejects implicitly, so a wrong
        /// ciphertext gives pseudo-random bytes and never an error.
        Rsa1_5 = "RSA1_5",
        /// AES-128-GCM: IV 12 bytes, tag 16 bytes.
        A128Gcm = "A128GCM",
        /// AES-192-GCM: IV 12 bytes, tag 16 bytes.
        A192Gcm = "A192GCM",
        /// AES-256-GCM: IV 12 bytes, tag 16 bytes.
        A256Gcm = "A256GCM",
        /// AES-128-CBC without padding: IV 16 bytes, data a whole number of 16-byte blocks. Not authenticated.
        A128Cbc = "A128CBC",
        /// AES-192-CBC without padding: IV 16 bytes, data a whole number of 16-byte blocks. Not authenticated.
        A192Cbc = "A192CBC",
        /// AES-256-CBC without padding: IV 16 bytes, data a whole number of 16-byte blocks. Not authenticated.
        A256Cbc = "A256CBC",
        /// AES-128-CBC with PKCS#7 padding: IV 16 bytes. Not authenticated.
        A128CbcPad = "A128CBCPAD",
        /// AES-192-CBC with PKCS#7 padding: IV 16 bytes. Not authenticated.
        A192CbcPad = "A192CBCPAD",
        /// AES-256-CBC with PKCS#7 padding: IV 16 bytes. Not authenticated.
        A256CbcPad = "A256CBCPAD",
    }
}

algorithms! {
    /// How another key is wrapped.
    WrapAlgorithm, "key wrap" {
        /// RSAES-OAEP with SHA-1, MGF1 with SHA-1 and an empty label. Kept for compatibility.
        RsaOaep = "RSA-OAEP",
        /// RSAES-OAEP with SHA-256, MGF1 with SHA-256 and an empty label.
        RsaOaep256 = "RSA-OAEP-256",
        /// RSAES-PKCS1-v1_5. Kept for compatibility; unwrapping rejects implicitly, so a wrong
        /// wrapped key gives pseudo-random bytes and never an error.
        Rsa1_5 = "RSA1_5",
        /// AES Key Wrap (RFC 3394) with a 128-bit key; input a multiple of 8 bytes, 16 or more.
        A128Kw = "A128KW",
        /// AES Key Wrap (RFC 3394) with a 192-bit key; input a multiple of 8 bytes, 16 or more.
        A192Kw = "A192KW",
        /// AES Key Wrap (RFC 3394) with a 256-bit key; input a multiple of 8 bytes, 16 or more.
        A256Kw = "A256KW",
        /// AES Key Wrap with Padding (RFC 5649) with a 128-bit key; input of 1 byte or more.
        A128KwPad = "A128KWPAD",
        /// AES Key Wrap with Padding (RFC 5649) with a 192-bit key; input of 1 byte or more.
        A192KwPad = "A192KWPAD",
        /// AES Key Wrap with Padding (RFC 5649) with a 256-bit key; input of 1 byte or more.
        A256KwPad = "A256KWPAD",
        /// AES Key Wrap (RFC 3394) with an AES key of any size.
        CkmAesKeyWrap = "CKM_AES_KEY_WRAP",
        /// AES Key Wrap with Padding (RFC 5649) with an AES key of any size.
        CkmAesKeyWrapPad = "CKM_AES_KEY_WRAP_PAD",
    }
}

/// A hash function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashAlgorithm {
    /// Length of a digest in bytes.
    #[must_use]
    pub const fn digest_length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl SignatureAlgorithm {
    /// The hash of the digest that `sign` takes and `sign_data` computes; `None` for RSNULL, which
    /// takes a value, and for HS256, HS384 and HS512, which take the bytes themselves.
    #[must_use]
    pub const fn digest(self) -> Option<HashAlgorithm> {
        match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 | Self::Es256K => Some(HashAlgorithm::Sha256),
            Self::Rs384 | Self::Ps384 | Self::Es384 => Some(HashAlgorithm::Sha384),
            Self::Rs512 | Self::Ps512 | Self::Es512 => Some(HashAlgorithm::Sha512),
            Self::Hs256 | Self::Hs384 | Self::Hs512 | Self::RsNull => None,
        }
    }

    /// The hash inside HMAC for HS256, HS384 and HS512.
    #[must_use]
    pub const fn hmac(self) -> Option<HashAlgorithm> {
        match self {
            Self::Hs256 => Some(HashAlgorithm::Sha256),
            Self::Hs384 => Some(HashAlgorithm::Sha384),
            Self::Hs512 => Some(HashAlgorithm::Sha512),
            _ => None,
        }
    }

    /// The curve of ES256, ES384, ES512 and ES256K.
    #[must_use]
    pub const fn curve(self) -> Option<Curve> {
        match self {
            Self::Es256 => Some(Curve::P256),
            Self::Es384 => Some(Curve::P384),
            Self::Es512 => Some(Curve::P521),
            Self::Es256K => Some(Curve::P256K),
            _ => None,
        }
    }

    const fn needs(self) -> Needs {
        match self {
            Self::Rs256
            | Self::Rs384
            | Self::Rs512
            | Self::Ps256
            | Self::Ps384
            | Self::Ps512
            | Self::RsNull => Needs::Rsa,
            Self::Es256 => Needs::Curve(Curve::P256),
            Self::Es384 => Needs::Curve(Curve::P384),
            Self::Es512 => Needs::Curve(Curve::P521),
            Self::Es256K => Needs::Curve(Curve::P256K),
            Self::Hs256 | Self::Hs384 | Self::Hs512 => Needs::Oct,
        }
    }
}

/// The mode in which an [`EncryptionAlgorithm`] uses AES.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum AesMode {
    Gcm,
    Cbc,
    CbcPad,
}

impl EncryptionAlgorithm {
    pub(crate) const fn aes_mode(self) -> Option<AesMode> {
        match self {
            Self::RsaOaep | Self::RsaOaep256 | Self::Rsa1_5 => None,
            Self::A128Gcm | Self::A192Gcm | Self::A256Gcm => Some(AesMode::Gcm),
            Self::A128Cbc | Self::A192Cbc | Self::A256Cbc => Some(AesMode::Cbc),
            Self::A128CbcPad | Self::A192CbcPad | Self::A256CbcPad => Some(AesMode::CbcPad),
        }
    }

    /// Length of the IV in bytes: 12 for GCM, 16 for CBC, none for RSA.
    #[must_use]
    pub const fn iv_length(self) -> Option<usize> {
        match self.aes_mode() {
            None => None,
            Some(AesMode::Gcm) => Some(12),
            Some(AesMode::Cbc | AesMode::CbcPad) => Some(16),
        }
    }

    /// Whether additional authenticated data and a tag belong to the algorithm.
    #[must_use]
    pub const fn is_authenticated(self) -> bool {
        matches!(self.aes_mode(), Some(AesMode::Gcm))
    }

    /// Whether the algorithm is kept for compatibility only: RSA-OAEP, RSA1_5 and unauthenticated CBC.
    #[must_use]
    pub const fn is_discouraged(self) -> bool {
        !matches!(
            self,
            Self::RsaOaep256 | Self::A128Gcm | Self::A192Gcm | Self::A256Gcm
        )
    }

    const fn needs(self) -> Needs {
        match self {
            Self::RsaOaep | Self::RsaOaep256 | Self::Rsa1_5 => Needs::Rsa,
            Self::A128Gcm | Self::A128Cbc | Self::A128CbcPad => Needs::Aes(OctKeySize::Bits128),
            Self::A192Gcm | Self::A192Cbc | Self::A192CbcPad => Needs::Aes(OctKeySize::Bits192),
            Self::A256Gcm | Self::A256Cbc | Self::A256CbcPad => Needs::Aes(OctKeySize::Bits256),
        }
    }
}

impl WrapAlgorithm {
    /// Whether the algorithm is AES Key Wrap with Padding (RFC 5649), which takes any length from 1 byte.
    #[must_use]
    pub const fn is_padded_key_wrap(self) -> bool {
        matches!(
            self,
            Self::A128KwPad | Self::A192KwPad | Self::A256KwPad | Self::CkmAesKeyWrapPad
        )
    }

    /// Whether the algorithm is kept for compatibility only: RSA-OAEP and RSA1_5.
    #[must_use]
    pub const fn is_discouraged(self) -> bool {
        matches!(self, Self::RsaOaep | Self::Rsa1_5)
    }

    const fn needs(self) -> Needs {
        match self {
            Self::RsaOaep | Self::RsaOaep256 | Self::Rsa1_5 => Needs::Rsa,
            Self::A128Kw | Self::A128KwPad => Needs::Aes(OctKeySize::Bits128),
            Self::A192Kw | Self::A192KwPad => Needs::Aes(OctKeySize::Bits192),
            Self::A256Kw | Self::A256KwPad => Needs::Aes(OctKeySize::Bits256),
            Self::CkmAesKeyWrap | Self::CkmAesKeyWrapPad => Needs::AnyAes,
        }
    }
}

/// What an algorithm demands of a key.
#[derive(Clone, Copy)]
enum Needs {
    Rsa,
    Curve(Curve),
    Aes(OctKeySize),
    AnyAes,
    Oct,
}

impl Needs {
    /// The one compatibility table.
    fn met_by(self, spec: KeySpec) -> bool {
        match (self, spec) {
            (Self::Rsa, KeySpec::Rsa(_)) | (Self::Oct, KeySpec::Oct(_)) => true,
            (Self::Curve(needed), KeySpec::Ec(curve)) => needed == curve,
            (Self::Aes(needed), KeySpec::Oct(length)) => length.aes() == Some(needed),
            (Self::AnyAes, KeySpec::Oct(length)) => length.aes().is_some(),
            _ => false,
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Rsa => "an RSA key".to_owned(),
            Self::Curve(curve) => format!("a key on curve {curve}"),
            Self::Aes(size) => format!("a symmetric key of {} bits", size.bits()),
            Self::AnyAes => "a symmetric key of 128, 192 or 256 bits".to_owned(),
            Self::Oct => "a symmetric key".to_owned(),
        }
    }
}

/// A cryptographic operation with its algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "the six operations of the service")]
pub enum CryptoOperation {
    /// Encrypt data.
    Encrypt(EncryptionAlgorithm),
    /// Decrypt data.
    Decrypt(EncryptionAlgorithm),
    /// Sign a digest.
    Sign(SignatureAlgorithm),
    /// Verify a signature.
    Verify(SignatureAlgorithm),
    /// Wrap a key.
    WrapKey(WrapAlgorithm),
    /// Unwrap a key.
    UnwrapKey(WrapAlgorithm),
}

impl CryptoOperation {
    /// Every operation with every algorithm.
    pub fn all() -> impl Iterator<Item = Self> {
        let encryption = EncryptionAlgorithm::ALL
            .iter()
            .flat_map(|algorithm| [Self::Encrypt(*algorithm), Self::Decrypt(*algorithm)]);
        let signature = SignatureAlgorithm::ALL
            .iter()
            .flat_map(|algorithm| [Self::Sign(*algorithm), Self::Verify(*algorithm)]);
        let wrap = WrapAlgorithm::ALL
            .iter()
            .flat_map(|algorithm| [Self::WrapKey(*algorithm), Self::UnwrapKey(*algorithm)]);
        encryption.chain(signature).chain(wrap)
    }

    /// The operation as `key_ops` names it.
    #[must_use]
    pub const fn operation(self) -> KeyOperation {
        match self {
            Self::Encrypt(_) => KeyOperation::Encrypt,
            Self::Decrypt(_) => KeyOperation::Decrypt,
            Self::Sign(_) => KeyOperation::Sign,
            Self::Verify(_) => KeyOperation::Verify,
            Self::WrapKey(_) => KeyOperation::WrapKey,
            Self::UnwrapKey(_) => KeyOperation::UnwrapKey,
        }
    }

    /// The algorithm's JWA name.
    #[must_use]
    pub const fn algorithm(self) -> &'static str {
        match self {
            Self::Encrypt(algorithm) | Self::Decrypt(algorithm) => algorithm.as_str(),
            Self::Sign(algorithm) | Self::Verify(algorithm) => algorithm.as_str(),
            Self::WrapKey(algorithm) | Self::UnwrapKey(algorithm) => algorithm.as_str(),
        }
    }

    /// Whether a key of this kind can do it at all.
    #[must_use]
    #[inline]
    pub fn fits(self, spec: KeySpec) -> bool {
        self.needs().met_by(spec)
    }

    /// What kind of key it takes, for an error message.
    pub(crate) fn needed_key(self) -> String {
        self.needs().describe()
    }

    const fn needs(self) -> Needs {
        match self {
            Self::Encrypt(algorithm) | Self::Decrypt(algorithm) => algorithm.needs(),
            Self::Sign(algorithm) | Self::Verify(algorithm) => algorithm.needs(),
            Self::WrapKey(algorithm) | Self::UnwrapKey(algorithm) => algorithm.needs(),
        }
    }
}

impl fmt::Display for CryptoOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {}", self.operation(), self.algorithm())
    }
}

impl KeySpec {
    /// The operations that some algorithm offers for such a key, and so the ones that its `key_ops` may list.
    #[must_use]
    pub fn possible_operations(self) -> KeyOperations {
        let crypto: KeyOperations = CryptoOperation::all()
            .filter(|operation| operation.fits(self))
            .map(CryptoOperation::operation)
            .collect();
        match self.family() {
            // Azure marks a key that protects imports with the lone operation `import`.
            KeyFamily::Rsa => crypto.with(KeyOperation::Import).with(KeyOperation::Export),
            KeyFamily::Ec | KeyFamily::Oct => crypto.with(KeyOperation::Export),
        }
    }

    /// The `key_ops` of a key that is created or imported without any.
    #[must_use]
    pub fn default_operations(self) -> KeyOperations {
        use KeyOperation::{Decrypt, Encrypt, Sign, UnwrapKey, Verify, WrapKey};
        match self {
            Self::Rsa(_) => [Encrypt, Decrypt, Sign, Verify, WrapKey, UnwrapKey].into(),
            Self::Ec(_) => [Sign, Verify].into(),
            Self::Oct(length) if length.aes().is_some() => {
                [Encrypt, Decrypt, WrapKey, UnwrapKey].into()
            }
            Self::Oct(_) => [Sign, Verify].into(),
        }
    }
}
