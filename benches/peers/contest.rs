//! The same work, done by several peers in alternation.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Strongroom,
    StrongroomAwsLc,
    RustCrypto,
    AwsLc,
    OpenSsl,
    Secp256k1,
    Tink,
}

impl Peer {
    pub(crate) const ALL: [Self; 7] = [
        Self::Strongroom,
        Self::RustCrypto,
        Self::StrongroomAwsLc,
        Self::AwsLc,
        Self::OpenSsl,
        Self::Secp256k1,
        Self::Tink,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Strongroom => "strongroom",
            Self::StrongroomAwsLc => "strongroom, aws-lc",
            Self::RustCrypto => "RustCrypto",
            Self::AwsLc => "aws-lc-rs",
            Self::OpenSsl => "OpenSSL",
            Self::Secp256k1 => "libsecp256k1",
            Self::Tink => "Tink",
        }
    }

    /// The bare engine beneath a vault.
    pub(crate) fn engine(self) -> Option<Self> {
        match self {
            Self::Strongroom => Some(Self::RustCrypto),
            Self::StrongroomAwsLc => Some(Self::AwsLc),
            _ => None,
        }
    }
}

/// One operation and everyone who does it.
pub(crate) struct Operation<'a> {
    pub(crate) name: &'static str,
    contestants: Vec<(Peer, Box<dyn FnMut() + 'a>)>,
}

impl fmt::Debug for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What one peer took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) peer: Peer,
    /// Microseconds for one call.
    pub(crate) median: f64,
    /// A quarter of the batches was at least as fast.
    pub(crate) fast: f64,
}

/// All results of one operation.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) taken: Vec<Taken>,
}

impl Outcome {
    pub(crate) fn of(&self, peer: Peer) -> Option<Taken> {
        self.taken.iter().copied().find(|taken| taken.peer == peer)
    }

    /// How much longer a vault takes than its bare engine: by the medians and by the fast quartiles.
    pub(crate) fn ratio(&self, vault: Peer) -> Option<(f64, f64)> {
        let (vault, bare) = (self.of(vault)?, self.of(vault.engine()?)?);
        Some((vault.median / bare.median, vault.fast / bare.fast))
    }
}

impl<'a> Operation<'a> {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            contestants: Vec::new(),
        }
    }

    /// What is made here has to pass `check` once, which asks other implementations.
    pub(crate) fn making<T>(
        &mut self,
        peer: Peer,
        mut call: impl FnMut() -> T + 'a,
        bytes: impl Fn(T) -> Vec<u8>,
        check: impl Fn(&[u8]),
    ) {
        check(&bytes(call()));
        let run = move || drop(black_box(call()));
        self.contestants.push((peer, Box::new(run)));
    }

    /// What another peer made is taken, and nothing that differs from it in one bit.
    pub(crate) fn taking<T>(
        &mut self,
        peer: Peer,
        given: &[u8],
        mut call: impl FnMut(&[u8]) -> Option<T> + 'a,
        check: impl Fn(T),
    ) {
        check(call(given).unwrap_or_else(|| panic!("{peer:?}, {}: refused", self.name)));
        let mut altered = given.to_vec();
        let last = altered.last_mut().expect("not empty");
        *last ^= 1;
        assert!(
            call(&altered).is_none(),
            "{peer:?}, {}: took an altered input",
            self.name
        );
        let given = given.to_vec();
        let run = move || {
            let taken = call(black_box(&given));
            drop(black_box(taken.expect("as before")));
        };
        self.contestants.push((peer, Box::new(run)));
    }

    /// A group of criterion, for its report.
    pub(crate) fn report(&mut self, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group(self.name);
        for (peer, call) in &mut self.contestants {
            group.bench_function(peer.label(), |bencher| bencher.iter(&mut *call));
        }
        group.finish();
    }

    /// Everyone in alternation, in batches long enough for the clock: at least `least` of each, and more while there is
    /// time. Nobody is always the first.
    pub(crate) fn measure(&mut self, least: usize, time: Duration) -> Outcome {
        let mut batches: Vec<(u32, Vec<f64>)> = self
            .contestants
            .iter_mut()
            .map(|(_, call)| (batch_length(call), Vec::new()))
            .collect();
        let count = batches.len();
        let deadline = Instant::now() + time;
        let mut round = 0;
        while round < least || (Instant::now() < deadline && round < 10_000) {
            for place in 0..count {
                let turn = (place + round) % count;
                let (length, times) = &mut batches[turn];
                times.push(micros(per_call(&mut self.contestants[turn].1, *length)));
            }
            round += 1;
        }
        let taken = self
            .contestants
            .iter()
            .zip(batches)
            .map(|((peer, _), (_, times))| Taken {
                peer: *peer,
                median: quartile(times.clone(), 2),
                fast: quartile(times, 1),
            })
            .collect();
        Outcome {
            name: self.name,
            taken,
        }
    }
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// The value that as many quarters of all do not exceed.
pub(crate) fn quartile(mut values: Vec<f64>, quarters: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * quarters / 4).min(values.len() - 1)]
}

/// How many calls take about a fifth of a millisecond.
fn batch_length(call: &mut dyn FnMut()) -> u32 {
    let mut length = 1;
    while length < 4_096 && per_call(call, length) * length < Duration::from_micros(200) {
        length *= 2;
    }
    length
}

fn per_call(call: &mut dyn FnMut(), length: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..length {
        call();
    }
    start.elapsed() / length
}
