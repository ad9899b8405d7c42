//! What a token can do, found out by doing it: known-answer tests on objects of a session.
//!
//! A mechanism list is right about what is missing, and says nothing about hashes, curves, key lengths and
//! functions; so each way is tried, and counts only if an independent implementation agrees.

use std::sync::Arc;

use cryptoki_sys::{
    CKM_AES_KEY_GEN, CKM_EC_KEY_PAIR_GEN, CKM_GENERIC_SECRET_KEY_GEN, CKM_RSA_PKCS_KEY_PAIR_GEN,
};

use super::attributes::{
    self, Custody, MAC_KEY_LENGTH, Permissions, aes_key, ec_public, imported, mac_key, private_key,
    public_parts,
};
use super::error::TokenResult;
use super::known_answers::{
    TWO_BLOCKS, cipher_permissions, digest_for, internal, key_wrap_ways, known_rsa_key,
    known_secret, probe_object, rsa_permissions, sign_permissions,
};
use super::lease::Lease;
use super::mechanism::{Mechanism, Ulong};
use super::operations::{RsaOpening, Signing, decrypt, encrypt, unwrap_key, wrap_key};
use super::raw::ObjectHandle;
use super::routes::{Route, RouteTable};
use super::token::{Retry, Token};
use super::trials::Trials;
use super::wrapped::{KeyWrapping, probe_wrapping};
use crate::backend::{Capabilities, Support};
use crate::crypto::CryptoEngine;
use crate::crypto::public_key::PublicKey;
use crate::crypto::rustcrypto::RustCryptoEngine;
use crate::env::OsEntropy;
use crate::model::algorithm::{AesMode, CryptoOperation, EncryptionAlgorithm, SignatureAlgorithm};
use crate::model::operation::KeyOperation;
use crate::model::spec::{Curve, KeySpec, OctKeyLength, OctKeySize, RsaKeySize};
use crate::secret::SecretBytes;

/// Whether ways that need the library's help are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fallbacks {
    Allowed,
    Forbidden,
}

/// What was found out about a token.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) routes: RouteTable,
    pub(super) capabilities: Arc<Capabilities>,
    /// Whether CKA_ALLOWED_MECHANISMS is taken and honoured.
    pub(super) limits_mechanisms: bool,
    /// Whether CKA_WRAP_WITH_TRUSTED is taken.
    pub(super) wraps_with_trusted: bool,
    /// How the token wraps keys of its own.
    pub(super) key_wrapping: Option<KeyWrapping>,
    /// How many things failed in a way that may pass.
    pub(super) doubts: usize,
}

impl Profile {
    /// **Blocking:** some dozens of operations of the token.
    ///
    /// Errors: what has to do with the token as a whole. An operation that fails is one that it does not have; where the
    /// failure may pass it is tried once more, and then counted among the doubts. Tokens that answer CKR_GENERAL_ERROR to
    /// what they do not have are no exception, so doubts keep nobody from using the rest.
    pub(super) fn measure(token: &Token, fallbacks: Fallbacks) -> TokenResult<Self> {
        let mechanisms = token.run(Retry::Safe, |lease| lease.mechanism_list())?;
        let mut probe = Probe {
            trials: Trials::new(token),
            mechanisms,
            fallbacks,
            engine: RustCryptoEngine::new(Arc::new(OsEntropy)),
            routes: RouteTable::default(),
            capabilities: Capabilities::new(),
        };
        probe.rsa()?;
        for curve in Curve::ALL {
            probe.curve(curve)?;
        }
        for size in OctKeySize::ALL {
            probe.aes(size)?;
        }
        probe.macs()?;
        let limits_mechanisms = probe.limits_mechanisms()?;
        let wraps_with_trusted = probe.wraps_with_trusted()?;
        let key_wrapping = probe_wrapping(&probe.trials, &probe.mechanisms)?;
        let Probe {
            trials,
            routes,
            mut capabilities,
            ..
        } = probe;
        for (spec, operation, route) in routes.iter() {
            capabilities = capabilities.with(spec, operation, route.support());
        }
        Ok(Self {
            routes,
            capabilities: Arc::new(capabilities),
            limits_mechanisms,
            wraps_with_trusted,
            key_wrapping,
            doubts: trials.doubts(),
        })
    }
}

struct Probe<'t> {
    trials: Trials<'t>,
    mechanisms: Vec<Ulong>,
    fallbacks: Fallbacks,
    engine: RustCryptoEngine,
    routes: RouteTable,
    capabilities: Capabilities,
}

