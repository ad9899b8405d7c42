use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use crate::configuration::Configuration;
use crate::environment::{self, variable};
use crate::issued::Issued;
use crate::scratch::Scratch;

/// Names the module: SoftHSM2's if no token is named, else a foreign one.
pub(crate) const MODULE: &str = "STRONGROOM_TEST_PKCS11_MODULE";

/// Tells a child process the directory of its parent's instance.
const HOME: &str = "STRONGROOM_TEST_SOFTHSM_HOME";

/// How many tokens an instance for all tests is stocked with.
const STOCK: usize = 16;

/// The tokens for the next tests.
static SUPPLY: Mutex<Vec<(SoftHsm, Issued)>> = Mutex::new(Vec::new());

/// Where packages put the shared library; `run.sh` has the same list.
const PLACES: &[&str] = &[
    // Debian, Ubuntu
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    // Fedora
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    // Alpine, Arch, 32 bits
    "/usr/lib/pkcs11/libsofthsm2.so",
    "/usr/lib/libsofthsm2.so",
    // Homebrew, and built from source
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// Path of SoftHSM2's shared library: as `STRONGROOM_TEST_PKCS11_MODULE` says, if no foreign token is meant by it,
/// else where packages put it.
#[must_use]
pub fn library_path() -> PathBuf {
    let named = variable(MODULE).filter(|_| variable("STRONGROOM_TEST_PKCS11_TOKEN").is_none());
    if let Some(path) = named {
        let path = PathBuf::from(path);
        assert!(
            path.is_file(),
            "{MODULE} names {}, which is no file",
            path.display()
        );
        return path;
    }
    PLACES
        .iter()
        .map(PathBuf::from)
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!(
                "SoftHSM2 is missing. Install it (apt-get install softhsm2, dnf install softhsm, brew install \
                 softhsm), or start the tests with hsm-softhsm-tests/run.sh, which does; if it is in an unusual \
                 place, set {MODULE} to the path of libsofthsm2.so. Looked for: {PLACES:?}"
            )
        })
}

/// SoftHSM2, loaded and initialized in this process, with a directory of tokens.
///
/// A clone is the same instance. It stays loaded until the process ends, as loaded modules do, and its directory
/// until the last clone and token of it are dropped.
#[derive(Clone, Debug)]
pub struct SoftHsm(Arc<Instance>);

#[derive(Debug)]
struct Instance {
    home: Arc<Home>,
    library: PathBuf,
    /// Holds the copy of the library.
    _copied: Option<Scratch>,
    pkcs11: Pkcs11,
}

/// The directory of one configuration.
#[derive(Debug)]
struct Home {
    path: PathBuf,
    /// None when it is the parent process's.
    scratch: Option<Scratch>,
    /// Whether all tests of the process make tokens there.
    common: bool,
    /// Making two tokens at once yields one in one slot; for listing, see [`SoftHsm::main`].
    slots: Mutex<()>,
}

impl SoftHsm {
    /// The instance at the path where the system has it, which tests of one process share. What initializes the
    /// module after this finds it initialized.
    ///
    /// It has its tokens from the start: SoftHSM2 2.6.1 aborts the process, or spoils its memory, within a few dozen
    /// tokens if slots are listed while another thread makes one, for listing adds a free slot without a lock.
    /// [`Token::new`](crate::Token::new) hands them out; when they are used up, those of a copy that is like it.
    ///
    /// In a child process that its parent lent a token: on the same directory as the parent's.
    #[must_use]
    pub fn main() -> Self {
        static MAIN: OnceLock<SoftHsm> = OnceLock::new();
        MAIN.get_or_init(|| {
            let home = match variable(HOME) {
                Some(path) => Home::of_parent(PathBuf::from(path)),
                None => Home::new(&Configuration::of_process(), true),
            };
            environment::set_configuration(&home.configuration());
            let main = Self::load(Arc::new(home), library_path(), None);
            if main.0.home.common {
                main.stock(&mut supply());
            }
            main
        })
        .clone()
    }

    /// Another instance in the same process: a copy of the shared library, with its own state, configuration and
    /// tokens.
    #[must_use]
    pub fn copy(configuration: &Configuration) -> Self {
        Self::load_copy(Arc::new(Home::new(configuration, false)))
    }

    /// A token out of those that were made before anyone could list slots, and its instance.
    pub(crate) fn take() -> (Self, Issued) {
        // Before the supply is locked, which it fills.
        drop(Self::main());
        let mut supply = supply();
        if supply.is_empty() {
            let home = Home::new(&Configuration::of_process(), true);
            Self::load_copy(Arc::new(home)).stock(&mut supply);
        }
        supply.pop().expect("it was filled")
    }

    fn stock(&self, supply: &mut Vec<(Self, Issued)>) {
        supply.extend((0..STOCK).map(|_| (self.clone(), self.issue())));
    }

    /// Makes a token.
    pub(crate) fn issue(&self) -> Issued {
        let _listing = self.lock();
        Issued::make(&self.0.pkcs11, &self.tokens())
    }

