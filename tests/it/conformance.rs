//! Every backend of the crate passes the conformance suite, the suite finds a backend that claims too much
//! or too little, and a backend that fails at any call leaves nothing half done in a vault.

use std::sync::Arc;

use strongroom::backend::software::SoftwareBackend;
use strongroom::backend::testing::{Fault, FaultyBackend, check_conformance};
use strongroom::backend::{
    BackendId, BackendResult, Capabilities, KeyBackend, KeyBlob, KeyHandle, KeyReference,
    KeyRequest, KeyTag, NewKey, Support,
};
use strongroom::{
    CreateKeyOptions, CryptoOperation, Curve, ErrorKind, ImportKeyOptions, ImportedKey,
    KeyMaterial, KeySpec, OctKeySize, SecretBytes, SignatureAlgorithm, UpdateKeyOptions, Vault,
    VaultOptions,
};

use crate::support::name;

#[test]
fn the_software_backend_does_what_it_claims_and_denies_the_rest() {
    let report = check_conformance(&SoftwareBackend::new());
    assert_eq!(report.failures(), &[] as &[String]);
    // 3 RSA sizes, 4 curves and 3 symmetric sizes made, 3 symmetric sizes taken in, each with 74 operations
    // and 4 properties of the key, and the check.
    assert_eq!(
        report.passed(),
        13 * (CryptoOperation::all().count() + 4) + 1
    );
}

/// Software with other capabilities than its own.
#[derive(Debug)]
struct Boaster {
    inner: SoftwareBackend,
    capabilities: Arc<Capabilities>,
}

impl KeyBackend for Boaster {
    fn id(&self) -> &BackendId {
        self.inner.id()
    }

    fn capabilities(&self) -> Arc<Capabilities> {
        Arc::clone(&self.capabilities)
    }

    fn check(&self) -> BackendResult<()> {
        Ok(())
    }

    fn generate(&self, request: &KeyRequest<'_>) -> BackendResult<NewKey> {
        self.inner.generate(request)
    }

    fn import(&self, request: &KeyRequest<'_>, material: &KeyMaterial) -> BackendResult<NewKey> {
        self.inner.import(request, material)
    }

    fn open(&self, key: &KeyReference<'_>) -> BackendResult<Arc<dyn KeyHandle>> {
        self.inner.open(key)
    }

    fn destroy(&self, tag: KeyTag, blob: Option<&KeyBlob>) -> BackendResult<()> {
        self.inner.destroy(tag, blob)
    }
}

#[test]
fn the_suite_finds_a_claim_that_does_not_hold_and_a_denial_that_does_not() {
    let spec = KeySpec::Ec(Curve::P256);
    let claims = Capabilities::new()
        .with_generation(spec)
        // ES384 does not fit P-256, and ES256, which works, is not claimed.
        .with(
            spec,
            CryptoOperation::Sign(SignatureAlgorithm::Es384),
            Support::Native,
        );
    let boaster = Boaster {
        inner: SoftwareBackend::new(),
        capabilities: Arc::new(claims),
    };
    let failures = check_conformance(&boaster).failures().join("\n");
    assert!(
        failures.contains("sign with ES384 on EC P-256"),
        "{failures}"
    );
    assert!(
        failures.contains("sign with ES256 on EC P-256"),
        "{failures}"
    );
    assert!(failures.contains("generate EC P-384"), "{failures}");
}

