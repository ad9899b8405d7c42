//! The directory: who may open it, and what lies in it.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

#[test]
fn a_second_handle_is_refused_until_the_first_is_closed() {
    let place = Place::new();
    let store = place.open();
    assert_eq!(place.refusal(), ErrorKind::VaultInUse);
    store.commit(vec![put(key_object(1), 10)]).unwrap();
    assert_eq!(place.refusal(), ErrorKind::VaultInUse);
    drop(store);
    assert!(get(&place.open(), &key_object(1)).unwrap().is_some());
}

#[test]
fn reopening_at_once_always_works() {
    let place = Place::new();
    for number in 0..30 {
        let store = place.open();
        store.commit(vec![put(key_object(number), 10)]).unwrap();
    }
    assert_eq!(place.open().state().key_count, 30);
}

#[test]
fn a_torn_snapshot_does_not_stop_an_open() {
    let place = Place::with(vec![put(key_object(1), 100)]);
    for (name, bytes) in [
        ("snap.FFFFFFFFFFFFFFFF.generating", &b""[..]),
        ("snap.0000000000000001.generating", &b"torn"[..]),
    ] {
        std::fs::write(place.path.join(name), bytes).unwrap();
        assert!(get(&place.open(), &key_object(1)).unwrap().is_some());
        assert!(!place.path.join(name).exists());
    }
}

#[test]
fn files_are_readable_by_their_owner_only() {
    let place = Place::new();
    place.open().commit(vec![put(key_object(1), 10)]).unwrap();
    let _reopened = place.open();
    for entry in std::fs::read_dir(&place.path).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let wanted = if name == "blobs" { 0o700 } else { 0o600 };
        assert_eq!(mode, wanted, "{name}");
    }
    let mode = std::fs::metadata(&place.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn unsafe_directories_are_refused() {
    let refused = |path: &Path| VaultDir::open(path).unwrap_err().kind();
    let place = Place::new();
    let parent = place.path.parent().unwrap().to_owned();

    let link = parent.join("link");
    symlink(&place.path, &link).unwrap();
    assert_eq!(refused(&link), ErrorKind::UnsafePermissions);

    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set(&place.path, 0o770);
    assert_eq!(refused(&place.path), ErrorKind::UnsafePermissions);
    set(&place.path, 0o700);
    set(&parent, 0o777);
    assert_eq!(refused(&place.path), ErrorKind::UnsafePermissions);
    set(&parent, 0o700);
    drop(place.open());

    // A directory of another user; only root can make one.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&place.path, Some(65_534), None).unwrap();
        assert_eq!(refused(&place.path), ErrorKind::UnsafePermissions);
        std::os::unix::fs::chown(&place.path, Some(0), None).unwrap();
    }

    let anchor = place.path.join("vault.anchor");
    let moved = parent.join("anchor");
    std::fs::rename(&anchor, &moved).unwrap();
    symlink(&moved, &anchor).unwrap();
    assert_eq!(place.refusal(), ErrorKind::UnsafePermissions);
    std::fs::remove_file(&anchor).unwrap();
    std::fs::rename(&moved, &anchor).unwrap();
    drop(place.open());

    assert_eq!(refused(&parent.join("nothing")), ErrorKind::VaultNotFound);
    std::fs::create_dir(parent.join("empty")).unwrap();
    set(&parent.join("empty"), 0o700);
    assert_eq!(refused(&parent.join("empty")), ErrorKind::VaultNotFound);
    assert_eq!(
        VaultDir::create(&place.path).unwrap_err().kind(),
        ErrorKind::VaultExists
    );
}

#[test]
fn a_vault_is_published_only_where_nothing_is() {
    let place = Place::new();
    let building = place.path.with_file_name("vault.new-2");
    let dir = VaultDir::create(&building).unwrap();
    assert_eq!(
        dir.publish(&place.path).unwrap_err().kind(),
        ErrorKind::VaultExists
    );
    drop(place.open());
}

#[test]
fn an_unclean_close_is_noticed() {
    let place = Place::new();
    let store = place.open();
    store.commit(vec![put(key_object(1), 10)]).unwrap();
    let copy = place.path.with_file_name("copy");
    copy_directory(&place.path, &copy);
    let dir = VaultDir::open(&copy).unwrap();
    assert!(!dir.closed_cleanly());
    store.close().unwrap();
    let dir = VaultDir::open(&place.path).unwrap();
    assert!(dir.closed_cleanly());
}

#[test]
fn a_header_copy_that_differs_is_healed() {
    let place = Place::new();
    let dir = VaultDir::open(&place.path).unwrap();
    let copy = header_file::read(&dir).unwrap()[0].clone();
    assert!(!header_file::heal(&dir, &copy).unwrap());
    for (offset, length) in [(100_u64, 40_960_u64), (20_480 + 7, 40_960), (0, 30_000)] {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(place.path.join("vault.hdr"))
            .unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"x", offset).unwrap();
        file.set_len(length).unwrap();
        assert!(header_file::heal(&dir, &copy).unwrap());
        assert_eq!(
            header_file::read(&dir).unwrap(),
            [copy.clone(), copy.clone()]
        );
    }
}
