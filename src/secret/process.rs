//! Which process this is, in memory: forks are noticed, and core dumps can be switched off.

use super::arena;
use super::process_number::process_number;

/// The process in which something was made. A forked child is another one.
///
/// It is a number in memory that the kernel wipes in a forked child, so that asking costs no system call. Where it
/// does not, the process id serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Process(u64);

impl Process {
    /// The process that asks. It takes no lock, so that it can be asked first of all after a fork.
    pub(crate) fn here() -> Self {
        Self(process_number(arena::sentinel()))
    }

    #[inline]
    pub(crate) fn is_here(self) -> bool {
        self == Self::here()
    }
}

/// What [`harden_process`] was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct HardeningReport {
    /// The system did not make the process undumpable: a core dump or a debugger of the same user can still
    /// read it.
    pub dumpable: bool,
    /// The system did not set the limit on core files to zero.
    pub core_files: bool,
}

impl HardeningReport {
    /// Whether nothing was refused.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        *self == Self::default()
    }
}

/// Makes the whole process undumpable: it leaves no core files, and other processes of the same user can
/// neither trace it nor read its memory (`PR_SET_DUMPABLE` 0 and `RLIMIT_CORE` 0).
///
/// It also takes away crash reports and debuggers, and `/proc/self` then belongs to root: that is for the
/// application to decide, and a library never does it by itself. It holds until the process executes another
/// program. What was refused stands in the report; it is not an error.
///
/// # Examples
///
/// ```no_run
/// let report = strongroom::harden_process();
/// if !report.is_complete() {
///     eprintln!("core dumps are still possible: {report:?}");
/// }
/// ```
#[must_use = "what the system refused stands in the report"]
pub fn harden_process() -> HardeningReport {
    let nothing = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    HardeningReport {
        dumpable: !make_undumpable(),
        core_files: rustix::process::setrlimit(rustix::process::Resource::Core, nothing).is_err(),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn make_undumpable() -> bool {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok()
}

/// Other systems have only the limit.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn make_undumpable() -> bool {
    false
}
