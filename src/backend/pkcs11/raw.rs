//! The calls into a module: the one file with `unsafe`.
//!
//! Every output goes into one buffer of the size that the caller expects, in one call. Asking for the length
//! first, as bindings usually do, costs a call, and some modules answer it wrongly.
#![expect(unsafe_code, reason = "C functions of a loaded module")]

use std::ffi::{CString, c_void};
use std::fmt;
use std::path::Path;
use std::ptr;

use cryptoki::session::Session;
use cryptoki_sys::{
    CK_ATTRIBUTE, CK_C_INITIALIZE_ARGS, CK_FUNCTION_LIST, CK_MECHANISM_INFO, CK_SESSION_INFO,
    CK_TOKEN_INFO, CKF_OS_LOCKING_OK, CKR_ATTRIBUTE_SENSITIVE, CKR_ATTRIBUTE_TYPE_INVALID,
    CKR_FUNCTION_NOT_SUPPORTED, CKR_OK,
};
use zeroize::Zeroizing;

use super::buffers::{LARGEST_ANSWER, bounded, into_buffer, listed};
use super::error::{ErrorClass, TokenError, TokenResult};
use super::mechanism::{Mechanism, Ulong, ulong};
use super::template::Template;
use super::token_info::TokenInfo;
use crate::secret::{SecretBytes, zeros};

/// How many handles one `C_FindObjects` returns at most.
const FIND_BATCH: usize = 64;

/// The handle of an object: it means something until the token is logged out of, or the module ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ObjectHandle(pub(super) Ulong);

/// The functions of a loaded module, for ever: the library is never unloaded.
pub(super) struct Functions {
    list: CK_FUNCTION_LIST,
    _library: cryptoki_sys::Pkcs11,
}

/// A function of the list, or the error that the module lacks it.
macro_rules! function {
    ($functions:expr, $name:ident) => {
        match $functions.list.$name {
            Some(function) => function,
            None => {
                return Err(TokenError::from_code(
                    CKR_FUNCTION_NOT_SUPPORTED,
                    stringify!($name),
                ));
            }
        }
    };
}

/// `CK_C_INITIALIZE_ARGS` with the field that NSS has before `pReserved`: the string is found in either place,
/// and nobody reads beyond the structure.
#[repr(C)]
struct InitializeArguments {
    standard: CK_C_INITIALIZE_ARGS,
    after: *mut c_void,
}

impl Functions {
    /// Loads the module and asks for its functions.
    pub(super) fn load(path: &Path) -> TokenResult<Self> {
        let failed = |what: String| {
            TokenError::with_detail(
                ErrorClass::TokenLost,
                "load",
                format!(
                    "the PKCS#11 module {} cannot be loaded: {what}; check the path",
                    path.display()
                ),
            )
        };
        // SAFETY: loading runs the library's initialisers. The operator names the library as the PKCS#11 module
        // to be trusted with the keys.
        let library = unsafe { cryptoki_sys::Pkcs11::new(path) }
            .map_err(|error| failed(error.to_string()))?;
        let Ok(get_list) = library.C_GetFunctionList.as_ref() else {
            return Err(failed("it has no C_GetFunctionList".into()));
        };
        let mut list: *mut CK_FUNCTION_LIST = ptr::null_mut();
        // SAFETY: the function takes a place for one pointer, and may be called before C_Initialize.
        let code = unsafe { get_list(&raw mut list) };
        TokenError::check(code, "C_GetFunctionList")?;
        if list.is_null() {
            return Err(failed("its list of functions is missing".into()));
        }
        // SAFETY: PKCS#11 requires that the pointer is to a CK_FUNCTION_LIST, which stays valid while the
        // library is loaded. Lists of later versions begin with this one.
        let list = unsafe { *list };
        Ok(Self {
            list,
            _library: library,
        })
    }

