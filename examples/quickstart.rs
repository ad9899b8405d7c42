//! The main job, from an empty directory to a reopened vault, with every step checked.
//!
//! `cargo run --release --example quickstart` prints what it does and ends with an error at the first
//! step that does not give what it should.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use strongroom::{
    Ciphertext, Clock, CreateKeyOptions, Curve, EncryptOptions, EncryptionAlgorithm, ErrorKind,
    ImportKeyOptions, ImportedKey, KeyBackup, KeyName, KeyOperation, MasterKey, OctKeySize,
    RsaKeySize, SecretBytes, SignatureAlgorithm, SystemClock, Timestamp, Unlock, UpdateKeyOptions,
    Vault, VaultOptions, WrapAlgorithm,
};

type Outcome<T = ()> = Result<T, Box<dyn StdError>>;

/// Ends the program with the text when the condition does not hold.
fn check(holds: bool, what: &str) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(format!("this does not hold: {what}").into())
    }
}

/// Checks that a call was refused for the right reason, and prints the reason.
fn refused<T>(result: strongroom::Result<T>, kind: ErrorKind) -> Outcome {
    match result {
        Err(error) if error.kind() == kind => {
            println!("     refused, as it must be: {error}");
            Ok(())
        }
        Err(error) => Err(format!("expected {kind:?}, but got {:?}: {error}", error.kind()).into()),
        Ok(_) => Err(format!("expected {kind:?}, but the call succeeded").into()),
    }
}

/// The system's clock, with hands that can be moved forward.
#[derive(Debug, Default)]
struct MovableClock {
    ahead_ms: AtomicU64,
}

impl Clock for MovableClock {
    fn unix_milliseconds(&self) -> u64 {
        SystemClock::default().unix_milliseconds() + self.ahead_ms.load(Ordering::SeqCst)
    }
}

/// A directory of our own that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Outcome<Self> {
        let name = format!("strongroom-quickstart-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn main() -> Outcome {
    let scratch = Scratch::new()?;
    let path = scratch.0.join("vault");
    let clock = Arc::new(MovableClock::default());
    let options = || VaultOptions::new().clock(Arc::clone(&clock) as Arc<dyn Clock>);

    println!("== A vault");
    let master = MasterKey::generate()?;
    let unlock = Unlock::raw_key(&master);
    let vault = options().create(&path, unlock)?;
    println!("   created in {}", path.display());
    println!("   a second handle:");
    refused(options().open(&path, unlock), ErrorKind::VaultInUse)?;

    elliptic_curves(&vault)?;
    rsa(&vault)?;
    symmetric(&vault)?;
    imported(&vault)?;
    rotation(&vault)?;
    attributes(&vault, &clock)?;
    lifecycle(&vault)?;

    println!("== Closed and reopened");
    let names = listed(&vault)?;
    let signer = KeyName::from_static("invoice-signer");
    let es256 = SignatureAlgorithm::Es256;
    let signed = vault.sign_data(&signer, es256, b"across a restart")?;
    vault.close()?;
    println!("   the closed handle:");
    refused(vault.get_key(&signer), ErrorKind::VaultFailed)?;
    drop(vault);
    println!("   another master key:");
    let wrong = MasterKey::generate()?;
    refused(
        options().open(&path, Unlock::raw_key(&wrong)),
        ErrorKind::WrongKey,
    )?;
    let vault = options().open(&path, unlock)?;
    check(listed(&vault)? == names, "the same keys are there")?;
    vault.verify_data(
        signed.key_id(),
        es256,
        b"across a restart",
        signed.signature(),
    )?;
    let report = vault.check()?;
    check(report.is_clean(), "the vault's check finds nothing")?;
    println!(
        "   {} keys with {} versions, all sound",
        report.keys(),
        report.versions()
    );
    vault.close()?;
    println!("== Everything held");
    Ok(())
}

fn listed(vault: &Vault) -> Outcome<Vec<String>> {
    let mut names = Vec::new();
    for item in vault.list_key_properties() {
        names.push(item?.name().to_string());
    }
    names.sort();
    Ok(names)
}

