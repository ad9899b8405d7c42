//! The shared library: PKCS#11 2.40 as C sees it, on top of another module.
//!
//! Each loaded copy of the library has its own [`Link`]. In test executables, which contain this code too, it is
//! never called.
#![expect(unsafe_code, reason = "the interface is one of C")]
#![expect(non_snake_case, reason = "the names of PKCS#11")]
#![expect(
    clippy::cast_possible_truncation,
    reason = "an unsigned long of C is as long as a pointer"
)]

use std::ffi::{OsStr, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::ptr;
use std::sync::OnceLock;

use cryptoki_sys::*;

use super::function::Function;
use super::host::{Call, Decryption, Host, Initialize};

/// What this copy of the library is attached to.
struct Link {
    real: CK_FUNCTION_LIST,
    host: &'static Host,
}

// SAFETY: the pointer in the host is only handed back to the functions of the host, which take it from any thread
// (`link::host`); the rest is functions.
unsafe impl Send for Link {}
// SAFETY: as above.
unsafe impl Sync for Link {}

static LINK: OnceLock<Link> = OnceLock::new();

/// See [`Attach`](super::host::Attach).
///
/// # Safety
///
/// `path` has `length` bytes, and `host` with all it refers to stays for ever.
#[unsafe(no_mangle)]
unsafe extern "C" fn strongroom_proxy_attach(
    path: *const u8,
    length: usize,
    host: *const Host,
) -> CK_RV {
    // SAFETY: as the caller promises.
    let (path, host) = unsafe { (std::slice::from_raw_parts(path, length), &*host) };
    let Some(real) = load(OsStr::from_bytes(path)) else {
        return CKR_GENERAL_ERROR;
    };
    match LINK.set(Link { real, host }) {
        Ok(()) => CKR_OK,
        Err(_) => CKR_GENERAL_ERROR,
    }
}

/// The functions of a module, which stays loaded for ever.
fn load(path: &OsStr) -> Option<CK_FUNCTION_LIST> {
    // SAFETY: loading runs the initializers of the module, which a module of PKCS#11 is meant for.
    let library = unsafe { libloading::Library::new(path) }.ok()?;
    let library = Box::leak(Box::new(library));
    let mut list = ptr::null_mut();
    // SAFETY: PKCS#11 gives this function this type, and it is called as it wants to be.
    let answer = unsafe {
        let get: libloading::Symbol<'_, unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV> =
            library.get(b"C_GetFunctionList\0").ok()?;
        get(&raw mut list)
    };
    if answer != CKR_OK || list.is_null() {
        return None;
    }
    // SAFETY: a module that answers CKR_OK has set the pointer to its list.
    Some(unsafe { *list })
}

/// See [`LoseSessions`](super::host::LoseSessions).
///
/// # Safety
///
/// As every function of PKCS#11.
#[unsafe(no_mangle)]
unsafe extern "C" fn strongroom_proxy_lose_sessions() -> CK_RV {
    let Some(link) = LINK.get() else {
        return CKR_GENERAL_ERROR;
    };
    let (Some(list_slots), Some(close)) = (link.real.C_GetSlotList, link.real.C_CloseAllSessions)
    else {
        return CKR_FUNCTION_NOT_SUPPORTED;
    };
    let mut slots = [0; 1024];
    let mut count = 1024;
    // SAFETY: the buffer has room for as many slots as `count` says.
    let answer = unsafe { list_slots(CK_TRUE, slots.as_mut_ptr(), &raw mut count) };
    if answer != CKR_OK {
        return answer;
    }
    for slot in slots.into_iter().take(count as usize) {
        // SAFETY: takes no pointers. A slot whose token is gone has no sessions either.
        unsafe { close(slot) };
    }
    CKR_OK
}

/// The entry of PKCS#11.
///
/// # Safety
///
/// `list` is null or has room for a pointer.
#[unsafe(no_mangle)]
unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    // SAFETY: it is not null. Callers read the list only, as PKCS#11 says.
    unsafe { *list = (&raw const LIST).cast_mut() };
    CKR_OK
}

