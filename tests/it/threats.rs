//! Rows of the threat model, each beside the same attack on something that lacks the protection: there the harm is
//! done, and the same look finds it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use sha2::{Digest, Sha512};
use strongroom::{
    CreateKeyOptions, Curve, ErrorKind, Passphrase, PassphraseParameters, RecipientKey, Unlock,
    Vault,
};

use crate::image::{read_image, write_image};
use crate::memory::{Process, job};
use crate::support::{Place, master_key, name, refused};

fn create_key(vault: &Vault, key: &str) {
    vault
        .create_key(&name(key), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
}

/// T3. Older records without their anchor are the anchor's find, an older header without its records that of STATE.
/// With everything that knows better put back as well, both open: only a pin or a guard elsewhere tells then.
#[test]
fn t3_older_records_are_refused_by_the_anchor_and_an_older_header_by_the_records() {
    let place = Place::new();
    let vault = place.create();
    create_key(&vault, "old");
    vault.close().unwrap();
    drop(vault);
    let older = read_image(&place.path);

    let vault = place.open().unwrap();
    create_key(&vault, "new");
    vault.close().unwrap();
    drop(vault);
    let newer = read_image(&place.path);

    let anchor = Path::new("vault.anchor");
    let header = Path::new("vault.hdr");
    let mut attack = older.clone();
    attack.insert(anchor.to_owned(), newer[anchor].clone());
    write_image(&place.path, &attack);
    assert_eq!(refused(place.open()), ErrorKind::RolledBack);
    write_image(&place.path, &older);
    let vault = place.open().unwrap();
    let gone = refused(vault.get_key(&name("new")));
    assert_eq!(gone, ErrorKind::KeyNotFound, "control: nothing knows");
    vault.close().unwrap();
    drop(vault);

    // A way to unlock the vault that was taken away.
    write_image(&place.path, &newer);
    let vault = place.open().unwrap();
    let lost = Passphrase::new("known to somebody else").unwrap();
    let slot = vault
        .add_unlock_slot(Unlock::raw_key(&master_key()), Unlock::passphrase(&lost))
        .unwrap();
    vault.close().unwrap();
    drop(vault);
    let with_slot = read_image(&place.path);
    let vault = place.open().unwrap();
    vault.remove_unlock_slot(slot).unwrap();
    vault.close().unwrap();
    drop(vault);
    let open = || place.options().open(&place.path, Unlock::passphrase(&lost));
    assert_eq!(refused(open()), ErrorKind::WrongKey);
    let mut attack = read_image(&place.path);
    attack.insert(header.to_owned(), with_slot[header].clone());
    write_image(&place.path, &attack);
    assert_eq!(refused(open()), ErrorKind::HeaderReplayed);
    write_image(&place.path, &with_slot);
    open().expect("control: the slot is back, and opens");
}

const T8: &str = "threats::t8_a_hostile_header_gets_no_more_memory_than_the_caller_allows";

/// KiB of memory that this process had at most so far.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let field = line.unwrap().split_whitespace().nth(1).unwrap();
    field.parse().unwrap()
}

/// Demands 256 MiB for one guess, in both copies, with right checksums.
fn make_dear(header: &Path) {
    let mut bytes = fs::read(header).unwrap();
    for copy in bytes.chunks_exact_mut(20_480) {
        assert_eq!(copy[64], 2, "the slot of a passphrase");
        copy[68..72].copy_from_slice(&262_144_u32.to_be_bytes());
        let checksum = Sha512::digest(&copy[..20_384]);
        copy[20_384..20_416].copy_from_slice(&checksum[..32]);
    }
    fs::write(header, bytes).unwrap();
}

/// T8. Cheap to ask for and dear to answer: what a header demands is held against the caller's limit first. With the
/// limit raised, the same header takes what it wants.
#[test]
fn t8_a_hostile_header_gets_no_more_memory_than_the_caller_allows() {
    let words = "correct horse battery staple";
    if let Some(job) = job() {
        let (limit, path) = job.split_once(' ').unwrap();
        let passphrase = Passphrase::new(words).unwrap();
        let before = peak_kib();
        let opened = strongroom::VaultOptions::new()
            .max_kdf_work_kib(limit.parse().unwrap())
            .open(path, Unlock::passphrase(&passphrase));
        println!();
        println!("{:?} took {} KiB", refused(opened), peak_kib() - before);
        return;
    }
    let place = Place::new();
    let passphrase = Passphrase::new(words).unwrap();
    let cheap = PassphraseParameters::new(19_456, 1, 1).unwrap();
    let options = place.options().passphrase_parameters(cheap);
    let vault = options
        .create(&place.path, Unlock::passphrase(&passphrase))
        .unwrap();
    vault.close().unwrap();
    drop(vault);
    make_dear(&place.path.join("vault.hdr"));
    let taken = |limit: u64, kind: ErrorKind| -> u64 {
        let mut process = Process::start(T8, &format!("{limit} {}", place.path.display()));
        let line = process.wait_for_line(" took ");
        process.end();
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some(format!("{kind:?}").as_str()), "{line}");
        words.nth(1).unwrap().parse().unwrap()
    };
    let bounded = taken(262_143, ErrorKind::KdfCostRefused);
    assert!(bounded < 16_384, "{bounded} KiB");
    // Then the slot does not open, because its parameters are part of what it is sealed under.
    let control = taken(262_144, ErrorKind::WrongKey);
    assert!(control >= 262_144, "{control} KiB");
}