fn elliptic_curves(vault: &Vault) -> Outcome {
    println!("== Elliptic curves");
    for (name, curve, algorithm) in [
        ("invoice-signer", Curve::P256, SignatureAlgorithm::Es256),
        ("signer-p384", Curve::P384, SignatureAlgorithm::Es384),
        ("signer-p521", Curve::P521, SignatureAlgorithm::Es512),
        ("signer-p256k", Curve::P256K, SignatureAlgorithm::Es256K),
    ] {
        let name: KeyName = name.parse()?;
        let options = CreateKeyOptions::ec(curve).tag("team", "billing");
        let key = vault.create_key(&name, options)?;
        let signed = vault.sign_data(&name, algorithm, b"invoice 7")?;
        let (id, signature) = (signed.key_id(), signed.signature());
        vault.verify_data(id, algorithm, b"invoice 7", signature)?;
        println!("   {}", key.id());
        println!(
            "     {algorithm} signature of {} bytes verified",
            signature.len()
        );
        let other = vault.verify_data(id, algorithm, b"invoice 8", signature);
        refused(other, ErrorKind::InvalidSignature)?;
    }
    println!("   encrypting with a signing key:");
    let name = KeyName::from_static("invoice-signer");
    let oaep = EncryptionAlgorithm::RsaOaep256;
    let encrypted = vault.encrypt(&name, oaep, b"text", EncryptOptions::new());
    refused(encrypted, ErrorKind::AlgorithmMismatch)
}

fn rsa(vault: &Vault) -> Outcome {
    println!("== RSA");
    for size in RsaKeySize::ALL {
        let name: KeyName = format!("rsa-{}", size.bits()).parse()?;
        vault.create_key(&name, CreateKeyOptions::rsa(size))?;
        for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
            let algorithm = algorithm.parse()?;
            let signed = vault.sign_data(&name, algorithm, b"contract")?;
            vault.verify_data(signed.key_id(), algorithm, b"contract", signed.signature())?;
        }
        for algorithm in ["RSA-OAEP", "RSA-OAEP-256", "RSA1_5"] {
            let encryption = algorithm.parse()?;
            let sealed = vault.encrypt(&name, encryption, b"a secret", EncryptOptions::new())?;
            let opened = vault.decrypt(sealed.key_id(), encryption, Ciphertext::from(&sealed))?;
            check(
                opened.expose() == b"a secret",
                "RSA decrypts what it encrypted",
            )?;
            let wrap = algorithm.parse()?;
            let wrapped = vault.wrap_key(&name, wrap, &[7; 32])?;
            let key = vault.unwrap_key(wrapped.key_id(), wrap, wrapped.wrapped_key())?;
            check(key.expose() == [7; 32], "RSA unwraps what it wrapped")?;
        }
        println!("   {name}: six signature, three encryption and three wrap algorithms, both ways");
    }
    println!("   RSNULL, which signs whatever it is given:");
    let name = KeyName::from_static("rsa-2048");
    let signed = vault.sign(&name, SignatureAlgorithm::RsNull, b"anything");
    refused(signed, ErrorKind::AlgorithmRefused)
}

