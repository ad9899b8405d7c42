//! PKCS#11's return codes: their names, and the numbers behind the cryptoki crate's.

use cryptoki::error::RvError;

use super::mechanism::Ulong;

macro_rules! codes {
    ({ $($name:ident = $variant:ident),* $(,)? } { $($without_variant:ident),* $(,)? }) => {
        /// The name of a return code, if PKCS#11 gives it one.
        pub(super) fn name_of(code: Ulong) -> Option<&'static str> {
            match code {
                $(cryptoki_sys::$name => Some(stringify!($name)),)*
                $(cryptoki_sys::$without_variant => Some(stringify!($without_variant)),)*
                _ => None,
            }
        }

        /// The number behind the crate's value.
        pub(super) fn code_of(value: &RvError) -> Ulong {
            match value {
                $(RvError::$variant => cryptoki_sys::$name,)*
                RvError::VendorDefined(code) | RvError::UnknownErrorCode(code) => *code,
            }
        }
    };
}

codes! {
    {
        CKR_CANCEL = Cancel,
        CKR_HOST_MEMORY = HostMemory,
        CKR_SLOT_ID_INVALID = SlotIdInvalid,
        CKR_GENERAL_ERROR = GeneralError,
        CKR_FUNCTION_FAILED = FunctionFailed,
        CKR_ARGUMENTS_BAD = ArgumentsBad,
        CKR_NO_EVENT = NoEvent,
        CKR_NEED_TO_CREATE_THREADS = NeedToCreateThreads,
        CKR_CANT_LOCK = CantLock,
        CKR_ATTRIBUTE_READ_ONLY = AttributeReadOnly,
        CKR_ATTRIBUTE_SENSITIVE = AttributeSensitive,
        CKR_ATTRIBUTE_TYPE_INVALID = AttributeTypeInvalid,
        CKR_ATTRIBUTE_VALUE_INVALID = AttributeValueInvalid,
        CKR_ACTION_PROHIBITED = ActionProhibited,
        CKR_DATA_INVALID = DataInvalid,
        CKR_DATA_LEN_RANGE = DataLenRange,
        CKR_DEVICE_ERROR = DeviceError,
        CKR_DEVICE_MEMORY = DeviceMemory,
        CKR_DEVICE_REMOVED = DeviceRemoved,
        CKR_ENCRYPTED_DATA_INVALID = EncryptedDataInvalid,
        CKR_ENCRYPTED_DATA_LEN_RANGE = EncryptedDataLenRange,
        CKR_FUNCTION_CANCELED = FunctionCanceled,
        CKR_FUNCTION_NOT_PARALLEL = FunctionNotParallel,
        CKR_FUNCTION_NOT_SUPPORTED = FunctionNotSupported,
        CKR_CURVE_NOT_SUPPORTED = CurveNotSupported,
        CKR_KEY_HANDLE_INVALID = KeyHandleInvalid,
        CKR_KEY_SIZE_RANGE = KeySizeRange,
        CKR_KEY_TYPE_INCONSISTENT = KeyTypeInconsistent,
        CKR_KEY_NOT_NEEDED = KeyNotNeeded,
        CKR_KEY_CHANGED = KeyChanged,
        CKR_KEY_NEEDED = KeyNeeded,
        CKR_KEY_INDIGESTIBLE = KeyIndigestible,
        CKR_KEY_FUNCTION_NOT_PERMITTED = KeyFunctionNotPermitted,
        CKR_KEY_NOT_WRAPPABLE = KeyNotWrappable,
        CKR_KEY_UNEXTRACTABLE = KeyUnextractable,
        CKR_MECHANISM_INVALID = MechanismInvalid,
        CKR_MECHANISM_PARAM_INVALID = MechanismParamInvalid,
        CKR_OBJECT_HANDLE_INVALID = ObjectHandleInvalid,
        CKR_OPERATION_ACTIVE = OperationActive,
        CKR_OPERATION_NOT_INITIALIZED = OperationNotInitialized,
        CKR_PIN_INCORRECT = PinIncorrect,
        CKR_PIN_INVALID = PinInvalid,
        CKR_PIN_LEN_RANGE = PinLenRange,
        CKR_PIN_EXPIRED = PinExpired,
        CKR_PIN_LOCKED = PinLocked,
        CKR_SESSION_CLOSED = SessionClosed,
        CKR_SESSION_COUNT = SessionCount,
        CKR_SESSION_HANDLE_INVALID = SessionHandleInvalid,
        CKR_SESSION_PARALLEL_NOT_SUPPORTED = SessionParallelNotSupported,
        CKR_SESSION_READ_ONLY = SessionReadOnly,
        CKR_SESSION_EXISTS = SessionExists,
        CKR_SESSION_READ_ONLY_EXISTS = SessionReadOnlyExists,
        CKR_SESSION_READ_WRITE_SO_EXISTS = SessionReadWriteSoExists,
        CKR_SIGNATURE_INVALID = SignatureInvalid,
        CKR_SIGNATURE_LEN_RANGE = SignatureLenRange,
        CKR_TEMPLATE_INCOMPLETE = TemplateIncomplete,
        CKR_TEMPLATE_INCONSISTENT = TemplateInconsistent,
        CKR_TOKEN_NOT_PRESENT = TokenNotPresent,
        CKR_TOKEN_NOT_RECOGNIZED = TokenNotRecognized,
        CKR_TOKEN_WRITE_PROTECTED = TokenWriteProtected,
        CKR_UNWRAPPING_KEY_HANDLE_INVALID = UnwrappingKeyHandleInvalid,
        CKR_UNWRAPPING_KEY_SIZE_RANGE = UnwrappingKeySizeRange,
        CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT = UnwrappingKeyTypeInconsistent,
        CKR_USER_ALREADY_LOGGED_IN = UserAlreadyLoggedIn,
        CKR_USER_NOT_LOGGED_IN = UserNotLoggedIn,
        CKR_USER_PIN_NOT_INITIALIZED = UserPinNotInitialized,
        CKR_USER_TYPE_INVALID = UserTypeInvalid,
        CKR_USER_ANOTHER_ALREADY_LOGGED_IN = UserAnotherAlreadyLoggedIn,
        CKR_USER_TOO_MANY_TYPES = UserTooManyTypes,
        CKR_WRAPPED_KEY_INVALID = WrappedKeyInvalid,
        CKR_WRAPPED_KEY_LEN_RANGE = WrappedKeyLenRange,
        CKR_WRAPPING_KEY_HANDLE_INVALID = WrappingKeyHandleInvalid,
        CKR_WRAPPING_KEY_SIZE_RANGE = WrappingKeySizeRange,
        CKR_WRAPPING_KEY_TYPE_INCONSISTENT = WrappingKeyTypeInconsistent,
        CKR_RANDOM_SEED_NOT_SUPPORTED = RandomSeedNotSupported,
        CKR_RANDOM_NO_RNG = RandomNoRng,
        CKR_DOMAIN_PARAMS_INVALID = DomainParamsInvalid,
        CKR_BUFFER_TOO_SMALL = BufferTooSmall,
        CKR_SAVED_STATE_INVALID = SavedStateInvalid,
        CKR_INFORMATION_SENSITIVE = InformationSensitive,
        CKR_STATE_UNSAVEABLE = StateUnsaveable,
        CKR_CRYPTOKI_NOT_INITIALIZED = CryptokiNotInitialized,
        CKR_CRYPTOKI_ALREADY_INITIALIZED = CryptokiAlreadyInitialized,
        CKR_MUTEX_BAD = MutexBad,
        CKR_MUTEX_NOT_LOCKED = MutexNotLocked,
        CKR_NEW_PIN_MODE = NewPinMode,
        CKR_NEXT_OTP = NextOtp,
        CKR_EXCEEDED_MAX_ITERATIONS = ExceededMaxIterations,
        CKR_FIPS_SELF_TEST_FAILED = FipsSelfTestFailed,
        CKR_LIBRARY_LOAD_FAILED = LibraryLoadFailed,
        CKR_PIN_TOO_WEAK = PinTooWeak,
        CKR_PUBLIC_KEY_INVALID = PublicKeyInvalid,
        CKR_FUNCTION_REJECTED = FunctionRejected,
    }
    {
        CKR_AEAD_DECRYPT_FAILED,
        CKR_TOKEN_RESOURCE_EXCEEDED,
        CKR_OPERATION_CANCEL_FAILED,
        CKR_KEY_EXHAUSTED,
        CKR_PENDING,
        CKR_SESSION_ASYNC_NOT_SUPPORTED,
        CKR_SEED_RANDOM_REQUIRED,
        CKR_OPERATION_NOT_VALIDATED,
        CKR_TOKEN_NOT_INITIALIZED,
        CKR_PARAMETER_SET_NOT_SUPPORTED,
    }
}