    /// `C_Initialize` with locks of the operating system, and a string in `pReserved` for modules that want
    /// their configuration there.
    pub(super) fn init_with_reserved_string(&self, reserved: Option<&str>) -> Result<(), Ulong> {
        let Some(initialize) = self.list.C_Initialize else {
            return Err(CKR_FUNCTION_NOT_SUPPORTED);
        };
        let reserved = match reserved.map(CString::new) {
            None => None,
            Some(Ok(text)) => Some(text),
            Some(Err(_)) => return Err(cryptoki_sys::CKR_ARGUMENTS_BAD),
        };
        let mut arguments = InitializeArguments {
            standard: CK_C_INITIALIZE_ARGS {
                CreateMutex: None,
                DestroyMutex: None,
                LockMutex: None,
                UnlockMutex: None,
                flags: CKF_OS_LOCKING_OK,
                pReserved: reserved
                    .as_ref()
                    .map_or(ptr::null_mut(), |text| text.as_ptr().cast_mut().cast()),
            },
            after: ptr::null_mut(),
        };
        // SAFETY: the structure and the string outlive the call, and modules copy what they keep.
        let code = unsafe { initialize((&raw mut arguments).cast()) };
        if code == CKR_OK { Ok(()) } else { Err(code) }
    }

    /// `C_Finalize`. The caller excludes every other call into the module meanwhile.
    pub(super) fn finalize(&self) -> TokenResult<()> {
        let finalize = function!(self, C_Finalize);
        // SAFETY: the argument is reserved and must be null.
        let code = unsafe { finalize(ptr::null_mut()) };
        TokenError::check(code, "C_Finalize")
    }

    /// The ids of the slots.
    pub(super) fn slot_list(&self, token_present: bool) -> TokenResult<Vec<Ulong>> {
        let get_list = function!(self, C_GetSlotList);
        listed("C_GetSlotList", |place, count| {
            // SAFETY: `place` is null or has room for `count` numbers.
            unsafe { get_list(token_present.into(), place, count) }
        })
    }

    /// The mechanisms of a slot's token, those without a name in any crate too.
    pub(super) fn mechanism_list(&self, slot: Ulong) -> TokenResult<Vec<Ulong>> {
        let get_list = function!(self, C_GetMechanismList);
        listed("C_GetMechanismList", |place, count| {
            // SAFETY: `place` is null or has room for `count` numbers.
            unsafe { get_list(slot, place, count) }
        })
    }

    /// The smallest and largest key of a mechanism, in the mechanism's own unit.
    pub(super) fn mechanism_key_sizes(
        &self,
        slot: Ulong,
        mechanism: Ulong,
    ) -> TokenResult<(Ulong, Ulong)> {
        let get_info = function!(self, C_GetMechanismInfo);
        let mut info = CK_MECHANISM_INFO::default();
        // SAFETY: the structure is the one that the function fills.
        let code = unsafe { get_info(slot, mechanism, &raw mut info) };
        TokenError::check(code, "C_GetMechanismInfo")?;
        Ok((info.ulMinKeySize, info.ulMaxKeySize))
    }

    pub(super) fn token_info(&self, slot: Ulong) -> TokenResult<TokenInfo> {
        let get_info = function!(self, C_GetTokenInfo);
        let mut info = CK_TOKEN_INFO::default();
        // SAFETY: the structure is the one that the function fills.
        let code = unsafe { get_info(slot, &raw mut info) };
        TokenError::check(code, "C_GetTokenInfo")?;
        Ok(TokenInfo::parse(&info))
    }

    /// The state of a session: `CKS_RW_USER_FUNCTIONS` when the user is logged in.
    pub(super) fn session_state(&self, session: &Session) -> TokenResult<Ulong> {
        let get_info = function!(self, C_GetSessionInfo);
        let mut info = CK_SESSION_INFO::default();
        // SAFETY: the structure is the one that the function fills.
        let code = unsafe { get_info(session.handle(), &raw mut info) };
        TokenError::check(code, "C_GetSessionInfo")?;
        Ok(info.state)
    }

    pub(super) fn sign(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
        capacity: usize,
    ) -> TokenResult<Vec<u8>> {
        let initialize = function!(self, C_SignInit);
        let sign = function!(self, C_Sign);
        let mut output = zeros(capacity);
        let length = mechanism.with(|mechanism| {
            into_buffer("C_Sign", &mut output, |begin, place, length| {
                if begin {
                    // SAFETY: the mechanism and its parameters live until the operation is over.
                    let code = unsafe { initialize(session.handle(), mechanism, key.0) };
                    TokenError::check(code, "C_SignInit")?;
                }
                // SAFETY: `data` is only read; `place` has room for `length` bytes.
                Ok(unsafe {
                    sign(
                        session.handle(),
                        pointer(data),
                        ulong(data.len()),
                        place,
                        length,
                    )
                })
            })
        })?;
        output.truncate(length);
        Ok(output)
    }