/// Asks the host, calls the real function, and asks again.
fn pass(
    function: Function,
    detail: CK_ULONG,
    session: CK_SESSION_HANDLE,
    real: impl FnOnce(&Link) -> Option<CK_RV>,
) -> CK_RV {
    let Some(link) = LINK.get() else {
        return CKR_GENERAL_ERROR;
    };
    let host = link.host;
    let mut call = Call {
        function: function.number(),
        detail,
        session,
        number: 0,
    };
    // SAFETY: the context is the host's own, and the call lives until the function returns.
    let refusal = unsafe { (host.before)(host.context, &raw mut call) };
    if refusal != CKR_OK {
        return refusal;
    }
    let answer = real(link).unwrap_or(CKR_FUNCTION_NOT_SUPPORTED);
    // SAFETY: as above.
    unsafe { (host.after)(host.context, &raw const call, answer) }
}

/// The type of a mechanism that the caller passes.
///
/// # Safety
///
/// The pointer is null or to a mechanism.
unsafe fn mechanism_type(mechanism: *const CK_MECHANISM) -> CK_ULONG {
    // SAFETY: as the caller promises.
    match unsafe { mechanism.as_ref() } {
        Some(mechanism) => mechanism.mechanism,
        None => Call::NO_DETAIL,
    }
}

/// The session of the functions after which the host follows a decryption.
macro_rules! session_of_decryption {
    (DecryptInit, $session:ident $($rest:tt)*) => {
        $session
    };
    (DecryptFinal, $session:ident $($rest:tt)*) => {
        $session
    };
    (CloseSession, $session:ident $($rest:tt)*) => {
        $session
    };
    ($($other:tt)*) => {
        0
    };
}

/// Functions that change nothing on the way: name, arguments, and what the host is told besides.
macro_rules! functions {
    ($($function:ident = $name:ident($($argument:ident: $type:ty),*), $detail:expr;)*) => {
        $(
            /// # Safety
            ///
            /// As PKCS#11 says of the function.
            unsafe extern "C" fn $name($($argument: $type),*) -> CK_RV {
                #[allow(unused_unsafe, reason = "only mechanisms are behind pointers")]
                // SAFETY: the caller passes a mechanism where PKCS#11 has one.
                let detail = unsafe { $detail };
                pass(Function::$function, detail, session_of_decryption!($function, $($argument),*), |link| {
                    let real = link.real.$name?;
                    // SAFETY: the arguments are the caller's, who has to keep to PKCS#11 as the real module wants.
                    Some(unsafe { real($($argument),*) })
                })
            }
        )*

        static LIST: CK_FUNCTION_LIST = CK_FUNCTION_LIST {
            version: CK_VERSION { major: 2, minor: 40 },
            C_Initialize: Some(C_Initialize),
            C_GetFunctionList: Some(C_GetFunctionList),
            C_GetTokenInfo: Some(C_GetTokenInfo),
            C_GetMechanismList: Some(C_GetMechanismList),
            C_Decrypt: Some(C_Decrypt),
            C_GenerateKeyPair: Some(C_GenerateKeyPair),
            $($name: Some($name),)*
        };
    };
}

