//! The lower half of the PKCS#11 backend, alone and on SoftHSM.

mod finding;
mod losing;
mod mechanisms;
mod schedules;
mod sharing;
mod softhsm;
mod unit;
mod using;
