//! What aws-lc lacks, against the `openssl` command. Without the command these tests fail.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use strongroom::{
    AlgorithmRules, Ciphertext, CreateKeyOptions, Curve, EncryptionAlgorithm, ImportedKey, KeyName,
    PublicKey, RsaKeySize, SecretBytes, SignatureAlgorithm, Vault, WrapAlgorithm,
};

use super::{Inputs, key_name, vault};
use crate::make;

/// Operations per algorithm in each of the two directions.
const PER_DIRECTION: usize = 100;

/// A directory for the files that the command reads.
struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

/// Runs `openssl` with its input in a file and gives its output.
fn openssl(arguments: &[&str], input: &Path) -> Vec<u8> {
    let input = std::fs::File::open(input).unwrap();
    let output = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::from(input))
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "the command `openssl` does not run ({error}): install it, as this test \
                 compares with it (Debian: apt-get install openssl)"
            )
        });
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_wrap_192(sized: WrapAlgorithm, general: WrapAlgorithm, cipher: &str, iv: &str) {
    let vault = vault();
    let scratch = Scratch::new();
    let padded = sized.is_padded_key_wrap();
    let mut inputs = Inputs::new(sized.as_str());
    for number in 0..PER_DIRECTION {
        let key = inputs.bytes(24);
        let name = key_name(number);
        let imported = ImportedKey::oct(SecretBytes::copied_from(&key));
        vault.import_key(&name, make::import(imported)).unwrap();
        let algorithm = [sized, general][number % 2];
        let key = hex_of(&key);
        let arguments = ["enc", cipher, "-K", &key, "-iv", iv];
        let mut draw = || {
            let mut text = inputs.between(if padded { 1 } else { 16 }, 120);
            if !padded {
                text.truncate(text.len() / 8 * 8);
            }
            text
        };
        let ours = draw();
        let wrapped = vault.wrap_key(&name, algorithm, &ours).unwrap();
        let file = scratch.file("wrapped", wrapped.wrapped_key());
        let opened = openssl(&[&arguments[..], &["-d"]].concat(), &file);
        assert_eq!(opened, ours, "{algorithm}");

        let theirs = draw();
        let wrapped = openssl(&arguments, &scratch.file("key", &theirs));
        let opened = vault.unwrap_key(&name, algorithm, &wrapped).unwrap();
        assert_eq!(opened.expose(), theirs, "{algorithm}");
    }
}

#[test]
fn a192kw() {
    key_wrap_192(
        WrapAlgorithm::A192Kw,
        WrapAlgorithm::CkmAesKeyWrap,
        "-id-aes192-wrap",
        "a6a6a6a6a6a6a6a6",
    );
}

#[test]
fn a192kwpad() {
    key_wrap_192(
        WrapAlgorithm::A192KwPad,
        WrapAlgorithm::CkmAesKeyWrapPad,
        "-id-aes192-wrap-pad",
        "a65959a6",
    );
}

/// A key that the command made and the vault imported.
struct Shared {
    vault: Vault,
    name: KeyName,
    public: PublicKey,
    private_file: PathBuf,
    public_file: PathBuf,
    scratch: Scratch,
}

impl Shared {
    fn generate(algorithm: &str, options: &[&str]) -> Self {
        let scratch = Scratch::new();
        let empty = scratch.file("empty", b"");
        let mut arguments = vec!["genpkey", "-algorithm", algorithm];
        for option in options {
            arguments.extend(["-pkeyopt", *option]);
        }
        let pem = openssl(&arguments, &empty);
        let private_file = scratch.file("private.pem", &pem);
        let vault = vault();
        let name = key_name(0);
        let key = ImportedKey::from_pem(std::str::from_utf8(&pem).unwrap()).unwrap();
        let key = vault.import_key(&name, make::import(key)).unwrap();
        let public = PublicKey::from_jwk(key.key()).unwrap();
        // The public key that the command derives is the one that the import derived.
        let derived = openssl(&["pkey", "-pubout"], &private_file);
        let derived = String::from_utf8(derived).unwrap();
        assert_eq!(PublicKey::from_spki_pem(&derived).unwrap(), public);
        let public_file = scratch.file("public.pem", public.to_spki_pem().unwrap().as_bytes());
        Self {
            vault,
            name,
            public,
            private_file,
            public_file,
            scratch,
        }
    }

