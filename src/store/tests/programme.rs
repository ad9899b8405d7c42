//! The tests that repeat something many times: how often, and what came of it.
//!
//! Each has a short figure, for every run of the tests, and a long one, for `hsm-softhsm-tests/run.sh --long`:
//! `STRONGROOM_LONG=<factor>` asks for the long one times the factor. Each counts what it does in [`Figures`] and,
//! when `STRONGROOM_FIGURES` names a file, appends one line of JSON there.
//!
//! All test binaries include this file.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "each binary uses a part of it, and tests are told by the environment what to do"
)]

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often something is done: `short`, or in a long run `long` times its factor.
pub(crate) fn cases(short: usize, long: usize) -> usize {
    factor().map_or(short, |factor| ((long as f64 * factor) as usize).max(1))
}

/// The factor of a long run.
pub(crate) fn factor() -> Option<f64> {
    std::env::var("STRONGROOM_LONG")
        .ok()
        .map(|text| text.parse().expect("STRONGROOM_LONG is a number"))
}

/// What can be wrong with a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Defect {
    /// Something that was acknowledged is not there.
    Loss,
    /// A change is there in part.
    Half,
    /// A guard against manipulation speaks of a crash.
    FalseAlarm,
    /// A vault does not open.
    FailedOpen,
    Panic,
    Hang,
    /// Anything else that is not as it has to be, such as an error of the wrong kind.
    Other,
}

impl Defect {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Loss, "losses"),
        (Self::Half, "halves"),
        (Self::FalseAlarm, "false_alarms"),
        (Self::FailedOpen, "failed_opens"),
        (Self::Panic, "panics"),
        (Self::Hang, "hangs"),
        (Self::Other, "others"),
    ];
}

/// A case that is not as it has to be.
#[derive(Debug, Clone)]
pub(crate) struct Wrong {
    pub(crate) defect: Defect,
    pub(crate) story: String,
}

impl Wrong {
    pub(crate) fn new(defect: Defect, story: impl Into<String>) -> Self {
        Self {
            defect,
            story: story.into(),
        }
    }

    /// An open that failed with an error of this kind.
    pub(crate) fn open(kind: impl fmt::Debug, error: impl fmt::Debug) -> Self {
        let alarms = ["Tampered", "RolledBack", "HeaderReplayed", "AnchorMissing"];
        let alarm = alarms.contains(&format!("{kind:?}").as_str());
        let defect = if alarm {
            Defect::FalseAlarm
        } else {
            Defect::FailedOpen
        };
        Self::new(defect, format!("it does not open: {error:?}"))
    }
}

/// What is wrong with what was found without further knowledge: half of something is there.
impl From<String> for Wrong {
    fn from(story: String) -> Self {
        Self::new(Defect::Half, story)
    }
}

/// How long nothing may happen before a test counts as hanging: machines can be slow, and short of patience nobody is.
const PATIENCE: Duration = Duration::from_secs(600);

/// The figures of one test.
pub(crate) struct Figures {
    test: &'static str,
    begun: Instant,
    cases: AtomicUsize,
    wrong: Mutex<Vec<Wrong>>,
    written: AtomicBool,
}

impl Figures {
    /// Begins to count, and to watch: a test in which nothing happens any more ends the process.
    pub(crate) fn begin(test: &'static str) -> Arc<Self> {
        let figures = Arc::new(Self {
            test,
            begun: Instant::now(),
            cases: AtomicUsize::new(0),
            wrong: Mutex::default(),
            written: AtomicBool::new(false),
        });
        let watched = Arc::downgrade(&figures);
        std::thread::spawn(move || {
            let mut seen = (usize::MAX, Instant::now());
            while let Some(figures) = watched.upgrade() {
                let cases = figures.cases.load(Ordering::SeqCst);
                if cases != seen.0 {
                    seen = (cases, Instant::now());
                } else if seen.1.elapsed() > PATIENCE {
                    figures.note(Wrong::new(
                        Defect::Hang,
                        format!("nothing happens after {cases} cases"),
                    ));
                    figures.write();
                    eprintln!("{}: nothing happens after {cases} cases", figures.test);
                    std::process::abort();
                }
                drop(figures);
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        figures
    }

    pub(crate) fn count(&self, cases: usize) {
        self.cases.fetch_add(cases, Ordering::SeqCst);
    }

    pub(crate) fn cases(&self) -> usize {
        self.cases.load(Ordering::SeqCst)
    }

    /// Runs a case and counts it. Nothing when it was wrong.
    pub(crate) fn case<T>(
        &self,
        name: impl fmt::Display,
        run: impl FnOnce() -> Result<T, Wrong>,
    ) -> Option<T> {
        let outcome = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Wrong::new(Defect::Panic, text.unwrap_or("a panic")))
        });
        self.count(1);
        match outcome {
            Ok(value) => Some(value),
            Err(Wrong { defect, story }) => {
                self.note(Wrong::new(defect, format!("{name}: {story}")));
                None
            }
        }
    }

    pub(crate) fn note(&self, wrong: Wrong) {
        eprintln!("{}: {wrong:?}", self.test);
        self.lock().push(wrong);
    }

    /// Whether so much was wrong that more of it tells nothing new.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.lock().len() >= 40
    }

    /// Does `work` for the numbers below `count`, on as many threads as there are processors.
    pub(crate) fn spread(&self, count: usize, work: impl Fn(usize) + Sync) {
        let next = AtomicUsize::new(0);
        let lanes = std::thread::available_parallelism().map_or(2, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..lanes {
                scope.spawn(|| {
                    while !self.is_hopeless() {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        if number >= count {
                            break;
                        }
                        work(number);
                    }
                });
            }
        });
    }

    /// Writes the figures.
    ///
    /// # Panics
    ///
    /// When anything was wrong.
    pub(crate) fn finish(&self) {
        self.write();
        let wrong = self.lock();
        let stories: String = wrong.iter().take(40).fold(String::new(), |mut text, one| {
            let _ = writeln!(text, "{:?}: {}", one.defect, one.story);
            text
        });
        assert!(wrong.is_empty(), "{} are wrong:\n{stories}", wrong.len());
    }

    fn write(&self) {
        if self.written.swap(true, Ordering::SeqCst) {
            return;
        }
        let mut line = format!("{{\"test\":\"{}\",\"cases\":{}", self.test, self.cases());
        for (defect, name) in Defect::ALL {
            let wrong = self.lock();
            let count = wrong.iter().filter(|one| one.defect == defect).count();
            let _ = write!(line, ",\"{name}\":{count}");
        }
        let seconds = self.begun.elapsed().as_secs();
        let _ = writeln!(line, ",\"seconds\":{seconds}}}");
        eprint!("{line}");
        let Some(path) = std::env::var_os("STRONGROOM_FIGURES") else {
            return;
        };
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path);
        if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
            eprintln!("the figures could not be written: {error}");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Wrong>> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Figures {
    fn drop(&mut self) {
        if !self.written.load(Ordering::SeqCst) {
            // The test did not come to its end.
            self.note(Wrong::new(Defect::Panic, "the test itself panicked"));
            self.write();
        }
    }
}
