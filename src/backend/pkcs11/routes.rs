//! The ways in which a token's mechanisms give the algorithms of the library.

use cryptoki_sys::{
    CKM_AES_CBC, CKM_AES_CBC_PAD, CKM_AES_ECB, CKM_AES_GCM, CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_KWP,
    CKM_AES_KEY_WRAP_PAD, CKM_ECDSA, CKM_RSA_PKCS, CKM_RSA_PKCS_OAEP, CKM_RSA_PKCS_PSS,
    CKM_RSA_X_509, CKM_SHA256_HMAC, CKM_SHA384_HMAC, CKM_SHA512_HMAC,
};

use super::mechanism::Ulong;
use crate::backend::Support;
use crate::model::algorithm::{CryptoOperation, HashAlgorithm, SignatureAlgorithm};
use crate::model::spec::KeySpec;

/// Every 8 bytes cost six calls that wait for each other: 64 KiB would keep a session of a token for 10 seconds.
const MAX_BLOCKWISE_WRAP_BYTES: usize = 4_096;

/// How one operation is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Route {
    /// From the public key, without the token.
    Public,
    /// The token pads and signs DigestInfo.
    Pkcs1,
    /// The library pads, the token does the raw operation.
    RawPkcs1,
    Pss,
    RawPss,
    Ecdsa,
    Hmac,
    Oaep,
    /// The token does the raw operation, the library removes the padding in constant time.
    RawOaep,
    /// The same with implicit rejection. A token's own check of this padding is never used.
    RawRsa1_5,
    Gcm,
    Cbc,
    CbcPad,
    /// C_Encrypt and C_Decrypt with CKM_AES_KEY_WRAP.
    KeyWrap,
    /// C_Encrypt and C_Decrypt with CKM_AES_KEY_WRAP_KWP.
    KeyWrapPadded,
    /// C_WrapKey and C_UnwrapKey of a session object.
    KeyWrapObject,
    /// The same with CKM_AES_KEY_WRAP_KWP.
    KeyWrapPaddedObject,
    /// The same with CKM_AES_KEY_WRAP_PAD, where that is RFC 5649.
    KeyWrapPadObject,
    /// RFC 3394 by the library over single blocks of the token.
    KeyWrapBlocks,
    /// RFC 5649 by the library over single blocks of the token.
    KeyWrapPaddedBlocks,
}

impl Route {
    pub(super) fn support(self) -> Support {
        match self {
            Self::Public
            | Self::Pkcs1
            | Self::Pss
            | Self::Ecdsa
            | Self::Hmac
            | Self::Oaep
            | Self::Gcm
            | Self::Cbc
            | Self::CbcPad
            | Self::KeyWrap
            | Self::KeyWrapPadded => Support::Native,
            Self::RawPkcs1 | Self::RawPss => {
                Support::Fallback("padded by the library, signed by CKM_RSA_X_509")
            }
            Self::RawOaep => Support::Fallback("opened by CKM_RSA_X_509, unpadded by the library"),
            Self::RawRsa1_5 => Support::Fallback(
                "opened by CKM_RSA_X_509, unpadded by the library with implicit rejection",
            ),
            Self::KeyWrapObject | Self::KeyWrapPaddedObject | Self::KeyWrapPadObject => {
                Support::Fallback("through a session object")
            }
            Self::KeyWrapBlocks | Self::KeyWrapPaddedBlocks => {
                Support::Fallback("by the library over CKM_AES_ECB")
            }
        }
    }

