//! What is at the path, or who asks, is not what a vault needs: each case has its own `ErrorKind` and a sentence
//! that says what to do, and no message holds a secret.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use sha2::{Digest, Sha512};
use strongroom::{
    CreateKeyOptions, Curve, Error, ErrorKind, MasterKey, Passphrase, PassphraseParameters,
    SignatureAlgorithm, Unlock, Vault, VaultOptions,
};

use crate::image::{read_image, write_image};
use crate::support::{Place, master_key, name, variable};

const PASSPHRASE: &str = "correct horse battery staple";

/// Opening is refused with this kind, and the message has these words.
fn refused(place: &Place, kind: ErrorKind, words: &[&str]) {
    expect(&place.open().unwrap_err(), kind, words);
}

fn expect(error: &Error, kind: ErrorKind, words: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "{text:?} does not say {word:?}");
    }
    no_secret(error);
}

/// Neither the sentence nor the `Debug` form holds the master key or the passphrase in any usual form.
fn no_secret(error: &Error) {
    let text = format!("{error} {error:?}").to_lowercase();
    let key = master_key();
    let as_hex: String = key
        .expose()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let as_list = format!("{:?}", &key.expose()[..8]);
    let as_list = as_list.trim_matches(['[', ']']);
    for secret in [&as_hex[..16], as_list, PASSPHRASE] {
        assert!(!text.contains(secret), "{text:?} holds {secret:?}");
    }
}

