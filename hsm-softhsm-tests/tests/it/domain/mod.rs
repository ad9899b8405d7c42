//! Keys in tokens are backed up and restored under a domain key, which only its ceremony brings from token to token;
//! everything else is refused, and then nothing has changed.

mod ceremony;
mod interruptions;
mod moving;
mod refusals;

use std::path::PathBuf;
use std::sync::Arc;

use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;
use hsm_softhsm_tests::Token;
use strongroom::backend::pkcs11::{
    DomainDestination, KeyKeeping, Pkcs11Backend, TransportFingerprint, provision_domain,
};
use strongroom::backend::{BackendErrorKind, KeyBackend};
use strongroom::{
    Ciphertext, EncryptOptions, EncryptResult, EncryptionAlgorithm, KeyName, MasterKey, Pin,
    PublicKey, PublicParts, SignatureAlgorithm, Unlock, Vault, VaultOptions, WrapAlgorithm,
    WrapResult,
};
use tempfile::TempDir;

use crate::backends::own_options;

const DATA: &[u8; 32] = b"what the key was used for before";

/// A token with a vault on it.
struct Site {
    vault: Vault,
    backend: Arc<Pkcs11Backend>,
    token: Token,
    _directory: TempDir,
}

impl Site {
    fn new(keeping: KeyKeeping, domain_of: Option<&Vault>) -> Self {
        Self::on(Token::new(), keeping, domain_of)
    }

    fn on(token: Token, keeping: KeyKeeping, domain_of: Option<&Vault>) -> Self {
        let backend = Arc::new(backend(&token, keeping));
        let (vault, directory) = vault(&backend, domain_of);
        Self {
            vault,
            backend,
            token,
            _directory: directory,
        }
    }

    fn officer(&self) -> Pin {
        Pin::new(self.token.so_pin()).unwrap()
    }

    /// With a domain key.
    fn with_domain(self) -> Self {
        self.backend.create_domain_key(&self.officer()).unwrap();
        self
    }
}

fn backend(token: &Token, keeping: KeyKeeping) -> Pkcs11Backend {
    Pkcs11Backend::new(own_options(token).keeping(keeping))
}

fn vault(backend: &Arc<Pkcs11Backend>, domain_of: Option<&Vault>) -> (Vault, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("vault");
    let master = MasterKey::generate().unwrap();
    let unlock = Unlock::raw_key(&master);
    let options = VaultOptions::new().backend(Arc::clone(backend) as Arc<dyn KeyBackend>);
    let vault = match domain_of {
        None => options.create(path, unlock),
        Some(other) => options.create_in_domain(path, unlock, &other.security_domain().unwrap()),
    };
    (vault.unwrap(), directory)
}

/// Two sites of one security domain, whose tokens have one domain key after the ceremony.
fn provisioned(from: KeyKeeping, to: KeyKeeping) -> (Site, Site) {
    let first = Site::new(from, None).with_domain();
    let second = Site::new(to, Some(&first.vault));
    let heard = second.backend.begin_provisioning().unwrap().fingerprint();
    provision(&first, &second, heard).unwrap();
    (first, second)
}

fn provision(
    first: &Site,
    second: &Site,
    heard: TransportFingerprint,
) -> Result<(), BackendErrorKind> {
    let (officer, other) = (first.officer(), second.officer());
    let destination = DomainDestination::new(&second.backend, &other, heard);
    provision_domain(&first.backend, &officer, &[destination])
        .map(|domain| assert!(domain.is_closed()))
        .map_err(|error| error.kind())
}

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

/// What a key does.
#[derive(Default)]
struct Uses {
    sign: Vec<SignatureAlgorithm>,
    encrypt: Vec<EncryptionAlgorithm>,
    wrap: Vec<WrapAlgorithm>,
}

fn uses(text: &[&str]) -> Uses {
    let mut uses = Uses::default();
    for name in text {
        uses.sign.extend(name.parse::<SignatureAlgorithm>());
        uses.encrypt.extend(name.parse::<EncryptionAlgorithm>());
        uses.wrap.extend(name.parse::<WrapAlgorithm>());
    }
    uses
}

/// Something that a key did.
struct Evidence {
    public: Option<PublicParts>,
    macs: Vec<(SignatureAlgorithm, Vec<u8>)>,
    ciphertexts: Vec<(EncryptionAlgorithm, EncryptResult)>,
    wrapped: Vec<(WrapAlgorithm, WrapResult)>,
}

impl Evidence {
    fn of(vault: &Vault, key: &KeyName, uses: &Uses) -> Self {
        let public = vault.get_key(key).unwrap().key().public_parts();
        let macs = uses
            .sign
            .iter()
            .filter(|_| public.is_none())
            .map(|algorithm| {
                let mac = vault.sign_data(key, *algorithm, DATA).unwrap();
                (*algorithm, mac.into_signature())
            });
        let macs = macs.collect();
        let ciphertexts = uses.encrypt.iter().map(|algorithm| {
            let options = EncryptOptions::new();
            (
                *algorithm,
                vault.encrypt(key, *algorithm, DATA, options).unwrap(),
            )
        });
        let ciphertexts = ciphertexts.collect();
        let wrapped = uses
            .wrap
            .iter()
            .map(|algorithm| (*algorithm, vault.wrap_key(key, *algorithm, DATA).unwrap()));
        Self {
            public,
            macs,
            ciphertexts,
            wrapped: wrapped.collect(),
        }
    }

    /// The key in this vault is the one that gave the evidence.
    #[track_caller]
    fn holds_for(&self, vault: &Vault, key: &KeyName, uses: &Uses) {
        assert_eq!(
            vault.get_key(key).unwrap().key().public_parts(),
            self.public
        );
        if let Some(parts) = &self.public {
            let public = PublicKey::from_parts(parts).unwrap();
            for algorithm in &uses.sign {
                let signature = vault.sign_data(key, *algorithm, DATA).unwrap();
                public
                    .verify_data(*algorithm, DATA, signature.signature())
                    .unwrap();
            }
        }
        for (algorithm, mac) in &self.macs {
            vault.verify_data(key, *algorithm, DATA, mac).unwrap();
        }
        for (algorithm, ciphertext) in &self.ciphertexts {
            let opened = vault.decrypt(key, *algorithm, Ciphertext::from(ciphertext));
            assert_eq!(opened.unwrap().expose(), DATA);
        }
        for (algorithm, wrapped) in &self.wrapped {
            let opened = vault.unwrap_key(key, *algorithm, wrapped.wrapped_key());
            assert_eq!(opened.unwrap().expose(), DATA);
        }
    }
}

#[track_caller]
fn one(session: &Session, template: &[Attribute]) -> ObjectHandle {
    let objects = session.find_objects(template).unwrap();
    assert_eq!(objects.len(), 1);
    objects[0]
}
