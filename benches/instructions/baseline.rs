//! What was counted when a baseline was written: one file for each version of the compiler and each target.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Counts;
use crate::setting::Setting;

const WRITE: &str = "`cargo bench --bench instructions -- --write` writes one";

pub(crate) struct Baseline {
    setting: Vec<(String, String)>,
    counts: Vec<(String, Counts)>,
}

pub(crate) fn path(setting: &Setting) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("benches/instructions/baselines")
        .join(format!("rustc-{}-{}.txt", setting.release, setting.target))
}

pub(crate) fn write(
    path: &Path,
    setting: &Setting,
    counted: &[(&str, Counts)],
) -> Result<(), String> {
    let mut text = "# Instructions per call, counted and written by `cargo bench --bench instructions -- --write`.\n".to_owned();
    for (name, value) in &setting.lines {
        text += &format!("# {name}: {value}\n");
    }
    text += &format!(
        "{:<20} {:>10} {:>10} {:>10}\n",
        "# operation", "vault", "bare", "locked"
    );
    for (name, counts) in counted {
        let bare = counts.bare.map_or("-".to_owned(), |bare| bare.to_string());
        text += &format!(
            "{name:<20} {:>10} {bare:>10} {:>10}\n",
            counts.vault, counts.locked
        );
    }
    fs::write(path, text).map_err(|error| format!("{} is not written: {error}", path.display()))
}

impl Baseline {
    pub(crate) fn read(path: &Path, setting: &Setting) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| {
            format!(
                "no baseline for rustc {} and {}: {}: {error}\n{WRITE}, from a state of the source that is known to be good",
                setting.release,
                setting.target,
                path.display()
            )
        })?;
        Self::parse(&text).ok_or_else(|| format!("{} is no baseline; {WRITE}", path.display()))
    }

    fn parse(text: &str) -> Option<Self> {
        let (comments, lines): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with('#'));
        let setting = comments.iter().filter_map(|line| {
            let (name, value) = line.strip_prefix("# ")?.split_once(": ")?;
            Some((name.to_owned(), value.to_owned()))
        });
        let counts = lines.iter().map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, vault, bare, locked] = words[..] else {
                return None;
            };
            let counts = Counts {
                vault: vault.parse().ok()?,
                bare: match bare {
                    "-" => None,
                    bare => Some(bare.parse().ok()?),
                },
                locked: locked.parse().ok()?,
            };
            Some((name.to_owned(), counts))
        });
        Some(Self {
            setting: setting.collect(),
            counts: counts.collect::<Option<_>>()?,
        })
    }

    pub(crate) fn of(&self, operation: &str) -> Option<Counts> {
        let found = self.counts.iter().find(|line| line.0 == operation);
        found.map(|line| line.1)
    }

    /// What is not as it was when the baseline was written, and may explain a change of the counts.
    pub(crate) fn differences(&self, setting: &Setting) -> Vec<String> {
        let line = |(name, here): &(&str, String)| {
            let then = self.setting.iter().find(|line| line.0 == *name);
            let then = then.map_or("not known", |line| &line.1);
            (then != here).then(|| format!("{name}: {here}; when the baseline was written: {then}"))
        };
        setting.lines.iter().filter_map(line).collect()
    }
}