    /// Replaces the public key by that of a key made in the vault.
    fn switch_to_own(&mut self, options: CreateKeyOptions) {
        self.name = key_name(1);
        let key = self.vault.create_key(&self.name, options).unwrap();
        self.public = PublicKey::from_jwk(key.key()).unwrap();
        let pem = self.public.to_spki_pem().unwrap();
        self.public_file = self.scratch.file("own.pem", pem.as_bytes());
    }

    /// Verifies by the vault's key, and by the public key alone.
    fn verify_here(&self, algorithm: SignatureAlgorithm, digest: &[u8], signature: &[u8]) {
        self.vault
            .verify(&self.name, algorithm, digest, signature)
            .unwrap();
        self.public.verify(algorithm, digest, signature).unwrap();
    }

    /// Verifies with `pkeyutl`, which fails the test when the signature is not valid.
    fn verify_there(&self, digest: &[u8], signature: &[u8], options: &[&str]) {
        let signature = self.scratch.file("signature", signature);
        let key = text(&self.public_file);
        let mut arguments = vec!["pkeyutl", "-verify", "-pubin", "-inkey", key];
        arguments.extend(["-sigfile", text(&signature)]);
        self.run(arguments, options, digest);
    }

    /// The value inside a signature.
    fn recover_there(&self, signature: &[u8], options: &[&str]) -> Vec<u8> {
        let key = text(&self.public_file);
        let arguments = vec!["pkeyutl", "-verifyrecover", "-pubin", "-inkey", key];
        self.run(arguments, options, signature)
    }

    fn sign_there(&self, digest: &[u8], options: &[&str]) -> Vec<u8> {
        let key = text(&self.private_file);
        self.run(vec!["pkeyutl", "-sign", "-inkey", key], options, digest)
    }

    fn encrypt_there(&self, plaintext: &[u8], options: &[&str]) -> Vec<u8> {
        let key = text(&self.public_file);
        let arguments = vec!["pkeyutl", "-encrypt", "-pubin", "-inkey", key];
        self.run(arguments, options, plaintext)
    }

    fn decrypt_there(&self, ciphertext: &[u8], options: &[&str]) -> Vec<u8> {
        let key = text(&self.private_file);
        self.run(
            vec!["pkeyutl", "-decrypt", "-inkey", key],
            options,
            ciphertext,
        )
    }

    fn run<'a>(&self, mut arguments: Vec<&'a str>, options: &[&'a str], input: &[u8]) -> Vec<u8> {
        for option in options {
            arguments.extend(["-pkeyopt", *option]);
        }
        openssl(&arguments, &self.scratch.file("input", input))
    }
}

const PKCS1: &[&str] = &["rsa_padding_mode:pkcs1"];
const OAEP_256: &[&str] = &[
    "rsa_padding_mode:oaep",
    "rsa_oaep_md:sha256",
    "rsa_mgf1_md:sha256",
];
const RS256: &[&str] = &["rsa_padding_mode:pkcs1", "digest:sha256"];
const PS256: &[&str] = &[
    "rsa_padding_mode:pss",
    "digest:sha256",
    "rsa_pss_saltlen:32",
    "rsa_mgf1_md:sha256",
];

/// RSNULL is the padding of PKCS#1 v1.5 around the value itself.
#[test]
fn rsnull() {
    let shared = Shared::generate("RSA", &["rsa_keygen_bits:2048"]);
    let rules = AlgorithmRules::default().permit("RSNULL").unwrap();
    shared.vault.set_algorithm_rules(rules).unwrap();
    let mut inputs = Inputs::new("RSNULL");
    for _ in 0..PER_DIRECTION {
        let value = inputs.between(1, 245);
        let signed = shared
            .vault
            .sign(&shared.name, SignatureAlgorithm::RsNull, &value)
            .unwrap();
        assert_eq!(shared.recover_there(signed.signature(), PKCS1), value);

        // The command signs nothing that is longer than a digest.
        let value = inputs.between(1, 64);
        let signature = shared.sign_there(&value, PKCS1);
        shared.verify_here(SignatureAlgorithm::RsNull, &value, &signature);
    }
}

