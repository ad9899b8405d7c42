use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;

use crate::configuration::Configuration;
use crate::environment::variable;
use crate::issued::{Issued, directory_of, pin};
use crate::scratch::remove_tree;
use crate::softhsm::SoftHsm;

/// Tells a child process which token it was lent.
const LENT: &str = "STRONGROOM_TEST_SOFTHSM_TOKEN";

/// A token of SoftHSM2, for one test. Its objects are gone when it is dropped.
#[derive(Debug)]
pub struct Token {
    softhsm: SoftHsm,
    module: PathBuf,
    issued: Issued,
}

impl Token {
    /// A new token of [`SoftHsm::main`], or of a copy that is shared like it.
    #[expect(
        clippy::new_without_default,
        reason = "a token is nothing to have by default"
    )]
    #[must_use]
    pub fn new() -> Self {
        let (softhsm, issued) = SoftHsm::take();
        Self::of(softhsm, issued)
    }

    /// A new token of an instance of its own, as [`lend`](Self::lend), [`SoftHsm::second_instance`] and
    /// [`SoftHsm::finalize`] need it.
    #[must_use]
    pub fn alone() -> Self {
        SoftHsm::copy(&Configuration::new()).new_token()
    }

    /// The token that the parent process [lent](Self::lend) to this one, of [`SoftHsm::main`].
    #[must_use]
    pub fn lent() -> Option<Self> {
        let lent = variable(LENT)?;
        let mut parts = lent.split(',').map(str::to_owned);
        let mut part = || parts.next().expect("as `lend` wrote it");
        let (label, serial, user_pin, so_pin) = (part(), part(), part(), part());
        let softhsm = SoftHsm::main();
        let issued = Issued {
            directory: directory_of(&softhsm.tokens(), &serial),
            label,
            serial,
            user_pin,
            so_pin,
        };
        Some(Self::of(softhsm, issued))
    }

    fn of(softhsm: SoftHsm, issued: Issued) -> Self {
        Self {
            module: softhsm.module().to_owned(),
            softhsm,
            issued,
        }
    }

    /// Makes this the token that [`Token::lent`] gives in a child process. The directory remains this process's.
    ///
    /// Not for tokens of the main instance, for the same reason as [`SoftHsm::second_instance`].
    pub fn lend(&self, child: &mut Command) {
        self.softhsm.require_own();
        self.softhsm.set_in(child);
        child.env(
            LENT,
            [
                &*self.issued.label,
                &*self.issued.serial,
                &*self.issued.user_pin,
                &*self.issued.so_pin,
            ]
            .join(","),
        );
    }

    /// The same token as the module at this path shows it.
    pub(crate) fn through(mut self, module: &Path) -> Self {
        module.clone_into(&mut self.module);
        self
    }

    /// Path of the shared library to reach the token with.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// The instance that has the token.
    #[must_use]
    pub fn softhsm(&self) -> &SoftHsm {
        &self.softhsm
    }

    /// Label of the token.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.issued.label
    }

    /// Serial number of the token.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.issued.serial
    }

    /// PIN of the user.
    #[must_use]
    pub fn user_pin(&self) -> &str {
        &self.issued.user_pin
    }

    /// PIN of the security officer.
    #[must_use]
    pub fn so_pin(&self) -> &str {
        &self.issued.so_pin
    }

    /// The module through plain PKCS#11, past any proxy.
    #[must_use]
    pub fn pkcs11(&self) -> Pkcs11 {
        self.softhsm.pkcs11()
    }

    /// The slot that has the token now.
    #[must_use]
    pub fn slot(&self) -> Slot {
        let _listing = self.softhsm.lock();
        slot_of(&self.pkcs11(), &self.issued.serial)
            .unwrap_or_else(|| panic!("no slot has token {:?} now", self.issued.label))
    }

    /// A session, writing and logged in, past any proxy. Being logged in is one state of all sessions that a process
    /// has with a token: closing the last one ends it.
    #[must_use]
    pub fn session(&self) -> Session {
        log_in(&self.pkcs11(), self.slot(), &self.issued.user_pin)
    }

    /// Where SoftHSM2 keeps the token.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.issued.directory
    }

    /// How many objects the token has, by the files of its directory.
    #[must_use]
    pub fn object_files(&self) -> usize {
        fs::read_dir(&self.issued.directory)
            .expect("the directory of the token is in place")
            .map(|entry| entry.expect("a directory can be read").path())
            .filter(|path| path.extension() == Some(OsStr::new("object")))
            .filter(|path| path.file_stem() != Some(OsStr::new("token")))
            .count()
    }

    /// Takes the token's directory away, as a token that is pulled out.
    pub fn move_away(&self) {
        fs::rename(&self.issued.directory, self.away()).expect("the token is in place");
    }

    /// Puts it back.
    pub fn move_back(&self) {
        fs::rename(self.away(), &self.issued.directory).expect("the token was moved away");
    }

    fn away(&self) -> PathBuf {
        let name = self.softhsm.away();
        name.with_file_name(format!("away-{}", self.issued.serial))
    }

    /// Removes the token and all that is in it.
    pub fn remove(&self) {
        remove_tree(&self.issued.directory).expect("the token is in place");
    }

    /// Takes the permission to write from the token's directory and files. False if that does not stop this user:
    /// root is not stopped.
    #[must_use]
    pub fn make_read_only(&self) -> bool {
        self.set_modes(0o444, 0o555);
        let attempt = self.issued.directory.join("attempt");
        let stopped = fs::File::create(&attempt)
            .and_then(|mut file| file.write_all(b"-"))
            .is_err();
        drop(fs::remove_file(attempt));
        stopped
    }

    /// Undoes [`make_read_only`](Self::make_read_only).
    pub fn make_writable(&self) {
        self.set_modes(0o600, 0o700);
    }

    fn set_modes(&self, of_files: u32, of_directory: u32) {
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
                .expect("modes of one's own files can be set");
        };
        for entry in fs::read_dir(&self.issued.directory).expect("the token is in place") {
            set(&entry.expect("a directory can be read").path(), of_files);
        }
        set(&self.issued.directory, of_directory);
    }
}

impl SoftHsm {
    /// A new token of a [copy](Self::copy); while no other thread lists slots past the fixture, for the reason that
    /// [`SoftHsm::main`] tells.
    #[must_use]
    pub fn new_token(&self) -> Token {
        self.require_own();
        Token::of(self.clone(), self.issue())
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if self.softhsm.is_own() {
            drop(remove_tree(&self.issued.directory));
            drop(remove_tree(&self.away()));
        }
    }
}

/// A session of the token in `slot`, writing and logged in.
///
/// # Panics
///
/// If the token refuses either.
#[must_use]
pub(crate) fn log_in(pkcs11: &Pkcs11, slot: Slot, user_pin: &str) -> Session {
    let session = pkcs11
        .open_rw_session(slot)
        .expect("the token takes a session");
    match session.login(UserType::User, Some(&pin(user_pin))) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => session,
        Err(error) => panic!("the token does not take the PIN: {error}"),
    }
}

/// The slot with the token of this serial number. Slots whose token is gone have no information to give.
fn slot_of(pkcs11: &Pkcs11, serial: &str) -> Option<Slot> {
    let slots = pkcs11
        .get_slots_with_token()
        .expect("modules list their slots");
    slots.into_iter().find(|slot| {
        pkcs11
            .get_token_info(*slot)
            .is_ok_and(|token| token.serial_number() == serial)
    })
}
