//! Nothing that is sealed can be read in the files: not key bytes, names or tags, not for deleted and purged keys,
//! neither while the vault is open nor afterwards, neither in the files nor in the backups.
//!
//! The scan looks for a marker as it is, in base64url at each of the three alignments, in hexadecimal and
//! reversed. What it can find is shown by a control without sealing: framed like records, but not sealed, every
//! one of these forms goes through the same storage engine with the same settings, and is found in its files. A
//! switch in the library that turns sealing off would be a worse risk than the one that this test guards against;
//! so the control begins below the seal, where the bytes become values of the engine. `src/store/tests/marker.rs`
//! has the same control through the vault's own store, with its redo records and commits.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use strongroom::{
    Ciphertext, CreateKeyOptions, EncryptOptions, EncryptionAlgorithm, ImportKeyOptions,
    ImportedKey, KeyBackup, OctKeySize, SecretBytes, SignatureAlgorithm, Tags, UpdateKeyOptions,
    Vault,
};

use crate::image::{read_image, scratch};
use crate::support::{Place, hex, name};

/// Long enough that no other bytes are these by accident, short enough that every form of it fits one value.
const KEY_MARKER: [u8; 32] =
    *b"\xf0\x9fMARKER-of-key-bytes-\x00\xff\xfe\x80\x01\xc3\x7f\xee\xdd\xcc";
const NAME_MARKER: &str = "MARKER-in-the-name-of-a-key";
const TAG_NAME_MARKER: &str = "MARKER in the name of a tag";
const TAG_VALUE_MARKER: &str = "MARKER in the value of a tag, with ümläuts";

struct Needle {
    what: String,
    bytes: Vec<u8>,
}

/// Every form in which the marker counts as found.
fn needles(what: &str, marker: &[u8]) -> Vec<Needle> {
    let mut forms: Vec<(String, Vec<u8>)> = vec![("raw".to_owned(), marker.to_vec())];
    let lower: String = marker.iter().map(|byte| format!("{byte:02x}")).collect();
    forms.push(("upper hex".to_owned(), lower.to_uppercase().into_bytes()));
    forms.push(("lower hex".to_owned(), lower.into_bytes()));
    for alignment in 0..3 {
        // The characters that depend on the marker alone, whatever stands before and after it.
        let padded = [&vec![0; alignment][..], marker].concat();
        let whole = padded.len() / 3 * 3;
        let text = URL_SAFE_NO_PAD.encode(&padded[..whole]);
        let first = if alignment == 0 { 0 } else { 4 };
        forms.push((
            format!("base64url at {alignment}"),
            text.as_bytes()[first..].to_vec(),
        ));
    }
    let reversed: Vec<(String, Vec<u8>)> = forms
        .iter()
        .map(|(form, bytes)| {
            (
                format!("{form}, reversed"),
                bytes.iter().rev().copied().collect(),
            )
        })
        .collect();
    forms.extend(reversed);
    forms
        .into_iter()
        .map(|(form, bytes)| Needle {
            what: format!("{what} ({form})"),
            bytes,
        })
        .collect()
}

