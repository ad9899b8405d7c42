//! `Debug` and `Display` of everything public: no secret comes out, in whatever notation.

use std::fmt::Debug;

use strongroom::backend::{KeyBlob, KeyTag};
use strongroom::{
    Curve, EncryptOptions, EncryptionAlgorithm, ImportedKey, MasterKey, OctKeySize, Passphrase,
    SecretBytes, SignatureAlgorithm, Tags, Unlock, UpdateKeyOptions, WrapAlgorithm,
};

use crate::make::{self, Home};
use crate::support::{Place, fixed_rsa, name};

const MARKER: &[u8; 32] = b"QwJx7#PlMkVb%0123456789^XyZqYzG!";

#[track_caller]
pub(super) fn assert_without_marker(text: &str, marker: &[u8]) {
    if let Some(found) = find_marker(text, marker) {
        panic!("{found} in {text:.300}");
    }
}

/// Any 6 bytes in a row of the marker, as text, hexadecimal or decimal; and its base64.
pub(crate) fn find_marker(text: &str, marker: &[u8]) -> Option<String> {
    use base64::Engine as _;
    let lowered = text.to_lowercase();
    let dense: String = lowered.chars().filter(|c| !c.is_whitespace()).collect();
    for window in marker.windows(6) {
        let hex: String = window.iter().map(|byte| format!("{byte:02x}")).collect();
        let spaced: Vec<String> = window.iter().map(|byte| format!("{byte:02x}")).collect();
        let prefixed: Vec<String> = window.iter().map(|byte| format!("0x{byte:02x}")).collect();
        let decimal: Vec<String> = window.iter().map(u8::to_string).collect();
        let mut needles = vec![
            hex,
            spaced.join(":"),
            spaced.join(","),
            prefixed.join(","),
            decimal.join(","),
        ];
        if let Ok(plain) = std::str::from_utf8(window) {
            needles.push(plain.to_lowercase());
        }
        if let Some(found) = needles.into_iter().find(|needle| dense.contains(needle)) {
            return Some(found);
        }
    }
    for engine in [
        base64::engine::general_purpose::STANDARD_NO_PAD,
        base64::engine::general_purpose::URL_SAFE_NO_PAD,
    ] {
        // Wherever the marker begins among groups of three bytes.
        for skipped in 0..3 {
            let encoded = &engine.encode(&marker[skipped..])[..12];
            if text.contains(encoded) {
                return Some(encoded.to_owned());
            }
        }
    }
    None
}

#[track_caller]
fn quiet(value: &dyn Debug) {
    assert_without_marker(&format!("{value:?} {value:#?}"), MARKER);
}

#[test]
fn the_search_finds_every_notation() {
    use base64::Engine as _;
    let finds = |text: String| find_marker(&text, MARKER).is_some();
    assert!(finds(
        base64::engine::general_purpose::STANDARD.encode(MARKER)
    ));
    assert!(finds(String::from_utf8(MARKER.to_vec()).unwrap()));
    assert!(finds(format!("{MARKER:?}")));
    assert!(finds(format!("{MARKER:#?}")));
    assert!(finds(format!("{MARKER:02x?}")));
    assert!(finds(
        MARKER.iter().map(|byte| format!("{byte:02X}")).collect()
    ));
    assert!(!finds("SecretBytes(32 bytes)".to_owned()));
}

#[test]
fn secret_types_print_no_contents() {
    quiet(&SecretBytes::copied_from(MARKER));
    quiet(&MasterKey::from_bytes(MARKER).unwrap());
    let text = std::str::from_utf8(MARKER).unwrap();
    let passphrase = Passphrase::new(text).unwrap();
    quiet(&passphrase);
    quiet(&Unlock::passphrase(&passphrase));
    let key = MasterKey::from_bytes(MARKER).unwrap();
    quiet(&Unlock::raw_key(&key));
    quiet(&KeyBlob::new(SecretBytes::copied_from(MARKER)));
    quiet(&KeyTag::from_bytes([1; 16]));
}