/// A closed vault with one key.
fn closed() -> Place {
    let place = Place::new();
    let vault = place.create();
    vault
        .create_key(&name("signer"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    vault.close().unwrap();
    place
}

fn works(place: &Place) {
    let vault = place.open().unwrap();
    vault
        .sign_data(&name("signer"), SignatureAlgorithm::Es256, b"data")
        .unwrap();
    vault.close().unwrap();
}

fn near_miss() -> MasterKey {
    let mut bytes = *master_key().expose();
    bytes[31] ^= 1;
    MasterKey::from_bytes(&bytes).unwrap()
}

fn is_root() -> bool {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().metadata().unwrap().uid() == 0
}

#[test]
fn another_master_key_is_refused() {
    let place = closed();
    for key in [
        MasterKey::generate().unwrap(),
        // One bit away.
        near_miss(),
    ] {
        let error = place
            .options()
            .open(&place.path, Unlock::raw_key(&key))
            .unwrap_err();
        expect(&error, ErrorKind::WrongKey, &["key, passphrase or device"]);
        assert!(!error.is_retryable());
    }
    works(&place);
}

#[test]
fn a_passphrase_does_not_open_a_vault_with_a_raw_key_nor_the_other_way_round() {
    let place = closed();
    let passphrase = Passphrase::new(PASSPHRASE).unwrap();
    let error = place
        .options()
        .open(&place.path, Unlock::passphrase(&passphrase))
        .unwrap_err();
    expect(&error, ErrorKind::WrongKey, &["key, passphrase or device"]);

    let place = Place::new();
    let cheap = PassphraseParameters::new(19_456, 1, 1).unwrap();
    place
        .options()
        .passphrase_parameters(cheap)
        .create(&place.path, Unlock::passphrase(&passphrase))
        .unwrap()
        .close()
        .unwrap();
    refused(&place, ErrorKind::WrongKey, &["key, passphrase or device"]);
    let wrong = Passphrase::new("correct horse battery stapler").unwrap();
    let error = place
        .options()
        .open(&place.path, Unlock::passphrase(&wrong))
        .unwrap_err();
    expect(&error, ErrorKind::WrongKey, &["key, passphrase or device"]);
    let error = place
        .options()
        .max_kdf_work_kib(19_455)
        .open(&place.path, Unlock::passphrase(&passphrase))
        .unwrap_err();
    expect(&error, ErrorKind::KdfCostRefused, &["passphrase"]);
    let vault = place
        .options()
        .open(&place.path, Unlock::passphrase(&passphrase))
        .unwrap();
    drop(vault);
}

#[test]
fn what_is_no_vault_is_not_opened() {
    let place = Place::new();
    refused(&place, ErrorKind::VaultNotFound, &["no vault at"]);

    // An empty directory, and one with somebody else's files.
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&place.path)
        .unwrap();
    refused(&place, ErrorKind::VaultNotFound, &["no vault at"]);
    fs::write(place.path.join("notes.txt"), "nothing of a vault").unwrap();
    fs::write(place.path.join("db"), "nothing of a vault").unwrap();
    refused(&place, ErrorKind::VaultNotFound, &["no vault at"]);
    assert_eq!(
        fs::read_dir(&place.path).unwrap().count(),
        2,
        "opening left something in a foreign directory"
    );
    fs::remove_dir_all(&place.path).unwrap();

    // A file.
    fs::write(&place.path, "a text").unwrap();
    refused(&place, ErrorKind::UnsafePermissions, &["no directory"]);
    fs::remove_file(&place.path).unwrap();

    // A path whose parent is missing.
    let below = place.path.join("missing").join("vault");
    let open = |path: &Path| VaultOptions::new().open(path, Unlock::raw_key(&master_key()));
    expect(
        &open(&below).unwrap_err(),
        ErrorKind::VaultNotFound,
        &["no vault at"],
    );
    expect(
        &open(Path::new("")).unwrap_err(),
        ErrorKind::BadParameter,
        &["path"],
    );
    expect(
        &open(Path::new("/")).unwrap_err(),
        ErrorKind::BadParameter,
        &["path"],
    );
}

#[test]
fn links_and_pipes_are_not_followed() {
    let place = closed();
    let link = place.path.with_file_name("link");
    symlink(&place.path, &link).unwrap();
    let error = place
        .options()
        .open(&link, Unlock::raw_key(&master_key()))
        .unwrap_err();
    expect(
        &error,
        ErrorKind::UnsafePermissions,
        &["symbolic link", "directory"],
    );

    for file in ["vault.hdr", "vault.anchor", "vault.lock", "db"] {
        let place = closed();
        let path = place.path.join(file);
        let moved = place.path.with_file_name("moved");
        fs::rename(&path, &moved).unwrap();
        symlink(&moved, &path).unwrap();
        refused(
            &place,
            ErrorKind::UnsafePermissions,
            &[file, "symbolic link"],
        );
        fs::remove_file(&path).unwrap();

        // Opening a pipe would wait for ever.
        let status = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(status.success());
        let error = place.open().unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::UnsafePermissions | ErrorKind::Io),
            "{file}: {error:?}"
        );
        assert!(error.to_string().contains(file), "{error}");
        fs::remove_file(&path).unwrap();

        fs::DirBuilder::new().create(&path).unwrap();
        let error = place.open().unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::UnsafePermissions | ErrorKind::Io),
            "{file}: {error:?}"
        );
        fs::remove_dir(&path).unwrap();
        fs::rename(&moved, &path).unwrap();
        works(&place);
    }
}

