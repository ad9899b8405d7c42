//! How much a vault asks of memory, and how much it got.

use std::fmt;

use super::arena::{self, Home, Refusals};
use crate::error::{Error, ErrorKind, Result};

/// How a vault keeps secrets in memory, see [`VaultOptions::memory_protection`](crate::VaultOptions::memory_protection).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum MemoryProtection {
    /// The vault's own keys live in protected memory; keys in use are kept ready on the ordinary heap, and wiped
    /// when they are let go. The fastest.
    #[default]
    Standard,
    /// Keys in use live in protected memory, too, as bytes, and are made ready anew for each operation. Where the
    /// system refuses protection, the vault goes on without and [`Vault::memory_report`](crate::Vault::memory_report)
    /// tells of it.
    Full,
    /// As `Full`; where the system refuses protection, the vault does not open.
    RequireFull,
}

impl MemoryProtection {
    pub(crate) fn is_full(self) -> bool {
        self != Self::Standard
    }

    /// Errors: `MemoryProtection` when full protection is required and refused.
    pub(crate) fn demand(self) -> Result<()> {
        match (self, MemoryReport::now()) {
            (Self::RequireFull, MemoryReport::Degraded(reasons)) => Err(Error::new(
                ErrorKind::MemoryProtection,
                format!(
                    "full protection of memory is required, but {}; raise the limits of the process, or open with \
                     MemoryProtection::Full",
                    sentence(&reasons)
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// What the system granted of the protection of memory. All vaults of a process share the protected memory.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::exhaustive_enums, reason = "either there are reasons or not")]
pub enum MemoryReport {
    /// Everything: protected memory is locked against swapping, left out of core dumps, and empty in forked
    /// children, and the heap wipes what is freed.
    Full,
    /// Not everything, for these reasons.
    Degraded(Vec<MemoryDegradation>),
}

/// Why memory is not fully protected. The numbers are those of the system (`errno`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum MemoryDegradation {
    /// The system gave no memory to protect: secrets are on the ordinary heap.
    Unavailable {
        /// The error number.
        errno: i32,
    },
    /// The memory is not locked and can be swapped out; mostly because `RLIMIT_MEMLOCK` is below 1.1 MiB.
    NotLocked {
        /// The error number.
        errno: i32,
    },
    /// The memory is not left out of core dumps.
    Dumped {
        /// The error number.
        errno: i32,
    },
    /// The memory is not wiped in forked children.
    KeptOnFork {
        /// The error number.
        errno: i32,
    },
    /// Freed memory is not wiped: cryptographic crates leave numbers of keys in it. Make
    /// [`WipingAllocator`](crate::WipingAllocator) the program's global allocator.
    HeapNotWiped,
    /// Secrets that live on the ordinary heap, because protected memory is full or they are too long for it.
    OnHeap {
        /// How many there are now.
        secrets: usize,
    },
}

impl fmt::Display for MemoryDegradation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable { errno } => {
                write!(f, "the system gave no memory to protect (error {errno})")
            }
            Self::NotLocked { errno } => write!(
                f,
                "memory could not be locked (error {errno}; RLIMIT_MEMLOCK should be 2 MiB or more)"
            ),
            Self::Dumped { errno } => {
                write!(f, "memory is not left out of core dumps (error {errno})")
            }
            Self::KeptOnFork { errno } => {
                write!(f, "memory is not wiped in forked processes (error {errno})")
            }
            Self::HeapNotWiped => f.write_str(
                "freed memory is not wiped (WipingAllocator is not the global allocator)",
            ),
            Self::OnHeap { secrets } => {
                write!(f, "{secrets} secrets did not fit into protected memory")
            }
        }
    }
}

impl MemoryReport {
    /// Whether everything was granted.
    #[must_use]
    pub fn is_full(&self) -> bool {
        *self == Self::Full
    }

    /// The reasons; none when everything was granted.
    #[must_use]
    pub fn reasons(&self) -> &[MemoryDegradation] {
        match self {
            Self::Full => &[],
            Self::Degraded(reasons) => reasons,
        }
    }

    /// As things are now, in the memory of vaults and in that of what callers hold.
    pub(crate) fn now() -> Self {
        let mut reasons = Vec::new();
        let [vaults, callers] = [Home::Vault, Home::Caller].map(arena::refusals);
        let both = |of: fn(&Refusals) -> Option<i32>| of(&vaults).or(of(&callers));
        reasons.extend(
            both(|refusals| refusals.map).map(|errno| MemoryDegradation::Unavailable { errno }),
        );
        reasons.extend(
            both(|refusals| refusals.lock).map(|errno| MemoryDegradation::NotLocked { errno }),
        );
        reasons.extend(
            both(|refusals| refusals.dont_dump).map(|errno| MemoryDegradation::Dumped { errno }),
        );
        reasons.extend(
            both(|refusals| refusals.wipe_on_fork)
                .map(|errno| MemoryDegradation::KeptOnFork { errno }),
        );
        if !arena::is_wiped() {
            reasons.push(MemoryDegradation::HeapNotWiped);
        }
        let secrets = vaults.on_heap + callers.on_heap;
        if secrets > 0 {
            reasons.push(MemoryDegradation::OnHeap { secrets });
        }
        if reasons.is_empty() {
            Self::Full
        } else {
            Self::Degraded(reasons)
        }
    }
}

fn sentence(reasons: &[MemoryDegradation]) -> String {
    let texts: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// As if the system had given no memory to protect, from now on in this process.
///
/// # Errors
///
/// [`Internal`](ErrorKind::Internal) when there is protected memory already.
#[cfg(feature = "testing")]
pub fn refuse_protected_memory() -> Result<()> {
    if arena::refuse() {
        Ok(())
    } else {
        Err(Error::internal(
            "protected memory is in use already; refuse it before anything secret is made",
        ))
    }
}
