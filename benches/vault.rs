//! What the vault costs on top of the bare primitive.
//!
//! `cargo bench --bench vault` measures every operation twice, through the vault and as the bare call of
//! the same crates with a parsed key, in one criterion group. Because the two halves of a group run one
//! after the other, a busy machine bends their quotient; so the program then runs each pair once more in
//! alternation and prints the ratio of the medians and of the fast quartiles. With the feature `aws-lc` there are pairs
//! of that engine, too.

#[cfg(feature = "aws-lc")]
mod aws_lc;
mod pairs;

use std::convert::Infallible;
use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aes::Aes256;
use aes::cipher::KeyInit;
use aes_gcm::aead::{AeadInOut, Nonce, Tag};
use aes_gcm::{Aes256Gcm, aead};
use aes_kw::{AesKw, InnerInit};
use criterion::{BenchmarkId, Criterion, SamplingMode};
use p256::ecdsa::signature::hazmat::{PrehashVerifier, RandomizedPrehashSigner};
use p256::pkcs8::EncodePrivateKey;
use pairs::{Pair, print_ratios};
use rand_core::{TryCryptoRng, TryRng};
use rsa::traits::{PaddingScheme, SignatureScheme};
use rsa::{Oaep, Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};
use sha2::Sha256;
use strongroom::{
    Ciphertext, CreateKeyOptions, Curve, EncryptOptions, EncryptionAlgorithm, Entropy,
    ImportKeyOptions, ImportedKey, KeyName, MasterKey, OsEntropy, SecretBytes, SignatureAlgorithm,
    Unlock, Vault, VaultOptions, WrapAlgorithm,
};

/// The generator that the vault uses too, in the shape that the crates take.
struct Random;

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        fill_randomly(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Random {}

fn fill_randomly(bytes: &mut [u8]) {
    OsEntropy::default().fill(bytes).expect("random bytes");
}

const DIGEST: [u8; 48] = [0x5a; 48];
const TEXT: [u8; 1_024] = [0x33; 1_024];

fn name(text: &str) -> KeyName {
    text.parse().expect("a legal name")
}

fn import(vault: &Vault, text: &str, der: &[u8]) -> KeyName {
    let name = name(text);
    let key = ImportedKey::from_pkcs8_der(der).expect("a key");
    vault
        .import_key(&name, ImportKeyOptions::new(key))
        .expect("the key is imported");
    name
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test" || argument == "--list");
    let mut criterion = Criterion::default().configure_from_args();
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let master = MasterKey::generate().expect("a key");
    let stored = VaultOptions::new()
        .create(scratch.path().join("growing"), Unlock::raw_key(&master))
        .expect("a vault");
    let vault = VaultOptions::new().create_in_memory().expect("a vault");
    #[cfg(feature = "aws-lc")]
    let on_aws_lc = VaultOptions::new()
        .crypto_engine(strongroom::CryptoEngine::AwsLc)
        .create_in_memory()
        .expect("a vault");
    let mut pairs = Vec::new();
    rsa_pairs(&vault, &mut pairs);
    ec_pairs(&vault, &mut pairs);
    symmetric_pairs(&vault, &mut pairs);
    #[cfg(feature = "aws-lc")]
    aws_lc::pairs(&on_aws_lc, &mut pairs);
    for pair in &mut pairs {
        pair.bench(&mut criterion);
    }

    let keys: u32 = if quick { 64 } else { 10_000 };
    let path = scratch.path().join("filled");
    fill(&path, &master, keys);
    reading(&mut criterion, &path, &master, keys);
    opening(&mut criterion, &path, &master, keys);
    creating_in_memory(&mut criterion);
    creating_in_threads(&mut criterion, &stored);
    let mut creating = creating(&stored, scratch.path());
    creating.bench(&mut criterion);
    pairs.push(creating);
    criterion.final_summary();

    if !quick {
        print_ratios(&mut pairs);
    }
}

fn rsa_pairs<'a>(vault: &'a Vault, pairs: &mut Vec<Pair<'a>>) {
    let key = RsaPrivateKey::new(&mut Random, 2048).expect("an RSA key");
    let public = RsaPublicKey::from(&key);
    let name = import(
        vault,
        "rsa-2048",
        key.to_pkcs8_der().expect("a container").as_bytes(),
    );
    let digest = &DIGEST[..32];
    let rs256 = SignatureAlgorithm::Rs256;
    let padding = Pkcs1v15Sign::new::<Sha256>;
    let signature = padding()
        .sign(Some(&mut Random), &key, digest)
        .expect("a signature");
    let bare_key = key.clone();
    let by_name = name.clone();
    pairs.push(Pair::new(
        "sign_rs256_2048",
        move || {
            drop(black_box(
                vault.sign(&by_name, rs256, digest).expect("a signature"),
            ))
        },
        move || {
            let signature = padding().sign(Some(&mut Random), &bare_key, digest);
            drop(black_box(signature.expect("a signature")));
        },
    ));
    let (by_name, given, bare_public) = (name.clone(), signature.clone(), public.clone());
    pairs.push(Pair::new(
        "verify_rs256_2048",
        move || {
            vault
                .verify(&by_name, rs256, digest, &given)
                .expect("valid")
        },
        move || {
            let verified = padding().verify(&bare_public, digest, &signature);
            verified.expect("valid");
        },
    ));
    let oaep = EncryptionAlgorithm::RsaOaep256;
    let ciphertext = Oaep::<Sha256>::new()
        .encrypt(&mut Random, &public, &TEXT[..32])
        .expect("a ciphertext");
    let given = ciphertext.clone();
    pairs.push(Pair::new(
        "decrypt_rsa_oaep_256",
        move || {
            let opened = vault.decrypt(&name, oaep, Ciphertext::new(&given));
            drop(black_box(opened.expect("the plaintext")));
        },
        move || {
            let opened = Oaep::<Sha256>::new().decrypt(Some(&mut Random), &key, &ciphertext);
            drop(black_box(opened.expect("the plaintext")));
        },
    ));
}

