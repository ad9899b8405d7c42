use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cryptoki_sys::CK_RV;

use super::function::Function;

/// What a [`Proxy`](super::Proxy) does to chosen calls of a function: unless more is said, to the next one, once,
/// instead of the real call.
///
/// Calls are counted as they reach the module. A binding may make two for one operation: the first asks how long
/// the result will be.
#[derive(Clone)]
#[must_use = "a fault strikes when it is injected"]
pub struct Fault {
    pub(super) function: Function,
    from: u64,
    times: u64,
    pub(super) moment: Moment,
    pub(super) action: Action,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Moment {
    Before,
    After,
}

#[derive(Clone)]
pub(super) enum Action {
    Answer(CK_RV),
    Run(Arc<dyn Fn() + Send + Sync>),
}

impl Fault {
    /// The call answers this code, and the module does not see it.
    pub fn answer(function: Function, code: CK_RV) -> Self {
        Self::new(function, Action::Answer(code))
    }

    /// This runs in the calling thread, and then the call goes through: to wait, to take a directory away, to
    /// end the process. It may steer the proxy; it must not panic, for C code is below it.
    pub fn run(function: Function, work: impl Fn() + Send + Sync + 'static) -> Self {
        Self::new(function, Action::Run(Arc::new(work)))
    }

    fn new(function: Function, action: Action) -> Self {
        assert_ne!(
            function,
            Function::GetFunctionList,
            "a proxy answers this one itself"
        );
        Self {
            function,
            from: 1,
            times: 1,
            moment: Moment::Before,
            action,
        }
    }

    /// Not at the next call but at the `number`th from the injection on.
    pub fn from_call(mut self, number: u64) -> Self {
        assert!(number > 0, "the first call is number 1");
        self.from = number;
        self
    }

    /// At this many calls in a row.
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// At all later calls too, until the proxy is [healed](super::Proxy::heal).
    pub fn for_ever(self) -> Self {
        self.times(u64::MAX)
    }

    /// After the module has done what it was asked for; an answer hides that it did.
    pub fn after_the_call(mut self) -> Self {
        self.moment = Moment::After;
        self
    }

    /// Whether it strikes at a call, the first after the injection being number 1.
    pub(super) fn strikes_at(&self, number: u64) -> bool {
        number >= self.from && number - self.from < self.times
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("function", &self.function)
            .field("from", &self.from)
            .field("times", &self.times)
            .field("moment", &self.moment)
            .finish_non_exhaustive()
    }
}

/// Tells how often an injected fault has struck.
#[derive(Clone, Debug, Default)]
pub struct Strikes(Arc<AtomicU64>);

impl Strikes {
    /// How often so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
