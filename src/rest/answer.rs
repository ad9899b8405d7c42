//! What operations answer.

use http::StatusCode;
use serde::Serialize;

use super::problem::Problem;
use super::response::{Response, json, json_with_secret};

/// What an operation answers.
pub(super) type Answer = Result<Response, Problem>;

/// 200 with this body.
pub(super) fn ok(body: &impl Serialize) -> Answer {
    Ok(json(StatusCode::OK, body))
}

/// 200 with this body, which holds byte strings of together `secret` bytes.
pub(super) fn ok_with_secret(secret: usize, body: &impl Serialize) -> Answer {
    Ok(json_with_secret(StatusCode::OK, secret, body))
}
