//! The shortest way through a vault.

use strongroom::{Curve, KeyName, SignatureAlgorithm};

use crate::make;

#[test]
fn a_key_signs_and_verifies() {
    let vault = make::vault_options().create_in_memory().unwrap();
    let name = KeyName::from_static("signer");
    vault.create_key(&name, make::ec(Curve::P256)).unwrap();
    let signed = vault
        .sign_data(&name, SignatureAlgorithm::Es256, b"data")
        .unwrap();
    vault
        .verify_data(
            &name,
            SignatureAlgorithm::Es256,
            b"data",
            signed.signature(),
        )
        .unwrap();
}