/// Creates, imports, uses, rotates, deletes, backs up and restores keys in the faulty backend, and gives
/// what was acknowledged: names with the number of versions.
fn work(vault: &Vault, backend: &BackendId) -> Vec<(&'static str, usize)> {
    let mut acknowledged = Vec::new();
    let ec = || CreateKeyOptions::ec(Curve::P256).backend(backend);
    let mut versions = usize::from(vault.create_key(&name("made"), ec()).is_ok());
    if versions > 0 {
        versions += usize::from(vault.rotate_key(&name("made")).is_ok());
        acknowledged.push(("made", versions));
        if let Ok(backup) = vault.backup_key(&name("made")) {
            vault.delete_key(&name("made")).unwrap();
            vault.purge_deleted_key(&name("made")).unwrap();
            if vault.restore_key(&backup).is_err() {
                acknowledged.pop();
            }
        }
    }
    let key = ImportedKey::oct(SecretBytes::from((1..=32).collect::<Vec<u8>>()));
    let options = ImportKeyOptions::new(key).backend(backend);
    if vault.import_key(&name("taken"), options).is_ok() {
        acknowledged.push(("taken", 1));
        vault
            .update_key_properties(&name("taken"), UpdateKeyOptions::new().enabled(true))
            .unwrap();
    }
    acknowledged
}

#[test]
fn a_backend_that_fails_at_any_call_leaves_nothing_half_done() {
    let mut most = 0;
    for call in 1.. {
        let mut quiet = 0;
        for fault in [Fault::Before, Fault::After] {
            let id: BackendId = "faulty".parse().unwrap();
            let faulty = Arc::new(FaultyBackend::new(SoftwareBackend::new(), id.clone()));
            let vault = VaultOptions::new()
                .backend(Arc::clone(&faulty) as Arc<dyn KeyBackend>)
                .create_in_memory()
                .unwrap();
            faulty.fail_call(call, fault);
            let acknowledged = work(&vault, &id);
            let calls = faulty.calls();
            most = most.max(calls);
            quiet += usize::from(calls < call);
            faulty.fail_call(u64::MAX / 4, Fault::Before);
            let mut listed: Vec<_> = vault
                .list_key_properties()
                .map(|item| item.unwrap().name().to_string())
                .collect();
            listed.sort();
            let mut names: Vec<_> = acknowledged.iter().map(|(name, _)| *name).collect();
            names.sort_unstable();
            assert_eq!(listed, names, "call {call} {fault:?}");
            for (key, versions) in acknowledged {
                let listed = vault.list_key_properties_versions(&name(key)).unwrap();
                assert_eq!(listed.count(), versions, "call {call} {fault:?}");
            }
            if names.contains(&"made") {
                let algorithm = SignatureAlgorithm::Es256;
                vault.sign_data(&name("made"), algorithm, b"x").unwrap();
            }
            assert!(vault.check().unwrap().is_clean());
        }
        if quiet == 2 {
            break;
        }
    }
    assert!(most >= 5, "the work made only {most} calls");
}

#[test]
fn a_key_of_a_backend_that_is_not_attached_stays_and_says_so() {
    let place = crate::support::Place::new();
    let id: BackendId = "second".parse().unwrap();
    let second = || Arc::new(FaultyBackend::new(SoftwareBackend::new(), id.clone()));
    let unlock = crate::support::master_key();
    let unlock = strongroom::Unlock::raw_key(&unlock);
    let vault = place
        .options()
        .backend(second())
        .create(&place.path, unlock)
        .unwrap();
    let options = CreateKeyOptions::oct(OctKeySize::Bits256).backend(&id);
    vault.create_key(&name("elsewhere"), options).unwrap();
    vault.close().unwrap();

    let vault = place.open().unwrap();
    assert_eq!(
        vault
            .get_key(&name("elsewhere"))
            .unwrap()
            .properties()
            .backend(),
        &id
    );
    let error = vault
        .wrap_key(
            &name("elsewhere"),
            strongroom::WrapAlgorithm::A256Kw,
            &[1; 16],
        )
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable);
    assert!(error.is_retryable());
    vault.close().unwrap();

    let vault = place
        .options()
        .backend(second())
        .open(&place.path, unlock)
        .unwrap();
    vault
        .wrap_key(
            &name("elsewhere"),
            strongroom::WrapAlgorithm::A256Kw,
            &[1; 16],
        )
        .unwrap();
}
