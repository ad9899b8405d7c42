//! Attempts that show what a token can do. A passing trouble is no answer.

use std::cell::Cell;

use cryptoki_sys::*;

use super::error::{ErrorClass, TokenError, TokenResult};
use super::lease::Lease;
use super::token::{Retry, Token};

/// Attempts with one token, and how many of them ended without an answer.
#[derive(Debug)]
pub(super) struct Trials<'t> {
    token: &'t Token,
    doubts: Cell<usize>,
}

/// What a failed attempt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The token does not do this.
    Refused,
    /// It may be this, and it may be the moment.
    Doubtful,
    /// Nothing about this: the token is full.
    Busy,
    /// Nothing about this: the token is in trouble.
    Trouble,
}

impl<'t> Trials<'t> {
    pub(super) fn new(token: &'t Token) -> Self {
        Self {
            token,
            doubts: Cell::new(0),
        }
    }

    /// How many attempts failed twice in a way that may pass.
    pub(super) fn doubts(&self) -> usize {
        self.doubts.get()
    }

    /// What `work` gives; `None` when the token does not do it. After a failure that may pass it is done once more, in
    /// a new session.
    ///
    /// Errors: what has to do with the token as a whole.
    pub(super) fn run<T>(
        &self,
        mut work: impl FnMut(&Lease<'_>) -> TokenResult<T>,
    ) -> TokenResult<Option<T>> {
        // A session in which something failed is not used again.
        let mut attempt = || self.token.run(Retry::Safe, &mut work);
        match attempt() {
            Ok(value) => return Ok(Some(value)),
            Err(error) => match Verdict::on(&error) {
                Verdict::Refused => return Ok(None),
                Verdict::Trouble => return Err(error),
                Verdict::Busy | Verdict::Doubtful => {}
            },
        }
        match attempt() {
            Ok(value) => Ok(Some(value)),
            Err(error) => match Verdict::on(&error) {
                Verdict::Refused => Ok(None),
                Verdict::Doubtful => {
                    self.doubts.set(self.doubts.get() + 1);
                    Ok(None)
                }
                Verdict::Busy | Verdict::Trouble => Err(error),
            },
        }
    }

    /// Whether `work` is true; false when the token does not do it.
    pub(super) fn holds(
        &self,
        work: impl FnMut(&Lease<'_>) -> TokenResult<bool>,
    ) -> TokenResult<bool> {
        Ok(self.run(work)?.unwrap_or(false))
    }
}

impl Verdict {
    pub(super) fn on(error: &TokenError) -> Self {
        match error.class {
            ErrorClass::Authentication
            | ErrorClass::TokenLocked
            | ErrorClass::TokenLost
            | ErrorClass::Forked => Self::Trouble,
            ErrorClass::Throttled => Self::Busy,
            ErrorClass::Unsupported
            | ErrorClass::NotPermitted
            | ErrorClass::NotExportable
            | ErrorClass::BadParameter
            | ErrorClass::ReadOnly
            | ErrorClass::InvalidSignature
            | ErrorClass::NotFound => Self::Refused,
            // Of a decryption nobody sees the code.
            ErrorClass::SessionLost | ErrorClass::StaleHandle | ErrorClass::DecryptFailed => {
                Self::Doubtful
            }
            ErrorClass::Device => match error.code {
                // Found out by the library.
                None => Self::Refused,
                Some(code) if is_about_the_request(code) => Self::Refused,
                // CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED, what vendors add.
                Some(_) => Self::Doubtful,
            },
        }
    }
}

/// Codes that blame what was asked for: asked again, a token answers the same.
fn is_about_the_request(code: CK_RV) -> bool {
    matches!(
        code,
        CKR_ARGUMENTS_BAD
            | CKR_ATTRIBUTE_READ_ONLY
            | CKR_ATTRIBUTE_SENSITIVE
            | CKR_ATTRIBUTE_TYPE_INVALID
            | CKR_ATTRIBUTE_VALUE_INVALID
            | CKR_BUFFER_TOO_SMALL
            | CKR_ENCRYPTED_DATA_INVALID
            | CKR_ENCRYPTED_DATA_LEN_RANGE
            | CKR_FUNCTION_REJECTED
            | CKR_KEY_CHANGED
            | CKR_KEY_INDIGESTIBLE
            | CKR_KEY_NEEDED
            | CKR_KEY_NOT_NEEDED
            | CKR_KEY_TYPE_INCONSISTENT
            | CKR_OPERATION_NOT_VALIDATED
            | CKR_PUBLIC_KEY_INVALID
            | CKR_TEMPLATE_INCOMPLETE
            | CKR_TEMPLATE_INCONSISTENT
            | CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT
            | CKR_WRAPPED_KEY_INVALID
            | CKR_WRAPPED_KEY_LEN_RANGE
            | CKR_WRAPPING_KEY_TYPE_INCONSISTENT
    )
}
