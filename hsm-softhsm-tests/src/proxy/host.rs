//! What passes between the shared library of a proxy and the process that steers it. The library has no memory of
//! its own but this: it asks before and after every call.

use std::ffi::c_void;

use cryptoki_sys::{
    CK_BBOOL, CK_BYTE, CK_FLAGS, CK_MECHANISM_TYPE, CK_RV, CK_SESSION_HANDLE, CK_ULONG,
};

/// The name of the function that a library is given its [`Host`] with.
pub(crate) const ATTACH: &[u8] = b"strongroom_proxy_attach\0";
/// The name of the function that closes all sessions of the real module.
pub(crate) const LOSE_SESSIONS: &[u8] = b"strongroom_proxy_lose_sessions\0";

/// The type of the function `ATTACH`: path of the real module, its length, and the host, which stays for ever. CKR_OK,
/// or CKR_GENERAL_ERROR if the module does not load or the library is attached already.
pub(crate) type Attach = unsafe extern "C" fn(*const u8, usize, *const Host) -> CK_RV;
/// The type of the function `LOSE_SESSIONS`.
pub(crate) type LoseSessions = unsafe extern "C" fn() -> CK_RV;

/// C_Initialize of the real module.
pub(crate) type Initialize = unsafe extern "C" fn(*mut c_void) -> CK_RV;

/// A call on its way.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Call {
    /// Of `Function`.
    pub(crate) function: u32,
    /// The mechanism, if the function takes one; the user type of C_Login; else [`Call::NO_DETAIL`].
    pub(crate) detail: CK_ULONG,
    /// The session of a decryption, else 0.
    pub(crate) session: CK_SESSION_HANDLE,
    /// Which call of this function it is, from 1; `before` sets it.
    pub(crate) number: u64,
}

impl Call {
    pub(crate) const NO_DETAIL: CK_ULONG = CK_ULONG::MAX;
}

/// What a library asks.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Host {
    /// The first argument of all the functions.
    pub(crate) context: *const c_void,
    /// CKR_OK to let the call through, else its answer.
    pub(crate) before: unsafe extern "C" fn(*const c_void, *mut Call) -> CK_RV,
    /// The answer of a call that went through.
    pub(crate) after: unsafe extern "C" fn(*const c_void, *const Call, CK_RV) -> CK_RV,
    /// Calls C_Initialize of the real module.
    pub(crate) initialize: unsafe extern "C" fn(*const c_void, Initialize, *mut c_void) -> CK_RV,
    /// Whether a mechanism is there.
    pub(crate) offers: unsafe extern "C" fn(*const c_void, CK_MECHANISM_TYPE) -> CK_BBOOL,
    /// The flags that a token shows.
    pub(crate) flags: unsafe extern "C" fn(*const c_void, CK_FLAGS) -> CK_FLAGS,
    /// Whether the result of the decryption in this session is to be rewritten.
    pub(crate) rewrites: unsafe extern "C" fn(*const c_void, CK_SESSION_HANDLE) -> CK_BBOOL,
    /// Rewrites it.
    pub(crate) rewrite: unsafe extern "C" fn(*const c_void, *mut Decryption) -> CK_RV,
    /// What the module makes of an RSA key that is asked for.
    pub(crate) overrule: unsafe extern "C" fn(*const c_void) -> RsaParameters,
}

/// Parameters that a module puts in place of the caller's.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct RsaParameters {
    /// 0 keeps the caller's.
    pub(crate) bits: CK_ULONG,
    /// 0 keeps the caller's.
    pub(crate) exponent: u64,
}

/// A decryption whose result the host decides.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Decryption {
    pub(crate) session: CK_SESSION_HANDLE,
    pub(crate) ciphertext: *const CK_BYTE,
    pub(crate) ciphertext_length: usize,
    /// What the real module answered.
    pub(crate) answer: CK_RV,
    /// What it decrypted to.
    pub(crate) plaintext: *const CK_BYTE,
    pub(crate) plaintext_length: usize,
    /// Where the result goes.
    pub(crate) output: *mut CK_BYTE,
    /// How much fits, and then how much it is.
    pub(crate) output_length: usize,
}
