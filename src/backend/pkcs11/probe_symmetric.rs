//! What a token can do with symmetric keys, and which limits of keys it honours.

use cryptoki_sys::{CKM_AES_KEY_GEN, CKM_GENERIC_SECRET_KEY_GEN};

use super::attributes::{Custody, MAC_KEY_LENGTH, Permissions, aes_key, imported, mac_key};
use super::error::TokenResult;
use super::known_answers::{
    TWO_BLOCKS, cipher_permissions, internal, key_wrap_ways, known_secret, sign_permissions,
};
use super::lease::Lease;
use super::mechanism::Mechanism;
use super::operations::{Signing, decrypt, encrypt, unwrap_key, wrap_key};
use super::probe::Probe;
use super::routes::Route;
use crate::crypto::Engine;
use crate::model::algorithm::{AesMode, CryptoOperation, EncryptionAlgorithm, SignatureAlgorithm};
use crate::model::operation::KeyOperation;
use crate::model::spec::{KeySpec, OctKeyLength, OctKeySize};

impl Probe<'_> {
    pub(super) fn aes(&mut self, size: OctKeySize) -> TokenResult<()> {
        let length = OctKeyLength::from(size);
        let spec = KeySpec::Oct(length);
        let known = known_secret(length)?;
        let software = self.engine.load(&known).map_err(internal)?;
        let make = |lease: &Lease<'_>| {
            lease.create_object(&imported(
                &known,
                false,
                &Custody::PROBE,
                &cipher_permissions(),
            ))
        };
        let imports = self.try_with(make, |_, _| Ok(true))?;
        let generates = self.has(CKM_AES_KEY_GEN)
            && self.try_with(
                |lease| {
                    lease.generate_key(
                        &Mechanism::AesKeyGen,
                        &aes_key(Some(length.bytes()), &Custody::PROBE, &cipher_permissions()),
                    )
                },
                |_, _| Ok(true),
            )?;
        let mut works = false;
        for operation in CryptoOperation::all().filter(|operation| operation.fits(spec)) {
            let route = match operation {
                CryptoOperation::Encrypt(algorithm) | CryptoOperation::Decrypt(algorithm) => {
                    let Some(mode) = algorithm.aes_mode() else {
                        continue;
                    };
                    let route = match mode {
                        AesMode::Gcm => Route::Gcm,
                        AesMode::Cbc => Route::Cbc,
                        AesMode::CbcPad => Route::CbcPad,
                    };
                    let iv = vec![9; algorithm.iv_length().unwrap_or(0)];
                    let aad: &[u8] = if mode == AesMode::Gcm { b"aad" } else { b"" };
                    let (ciphertext, tag) = software
                        .encrypt(algorithm, TWO_BLOCKS, &iv, aad)
                        .map_err(internal)?
                        .into_parts();
                    let tag = tag.map(|tag| tag.to_vec()).unwrap_or_default();
                    let forward = matches!(operation, CryptoOperation::Encrypt(_));
                    self.first_that_works(operation, &[route], |_| {
                        self.try_with(make, |lease, key| {
                            if forward {
                                let (own, own_tag) =
                                    encrypt(lease, key, mode, TWO_BLOCKS, &iv, aad)?.into_parts();
                                let own_tag = own_tag.map(|tag| tag.to_vec()).unwrap_or_default();
                                Ok(own == ciphertext && own_tag == tag)
                            } else {
                                let own = decrypt(lease, key, mode, &ciphertext, &iv, aad, &tag)?;
                                Ok(own.expose() == TWO_BLOCKS)
                            }
                        })
                    })?
                }
                CryptoOperation::WrapKey(algorithm) | CryptoOperation::UnwrapKey(algorithm) => {
                    let (ways, data) = key_wrap_ways(algorithm);
                    let wrapped = data
                        .iter()
                        .map(|data| software.wrap_key(algorithm, data))
                        .collect::<Result<Vec<_>, _>>()
                        .map_err(internal)?;
                    let forward = matches!(operation, CryptoOperation::WrapKey(_));
                    self.first_that_works(operation, ways, |route| {
                        self.try_with(make, |lease, key| {
                            for (data, wrapped) in data.iter().zip(&wrapped) {
                                let right = if forward {
                                    wrap_key(lease, key, route, data)? == *wrapped
                                } else {
                                    unwrap_key(lease, key, route, wrapped)?.expose() == *data
                                };
                                if !right {
                                    return Ok(false);
                                }
                            }
                            Ok(true)
                        })
                    })?
                }
                _ => continue,
            };
            if let Some(route) = route {
                works = true;
                self.add(spec, operation, route);
            }
        }
        if works && imports {
            self.imports(spec);
        }
        if works && generates {
            self.generates(spec);
        }
        Ok(())
    }

    /// HMAC keys of every length: all are 64 bytes in the token.
    pub(super) fn macs(&mut self) -> TokenResult<()> {
        let longest = OctKeyLength::try_from(MAC_KEY_LENGTH).map_err(internal)?;
        let known = known_secret(longest)?;
        let software = self.engine.load(&known).map_err(internal)?;
        let mut found = Vec::new();
        for algorithm in SignatureAlgorithm::ALL {
            let operation = CryptoOperation::Sign(*algorithm);
            if algorithm.hmac().is_none() {
                continue;
            }
            let expected = software.sign(*algorithm, b"known").map_err(internal)?;
            let signing = Signing::new(Route::Hmac, KeySpec::Oct(longest), *algorithm, b"known")
                .map_err(internal)?;
            let route = self.first_that_works(operation, &[Route::Hmac], |_| {
                self.try_with(
                    |lease| {
                        lease.create_object(&imported(
                            &known,
                            true,
                            &Custody::PROBE,
                            &sign_permissions(),
                        ))
                    },
                    |lease, key| Ok(signing.run(lease, key)? == expected),
                )
            })?;
            if route.is_some() {
                found.push(operation);
                found.push(CryptoOperation::Verify(*algorithm));
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let generates = self.has(CKM_GENERIC_SECRET_KEY_GEN)
            && self.try_with(
                |lease| {
                    lease.generate_key(
                        &Mechanism::GenericSecretKeyGen,
                        &mac_key(Some(MAC_KEY_LENGTH), &Custody::PROBE, &sign_permissions()),
                    )
                },
                |_, _| Ok(true),
            )?;
        for bytes in OctKeyLength::MIN_BYTES..=OctKeyLength::MAX_BYTES {
            let length = OctKeyLength::try_from(bytes).map_err(internal)?;
            let spec = KeySpec::Oct(length);
            for operation in &found {
                self.add(spec, *operation, Route::Hmac);
            }
            if !self.capabilities.imports(spec) {
                self.imports(spec);
            }
            if generates && length.aes().is_some() && !self.capabilities.generates(spec) {
                self.generates(spec);
            }
        }
        Ok(())
    }

    /// A key that may only do CBC refuses ECB.
    pub(super) fn limits_mechanisms(&self) -> TokenResult<bool> {
        let known = known_secret(OctKeySize::Bits128.into())?;
        let operation = CryptoOperation::Encrypt(EncryptionAlgorithm::A128Cbc);
        let routes = [(operation, Route::Cbc)];
        let permissions = Permissions::new(&routes, [KeyOperation::Encrypt].into(), |_| true);
        let custody = Custody {
            limit_mechanisms: true,
            ..Custody::PROBE
        };
        let make = |lease: &Lease<'_>| {
            lease.create_object(&imported(&known, false, &custody, &permissions))
        };
        let allowed = self.try_with(make, |lease, key| {
            encrypt(lease, key, AesMode::Cbc, TWO_BLOCKS, &[0; 16], b"").map(|_| true)
        })?;
        let refused = !self.try_with(make, |lease, key| {
            lease
                .encrypt(&Mechanism::AesEcb, key, &[0; 16], 32)
                .map(|_| true)
        })?;
        Ok(allowed && refused)
    }

    pub(super) fn wraps_with_trusted(&self) -> TokenResult<bool> {
        let custody = Custody {
            extractable: true,
            trusted_only: true,
            ..Custody::PROBE
        };
        self.try_with(
            |lease| {
                lease.generate_key(
                    &Mechanism::AesKeyGen,
                    &aes_key(Some(32), &custody, &cipher_permissions()),
                )
            },
            |_, _| Ok(true),
        )
    }
}