#[test]
fn nothing_is_created_over_something() {
    let place = closed();
    let create = |path: &Path| {
        place
            .options()
            .create(path, Unlock::raw_key(&master_key()))
            .unwrap_err()
    };
    expect(
        &create(&place.path),
        ErrorKind::VaultExists,
        &["already", "another path"],
    );
    works(&place);
    let file = place.path.with_file_name("file");
    fs::write(&file, "a text").unwrap();
    expect(&create(&file), ErrorKind::VaultExists, &["already"]);
    assert_eq!(fs::read(&file).unwrap(), b"a text");
    // A link that leads nowhere is something, too.
    let link = place.path.with_file_name("dangling");
    symlink("nowhere", &link).unwrap();
    expect(&create(&link), ErrorKind::VaultExists, &["already"]);
    let orphan = place.path.with_file_name("missing").join("vault");
    let error = create(&orphan);
    assert_eq!(error.kind(), ErrorKind::VaultNotFound, "{error}");
    let left: Vec<_> = fs::read_dir(place.path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().contains(".new-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Offset and bytes of a change in the header that keeps the checksum right.
fn change_header(place: &Place, at: usize, bytes: &[u8]) {
    const COPY: usize = 20_480;
    let path = place.path.join("vault.hdr");
    let mut header = fs::read(&path).unwrap();
    for copy in header.chunks_mut(COPY) {
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        let checksum = Sha512::digest(&copy[..20_384]);
        copy[20_384..20_416].copy_from_slice(&checksum[..32]);
    }
    fs::write(path, header).unwrap();
}

#[test]
fn a_vault_of_a_newer_version_says_so_and_stays_as_it_is() {
    for (at, bytes) in [
        (8, [0, 2]),
        (10, [0, 2]),
        (8, [0xff, 0xff]),
        // A suite that is not known, and the zero after it.
        (58, [4, 0]),
    ] {
        let place = closed();
        change_header(&place, at, &bytes);
        let before = read_image(&place.path);
        refused(&place, ErrorKind::NewerFormat, &["version"]);
        assert_eq!(read_image(&place.path), before);
    }
    // A single record of a newer format.
    let place = closed();
    let database = sled::Config::new()
        .path(&place.path)
        .segment_size(512 * 1024)
        .flush_every_ms(None)
        .open()
        .unwrap();
    let tree = database.open_tree("r").unwrap();
    let (key, value) = tree.first().unwrap().unwrap();
    let mut value = value.to_vec();
    value[4] = 2;
    tree.insert(key, value).unwrap();
    tree.flush().unwrap();
    drop((tree, database));
    refused(&place, ErrorKind::NewerFormat, &["version"]);
}

#[test]
fn one_handle_at_a_time() {
    let place = closed();
    let vault = place.open().unwrap();
    let error = place.open().unwrap_err();
    expect(
        &error,
        ErrorKind::VaultInUse,
        &["open in another process or through another handle"],
    );
    assert!(error.is_retryable());
    let error = Vault::destroy(&place.path, Unlock::raw_key(&master_key())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::VaultInUse);
    vault.close().unwrap();
    works(&place);
}

const HOLD: &str = "STRONGROOM_TEST_HOLDS";

/// The other process of the next test: holds a vault open until its input ends. Without a path it has nothing to
/// do.
#[test]
fn holds_a_vault_for_another_process() {
    let Some(path) = variable(HOLD) else {
        return;
    };
    let vault = VaultOptions::new()
        .open(path, Unlock::raw_key(&master_key()))
        .unwrap();
    println!("\nheld");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    drop(vault);
}

#[test]
fn one_process_at_a_time() {
    let place = closed();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args([
            "bad_input::holds_a_vault_for_another_process",
            "--exact",
            "--nocapture",
        ])
        .env(HOLD, &place.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(other.stdout.take().unwrap());
    let mut lines = output.lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "held"), "the other process failed");
    refused(&place, ErrorKind::VaultInUse, &["another process"]);
    drop(other.stdin.take());
    assert!(other.wait().unwrap().success());
    works(&place);
}

#[test]
fn what_others_could_change_is_not_opened() {
    let place = closed();
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let parent = place.path.parent().unwrap();
    for (path, safe) in [(place.path.as_path(), 0o700), (parent, 0o700)] {
        for mode in [0o770, 0o707, 0o720, 0o1777] {
            set(path, mode);
            // A sticky directory of root's is as safe as /tmp.
            if mode == 0o1777 && path == parent && is_root() {
                works(&place);
                continue;
            }
            refused(
                &place,
                ErrorKind::UnsafePermissions,
                &["writable for its group or for everyone", "only its owner"],
            );
            if path == parent {
                let sister = place.path.with_file_name("sister");
                let error = place
                    .options()
                    .create(&sister, Unlock::raw_key(&master_key()))
                    .unwrap_err();
                assert_eq!(error.kind(), ErrorKind::UnsafePermissions, "{error}");
                assert!(!sister.exists());
            }
        }
        set(path, safe);
    }
    works(&place);
}

#[test]
fn directories_and_files_are_for_their_owner_only() {
    let place = closed();
    let vault = place.open().unwrap();
    let check = || {
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&place.path), 0o700);
        let mut files = 0;
        for entry in fs::read_dir(&place.path).unwrap() {
            let path = entry.unwrap().path();
            let expected = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode(&path), expected, "{}", path.display());
            files += 1;
        }
        assert!(files >= 5);
    };
    check();
    vault.close().unwrap();
    drop(vault);
    drop(place.open().unwrap());
}

