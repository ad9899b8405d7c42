//! A reader that comes at its own pace, without writers and beside eight of them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use strongroom::{CreateKeyOptions, KeyName, MasterKey, OctKeySize, Unlock, Vault, VaultOptions};

use crate::operations::name;
use crate::table::{Line, Twice};
use crate::{Size, progress, quartiles};

const WRITERS: usize = 8;
const ROUNDS: usize = 7;
/// A closed loop would hide the waiting: while it waits it does not ask.
const PACE: Duration = Duration::from_micros(500);

pub(crate) fn line(size: &Size, directory: &Path, master: &MasterKey) -> Line {
    progress("p99 of get_key under 8 writers");
    let vault = VaultOptions::new()
        .create(directory.join("read"), Unlock::raw_key(master))
        .expect("a vault");
    let names: Vec<KeyName> = (0..size.keys.min(1_000))
        .map(|number| name(&format!("key-{number}")))
        .collect();
    let items = names.iter().map(|key| (key.clone(), options())).collect();
    for made in vault.create_many(items).expect("a batch") {
        made.expect("a key");
    }
    let time = size.time(Duration::from_millis(1_500));
    let next = AtomicU64::new(0);
    let (mut idle, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..size.samples(ROUNDS) {
        idle.push(p99(&vault, &names, time));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        vault
                            .create_key(&name(&format!("new-{number}")), options())
                            .expect("a key");
                    }
                });
            }
            busy.push(p99(&vault, &names, time));
            stop.store(true, Ordering::Relaxed);
        });
    }
    vault.close().expect("closed");
    let (idle, busy) = (quartiles(idle), quartiles(busy));
    Line::ratio(
        "p99 of get_key, 8 writers, paced",
        format!("{:.0} us", busy.median),
        format!("{:.0} us, idle", idle.median),
        Twice {
            median: busy.median / idle.median,
            fast: busy.lower / idle.lower,
        },
        4.0,
    )
}

fn options() -> CreateKeyOptions {
    CreateKeyOptions::oct(OctKeySize::Bits256)
}

/// In microseconds.
fn p99(vault: &Vault, names: &[KeyName], time: Duration) -> f64 {
    let mut took = Vec::new();
    let begin = Instant::now();
    let mut at = 0;
    let mut due = begin;
    while begin.elapsed() < time {
        due += PACE;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        at = (at + 389) % names.len();
        let start = Instant::now();
        vault.get_key(&names[at]).expect("the key");
        took.push(start.elapsed());
    }
    took.sort_unstable();
    took[took.len() * 99 / 100].as_secs_f64() * 1e6
}