/// Names are compared without regard to case, so the lower case is looked for too.
fn all_needles(extra: &[(&str, &[u8])]) -> Vec<Needle> {
    let mut all = needles("key bytes", &KEY_MARKER);
    all.extend(needles("name", NAME_MARKER.as_bytes()));
    all.extend(needles(
        "name in lower case",
        NAME_MARKER.to_lowercase().as_bytes(),
    ));
    all.extend(needles("name of a tag", TAG_NAME_MARKER.as_bytes()));
    all.extend(needles("value of a tag", TAG_VALUE_MARKER.as_bytes()));
    for (what, marker) in extra {
        all.extend(needles(what, marker));
    }
    all
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

/// The needles that are in any file of the directory, or in the name of one.
fn found_in(path: &Path, needles: &[Needle]) -> Vec<String> {
    let mut found = Vec::new();
    for (file, contents) in read_image(path) {
        for needle in needles {
            if contains(&contents, &needle.bytes)
                || contains(file.as_os_str().as_encoded_bytes(), &needle.bytes)
            {
                found.push(format!("{} in {}", needle.what, file.display()));
            }
        }
    }
    found
}

/// An HMAC key that holds the marker twice, an AES key and a private P-256 number that are the marker. Gives the ids
/// of their versions, which are not to be read either.
fn import_marked(vault: &Vault, suffix: &str) -> Vec<Vec<u8>> {
    let mut versions = Vec::new();
    let mut import = |key, options| {
        let bundle = vault.import_key(key, options).unwrap();
        versions.push(hex(&bundle.id().version().to_string()));
    };
    let mut tags = Tags::new();
    tags.insert(TAG_NAME_MARKER, TAG_VALUE_MARKER).unwrap();

    let hmac = SecretBytes::from([KEY_MARKER, KEY_MARKER].concat());
    let options = ImportKeyOptions::new(ImportedKey::oct(hmac)).tags(tags.clone());
    let key = name(&format!("{NAME_MARKER}-hmac-{suffix}"));
    import(&key, options);
    vault
        .sign_data(&key, SignatureAlgorithm::Hs512, b"data")
        .unwrap();

    let aes = SecretBytes::from(KEY_MARKER.to_vec());
    let options = ImportKeyOptions::new(ImportedKey::oct(aes)).tags(tags.clone());
    let key = name(&format!("{NAME_MARKER}-aes-{suffix}"));
    import(&key, options);
    let gcm = EncryptionAlgorithm::A256Gcm;
    let sealed = vault
        .encrypt(&key, gcm, b"data", EncryptOptions::new())
        .unwrap();
    vault.decrypt(&key, gcm, Ciphertext::from(&sealed)).unwrap();

    let jwk = ec_jwk();
    let options = ImportKeyOptions::new(ImportedKey::from_jwk(jwk.as_bytes()).unwrap()).tags(tags);
    let key = name(&format!("{NAME_MARKER}-ec-{suffix}"));
    import(&key, options);
    vault
        .sign_data(&key, SignatureAlgorithm::Es256, b"data")
        .unwrap();
    versions
}

/// A P-256 key whose `d` is the marker, which is below the order of the group.
fn ec_jwk() -> String {
    use p256::elliptic_curve::sec1::ToSec1Point as _;
    let secret = p256::SecretKey::from_slice(&KEY_MARKER).unwrap();
    let point = secret.public_key().to_sec1_point(false);
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!(
        r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}","d":"{}"}}"#,
        text(point.x().unwrap()),
        text(point.y().unwrap()),
        text(&KEY_MARKER),
    )
}

fn scan_whole_life(place: &Place, vault: Vault) {
    // The master key that the tests use is a marker as well.
    let master: Vec<u8> = (1..=32).collect();
    let versions: Vec<Vec<u8>> = ["kept", "deleted", "purged"]
        .into_iter()
        .flat_map(|suffix| import_marked(&vault, suffix))
        .collect();
    let mut extra = vec![("master key", master.as_slice())];
    extra.extend(versions.iter().map(|id| ("id of a version", id.as_slice())));
    let needles = all_needles(&extra);
    let nowhere = |moment: &str| {
        let found = found_in(&place.path, &needles);
        assert!(found.is_empty(), "{moment}: {found:#?}");
    };

    nowhere("while it is open");
    let mut backups = Vec::new();
    for kind in ["hmac", "aes", "ec"] {
        let kept = name(&format!("{NAME_MARKER}-{kind}-kept"));
        backups.push(vault.backup_key(&kept).unwrap());
        // An update writes the version again.
        let mut tags = Tags::new();
        tags.insert("other", TAG_VALUE_MARKER).unwrap();
        vault
            .update_key_properties(&kept, UpdateKeyOptions::new().tags(tags))
            .unwrap();
        vault
            .delete_key(&name(&format!("{NAME_MARKER}-{kind}-deleted")))
            .unwrap();
        let purged = name(&format!("{NAME_MARKER}-{kind}-purged"));
        vault.delete_key(&purged).unwrap();
        vault.purge_deleted_key(&purged).unwrap();
    }
    nowhere("after deleting and purging");
    for number in 0..20 {
        let key = name(&format!("filler-{number}"));
        let options = CreateKeyOptions::oct(OctKeySize::Bits256);
        vault.create_key(&key, options).unwrap();
    }
    vault.close().unwrap();
    drop(vault);
    nowhere("closed");
    drop(place.open().unwrap());
    nowhere("opened again and closed");

    for blob in &backups {
        for needle in &needles {
            assert!(
                !contains(blob.as_bytes(), &needle.bytes),
                "{} in a backup",
                needle.what
            );
        }
        KeyBackup::inspect(blob.as_bytes()).unwrap();
    }
}