impl Probe<'_> {
    /// Tries in a session of its own: one that failed is not used again.
    fn try_with(
        &self,
        make: impl Fn(&Lease<'_>) -> TokenResult<ObjectHandle>,
        work: impl Fn(&Lease<'_>, ObjectHandle) -> TokenResult<bool>,
    ) -> TokenResult<bool> {
        self.trials.holds(|lease| {
            let key = make(lease)?;
            let outcome = work(lease, key)?;
            lease.destroy_object(key)?;
            Ok(outcome)
        })
    }

    fn has(&self, mechanism: Ulong) -> bool {
        self.mechanisms.contains(&mechanism)
    }

    fn add(&mut self, spec: KeySpec, operation: CryptoOperation, route: Route) {
        self.routes.add(spec, operation, route);
    }

    fn generates(&mut self, spec: KeySpec) {
        self.capabilities = std::mem::take(&mut self.capabilities).with_generation(spec);
    }

    fn imports(&mut self, spec: KeySpec) {
        self.capabilities = std::mem::take(&mut self.capabilities).with_import(spec);
    }

    /// The first of the ways that works.
    fn first_that_works(
        &self,
        operation: CryptoOperation,
        ways: &[Route],
        works: impl Fn(Route) -> TokenResult<bool>,
    ) -> TokenResult<Option<Route>> {
        for route in ways {
            let fallback = matches!(route.support(), Support::Fallback(_));
            if fallback && self.fallbacks == Fallbacks::Forbidden {
                continue;
            }
            let listed = route
                .mechanism(operation)
                .is_none_or(|mechanism| self.has(mechanism));
            if listed && works(*route)? {
                return Ok(Some(*route));
            }
        }
        Ok(None)
    }

    fn rsa(&mut self) -> TokenResult<()> {
        let size = RsaKeySize::Bits2048;
        let spec = KeySpec::Rsa(size);
        let known = known_rsa_key()?;
        let imports = self.try_with(
            |lease| lease.create_object(&probe_object(known)),
            |_, _| Ok(true),
        )?;
        let mut found = Vec::new();
        for operation in CryptoOperation::all().filter(|operation| operation.fits(spec)) {
            let route = match operation {
                CryptoOperation::Sign(algorithm) => {
                    let ways: &[Route] = match algorithm {
                        SignatureAlgorithm::Ps256
                        | SignatureAlgorithm::Ps384
                        | SignatureAlgorithm::Ps512 => &[Route::Pss, Route::RawPss],
                        _ => &[Route::Pkcs1, Route::RawPkcs1],
                    };
                    self.first_that_works(operation, ways, |route| {
                        let digest = digest_for(algorithm);
                        let signing =
                            Signing::new(route, spec, algorithm, &digest).map_err(internal)?;
                        self.with_rsa_key(imports, |lease, key, public| {
                            let signature = signing.run(lease, key)?;
                            Ok(public.verify(algorithm, &digest, &signature).is_ok())
                        })
                    })?
                }
                CryptoOperation::Decrypt(_) | CryptoOperation::UnwrapKey(_) => {
                    let name = operation.algorithm();
                    let ways: &[Route] = match name {
                        "RSA1_5" => &[Route::RawRsa1_5],
                        _ => &[Route::Oaep, Route::RawOaep],
                    };
                    self.first_that_works(operation, ways, |route| {
                        self.with_rsa_key(imports, |lease, key, public| {
                            let algorithm = name.parse().map_err(internal)?;
                            let ciphertext =
                                public.encrypt(algorithm, b"known").map_err(internal)?;
                            let secret = SecretBytes::copied_from(&[1; 32]);
                            let parts = public.parts();
                            let opening = RsaOpening::new(
                                route,
                                parts,
                                size,
                                name,
                                &ciphertext,
                                Some(&secret),
                            )
                            .map_err(internal)?;
                            Ok(opening.run(lease, key)?.expose() == b"known")
                        })
                    })?
                }
                _ => Some(Route::Public),
            };
            found.extend(route.map(|route| (operation, route)));
        }
        let sizes = self.rsa_sizes()?;
        for size in RsaKeySize::ALL {
            let spec = KeySpec::Rsa(size);
            for (operation, route) in &found {
                self.add(spec, *operation, *route);
            }
            if sizes.is_some_and(|(min, max)| (min..=max).contains(&Ulong::from(size.bits()))) {
                self.generates(spec);
            }
            if imports {
                self.imports(spec);
            }
        }
        Ok(())
    }

    /// With the known key, or, where keys cannot be imported, with one that the token makes.
    fn with_rsa_key(
        &self,
        imports: bool,
        work: impl Fn(&Lease<'_>, ObjectHandle, &PublicKey) -> TokenResult<bool>,
    ) -> TokenResult<bool> {
        if imports {
            let known = known_rsa_key()?;
            let public = known
                .public_parts()
                .ok_or_else(|| internal("no public key"))?;
            let public = PublicKey::from_parts(&public).map_err(internal)?;
            return self.try_with(
                |lease| lease.create_object(&probe_object(known)),
                |lease, key| work(lease, key, &public),
            );
        }
        self.trials.holds(|lease| {
            let (public, private) = lease.generate_key_pair(
                &Mechanism::RsaPkcsKeyPairGen,
                &attributes::rsa_public(RsaKeySize::Bits2048, 65_537),
                &private_key(None, &Custody::PROBE, &rsa_permissions()),
            )?;
            let parts = public_parts(lease, public, None)?;
            let parts = PublicKey::from_parts(&parts).map_err(internal)?;
            let outcome = work(lease, private, &parts)?;
            lease.destroy_object(public)?;
            lease.destroy_object(private)?;
            Ok(outcome)
        })
    }

    /// Sizes are the one thing that C_GetMechanismInfo is asked about.
    fn rsa_sizes(&self) -> TokenResult<Option<(Ulong, Ulong)>> {
        if !self.has(CKM_RSA_PKCS_KEY_PAIR_GEN) {
            return Ok(None);
        }
        self.trials
            .run(|lease| lease.mechanism_key_sizes(&Mechanism::RsaPkcsKeyPairGen))
    }

    fn curve(&mut self, curve: Curve) -> TokenResult<()> {
        let spec = KeySpec::Ec(curve);
        let Some(algorithm) = SignatureAlgorithm::ALL
            .iter()
            .copied()
            .find(|algorithm| algorithm.curve() == Some(curve))
        else {
            return Ok(());
        };
        let operation = CryptoOperation::Sign(algorithm);
        let digest = digest_for(algorithm);
        let signing = Signing::new(Route::Ecdsa, spec, algorithm, &digest).map_err(internal)?;
        let signs = |lease: &Lease<'_>, key, public: &PublicKey| {
            let signature = signing.run(lease, key)?;
            TokenResult::Ok(public.verify(algorithm, &digest, &signature).is_ok())
        };
        let listed = Route::Ecdsa
            .mechanism(operation)
            .is_some_and(|mechanism| self.has(mechanism));
        if !listed {
            return Ok(());
        }
        let generates = self.has(CKM_EC_KEY_PAIR_GEN)
            && self.trials.holds(|lease| {
                let permissions = sign_permissions();
                let (public, private) = lease.generate_key_pair(
                    &Mechanism::EcKeyPairGen,
                    &ec_public(curve),
                    &private_key(None, &Custody::PROBE, &permissions),
                )?;
                let parts = public_parts(lease, public, Some(curve))?;
                let parts = PublicKey::from_parts(&parts).map_err(internal)?;
                let works = signs(lease, private, &parts)?;
                lease.destroy_object(public)?;
                lease.destroy_object(private)?;
                Ok(works)
            })?;
        let known = self
            .engine
            .generate(spec, None, &OsEntropy)
            .map_err(internal)?;
        let public = known
            .public_parts()
            .ok_or_else(|| internal("no public key"))?;
        let public = PublicKey::from_parts(&public).map_err(internal)?;
        let imports = self.try_with(
            |lease| {
                lease.create_object(&imported(
                    &known,
                    false,
                    &Custody::PROBE,
                    &sign_permissions(),
                ))
            },
            |lease, key| signs(lease, key, &public),
        )?;
        if generates {
            self.generates(spec);
        }
        if imports {
            self.imports(spec);
        }
        if generates || imports {
            self.add(spec, operation, Route::Ecdsa);
            self.add(spec, CryptoOperation::Verify(algorithm), Route::Public);
        }
        Ok(())
    }

    fn aes(&mut self, size: OctKeySize) -> TokenResult<()> {
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
                        .map_err(internal)?;
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
    fn macs(&mut self) -> TokenResult<()> {
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
    fn limits_mechanisms(&self) -> TokenResult<bool> {
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

    fn wraps_with_trusted(&self) -> TokenResult<bool> {
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