functions! {
    Finalize = C_Finalize(a: *mut c_void), Call::NO_DETAIL;
    GetInfo = C_GetInfo(a: *mut CK_INFO), Call::NO_DETAIL;
    GetSlotList = C_GetSlotList(a: CK_BBOOL, b: *mut CK_SLOT_ID, c: *mut CK_ULONG), Call::NO_DETAIL;
    GetSlotInfo = C_GetSlotInfo(a: CK_SLOT_ID, b: *mut CK_SLOT_INFO), Call::NO_DETAIL;
    GetMechanismInfo = C_GetMechanismInfo(a: CK_SLOT_ID, b: CK_MECHANISM_TYPE, c: *mut CK_MECHANISM_INFO), b;
    InitToken = C_InitToken(a: CK_SLOT_ID, b: *mut CK_UTF8CHAR, c: CK_ULONG, d: *mut CK_UTF8CHAR), Call::NO_DETAIL;
    InitPIN = C_InitPIN(a: CK_SESSION_HANDLE, b: *mut CK_UTF8CHAR, c: CK_ULONG), Call::NO_DETAIL;
    SetPIN = C_SetPIN(a: CK_SESSION_HANDLE, b: *mut CK_UTF8CHAR, c: CK_ULONG, d: *mut CK_UTF8CHAR, e: CK_ULONG), Call::NO_DETAIL;
    OpenSession = C_OpenSession(a: CK_SLOT_ID, b: CK_FLAGS, c: *mut c_void, d: CK_NOTIFY, e: *mut CK_SESSION_HANDLE), Call::NO_DETAIL;
    CloseSession = C_CloseSession(a: CK_SESSION_HANDLE), Call::NO_DETAIL;
    CloseAllSessions = C_CloseAllSessions(a: CK_SLOT_ID), Call::NO_DETAIL;
    GetSessionInfo = C_GetSessionInfo(a: CK_SESSION_HANDLE, b: *mut CK_SESSION_INFO), Call::NO_DETAIL;
    GetOperationState = C_GetOperationState(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG), Call::NO_DETAIL;
    SetOperationState = C_SetOperationState(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: CK_OBJECT_HANDLE, e: CK_OBJECT_HANDLE), Call::NO_DETAIL;
    Login = C_Login(a: CK_SESSION_HANDLE, b: CK_USER_TYPE, c: *mut CK_UTF8CHAR, d: CK_ULONG), b;
    Logout = C_Logout(a: CK_SESSION_HANDLE), Call::NO_DETAIL;
    CreateObject = C_CreateObject(a: CK_SESSION_HANDLE, b: *mut CK_ATTRIBUTE, c: CK_ULONG, d: *mut CK_OBJECT_HANDLE), Call::NO_DETAIL;
    CopyObject = C_CopyObject(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE, d: CK_ULONG, e: *mut CK_OBJECT_HANDLE), Call::NO_DETAIL;
    DestroyObject = C_DestroyObject(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE), Call::NO_DETAIL;
    GetObjectSize = C_GetObjectSize(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ULONG), Call::NO_DETAIL;
    GetAttributeValue = C_GetAttributeValue(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE, d: CK_ULONG), Call::NO_DETAIL;
    SetAttributeValue = C_SetAttributeValue(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE, c: *mut CK_ATTRIBUTE, d: CK_ULONG), Call::NO_DETAIL;
    FindObjectsInit = C_FindObjectsInit(a: CK_SESSION_HANDLE, b: *mut CK_ATTRIBUTE, c: CK_ULONG), Call::NO_DETAIL;
    FindObjects = C_FindObjects(a: CK_SESSION_HANDLE, b: *mut CK_OBJECT_HANDLE, c: CK_ULONG, d: *mut CK_ULONG), Call::NO_DETAIL;
    FindObjectsFinal = C_FindObjectsFinal(a: CK_SESSION_HANDLE), Call::NO_DETAIL;
    EncryptInit = C_EncryptInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE), mechanism_type(b);
    Encrypt = C_Encrypt(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG), Call::NO_DETAIL;
    EncryptUpdate = C_EncryptUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG), Call::NO_DETAIL;
    EncryptFinal = C_EncryptFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG), Call::NO_DETAIL;
    DecryptInit = C_DecryptInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE), mechanism_type(b);
    DecryptUpdate = C_DecryptUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG), Call::NO_DETAIL;
    DecryptFinal = C_DecryptFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG), Call::NO_DETAIL;
    DigestInit = C_DigestInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM), mechanism_type(b);
    Digest = C_Digest(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG), Call::NO_DETAIL;
    DigestUpdate = C_DigestUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG), Call::NO_DETAIL;
    DigestKey = C_DigestKey(a: CK_SESSION_HANDLE, b: CK_OBJECT_HANDLE), Call::NO_DETAIL;
    DigestFinal = C_DigestFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG), Call::NO_DETAIL;
    SignInit = C_SignInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE), mechanism_type(b);
    Sign = C_Sign(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG), Call::NO_DETAIL;
    SignUpdate = C_SignUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG), Call::NO_DETAIL;
    SignFinal = C_SignFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: *mut CK_ULONG), Call::NO_DETAIL;
    SignRecoverInit = C_SignRecoverInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE), mechanism_type(b);
    SignRecover = C_SignRecover(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG), Call::NO_DETAIL;
    VerifyInit = C_VerifyInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE), mechanism_type(b);
    Verify = C_Verify(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: CK_ULONG), Call::NO_DETAIL;
    VerifyUpdate = C_VerifyUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG), Call::NO_DETAIL;
    VerifyFinal = C_VerifyFinal(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG), Call::NO_DETAIL;
    VerifyRecoverInit = C_VerifyRecoverInit(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE), mechanism_type(b);
    VerifyRecover = C_VerifyRecover(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG), Call::NO_DETAIL;
    DigestEncryptUpdate = C_DigestEncryptUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG), Call::NO_DETAIL;
    DecryptDigestUpdate = C_DecryptDigestUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG), Call::NO_DETAIL;
    SignEncryptUpdate = C_SignEncryptUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG), Call::NO_DETAIL;
    DecryptVerifyUpdate = C_DecryptVerifyUpdate(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG, d: *mut CK_BYTE, e: *mut CK_ULONG), Call::NO_DETAIL;
    GenerateKey = C_GenerateKey(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: *mut CK_ATTRIBUTE, d: CK_ULONG, e: *mut CK_OBJECT_HANDLE), mechanism_type(b);
    WrapKey = C_WrapKey(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE, d: CK_OBJECT_HANDLE, e: *mut CK_BYTE, f: *mut CK_ULONG), mechanism_type(b);
    UnwrapKey = C_UnwrapKey(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE, d: *mut CK_BYTE, e: CK_ULONG, f: *mut CK_ATTRIBUTE, g: CK_ULONG, h: *mut CK_OBJECT_HANDLE), mechanism_type(b);
    DeriveKey = C_DeriveKey(a: CK_SESSION_HANDLE, b: *mut CK_MECHANISM, c: CK_OBJECT_HANDLE, d: *mut CK_ATTRIBUTE, e: CK_ULONG, f: *mut CK_OBJECT_HANDLE), mechanism_type(b);
    SeedRandom = C_SeedRandom(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG), Call::NO_DETAIL;
    GenerateRandom = C_GenerateRandom(a: CK_SESSION_HANDLE, b: *mut CK_BYTE, c: CK_ULONG), Call::NO_DETAIL;
    GetFunctionStatus = C_GetFunctionStatus(a: CK_SESSION_HANDLE), Call::NO_DETAIL;
    CancelFunction = C_CancelFunction(a: CK_SESSION_HANDLE), Call::NO_DETAIL;
    WaitForSlotEvent = C_WaitForSlotEvent(a: CK_FLAGS, b: *mut CK_SLOT_ID, c: *mut c_void), Call::NO_DETAIL;
}

