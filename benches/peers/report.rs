//! The section of the manual, in the words that it has there.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::contest::{Outcome, Peer};
use crate::durable::{Inserts, Kind};

const LOCKED: &str = include_str!("Cargo.lock");

/// What is known about the run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    pub(crate) load: &'a str,
    pub(crate) elapsed: Duration,
}

pub(crate) fn section(outcomes: &[Outcome], inserts: &[Inserts], run: Run<'_>) -> String {
    [head(run), operations(outcomes), stores(inserts)].concat()
}

fn head(run: Run<'_>) -> String {
    format!(
        "## Beside others

```text
cargo bench --manifest-path benches/peers/Cargo.toml
```

puts the same work beside other libraries. It is a workspace of its own, and needs a C compiler, make and Perl besides Rust, because it builds OpenSSL and SQLite from their sources. It takes {minutes:.0} minutes, \
leaves criterion's report in `benches/peers/target/criterion/report`, and ends by printing this section and drawing its plots; with `-- table` it does only the latter.

Everyone has the same keys, parsed beforehand, and gets the same digests; only Tink hashes the 32 bytes itself. Before anything is measured, each signature, MAC and ciphertext has to be taken by two other implementations, \
and everyone has to refuse what differs in one bit. The calls of a line are made in alternation, batch by batch; these are the medians in µs, and how much longer a vault takes than its bare engine (in parentheses by the fastest quarters). {date}, {processors} processors ({model}), load {load} before; {versions}.

",
        minutes = (run.elapsed.as_secs_f64() / 60.0).max(1.0),
        date = date(),
        processors = std::thread::available_parallelism().map_or(0, usize::from),
        model = model(),
        load = run.load,
        versions = versions(),
    )
}

fn operations(outcomes: &[Outcome]) -> String {
    let mut text = "| operation | strongroom | RustCrypto, bare | ratio | strongroom, aws-lc | aws-lc-rs, bare | ratio | OpenSSL | libsecp256k1 | Tink |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"
    .to_owned();
    for outcome in outcomes {
        let time = |peer| {
            outcome
                .of(peer)
                .map_or(String::new(), |taken| micros(taken.median))
        };
        let ratio = |peer| {
            let ratio = outcome.ratio(peer);
            ratio.map_or(String::new(), |(median, fast)| {
                format!("{median:.2} ({fast:.2})")
            })
        };
        let cells = [
            outcome.name.to_owned(),
            time(Peer::Strongroom),
            time(Peer::RustCrypto),
            ratio(Peer::Strongroom),
            time(Peer::StrongroomAwsLc),
            time(Peer::AwsLc),
            ratio(Peer::StrongroomAwsLc),
            time(Peer::OpenSsl),
            time(Peer::Secp256k1),
            time(Peer::Tink),
        ];
        line(&mut text, &cells);
    }
    text + "
![Bars, on a logarithmic scale: what one call of each operation takes each of the libraries][plot: peers]

With `aws-lc` a vault leaves AES, HMAC and the curve of ES256K to RustCrypto. aws-lc-rs uses up the key of a key wrap with each call, and OpenSSL has no HMAC with a key prepared beforehand, so that these two lines include it. \
For GCM everyone draws an IV, strongroom and RustCrypto from the kernel, the others from a generator in the process. The Rust port of Tink has neither RSA nor curves other than P-256 nor key wrap.

"
}

fn stores(inserts: &[Inserts]) -> String {
    let append = inserts.iter().find(|insert| insert.kind == Kind::Disk);
    let (median, fast) = append.map_or((1.0, 1.0), |append| (append.median, append.fast));
    let mut text = "One record put durably into a file system on disk: a key into a vault, or 32 and 1,536 bytes into another store with its own means; one after the other in an order that changes, medians in µs, beside the least that the \
disk can do: 1,536 bytes appended to a file, or written over others, and synced. *Written* are the bytes that one insert hands to the kernel.

| durable insert | one thread | against the append | written | 32 threads |
| --- | ---: | --- | ---: | ---: |
"
    .to_owned();
    for insert in inserts {
        let (by_median, by_fast) = (insert.median / median, insert.fast / fast);
        let cells = [
            insert.label.to_owned(),
            micros(insert.median),
            format!("{by_median:.2}x ({by_fast:.2}x)"),
            (insert.written).map_or(String::new(), |bytes| format!("{:.1} KiB", bytes / 1024.0)),
            insert
                .rate
                .map_or(String::new(), |rate| format!("{rate:.0}/s")),
        ];
        line(&mut text, &cells);
    }
    text + "
![Bars: what one durable insert takes, and how many 32 threads make in a second][plot: durable]

Creating an EC key includes generating it, signing with it and verifying that. The bare `flush` of sled asks the kernel to write, and neither the length of the file nor the cache of the disk; a vault calls `fdatasync` besides, \
and its threads share that call. redb, fjall and SQLite take one thread after the other; an application that gathers its changes itself would get more from them.
"
}

fn line(text: &mut String, cells: &[String]) {
    writeln!(text, "| {} |", cells.join(" | ")).expect("in memory");
}

fn micros(micros: f64) -> String {
    let digits = match micros {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{micros:.digits$}")
}

/// What was built, by the lock file.
fn versions() -> String {
    let version = |name: &str| {
        let after = LOCKED.split_once(&format!("name = \"{name}\"\nversion = \""));
        after
            .and_then(|(_, rest)| rest.split('"').next())
            .unwrap_or("?")
    };
    let openssl = version("openssl-src")
        .split_once('+')
        .map_or("?", |(_, its)| its);
    format!(
        "p256 {}, rsa {}, aws-lc-rs {}, OpenSSL {openssl}, secp256k1 {}, tink-core {}, sled {}, redb {}, fjall {}, SQLite {}",
        version_of_p256(),
        version("rsa"),
        version("aws-lc-rs"),
        version("secp256k1"),
        version("tink-core"),
        version("sled"),
        version("redb"),
        version("fjall"),
        rusqlite::version(),
    )
}

/// Tink brings an older one, too.
fn version_of_p256() -> &'static str {
    LOCKED
        .split("name = \"p256\"\nversion = \"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .last()
        .unwrap_or("?")
}

fn model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(": "));
    name.map_or("unknown", |(_, name)| name).to_owned()
}

/// The day in UTC.
#[allow(clippy::disallowed_methods, reason = "a benchmark")]
fn date() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut days = since.as_secs() / 86_400;
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [
        31,
        28 + u64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let names = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    for (length, name) in lengths.into_iter().zip(names) {
        if days < length {
            return format!("{} {name} {year}", days + 1);
        }
        days -= length;
    }
    year.to_string()
}
