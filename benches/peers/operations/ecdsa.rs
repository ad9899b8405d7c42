//! ECDSA on three curves.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::signature::{
    self as aws, EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair,
    ParsedPublicKey,
};
use openssl::bn::BigNum;
use openssl::ec::EcKey;
use openssl::ecdsa::EcdsaSig;
use openssl::pkey::{PKey, Private};
use p256::ecdsa::signature::hazmat::{PrehashVerifier, RandomizedPrehashSigner};
use p256::pkcs8::EncodePrivateKey;
use strongroom::{KeyName, SignatureAlgorithm, Vault};

use super::{MESSAGE, Random, Vaults, sha256, sha384};
use crate::contest::{Operation, Peer};
use crate::keysets;

/// What is the same for all peers of one curve.
struct Work {
    name: KeyName,
    algorithm: SignatureAlgorithm,
    hash: &'static digest::Algorithm,
    digest: Vec<u8>,
    der: Vec<u8>,
    signing: &'static EcdsaSigningAlgorithm,
    verification: &'static EcdsaVerificationAlgorithm,
}

impl Work {
    fn imported(&self) -> Digest {
        Digest::import_less_safe(&self.digest, self.hash).expect("a digest")
    }

    fn aws_lc(&self) -> (EcdsaKeyPair, ParsedPublicKey) {
        let key = EcdsaKeyPair::from_pkcs8(self.signing, &self.der).expect("a key");
        let public = key.public_key().as_ref();
        let public = ParsedPublicKey::new(self.verification, public).expect("a key");
        (key, public)
    }

    fn openssl(&self) -> EcKey<Private> {
        let key = PKey::private_key_from_pkcs8(&self.der).expect("a key");
        key.ec_key().expect("an EC key")
    }

    /// Whether two others take it.
    fn check(&self, signature: &[u8]) {
        let taken = self
            .aws_lc()
            .1
            .verify_digest_sig(&self.imported(), signature);
        taken.expect("aws-lc-rs takes it");
        let taken = verify_openssl(&self.openssl(), &self.digest, signature);
        taken.expect("OpenSSL takes it");
    }
}

fn verify_openssl(key: &EcKey<Private>, digest: &[u8], signature: &[u8]) -> Option<()> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let (r, s) = (BigNum::from_slice(r).ok()?, BigNum::from_slice(s).ok()?);
    let signature = EcdsaSig::from_private_components(r, s).ok()?;
    signature.verify(digest, key).ok()?.then_some(())
}

fn sign_vault(vault: &Vault, work: &Work) -> strongroom::SignResult {
    vault
        .sign(&work.name, work.algorithm, &work.digest)
        .expect("a signature")
}

/// The peers that every curve has, but for bare RustCrypto.
fn sign<'a>(
    vaults: &'a Vaults,
    work: &'static Work,
    operation: &mut Operation<'a>,
    on_aws_lc: bool,
) {
    let bytes = |signed: strongroom::SignResult| signed.signature().to_vec();
    let check = |signature: &[u8]| work.check(signature);
    let vault = &vaults.rust_crypto;
    operation.making(Peer::Strongroom, || sign_vault(vault, work), bytes, check);
    if on_aws_lc {
        let vault = &vaults.aws_lc;
        operation.making(
            Peer::StrongroomAwsLc,
            || sign_vault(vault, work),
            bytes,
            check,
        );
    }
    let (key, _) = work.aws_lc();
    let call = move || {
        let signature = key.sign_digest(&work.imported()).expect("a signature");
        signature.as_ref().to_vec()
    };
    operation.making(Peer::AwsLc, call, |bytes| bytes, check);
    let key = work.openssl();
    let width = i32::try_from(key.group().order_bits().div_ceil(8)).expect("small");
    let call = move || {
        let signature = EcdsaSig::sign(&work.digest, &key).expect("a signature");
        let mut bytes = signature.r().to_vec_padded(width).expect("fits");
        bytes.extend(signature.s().to_vec_padded(width).expect("fits"));
        bytes
    };
    operation.making(Peer::OpenSsl, call, |bytes| bytes, check);
}

fn verify<'a>(
    vaults: &'a Vaults,
    work: &'static Work,
    given: &[u8],
    operation: &mut Operation<'a>,
    on_aws_lc: bool,
) {
    let by = |vault: &'a Vault| {
        move |signature: &[u8]| {
            vault
                .verify(&work.name, work.algorithm, &work.digest, signature)
                .ok()
        }
    };
    operation.taking(Peer::Strongroom, given, by(&vaults.rust_crypto), drop);
    if on_aws_lc {
        operation.taking(Peer::StrongroomAwsLc, given, by(&vaults.aws_lc), drop);
    }
    let (_, public) = work.aws_lc();
    let call = move |signature: &[u8]| public.verify_digest_sig(&work.imported(), signature).ok();
    operation.taking(Peer::AwsLc, given, call, drop);
    let key = work.openssl();
    let call = move |signature: &[u8]| verify_openssl(&key, &work.digest, signature);
    operation.taking(Peer::OpenSsl, given, call, drop);
}

