use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use cryptoki::context::Pkcs11;
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

use crate::configuration::Configuration;
use crate::environment::variable;
use crate::scratch::remove_tree;
use crate::softhsm::SoftHsm;

/// Tells a child process which token it was lent.
const LENT: &str = "STRONGROOM_TEST_SOFTHSM_TOKEN";

/// A token of SoftHSM2, for one test. Its objects are gone when it is dropped.
#[derive(Debug)]
pub struct Token {
    softhsm: SoftHsm,
    module: PathBuf,
    label: String,
    serial: String,
    user_pin: String,
    so_pin: String,
    directory: PathBuf,
}

impl Token {
    /// A new token of [`SoftHsm::main`], or of a copy that is shared like it.
    #[expect(
        clippy::new_without_default,
        reason = "a token is nothing to have by default"
    )]
    #[must_use]
    pub fn new() -> Self {
        SoftHsm::take_token()
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
        Some(Self {
            module: softhsm.module().to_owned(),
            directory: directory_of(&softhsm, &serial),
            softhsm,
            label,
            serial,
            user_pin,
            so_pin,
        })
    }

    /// Makes this the token that [`Token::lent`] gives in a child process. The directory remains this process's.
    ///
    /// Not for tokens of the main instance, for the same reason as [`SoftHsm::second_instance`].
    pub fn lend(&self, child: &mut Command) {
        self.softhsm.require_own();
        self.softhsm.set_in(child);
        child.env(
            LENT,
            [&*self.label, &*self.serial, &*self.user_pin, &*self.so_pin].join(","),
        );
    }

    /// Initializes a slot by C_InitToken and C_InitPIN.
    pub(crate) fn make(softhsm: SoftHsm) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let label = format!("strongroom {} {count}", std::process::id());
        let user_pin = format!("user {count}");
        let so_pin = format!("officer {count}");
        let pkcs11 = softhsm.pkcs11();
        let listing = softhsm.lock();
        let slot = free_slot(&pkcs11);
        pkcs11
            .init_token(slot, &pin(&so_pin), &label)
            .expect("a free slot takes a token");
        let serial = serial_in(&pkcs11, slot, &label);
        let session = pkcs11
            .open_rw_session(slot)
            .expect("a new token takes a session");
        session
            .login(UserType::So, Some(&pin(&so_pin)))
            .expect("the PIN just given");
        session
            .init_pin(&pin(&user_pin))
            .expect("the officer sets the user's PIN");
        session.logout().expect("who is logged in can log out");
        drop(session);
        // Adds the next free slot, so that no later listing does.
        pkcs11
            .get_slots_with_token()
            .expect("modules list their slots");
        drop(listing);
        Self {
            module: softhsm.module().to_owned(),
            directory: directory_of(&softhsm, &serial),
            softhsm,
            label,
            serial,
            user_pin,
            so_pin,
        }
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
        &self.label
    }

    /// Serial number of the token.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// PIN of the user.
    #[must_use]
    pub fn user_pin(&self) -> &str {
        &self.user_pin
    }

    /// PIN of the security officer.
    #[must_use]
    pub fn so_pin(&self) -> &str {
        &self.so_pin
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
        slot_of(&self.pkcs11(), &self.serial)
            .unwrap_or_else(|| panic!("no slot has token {:?} now", self.label))
    }

    /// A session, writing and logged in, past any proxy. Being logged in is one state of all sessions that a process
    /// has with a token: closing the last one ends it.
    #[must_use]
    pub fn session(&self) -> Session {
        log_in(&self.pkcs11(), self.slot(), &self.user_pin)
    }

    /// Where SoftHSM2 keeps the token.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How many objects the token has, by the files of its directory.
    #[must_use]
    pub fn object_files(&self) -> usize {
        fs::read_dir(&self.directory)
            .expect("the directory of the token is in place")
            .map(|entry| entry.expect("a directory can be read").path())
            .filter(|path| path.extension() == Some(OsStr::new("object")))
            .filter(|path| path.file_stem() != Some(OsStr::new("token")))
            .count()
    }

    /// Takes the token's directory away, as a token that is pulled out.
    pub fn move_away(&self) {
        fs::rename(&self.directory, self.away()).expect("the token is in place");
    }

    /// Puts it back.
    pub fn move_back(&self) {
        fs::rename(self.away(), &self.directory).expect("the token was moved away");
    }

    fn away(&self) -> PathBuf {
        let name = self.softhsm.away();
        name.with_file_name(format!("away-{}", self.serial))
    }

    /// Removes the token and all that is in it.
    pub fn remove(&self) {
        remove_tree(&self.directory).expect("the token is in place");
    }

    /// Takes the permission to write from the token's directory and files. False if that does not stop this user:
    /// root is not stopped.
    #[must_use]
    pub fn make_read_only(&self) -> bool {
        self.set_modes(0o444, 0o555);
        let attempt = self.directory.join("attempt");
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
        for entry in fs::read_dir(&self.directory).expect("the token is in place") {
            set(&entry.expect("a directory can be read").path(), of_files);
        }
        set(&self.directory, of_directory);
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if self.softhsm.is_own() {
            drop(remove_tree(&self.directory));
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

/// SoftHSM2 always has one slot whose token is not initialized.
fn free_slot(pkcs11: &Pkcs11) -> Slot {
    let slots = pkcs11
        .get_slots_with_token()
        .expect("modules list their slots");
    slots
        .into_iter()
        .rfind(|slot| {
            pkcs11
                .get_token_info(*slot)
                .is_ok_and(|token| !token.token_initialized())
        })
        .expect("SoftHSM2 has a free slot")
}

fn serial_in(pkcs11: &Pkcs11, slot: Slot, label: &str) -> String {
    let token = pkcs11
        .get_token_info(slot)
        .expect("a new token tells about itself");
    assert_eq!(token.label(), label, "the slot has the token just made");
    token.serial_number().to_owned()
}

/// The directory has the name of a UUID, whose end is the serial number.
fn directory_of(softhsm: &SoftHsm, serial: &str) -> PathBuf {
    fs::read_dir(softhsm.tokens())
        .expect("the directory of the tokens is in place")
        .map(|entry| entry.expect("a directory can be read").path())
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.replace('-', "").ends_with(serial)
        })
        .unwrap_or_else(|| panic!("no directory of the token with serial number {serial}"))
}

fn pin(pin: &str) -> AuthPin {
    AuthPin::new(pin.into())
}
