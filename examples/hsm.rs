//! Software and -HSM keys side by side: `cargo run --release --features pkcs11 --example hsm`.
//!
//! The example makes itself a SoftHSM2 token in a temporary directory (Debian: `apt install softhsm2`; or give the
//! path of the module as argument), and a vault that uses it. Every step is checked; the first mismatch ends it.

#![allow(
    clippy::disallowed_methods,
    reason = "a program may read its environment"
)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use strongroom::backend::pkcs11::{
    KeyKeeping, PinSource, Pkcs11Backend, Pkcs11Options, TokenSelector,
};
use strongroom::backend::{BackendId, KeyBackend, Support};
use strongroom::{
    Ciphertext, CreateKeyOptions, Curve, EncryptOptions, EncryptionAlgorithm, KeyName, KeySpec,
    MasterKey, OctKeySize, Pin, PublicKey, RsaKeySize, SignatureAlgorithm, Unlock, Vault,
    VaultOptions, WrapAlgorithm,
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const PIN: &str = "24681357";

/// Where distributions put the module.
const PLACES: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

fn main() -> Outcome {
    let directory = tempfile::tempdir()?;
    if std::env::var_os("SOFTHSM2_CONF").is_none() {
        // SoftHSM2 reads its configuration from the environment, which is set for a process before it starts.
        return again_with_configuration(directory.path());
    }
    let module = match std::env::args_os().nth(1) {
        Some(path) => PathBuf::from(path),
        None => PLACES
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
            .ok_or("SoftHSM2 is not installed: install softhsm2, or give the path of its module")?,
    };
    let serial = make_token(&module)?;
    println!(
        "A token with serial number {serial} in {}",
        module.display()
    );

    let token = |id: &str, keeping| -> Outcome<Arc<dyn KeyBackend>> {
        let selector = TokenSelector::Serial(serial.clone());
        let options = Pkcs11Options::new(&module, selector, PinSource::value(Pin::new(PIN)?))
            .id(id.parse()?)
            .keeping(keeping);
        Ok(Arc::new(Pkcs11Backend::new(options)))
    };
    let resident = token("token", KeyKeeping::Resident)?;
    let wrapped = token("token-wrapped", KeyKeeping::Wrapped)?;
    show_capabilities(&*resident);

    let path = directory.path().join("vault");
    let master = MasterKey::generate()?;
    let options = || {
        VaultOptions::new()
            .backend(Arc::clone(&resident))
            .backend(Arc::clone(&wrapped))
    };
    let vault = options().create(&path, Unlock::raw_key(&master))?;
    side_by_side(&vault, wrapped.id())?;
    vault.close()?;

    println!("\nThe vault is opened again, and the token still has its keys");
    let vault = options().open(&path, Unlock::raw_key(&master))?;
    for finding in vault.open_report()?.backend_findings() {
        println!("  {}", finding.message());
    }
    require(vault.open_report()?.is_clean(), "the open report is clean")?;
    let signer = KeyName::from_static("signer");
    let signed = vault.sign_data(&signer, SignatureAlgorithm::Es256, b"again")?;
    vault.verify_data(
        signed.key_id(),
        SignatureAlgorithm::Es256,
        b"again",
        signed.signature(),
    )?;
    println!("  {} signs", signed.key_id());

    println!("\nA key that is purged is gone from the token too");
    let before = held(&*resident, &vault)?;
    vault.delete_key(&signer)?;
    vault.purge_deleted_key(&signer)?;
    let after = held(&*resident, &vault)?;
    println!("  the token held {before} keys of this vault, and holds {after}");
    require(
        before == after + 2,
        "both versions of the signer are destroyed",
    )?;
    vault.close()?;
    println!("\nEverything held.");
    Ok(())
}

/// Runs this program once more, with a configuration of SoftHSM2 that keeps its tokens in `directory`.
fn again_with_configuration(directory: &Path) -> Outcome {
    let tokens = directory.join("tokens");
    std::fs::create_dir(&tokens)?;
    let configuration = directory.join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    std::fs::write(&configuration, text)?;
    let status = std::process::Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env("SOFTHSM2_CONF", &configuration)
        .status()?;
    require(status.success(), "every step")
}

/// A new token, through PKCS#11 alone; gives its serial number.
fn make_token(module: &Path) -> Outcome<String> {
    let pkcs11 = Pkcs11::new(module)?;
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    let slots = pkcs11.get_slots_with_token()?;
    let slot = *slots.last().ok_or("SoftHSM2 offers no slot")?;
    let officer = AuthPin::new("87654321".into());
    pkcs11.init_token(slot, &officer, "strongroom example")?;
    let slots = pkcs11.get_slots_with_initialized_token()?;
    let slot = *slots.first().ok_or("the new token is not there")?;
    let session = pkcs11.open_rw_session(slot)?;
    session.login(UserType::So, Some(&officer))?;
    session.init_pin(&AuthPin::new(PIN.into()))?;
    session.logout()?;
    Ok(pkcs11.get_token_info(slot)?.serial_number().to_owned())
}

fn show_capabilities(backend: &dyn KeyBackend) {
    let capabilities = backend.capabilities();
    let spec = KeySpec::Rsa(RsaKeySize::Bits2048);
    println!("\nWhat the token does with {spec}, as measured");
    for (_, operation, support) in capabilities.iter().filter(|(of, ..)| *of == spec) {
        if let Support::Fallback(how) = support {
            println!("  {operation}: {how}");
        }
    }
}

fn side_by_side(vault: &Vault, wrapped: &BackendId) -> Outcome {
    println!("\nOne name, a version in software and one in the token");
    let signer = KeyName::from_static("signer");
    let software = vault.create_key(&signer, CreateKeyOptions::ec(Curve::P256))?;
    let hardware = vault.create_key(&signer, CreateKeyOptions::ec(Curve::P256).hsm())?;
    vault.rotate_key(&signer)?;
    for version in vault.list_key_properties_versions(&signer)? {
        println!("  {} {}", version.key_type(), version.id());
    }
    for key in [software.id(), hardware.id()] {
        let signed = vault.sign_data(key, SignatureAlgorithm::Es256, b"invoice 7")?;
        let public = PublicKey::from_jwk(vault.get_key(signed.key_id())?.key())?;
        public.verify_data(SignatureAlgorithm::Es256, b"invoice 7", signed.signature())?;
        println!("  {key} signs, and its public key verifies without the vault");
    }

    println!("\nEach family in the token, and wrapped by it");
    let backends = [("resident", None), ("wrapped", Some(wrapped))];
    for (how, backend) in backends {
        let place = |options: CreateKeyOptions| match backend {
            None => options.hsm(),
            Some(id) => options.backend(id),
        };
        let rsa: KeyName = format!("rsa-{how}").parse()?;
        vault.create_key(&rsa, place(CreateKeyOptions::rsa(RsaKeySize::Bits2048)))?;
        let algorithm = EncryptionAlgorithm::RsaOaep256;
        let sealed = vault.encrypt(&rsa, algorithm, b"a secret", EncryptOptions::new())?;
        let opened = vault.decrypt(sealed.key_id(), algorithm, Ciphertext::from(&sealed))?;
        require(
            opened.expose() == b"a secret",
            "the token opens RSA-OAEP-256",
        )?;
        println!("  {rsa}: {algorithm} opened in the token");

        let kek: KeyName = format!("kek-{how}").parse()?;
        vault.create_key(&kek, place(CreateKeyOptions::oct(OctKeySize::Bits256)))?;
        let wrapped = vault.wrap_key(&kek, WrapAlgorithm::A256Kw, &[7; 32])?;
        let key = vault.unwrap_key(
            wrapped.key_id(),
            WrapAlgorithm::A256Kw,
            wrapped.wrapped_key(),
        )?;
        require(key.expose() == [7; 32], "the token unwraps what it wrapped")?;
        println!("  {kek}: {} there and back", WrapAlgorithm::A256Kw);
    }
    Ok(())
}

/// How many keys of the vault the token holds.
fn held(backend: &dyn KeyBackend, vault: &Vault) -> Outcome<usize> {
    let mut label = [0; 8];
    label.copy_from_slice(&vault.status()?.vault_id()[..8]);
    let label = strongroom::backend::VaultLabel::from_bytes(label);
    Ok(backend.inventory(&label)?.len())
}

fn require(holds: bool, what: &str) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(format!("this did not hold: {what}").into())
    }
}
