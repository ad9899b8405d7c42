//! A key in the token that was exchanged for another one under the same id.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::Session;
use strongroom::{ErrorKind, SignatureAlgorithm, Vault};

use super::{Bench, fails, name, sign, signer, verifies, works};

const DIGEST: [u8; 32] = [7; 32];

/// What the token signs with the private keys that it has, asked directly: nothing compares anything.
fn signed_by_the_token(session: &Session) -> Vec<Vec<u8>> {
    let private = [Attribute::Class(ObjectClass::PRIVATE_KEY)];
    let objects = session.find_objects(&private).unwrap();
    let sign = |object| session.sign(&Mechanism::Ecdsa, object, &DIGEST).unwrap();
    objects.into_iter().map(sign).collect()
}

/// How many of the signatures are by the key that the vault has under one of the names.
fn accepted(vault: &Vault, signatures: &[Vec<u8>]) -> usize {
    let by = |key: &str, signature: &[u8]| {
        vault
            .verify(&name(key), SignatureAlgorithm::Es256, &DIGEST, signature)
            .is_ok()
    };
    signatures
        .iter()
        .filter(|signature| by("key", signature) || by("other", signature))
        .count()
}

/// T10. A token, or whoever writes to it, puts another key in the place of ours.
#[test]
fn t10_a_key_that_was_exchanged_in_the_token_signs_nothing() {
    let bench = Bench::new();
    let vault = bench.vault();
    vault.create_key(&name("key"), signer()).unwrap();
    vault.create_key(&name("other"), signer()).unwrap();
    let before = sign(&vault, &name("key")).unwrap();

    let session = bench.token.session();
    assert_eq!(accepted(&vault, &signed_by_the_token(&session)), 2);
    let private = [Attribute::Class(ObjectClass::PRIVATE_KEY)];
    let wanted = [
        AttributeType::Id,
        AttributeType::Label,
        AttributeType::AllowedMechanisms,
    ];
    let own: Vec<_> = session.find_objects(&private).unwrap();
    assert_eq!(own.len(), 2);
    for object in own {
        let copied = session.get_attributes(object, &wanted).unwrap();
        session.destroy_object(object).unwrap();
        let mut template = vec![
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ];
        template.extend(copied);
        let public = [
            Attribute::Token(false),
            Attribute::EcParams(vec![6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]),
        ];
        session
            .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &template)
            .unwrap();
    }
    // The control: past the vault's comparison the token signs on, for anybody to take as ours, with other keys.
    let by_others = signed_by_the_token(&session);
    assert_eq!(by_others.len(), 2);
    assert_eq!(accepted(&vault, &by_others), 0);
    drop(session);
    vault.close().unwrap();

    let vault = bench.vault();
    assert_eq!(vault.open_report().unwrap().backend_findings(), []);
    for key in ["key", "other"] {
        for _ in 0..2 {
            fails(
                sign(&vault, &name(key)),
                ErrorKind::BackendRejected,
                "does not verify with the key's public part",
            );
        }
    }
    verifies(&vault, &name("key"), &before);
    vault.create_key(&name("new"), signer()).unwrap();
    works(&vault, &name("new"));
}
