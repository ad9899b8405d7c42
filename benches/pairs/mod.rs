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

    /// Both halves in alternation, in batches long enough for the clock.
    fn print_ratio(&mut self) {
        let length = batch_length(&mut self.bare);
        let (mut vault, mut bare) = (Vec::new(), Vec::new());
        let deadline = Instant::now() + Duration::from_secs(2);
        while vault.len() < 201 || (Instant::now() < deadline && vault.len() < 10_001) {
            vault.push(per_call(&mut self.vault, length));
            bare.push(per_call(&mut self.bare, length));
        }
        vault.sort_unstable();
        bare.sort_unstable();
        let micros =
            |sorted: &[Duration], part: usize| sorted[sorted.len() * part / 4].as_secs_f64() * 1e6;
        let (vault_median, bare_median) = (micros(&vault, 2), micros(&bare, 2));
        println!(
            "{:<24} {vault_median:>10.2} {bare_median:>10.2} {:>7.3} {:>7.3} {:>+8.2}",
            self.name,
            vault_median / bare_median,
            micros(&vault, 1) / micros(&bare, 1),
            vault_median - bare_median,
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
pub(crate) fn print_ratios(pairs: &mut [Pair<'_>]) {
    println!("\nin alternation             vault us    bare us  median   fast    vault - bare us");
    for pair in pairs.iter_mut().filter(|pair| pair.selected.get()) {
        pair.print_ratio();
    }
}