/// Signing and verifying on one curve: bare RustCrypto, whose types differ, and then the others.
macro_rules! operations {
    ($vaults:ident, $krate:ident, $bytes:literal, $names:expr, $on_aws_lc:literal, $work:expr) => {{
        let key = $krate::ecdsa::SigningKey::from_slice(&[0x11; $bytes]).expect("a scalar");
        let public = *key.verifying_key();
        let der = $krate::SecretKey::from(&key)
            .to_pkcs8_der()
            .expect("a container");
        // Used until the end of the program.
        let work: &'static Work = Box::leak(Box::new($work(der.as_bytes().to_vec())));
        let (sign_name, verify_name) = $names;
        let (mut signing, mut verifying) = (Operation::new(sign_name), Operation::new(verify_name));
        let sign_bare = move || {
            let signature: $krate::ecdsa::Signature = key
                .sign_prehash_with_rng(&mut Random, &work.digest)
                .expect("a signature");
            signature.to_bytes().to_vec()
        };
        let given = sign_bare();
        let check = |signature: &[u8]| work.check(signature);
        signing.making(Peer::RustCrypto, sign_bare, |bytes| bytes, check);
        sign($vaults, work, &mut signing, $on_aws_lc);
        let verify_bare = move |signature: &[u8]| {
            let signature = $krate::ecdsa::Signature::from_slice(signature).ok()?;
            public.verify_prehash(&work.digest, &signature).ok()
        };
        verifying.taking(Peer::RustCrypto, &given, verify_bare, drop);
        verify($vaults, work, &given, &mut verifying, $on_aws_lc);
        (work, given, signing, verifying)
    }};
}

pub(super) fn p256(vaults: &Vaults) -> [Operation<'_>; 2] {
    let work = |der: Vec<u8>| Work {
        name: vaults.import_pkcs8("p-256", &der),
        algorithm: SignatureAlgorithm::Es256,
        hash: &digest::SHA256,
        digest: sha256(),
        der,
        signing: &aws::ECDSA_P256_SHA256_FIXED_SIGNING,
        verification: &aws::ECDSA_P256_SHA256_FIXED,
    };
    let (work, given, mut signing, mut verifying) =
        operations!(vaults, p256, 32, ("sign ES256", "verify ES256"), true, work);

    let key = p256::SecretKey::from_slice(&[0x11; 32]).expect("a scalar");
    let point = key.public_key().to_sec1_bytes();
    let (x, y) = point[1..].split_at(32);
    let keyset = keysets::ecdsa(&[0x11; 32], x, y);
    let signer = tink_signature::new_signer(&keyset).expect("a signer");
    let call = move || signer.sign(&MESSAGE).expect("a signature");
    let check = |signature: &[u8]| work.check(signature);
    signing.making(Peer::Tink, call, |bytes| bytes, check);
    let public = keyset.public().expect("the public part");
    let verifier = tink_signature::new_verifier(&public).expect("a verifier");
    let call = move |signature: &[u8]| verifier.verify(signature, &MESSAGE).ok();
    verifying.taking(Peer::Tink, &given, call, drop);
    [signing, verifying]
}

pub(super) fn p384(vaults: &Vaults) -> [Operation<'_>; 1] {
    let work = |der: Vec<u8>| Work {
        name: vaults.import_pkcs8("p-384", &der),
        algorithm: SignatureAlgorithm::Es384,
        hash: &digest::SHA384,
        digest: sha384(),
        der,
        signing: &aws::ECDSA_P384_SHA384_FIXED_SIGNING,
        verification: &aws::ECDSA_P384_SHA384_FIXED,
    };
    let (_, _, signing, _) =
        operations!(vaults, p384, 48, ("sign ES384", "verify ES384"), true, work);
    [signing]
}

/// The engine on aws-lc leaves this curve to RustCrypto.
pub(super) fn k256(vaults: &Vaults) -> [Operation<'_>; 1] {
    let work = |der: Vec<u8>| Work {
        name: vaults.import_pkcs8("k-256", &der),
        algorithm: SignatureAlgorithm::Es256K,
        hash: &digest::SHA256,
        digest: sha256(),
        der,
        signing: &aws::ECDSA_P256K1_SHA256_FIXED_SIGNING,
        verification: &aws::ECDSA_P256K1_SHA256_FIXED,
    };
    let names = ("sign ES256K", "verify ES256K");
    let (work, _, mut signing, _) = operations!(vaults, k256, 32, names, false, work);

    let key = secp256k1::SecretKey::from_secret_bytes([0x11; 32]).expect("a scalar");
    let digest: [u8; 32] = sha256().try_into().expect("32 bytes");
    let call = move || {
        let message = secp256k1::Message::from_digest(digest);
        let signature = secp256k1::ecdsa::sign(message, &key);
        signature.serialize_compact().to_vec()
    };
    let check = |signature: &[u8]| work.check(signature);
    signing.making(Peer::Secp256k1, call, |bytes| bytes, check);
    [signing]
}
