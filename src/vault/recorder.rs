//! Whether and what the audit log records.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::format::settings::one_read_of;
use crate::model::audit::AuditOptions;

/// Asked by every operation: it takes no lock unless something is recorded.
#[derive(Debug)]
pub(super) struct Recorder {
    on: AtomicBool,
    /// 0 records no reads, 1 all, n one of n.
    one_read_of: AtomicU32,
    reads: AtomicU32,
    options: Mutex<AuditOptions>,
    /// Held while the log is cut.
    cutting: Mutex<()>,
}

impl Recorder {
    pub(super) fn new(options: AuditOptions) -> Self {
        let recorder = Self {
            on: AtomicBool::new(false),
            one_read_of: AtomicU32::new(0),
            reads: AtomicU32::new(0),
            options: Mutex::new(options),
            cutting: Mutex::default(),
        };
        recorder.obey(&recorder.lock_options());
        recorder
    }

    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// How many operations an entry for this read stands for; `None` when it gets none.
    pub(super) fn sample(&self) -> Option<u32> {
        match self.one_read_of.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(1),
            n => self
                .reads
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(n)
                .then_some(n),
        }
    }

    pub(super) fn lock_options(&self) -> MutexGuard<'_, AuditOptions> {
        self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_cutting(&self) -> MutexGuard<'_, ()> {
        self.cutting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The options are durable: they count from now on.
    pub(super) fn obey(&self, options: &AuditOptions) {
        self.one_read_of
            .store(one_read_of(options.reads), Ordering::Relaxed);
        self.on.store(options.on, Ordering::Relaxed);
    }
}