    pub(super) fn encrypt(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
        capacity: usize,
    ) -> TokenResult<Vec<u8>> {
        let initialize = function!(self, C_EncryptInit);
        let encrypt = function!(self, C_Encrypt);
        let mut output = zeros(capacity);
        let length = mechanism.with(|mechanism| {
            into_buffer("C_Encrypt", &mut output, |begin, place, length| {
                if begin {
                    // SAFETY: the mechanism and its parameters live until the operation is over.
                    let code = unsafe { initialize(session.handle(), mechanism, key.0) };
                    TokenError::check(code, "C_EncryptInit")?;
                }
                // SAFETY: `data` is only read; `place` has room for `length` bytes.
                Ok(unsafe {
                    encrypt(
                        session.handle(),
                        pointer(data),
                        ulong(data.len()),
                        place,
                        length,
                    )
                })
            })
        })?;
        output.truncate(length);
        Ok(output)
    }

    /// Decrypts into a buffer of fixed length, which the answer must fit; gives the length of the answer.
    pub(super) fn decrypt_into(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
        output: &mut [u8],
    ) -> TokenResult<usize> {
        let initialize = function!(self, C_DecryptInit);
        let decrypt = function!(self, C_Decrypt);
        let mut length = ulong(output.len());
        let code = mechanism.with(|mechanism| {
            // SAFETY: the mechanism and its parameters live until the operation is over.
            let code = unsafe { initialize(session.handle(), mechanism, key.0) };
            TokenError::check(code, "C_DecryptInit")?;
            // SAFETY: `data` is only read; `output` has room for `length` bytes.
            Ok(unsafe {
                decrypt(
                    session.handle(),
                    pointer(data),
                    ulong(data.len()),
                    output.as_mut_ptr(),
                    &raw mut length,
                )
            })
        })?;
        TokenError::check(code, "C_Decrypt")?;
        bounded(length, output.len(), "C_Decrypt")
    }

    /// The plaintext; every buffer that held it is wiped, also after an error.
    pub(super) fn decrypt(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        data: &[u8],
        capacity: usize,
    ) -> TokenResult<SecretBytes> {
        let initialize = function!(self, C_DecryptInit);
        let decrypt = function!(self, C_Decrypt);
        let mut output = Zeroizing::new(zeros(capacity));
        let length = mechanism.with(|mechanism| {
            into_buffer("C_Decrypt", &mut output, |begin, place, length| {
                if begin {
                    // SAFETY: the mechanism and its parameters live until the operation is over.
                    let code = unsafe { initialize(session.handle(), mechanism, key.0) };
                    TokenError::check(code, "C_DecryptInit")?;
                }
                // SAFETY: `data` is only read; `place` has room for `length` bytes.
                Ok(unsafe {
                    decrypt(
                        session.handle(),
                        pointer(data),
                        ulong(data.len()),
                        place,
                        length,
                    )
                })
            })
        })?;
        output.truncate(length);
        Ok(SecretBytes::from(output))
    }

    pub(super) fn wrap_key(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        wrapping: ObjectHandle,
        key: ObjectHandle,
        capacity: usize,
    ) -> TokenResult<Vec<u8>> {
        let wrap = function!(self, C_WrapKey);
        let mut output = zeros(capacity);
        let length = mechanism.with(|mechanism| {
            into_buffer("C_WrapKey", &mut output, |_, place, length| {
                // SAFETY: the mechanism and its parameters live as long as the call; `place` has room for
                // `length` bytes.
                Ok(unsafe {
                    wrap(
                        session.handle(),
                        mechanism,
                        wrapping.0,
                        key.0,
                        place,
                        length,
                    )
                })
            })
        })?;
        output.truncate(length);
        Ok(output)
    }

