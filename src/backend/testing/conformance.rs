//! The suite that every backend passes: what it claims works, against an independent check, and what it
//! does not claim answers `Unsupported`.

use std::sync::Arc;

use crate::backend::software::SoftwareBackend;
use crate::backend::{
    BackendErrorKind, BackendResult, KeyBackend, KeyBlob, KeyHandle, KeyReference, KeyRequest,
    KeyTag, NewKey, Support, VaultLabel,
};
use crate::crypto::validation;
use crate::env::OsEntropy;
use crate::model::algorithm::{CryptoOperation, EncryptionAlgorithm, SignatureAlgorithm};
use crate::model::material::{ImportedKey, KeyMaterial};
use crate::model::spec::{Curve, KeyFamily, KeySpec, OctKeySize, RsaKeySize};
use crate::secret::SecretBytes;

const LABEL: VaultLabel = VaultLabel::from_bytes(*b"conforms");

/// What [`check_conformance`] saw.
#[derive(Debug, Default)]
pub struct ConformanceReport {
    passed: usize,
    failures: Vec<String>,
}

impl ConformanceReport {
    /// How many properties held.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.passed
    }

    /// What did not hold, a sentence each.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    fn note(&mut self, what: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.passed += 1,
            Err(why) => self.failures.push(format!("{what}: {why}")),
        }
    }
}

/// Runs the suite. It makes, uses and destroys keys of every kind that the backend claims.
///
/// Public-key operations are checked against [`PublicKey`](crate::PublicKey), symmetric ones against the
/// software backend with the same imported key; a backend that does not import symmetric keys is checked
/// against itself.
#[must_use]
pub fn check_conformance(backend: &dyn KeyBackend) -> ConformanceReport {
    let mut report = ConformanceReport::default();
    report.note("check", backend.check().map_err(|error| error.to_string()));
    let specs = RsaKeySize::ALL
        .into_iter()
        .map(KeySpec::Rsa)
        .chain(Curve::ALL.into_iter().map(KeySpec::Ec))
        .chain(
            OctKeySize::ALL
                .into_iter()
                .map(|size| KeySpec::Oct(size.into())),
        );
    for (number, spec) in (1..).zip(specs) {
        generated_keys(backend, spec, number, &mut report);
        imported_keys(backend, spec, number, &mut report);
    }
    report
}

fn request(spec: KeySpec, tag: [u8; 16]) -> KeyRequest<'static> {
    let operations = spec.possible_operations();
    KeyRequest::new(KeyTag::from_bytes(tag), spec, operations, &LABEL)
}

fn generated_keys(
    backend: &dyn KeyBackend,
    spec: KeySpec,
    number: u8,
    report: &mut ConformanceReport,
) {
    let request = request(spec, [number; 16]);
    let made = backend.generate(&request);
    if !backend.capabilities().generates(spec) {
        report.note(&format!("generate {spec}"), is_unsupported(made));
        return;
    }
    with_key(backend, &request, made, report, |handle, report| {
        every_operation(backend, spec, handle, None, report);
    });
}

fn imported_keys(
    backend: &dyn KeyBackend,
    spec: KeySpec,
    number: u8,
    report: &mut ConformanceReport,
) {
    if spec.family() != KeyFamily::Oct {
        return;
    }
    let KeySpec::Oct(length) = spec else { return };
    let material = || {
        let key = SecretBytes::from(
            (0..length.bytes())
                .map(|at| number ^ at.to_le_bytes()[0])
                .collect::<Vec<_>>(),
        );
        validation::validate(ImportedKey::oct(key), &OsEntropy).map_err(|error| error.to_string())
    };
    let (material, twin) = match (material(), material()) {
        (Ok(material), Ok(twin)) => (material, twin),
        (Err(why), _) | (_, Err(why)) => return report.note("the suite's own key", Err(why)),
    };
    let request = request(spec, [0x80 | number; 16]);
    let taken = backend.import(&request, &material);
    if !backend.capabilities().imports(spec) {
        report.note(&format!("import {spec}"), is_unsupported(taken));
        return;
    }
    with_key(
        backend,
        &request,
        taken,
        report,
        |handle, report| match software_twin(&request, &twin) {
            Ok(twin) => every_operation(backend, spec, handle, Some(&*twin), report),
            Err(why) => report.note("the suite's own key", Err(why)),
        },
    );
}

fn software_twin(
    request: &KeyRequest<'_>,
    material: &KeyMaterial,
) -> Result<Arc<dyn KeyHandle>, String> {
    let software = SoftwareBackend::new();
    let open = || {
        let (blob, _) = software.import(request, material)?.into_parts();
        software.open(&KeyReference::new(request.tag, request.spec, &blob))
    };
    open().map_err(|error| error.to_string())
}