macro_rules! curve_pairs {
    ($vault:ident, $pairs:ident, $krate:ident, $bytes:literal, $algorithm:ident, $sign:literal, $verify:literal) => {{
        let key = $krate::ecdsa::SigningKey::from_slice(&[0x11; $bytes]).expect("a scalar");
        let public = *key.verifying_key();
        let secret = $krate::SecretKey::from(&key);
        let der = secret.to_pkcs8_der().expect("a container");
        let name = import($vault, &$sign.replace('_', "-"), der.as_bytes());
        let algorithm = SignatureAlgorithm::$algorithm;
        let digest = &DIGEST[..$bytes];
        let signature: $krate::ecdsa::Signature = key
            .sign_prehash_with_rng(&mut Random, digest)
            .expect("a signature");
        let by_name = name.clone();
        $pairs.push(Pair::new(
            $sign,
            move || {
                drop(black_box(
                    $vault
                        .sign(&by_name, algorithm, digest)
                        .expect("a signature"),
                ))
            },
            move || {
                let signature: $krate::ecdsa::Signature = key
                    .sign_prehash_with_rng(&mut Random, digest)
                    .expect("a signature");
                drop(black_box(signature.to_bytes().to_vec()));
            },
        ));
        let bytes = signature.to_bytes().to_vec();
        $pairs.push(Pair::new(
            $verify,
            move || {
                $vault
                    .verify(&name, algorithm, digest, &bytes)
                    .expect("valid")
            },
            move || public.verify_prehash(digest, &signature).expect("valid"),
        ));
    }};
}

fn ec_pairs<'a>(vault: &'a Vault, pairs: &mut Vec<Pair<'a>>) {
    curve_pairs!(vault, pairs, p256, 32, Es256, "sign_es256", "verify_es256");
    curve_pairs!(
        vault,
        pairs,
        k256,
        32,
        Es256K,
        "sign_es256k",
        "verify_es256k"
    );
    curve_pairs!(vault, pairs, p384, 48, Es384, "sign_es384", "verify_es384");
}

