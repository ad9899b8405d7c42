//! Uses of keys that are open already, against the bare call of the same engine.

use std::time::Duration;

use strongroom::VaultOptions;

use crate::operations::{ec_pairs, rsa_pairs, symmetric_pairs};
use crate::pairs::{Measured, Pair};
use crate::table::{Line, Twice};
use crate::{Size, progress};

/// What an operation may cost.
#[derive(Clone, Copy)]
enum Bound {
    Ratio(f64),
    Microseconds(f64),
}

pub(crate) fn lines(size: &Size, lines: &mut Vec<Line>) {
    let vault = VaultOptions::new().create_in_memory().expect("a vault");
    let mut take = |pairs: Vec<Pair<'_>>, bound| {
        for mut pair in pairs {
            progress(pair.name());
            let measured = pair.measure(size.samples(101), size.time(Duration::from_millis(2_500)));
            lines.push(line(pair.name(), measured, bound));
        }
    };
    let mut pairs = Vec::new();
    rsa_pairs(&vault, &mut pairs);
    take(std::mem::take(&mut pairs), Bound::Ratio(1.03));
    ec_pairs(&vault, &mut pairs);
    take(std::mem::take(&mut pairs), Bound::Ratio(1.10));
    symmetric_pairs(&vault, &mut pairs);
    take(std::mem::take(&mut pairs), Bound::Microseconds(0.3));
    #[cfg(feature = "aws-lc")]
    {
        let vault = VaultOptions::new()
            .crypto_engine(strongroom::CryptoEngine::AwsLc)
            .create_in_memory()
            .expect("a vault");
        let mut pairs = Vec::new();
        crate::aws_lc::pairs(&vault, &mut pairs);
        take(pairs, Bound::Ratio(1.05));
    }
}

fn line(name: &str, measured: Measured, bound: Bound) -> Line {
    let vault = format!("{:.2} us", measured.vault_median);
    let bare = format!("{:.2} us", measured.bare_median);
    match bound {
        Bound::Ratio(bound) => {
            let ratio = Twice {
                median: measured.median_ratio,
                fast: measured.fast_ratio(),
            };
            Line::ratio(name, vault, bare, ratio, bound)
        }
        Bound::Microseconds(bound) => {
            let addition = Twice {
                median: measured.median_difference,
                fast: measured.vault_fast - measured.bare_fast,
            };
            Line::addition(name, vault, bare, addition, bound)
        }
    }
}