    pub(super) fn unwrap_key(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        unwrapping: ObjectHandle,
        wrapped: &[u8],
        template: &Template<'_>,
    ) -> TokenResult<ObjectHandle> {
        let unwrap = function!(self, C_UnwrapKey);
        let mut attributes = template.structures();
        let mut handle = 0;
        let code = mechanism.with(|mechanism| {
            // SAFETY: mechanism, template and what they point to live as long as the call and are only read.
            unsafe {
                unwrap(
                    session.handle(),
                    mechanism,
                    unwrapping.0,
                    pointer(wrapped),
                    ulong(wrapped.len()),
                    attributes.as_mut_ptr(),
                    ulong(attributes.len()),
                    &raw mut handle,
                )
            }
        });
        TokenError::check(code, "C_UnwrapKey")?;
        Ok(ObjectHandle(handle))
    }

    pub(super) fn generate_key(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        template: &Template<'_>,
    ) -> TokenResult<ObjectHandle> {
        let generate = function!(self, C_GenerateKey);
        let mut attributes = template.structures();
        let mut handle = 0;
        let code = mechanism.with(|mechanism| {
            // SAFETY: mechanism, template and what they point to live as long as the call and are only read.
            unsafe {
                generate(
                    session.handle(),
                    mechanism,
                    attributes.as_mut_ptr(),
                    ulong(attributes.len()),
                    &raw mut handle,
                )
            }
        });
        TokenError::check(code, "C_GenerateKey")?;
        Ok(ObjectHandle(handle))
    }

    /// The handles of the public and the private key, in this order.
    pub(super) fn generate_key_pair(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        public: &Template<'_>,
        private: &Template<'_>,
    ) -> TokenResult<(ObjectHandle, ObjectHandle)> {
        let generate = function!(self, C_GenerateKeyPair);
        let mut public = public.structures();
        let mut private = private.structures();
        let (mut public_handle, mut private_handle) = (0, 0);
        let code = mechanism.with(|mechanism| {
            // SAFETY: mechanism, templates and what they point to live as long as the call and are only read.
            unsafe {
                generate(
                    session.handle(),
                    mechanism,
                    public.as_mut_ptr(),
                    ulong(public.len()),
                    private.as_mut_ptr(),
                    ulong(private.len()),
                    &raw mut public_handle,
                    &raw mut private_handle,
                )
            }
        });
        TokenError::check(code, "C_GenerateKeyPair")?;
        Ok((ObjectHandle(public_handle), ObjectHandle(private_handle)))
    }

    pub(super) fn create_object(
        &self,
        session: &Session,
        template: &Template<'_>,
    ) -> TokenResult<ObjectHandle> {
        let create = function!(self, C_CreateObject);
        let mut attributes = template.structures();
        let mut handle = 0;
        // SAFETY: the template and what it points to live as long as the call and are only read.
        let code = unsafe {
            create(
                session.handle(),
                attributes.as_mut_ptr(),
                ulong(attributes.len()),
                &raw mut handle,
            )
        };
        TokenError::check(code, "C_CreateObject")?;
        Ok(ObjectHandle(handle))
    }

    /// A copy with the attributes of `template` instead of the original's.
    pub(super) fn copy_object(
        &self,
        session: &Session,
        object: ObjectHandle,
        template: &Template<'_>,
    ) -> TokenResult<ObjectHandle> {
        let copy = function!(self, C_CopyObject);
        let mut attributes = template.structures();
        let mut handle = 0;
        // SAFETY: the template and what it points to live as long as the call and are only read.
        let code = unsafe {
            copy(
                session.handle(),
                object.0,
                attributes.as_mut_ptr(),
                ulong(attributes.len()),
                &raw mut handle,
            )
        };
        TokenError::check(code, "C_CopyObject")?;
        Ok(ObjectHandle(handle))
    }

    pub(super) fn destroy_object(
        &self,
        session: &Session,
        object: ObjectHandle,
    ) -> TokenResult<()> {
        let destroy = function!(self, C_DestroyObject);
        // SAFETY: only numbers are passed.
        let code = unsafe { destroy(session.handle(), object.0) };
        TokenError::check(code, "C_DestroyObject")
    }

    pub(super) fn set_attributes(
        &self,
        session: &Session,
        object: ObjectHandle,
        template: &Template<'_>,
    ) -> TokenResult<()> {
        let set = function!(self, C_SetAttributeValue);
        let mut attributes = template.structures();
        // SAFETY: the template and what it points to live as long as the call and are only read.
        let code = unsafe {
            set(
                session.handle(),
                object.0,
                attributes.as_mut_ptr(),
                ulong(attributes.len()),
            )
        };
        TokenError::check(code, "C_SetAttributeValue")
    }

