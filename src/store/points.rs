//! Named points of a commit at which a test can inject a failure or end the process.

use crate::error::Result;

#[cfg(test)]
pub(crate) type Hook = std::sync::Arc<dyn Fn(&'static str) -> Result<()> + Send + Sync>;

/// Nothing outside tests.
#[derive(Clone)]
#[cfg_attr(not(test), derive(Default))]
pub(crate) struct Points {
    #[cfg(test)]
    hook: Option<Hook>,
}

#[cfg(test)]
thread_local! {
    static INSTALLED: std::cell::RefCell<Option<Hook>> = const { std::cell::RefCell::new(None) };
}

/// Whatever this thread opens from now on, a vault too, calls `hook`; nothing does after `None`.
#[cfg(test)]
pub(crate) fn install(hook: Option<Hook>) {
    INSTALLED.set(hook);
}

#[cfg(test)]
pub(crate) fn installed() -> Option<Hook> {
    INSTALLED.with_borrow(Clone::clone)
}

#[cfg(test)]
impl Default for Points {
    fn default() -> Self {
        Self { hook: installed() }
    }
}

impl Points {
    /// Calls `hook` with the name of each point that is reached; its error takes the place of the step.
    #[cfg(test)]
    pub(crate) fn calling(
        hook: impl Fn(&'static str) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self {
            hook: Some(std::sync::Arc::new(hook)),
        }
    }

    #[cfg(test)]
    pub(crate) fn reach(&self, point: &'static str) -> Result<()> {
        self.hook.as_ref().map_or(Ok(()), |hook| hook(point))
    }

    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the same shape as in tests"
    )]
    pub(crate) fn reach(&self, _point: &'static str) -> Result<()> {
        Ok(())
    }
}

impl std::fmt::Debug for Points {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Points")
    }
}
