//! Where records go: the disk itself, vaults, and other stores.

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fjall::{KeyspaceCreateOptions, PersistMode};
use p256::pkcs8::EncodePrivateKey;
use redb::{Database, ReadableDatabase, TableDefinition};
use rusqlite::Connection;
use strongroom::{
    CreateKeyOptions, CryptoEngine, Curve, ImportKeyOptions, ImportedKey, KeyName, MasterKey,
    OctKeySize, Unlock, Vault, VaultOptions,
};

use super::Kind;

const RECORD: usize = 1_536;

/// Where records go.
pub(super) struct Store<'a> {
    pub(super) label: &'static str,
    pub(super) kind: Kind,
    pub(super) in_threads: bool,
    pub(super) insert: Box<dyn Fn(u64) + Sync + 'a>,
    pub(super) holds: Box<dyn Fn(u64) -> bool + Sync + 'a>,
}

impl fmt::Debug for Store<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// All of them.
pub(super) fn all<'a>(directory: &Path, vaults: &'a [Vault; 4]) -> Vec<Store<'a>> {
    let mut stores = vec![append(directory), overwrite(directory)];
    stores.extend(in_vaults(vaults));
    stores.push(in_sled(directory, false));
    stores.push(in_sled(directory, true));
    stores.push(in_redb(directory));
    stores.push(in_fjall(directory));
    stores.push(in_sqlite(directory, "WAL"));
    stores.push(in_sqlite(directory, "DELETE"));
    stores
}

/// One for each way in which keys get into one, so that all grow alike.
pub(super) fn vaults(directory: &Path) -> [Vault; 4] {
    ["oct", "ec", "ec-aws-lc", "import"].map(|kind| vault(directory, kind))
}

/// Well mixed, and another one for each number.
pub(super) fn mixed(number: u64) -> u64 {
    let mut word = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

fn key(number: u64) -> [u8; 32] {
    let mut key = [0; 32];
    fill(&mut key, number);
    key
}

/// Nothing that could be compressed, as sealed records cannot.
fn value(number: u64) -> Vec<u8> {
    let mut value = vec![0; RECORD];
    fill(&mut value, number ^ (1 << 63));
    value
}

fn fill(bytes: &mut [u8], number: u64) {
    let mut word = number;
    for chunk in bytes.chunks_mut(8) {
        word = mixed(word);
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
    }
}

fn append<'a>(directory: &Path) -> Store<'a> {
    let path = directory.join("log");
    let log = Mutex::new(File::create(&path).expect("a file"));
    Store {
        label: "append and sync",
        kind: Kind::Disk,
        in_threads: false,
        insert: Box::new(move |number| {
            let mut log = log.lock().expect("nobody panicked");
            log.write_all(&value(number)).expect("written");
            log.sync_data().expect("synced");
        }),
        holds: Box::new(move |number| fs::read(&path).expect("the file").ends_with(&value(number))),
    }
}

/// A log that is as long as it will be, in turns.
fn overwrite<'a>(directory: &Path) -> Store<'a> {
    const PLACES: u64 = 64;
    let path = directory.join("preallocated");
    fs::write(&path, vec![0xff; RECORD * PLACES as usize]).expect("written");
    let log = File::options().write(true).open(&path).expect("a file");
    log.sync_all().expect("synced");
    let place = |number: u64| (number % PLACES) * RECORD as u64;
    Store {
        label: "overwrite and sync",
        kind: Kind::Disk,
        in_threads: false,
        insert: Box::new(move |number| {
            log.write_all_at(&value(number), place(number))
                .expect("written");
            log.sync_data().expect("synced");
        }),
        holds: Box::new(move |number| {
            let bytes = fs::read(&path).expect("the file");
            bytes[place(number) as usize..].starts_with(&value(number))
        }),
    }
}

fn vault(directory: &Path, kind: &str) -> Vault {
    let engine = if kind.ends_with("aws-lc") {
        CryptoEngine::AwsLc
    } else {
        CryptoEngine::RustCrypto
    };
    let master = MasterKey::generate().expect("a key");
    VaultOptions::new()
        .crypto_engine(engine)
        .create(directory.join(kind), Unlock::raw_key(&master))
        .expect("a vault")
}

fn name(number: u64) -> KeyName {
    format!("key-{number}").parse().expect("a legal name")
}

fn in_vaults(vaults: &[Vault; 4]) -> [Store<'_>; 4] {
    let store = |label, vault, insert| Store {
        label,
        kind: Kind::Vault,
        in_threads: true,
        insert,
        holds: Box::new(move |number| Vault::get_key(vault, &name(number)).is_ok()),
    };
    let creating = |vault: &'_ Vault, options: fn() -> CreateKeyOptions| {
        let vault = vault.clone();
        Box::new(move |number| {
            let made = vault.create_key(&name(number), options());
            drop(made.expect("the key is made"));
        })
    };
    let oct = || CreateKeyOptions::oct(OctKeySize::Bits256);
    let ec = || CreateKeyOptions::ec(Curve::P256);
    let secret = p256::SecretKey::from_slice(&[0x11; 32]).expect("a scalar");
    let der = secret.to_pkcs8_der().expect("a container");
    let importing = Box::new(move |number| {
        let key = ImportedKey::from_pkcs8_der(der.as_bytes()).expect("a key");
        let made = vaults[3].import_key(&name(number), ImportKeyOptions::new(key));
        drop(made.expect("the key is imported"));
    });
    [
        store(
            "strongroom: create oct",
            &vaults[0],
            creating(&vaults[0], oct),
        ),
        store("strongroom: import EC", &vaults[3], importing),
        store(
            "strongroom: create EC",
            &vaults[1],
            creating(&vaults[1], ec),
        ),
        store(
            "strongroom, aws-lc: create EC",
            &vaults[2],
            creating(&vaults[2], ec),
        ),
    ]
}

