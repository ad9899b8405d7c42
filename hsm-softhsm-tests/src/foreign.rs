use std::path::{Path, PathBuf};

use crate::Token;
use crate::environment::variable;
use crate::softhsm::MODULE;

/// A token that existed before: of the module that the environment names. All tests share it, so they tell their
/// keys apart by names of their own and remove them.
///
/// The fixture does not touch the module: what is under test initializes it.
#[derive(Clone, Debug)]
pub struct ForeignToken {
    module: PathBuf,
    label: String,
    serial: Option<String>,
    user_pin: String,
    initialization_string: Option<String>,
}

impl ForeignToken {
    /// The token that the environment names by its label, if it does.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let label = variable("STRONGROOM_TEST_PKCS11_TOKEN")?;
        let module = variable(MODULE).unwrap_or_else(|| {
            panic!(
                "STRONGROOM_TEST_PKCS11_TOKEN names a token: set {MODULE} to the path of its module"
            )
        });
        let user_pin = variable("STRONGROOM_TEST_PKCS11_PIN").unwrap_or_else(|| {
            panic!("set STRONGROOM_TEST_PKCS11_PIN to the user PIN of token {label:?}")
        });
        Some(Self {
            module: PathBuf::from(module),
            label,
            serial: variable("STRONGROOM_TEST_PKCS11_SERIAL"),
            user_pin,
            initialization_string: variable("STRONGROOM_TEST_PKCS11_INIT_ARGS"),
        })
    }

    /// Path of the shared library.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// Label of the token.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Serial number of the token, if the environment gives it.
    #[must_use]
    pub fn serial(&self) -> Option<&str> {
        self.serial.as_deref()
    }

    /// PIN of the user.
    #[must_use]
    pub fn user_pin(&self) -> &str {
        &self.user_pin
    }

    /// What the module wants to be initialized with, if anything.
    #[must_use]
    pub fn initialization_string(&self) -> Option<&str> {
        self.initialization_string.as_deref()
    }
}

/// The token that a test of the backend works with: its own of SoftHSM2, or the foreign one of the environment.
#[derive(Debug)]
#[non_exhaustive]
pub enum TokenUnderTest {
    /// Made for this test; everything about it can be changed.
    Own(Token),
    /// Shared by all tests.
    Foreign(ForeignToken),
}

impl TokenUnderTest {
    /// The foreign token if the environment names one, else a new one of SoftHSM2.
    #[must_use]
    pub fn get() -> Self {
        match ForeignToken::from_environment() {
            Some(token) => Self::Foreign(token),
            None => Self::Own(Token::new()),
        }
    }

    /// Path of the shared library.
    #[must_use]
    pub fn module(&self) -> &Path {
        match self {
            Self::Own(token) => token.module(),
            Self::Foreign(token) => token.module(),
        }
    }

    /// Label of the token.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Own(token) => token.label(),
            Self::Foreign(token) => token.label(),
        }
    }

    /// Serial number of the token, where it is known.
    #[must_use]
    pub fn serial(&self) -> Option<&str> {
        match self {
            Self::Own(token) => Some(token.serial()),
            Self::Foreign(token) => token.serial(),
        }
    }

    /// PIN of the user.
    #[must_use]
    pub fn user_pin(&self) -> &str {
        match self {
            Self::Own(token) => token.user_pin(),
            Self::Foreign(token) => token.user_pin(),
        }
    }

    /// What the module wants to be initialized with, if anything.
    #[must_use]
    pub fn initialization_string(&self) -> Option<&str> {
        match self {
            Self::Own(_) => None,
            Self::Foreign(token) => token.initialization_string(),
        }
    }

    /// The token as one of SoftHSM2, for what only such tests can do; else says that `what` is skipped.
    #[must_use]
    pub fn own_or_skip(&self, what: &str) -> Option<&Token> {
        match self {
            Self::Own(token) => Some(token),
            Self::Foreign(_) => {
                crate::skip(&format!(
                    "{what}: not with a token that is not the test's own"
                ));
                None
            }
        }
    }
}