fn symmetric_pairs<'a>(vault: &'a Vault, pairs: &mut Vec<Pair<'a>>) {
    let bytes = [0x22; 32];
    let name = name("oct-256");
    let key = ImportedKey::oct(SecretBytes::copied_from(&bytes));
    vault
        .import_key(&name, ImportKeyOptions::new(key))
        .expect("the key is imported");

    let kw = WrapAlgorithm::A256Kw;
    let aes = Aes256::new_from_slice(&bytes).expect("a key");
    let wrapper = AesKw::inner_init(aes.clone());
    let by_name = name.clone();
    pairs.push(Pair::new(
        "wrap_a256kw",
        move || {
            drop(black_box(
                vault.wrap_key(&by_name, kw, &TEXT[..32]).expect("wrapped"),
            ))
        },
        move || {
            let mut wrapped = vec![0; 40];
            wrapper
                .wrap_key(&TEXT[..32], &mut wrapped)
                .expect("wrapped");
            drop(black_box(wrapped));
        },
    ));
    let wrapper = AesKw::inner_init(aes);
    let wrapped = vault.wrap_key(&name, kw, &TEXT[..32]).expect("wrapped");
    let given = wrapped.wrapped_key().to_vec();
    let by_name = name.clone();
    pairs.push(Pair::new(
        "unwrap_a256kw",
        move || {
            let key = vault.unwrap_key(&by_name, kw, wrapped.wrapped_key());
            drop(black_box(key.expect("unwrapped")));
        },
        move || {
            let mut key = vec![0; 32];
            wrapper.unwrap_key(&given, &mut key).expect("unwrapped");
            drop(black_box(key));
        },
    ));

    let gcm = EncryptionAlgorithm::A256Gcm;
    let cipher = Aes256Gcm::new_from_slice(&bytes).expect("a key");
    let decrypting = cipher.clone();
    let by_name = name.clone();
    pairs.push(Pair::new(
        "encrypt_a256gcm_1k",
        move || {
            let sealed = vault.encrypt(&by_name, gcm, &TEXT, EncryptOptions::new());
            drop(black_box(sealed.expect("a ciphertext")));
        },
        move || {
            let mut iv: Nonce<Aes256Gcm> = aead::array::Array::default();
            fill_randomly(&mut iv);
            let mut text = TEXT.to_vec();
            let tag = cipher.encrypt_inout_detached(&iv, &[], text.as_mut_slice().into());
            drop(black_box((text, tag.expect("a tag"))));
        },
    ));
    let sealed = vault
        .encrypt(&name, gcm, &TEXT, EncryptOptions::new())
        .expect("a ciphertext");
    let given = sealed.clone();
    pairs.push(Pair::new(
        "decrypt_a256gcm_1k",
        move || {
            let opened = vault.decrypt(&name, gcm, Ciphertext::from(&sealed));
            drop(black_box(opened.expect("the plaintext")));
        },
        move || {
            let iv = Nonce::<Aes256Gcm>::try_from(given.iv().unwrap_or_default()).expect("an IV");
            let tag = Tag::<Aes256Gcm>::try_from(given.tag().unwrap_or_default()).expect("a tag");
            let mut text = given.ciphertext().to_vec();
            decrypting
                .decrypt_inout_detached(&iv, &[], text.as_mut_slice().into(), &tag)
                .expect("the plaintext");
            drop(black_box(text));
        },
    ));
}

/// A vault with this many EC keys, made by threads so that they share commits.
fn fill(path: &Path, master: &MasterKey, keys: u32) {
    let vault = VaultOptions::new()
        .create(path, Unlock::raw_key(master))
        .expect("a vault");
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= u64::from(keys) {
                        break;
                    }
                    vault
                        .create_key(&name(&format!("key-{number}")), options())
                        .expect("the key is made");
                }
            });
        }
    });
    vault.close().expect("closed");
}

fn options() -> CreateKeyOptions {
    CreateKeyOptions::ec(Curve::P256).tag("team", "billing")
}

/// `get_key` reads and opens two records; `sign` without a key cache opens the key as well.
fn reading(criterion: &mut Criterion, path: &Path, master: &MasterKey, keys: u32) {
    // Copied while nobody has it open.
    bare_copy(path);
    let vault = VaultOptions::new()
        .key_cache(0)
        .open(path, Unlock::raw_key(master))
        .expect("the vault opens");
    let mut group = criterion.benchmark_group("get_key");
    let hot = name("key-0");
    group.bench_function("same_key", |bencher| {
        bencher.iter(|| vault.get_key(&hot).expect("the key"));
    });
    let names: Vec<KeyName> = (0..keys)
        .map(|number| name(&format!("key-{number}")))
        .collect();
    // A stride that is prime to every count of keys used here.
    let mut at = 0;
    let mut next = || {
        at = (at + 7_919) % names.len();
        &names[at]
    };
    group.bench_function(BenchmarkId::new("of_keys", keys), |bencher| {
        bencher.iter(|| vault.get_key(next()).expect("the key"));
    });
    let engine = BareEngine::open(&bare_copy(path));
    let records = engine.records_of_keys();
    let mut at = 0;
    group.bench_function(BenchmarkId::new("of_keys_bare", keys), |bencher| {
        bencher.iter(|| {
            at = (at + 7_919) % records.len();
            for key in &records[at] {
                black_box(engine.tree.get(key).expect("the engine reads"));
            }
        });
    });
    group.finish();
    drop(engine);
    let mut group = criterion.benchmark_group("sign_es256_without_key_cache");
    group.bench_function(BenchmarkId::new("of_keys", keys), |bencher| {
        bencher.iter(|| {
            vault
                .sign(next(), SignatureAlgorithm::Es256, &DIGEST[..32])
                .expect("a signature")
        });
    });
    group.finish();
    vault.close().expect("closed");
}

/// The storage engine alone, on a copy of the vault's own records.
struct BareEngine {
    tree: sled::Tree,
    _database: sled::Db,
}