/// `fdatasync` of the engine's file is what makes its inserts durable.
fn in_sled<'a>(directory: &Path, synced: bool) -> Store<'a> {
    let path = directory.join(if synced { "sled-synced" } else { "sled" });
    let database = sled::Config::new()
        .path(&path)
        .flush_every_ms(None)
        .open()
        .expect("the engine opens");
    let file = synced.then(|| File::open(path.join("db")).expect("its file"));
    let reading = database.clone();
    Store {
        label: if synced {
            "sled: `flush` and `fdatasync`"
        } else {
            "sled: `flush`, not durable"
        },
        kind: Kind::OwnEngine,
        in_threads: true,
        insert: Box::new(move |number| {
            database
                .insert(key(number), value(number))
                .expect("inserted");
            database.flush().expect("flushed");
            if let Some(file) = &file {
                file.sync_data().expect("synced");
            }
        }),
        holds: Box::new(move |number| {
            let found = reading.get(key(number)).expect("it reads");
            found.is_some_and(|found| found == value(number))
        }),
    }
}

fn in_redb<'a>(directory: &Path) -> Store<'a> {
    const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
    let database = Database::create(directory.join("redb")).expect("a database");
    let database = Arc::new(database);
    let reading = database.clone();
    Store {
        label: "redb",
        kind: Kind::OtherEngine,
        in_threads: true,
        insert: Box::new(move |number| {
            // Immediately durable unless told otherwise.
            let transaction = database.begin_write().expect("a transaction");
            transaction
                .open_table(TABLE)
                .expect("the table")
                .insert(key(number).as_slice(), value(number).as_slice())
                .expect("inserted");
            transaction.commit().expect("committed");
        }),
        holds: Box::new(move |number| {
            let transaction = reading.begin_read().expect("a transaction");
            let table = transaction.open_table(TABLE).expect("the table");
            let found = table.get(key(number).as_slice()).expect("it reads");
            found.is_some_and(|found| found.value() == value(number))
        }),
    }
}

fn in_fjall<'a>(directory: &Path) -> Store<'a> {
    let database = fjall::Database::builder(directory.join("fjall"));
    let database = database.open().expect("a database");
    let records = database.keyspace("records", KeyspaceCreateOptions::default);
    let records = records.expect("a keyspace");
    let reading = records.clone();
    Store {
        label: "fjall: `SyncAll`",
        kind: Kind::OtherEngine,
        in_threads: true,
        insert: Box::new(move |number| {
            records
                .insert(key(number), value(number))
                .expect("inserted");
            database.persist(PersistMode::SyncAll).expect("synced");
        }),
        holds: Box::new(move |number| {
            let found = reading.get(key(number)).expect("it reads");
            found.is_some_and(|found| found == value(number))
        }),
    }
}

fn in_sqlite<'a>(directory: &Path, mode: &'static str) -> Store<'a> {
    let connection = Connection::open(directory.join(mode)).expect("a database");
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = {mode};
             PRAGMA synchronous = FULL;
             CREATE TABLE records (key BLOB PRIMARY KEY, value BLOB NOT NULL);"
        ))
        .expect("a table");
    let connection = Arc::new(Mutex::new(connection));
    let reading = connection.clone();
    Store {
        label: if mode == "WAL" {
            "SQLite: WAL, FULL"
        } else {
            "SQLite: DELETE, FULL"
        },
        kind: Kind::OtherEngine,
        in_threads: mode == "WAL",
        insert: Box::new(move |number| {
            let connection = connection.lock().expect("nobody panicked");
            connection
                .prepare_cached("INSERT INTO records VALUES (?1, ?2)")
                .expect("a statement")
                .execute((key(number), value(number)))
                .expect("inserted");
        }),
        holds: Box::new(move |number| {
            let connection = reading.lock().expect("nobody panicked");
            let found: Vec<u8> = connection
                .query_row(
                    "SELECT value FROM records WHERE key = ?1",
                    [key(number)],
                    |row| row.get(0),
                )
                .expect("it reads");
            found == value(number)
        }),
    }
}