/// # Safety
///
/// As PKCS#11 says of the function.
unsafe extern "C" fn C_Initialize(arguments: *mut c_void) -> CK_RV {
    pass(Function::Initialize, Call::NO_DETAIL, 0, |link| {
        let real: Initialize = link.real.C_Initialize?;
        let host = link.host;
        // SAFETY: the context is the host's own; the arguments are for the real function, which gets them.
        Some(unsafe { (host.initialize)(host.context, real, arguments) })
    })
}

/// # Safety
///
/// As PKCS#11 says of the function.
unsafe extern "C" fn C_GetTokenInfo(slot: CK_SLOT_ID, information: *mut CK_TOKEN_INFO) -> CK_RV {
    pass(Function::GetTokenInfo, Call::NO_DETAIL, 0, |link| {
        let real = link.real.C_GetTokenInfo?;
        // SAFETY: the arguments are the caller's.
        let answer = unsafe { real(slot, information) };
        // SAFETY: the real module has just written to it, or it is null.
        if answer == CKR_OK
            && let Some(information) = unsafe { information.as_mut() }
        {
            let host = link.host;
            // SAFETY: the context is the host's own.
            information.flags = unsafe { (host.flags)(host.context, information.flags) };
        }
        Some(answer)
    })
}

/// # Safety
///
/// As PKCS#11 says of the function.
unsafe extern "C" fn C_GetMechanismList(
    slot: CK_SLOT_ID,
    list: *mut CK_MECHANISM_TYPE,
    count: *mut CK_ULONG,
) -> CK_RV {
    pass(Function::GetMechanismList, Call::NO_DETAIL, 0, |link| {
        let real = link.real.C_GetMechanismList?;
        let host = link.host;
        let mut all = vec![0; 4096];
        let mut length = 4096;
        // SAFETY: the buffer has room for as many mechanisms as `length` says.
        let answer = unsafe { real(slot, all.as_mut_ptr(), &raw mut length) };
        if answer != CKR_OK || count.is_null() {
            return Some(if answer == CKR_OK {
                CKR_ARGUMENTS_BAD
            } else {
                answer
            });
        }
        all.truncate(length as usize);
        // SAFETY: the context is the host's own.
        all.retain(|mechanism| unsafe { (host.offers)(host.context, *mechanism) } == CK_TRUE);
        // SAFETY: it is not null, and the caller has its capacity in it if there is a list.
        let capacity = unsafe { count.replace(all.len() as CK_ULONG) };
        if list.is_null() {
            return Some(CKR_OK);
        }
        if (capacity as usize) < all.len() {
            return Some(CKR_BUFFER_TOO_SMALL);
        }
        // SAFETY: the caller's list has room for `capacity` mechanisms, and these are not more.
        unsafe { ptr::copy_nonoverlapping(all.as_ptr(), list, all.len()) };
        Some(CKR_OK)
    })
}