/// The smallest odd exponent after 65537, the next Fermat number that is small enough, and the largest.
const EXPONENTS: [u64; 3] = [65_539, 4_294_967_297, 8_589_934_591];

/// One operation of every kind and direction with the key of `shared`; `has_private` tells whether the
/// command has the private half.
fn every_rsa_operation(shared: &Shared, has_private: bool, inputs: &mut Inputs) -> usize {
    let mut operations = 0;
    let digest = inputs.bytes(32);
    for (algorithm, options) in [
        (SignatureAlgorithm::Rs256, RS256),
        (SignatureAlgorithm::Ps256, PS256),
    ] {
        let signed = shared.vault.sign(&shared.name, algorithm, &digest).unwrap();
        shared.verify_there(&digest, signed.signature(), options);
        operations += 1;
        if has_private {
            let signature = shared.sign_there(&digest, options);
            shared.verify_here(algorithm, &digest, &signature);
            operations += 1;
        }
    }
    let plaintext = inputs.between(1, 100);
    for (algorithm, options) in [
        (EncryptionAlgorithm::Rsa1_5, PKCS1),
        (EncryptionAlgorithm::RsaOaep256, OAEP_256),
    ] {
        let made = shared.encrypt_there(&plaintext, options);
        let opened = shared
            .vault
            .decrypt(&shared.name, algorithm, Ciphertext::new(&made))
            .unwrap();
        assert_eq!(opened.expose(), plaintext, "{algorithm}");
        operations += 1;
        if has_private {
            let made = shared.public.encrypt(algorithm, &plaintext).unwrap();
            assert_eq!(shared.decrypt_there(&made, options), plaintext);
            operations += 1;
        }
    }
    operations
}

#[test]
fn rsa_with_other_public_exponents() {
    let mut inputs = Inputs::new("exponents");
    let mut operations = 0;
    for exponent in EXPONENTS {
        let option = format!("rsa_keygen_pubexp:{exponent}");
        let mut shared = Shared::generate("RSA", &["rsa_keygen_bits:2048", &option]);
        for _ in 0..3 {
            operations += every_rsa_operation(&shared, true, &mut inputs);
        }
        let own = make::rsa(RsaKeySize::Bits2048).public_exponent(exponent);
        shared.switch_to_own(own);
        for _ in 0..3 {
            operations += every_rsa_operation(&shared, false, &mut inputs);
        }
    }
    assert_eq!(operations, 108);
}

/// Key files and DER signatures of another maker, on every curve.
#[test]
fn ecdsa_in_der() {
    for (algorithm, curve, name) in [
        (SignatureAlgorithm::Es256, Curve::P256, "prime256v1"),
        (SignatureAlgorithm::Es384, Curve::P384, "secp384r1"),
        (SignatureAlgorithm::Es512, Curve::P521, "secp521r1"),
        (SignatureAlgorithm::Es256K, Curve::P256K, "secp256k1"),
    ] {
        let group = format!("ec_paramgen_curve:{name}");
        let mut shared = Shared::generate("EC", &[&group]);
        let mut inputs = Inputs::new(name);
        let length = algorithm.digest().unwrap().digest_length();
        for _ in 0..PER_DIRECTION {
            let digest = inputs.bytes(length);
            let signature = shared.sign_there(&digest, &[]);
            let signature = algorithm.signature_from_der(&signature).unwrap();
            shared.verify_here(algorithm, &digest, &signature);
        }
        for number in 0..PER_DIRECTION {
            if number == PER_DIRECTION / 2 {
                shared.switch_to_own(make::ec(curve));
            }
            let digest = inputs.bytes(length);
            let signed = shared.vault.sign(&shared.name, algorithm, &digest).unwrap();
            let der = algorithm.signature_to_der(signed.signature()).unwrap();
            shared.verify_there(&digest, &der, &[]);
        }
    }
}