    /// One more instance on the same tokens, as another process would be: of a [copy](Self::copy), or of what was
    /// lent.
    ///
    /// Not of the main instance: SoftHSM2 2.6.1 also aborts the process ("Assertion `result.second' failed") if it
    /// starts while tokens come and go in the directory.
    #[must_use]
    pub fn second_instance(&self) -> Self {
        self.require_own();
        Self::load_copy(self.0.home.clone())
    }

    fn load_copy(home: Arc<Home>) -> Self {
        let scratch = Scratch::executable();
        let library = scratch.path().join("libsofthsm2.so");
        fs::copy(library_path(), &library).expect("the shared library can be copied");
        Self::load(home, library, Some(scratch))
    }

    fn load(home: Arc<Home>, library: PathBuf, copied: Option<Scratch>) -> Self {
        let pkcs11 = Pkcs11::new(&library)
            .unwrap_or_else(|error| panic!("{} does not load: {error}", library.display()));
        // Others hold functions and sessions of the module; it is never unloaded below them.
        std::mem::forget(pkcs11.clone());
        let softhsm = Self(Arc::new(Instance {
            home,
            library,
            _copied: copied,
            pkcs11,
        }));
        // An instance that starts finds its directory of tokens as it is to be: nobody else is at it.
        match softhsm.initialize() {
            Ok(()) => softhsm,
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => panic!(
                "SoftHSM2 was initialized before the fixture could give it a configuration: ask for a token first"
            ),
            Err(error) => panic!("SoftHSM2 does not start: {error}"),
        }
    }

    /// Path of the shared library.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.0.library
    }

    /// The directory that has a directory for each token.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        self.0.home.tokens()
    }

    /// The module through plain PKCS#11.
    #[must_use]
    pub fn pkcs11(&self) -> Pkcs11 {
        self.0.pkcs11.clone()
    }

    /// Initializes the module with its configuration; after [`SoftHsm::finalize`].
    ///
    /// # Errors
    ///
    /// Those of `C_Initialize`: `CKR_GENERAL_ERROR` when the directory of tokens is missing.
    pub fn initialize(&self) -> cryptoki::error::Result<()> {
        self.with_configuration(|| {
            self.0
                .pkcs11
                .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        })
    }

    /// Finalizes the module, so that what is under test initializes it itself. All sessions and handles are gone.
    ///
    /// Not the main instance, which is everyone's.
    pub fn finalize(&self) {
        self.require_own();
        self.pkcs11()
            .finalize()
            .expect("an initialized module can be finalized");
    }

    /// Runs `work` while the environment has the configuration of this instance, which the module reads whenever it
    /// is initialized. Needed around what initializes a copy; the main instance's is there always, and a
    /// [`Proxy`](crate::Proxy) does it by itself.
    pub fn with_configuration<T>(&self, work: impl FnOnce() -> T) -> T {
        environment::with_configuration(&self.0.home.configuration(), work)
    }

    /// Takes the directory of all tokens away; as [`Token::move_away`](crate::Token::move_away).
    pub fn move_away(&self) {
        self.require_own();
        fs::rename(self.tokens(), self.away()).expect("the tokens are in place");
    }

    /// Puts it back.
    pub fn move_back(&self) {
        fs::rename(self.away(), self.tokens()).expect("the tokens were moved away");
    }

    /// Where things are moved away to.
    pub(crate) fn away(&self) -> PathBuf {
        self.0.home.path.join("away")
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.0.home.configuration()
    }

    /// Makes a child process use the same directory.
    pub(crate) fn set_in(&self, child: &mut Command) {
        child.env(HOME, &self.0.home.path);
    }

    /// That no other test has tokens there.
    pub(crate) fn require_own(&self) {
        assert!(
            !self.0.home.common,
            "the main instance is everyone's: use a copy (SoftHsm::copy, Token::alone)"
        );
    }

    /// Held while a token is made, and while slots are listed.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        self.0
            .home
            .slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether tokens are this process's to remove.
    pub(crate) fn is_own(&self) -> bool {
        self.0.home.scratch.is_some()
    }
}

fn supply() -> MutexGuard<'static, Vec<(SoftHsm, Issued)>> {
    SUPPLY.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Home {
    fn new(configuration: &Configuration, common: bool) -> Self {
        let scratch = Scratch::in_memory();
        let home = Self {
            path: scratch.path().to_owned(),
            scratch: Some(scratch),
            common,
            slots: Mutex::default(),
        };
        fs::create_dir(home.tokens()).expect("a new directory takes another");
        fs::write(home.configuration(), configuration.text(&home.tokens()))
            .expect("a new directory takes a file");
        home
    }

    fn of_parent(path: PathBuf) -> Self {
        Self {
            path,
            scratch: None,
            common: false,
            slots: Mutex::default(),
        }
    }

    fn configuration(&self) -> PathBuf {
        self.path.join("softhsm2.conf")
    }

    fn tokens(&self) -> PathBuf {
        self.path.join("tokens")
    }
}
