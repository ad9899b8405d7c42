//! RSA and ECDSA against aws-lc. Half of the keys are made there and imported, half are made here.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    KeyPair as RsaKeyPair, KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm,
    OaepPrivateDecryptingKey, OaepPublicEncryptingKey, Pkcs1PrivateDecryptingKey,
    Pkcs1PublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey,
};
use aws_lc_rs::signature::{
    self as aws, EcdsaKeyPair, EcdsaSigningAlgorithm, ParsedPublicKey, RsaEncoding,
    VerificationAlgorithm,
};
use strongroom::{
    Ciphertext, CreateKeyOptions, EncryptionAlgorithm, ErrorKind, ImportedKey, KeyName, PublicKey,
    RsaKeySize, SignatureAlgorithm, Vault, WrapAlgorithm,
};

use super::{Inputs, key_name, per_direction, vault};
use crate::make;

/// Of a hundred operations per direction, so many are done with each size of RSA key.
const SIZES: [(KeySize, RsaKeySize, usize); 3] = [
    (KeySize::Rsa2048, RsaKeySize::Bits2048, 80),
    (KeySize::Rsa3072, RsaKeySize::Bits3072, 14),
    (KeySize::Rsa4096, RsaKeySize::Bits4096, 6),
];

/// Every so many signatures are also changed in one bit, and must then be refused.
const CHANGED: usize = 7;

/// A key that both sides have.
struct Shared {
    vault: Vault,
    name: KeyName,
    public: PublicKey,
    pkcs8: Vec<u8>,
}

impl Shared {
    fn import(pkcs8: &[u8]) -> Self {
        let vault = vault();
        let name = key_name(0);
        let key = ImportedKey::from_pkcs8_der(pkcs8).unwrap();
        let key = vault.import_key(&name, make::import(key)).unwrap();
        Self {
            public: make::public_key(PublicKey::from_jwk(key.key()).unwrap()),
            pkcs8: pkcs8.to_vec(),
            vault,
            name,
        }
    }

    fn rsa(size: KeySize) -> Self {
        let pair = RsaKeyPair::generate(size).unwrap();
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        Self::import(pkcs8.as_ref())
    }
}

/// A key of which the other side has the public half only.
fn made_here(vault: &Vault, options: CreateKeyOptions) -> (KeyName, PublicKey) {
    let name = key_name(1);
    let key = vault.create_key(&name, options).unwrap();
    let public = make::public_key(PublicKey::from_jwk(key.key()).unwrap());
    (name, public)
}

/// Signs here with both keys by turns, and verifies there.
fn verified_there(
    shared: &Shared,
    own: CreateKeyOptions,
    algorithm: SignatureAlgorithm,
    verification: &'static dyn VerificationAlgorithm,
    count: usize,
) {
    let (own_name, own) = made_here(&shared.vault, own);
    let keys = [(&shared.name, &shared.public), (&own_name, &own)]
        .map(|(name, public)| (name, parsed(verification, public)));
    let mut inputs = Inputs::new(algorithm.as_str());
    for index in 0..count {
        let (name, theirs) = &keys[index % 2];
        let data = inputs.up_to(300);
        let signed = shared.vault.sign_data(*name, algorithm, &data).unwrap();
        theirs.verify_sig(&data, signed.signature()).unwrap();
        if index % CHANGED == 0 {
            let mut other = signed.into_signature();
            other[index % 50] ^= 1;
            assert!(theirs.verify_sig(&data, &other).is_err());
        }
    }
}

fn parsed(verification: &'static dyn VerificationAlgorithm, key: &PublicKey) -> ParsedPublicKey {
    ParsedPublicKey::new(verification, key.to_spki_der().unwrap()).unwrap()
}

/// Verifies here, with and without the vault, what `sign` signs there.
fn verified_here(
    shared: &Shared,
    algorithm: SignatureAlgorithm,
    count: usize,
    sign: impl Fn(&[u8]) -> Vec<u8>,
) {
    let mut inputs = Inputs::new(algorithm.as_str());
    let refused = |result: strongroom::Result<()>| {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidSignature);
    };
    for index in 0..count {
        let data = inputs.up_to(300);
        let mut signature = sign(&data);
        if index % 2 == 0 {
            let verified = shared
                .vault
                .verify_data(&shared.name, algorithm, &data, &signature);
            verified.unwrap();
        } else {
            let verified = shared.public.verify_data(algorithm, &data, &signature);
            verified.unwrap();
        }
        if index % CHANGED == 0 {
            signature[index % 50] ^= 1;
            refused(shared.public.verify_data(algorithm, &data, &signature));
        }
    }
}

