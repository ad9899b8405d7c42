//! The table: what was measured, against what, and whether the bound is held.

/// One line of it.
#[derive(Debug)]
pub(crate) struct Line {
    what: String,
    measured: String,
    against: String,
    value: String,
    bound: String,
    /// `None` when nothing is demanded.
    held: Option<bool>,
}

/// A quotient or a time that was measured twice: with the medians, and with the fast quartiles.
///
/// The worse one counts: on a busy machine either may look good because the other side was disturbed more, and a bound that
/// can be held by luck is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Twice {
    pub(crate) median: f64,
    pub(crate) fast: f64,
}

impl Twice {
    fn higher(self) -> f64 {
        self.median.max(self.fast)
    }

    fn lower(self) -> f64 {
        self.median.min(self.fast)
    }
}

impl Line {
    /// A quotient that may not be larger than `bound`.
    pub(crate) fn ratio(
        what: impl Into<String>,
        measured: String,
        against: String,
        ratio: Twice,
        bound: f64,
    ) -> Self {
        Self {
            what: what.into(),
            measured,
            against,
            value: format!("{:.3}x ({:.3}x)", ratio.median, ratio.fast),
            bound: format!("<= {bound:.2}x"),
            held: Some(ratio.higher() <= bound),
        }
    }

    /// A quantity with a unit that may not be larger than `bound`.
    pub(crate) fn quantity(
        what: impl Into<String>,
        quantity: Twice,
        bound: f64,
        unit: &str,
    ) -> Self {
        Self {
            what: what.into(),
            measured: format!("{:.3} {unit}", quantity.median),
            against: String::new(),
            value: format!("{:.3} ({:.3}) {unit}", quantity.median, quantity.fast),
            bound: format!("<= {bound} {unit}"),
            held: Some(quantity.higher() <= bound),
        }
    }

    /// A difference in microseconds that may not be larger than `bound`.
    pub(crate) fn addition(
        what: impl Into<String>,
        measured: String,
        against: String,
        addition: Twice,
        bound: f64,
    ) -> Self {
        Self {
            what: what.into(),
            measured,
            against,
            value: format!("{:+.2} ({:+.2}) us", addition.median, addition.fast),
            bound: format!("<= +{bound} us"),
            held: Some(addition.higher() <= bound),
        }
    }

    /// A gain that may not be smaller than `bound`.
    pub(crate) fn gain(
        what: impl Into<String>,
        measured: String,
        against: String,
        gain: Twice,
        bound: f64,
    ) -> Self {
        Self {
            what: what.into(),
            measured,
            against,
            value: format!("{:.2}x ({:.2}x)", gain.median, gain.fast),
            bound: format!(">= {bound:.2}x"),
            held: Some(gain.lower() >= bound),
        }
    }

    /// Shown, and nothing is demanded of it.
    pub(crate) fn without_bound(mut self) -> Self {
        self.bound = "-".to_owned();
        self.held = None;
        self
    }

    fn verdict(&self) -> &'static str {
        match self.held {
            Some(true) => "held",
            Some(false) => "NOT HELD",
            None => "-",
        }
    }
}

/// Prints all lines; whether every bound is held.
pub(crate) fn print(lines: &[Line]) -> bool {
    let head = Line {
        what: "what".to_owned(),
        measured: "measured".to_owned(),
        against: "against".to_owned(),
        value: "median (fast)".to_owned(),
        bound: "bound".to_owned(),
        held: None,
    };
    let width = |column: fn(&Line) -> &str| {
        let all = lines.iter().chain([&head]);
        all.map(|line| column(line).chars().count())
            .max()
            .unwrap_or(0)
    };
    let (a, b, c) = (
        width(|line| &line.what),
        width(|line| &line.measured),
        width(|line| &line.against),
    );
    let (d, e) = (width(|line| &line.value), width(|line| &line.bound));
    let row = |line: &Line, verdict: &str| {
        println!(
            "| {:<a$} | {:>b$} | {:>c$} | {:>d$} | {:>e$} | {verdict:<8} |",
            line.what, line.measured, line.against, line.value, line.bound
        );
    };
    println!();
    row(&head, "verdict");
    println!(
        "| {:-<a$} | {:->b$} | {:->c$} | {:->d$} | {:->e$} | {:-<8} |",
        "", "", "", "", "", ""
    );
    for line in lines {
        row(line, line.verdict());
    }
    let missed = lines.iter().filter(|line| line.held == Some(false)).count();
    let asked = lines.iter().filter(|line| line.held.is_some()).count();
    println!("\n{} of {asked} bounds are held.", asked - missed);
    missed == 0
}
