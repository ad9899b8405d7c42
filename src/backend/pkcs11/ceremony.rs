//! Ceremonies: the user and the security officer take turns with a token, and nobody else is in the module.

use std::sync::Arc;

use cryptoki::session::{Session, UserType};
use cryptoki_sys::{CKS_RW_PUBLIC_SESSION, CKS_RW_SO_FUNCTIONS, CKS_RW_USER_FUNCTIONS};

use super::error::{ErrorClass, TokenError, TokenResult};
use super::mechanism::Ulong;
use super::module::{Module, ModuleSession};
use super::pin::Breaker;
use super::raw::{Functions, ObjectHandle};
use crate::secret::Pin;

/// One session of a token, for whoever is logged in. Whoever holds it keeps everybody else out of the module.
///
/// Objects of the session that are not private outlive the changes of login; that is how a key gets from one
/// to the other without ever standing in the token's storage for anybody to see.
pub(super) struct Ceremony<'a> {
    module: &'a Arc<Module>,
    session: ModuleSession,
    slot: Ulong,
    user: (&'a Pin, &'a Breaker),
    officer: (&'a Pin, &'a Breaker),
}

impl<'a> Ceremony<'a> {
    pub(super) fn new(
        module: &'a Arc<Module>,
        session: ModuleSession,
        slot: Ulong,
        user: (&'a Pin, &'a Breaker),
        officer: (&'a Pin, &'a Breaker),
    ) -> Self {
        Self {
            module,
            session,
            slot,
            user,
            officer,
        }
    }

    pub(super) fn functions(&self) -> &Functions {
        self.module.functions()
    }

    pub(super) fn session(&self) -> &Session {
        self.session.raw()
    }

    /// From here on the user is logged in.
    pub(super) fn as_user(&self) -> TokenResult<()> {
        if !self.change_to(CKS_RW_USER_FUNCTIONS)? {
            return Ok(());
        }
        let info = self.functions().token_info(self.slot)?;
        if info.user_pin_locked {
            return Err(TokenError::new(ErrorClass::TokenLocked, "C_Login"));
        }
        self.login(UserType::User, self.user, info.user_pin_final_try)
    }

    /// From here on the security officer is logged in, who sees no private objects.
    ///
    /// Errors: `Authentication` and `TokenLocked` when the token does not let the officer in. A refused PIN is not
    /// tried again.
    pub(super) fn as_officer(&self) -> TokenResult<()> {
        if !self.change_to(CKS_RW_SO_FUNCTIONS)? {
            return Ok(());
        }
        let info = self.functions().token_info(self.slot)?;
        if info.officer_pin_locked {
            return Err(TokenError::with_detail(
                ErrorClass::TokenLocked,
                "C_Login",
                "the security officer's PIN is locked; the token has to be initialised anew",
            ));
        }
        self.login(UserType::So, self.officer, info.officer_pin_final_try)
            .map_err(|error| match error.code {
                Some(_) if error.class == ErrorClass::Authentication => error.explained(
                    "the token refused the security officer's PIN, and it is not tried again; check the PIN and make \
                     the backend anew",
                ),
                _ => error,
            })
    }

    /// Makes an object with the officer's trust (CKA_TRUSTED), or without it when the token does not let the officer
    /// give it. Gives whether it is trusted, with the user logged in.
    pub(super) fn make_trusted(
        &self,
        make: impl Fn(bool) -> TokenResult<ObjectHandle>,
    ) -> TokenResult<(ObjectHandle, bool)> {
        self.as_officer()?;
        let trusted = make(true);
        self.as_user()?;
        match trusted {
            Ok(object) => Ok((object, true)),
            Err(error) => match error.class {
                ErrorClass::SessionLost | ErrorClass::TokenLost | ErrorClass::Throttled => {
                    Err(error)
                }
                _ => Ok((make(false)?, false)),
            },
        }
    }

    /// Logs out who is not wanted. Whether a login is due.
    fn change_to(&self, wanted: Ulong) -> TokenResult<bool> {
        let state = self.functions().session_state(self.session())?;
        if state == wanted {
            return Ok(false);
        }
        if state != CKS_RW_PUBLIC_SESSION {
            self.session.logout()?;
        }
        Ok(true)
    }

    fn login(&self, who: UserType, pin: (&Pin, &Breaker), final_try: bool) -> TokenResult<()> {
        let (pin, breaker) = pin;
        breaker.admit(pin, final_try)?;
        let result = self.session.login(who, pin);
        if let Err(error) = &result {
            breaker.learn(pin, error)?;
        }
        result
    }
}

impl Drop for Ceremony<'_> {
    fn drop(&mut self) {
        let state = self.functions().session_state(self.session());
        if state.is_ok_and(|state| state == CKS_RW_SO_FUNCTIONS) {
            // What does not end here ends with the session.
            let _ = self.session.logout();
        }
        // Every logout has made handles void.
        self.module.new_epoch();
    }
}
