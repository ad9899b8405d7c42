//! The functions of PKCS#11 2.40 by their names.

macro_rules! functions {
    ($($name:ident)*) => {
        /// A function of PKCS#11 2.40, without its `C_`.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[expect(missing_docs, reason = "the names of PKCS#11")]
        #[non_exhaustive]
        #[repr(u32)]
        pub enum Function {
            $($name,)*
        }

        impl Function {
            /// All of them, in the order of the function list.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

functions! {
    Initialize
    Finalize
    GetInfo
    GetFunctionList
    GetSlotList
    GetSlotInfo
    GetTokenInfo
    GetMechanismList
    GetMechanismInfo
    InitToken
    InitPIN
    SetPIN
    OpenSession
    CloseSession
    CloseAllSessions
    GetSessionInfo
    GetOperationState
    SetOperationState
    Login
    Logout
    CreateObject
    CopyObject
    DestroyObject
    GetObjectSize
    GetAttributeValue
    SetAttributeValue
    FindObjectsInit
    FindObjects
    FindObjectsFinal
    EncryptInit
    Encrypt
    EncryptUpdate
    EncryptFinal
    DecryptInit
    Decrypt
    DecryptUpdate
    DecryptFinal
    DigestInit
    Digest
    DigestUpdate
    DigestKey
    DigestFinal
    SignInit
    Sign
    SignUpdate
    SignFinal
    SignRecoverInit
    SignRecover
    VerifyInit
    Verify
    VerifyUpdate
    VerifyFinal
    VerifyRecoverInit
    VerifyRecover
    DigestEncryptUpdate
    DecryptDigestUpdate
    SignEncryptUpdate
    DecryptVerifyUpdate
    GenerateKey
    GenerateKeyPair
    WrapKey
    UnwrapKey
    DeriveKey
    SeedRandom
    GenerateRandom
    GetFunctionStatus
    CancelFunction
    WaitForSlotEvent
}

impl Function {
    pub(crate) fn number(self) -> u32 {
        self as u32
    }

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|function| function.number() == number)
    }
}