impl BareEngine {
    fn open(path: &Path) -> Self {
        let config = sled::Config::new()
            .path(path)
            .segment_size(512 * 1024)
            .cache_capacity(256 << 20)
            .flush_every_ms(None);
        // It keeps its lock for moments after it was dropped.
        let database = (0..500)
            .find_map(|_| {
                let opened = config.open().ok();
                if opened.is_none() {
                    std::thread::sleep(Duration::from_millis(10));
                }
                opened
            })
            .expect("the engine opens");
        Self {
            tree: database.open_tree(b"r").expect("the tree"),
            _database: database,
        }
    }

    /// The places of the key object and of the version of each key, which is what `get_key` reads.
    fn records_of_keys(&self) -> Vec<[sled::IVec; 2]> {
        let places = |class: u8| {
            self.tree
                .iter()
                .keys()
                .map(|key| key.expect("the engine reads"))
                .filter(move |key| key[0] == 2 && key[17] == class && key[34] == 0)
        };
        places(b'M')
            .zip(places(b'V'))
            .map(|(object, version)| [object, version])
            .collect()
    }
}

fn bare_copy(path: &Path) -> PathBuf {
    let copy = path.with_extension("bare");
    if !copy.exists() {
        std::fs::create_dir(&copy).expect("a directory");
        for entry in std::fs::read_dir(path).expect("the vault's files") {
            let entry = entry.expect("the vault's files");
            if entry.file_type().expect("a type").is_file() {
                std::fs::copy(entry.path(), copy.join(entry.file_name())).expect("a copy");
            }
        }
    }
    copy
}

/// Opening with a raw key; closing is not counted.
fn opening(criterion: &mut Criterion, path: &Path, master: &MasterKey, keys: u32) {
    let mut group = criterion.benchmark_group("open");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function(BenchmarkId::new("keys", keys), |bencher| {
        bencher.iter_custom(|count| {
            (0..count)
                .map(|_| {
                    let start = Instant::now();
                    let vault = VaultOptions::new()
                        .open(path, Unlock::raw_key(master))
                        .expect("the vault opens");
                    let elapsed = start.elapsed();
                    vault.close().expect("closed");
                    elapsed
                })
                .sum()
        });
    });
    let copy = bare_copy(path);
    group.bench_function(BenchmarkId::new("keys_bare", keys), |bencher| {
        bencher.iter_custom(|count| {
            (0..count)
                .map(|_| {
                    // The lock of the one before is gone once it can be opened; that wait is not counted.
                    drop(BareEngine::open(&copy));
                    std::thread::sleep(Duration::from_millis(100));
                    let start = Instant::now();
                    let engine = BareEngine::open(&copy);
                    let elapsed = start.elapsed();
                    drop(engine);
                    elapsed
                })
                .sum()
        });
    });
    group.finish();
}

/// A durable key, and 1.5 KiB appended and synced in the same directory.
fn creating<'a>(vault: &'a Vault, directory: &Path) -> Pair<'a> {
    let mut number = 0;
    let mut log = File::create(directory.join("log")).expect("a file");
    Pair::new(
        "create_ec_durably",
        move || {
            number += 1;
            vault
                .create_key(&name(&format!("one-{number}")), options())
                .expect("the key is made");
        },
        move || {
            log.write_all(&[0x44; 1_536]).expect("written");
            log.sync_data().expect("synced");
        },
    )
}

/// What creating costs without the disk: generation, its test, sealing and the way through the committing thread.
fn creating_in_memory(criterion: &mut Criterion) {
    let vault = VaultOptions::new().create_in_memory().expect("a vault");
    let mut number = 0;
    let mut group = criterion.benchmark_group("create_ec_in_memory");
    group.bench_function("vault", |bencher| {
        bencher.iter(|| {
            number += 1;
            vault
                .create_key(&name(&format!("one-{number}")), options())
                .expect("the key is made");
        });
    });
    group.finish();
}

/// Time per key when 32 threads create keys.
fn creating_in_threads(criterion: &mut Criterion, vault: &Vault) {
    const THREADS: u64 = 32;
    let next = AtomicU64::new(0);
    let mut group = criterion.benchmark_group("create_ec_durably_32_threads");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("vault", |bencher| {
        bencher.iter_custom(|count| {
            let each = count.div_ceil(THREADS);
            let start = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| {
                        for _ in 0..each {
                            let number = next.fetch_add(1, Ordering::Relaxed);
                            vault
                                .create_key(&name(&format!("many-{number}")), options())
                                .expect("the key is made");
                        }
                    });
                }
            });
            // Scaled to the calls that were asked for.
            start
                .elapsed()
                .mul_f64(count as f64 / (each * THREADS) as f64)
        });
    });
    group.finish();
}