/// # Safety
///
/// As PKCS#11 says of the function.
unsafe extern "C" fn C_GenerateKeyPair(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    public: *mut CK_ATTRIBUTE,
    public_count: CK_ULONG,
    private: *mut CK_ATTRIBUTE,
    private_count: CK_ULONG,
    public_key: *mut CK_OBJECT_HANDLE,
    private_key: *mut CK_OBJECT_HANDLE,
) -> CK_RV {
    // SAFETY: the caller passes a mechanism here.
    let detail = unsafe { mechanism_type(mechanism) };
    pass(Function::GenerateKeyPair, detail, 0, |link| {
        let real = link.real.C_GenerateKeyPair?;
        let host = link.host;
        // SAFETY: the context is the host's own.
        let mut wanted = unsafe { (host.overrule)(host.context) };
        let mut exponent = wanted.exponent.to_be_bytes();
        let mut attributes = Vec::new();
        if !public.is_null() {
            // SAFETY: it is not null, and the caller says how many attributes there are.
            let given = unsafe { std::slice::from_raw_parts(public, public_count as usize) };
            attributes.extend_from_slice(given);
        }
        for attribute in &mut attributes {
            if attribute.type_ == CKA_MODULUS_BITS && wanted.bits != 0 {
                attribute.pValue = (&raw mut wanted.bits).cast();
            }
            if attribute.type_ == CKA_PUBLIC_EXPONENT && wanted.exponent != 0 {
                attribute.pValue = exponent.as_mut_ptr().cast();
                attribute.ulValueLen = exponent.len() as CK_ULONG;
            }
        }
        // SAFETY: the arguments are the caller's but for the template, which lives until the function returns.
        let answer = unsafe {
            real(
                session,
                mechanism,
                attributes.as_mut_ptr(),
                public_count,
                private,
                private_count,
                public_key,
                private_key,
            )
        };
        Some(answer)
    })
}

/// # Safety
///
/// As PKCS#11 says of the function.
unsafe extern "C" fn C_Decrypt(
    session: CK_SESSION_HANDLE,
    ciphertext: *mut CK_BYTE,
    ciphertext_length: CK_ULONG,
    output: *mut CK_BYTE,
    output_length: *mut CK_ULONG,
) -> CK_RV {
    pass(Function::Decrypt, Call::NO_DETAIL, session, |link| {
        let real = link.real.C_Decrypt?;
        let host = link.host;
        // SAFETY: the context is the host's own.
        let rewrites = unsafe { (host.rewrites)(host.context, session) } == CK_TRUE;
        // A question for the length goes to the real module, and so does what is no decryption.
        if !rewrites || output.is_null() || output_length.is_null() || ciphertext.is_null() {
            // SAFETY: the arguments are the caller's.
            let answer = unsafe {
                real(
                    session,
                    ciphertext,
                    ciphertext_length,
                    output,
                    output_length,
                )
            };
            return Some(answer);
        }
        // SAFETY: it is not null, and the caller has its capacity in it.
        let capacity = unsafe { *output_length };
        if capacity < ciphertext_length {
            // SAFETY: as above.
            unsafe { *output_length = ciphertext_length };
            return Some(CKR_BUFFER_TOO_SMALL);
        }
        // The real module decrypts too, whatever comes of it: afterwards the operation is over.
        let mut plaintext = vec![0; (ciphertext_length as usize).max(1024)];
        let mut plaintext_length = plaintext.len() as CK_ULONG;
        // SAFETY: the ciphertext is the caller's; the buffer has room for what its length says.
        let answer = unsafe {
            real(
                session,
                ciphertext,
                ciphertext_length,
                plaintext.as_mut_ptr(),
                &raw mut plaintext_length,
            )
        };
        plaintext.truncate(if answer == CKR_OK {
            plaintext_length as usize
        } else {
            0
        });
        let mut decryption = Decryption {
            session,
            ciphertext,
            ciphertext_length: ciphertext_length as usize,
            answer,
            plaintext: plaintext.as_ptr(),
            plaintext_length: plaintext.len(),
            output,
            output_length: capacity as usize,
        };
        // SAFETY: the context is the host's own; all pointers have as many bytes as the lengths beside them say.
        let answer = unsafe { (host.rewrite)(host.context, &raw mut decryption) };
        // SAFETY: it is not null.
        unsafe { *output_length = decryption.output_length as CK_ULONG };
        Some(answer)
    })
}
