//! The files of a closed vault in memory, to alter them and to put them back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Path below the vault's directory, and contents.
pub(crate) type Image = BTreeMap<PathBuf, Vec<u8>>;

/// A directory in memory where there is one: its syncs cost nothing.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir())
    } else {
        tempfile::tempdir()
    }
    .unwrap()
}

pub(crate) fn read_image(path: &Path) -> Image {
    fn walk(root: &Path, below: &Path, image: &mut Image) {
        for entry in fs::read_dir(root.join(below)).unwrap() {
            let entry = entry.unwrap();
            let relative = below.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                walk(root, &relative, image);
            } else {
                image.insert(relative, fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut image = Image::new();
    walk(path, Path::new(""), &mut image);
    image
}

/// Makes the directory hold exactly the image; writes only what differs.
pub(crate) fn write_image(path: &Path, image: &Image) {
    if !path.exists() {
        fs::DirBuilder::new().mode(0o700).create(path).unwrap();
    }
    let blobs = path.join("blobs");
    if !blobs.exists() {
        fs::DirBuilder::new().mode(0o700).create(&blobs).unwrap();
    }
    for (file, _) in read_image(path) {
        if !image.contains_key(&file) {
            fs::remove_file(path.join(file)).unwrap();
        }
    }
    for (file, contents) in image {
        let file = path.join(file);
        if fs::read(&file).ok().as_ref() != Some(contents) {
            fs::write(&file, contents).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}