    /// The value of an attribute; `None` when the object has no such attribute or may not show it.
    pub(super) fn get_attribute(
        &self,
        session: &Session,
        object: ObjectHandle,
        attribute: Ulong,
    ) -> TokenResult<Option<Vec<u8>>> {
        let get = function!(self, C_GetAttributeValue);
        let mut place = CK_ATTRIBUTE {
            type_: attribute,
            pValue: ptr::null_mut(),
            ulValueLen: 0,
        };
        // SAFETY: a null value asks for the length.
        let code = unsafe { get(session.handle(), object.0, &raw mut place, 1) };
        if matches!(code, CKR_ATTRIBUTE_SENSITIVE | CKR_ATTRIBUTE_TYPE_INVALID) {
            return Ok(None);
        }
        TokenError::check(code, "C_GetAttributeValue")?;
        // CK_UNAVAILABLE_INFORMATION
        if place.ulValueLen == Ulong::MAX {
            return Ok(None);
        }
        let length = bounded(place.ulValueLen, LARGEST_ANSWER, "C_GetAttributeValue")?;
        let mut value = vec![0; length];
        if length == 0 {
            return Ok(Some(value));
        }
        place.pValue = value.as_mut_ptr().cast();
        // SAFETY: the buffer has room for `ulValueLen` bytes.
        let code = unsafe { get(session.handle(), object.0, &raw mut place, 1) };
        TokenError::check(code, "C_GetAttributeValue")?;
        value.truncate(bounded(place.ulValueLen, length, "C_GetAttributeValue")?);
        Ok(Some(value))
    }

    /// The first `max` objects that have these attributes.
    pub(super) fn find_objects(
        &self,
        session: &Session,
        template: &Template<'_>,
        max: usize,
    ) -> TokenResult<Vec<ObjectHandle>> {
        let initialize = function!(self, C_FindObjectsInit);
        let finish = function!(self, C_FindObjectsFinal);
        let mut attributes = template.structures();
        // SAFETY: the template and what it points to live as long as the call and are only read. Modules copy it.
        let code = unsafe {
            initialize(
                session.handle(),
                attributes.as_mut_ptr(),
                ulong(attributes.len()),
            )
        };
        TokenError::check(code, "C_FindObjectsInit")?;
        let found = self.found(session, max);
        // SAFETY: only a number is passed.
        let code = unsafe { finish(session.handle()) };
        let found = found?;
        TokenError::check(code, "C_FindObjectsFinal")?;
        Ok(found)
    }

    fn found(&self, session: &Session, max: usize) -> TokenResult<Vec<ObjectHandle>> {
        let find = function!(self, C_FindObjects);
        let mut found = Vec::new();
        let mut batch = [0; FIND_BATCH];
        while found.len() < max {
            let wanted = batch.len().min(max - found.len());
            let mut count = 0;
            // SAFETY: the buffer has room for `wanted` handles.
            let code = unsafe {
                find(
                    session.handle(),
                    batch.as_mut_ptr(),
                    ulong(wanted),
                    &raw mut count,
                )
            };
            TokenError::check(code, "C_FindObjects")?;
            let count = bounded(count, wanted, "C_FindObjects")?;
            if count == 0 {
                break;
            }
            found.extend(batch[..count].iter().copied().map(ObjectHandle));
        }
        Ok(found)
    }

    pub(super) fn random(&self, session: &Session, bytes: &mut [u8]) -> TokenResult<()> {
        let generate = function!(self, C_GenerateRandom);
        // SAFETY: the buffer has room for its length.
        let code = unsafe { generate(session.handle(), bytes.as_mut_ptr(), ulong(bytes.len())) };
        TokenError::check(code, "C_GenerateRandom")
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.list.version;
        write!(f, "Functions({}.{})", version.major, version.minor)
    }
}

/// A pointer that C declares mutable and only reads. Some modules take null for a missing argument and fail, so
/// an empty slice keeps a pointer of its own, which nobody follows.
fn pointer(bytes: &[u8]) -> *mut u8 {
    bytes.as_ptr().cast_mut()
}
