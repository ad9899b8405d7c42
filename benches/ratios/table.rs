//! The table: what was measured, against what, and whether the bound is held.

/// Of what the processors would allow, where a bound asks for more.
const LEAST_USED: f64 = 0.75;

/// One line of it.
#[derive(Debug)]
pub(crate) struct Line {
    what: String,
    measured: String,
    against: String,
    value: String,
    bound: String,
    /// The medians' and the fast quartiles'.
    twice: Twice,
    /// What a gain has to reach.
    least: Option<f64>,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    NotAsked,
    Held,
    NotHeld,
    /// More than the machine had to give in this run.
    OutOfReach,
}

impl Verdict {
    fn of(held: bool) -> Self {
        if held { Self::Held } else { Self::NotHeld }
    }
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
            twice: ratio,
            least: None,
            verdict: Verdict::of(ratio.higher() <= bound),
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
            twice: quantity,
            least: None,
            verdict: Verdict::of(quantity.higher() <= bound),
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
            twice: addition,
            least: None,
            verdict: Verdict::of(addition.higher() <= bound),
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
            twice: gain,
            least: Some(bound),
            verdict: Verdict::of(gain.lower() >= bound),
        }
    }

    /// Shown, and nothing is demanded of it.
    pub(crate) fn without_bound(mut self) -> Self {
        self.bound = "-".to_owned();
        self.verdict = Verdict::NotAsked;
        self
    }

    /// A gain of which no more than `most` was to be had in this run: what that does not reach is not demanded, but three
    /// quarters of it are.
    pub(crate) fn within(mut self, most: &Self) -> Self {
        let possible = most.twice;
        let used = (self.twice.median / possible.median).min(self.twice.fast / possible.fast);
        let is_out_of_reach = self.least.is_some_and(|least| possible.higher() < least);
        if self.verdict == Verdict::NotHeld && is_out_of_reach && used >= LEAST_USED {
            self.verdict = Verdict::OutOfReach;
        }
        self
    }

    fn verdict(&self) -> &'static str {
        match self.verdict {
            Verdict::NotAsked => "-",
            Verdict::Held => "held",
            Verdict::NotHeld => "NOT HELD",
            Verdict::OutOfReach => "out of reach",
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
        twice: Twice {
            median: 0.0,
            fast: 0.0,
        },
        least: None,
        verdict: Verdict::NotAsked,
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
            "| {:<a$} | {:>b$} | {:>c$} | {:>d$} | {:>e$} | {verdict:<12} |",
            line.what, line.measured, line.against, line.value, line.bound
        );
    };
    println!();
    row(&head, "verdict");
    println!(
        "| {:-<a$} | {:->b$} | {:->c$} | {:->d$} | {:->e$} | {:-<12} |",
        "", "", "", "", "", ""
    );
    for line in lines {
        row(line, line.verdict());
    }
    let count = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
    let missed = count(Verdict::NotHeld);
    let beyond = count(Verdict::OutOfReach);
    let held = count(Verdict::Held);
    println!("\n{held} of {} bounds are held.", held + beyond + missed);
    if beyond > 0 {
        println!("{beyond} asked for more than the processors had to give in this run.");
    }
    missed == 0
}