fn rsa_signatures(
    algorithm: SignatureAlgorithm,
    verification: &'static dyn VerificationAlgorithm,
    encoding: &'static dyn RsaEncoding,
) {
    let mut total = 0;
    for (size, own, share) in SIZES {
        let count = per_direction() / 100 * share;
        let shared = Shared::rsa(size);
        verified_there(&shared, make::rsa(own), algorithm, verification, count);
        let pair = RsaKeyPair::from_pkcs8(&shared.pkcs8).unwrap();
        let random = SystemRandom::new();
        verified_here(&shared, algorithm, count, |data| {
            let mut signature = vec![0; own.modulus_length()];
            pair.sign(encoding, &random, data, &mut signature).unwrap();
            signature
        });
        total += count;
    }
    assert_eq!(total, per_direction());
}

#[test]
fn rs256() {
    rsa_signatures(
        SignatureAlgorithm::Rs256,
        &aws::RSA_PKCS1_2048_8192_SHA256,
        &aws::RSA_PKCS1_SHA256,
    );
}

#[test]
fn rs384() {
    rsa_signatures(
        SignatureAlgorithm::Rs384,
        &aws::RSA_PKCS1_2048_8192_SHA384,
        &aws::RSA_PKCS1_SHA384,
    );
}

#[test]
fn rs512() {
    rsa_signatures(
        SignatureAlgorithm::Rs512,
        &aws::RSA_PKCS1_2048_8192_SHA512,
        &aws::RSA_PKCS1_SHA512,
    );
}

#[test]
fn ps256() {
    rsa_signatures(
        SignatureAlgorithm::Ps256,
        &aws::RSA_PSS_2048_8192_SHA256,
        &aws::RSA_PSS_SHA256,
    );
}

#[test]
fn ps384() {
    rsa_signatures(
        SignatureAlgorithm::Ps384,
        &aws::RSA_PSS_2048_8192_SHA384,
        &aws::RSA_PSS_SHA384,
    );
}

#[test]
fn ps512() {
    rsa_signatures(
        SignatureAlgorithm::Ps512,
        &aws::RSA_PSS_2048_8192_SHA512,
        &aws::RSA_PSS_SHA512,
    );
}

/// Keys of which each side signs with one and then with the next.
const EC_KEYS: usize = 10;

fn ecdsa(
    algorithm: SignatureAlgorithm,
    signing: &'static EcdsaSigningAlgorithm,
    verification: &'static dyn VerificationAlgorithm,
) {
    let random = SystemRandom::new();
    for _ in 0..EC_KEYS {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
        let shared = Shared::import(pkcs8.as_ref());
        let count = per_direction() / EC_KEYS;
        let own = make::ec(algorithm.curve().unwrap());
        verified_there(&shared, own, algorithm, verification, count);
        let pair = EcdsaKeyPair::from_pkcs8(signing, &shared.pkcs8).unwrap();
        verified_here(&shared, algorithm, count, |data| {
            pair.sign(&random, data).unwrap().as_ref().to_vec()
        });
    }
}

#[test]
fn es256() {
    ecdsa(
        SignatureAlgorithm::Es256,
        &aws::ECDSA_P256_SHA256_FIXED_SIGNING,
        &aws::ECDSA_P256_SHA256_FIXED,
    );
}

#[test]
fn es384() {
    ecdsa(
        SignatureAlgorithm::Es384,
        &aws::ECDSA_P384_SHA384_FIXED_SIGNING,
        &aws::ECDSA_P384_SHA384_FIXED,
    );
}

#[test]
fn es512() {
    ecdsa(
        SignatureAlgorithm::Es512,
        &aws::ECDSA_P521_SHA512_FIXED_SIGNING,
        &aws::ECDSA_P521_SHA512_FIXED,
    );
}

#[test]
fn es256k() {
    ecdsa(
        SignatureAlgorithm::Es256K,
        &aws::ECDSA_P256K1_SHA256_FIXED_SIGNING,
        &aws::ECDSA_P256K1_SHA256_FIXED,
    );
}

