//! The variables of the environment: the one place that reads them, and the one that changes one.
#![expect(
    unsafe_code,
    reason = "setting a variable of the environment is unsafe, and SoftHSM2 takes its configuration from one"
)]

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where SoftHSM2 looks for the path of its configuration, whenever it is initialized.
const CONFIGURATION: &str = "SOFTHSM2_CONF";

/// Held while the variable differs from what it is otherwise.
static CHANGING: Mutex<()> = Mutex::new(());

thread_local! {
    /// Whether this thread holds `CHANGING`.
    static HOLDS: Cell<bool> = const { Cell::new(false) };
}

/// The value of a variable, if it is set and not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    let value = read(name)?;
    let value = value
        .into_string()
        .unwrap_or_else(|value| panic!("{name} is not UTF-8: {}", value.display()));
    (!value.is_empty()).then_some(value)
}

/// Runs `work` while the variable names this configuration of SoftHSM2; afterwards it is as before.
///
/// One thread at a time; `work` may call this again.
pub(crate) fn with_configuration<T>(configuration: &Path, work: impl FnOnce() -> T) -> T {
    let _lock = Lock::take();
    let _former = Former::replace(configuration);
    work()
}

/// Makes this the configuration of SoftHSM2 from now on.
pub(crate) fn set_configuration(configuration: &Path) {
    let _lock = Lock::take();
    set(Some(configuration.as_os_str()));
}

/// `CHANGING`, taken by this thread, or by it already further up.
struct Lock(Option<MutexGuard<'static, ()>>);

impl Lock {
    fn take() -> Self {
        if HOLDS.get() {
            return Self(None);
        }
        let guard = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
        HOLDS.set(true);
        Self(Some(guard))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.0.is_some() {
            HOLDS.set(false);
        }
    }
}

/// Puts the former value back, also when the work panics.
struct Former(Option<OsString>);

impl Former {
    fn replace(configuration: &Path) -> Self {
        let former = read(CONFIGURATION);
        set(Some(configuration.as_os_str()));
        Self(former)
    }
}

impl Drop for Former {
    fn drop(&mut self) {
        set(self.0.as_deref());
    }
}

#[expect(clippy::disallowed_methods, reason = "a fixture asks its environment")]
fn read(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn set(value: Option<&OsStr>) {
    // SAFETY: Rust code reads the environment under the lock of the standard library, which these calls take. C
    // code that reads it is SoftHSM2 and OpenSSL below it, while a module is being initialized; the fixture and its
    // proxies do that only under `CHANGING`, as this function is called.
    unsafe {
        match value {
            Some(value) => std::env::set_var(CONFIGURATION, value),
            None => std::env::remove_var(CONFIGURATION),
        }
    }
}
