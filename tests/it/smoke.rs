//! The shortest way through a vault.

use strongroom::{CreateKeyOptions, Curve, KeyName, SignatureAlgorithm, VaultOptions};

#[test]
fn a_key_signs_and_verifies() {
    let vault = VaultOptions::new().create_in_memory().unwrap();
    let name = KeyName::from_static("signer");
    vault
        .create_key(&name, CreateKeyOptions::ec(Curve::P256))
        .unwrap();
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
