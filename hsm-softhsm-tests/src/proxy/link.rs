//! Loads a copy of the shared library and answers what it asks.
#![expect(unsafe_code, reason = "the other side of the interface in C")]

use std::ffi::c_void;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use cryptoki_sys::*;
use libloading::Library;

use super::function::Function;
use super::host::{
    ATTACH, Attach, Call, Decryption, Host, Initialize, LOSE_SESSIONS, LoseSessions, RsaParameters,
};
use super::state::State;

/// What else a loaded library can be told to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Control {
    lose_sessions: LoseSessions,
}

impl Control {
    pub(super) fn lose_sessions(self) -> CK_RV {
        // SAFETY: the function of a library that is never unloaded.
        unsafe { (self.lose_sessions)() }
    }
}

/// Loads the library, for ever, on top of the real module.
pub(super) fn attach(library: &Path, real: &Path, state: &'static State) -> Control {
    // SAFETY: it is this crate's own library, whose loading runs nothing.
    let loaded = unsafe { Library::new(library) }
        .unwrap_or_else(|error| panic!("{} does not load: {error}", library.display()));
    let loaded = Box::leak(Box::new(loaded));
    let host = Box::leak(Box::new(host(state)));
    let real_path = real.as_os_str().as_bytes();
    // SAFETY: the functions have these types, for the library is built from the same source as this. Path and length
    // belong together, and the host is leaked.
    let (answer, lose_sessions) = unsafe {
        let attach = *loaded
            .get::<Attach>(ATTACH)
            .expect("the library exports it");
        let lose_sessions = *loaded
            .get::<LoseSessions>(LOSE_SESSIONS)
            .expect("the library exports it");
        let answer = attach(real_path.as_ptr(), real_path.len(), &raw const *host);
        (answer, lose_sessions)
    };
    assert_eq!(
        answer,
        CKR_OK,
        "the proxy cannot load {} as a module of PKCS#11",
        real.display()
    );
    Control { lose_sessions }
}

/// The functions take a pointer to the state, which is `Sync` and stays for ever.
fn host(state: &'static State) -> Host {
    Host {
        context: (&raw const *state).cast(),
        before,
        after,
        initialize,
        offers,
        flags,
        rewrites,
        rewrite,
        overrule,
    }
}

/// # Safety
///
/// `context` is that of [`host`].
unsafe fn state(context: *const c_void) -> &'static State {
    // SAFETY: as the caller promises.
    unsafe { &*context.cast::<State>() }
}

/// # Safety
///
/// As [`Host`] says; so for the functions below.
unsafe extern "C" fn before(context: *const c_void, call: *mut Call) -> CK_RV {
    // SAFETY: the library passes its context, and a call that is its own until this returns.
    let (state, call) = unsafe { (state(context), &mut *call) };
    match Function::from_number(call.function) {
        Some(function) => state.before(function, call),
        None => CKR_GENERAL_ERROR,
    }
}

unsafe extern "C" fn after(context: *const c_void, call: *const Call, answer: CK_RV) -> CK_RV {
    // SAFETY: as in `before`.
    let (state, call) = unsafe { (state(context), &*call) };
    match Function::from_number(call.function) {
        Some(function) => state.after(function, call, answer),
        None => CKR_GENERAL_ERROR,
    }
}

unsafe extern "C" fn initialize(
    context: *const c_void,
    real: Initialize,
    arguments: *mut c_void,
) -> CK_RV {
    // SAFETY: the library passes its context.
    let state = unsafe { state(context) };
    // SAFETY: the real function, with the arguments that the caller of PKCS#11 made for it.
    let initialize = || unsafe { real(arguments) };
    match &state.configuration {
        Some(configuration) => crate::environment::with_configuration(configuration, initialize),
        None => initialize(),
    }
}

unsafe extern "C" fn offers(context: *const c_void, mechanism: CK_MECHANISM_TYPE) -> CK_BBOOL {
    // SAFETY: the library passes its context.
    CK_BBOOL::from(unsafe { state(context) }.offers(mechanism))
}

unsafe extern "C" fn flags(context: *const c_void, flags: CK_FLAGS) -> CK_FLAGS {
    // SAFETY: the library passes its context.
    unsafe { state(context) }.flags(flags)
}

unsafe extern "C" fn overrule(context: *const c_void) -> RsaParameters {
    // SAFETY: the library passes its context.
    unsafe { state(context) }.lock().overrule
}

unsafe extern "C" fn rewrites(context: *const c_void, session: CK_SESSION_HANDLE) -> CK_BBOOL {
    // SAFETY: the library passes its context.
    CK_BBOOL::from(unsafe { state(context) }.rewriter(session).is_some())
}

unsafe extern "C" fn rewrite(context: *const c_void, decryption: *mut Decryption) -> CK_RV {
    // SAFETY: the library passes its context, and a decryption that is its own until this returns.
    let (state, decryption) = unsafe { (state(context), &mut *decryption) };
    let answer = decryption.answer;
    let Some(rewriter) = state.rewriter(decryption.session) else {
        // Healed in between.
        return CKR_FUNCTION_FAILED;
    };
    if matches!(
        answer,
        CKR_OPERATION_NOT_INITIALIZED
            | CKR_SESSION_HANDLE_INVALID
            | CKR_SESSION_CLOSED
            | CKR_CRYPTOKI_NOT_INITIALIZED
    ) {
        // There was nothing to decrypt.
        return answer;
    }
    // SAFETY: the lengths are those of the bytes, which are not written to while this runs.
    let (ciphertext, plaintext) = unsafe {
        (
            std::slice::from_raw_parts(decryption.ciphertext, decryption.ciphertext_length),
            std::slice::from_raw_parts(decryption.plaintext, decryption.plaintext_length),
        )
    };
    let real = if answer == CKR_OK {
        Ok(plaintext)
    } else {
        Err(answer)
    };
    let result = match rewriter(ciphertext, real) {
        Ok(result) => result,
        Err(code) => return code,
    };
    let capacity = std::mem::replace(&mut decryption.output_length, result.len());
    if result.len() > capacity {
        return CKR_BUFFER_TOO_SMALL;
    }
    // SAFETY: the output has room for `capacity` bytes, and is not the vector made here.
    unsafe {
        decryption
            .output
            .copy_from_nonoverlapping(result.as_ptr(), result.len())
    };
    CKR_OK
}
