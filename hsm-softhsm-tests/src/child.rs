//! The test binary once more, as another process: with its own configuration, or to be killed.
//!
//! A test that has a part for a child begins with asking whether it is that child:
//!
//! ```no_run
//! use hsm_softhsm_tests::{Token, child};
//!
//! # /*
//! #[test]
//! # */
//! fn keys_outlive_a_process() {
//!     if let Some(job) = child::job() {
//!         let token = Token::lent().expect("lent by the parent");
//!         // ... makes a key
//!         return;
//!     }
//!     let token = Token::alone();
//!     let mut command = child::command("keys_outlive_a_process", "make a key");
//!     token.lend(&mut command);
//!     assert!(command.status().unwrap().success());
//!     // ... finds the key
//! }
//! ```

use std::process::Command;

use crate::environment::variable;

const JOB: &str = "STRONGROOM_TEST_CHILD";

/// This binary, to run the one test of this full name (`module::name`) with a job.
///
/// A name that does not exist runs nothing and succeeds: a parent looks at what the child did.
#[must_use]
pub fn command(test: &str, job: &str) -> Command {
    assert!(!job.is_empty(), "a job has a name");
    let executable = std::env::current_exe().expect("the path of this executable");
    let mut command = Command::new(executable);
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(JOB, job);
    command
}

/// What this process is to do, if it is such a child.
#[must_use]
pub fn job() -> Option<String> {
    variable(JOB)
}