#[test]
fn a_copied_directory_without_its_empty_folders_opens() {
    let place = closed();
    let image = read_image(&place.path);
    fs::remove_dir_all(&place.path).unwrap();
    write_image(&place.path, &image);
    fs::remove_dir(place.path.join("blobs")).unwrap();
    works(&place);
}

/// The kernel's answers for a full and for a read-only disk are injected in the store's own tests; here a small
/// file system is filled. Who may not mount one does so in a namespace of his own.
#[test]
fn a_full_disk_is_told_and_costs_nothing_that_was_stored() {
    let Some(disk) = SmallDisk::mount("size=4m,mode=700") else {
        return in_own_namespace("a_full_disk_is_told_and_costs_nothing_that_was_stored");
    };
    let place = Place::at(disk.path().join("vault"));
    let vault = place.create();
    let mut stored = Vec::new();
    let filler = disk.path().join("filler");
    fs::write(&filler, vec![1; 2 << 20]).unwrap();
    let error = loop {
        let key = name(&format!("key-{}", stored.len()));
        let mut options = CreateKeyOptions::ec(Curve::P256);
        for number in 0..15 {
            options = options.tag(format!("tag-{number}"), "x".repeat(250));
        }
        match vault.create_key(&key, options) {
            Ok(_) => stored.push(key),
            Err(error) => break error,
        }
        assert!(stored.len() < 5_000, "the disk never fills");
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(error.to_string().contains("space"), "{error}");
    let later = vault.get_key(&name("key-0")).unwrap_err();
    assert_eq!(later.kind(), ErrorKind::VaultFailed, "{later}");
    drop(vault);
    fs::remove_file(&filler).unwrap();
    let vault = place.open().unwrap();
    for key in &stored {
        vault
            .sign_data(key, SignatureAlgorithm::Es256, b"data")
            .unwrap();
    }
    assert!(vault.check().unwrap().is_sound());
    drop(vault);
}

#[test]
fn a_read_only_disk_is_told() {
    let Some(disk) = SmallDisk::mount("size=8m,mode=700") else {
        return in_own_namespace("a_read_only_disk_is_told");
    };
    let place = Place::at(disk.path().join("vault"));
    place.create().close().unwrap();
    assert!(disk.remount_read_only(), "the file system stays busy");
    refused(&place, ErrorKind::ReadOnly, &["read-only"]);
    let error = place
        .options()
        .create(disk.path().join("sister"), Unlock::raw_key(&master_key()))
        .unwrap_err();
    expect(&error, ErrorKind::ReadOnly, &["read-only"]);
}

/// Runs a test of this file again as the root of a user namespace, where it may mount.
fn in_own_namespace(test: &str) {
    const INSIDE: &str = "STRONGROOM_TEST_INSIDE_NAMESPACE";
    assert!(
        variable(INSIDE).is_none(),
        "mounting a tmpfs is refused in a user namespace too; run the tests as root"
    );
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("bad_input::{test}")])
        .env(INSIDE, "1")
        .status()
        .expect("the command `unshare` of util-linux is needed, or root");
    assert!(status.success(), "{test} fails in its namespace: {status}");
}

/// A file system in memory; only where the process may mount one.
struct SmallDisk {
    directory: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let disk = Self { directory };
        run(&["-t", "tmpfs", "-o", options, "none", disk.path().to_str()?]).then_some(disk)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn remount_read_only(&self) -> bool {
        // sled lets go of its files a moment after the vault is closed.
        (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            run(&["-o", "remount,ro", self.path().to_str().unwrap()])
        })
    }
}

fn run(arguments: &[&str]) -> bool {
    Command::new("mount")
        .args(arguments)
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
