//! Which of a module's tokens is meant, and where it is now.

use std::fmt;

use super::error::{ErrorClass, TokenError, TokenResult};
use super::mechanism::Ulong;
use super::raw::Functions;
use super::token_info::TokenInfo;

/// How a token is recognised. Never by its slot, whose number changes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenSelector {
    /// By its serial number, which nothing changes.
    Serial(String),
    /// By its label, while one token alone has it.
    Label(String),
}

impl TokenSelector {
    /// The slot that the token is in now; `known` is its serial number, once that is known.
    pub(super) fn find(
        &self,
        functions: &Functions,
        known: Option<&String>,
    ) -> TokenResult<(Ulong, TokenInfo)> {
        let mut found = None;
        let mut silent = None;
        for slot in functions.slot_list(true)? {
            let info = match functions.token_info(slot) {
                Ok(info) => info,
                Err(error) => {
                    silent = Some(error);
                    continue;
                }
            };
            if !info.initialized || !self.selects(&info, known) {
                continue;
            }
            if found.replace((slot, info)).is_some() {
                return Err(TokenError::with_detail(
                    ErrorClass::BadParameter,
                    "find the token",
                    "several tokens have this label or serial number; select one by a serial number of its own",
                ));
            }
        }
        found.ok_or_else(|| {
            let mut error = TokenError::with_detail(
                ErrorClass::TokenLost,
                "find the token",
                format!("no token with {self} is there; check the device and the selection"),
            );
            if let Some(silent) = silent {
                error.function = silent.function;
                error.code = silent.code;
            }
            error
        })
    }

    fn selects(&self, info: &TokenInfo, known: Option<&String>) -> bool {
        match (known, self) {
            (Some(serial), _) | (None, Self::Serial(serial)) => *serial == info.serial,
            (None, Self::Label(label)) => *label == info.label,
        }
    }
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(serial) => write!(f, "the serial number {serial:?}"),
            Self::Label(label) => write!(f, "the label {label:?}"),
        }
    }
}
