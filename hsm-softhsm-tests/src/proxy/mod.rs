//! A module that passes every call on to another one, and fails where a test wants it to.
//!
//! ```no_run
//! use cryptoki_sys::CKR_DEVICE_ERROR;
//! use hsm_softhsm_tests::proxy::{Fault, Function, Proxy};
//!
//! let proxy = Proxy::new();
//! let token = proxy.new_token();
//! // ... what is under test works with token.module(), and then:
//! let strikes = proxy.inject(
//!     Fault::answer(Function::GenerateKeyPair, CKR_DEVICE_ERROR).after_the_call(),
//! );
//! // ... makes a key
//! assert_eq!(strikes.count(), 1);
//! ```

mod fault;
mod function;
mod host;
mod library;
mod link;
mod state;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cryptoki_sys::{CK_MECHANISM_TYPE, CK_RV, CK_ULONG, CKR_OK};

pub use fault::{Fault, Strikes};
pub use function::Function;

use crate::configuration::Configuration;
use crate::scratch::{Scratch, executables};
use crate::softhsm::SoftHsm;
use crate::token::Token;
use link::Control;
use state::{Death, State};

/// A copy of the shared library of this crate, loaded in this process on top of another module. Proxies are
/// independent of each other.
///
/// The module below is initialized by the fixture, past the proxy, so what is under test finds it initialized. To
/// have it initialize, and finalize, the module itself: [`SoftHsm::finalize`] of [`Proxy::softhsm`] first.
#[derive(Debug)]
pub struct Proxy {
    path: PathBuf,
    softhsm: Option<SoftHsm>,
    state: &'static State,
    control: Control,
    _scratch: Scratch,
}

impl Proxy {
    /// On top of an instance of SoftHSM2 of its own.
    #[expect(clippy::new_without_default, reason = "it loads libraries")]
    #[must_use]
    pub fn new() -> Self {
        Self::over(SoftHsm::copy(&Configuration::new()))
    }

    /// On top of an instance of SoftHSM2.
    #[must_use]
    pub fn over(softhsm: SoftHsm) -> Self {
        let module = softhsm.module().to_owned();
        let configuration = Some(softhsm.configuration());
        Self::load(&module, configuration, Some(softhsm))
    }

    /// On top of any module.
    #[must_use]
    pub fn over_module(module: &Path) -> Self {
        Self::load(module, None, None)
    }

    fn load(module: &Path, configuration: Option<PathBuf>, softhsm: Option<SoftHsm>) -> Self {
        let scratch = Scratch::executable();
        let path = scratch.path().join("proxy.so");
        fs::copy(built_library(), &path).expect("the shared library can be copied");
        let state = Box::leak(Box::new(State::new(configuration)));
        let control = link::attach(&path, module, state);
        Self {
            path,
            softhsm,
            state,
            control,
            _scratch: scratch,
        }
    }