/// Opens the key, hands it over, and destroys it twice.
fn with_key(
    backend: &dyn KeyBackend,
    request: &KeyRequest<'_>,
    made: BackendResult<NewKey>,
    report: &mut ConformanceReport,
    body: impl FnOnce(&dyn KeyHandle, &mut ConformanceReport),
) {
    let spec = request.spec;
    let (blob, public) = match made {
        Ok(made) => made.into_parts(),
        Err(error) => return report.note(&format!("make {spec}"), Err(error.to_string())),
    };
    let rejection_secret = SecretBytes::copied_from(&[0x5e; 32]);
    let reference = |blob| {
        KeyReference::new(request.tag, spec, blob)
            .with_public(public.as_ref())
            .with_rejection_secret(Some(&rejection_secret))
    };
    match backend.open(&reference(&blob)) {
        Err(error) => report.note(&format!("open {spec}"), Err(error.to_string())),
        Ok(handle) => {
            let same = handle.spec() == spec
                && handle.public_key().map(|key| key.parts().clone()) == public.clone()
                && public.is_some() == (spec.family() != KeyFamily::Oct);
            report.note(
                &format!("the opened key of {spec} is the one that was made"),
                holds(same, "kind or public key differ"),
            );
            body(&*handle, report);
        }
    }
    let foreign = KeyBlob::new(SecretBytes::copied_from(b"not a blob of this backend"));
    report.note(
        &format!("a foreign blob is no key of {spec}"),
        holds(backend.open(&reference(&foreign)).is_err(), "it was opened"),
    );
    for time in ["once", "twice"] {
        let destroyed = backend.destroy(request.tag, Some(&blob));
        report.note(
            &format!("destroy a key of {spec} {time}"),
            destroyed.map_err(|error| error.to_string()),
        );
    }
}

fn holds(condition: bool, otherwise: &str) -> Result<(), String> {
    if condition {
        Ok(())
    } else {
        Err(otherwise.to_owned())
    }
}

fn is_unsupported<T>(answer: BackendResult<T>) -> Result<(), String> {
    match answer {
        Err(error) if error.kind() == BackendErrorKind::Unsupported => Ok(()),
        Err(error) => Err(format!("expected Unsupported, got {:?}", error.kind())),
        Ok(_) => Err("expected Unsupported, but it worked".to_owned()),
    }
}

fn every_operation(
    backend: &dyn KeyBackend,
    spec: KeySpec,
    handle: &dyn KeyHandle,
    twin: Option<&dyn KeyHandle>,
    report: &mut ConformanceReport,
) {
    let capabilities = backend.capabilities();
    for operation in CryptoOperation::all() {
        let outcome = match capabilities.support(spec, operation) {
            Support::Unsupported => denied(handle, operation),
            Support::Native | Support::Fallback(_) => {
                claimed(handle, twin.unwrap_or(handle), operation)
            }
        };
        report.note(&format!("{operation} on {spec}"), outcome);
    }
}

/// What a backend does not claim it refuses as `Unsupported`. Operations of public keys are the library's.
fn denied(handle: &dyn KeyHandle, operation: CryptoOperation) -> Result<(), String> {
    match operation {
        CryptoOperation::Sign(algorithm) => {
            is_unsupported(handle.sign(algorithm, &digest(algorithm)))
        }
        CryptoOperation::Verify(algorithm) => {
            is_unsupported(handle.verify(algorithm, &digest(algorithm), &[0; 32]))
        }
        CryptoOperation::Encrypt(algorithm) => {
            let iv = vec![1; algorithm.iv_length().unwrap_or(0)];
            is_unsupported(handle.encrypt(algorithm, &[0; 16], &iv, &[]))
        }
        CryptoOperation::Decrypt(algorithm) => {
            let iv = vec![1; algorithm.iv_length().unwrap_or(0)];
            let tag = vec![0; if algorithm.is_authenticated() { 16 } else { 0 }];
            is_unsupported(handle.decrypt(algorithm, &[0; 256], &iv, &[], &tag))
        }
        CryptoOperation::WrapKey(algorithm) => is_unsupported(handle.wrap_key(algorithm, &[0; 16])),
        CryptoOperation::UnwrapKey(algorithm) => {
            is_unsupported(handle.unwrap_key(algorithm, &[0; 256]))
        }
    }
}

