use std::path::Path;
use std::process::Command;

use crate::environment::variable;

/// Tells a child process what its main SoftHSM2 is to lack.
const WITHOUT: &str = "STRONGROOM_TEST_SOFTHSM_WITHOUT";

/// How an instance of SoftHSM2 is set up.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    without: Vec<String>,
}

impl Configuration {
    /// Everything that SoftHSM2 offers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Disables mechanisms, by their names: `CKM_RSA_PKCS_OAEP`.
    #[must_use]
    pub fn without(mut self, mechanisms: &[&str]) -> Self {
        for name in mechanisms {
            assert!(
                name.starts_with("CKM_"),
                "{name} is not the name of a mechanism"
            );
            self.without.push((*name).to_owned());
        }
        self
    }

    /// Makes this the configuration of [`SoftHsm::main`](crate::SoftHsm::main) in a child process.
    pub fn set_in(&self, child: &mut Command) {
        child.env(WITHOUT, self.without.join(","));
    }

    /// What the parent process chose for this one.
    pub(crate) fn of_process() -> Self {
        let without = variable(WITHOUT).unwrap_or_default();
        Self {
            without: without
                .split(',')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }

    /// The file for SoftHSM2.
    pub(crate) fn text(&self, tokens: &Path) -> String {
        let mut text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        );
        if !self.without.is_empty() {
            // SoftHSM2 2.6.1 ignores the first name of the list: it gets one that nobody misses.
            text.push_str("slots.mechanisms = -CKM_MD5,");
            text.push_str(&self.without.join(","));
            text.push('\n');
        }
        text
    }
}