#[test]
fn keys_on_their_way_in_print_no_contents() {
    use base64::Engine as _;
    let oct = || ImportedKey::oct(SecretBytes::copied_from(MARKER));
    quiet(&oct());
    quiet(&make::import(oct()));
    let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(MARKER);
    let jwk = format!(r#"{{"kty":"EC","crv":"P-256","d":"{encoded}"}}"#);
    if let Ok(ec) = ImportedKey::from_jwk(jwk.as_bytes()) {
        quiet(&ec);
        quiet(&make::import(ec));
    }
    let jwk = format!(r#"{{"kty":"oct","k":"{encoded}"}}"#);
    quiet(&ImportedKey::from_jwk(jwk.as_bytes()).unwrap());
    let rsa = format!("{:?}", fixed_rsa(strongroom::RsaKeySize::Bits2048));
    assert!(rsa.len() < 100, "{rsa}");
}

#[test]
fn options_and_results_print_no_tag_values() {
    let text = std::str::from_utf8(MARKER).unwrap();
    let mut tags = Tags::new();
    tags.insert("a", text).unwrap();
    quiet(&tags);
    let create = || make::ec(Curve::P256).backup_allowed().tag("a", text);
    quiet(&create());
    quiet(&UpdateKeyOptions::new().tags(tags));
    let home = Home::new();
    let vault = home.vault_options().create_in_memory().unwrap();
    let key = name("k");
    quiet(&vault.create_key(&key, create()).unwrap());
    quiet(&vault.get_key(&key).unwrap());
    for item in vault.list_key_properties() {
        quiet(&item.unwrap());
    }
    let mut keys = vault.list_key_properties();
    keys.next();
    quiet(&keys);
    let mut versions = vault.list_key_properties_versions(&key).unwrap();
    quiet(&versions);
    versions.next();
    quiet(
        &vault
            .list_key_properties_page(None, strongroom::PageSize::MAX)
            .unwrap(),
    );
    let backup = home.backup(&vault, &key);
    if let Some(backup) = &backup {
        quiet(backup);
        quiet(&strongroom::KeyBackup::inspect(backup.as_bytes()).unwrap());
    }
    quiet(&vault.delete_key(&key).unwrap());
    quiet(&vault.get_deleted_key(&key).unwrap());
    for item in vault.list_deleted_key_properties() {
        quiet(&item.unwrap());
    }
    quiet(&vault.list_deleted_key_properties());
    vault.purge_deleted_key(&key).unwrap();
    if let Some(backup) = backup {
        quiet(&vault.restore_key(&backup).unwrap());
    } else {
        vault.create_key(&key, create()).unwrap();
    }
    quiet(&vault.key(&key).unwrap());
}

#[test]
fn a_vault_with_open_keys_prints_nothing_of_them() {
    let place = Place::new();
    let master = MasterKey::from_bytes(MARKER).unwrap();
    let vault = place
        .options()
        .create(&place.path, Unlock::raw_key(&master))
        .unwrap();
    let key = name("k");
    vault
        .import_key(
            &key,
            make::import(ImportedKey::oct(SecretBytes::copied_from(MARKER))).operations(super::SIX),
        )
        .unwrap();
    let sealed = vault
        .encrypt(
            &key,
            EncryptionAlgorithm::A256Gcm,
            MARKER,
            EncryptOptions::new(),
        )
        .unwrap();
    quiet(&sealed);
    quiet(
        &vault
            .decrypt(
                &key,
                EncryptionAlgorithm::A256Gcm,
                strongroom::Ciphertext::from(&sealed),
            )
            .unwrap(),
    );
    let wrapped = vault.wrap_key(&key, WrapAlgorithm::A256Kw, MARKER).unwrap();
    quiet(&wrapped);
    quiet(
        &vault
            .unwrap_key(&key, WrapAlgorithm::A256Kw, wrapped.wrapped_key())
            .unwrap(),
    );
    quiet(&vault.sign(&key, SignatureAlgorithm::Hs256, MARKER).unwrap());
    let data_key = vault
        .generate_data_key(&key, WrapAlgorithm::A256Kw, 32)
        .unwrap();
    assert_without_marker(
        &format!("{data_key:?} {data_key:#?}"),
        data_key.key().expose(),
    );
    let bound = vault.key(&key).unwrap();
    quiet(&bound);
    quiet(&vault);
    quiet(&vault.status().unwrap());
    quiet(&vault.security_domain().unwrap());
    quiet(&vault.check().unwrap());
    quiet(&vault.deletion_settings());
    quiet(&vault.algorithm_rules());
    quiet(&place.options());
    for backend in vault.backends().unwrap() {
        quiet(&backend);
        quiet(&backend.capabilities());
    }
    quiet(&vault.create_key(&name("o"), make::oct(OctKeySize::Bits256)));
    // Nor does it stand in any file.
    vault.close().unwrap();
    let mut files = vec![place.path.clone()];
    let mut read = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else {
            let bytes = std::fs::read(&path).unwrap();
            read += bytes.len();
            assert!(
                !bytes.windows(8).any(|window| window == &MARKER[..8]),
                "{}",
                path.display()
            );
        }
    }
    assert!(read > 1_000);
}
