//! What a backend can say of how it keeps a key.

/// How a backend keeps a key, as far as it can honestly say: `None` where it does not know. The members are PKCS#11's
/// attributes of a private or secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct KeyCustody {
    /// Made in the device: `CKA_LOCAL`.
    pub local: Option<bool>,
    /// Cannot be read out in the clear: `CKA_SENSITIVE`.
    pub sensitive: Option<bool>,
    /// Never could be: `CKA_ALWAYS_SENSITIVE`.
    pub always_sensitive: Option<bool>,
    /// Can leave the device wrapped: `CKA_EXTRACTABLE`.
    pub extractable: Option<bool>,
    /// Never could: `CKA_NEVER_EXTRACTABLE`.
    pub never_extractable: Option<bool>,
}

impl KeyCustody {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        local: None,
        sensitive: None,
        always_sensitive: None,
        extractable: None,
        never_extractable: None,
    };

    /// The process has the key in its memory when it is used: software.
    pub const IN_PROCESS: Self = Self {
        local: Some(false),
        sensitive: Some(false),
        always_sensitive: Some(false),
        extractable: Some(true),
        never_extractable: Some(false),
    };
}