    /// The mechanism that a key needs in CKA_ALLOWED_MECHANISMS for it.
    pub(super) fn mechanism(self, operation: CryptoOperation) -> Option<Ulong> {
        Some(match self {
            Self::Public => return None,
            Self::Pkcs1 => CKM_RSA_PKCS,
            Self::Pss => CKM_RSA_PKCS_PSS,
            Self::RawPkcs1 | Self::RawPss | Self::RawOaep | Self::RawRsa1_5 => CKM_RSA_X_509,
            Self::Oaep => CKM_RSA_PKCS_OAEP,
            Self::Ecdsa => CKM_ECDSA,
            Self::Hmac => match operation {
                CryptoOperation::Sign(algorithm) | CryptoOperation::Verify(algorithm) => {
                    hmac_mechanism(algorithm)?
                }
                _ => return None,
            },
            Self::Gcm => CKM_AES_GCM,
            Self::Cbc => CKM_AES_CBC,
            Self::CbcPad => CKM_AES_CBC_PAD,
            Self::KeyWrap | Self::KeyWrapObject => CKM_AES_KEY_WRAP,
            Self::KeyWrapPadded | Self::KeyWrapPaddedObject => CKM_AES_KEY_WRAP_KWP,
            Self::KeyWrapPadObject => CKM_AES_KEY_WRAP_PAD,
            Self::KeyWrapBlocks | Self::KeyWrapPaddedBlocks => CKM_AES_ECB,
        })
    }

    /// Which C function family the operation uses, and so which usage attribute the key needs.
    pub(super) fn usage(self, operation: CryptoOperation) -> Option<Usage> {
        let forward = matches!(
            operation,
            CryptoOperation::Encrypt(_) | CryptoOperation::WrapKey(_) | CryptoOperation::Sign(_)
        );
        Some(match self {
            Self::Public => return None,
            Self::Pkcs1 | Self::RawPkcs1 | Self::Pss | Self::RawPss | Self::Ecdsa => Usage::Sign,
            // A MAC is verified by making it again.
            Self::Hmac => Usage::Sign,
            Self::Oaep | Self::RawOaep | Self::RawRsa1_5 => Usage::Decrypt,
            Self::KeyWrapObject | Self::KeyWrapPaddedObject | Self::KeyWrapPadObject if forward => {
                Usage::Wrap
            }
            Self::KeyWrapObject | Self::KeyWrapPaddedObject | Self::KeyWrapPadObject => {
                Usage::Unwrap
            }
            _ if forward => Usage::Encrypt,
            _ => Usage::Decrypt,
        })
    }

    /// The most bytes that can be wrapped, where that is less than the library takes.
    pub(super) fn most_wrapped(self) -> Option<usize> {
        matches!(self, Self::KeyWrapBlocks | Self::KeyWrapPaddedBlocks)
            .then_some(MAX_BLOCKWISE_WRAP_BYTES)
    }

    /// Whether it works on the MAC value of a symmetric key.
    pub(super) fn is_mac(self) -> bool {
        self == Self::Hmac
    }
}

/// The usage attributes of a private or secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usage {
    Sign,
    Encrypt,
    Decrypt,
    Wrap,
    Unwrap,
}

/// The value of a key that an operation works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Value {
    Main,
    Mac,
}

pub(super) fn hmac_mechanism(algorithm: SignatureAlgorithm) -> Option<Ulong> {
    Some(match algorithm.hmac()? {
        HashAlgorithm::Sha256 => CKM_SHA256_HMAC,
        HashAlgorithm::Sha384 => CKM_SHA384_HMAC,
        HashAlgorithm::Sha512 => CKM_SHA512_HMAC,
    })
}

/// The ways that were found for one token.
#[derive(Debug, Default)]
pub(super) struct RouteTable {
    entries: Vec<(KeySpec, CryptoOperation, Route)>,
}

impl RouteTable {
    pub(super) fn add(&mut self, spec: KeySpec, operation: CryptoOperation, route: Route) {
        self.entries.push((spec, operation, route));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (KeySpec, CryptoOperation, Route)> {
        self.entries.iter().copied()
    }

    /// The ways for keys of one kind.
    pub(super) fn of(&self, spec: KeySpec) -> Vec<(CryptoOperation, Route)> {
        self.iter()
            .filter(|(of, ..)| *of == spec)
            .map(|(_, operation, route)| (operation, route))
            .collect()
    }
}
