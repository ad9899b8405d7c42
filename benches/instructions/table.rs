//! What was counted beside the baseline.

use crate::Counts;
use crate::baseline::Baseline;

/// By how much a count may grow, as a part of it and as a number besides.
#[derive(Clone, Copy)]
struct Tolerance {
    percent: u64,
    besides: u64,
}

/// The manual says how much the counts differ from run to run.
const VAULT: Tolerance = Tolerance {
    percent: 1,
    besides: 0,
};

/// An allocation takes more.
const DIFFERENCE: Tolerance = Tolerance {
    percent: 3,
    besides: 48,
};

/// None more, below 34.
const LOCKED: Tolerance = Tolerance {
    percent: 3,
    besides: 0,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Held,
    Less,
    Grown,
    Unknown,
}

impl Tolerance {
    fn verdict(self, now: i64, then: i64) -> Verdict {
        let room = then.unsigned_abs() * self.percent / 100 + self.besides;
        if now.abs_diff(then) <= room {
            Verdict::Held
        } else if now < then {
            Verdict::Less
        } else {
            Verdict::Grown
        }
    }
}

impl Verdict {
    fn of(now: Counts, then: Option<Counts>) -> Self {
        let Some(then) = then else {
            return Self::Unknown;
        };
        let vault = VAULT.verdict(now.vault.cast_signed(), then.vault.cast_signed());
        let difference = match (now.difference(), then.difference()) {
            (Some(now), Some(then)) => DIFFERENCE.verdict(now, then),
            (None, None) => Self::Held,
            _ => Self::Unknown,
        };
        let locked = LOCKED.verdict(now.locked.cast_signed(), then.locked.cast_signed());
        let all = [vault, difference, locked];
        // The worst of them.
        [Self::Unknown, Self::Grown, Self::Less]
            .into_iter()
            .find(|verdict| all.contains(verdict))
            .unwrap_or(Self::Held)
    }

    fn text(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Less => "less",
            Self::Grown => "GROWN",
            Self::Unknown => "NO BASELINE",
        }
    }
}

/// Prints all lines, the last columns of which have three numbers each: of the vault, of the difference, and of those
/// locked. Whether nothing has grown.
pub(crate) fn print(counted: &[(&str, Counts)], baseline: &Baseline) -> bool {
    let head = [
        "operation",
        "vault",
        "bare",
        "difference",
        "locked",
        "baseline",
        "change",
        "verdict",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    let mut verdicts = Vec::new();
    for &(name, now) in counted {
        let then = baseline.of(name);
        let verdict = Verdict::of(now, then);
        verdicts.push(verdict);
        rows.push([
            name.to_owned(),
            now.vault.to_string(),
            or_nothing(now.bare),
            or_nothing(now.difference()),
            now.locked.to_string(),
            then.map_or("-".to_owned(), three),
            then.map_or("-".to_owned(), |then| change(now, then)),
            verdict.text().to_owned(),
        ]);
    }
    print_rows(&rows);
    let has = |wanted| verdicts.contains(&wanted);
    if has(Verdict::Less) {
        println!(
            "\nSome are less than their baseline: `cargo bench --bench instructions -- --write` lowers it."
        );
    }
    if has(Verdict::Grown) {
        println!(
            "\nSome have grown: the vault's count by more than {} %, the difference by more than {} % and {}, or the locked \
             instructions by more than {} %. Find out why; if it has to be, \
             `cargo bench --bench instructions -- --write` makes them the baseline.",
            VAULT.percent, DIFFERENCE.percent, DIFFERENCE.besides, LOCKED.percent
        );
    }
    if has(Verdict::Unknown) {
        println!(
            "\nThe baseline lacks some: `cargo bench --bench instructions -- --write` writes it anew."
        );
    }
    !has(Verdict::Grown) && !has(Verdict::Unknown)
}

fn or_nothing(value: Option<impl ToString>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

fn three(counts: Counts) -> String {
    let difference = or_nothing(counts.difference());
    format!("{} / {difference} / {}", counts.vault, counts.locked)
}

fn change(now: Counts, then: Counts) -> String {
    let vault = (now.vault as f64 / then.vault as f64 - 1.0) * 100.0;
    let difference = now.difference().zip(then.difference());
    let difference = difference.map(|(now, then)| format!("{:+}", now - then));
    let locked = now.locked.cast_signed() - then.locked.cast_signed();
    format!("{vault:+.2} % / {} / {locked:+}", or_nothing(difference))
}

fn print_rows<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) {
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let all = rows.iter().map(|row| row[column].len());
        all.max().unwrap_or(0)
    });
    for (number, row) in rows.iter().enumerate() {
        let mut line = "|".to_owned();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            line += &if column == 0 || column == COLUMNS - 1 {
                format!(" {cell:<width$} |")
            } else {
                format!(" {cell:>width$} |")
            };
        }
        println!("{line}");
        if number == 0 {
            println!(
                "|{}",
                widths.map(|width| "-".repeat(width + 2) + "|").concat()
            );
        }
    }
}
