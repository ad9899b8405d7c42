//! The lower half of the PKCS#11 backend, alone and on SoftHSM.

mod mechanisms;
mod softhsm;
mod unit;