    /// Path of the shared library, for what is under test.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.path
    }

    /// The instance below.
    ///
    /// # Panics
    ///
    /// For a proxy over a module that is not the fixture's.
    #[must_use]
    pub fn softhsm(&self) -> &SoftHsm {
        self.softhsm.as_ref().expect("a proxy over SoftHSM2")
    }

    /// A new token below; its [`module`](Token::module) is the proxy, all else of it goes past it uncounted.
    #[must_use]
    pub fn new_token(&self) -> Token {
        self.softhsm().new_token().through(&self.path)
    }

    /// How many calls of a function have reached the proxy; refused ones count.
    #[must_use]
    pub fn calls(&self, function: Function) -> u64 {
        self.state.lock().calls(function)
    }

    /// Plans a fault; it strikes whether anyone counts or not. Of several that answer the same call, the first injected wins.
    #[expect(clippy::must_use_candidate, reason = "not everyone counts")]
    pub fn inject(&self, fault: Fault) -> Strikes {
        self.state.inject(fault)
    }

    /// Ends all that was planned or changed.
    pub fn heal(&self) {
        self.state.lock().heal();
    }

    /// Every call answers this code, C_Initialize and C_Finalize too, until the proxy is [healed](Self::heal).
    /// Sessions are still there then.
    pub fn die(&self, code: CK_RV) {
        self.state.lock().death = Some(Death::UntilRevived(code));
    }

    /// Every call answers this code until the module has been finalized and initialized again.
    pub fn die_until_reinitialized(&self, code: CK_RV) {
        self.state.lock().death = Some(Death::UntilReinitialized(code));
    }

    /// Closes all sessions in the module below, as if they had timed out: their handles are invalid, nobody is
    /// logged in, handles of private objects are gone.
    pub fn lose_sessions(&self) {
        let answer = self.control.lose_sessions();
        assert_eq!(answer, CKR_OK, "the module below lists its slots");
    }

    /// Locks the user's PIN once it was wrong this often in a row: then C_Login answers CKR_PIN_LOCKED without
    /// asking the module, which the flags of the token tell about as PKCS#11 says.
    pub fn lock_pin_after(&self, attempts: u64) {
        let mut state = self.state.lock();
        state.pin_attempts = Some(attempts);
        state.failed_logins = 0;
    }

    /// How often in a row the user's PIN was wrong.
    #[must_use]
    pub fn failed_logins(&self) -> u64 {
        self.state.lock().failed_logins
    }

    /// Takes a mechanism out of the list, and refuses it: a `MechanismType` of cryptoki, or a number.
    pub fn remove_mechanism(&self, mechanism: impl Into<CK_MECHANISM_TYPE>) {
        self.state.lock().removed.insert(mechanism.into());
    }

    /// Makes C_GenerateKeyPair give RSA keys of this many bits, or with this public exponent, whatever the caller asks for.
    pub fn overrule_rsa(&self, bits: Option<CK_ULONG>, exponent: Option<u64>) {
        self.state.lock().overrule = host::RsaParameters {
            bits: bits.unwrap_or(0),
            exponent: exponent.unwrap_or(0),
        };
    }

    /// Decides what C_Decrypt answers with CKM_RSA_X_509, given the ciphertext and what the module answered. It must
    /// not panic.
    pub fn rewrite_raw_decryption(
        &self,
        rewrite: impl Fn(&[u8], Result<&[u8], CK_RV>) -> Result<Vec<u8>, CK_RV> + Send + Sync + 'static,
    ) {
        self.state.lock().rewriter = Some(Arc::new(rewrite));
    }

    /// Makes C_Decrypt with CKM_RSA_X_509 answer this block, whatever the ciphertext.
    pub fn answer_raw_decryption(&self, block: &[u8], zeros: LeadingZeros) {
        let block = zeros.of(block).to_vec();
        self.rewrite_raw_decryption(move |_, _| Ok(block.clone()));
    }

    /// Makes C_Decrypt with CKM_RSA_X_509 answer the truth without its leading zeros, as some modules do.
    pub fn cut_leading_zeros(&self) {
        self.rewrite_raw_decryption(|_, answer| {
            answer.map(|block| LeadingZeros::Cut.of(block).to_vec())
        });
    }
}

/// What becomes of the zeros that a block begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LeadingZeros {
    /// The block has the length of the modulus.
    Kept,
    /// The block is a number, and shorter.
    Cut,
}

impl LeadingZeros {
    fn of(self, block: &[u8]) -> &[u8] {
        match self {
            Self::Kept => block,
            Self::Cut => {
                let zeros = block.iter().take_while(|byte| **byte == 0).count();
                block.get(zeros..).unwrap_or_default()
            }
        }
    }
}

/// The shared library as Cargo built it together with the tests: beside them.
fn built_library() -> PathBuf {
    let name = format!(
        "{}hsm_softhsm_tests{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    let tests = executables();
    let places = [tests.join(&name), tests.join("..").join(&name)];
    places
        .iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!(
                "the proxy's shared library is missing; cargo builds it with the integration tests of \
                 hsm-softhsm-tests. Looked for: {places:?}"
            )
        })
        .clone()
}
