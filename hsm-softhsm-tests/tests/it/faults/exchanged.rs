//! A key in the token that was exchanged for another one under the same id.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use strongroom::ErrorKind;

use super::{Bench, fails, name, sign, signer, verifies, works};

/// T10. A token, or whoever writes to it, puts another key in the place of ours.
#[test]
fn t10_a_key_that_was_exchanged_in_the_token_signs_nothing() {
    let bench = Bench::new();
    let vault = bench.vault();
    vault.create_key(&name("key"), signer()).unwrap();
    vault.create_key(&name("other"), signer()).unwrap();
    let before = sign(&vault, &name("key")).unwrap();

    let session = bench.token.session();
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