#[test]
fn t1_no_marker_is_in_the_files_or_the_backups() {
    let place = Place::new();
    let vault = place.create();
    scan_whole_life(&place, vault);
}

#[test]
fn t1_no_marker_is_in_the_files_or_the_backups_of_the_second_suite() {
    let place = Place::new();
    let vault = place
        .options()
        .chacha20_poly1305()
        .create(
            &place.path,
            strongroom::Unlock::raw_key(&crate::support::master_key()),
        )
        .unwrap();
    scan_whole_life(&place, vault);
}

/// Without sealing the same scan finds every marker in every form, in the files of the same storage engine.
#[test]
fn t1_without_sealing_the_scan_finds_every_marker() {
    let needles = all_needles(&[("id of a version", &KEY_MARKER[..16])]);
    let directory = scratch();
    let database = sled::Config::new()
        .path(directory.path())
        .segment_size(512 * 1024)
        .flush_every_ms(None)
        .open()
        .unwrap();
    let tree = database.open_tree("r").unwrap();
    for (number, needle) in needles.iter().enumerate() {
        // Framed and padded as a record of the vault is, with the plaintext where the sealed body would be.
        let mut value = b"SRMR\x01\x02V\x01\0\0\0\0\0\0\x02\0".to_vec();
        value.extend([0xa5; 56]);
        value.extend_from_slice(&needle.bytes);
        value.push(0x80);
        value.resize(600, 0);
        let mut key = [0; 35];
        key[0] = 2;
        key[1..3].copy_from_slice(&u16::try_from(number * 97).unwrap().to_be_bytes());
        key[17] = b'V';
        tree.insert(key, value).unwrap();
    }
    tree.flush().unwrap();
    for moment in ["open", "closed"] {
        let found = found_in(directory.path(), &needles);
        for needle in &needles {
            let expected = format!("{} in ", needle.what);
            assert!(
                found.iter().any(|found| found.starts_with(&expected)),
                "{moment}: the scan misses {}",
                needle.what
            );
        }
    }
    drop(tree);
    drop(database);
}

/// The forms of base64url are found wherever the marker stands in what was encoded.
#[test]
fn the_scan_finds_base64url_at_every_alignment() {
    let needles = needles("key bytes", &KEY_MARKER);
    for before in 0..7 {
        for after in 0..4 {
            let whole = [&vec![0x5a; before][..], &KEY_MARKER, &vec![0xc3; after]].concat();
            let text = URL_SAFE_NO_PAD.encode(whole);
            assert!(
                needles
                    .iter()
                    .any(|needle| contains(text.as_bytes(), &needle.bytes)),
                "{before} bytes before, {after} after"
            );
        }
    }
}

/// The vault did take the markers, and not something that was made of them: an independent HMAC agrees.
#[test]
fn the_markers_are_what_the_vault_holds() {
    let place = Place::new();
    let vault = place.create();
    import_marked(&vault, "kept");
    let key = name(&format!("{NAME_MARKER}-hmac-kept"));
    let bundle = vault.get_key(&key).unwrap();
    let tags = bundle.properties().tags();
    assert_eq!(tags.get(TAG_NAME_MARKER), Some(TAG_VALUE_MARKER));
    let ours = vault
        .sign_data(&key, SignatureAlgorithm::Hs512, b"data")
        .unwrap();
    let secret = [KEY_MARKER, KEY_MARKER].concat();
    let independent = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA512, &secret);
    let expected = aws_lc_rs::hmac::sign(&independent, b"data");
    assert_eq!(ours.signature(), expected.as_ref());
}
