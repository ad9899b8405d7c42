//! A session on loan from the pool.

use std::sync::Arc;

use cryptoki::session::Session;
use cryptoki_sys::CKS_RW_USER_FUNCTIONS;

use super::attachment::Attachment;
use super::error::{ErrorClass, TokenError, TokenResult};
use super::gate::Permit;
use super::handles::HandleCache;
use super::mechanism::{Mechanism, Ulong};
use super::module::Module;
use super::pool::Pool;
use super::raw::{Functions, ObjectHandle};
use super::seats::{Loan, Seated};
use super::template::Template;
use super::token_info::TokenInfo;
use crate::secret::SecretBytes;

/// A session that is logged in, for one caller. It goes back to the pool only when its work went well.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    module: &'a Arc<Module>,
    pool: &'a Pool,
    handles: &'a HandleCache,
    /// There until it is dropped.
    loan: Option<Loan<'a>>,
    epoch: u64,
    keep: bool,
    /// Dropped last: closing a session needs it.
    _permit: Permit<'a>,
}

impl<'a> Lease<'a> {
    pub(super) fn new(
        module: &'a Arc<Module>,
        permit: Permit<'a>,
        pool: &'a Pool,
        handles: &'a HandleCache,
        loan: Loan<'a>,
    ) -> Self {
        Self {
            module,
            pool,
            handles,
            loan: Some(loan),
            epoch: module.epoch(),
            keep: false,
            _permit: permit,
        }
    }

    pub(super) fn keep(&mut self) {
        self.keep = true;
    }