/// The other side's RSA decryption and encryption.
enum Theirs {
    Oaep(&'static OaepAlgorithm),
    Pkcs1,
}

impl Theirs {
    fn encrypt(&self, spki: &[u8], text: &[u8]) -> Vec<u8> {
        let key = PublicEncryptingKey::from_der(spki).unwrap();
        let mut out = vec![0; key.key_size_bytes()];
        match self {
            Self::Oaep(algorithm) => OaepPublicEncryptingKey::new(key)
                .unwrap()
                .encrypt(algorithm, text, &mut out, None)
                .unwrap()
                .to_vec(),
            Self::Pkcs1 => Pkcs1PublicEncryptingKey::new(key)
                .unwrap()
                .encrypt(text, &mut out)
                .unwrap()
                .to_vec(),
        }
    }

    fn decrypt(&self, key: &PrivateDecryptingKey, ciphertext: &[u8]) -> Vec<u8> {
        let key = key.clone();
        let mut out = vec![0; key.key_size_bytes()];
        match self {
            Self::Oaep(algorithm) => OaepPrivateDecryptingKey::new(key)
                .unwrap()
                .decrypt(algorithm, ciphertext, &mut out, None)
                .unwrap()
                .to_vec(),
            Self::Pkcs1 => Pkcs1PrivateDecryptingKey::new(key)
                .unwrap()
                .decrypt(ciphertext, &mut out)
                .unwrap()
                .to_vec(),
        }
    }
}

/// `overhead` is what the padding takes of the modulus.
fn rsa_encryption(
    encryption: EncryptionAlgorithm,
    wrap: WrapAlgorithm,
    theirs: &Theirs,
    overhead: usize,
) {
    let mut inputs = Inputs::new(encryption.as_str());
    let mut total = 0;
    for (size, own, share) in SIZES {
        let count = per_direction() / 100 * share;
        let shared = Shared::rsa(size);
        let vault = &shared.vault;
        let private = PrivateDecryptingKey::from_pkcs8(&shared.pkcs8).unwrap();
        let (own_name, own_public) = made_here(vault, make::rsa(own));
        let spki = [&shared.public, &own_public].map(|key| key.to_spki_der().unwrap());
        let longest = own.modulus_length() - overhead;
        for index in 0..count {
            let text = inputs.up_to(longest);
            let ours = match index % 4 {
                0 => shared.public.encrypt(encryption, &text).unwrap(),
                1 => shared.public.wrap_key(wrap, &text).unwrap(),
                2 => {
                    let options = strongroom::EncryptOptions::new();
                    let made = vault.encrypt(&shared.name, encryption, &text, options);
                    made.unwrap().ciphertext().to_vec()
                }
                _ => {
                    let made = vault.wrap_key(&shared.name, wrap, &text);
                    made.unwrap().wrapped_key().to_vec()
                }
            };
            assert_eq!(theirs.decrypt(&private, &ours), text);

            let text = inputs.up_to(longest);
            let name = [&shared.name, &own_name][index % 2];
            let made = theirs.encrypt(&spki[index % 2], &text);
            let opened = if index % 4 < 2 {
                vault.decrypt(name, encryption, Ciphertext::new(&made))
            } else {
                vault.unwrap_key(name, wrap, &made)
            };
            assert_eq!(opened.unwrap().expose(), text);
        }
        total += count;
    }
    assert_eq!(total, per_direction());
}

#[test]
fn rsa_oaep() {
    rsa_encryption(
        EncryptionAlgorithm::RsaOaep,
        WrapAlgorithm::RsaOaep,
        &Theirs::Oaep(&OAEP_SHA1_MGF1SHA1),
        42,
    );
}

#[test]
fn rsa_oaep_256() {
    rsa_encryption(
        EncryptionAlgorithm::RsaOaep256,
        WrapAlgorithm::RsaOaep256,
        &Theirs::Oaep(&OAEP_SHA256_MGF1SHA256),
        66,
    );
}

#[test]
fn rsa1_5() {
    rsa_encryption(
        EncryptionAlgorithm::Rsa1_5,
        WrapAlgorithm::Rsa1_5,
        &Theirs::Pkcs1,
        11,
    );
}
