//! Whether two inputs take measurably different times, asked in the manner of dudect: a tripwire for tests, not a
//! proof. Feature `testing`; no part of the API.
//!
//! A time never decides a test by itself. A test asks twice: of an implementation that leaks on purpose, where the
//! difference must be found, and of the real one, where there must be none that is anywhere near as large; each is
//! asked again before it fails.

use std::hint::black_box;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A leak is beyond this by far, with and without optimisation.
const LEAK: f64 = 20.0;
/// Without a leak even a busy machine stays below this by far.
const NOISE: f64 = 10.0;
const TRIES: usize = 20;

/// Two measurements at once would disturb each other.
static ALONE: Mutex<()> = Mutex::new(());

/// How often is measured.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Question {
    pairs: usize,
    rounds: usize,
}

impl Question {
    /// For what takes microseconds.
    #[must_use]
    pub const fn about_microseconds() -> Self {
        Self {
            pairs: 800,
            rounds: 3,
        }
    }

    /// For what takes milliseconds: so long that on a busy machine most runs are interrupted, and more are needed for
    /// one that is not.
    #[must_use]
    pub const fn about_milliseconds() -> Self {
        Self {
            pairs: 100,
            rounds: 6,
        }
    }

    /// The two kinds cannot be told apart by the time of `run`. It gets the kind, 0 or 1, and what `prepare` made for
    /// it, whose time does not count.
    ///
    /// # Panics
    ///
    /// When they can be told apart at every try.
    pub fn assert_silent<I, O>(
        self,
        what: &str,
        prepare: impl FnMut(usize) -> I,
        run: impl FnMut(usize, I) -> O,
    ) {
        self.expect(what, prepare, run, "can be told by the time", |t| {
            t.abs() < NOISE
        });
    }

    /// The two kinds can be told apart: for a leak that is planted.
    ///
    /// # Panics
    ///
    /// When they cannot be told apart at any try.
    pub fn assert_leaks<I, O>(
        self,
        what: &str,
        prepare: impl FnMut(usize) -> I,
        run: impl FnMut(usize, I) -> O,
    ) {
        self.expect(what, prepare, run, "is not noticed", |t| t.abs() > LEAK);
    }

    fn expect<I, O>(
        self,
        what: &str,
        mut prepare: impl FnMut(usize) -> I,
        mut run: impl FnMut(usize, I) -> O,
        otherwise: &str,
        holds: impl Fn(f64) -> bool,
    ) {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = Vec::with_capacity(TRIES);
        for _ in 0..TRIES {
            let (t, mean, time) = self.t_of_differences(&mut prepare, &mut run);
            if holds(t) {
                eprintln!("{what}: t = {t:.1}, {mean:.1} ns of {time:.0} ns");
                return;
            }
            seen.push(t);
        }
        panic!("{what} {otherwise}: {seen:?}");
    }

    /// Student's t of the differences between the times for the two kinds, with the extreme fifths of the differences
    /// trimmed (Yuen's test); their mean and the shortest time, in nanoseconds.
    ///
    /// Other work on the machine comes and goes slowly compared with one run, and only ever makes it slower: so each
    /// difference is between the best of a few runs that alternate.
    fn t_of_differences<I, O>(
        self,
        prepare: &mut impl FnMut(usize) -> I,
        run: &mut impl FnMut(usize, I) -> O,
    ) -> (f64, f64, f64) {
        let mut fastest = f64::INFINITY;
        // Which kind comes first has no pattern that something else on the machine could follow.
        let mut order = 0x2545_f491_4f6c_dd1d_u64;
        let mut differences: Vec<f64> = (0..self.pairs)
            .map(|_| {
                order ^= order << 13;
                order ^= order >> 7;
                order ^= order << 17;
                let first = usize::from(order & 1 == 1);
                let mut best = [f64::INFINITY; 2];
                for kind in [first, 1 - first].repeat(self.rounds) {
                    let input = prepare(kind);
                    let start = Instant::now();
                    drop(black_box(run(kind, black_box(input))));
                    best[kind] = best[kind].min(start.elapsed().as_secs_f64() * 1e9);
                }
                fastest = fastest.min(best[0]);
                best[0] - best[1]
            })
            .collect();
        differences.sort_by(f64::total_cmp);
        let (t, mean) = trimmed_t(&differences);
        (t, mean, fastest)
    }
}

/// The statistic and the trimmed mean.
fn trimmed_t(sorted: &[f64]) -> (f64, f64) {
    let cut = sorted.len() / 5;
    let kept = &sorted[cut..sorted.len() - cut];
    let mean_of = |values: &mut dyn Iterator<Item = f64>| {
        let (sum, count) =
            values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        sum / count
    };
    let mean = mean_of(&mut kept.iter().copied());
    // The trimmed ones count as the outermost that were kept.
    let (lowest, highest) = (kept[0], kept[kept.len() - 1]);
    let winsorized = || {
        sorted
            .iter()
            .map(|difference| difference.clamp(lowest, highest))
    };
    let center = mean_of(&mut winsorized());
    let squares: f64 = winsorized()
        .map(|difference| (difference - center).powi(2))
        .sum();
    let count = kept.iter().fold(0.0, |count, _| count + 1.0);
    // Equal times on a coarse clock have no variance: then a nanosecond is none either.
    let variance = squares / (count - 1.0) / count;
    (mean / (variance + 0.01).sqrt(), mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: eleven differences, two trimmed at each end.
    #[test]
    fn the_statistic_is_yuens() {
        let differences = [-90.0, -3.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 60.0, 900.0];
        // The seven in the middle have the mean 4; winsorized, the eleven are 1 1 1 2 3 4 5 6 7 7 7, with the center 4
        // and the squares 3 * 9 + 4 + 1 + 0 + 1 + 4 + 3 * 9 = 64.
        let expected = 4.0 / (64.0 / 6.0 / 7.0 + 0.01_f64).sqrt();
        assert!((trimmed_t(&differences).0 - expected).abs() < 1e-9);
        let none = [0.0; 10];
        assert!(trimmed_t(&none).0.abs() < 1e-9);
    }
}
