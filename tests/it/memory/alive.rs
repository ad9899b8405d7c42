//! Root key and data keys live for moments only, in every mode. Here the moments last: a source of random bytes waits
//! in the middle of an operation that needs them. So the search for these very values is shown to find them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use strongroom::{
    Entropy, MasterKey, OsEntropy, Passphrase, PassphraseParameters, Tags, Unlock,
    UpdateKeyOptions, VaultOptions,
};

use super::dump::{Dump, Secret};
use super::known::{Known, PASSPHRASE_LENGTH};
use super::work::{protect, read_into};
use super::{NOTHING, Process, job, phase, require};
use crate::support::name;

/// Waits before it gives anything, while it is told to.
#[derive(Debug, Default)]
struct Waiting(AtomicBool);

impl Waiting {
    fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.store(true, Ordering::SeqCst);
        let done = work();
        assert!(!self.0.load(Ordering::SeqCst), "nobody asked");
        done
    }
}

impl Entropy for Waiting {
    fn fill(&self, bytes: &mut [u8]) -> strongroom::Result<()> {
        if self.0.swap(false, Ordering::SeqCst) {
            phase("inside");
        }
        OsEntropy::default().fill(bytes)
    }
}

/// In the child.
fn wait_inside(job: &str) {
    let (protection, base) = job.split_once(' ').unwrap();
    let base = Path::new(base);
    let protection = protect(protection);
    let mut master = zeroize::Zeroizing::new([0; 32]);
    read_into(&base.join("master"), &mut *master);
    let master = MasterKey::from_bytes(&*master).unwrap();
    let mut text = zeroize::Zeroizing::new([0; PASSPHRASE_LENGTH]);
    read_into(&base.join("second passphrase"), &mut *text);
    let passphrase = Passphrase::new(std::str::from_utf8(&*text).unwrap()).unwrap();
    let entropy = Arc::new(Waiting::default());
    let vault = VaultOptions::new()
        .memory_protection(protection)
        .entropy(entropy.clone())
        .passphrase_parameters(PassphraseParameters::new(19_456, 1, 1).unwrap())
        .open(base.join("raw"), Unlock::raw_key(&master))
        .unwrap();

    // Opens the root key again, and wants an id and salts for the slot that it is sealed into.
    let current = Unlock::raw_key(&master);
    let slot = entropy
        .during(|| vault.add_unlock_slot(current, Unlock::passphrase(&passphrase)))
        .unwrap();
    phase("outside");
    vault.remove_unlock_slot(slot).unwrap();

    // Wants a salt for the version that it seals under the key's data key.
    let mut tags = Tags::new();
    tags.insert("changed", "yes").unwrap();
    let change = UpdateKeyOptions::new().tags(tags);
    entropy
        .during(|| vault.update_key_properties(&name("ec-p256"), change))
        .unwrap();
    phase("outside");
}

const ROOT: &str = "raw: root key";
const DATA_KEY: &str = "raw: KDK of ec-p256";

/// What is there of the two, at each of the moments; in a dump, and in the memory that it leaves out.
fn search(test: &str, protection: &str) -> [(Vec<String>, Vec<String>); 4] {
    let known = Known::new();
    let named = |name: &str| -> &Secret {
        let mut all = known.at_rest.iter();
        all.find(|secret| secret.name == name).unwrap()
    };
    let wanted = [named(ROOT), named(DATA_KEY)];
    let mut process = Process::start(test, &known.job(protection));
    let found = ["inside", "outside", "inside", "outside"].map(|phase| {
        process.wait_for(phase);
        let (dump, left_out) = Dump::of(process.child.id());
        process.go_on();
        let [dump, left_out] =
            [dump, left_out].map(|dump| dump.find_each(&wanted).into_iter().flatten().collect());
        (dump, left_out)
    });
    process.end();
    found
}

#[test]
fn t6_without_protection_the_search_finds_root_and_data_key_while_they_live() {
    const TEST: &str =
        "memory::alive::t6_without_protection_the_search_finds_root_and_data_key_while_they_live";
    if let Some(job) = job() {
        return wait_inside(&job);
    }
    let [adding, added, changing, changed] = search(TEST, "none").map(|(dump, _)| dump);
    require(&adding, ROOT);
    assert_eq!(added, NOTHING);
    require(&changing, DATA_KEY);
    assert!(!changing.iter().any(|found| found.starts_with(ROOT)));
    assert_eq!(changed, NOTHING);
}

#[test]
fn t6_with_protection_root_and_data_key_live_where_no_dump_looks() {
    const TEST: &str =
        "memory::alive::t6_with_protection_root_and_data_key_live_where_no_dump_looks";
    if let Some(job) = job() {
        return wait_inside(&job);
    }
    for protection in ["standard", "full"] {
        let [adding, added, changing, changed] = search(TEST, protection);
        require(&adding.1, ROOT);
        require(&changing.1, DATA_KEY);
        for dump in [&adding.0, &added.0, &changing.0, &changed.0] {
            assert_eq!(*dump, NOTHING, "{protection}");
        }
        for left_out in [&added.1, &changed.1] {
            assert_eq!(*left_out, NOTHING, "{protection}");
        }
    }
}
