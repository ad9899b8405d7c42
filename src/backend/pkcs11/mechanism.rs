//! The mechanisms that the library uses, with their parameters.

use std::ffi::c_void;
use std::ptr;

use cryptoki_sys::{
    CK_GCM_PARAMS, CK_MECHANISM, CK_RSA_PKCS_OAEP_PARAMS, CK_RSA_PKCS_PSS_PARAMS, CKG_MGF1_SHA1,
    CKG_MGF1_SHA256, CKG_MGF1_SHA384, CKG_MGF1_SHA512, CKM_AES_CBC, CKM_AES_CBC_PAD, CKM_AES_ECB,
    CKM_AES_GCM, CKM_AES_KEY_GEN, CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD,
    CKM_EC_KEY_PAIR_GEN, CKM_ECDSA, CKM_GENERIC_SECRET_KEY_GEN, CKM_RSA_PKCS,
    CKM_RSA_PKCS_KEY_PAIR_GEN, CKM_RSA_PKCS_OAEP, CKM_RSA_PKCS_PSS, CKM_RSA_X_509, CKM_SHA_1,
    CKM_SHA256, CKM_SHA256_HMAC, CKM_SHA384, CKM_SHA384_HMAC, CKM_SHA512, CKM_SHA512_HMAC,
    CKZ_DATA_SPECIFIED,
};

/// `CK_ULONG`: 64 bits on the systems that matter, whatever C's `unsigned long` is elsewhere.
pub(super) type Ulong = cryptoki_sys::CK_ULONG;

/// The hash of [`Mechanism::RsaPss`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PssHash {
    Sha256,
    Sha384,
    Sha512,
}

/// A mechanism with its parameters.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mechanism<'a> {
    RsaPkcs,
    RsaX509,
    /// SHA-1 in hash and MGF1, no label.
    RsaOaepSha1,
    /// SHA-256 in hash and MGF1, no label.
    RsaOaepSha256,
    /// Takes a digest; the salt is as long as the hash.
    RsaPss {
        hash: PssHash,
    },
    Ecdsa,
    AesEcb,
    AesCbc {
        iv: &'a [u8; 16],
    },
    AesCbcPad {
        iv: &'a [u8; 16],
    },
    /// The output is ciphertext ‖ tag of 16 bytes.
    AesGcm {
        iv: &'a [u8; 12],
        aad: &'a [u8],
    },
    /// RFC 3394.
    AesKeyWrap,
    /// 0x210A: every module means something else by it.
    AesKeyWrapPad,
    /// 0x210B: RFC 5649.
    AesKeyWrapKwp,
    Sha256Hmac,
    Sha384Hmac,
    Sha512Hmac,
    RsaPkcsKeyPairGen,
    EcKeyPairGen,
    AesKeyGen,
    GenericSecretKeyGen,
}

impl Mechanism<'_> {
    /// The number of the mechanism, as mechanism lists hold it.
    pub(super) fn number(&self) -> Ulong {
        match self {
            Self::RsaPkcs => CKM_RSA_PKCS,
            Self::RsaX509 => CKM_RSA_X_509,
            Self::RsaOaepSha1 | Self::RsaOaepSha256 => CKM_RSA_PKCS_OAEP,
            Self::RsaPss { .. } => CKM_RSA_PKCS_PSS,
            Self::Ecdsa => CKM_ECDSA,
            Self::AesEcb => CKM_AES_ECB,
            Self::AesCbc { .. } => CKM_AES_CBC,
            Self::AesCbcPad { .. } => CKM_AES_CBC_PAD,
            Self::AesGcm { .. } => CKM_AES_GCM,
            Self::AesKeyWrap => CKM_AES_KEY_WRAP,
            Self::AesKeyWrapPad => CKM_AES_KEY_WRAP_PAD,
            Self::AesKeyWrapKwp => CKM_AES_KEY_WRAP_KWP,
            Self::Sha256Hmac => CKM_SHA256_HMAC,
            Self::Sha384Hmac => CKM_SHA384_HMAC,
            Self::Sha512Hmac => CKM_SHA512_HMAC,
            Self::RsaPkcsKeyPairGen => CKM_RSA_PKCS_KEY_PAIR_GEN,
            Self::EcKeyPairGen => CKM_EC_KEY_PAIR_GEN,
            Self::AesKeyGen => CKM_AES_KEY_GEN,
            Self::GenericSecretKeyGen => CKM_GENERIC_SECRET_KEY_GEN,
        }
    }

    /// Gives `call` the structure for C. It and all that it points to live as long as the call. A module may
    /// write into the IV, so that is a copy; everything else is only read.
    pub(super) fn with<T>(&self, call: impl FnOnce(*mut CK_MECHANISM) -> T) -> T {
        let number = self.number();
        match *self {
            Self::RsaOaepSha1 => pass(number, &mut oaep(CKM_SHA_1, CKG_MGF1_SHA1), call),
            Self::RsaOaepSha256 => pass(number, &mut oaep(CKM_SHA256, CKG_MGF1_SHA256), call),
            Self::RsaPss { hash } => pass(number, &mut pss(hash), call),
            Self::AesCbc { iv } | Self::AesCbcPad { iv } => pass(number, &mut { *iv }, call),
            Self::AesGcm { iv, aad } => {
                let mut iv = *iv;
                pass(number, &mut gcm(&mut iv, aad), call)
            }
            _ => call(&mut CK_MECHANISM {
                mechanism: number,
                pParameter: ptr::null_mut(),
                ulParameterLen: 0,
            }),
        }
    }
}

fn pass<P, T>(number: Ulong, parameters: &mut P, call: impl FnOnce(*mut CK_MECHANISM) -> T) -> T {
    let mut mechanism = CK_MECHANISM {
        mechanism: number,
        pParameter: ptr::from_mut(parameters).cast::<c_void>(),
        ulParameterLen: ulong(size_of::<P>()),
    };
    call(&mut mechanism)
}

fn oaep(hash: Ulong, mgf: Ulong) -> CK_RSA_PKCS_OAEP_PARAMS {
    CK_RSA_PKCS_OAEP_PARAMS {
        hashAlg: hash,
        mgf,
        source: CKZ_DATA_SPECIFIED,
        pSourceData: ptr::null_mut(),
        ulSourceDataLen: 0,
    }
}

fn pss(hash: PssHash) -> CK_RSA_PKCS_PSS_PARAMS {
    let (hash, mgf, salt) = match hash {
        PssHash::Sha256 => (CKM_SHA256, CKG_MGF1_SHA256, 32),
        PssHash::Sha384 => (CKM_SHA384, CKG_MGF1_SHA384, 48),
        PssHash::Sha512 => (CKM_SHA512, CKG_MGF1_SHA512, 64),
    };
    CK_RSA_PKCS_PSS_PARAMS {
        hashAlg: hash,
        mgf,
        sLen: salt,
    }
}

fn gcm(iv: &mut [u8; 12], aad: &[u8]) -> CK_GCM_PARAMS {
    CK_GCM_PARAMS {
        pIv: iv.as_mut_ptr(),
        ulIvLen: 12,
        ulIvBits: 96,
        pAAD: if aad.is_empty() {
            ptr::null_mut()
        } else {
            aad.as_ptr().cast_mut()
        },
        ulAADLen: ulong(aad.len()),
        ulTagBits: 128,
    }
}

/// A length for C. Lengths beyond `CK_ULONG` exist only where it has 32 bits, and no module takes them.
pub(super) fn ulong(length: usize) -> Ulong {
    Ulong::try_from(length).unwrap_or(Ulong::MAX)
}