fn symmetric(vault: &Vault) -> Outcome {
    println!("== Symmetric keys");
    for size in OctKeySize::ALL {
        let bits = size.bits();
        let name: KeyName = format!("oct-{bits}").parse()?;
        vault.create_key(&name, CreateKeyOptions::oct(size))?;
        let text = b"sixteen bytes ok";
        for mode in ["GCM", "CBC", "CBCPAD"] {
            let algorithm: EncryptionAlgorithm = format!("A{bits}{mode}").parse()?;
            let aad: &[u8] = if algorithm.is_authenticated() {
                b"row 7"
            } else {
                b""
            };
            let sealed = vault.encrypt(&name, algorithm, text, EncryptOptions::new().aad(aad))?;
            let ciphertext = Ciphertext::from(&sealed).aad(aad);
            let opened = vault.decrypt(sealed.key_id(), algorithm, ciphertext)?;
            check(opened.expose() == text, "AES decrypts what it encrypted")?;
        }
        for algorithm in [
            format!("A{bits}KW"),
            format!("A{bits}KWPAD"),
            "CKM_AES_KEY_WRAP".to_owned(),
            "CKM_AES_KEY_WRAP_PAD".to_owned(),
        ] {
            let algorithm: WrapAlgorithm = algorithm.parse()?;
            let wrapped = vault.wrap_key(&name, algorithm, &[9; 24])?;
            let key = vault.unwrap_key(wrapped.key_id(), algorithm, wrapped.wrapped_key())?;
            check(key.expose() == [9; 24], "AES unwraps what it wrapped")?;
        }
        println!("   {name}: GCM, CBC, CBCPAD, KW and KWP, both ways");
    }
    let name = KeyName::from_static("oct-256");
    let gcm = EncryptionAlgorithm::A256Gcm;
    let sealed = vault.encrypt(&name, gcm, b"text", EncryptOptions::new().aad(b"row 7"))?;
    println!("   a ciphertext under other additional data:");
    let ciphertext = Ciphertext::from(&sealed).aad(b"row 8");
    refused(
        vault.decrypt(sealed.key_id(), gcm, ciphertext),
        ErrorKind::DecryptFailed,
    )?;
    let data_key = vault.generate_data_key(&name, WrapAlgorithm::A256Kw, 32)?;
    let (key, wrapped) = data_key.into_parts();
    let again = vault.unwrap_key(
        wrapped.key_id(),
        WrapAlgorithm::A256Kw,
        wrapped.wrapped_key(),
    )?;
    check(key == again, "a data key unwraps to itself")?;

    let name = KeyName::from_static("token-mac");
    let operations = [KeyOperation::Sign, KeyOperation::Verify];
    vault.create_key(
        &name,
        CreateKeyOptions::oct(OctKeySize::Bits256).operations(operations),
    )?;
    for algorithm in ["HS256", "HS384", "HS512"] {
        let algorithm = algorithm.parse()?;
        let mac = vault.sign_data(&name, algorithm, b"header.payload")?;
        vault.verify_data(mac.key_id(), algorithm, b"header.payload", mac.signature())?;
    }
    println!("   {name}: HS256, HS384 and HS512, both ways");
    Ok(())
}

fn imported(vault: &Vault) -> Outcome {
    println!("== Imported keys");
    let name = KeyName::from_static("imported-jwk");
    // The key of RFC 7515, appendix A.3.1.
    let jwk = br#"{"kty":"EC","crv":"P-256",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
    let key = vault.import_key(&name, ImportKeyOptions::new(ImportedKey::from_jwk(jwk)?))?;
    let signed = vault.sign_data(&name, SignatureAlgorithm::Es256, b"payload")?;
    vault.verify_data(
        signed.key_id(),
        SignatureAlgorithm::Es256,
        b"payload",
        signed.signature(),
    )?;
    println!("   {}: an EC key from a JWK", key.id());

    let name = KeyName::from_static("imported-hmac");
    let secret = SecretBytes::from((1..=64).collect::<Vec<u8>>());
    vault.import_key(&name, ImportKeyOptions::new(ImportedKey::oct(secret)))?;
    let mac = vault.sign_data(&name, SignatureAlgorithm::Hs512, b"payload")?;
    vault.verify_data(
        mac.key_id(),
        SignatureAlgorithm::Hs512,
        b"payload",
        mac.signature(),
    )?;
    println!("   {name}: an HMAC key of 64 bytes");

    println!("   a JWK whose point is not on its curve:");
    let bad = jwk.map(|byte| if byte == b'8' { b'9' } else { byte });
    let bad = ImportedKey::from_jwk(&bad)?;
    let name = KeyName::from_static("bad");
    refused(
        vault.import_key(&name, ImportKeyOptions::new(bad)),
        ErrorKind::InvalidKeyMaterial,
    )
}

