//! The structure that ARCHITECTURE.md describes, held against the source: every room uses only floors below
//! it, and each foreign crate is named only in its own room.

use std::path::{Path, PathBuf};

/// Rooms by floor, lowest first. A room uses lower floors and itself.
const FLOORS: &[&[&str]] = &[
    &["error"],
    &["env"],
    &["secret"],
    &["model"],
    &["policy", "format", "crypto"],
    &["seal"],
    &["store", "backend"],
    &["vault"],
    &["rest"],
    &["azure_transport"],
    &["manual", "fuzzing", "timing"],
];

/// The files with `unsafe`: the calls into PKCS#11 modules, and the memory for secrets.
const UNSAFE: &[&str] = &["backend::pkcs11::raw", "secret::arena"];

/// Foreign crates and the rooms, or the paths inside them, that may name them.
const ROOMS_OF_CRATES: &[(&[&str], &[&str])] = &[
    (&["sled"], &["store"]),
    (&["rustix"], &["env", "secret", "store"]),
    (&["bincode"], &["format"]),
    (&["http"], &["rest", "azure_transport", "fuzzing"]),
    (&["tower_service"], &["rest::tower"]),
    (&["azure_core", "async_trait"], &["azure_transport"]),
    (&["crc32fast"], &["store"]),
    (&["getrandom"], &["env"]),
    (&["cryptoki", "cryptoki_sys"], &["backend::pkcs11"]),
    (&["aws_lc_rs"], &["crypto::aws_lc"]),
    (
        &[
            "keyring_core",
            "linux_keyutils_keyring_store",
            "apple_native_keyring_store",
        ],
        &["backend::keyring"],
    ),
    (
        &[
            "rsa",
            "p256",
            "p384",
            "p521",
            "k256",
            "aes",
            "aes_gcm",
            "aes_kw",
            "cbc",
            "chacha20poly1305",
            "sha1",
            "sha2",
            "hmac",
            "argon2",
            "pkcs8",
            "pkcs1",
            "sec1",
            "crypto_bigint",
            "crypto_primes",
            "rand_core",
            "hpke",
        ],
        &["crypto", "seal"],
    ),
];

struct Source {
    path: PathBuf,
    /// The names of the modules from the crate's root, the last one being the file's own.
    module: Vec<String>,
    code: String,
}

impl Source {
    fn room(&self) -> &str {
        self.module.first().map_or("lib", String::as_str)
    }

    /// Whether the file is the module of this path, or one inside it.
    fn is_inside(&self, path: &str) -> bool {
        let mut own = self.module.iter();
        path.split("::")
            .all(|part| own.next().is_some_and(|name| name == part))
    }
}

/// Every source file, without tests, comments and strings.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    collect(&root, &root, &mut sources);
    assert!(sources.len() > 50, "only {} source files", sources.len());
    sources
}

fn collect(root: &Path, directory: &Path, sources: &mut Vec<Source>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().unwrap() != "tests" {
                collect(root, &path, sources);
            }
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_none_or(|extension| extension != "rs") || name.ends_with("tests") {
            continue;
        }
        let mut module: Vec<String> = path
            .strip_prefix(root)
            .unwrap()
            .with_extension("")
            .iter()
            .map(|part| part.to_str().unwrap().to_owned())
            .collect();
        if module
            .last()
            .is_some_and(|last| last == "mod" || last == "lib")
        {
            module.pop();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap()
            .lines()
            .map(|line| line.split("//").next().unwrap())
            .collect::<Vec<_>>()
            .join("\n");
        sources.push(Source { path, module, code });
    }
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn is_identifier(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// What follows `prefix` as an identifier, wherever `prefix` begins a path.
fn identifiers_after<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    code.match_indices(prefix)
        .filter(|(at, _)| !code[..*at].ends_with(|before| is_identifier(before) || before == ':'))
        .map(|(at, _)| {
            let rest = &code[at + prefix.len()..];
            let end = rest
                .find(|after| !is_identifier(after))
                .unwrap_or(rest.len());
            &rest[..end]
        })
        .collect()
}

#[test]
fn every_path_leads_to_a_floor_below() {
    let mut paths = 0;
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(own) = floor_of(source.room()) else {
            assert_eq!(
                source.room(),
                "lib",
                "{} is on no floor",
                source.path.display()
            );
            continue;
        };
        let mut used = identifiers_after(&source.code, "crate::");
        // As many `super` as there are modules lead to the crate's root.
        let to_root = "super::".repeat(source.module.len());
        used.extend(
            identifiers_after(&source.code, &to_root)
                .into_iter()
                .filter(|room| *room != "super"),
        );
        for room in used {
            paths += 1;
            let fits = room == source.room() || floor_of(room).is_some_and(|floor| floor < own);
            if !fits {
                wrong.push(format!("{} uses {room}", source.path.display()));
            }
        }
    }
    assert!(paths > 300, "only {paths} paths were seen");
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn foreign_crates_stay_in_their_rooms() {
    let mut seen = 0;
    let mut wrong = Vec::new();
    for source in sources() {
        for (crates, rooms) in ROOMS_OF_CRATES {
            for name in *crates {
                // A local module may share a crate's name inside its room.
                if identifiers_after(&source.code, &format!("{name}::")).is_empty() {
                    continue;
                }
                seen += 1;
                if !rooms.iter().any(|room| source.is_inside(room)) {
                    wrong.push(format!("{} names {name}", source.path.display()));
                }
            }
        }
    }
    assert!(seen > 30, "only {seen} uses of foreign crates were seen");
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn nothing_else_is_unsafe_and_nothing_is_left_to_do() {
    for source in sources() {
        for word in [
            "unsafe {",
            "unsafe fn",
            "unsafe impl",
            "todo!(",
            "unimplemented!(",
            "dbg!(",
        ] {
            if word.starts_with("unsafe") && UNSAFE.iter().any(|file| source.is_inside(file)) {
                continue;
            }
            assert!(
                !source.code.contains(word),
                "{} has {word}",
                source.path.display()
            );
        }
    }
}
