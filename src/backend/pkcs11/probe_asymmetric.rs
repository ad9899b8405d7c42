//! What a token can do with RSA keys and on elliptic curves.

use cryptoki_sys::{CKM_EC_KEY_PAIR_GEN, CKM_RSA_PKCS_KEY_PAIR_GEN};

use super::attributes::{Custody, ec_public, imported, private_key, public_parts, rsa_public};
use super::error::TokenResult;
use super::known_answers::{
    digest_for, internal, known_rsa_key, probe_object, rsa_permissions, sign_permissions,
};
use super::lease::Lease;
use super::mechanism::{Mechanism, Ulong};
use super::operations::{RsaOpening, Signing};
use super::probe::Probe;
use super::raw::ObjectHandle;
use super::routes::Route;
use crate::crypto::Engine;
use crate::crypto::public_key::PublicKey;
use crate::env::OsEntropy;
use crate::model::algorithm::{CryptoOperation, SignatureAlgorithm};
use crate::model::spec::{Curve, KeySpec, RsaKeySize};
use crate::secret::SecretBytes;

impl Probe<'_> {
    pub(super) fn rsa(&mut self) -> TokenResult<()> {
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
                &rsa_public(RsaKeySize::Bits2048, 65_537),
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

    pub(super) fn curve(&mut self, curve: Curve) -> TokenResult<()> {
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
}