/// What others of the machine may read, write or enter.
fn open_to_others(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mode = fs::symlink_metadata(path).unwrap().permissions().mode();
    if mode & 0o077 != 0 {
        found.push(format!("{mode:o} {}", path.display()));
    }
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            found.extend(open_to_others(&entry.unwrap().path()));
        }
    }
    found
}

/// T9. The engine alone leaves its files to the mask of the process.
#[test]
fn t9_no_file_of_a_vault_is_open_to_others() {
    let none: [String; 0] = [];
    let place = Place::new();
    let vault = place.create();
    create_key(&vault, "k");
    assert_eq!(open_to_others(&place.path), none);
    vault.close().unwrap();
    drop(vault);
    assert_eq!(open_to_others(&place.path), none);
    let vault = place.open().unwrap();
    vault.rotate_kek().unwrap();
    assert_eq!(open_to_others(&place.path), none);
    vault.close().unwrap();
    drop(vault);
    place
        .options()
        .compact(&place.path, Unlock::raw_key(&master_key()))
        .unwrap();
    assert_eq!(open_to_others(&place.path), none);

    let directory = tempfile::tempdir().unwrap();
    let engine = sled::open(directory.path().join("engine")).unwrap();
    engine.insert(b"key", b"value").unwrap();
    engine.flush().unwrap();
    let found = open_to_others(directory.path());
    assert!(
        found.iter().any(|file| file.ends_with("/db")),
        "control: {found:?}"
    );
}

/// T9. A link in the place of a file leads a reader and a writer that follow it to what it names.
#[test]
fn t9_links_in_the_place_of_a_vaults_files_are_not_followed() {
    for file in ["vault.hdr", "vault.anchor", "vault.lock", "db"] {
        let place = Place::new();
        drop(place.create());
        let path = place.path.join(file);
        let target = place.path.with_file_name("of somebody else");
        fs::rename(&path, &target).unwrap();
        let before = fs::read(&target).unwrap();
        symlink(&target, &path).unwrap();
        assert_eq!(
            refused(place.open()),
            ErrorKind::UnsafePermissions,
            "{file}"
        );
        assert!(fs::read(&target).unwrap() == before, "{file}");

        fs::write(&path, b"whatever a vault has to say").unwrap();
        assert!(
            fs::read(&target).unwrap() != before,
            "control: whoever follows {file} writes there"
        );
        fs::write(&target, before).unwrap();
        fs::remove_file(&path).unwrap();
        fs::rename(&target, &path).unwrap();
        place.open().unwrap();
    }
}

/// T9. Anybody can make a vault for a public key and put it in the place of another one. Whoever expects the root of
/// the forger opens the forgery: so this expectation is all that refuses it.
#[test]
fn t9_a_vault_made_for_a_public_key_opens_only_against_the_expected_root() {
    let (place, forged) = (Place::new(), Place::new());
    let key = RecipientKey::generate().unwrap();
    let mut roots = Vec::new();
    for place in [&place, &forged] {
        let vault = place
            .options()
            .create(&place.path, Unlock::recipient(&key))
            .unwrap();
        roots.push(*vault.status().unwrap().fingerprint());
        if place.path == forged.path {
            create_key(&vault, "chosen-by-the-forger");
        }
        vault.close().unwrap();
    }
    write_image(&place.path, &read_image(&forged.path));
    let open =
        |options: strongroom::VaultOptions| options.open(&place.path, Unlock::recipient(&key));
    assert_eq!(refused(open(place.options())), ErrorKind::BadParameter);
    assert_eq!(
        refused(open(place.options().expect_root(roots[0]))),
        ErrorKind::WrongRoot
    );
    let vault = open(place.options().expect_root(roots[1])).unwrap();
    vault
        .get_key(&name("chosen-by-the-forger"))
        .expect("control: the forgery opens and is used");
}