fn rotation(vault: &Vault) -> Outcome {
    println!("== Rotation");
    let signer = KeyName::from_static("invoice-signer");
    let kek = KeyName::from_static("oct-256");
    let (es256, gcm, kw) = (
        SignatureAlgorithm::Es256,
        EncryptionAlgorithm::A256Gcm,
        WrapAlgorithm::A256Kw,
    );
    let signed = vault.sign_data(&signer, es256, b"old")?;
    let wrapped = vault.wrap_key(&kek, kw, &[5; 32])?;
    let sealed = vault.encrypt(&kek, gcm, b"old", EncryptOptions::new())?;
    let new = vault.rotate_key(&signer)?;
    vault.rotate_key(&kek)?;
    check(
        new.id() != signed.key_id(),
        "a rotation makes a new version",
    )?;
    vault.verify_data(signed.key_id(), es256, b"old", signed.signature())?;
    let opened = vault.decrypt(sealed.key_id(), gcm, Ciphertext::from(&sealed))?;
    check(opened.expose() == b"old", "the old version decrypts")?;
    println!("   the old versions still verify and decrypt");
    println!("   the newest version, on an old ciphertext:");
    refused(
        vault.decrypt(&kek, gcm, Ciphertext::from(&sealed)),
        ErrorKind::DecryptFailed,
    )?;
    let rewrapped = vault.rewrap_key(wrapped.key_id(), kw, wrapped.wrapped_key(), &kek, kw)?;
    let key = vault.unwrap_key(&kek, kw, rewrapped.wrapped_key())?;
    check(key.expose() == [5; 32], "a rewrapped key is the same key")?;
    let versions = vault.list_key_properties_versions(&signer)?.count();
    check(versions == 2, "there are two versions")
}

fn attributes(vault: &Vault, clock: &MovableClock) -> Outcome {
    println!("== Disabled and expired keys");
    let name = KeyName::from_static("seasonal");
    let es256 = SignatureAlgorithm::Es256;
    vault.create_key(&name, CreateKeyOptions::ec(Curve::P256))?;
    let signed = vault.sign_data(&name, es256, b"in season")?;
    let verify = || vault.verify_data(&name, es256, b"in season", signed.signature());
    vault.update_key_properties(&name, UpdateKeyOptions::new().enabled(false))?;
    println!("   disabled, signing and verifying:");
    refused(vault.sign_data(&name, es256, b"x"), ErrorKind::KeyDisabled)?;
    refused(verify(), ErrorKind::KeyDisabled)?;
    let expiry = Timestamp::from_unix_seconds(clock.unix_milliseconds() / 1_000).plus_days(1);
    let update = UpdateKeyOptions::new().enabled(true).expires_on(expiry);
    vault.update_key_properties(&name, update)?;
    vault.sign_data(&name, es256, b"still in season")?;
    clock.ahead_ms.store(2 * 86_400_000, Ordering::SeqCst);
    println!("   two days later, a day after its expiry:");
    refused(vault.sign_data(&name, es256, b"x"), ErrorKind::KeyExpired)?;
    verify()?;
    println!("     it still verifies what it signed");
    Ok(())
}

fn lifecycle(vault: &Vault) -> Outcome {
    println!("== Delete, recover, back up, purge, restore");
    let name = KeyName::from_static("oct-256");
    let gcm = EncryptionAlgorithm::A256Gcm;
    let sealed = vault.encrypt(&name, gcm, b"precious", EncryptOptions::new())?;
    let decrypts = || -> Outcome {
        let opened = vault.decrypt(sealed.key_id(), gcm, Ciphertext::from(&sealed))?;
        check(opened.expose() == b"precious", "the key decrypts")
    };
    let deleted = vault.delete_key(&name)?;
    println!("   deleted: {}", deleted.recovery_id());
    refused(vault.get_key(&name), ErrorKind::KeyNotFound)?;
    let again = vault.create_key(&name, CreateKeyOptions::oct(OctKeySize::Bits256));
    refused(again, ErrorKind::KeyDeleted)?;
    vault.recover_deleted_key(&name)?;
    decrypts()?;
    println!("   recovered; it decrypts");
    let backup = vault.backup_key(&name)?;
    let summary = KeyBackup::inspect(backup.as_bytes())?;
    println!(
        "   backed up, {} bytes; restored beside itself:",
        summary.length()
    );
    refused(vault.restore_key(&backup), ErrorKind::KeyExists)?;
    vault.delete_key(&name)?;
    vault.purge_deleted_key(&name)?;
    refused(vault.get_deleted_key(&name), ErrorKind::DeletedKeyNotFound)?;
    let restored = vault.restore_key(&backup)?;
    check(
        restored.previously_purged(),
        "the restore knows of the purge",
    )?;
    check(restored.version_count() == 2, "both versions are back")?;
    decrypts()?;
    println!("   purged and restored; it decrypts");
    println!("   an altered backup:");
    let mut altered = backup.into_bytes();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    refused(vault.restore_key(&altered), ErrorKind::InvalidBackup)
}
