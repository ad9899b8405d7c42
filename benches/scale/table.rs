//! What was measured, and tables of it.

use std::collections::BTreeMap;
use std::fmt::Write;

/// What was measured, by its name and by how many keys or versions there were.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    values: BTreeMap<String, BTreeMap<usize, f64>>,
}

impl Measured {
    pub(crate) fn note(&mut self, what: &str, count: usize, value: f64) {
        let values = self.values.entry(what.to_owned()).or_default();
        values.insert(count, value);
    }

    pub(crate) fn get(&self, what: &str, count: usize) -> Option<f64> {
        self.values.get(what)?.get(&count).copied()
    }

    /// In the order of the counts.
    pub(crate) fn all(&self, what: &str) -> Vec<(usize, f64)> {
        let values = self.values.get(what).into_iter().flatten();
        values.map(|(count, value)| (*count, *value)).collect()
    }
}

/// Of what was measured in seconds, bytes or numbers.
#[derive(Clone, Copy, Debug)]
enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Megabytes,
    PerSecond,
}

impl Unit {
    const ALL: [Self; 5] = [
        Self::Seconds,
        Self::Milliseconds,
        Self::Microseconds,
        Self::Megabytes,
        Self::PerSecond,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "µs",
            Self::Megabytes => "MB",
            Self::PerSecond => "per second",
        }
    }

    fn show(self, value: f64) -> String {
        let value = match self {
            Self::Seconds | Self::PerSecond => value,
            Self::Milliseconds => value * 1e3,
            Self::Microseconds => value * 1e6,
            Self::Megabytes => value / 1e6,
        };
        match value {
            0.0 => "0".to_owned(),
            ..1.0 => format!("{value:.3}"),
            ..10.0 => format!("{value:.2}"),
            ..100.0 => format!("{value:.1}"),
            _ => separated(value.round() as u64),
        }
    }
}

/// How fast something may grow from the first to the last column.
#[derive(Clone, Copy, Debug)]
enum Growth {
    /// As a search in a tree, with caches that hold less and less of it: 4x.
    Logarithmic,
    /// As the count, or that times its logarithm: twice the quotient of the counts.
    Proportional,
    /// Shown only.
    Any,
}

/// A row of a table.
struct Row<'a> {
    /// Under which name it was measured.
    name: &'a str,
    what: &'a str,
    unit: Unit,
    growth: Growth,
}

impl<'a> Row<'a> {
    fn of(line: &'a str) -> Self {
        let fields: Vec<&str> = line.split(" | ").collect();
        let [name, what, unit, growth] = fields[..] else {
            panic!("not a row: {line}");
        };
        let unit = Unit::ALL.into_iter().find(|known| known.name() == unit);
        Self {
            name,
            what,
            unit: unit.expect("a unit"),
            growth: match growth {
                "log" => Growth::Logarithmic,
                "n" => Growth::Proportional,
                _ => Growth::Any,
            },
        }
    }
}

pub(crate) const LOGARITHMIC: f64 = 4.0;
pub(crate) const PROPORTIONAL: f64 = 2.0;

/// A table, and how many of how many bounds are held.
pub(crate) struct Table {
    pub(crate) text: String,
    pub(crate) held: usize,
    pub(crate) asked: usize,
}

pub(crate) fn table(rows: &str, counts: &[usize], measured: &Measured) -> Table {
    let mut table = Table {
        text: String::new(),
        held: 0,
        asked: 0,
    };
    let (Some(&first), Some(&last)) = (counts.first(), counts.last()) else {
        return table;
    };
    let numbers: Vec<String> = counts
        .iter()
        .map(|count| separated(*count as u64))
        .collect();
    let text = &mut table.text;
    let short = |count: usize| match count {
        1_000_000.. => format!("{}M", count / 1_000_000),
        1_000.. => format!("{}k", count / 1_000),
        _ => count.to_string(),
    };
    let _ = writeln!(
        text,
        "| | {} | {} / {} | per decade | at most | |",
        numbers.join(" | "),
        short(last),
        short(first),
    );
    let _ = writeln!(
        text,
        "| --- | {}---: | ---: | ---: | --- |",
        "---: | ".repeat(counts.len())
    );
    for row in rows.trim().lines().map(Row::of) {
        let value = |count: usize| measured.get(row.name, count);
        if counts.iter().all(|count| value(*count).is_none()) {
            continue;
        }
        let cells: Vec<String> = counts
            .iter()
            .map(|count| value(*count).map_or_else(String::new, |value| row.unit.show(value)))
            .collect();
        let ratio = match (value(first), value(last)) {
            (Some(before), Some(after)) if before > 0.0 => Some(after / before),
            _ => None,
        };
        let times = last as f64 / first as f64;
        let bound = match row.growth {
            Growth::Logarithmic => Some(LOGARITHMIC),
            Growth::Proportional => Some(PROPORTIONAL * times),
            Growth::Any => None,
        };
        let verdict = match ratio.zip(bound) {
            Some((ratio, bound)) => {
                table.asked += 1;
                table.held += usize::from(ratio <= bound);
                if ratio <= bound {
                    "held"
                } else {
                    "**not held**"
                }
            }
            None => "",
        };
        let shown = |value: Option<f64>| value.map_or_else(String::new, times_text);
        let _ = writeln!(
            text,
            "| {}, {} | {} | {} | {} | {} | {verdict} |",
            row.what,
            row.unit.name(),
            cells.join(" | "),
            shown(ratio),
            shown(ratio.map(|ratio| ratio.powf(1.0 / times.log10()))),
            shown(ratio.and(bound)),
        );
    }
    table
}

fn times_text(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}x"),
        _ => format!("{}x", separated(value.round() as u64)),
    }
}

/// With commas between the thousands.
pub(crate) fn separated(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