    /// The handles of the token's objects that are known.
    pub(super) fn handles(&self) -> &'a HandleCache {
        self.handles
    }

    pub(super) fn attachment(&self) -> &Attachment {
        &self.seated().attachment
    }

    fn seated(&self) -> &Seated {
        self.loan.as_ref().expect("taken by drop only").seated()
    }

    pub(super) fn module(&self) -> &'a Arc<Module> {
        self.module
    }

    pub(super) fn functions(&self) -> &'a Functions {
        self.module.functions()
    }

    pub(super) fn session(&self) -> &Session {
        self.seated().session.raw()
    }

    /// Object handles are good for as long as this number stays the same.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The slot that the token is in, for questions about mechanisms.
    pub(super) fn slot(&self) -> Ulong {
        self.attachment().slot
    }

    /// What the token said about itself when it was connected.
    pub(super) fn info(&self) -> &TokenInfo {
        &self.attachment().info
    }

    /// What the token says about itself now.
    pub(super) fn token_info(&self) -> TokenResult<TokenInfo> {
        self.functions().token_info(self.slot())
    }

    /// Whether token and session are what they were: the same token answers, and the user is logged in. Asked
    /// before an empty search is believed, because a module whose token is gone may well answer it.
    ///
    /// # Errors
    ///
    /// `TokenLost` or `SessionLost`.
    pub(super) fn health(&self) -> TokenResult<()> {
        let lost = |mut error: TokenError| {
            error.class = ErrorClass::TokenLost;
            error
        };
        let info = self.token_info().map_err(lost)?;
        if info.serial != self.info().serial {
            return Err(TokenError::with_detail(
                ErrorClass::TokenLost,
                "C_GetTokenInfo",
                "another token is in the slot; check the device and try again",
            ));
        }
        match self.functions().session_state(self.session()) {
            Ok(state) if state == CKS_RW_USER_FUNCTIONS || !info.login_required => Ok(()),
            Ok(_) => Err(TokenError::new(ErrorClass::SessionLost, "C_GetSessionInfo")),
            Err(error) if error.class == ErrorClass::SessionLost => Err(error),
            Err(error) => Err(lost(error)),
        }
    }

    pub(super) fn mechanism_list(&self) -> TokenResult<Vec<Ulong>> {
        self.functions().mechanism_list(self.slot())
    }

    /// The smallest and largest key of a mechanism, in the mechanism's own unit.
    pub(super) fn mechanism_key_sizes(
        &self,
        mechanism: &Mechanism<'_>,
    ) -> TokenResult<(Ulong, Ulong)> {
        self.functions()
            .mechanism_key_sizes(self.slot(), mechanism.number())
    }

    /// `capacity` is the length of the signature.
    pub(super) fn sign(
        &self,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
        capacity: usize,
    ) -> TokenResult<Vec<u8>> {
        self.functions()
            .sign(self.session(), mechanism, key, data, capacity)
    }

    /// `capacity` is the length of the ciphertext, or more.
    pub(super) fn encrypt(
        &self,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
        capacity: usize,
    ) -> TokenResult<Vec<u8>> {
        self.functions()
            .encrypt(self.session(), mechanism, key, data, capacity)
    }

    /// `capacity` is the most that the plaintext can have.
    pub(super) fn decrypt(
        &self,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
        capacity: usize,
    ) -> TokenResult<SecretBytes> {
        self.functions()
            .decrypt(self.session(), mechanism, key, data, capacity)
    }

    /// Into a buffer that is as long as the longest plaintext; gives how much of it was filled.
    pub(super) fn decrypt_into(
        &self,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
        buffer: &mut [u8],
    ) -> TokenResult<usize> {
        self.functions()
            .decrypt_into(self.session(), mechanism, key, data, buffer)
    }

    /// `capacity` is the most that the wrapped key can have.
    pub(super) fn wrap_key(
        &self,
        mechanism: &Mechanism<'_>,
        wrapping: ObjectHandle,
        key: ObjectHandle,
        capacity: usize,
    ) -> TokenResult<Vec<u8>> {
        self.functions()
            .wrap_key(self.session(), mechanism, wrapping, key, capacity)
    }

    pub(super) fn unwrap_key(
        &self,
        mechanism: &Mechanism<'_>,
        unwrapping: ObjectHandle,
        wrapped: &[u8],
        template: &Template<'_>,
    ) -> TokenResult<ObjectHandle> {
        self.functions()
            .unwrap_key(self.session(), mechanism, unwrapping, wrapped, template)
    }

    pub(super) fn generate_key(
        &self,
        mechanism: &Mechanism<'_>,
        template: &Template<'_>,
    ) -> TokenResult<ObjectHandle> {
        self.functions()
            .generate_key(self.session(), mechanism, template)
    }

    /// The handles of the public and the private key, in this order.
    pub(super) fn generate_key_pair(
        &self,
        mechanism: &Mechanism<'_>,
        public: &Template<'_>,
        private: &Template<'_>,
    ) -> TokenResult<(ObjectHandle, ObjectHandle)> {
        self.functions()
            .generate_key_pair(self.session(), mechanism, public, private)
    }

    pub(super) fn create_object(&self, template: &Template<'_>) -> TokenResult<ObjectHandle> {
        self.functions().create_object(self.session(), template)
    }

    pub(super) fn destroy_object(&self, object: ObjectHandle) -> TokenResult<()> {
        self.functions().destroy_object(self.session(), object)
    }

    pub(super) fn set_attributes(
        &self,
        object: ObjectHandle,
        template: &Template<'_>,
    ) -> TokenResult<()> {
        self.functions()
            .set_attributes(self.session(), object, template)
    }

    /// The value of an attribute; `None` when the object has no such attribute or may not show it.
    pub(super) fn get_attribute(
        &self,
        object: ObjectHandle,
        attribute: Ulong,
    ) -> TokenResult<Option<Vec<u8>>> {
        self.functions()
            .get_attribute(self.session(), object, attribute)
    }

    /// The first `max` objects that have these attributes. An empty answer is believed only after
    /// [`Lease::health`].
    pub(super) fn find_objects(
        &self,
        template: &Template<'_>,
        max: usize,
    ) -> TokenResult<Vec<ObjectHandle>> {
        self.functions().find_objects(self.session(), template, max)
    }

    pub(super) fn random(&self, bytes: &mut [u8]) -> TokenResult<()> {
        self.functions().random(self.session(), bytes)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(loan) = self.loan.take() {
            self.pool.give_back(loan, self.keep);
        }
    }
}
