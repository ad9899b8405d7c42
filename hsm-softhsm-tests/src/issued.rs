//! Tokens of SoftHSM2 as they are made: what is needed to use them, without the instance that has them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use cryptoki::context::Pkcs11;
use cryptoki::session::UserType;
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

/// A token that was made.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) label: String,
    pub(crate) serial: String,
    pub(crate) user_pin: String,
    pub(crate) so_pin: String,
    pub(crate) directory: PathBuf,
}

impl Issued {
    /// Initializes a slot by C_InitToken and C_InitPIN, while nobody lists slots. `tokens` is the directory that has a
    /// directory for each token.
    pub(crate) fn make(pkcs11: &Pkcs11, tokens: &Path) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let label = format!("strongroom {} {count}", std::process::id());
        let user_pin = format!("user {count}");
        let so_pin = format!("officer {count}");
        let slot = free_slot(pkcs11);
        pkcs11
            .init_token(slot, &pin(&so_pin), &label)
            .expect("a free slot takes a token");
        let serial = serial_in(pkcs11, slot, &label);
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
        Self {
            directory: directory_of(tokens, &serial),
            label,
            serial,
            user_pin,
            so_pin,
        }
    }
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
pub(crate) fn directory_of(tokens: &Path, serial: &str) -> PathBuf {
    fs::read_dir(tokens)
        .expect("the directory of the tokens is in place")
        .map(|entry| entry.expect("a directory can be read").path())
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.replace('-', "").ends_with(serial)
        })
        .unwrap_or_else(|| panic!("no directory of the token with serial number {serial}"))
}

pub(crate) fn pin(pin: &str) -> AuthPin {
    AuthPin::new(pin.into())
}
