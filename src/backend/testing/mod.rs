//! For whoever writes a backend, or tests what uses one: the conformance suite, a backend that fails on
//! purpose, and a clock that stands still. Feature `testing`.

mod clock;
mod conformance;
mod device;
mod faulty;

pub use self::clock::FakeClock;
pub use self::conformance::{ConformanceReport, check_conformance};
pub use self::device::MemoryDevice;
pub use self::faulty::{Fault, FaultyBackend};
pub use crate::secret::refuse_protected_memory;