fn claimed(
    handle: &dyn KeyHandle,
    twin: &dyn KeyHandle,
    operation: CryptoOperation,
) -> Result<(), String> {
    let text = |error: crate::backend::BackendError| error.to_string();
    match operation {
        CryptoOperation::Sign(algorithm) => {
            let digest = digest(algorithm);
            let signature = handle.sign(algorithm, &digest).map_err(text)?;
            match handle.public_key() {
                Some(public) => public
                    .verify(algorithm, &digest, &signature)
                    .map_err(|error| error.to_string())?,
                None => twin.verify(algorithm, &digest, &signature).map_err(text)?,
            }
            let short = handle.sign(algorithm, &digest[1..]);
            match algorithm.digest() {
                Some(_) => holds(short.is_err(), "a digest that is too short was signed"),
                None => Ok(()),
            }
        }
        CryptoOperation::Verify(algorithm) if handle.public_key().is_none() => {
            let data = digest(algorithm);
            let mut mac = twin.sign(algorithm, &data).map_err(text)?;
            handle.verify(algorithm, &data, &mac).map_err(text)?;
            let short = handle.verify(algorithm, &data, &mac[1..]);
            holds(short.is_err(), "a truncated MAC was accepted")?;
            mac[0] ^= 1;
            match handle.verify(algorithm, &data, &mac) {
                Err(error) if error.kind() == BackendErrorKind::InvalidSignature => Ok(()),
                _ => Err("a wrong MAC was not refused as InvalidSignature".to_owned()),
            }
        }
        CryptoOperation::Encrypt(algorithm) if handle.public_key().is_none() => {
            there_and_back(handle, twin, algorithm)
        }
        CryptoOperation::Decrypt(algorithm) => match handle.public_key() {
            None => there_and_back(twin, handle, algorithm),
            Some(public) => {
                let ciphertext = public
                    .encrypt(algorithm, b"sixteen bytes ok")
                    .map_err(|error| error.to_string())?;
                let opened = handle
                    .decrypt(algorithm, &ciphertext, &[], &[], &[])
                    .map_err(text)?;
                holds(
                    opened.expose() == b"sixteen bytes ok",
                    "it opens to other data",
                )
            }
        },
        CryptoOperation::WrapKey(algorithm) if handle.public_key().is_none() => {
            let wrapped = handle.wrap_key(algorithm, &[7; 24]).map_err(text)?;
            let key = twin.unwrap_key(algorithm, &wrapped).map_err(text)?;
            holds(key.expose() == [7; 24], "it unwraps to another key")
        }
        CryptoOperation::UnwrapKey(algorithm) => {
            let mut wrapped = match handle.public_key() {
                Some(public) => public
                    .wrap_key(algorithm, &[7; 24])
                    .map_err(|error| error.to_string())?,
                None => twin.wrap_key(algorithm, &[7; 24]).map_err(text)?,
            };
            let key = handle.unwrap_key(algorithm, &wrapped).map_err(text)?;
            holds(key.expose() == [7; 24], "it unwraps to another key")?;
            wrapped[3] ^= 1;
            let altered = handle.unwrap_key(algorithm, &wrapped);
            holds(
                altered.is_err_and(|error| error.kind() == BackendErrorKind::DecryptFailed)
                    || algorithm.as_str() == "RSA1_5",
                "an altered wrapped key was not refused as DecryptFailed",
            )
        }
        // The library does these from the public key.
        CryptoOperation::Verify(_) | CryptoOperation::Encrypt(_) | CryptoOperation::WrapKey(_) => {
            Ok(())
        }
    }
}

/// One key encrypts, the other one decrypts.
fn there_and_back(
    from: &dyn KeyHandle,
    to: &dyn KeyHandle,
    algorithm: EncryptionAlgorithm,
) -> Result<(), String> {
    let text = |error: crate::backend::BackendError| error.to_string();
    let iv = vec![3; algorithm.iv_length().unwrap_or(0)];
    let aad: &[u8] = if algorithm.is_authenticated() {
        b"aad"
    } else {
        b""
    };
    let (mut ciphertext, tag) = from
        .encrypt(algorithm, b"sixteen bytes ok", &iv, aad)
        .map_err(text)?
        .into_parts();
    let tag = tag.map_or_else(Vec::new, |tag| tag.to_vec());
    let opened = to
        .decrypt(algorithm, &ciphertext, &iv, aad, &tag)
        .map_err(text)?;
    holds(
        opened.expose() == b"sixteen bytes ok",
        "it opens to other data",
    )?;
    if algorithm.is_authenticated() {
        ciphertext[0] ^= 1;
        let altered = to.decrypt(algorithm, &ciphertext, &iv, aad, &tag);
        return holds(
            altered.is_err_and(|error| error.kind() == BackendErrorKind::DecryptFailed),
            "an altered ciphertext was not refused as DecryptFailed",
        );
    }
    Ok(())
}

/// Something to sign, of the right length.
fn digest(algorithm: SignatureAlgorithm) -> Vec<u8> {
    vec![0x5a; algorithm.digest().map_or(32, |hash| hash.digest_length())]
}
