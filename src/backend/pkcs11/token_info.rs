//! What a token says about itself.

use cryptoki_sys::{
    CK_TOKEN_INFO, CKF_LOGIN_REQUIRED, CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_LOCKED,
    CKF_TOKEN_INITIALIZED, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED,
    CKF_WRITE_PROTECTED,
};

use super::mechanism::Ulong;
use crate::crypto::hash::digest;
use crate::model::algorithm::HashAlgorithm;
use crate::model::key::BackendInstance;

/// The parts of `CK_TOKEN_INFO` that are used. The clock is not: tokens without one fill it with anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TokenInfo {
    /// Without the padding of blanks.
    pub(super) label: String,
    /// Without the padding of blanks.
    pub(super) serial: String,
    pub(super) manufacturer: String,
    pub(super) model: String,
    pub(super) firmware: (u8, u8),
    pub(super) initialized: bool,
    pub(super) login_required: bool,
    pub(super) write_protected: bool,
    pub(super) user_pin_locked: bool,
    pub(super) user_pin_final_try: bool,
    pub(super) user_pin_count_low: bool,
    pub(super) officer_pin_locked: bool,
    pub(super) officer_pin_final_try: bool,
    /// `None` when there is no limit, or the token does not say.
    pub(super) max_rw_sessions: Option<usize>,
}

impl TokenInfo {
    pub(super) fn parse(info: &CK_TOKEN_INFO) -> Self {
        let flag = |flag: Ulong| info.flags & flag != 0;
        Self {
            label: text(&info.label),
            serial: text(&info.serialNumber),
            manufacturer: text(&info.manufacturerID),
            model: text(&info.model),
            firmware: (info.firmwareVersion.major, info.firmwareVersion.minor),
            initialized: flag(CKF_TOKEN_INITIALIZED),
            login_required: flag(CKF_LOGIN_REQUIRED),
            write_protected: flag(CKF_WRITE_PROTECTED),
            user_pin_locked: flag(CKF_USER_PIN_LOCKED),
            user_pin_final_try: flag(CKF_USER_PIN_FINAL_TRY),
            user_pin_count_low: flag(CKF_USER_PIN_COUNT_LOW),
            officer_pin_locked: flag(CKF_SO_PIN_LOCKED),
            officer_pin_final_try: flag(CKF_SO_PIN_FINAL_TRY),
            max_rw_sessions: match info.ulMaxRwSessionCount {
                // CK_EFFECTIVELY_INFINITE and CK_UNAVAILABLE_INFORMATION
                0 | Ulong::MAX => None,
                count => Some(usize::try_from(count).unwrap_or(usize::MAX)),
            },
        }
    }
}

/// What tells tokens apart; `None` without a serial number.
pub(super) fn instance(serial: &str) -> Option<BackendInstance> {
    if serial.len() <= BackendInstance::MAX_LENGTH {
        return BackendInstance::new(serial.as_bytes());
    }
    // 16 bytes in an encoding of the vendor's, each of which became three.
    let hash = digest(HashAlgorithm::Sha256, serial.as_bytes());
    BackendInstance::new(&hash)
}

/// Padded with blanks by the standard, with zeros by some modules, in any encoding by others.
fn text(padded: &[u8]) -> String {
    String::from_utf8_lossy(padded)
        .trim_end_matches([' ', '\0'])
        .to_owned()
}
