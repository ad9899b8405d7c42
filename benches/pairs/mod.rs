//! The same work done twice, through the vault and without it, and the ratio of the two.

use std::cell::Cell;
use std::time::{Duration, Instant};

use criterion::Criterion;

pub(crate) type Call<'a> = Box<dyn FnMut() + 'a>;

/// One operation, through the vault and without it.
pub(crate) struct Pair<'a> {
    name: &'static str,
    vault: Call<'a>,
    bare: Call<'a>,
    selected: Cell<bool>,
}

/// Times of both halves of a pair, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) vault_median: f64,
    pub(crate) bare_median: f64,
    /// A quarter of the calls was at least as fast.
    pub(crate) vault_fast: f64,
    pub(crate) bare_fast: f64,
    /// The middle one of the ratios of neighbouring batches: the machine changes its speed, but seldom between the two.
    pub(crate) median_ratio: f64,
    /// The same of the differences.
    pub(crate) median_difference: f64,
}

impl Measured {
    pub(crate) fn fast_ratio(&self) -> f64 {
        self.vault_fast / self.bare_fast
    }
}

impl<'a> Pair<'a> {
    pub(crate) fn new(
        name: &'static str,
        vault: impl FnMut() + 'a,
        bare: impl FnMut() + 'a,
    ) -> Self {
        Self {
            name,
            vault: Box::new(vault),
            bare: Box::new(bare),
            selected: Cell::new(false),
        }
    }

    #[allow(dead_code, reason = "not every benchmark uses it")]
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Through the vault, and without it.
    #[allow(dead_code, reason = "not every benchmark uses it")]
    pub(crate) fn into_calls(self) -> (Call<'a>, Call<'a>) {
        (self.vault, self.bare)
    }

    #[allow(dead_code, reason = "not every benchmark uses it")]
    pub(crate) fn bench(&mut self, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group(self.name);
        group.bench_function("vault", |bencher| {
            self.selected.set(true);
            bencher.iter(|| (self.vault)());
        });
        group.bench_function("bare", |bencher| {
            self.selected.set(true);
            bencher.iter(|| (self.bare)());
        });
        group.finish();
    }

    /// Both halves in alternation, in batches long enough for the clock: at least `least` of each, and more while there is
    /// time.
    pub(crate) fn measure(&mut self, least: usize, time: Duration) -> Measured {
        let length = batch_length(&mut self.bare);
        let (mut vault, mut bare) = (Vec::new(), Vec::new());
        let deadline = Instant::now() + time;
        while vault.len() < least || (Instant::now() < deadline && vault.len() < 10_001) {
            vault.push(per_call(&mut self.vault, length));
            bare.push(per_call(&mut self.bare, length));
        }
        let neighbours = |compare: fn(f64, f64) -> f64| {
            let both = vault.iter().zip(&bare);
            let mut values: Vec<f64> = both
                .map(|(vault, bare)| compare(vault.as_secs_f64(), bare.as_secs_f64()))
                .collect();
            values.sort_unstable_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let median_ratio = neighbours(|vault, bare| vault / bare);
        let median_difference = neighbours(|vault, bare| vault - bare) * 1e6;
        vault.sort_unstable();
        bare.sort_unstable();
        let micros =
            |sorted: &[Duration], part: usize| sorted[sorted.len() * part / 4].as_secs_f64() * 1e6;
        Measured {
            vault_median: micros(&vault, 2),
            bare_median: micros(&bare, 2),
            vault_fast: micros(&vault, 1),
            bare_fast: micros(&bare, 1),
            median_ratio,
            median_difference,
        }
    }

    fn print_ratio(&mut self) {
        let measured = self.measure(201, Duration::from_secs(2));
        println!(
            "{:<24} {:>10.2} {:>10.2} {:>7.3} {:>7.3} {:>+8.2}",
            self.name,
            measured.vault_median,
            measured.bare_median,
            measured.median_ratio,
            measured.fast_ratio(),
            measured.median_difference,
        );
    }
}

/// How many calls take about a fifth of a millisecond.
fn batch_length(call: &mut Call<'_>) -> u32 {
    let mut length = 1;
    while length < 4_096 && per_call(call, length) * length < Duration::from_micros(200) {
        length *= 2;
    }
    length
}

fn per_call(call: &mut Call<'_>, length: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..length {
        call();
    }
    start.elapsed() / length
}

/// The ratios of all pairs that criterion ran.
#[allow(dead_code, reason = "not every benchmark uses it")]
pub(crate) fn print_ratios(pairs: &mut [Pair<'_>]) {
    println!("\nin alternation             vault us    bare us  median   fast    vault - bare us");
    for pair in pairs.iter_mut().filter(|pair| pair.selected.get()) {
        pair.print_ratio();
    }
}
