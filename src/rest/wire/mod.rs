//! The JSON of requests and responses, with Azure's names.

mod parameters;
mod results;
mod text;

use serde::Deserialize;
use serde_json::error::Category;

pub(super) use self::parameters::{
    KeyAttributes, KeyCreateParameters, KeyImportParameters, KeyOperationParameters,
    KeyReleaseParameters, KeyRestoreParameters, KeySignParameters, KeyUpdateParameters,
    KeyVerifyParameters, RandomBytesRequest, key_operations, tags,
};
pub(super) use self::results::{
    BackupResult, DeletedKeyBody, DeletedKeyItem, KeyBody, KeyItem, KeyOperationResult,
    KeyReleaseResult, List, RandomBytes, VerifyResult,
};
pub(super) use self::text::Text;
use super::problem::Problem;
use crate::model::json_object::Object;

/// Errors: 400 that tells where the fault is and never what is there, because it may be key material.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    if body.is_empty() {
        return Err(Problem::bad_parameter("The request body is missing."));
    }
    let read = serde_json::from_slice(body).map(|Object(value)| value);
    read.map_err(|error| {
        let what = match error.classify() {
            Category::Data => {
                "has a member with a value of a wrong type or range, or the same member twice"
            }
            Category::Eof => "is cut short",
            Category::Syntax | Category::Io => "is not valid JSON",
        };
        Problem::bad_parameter(format!(
            "The request body {what}, at line {} column {}.",
            error.line(),
            error.column()
        ))
    })
}

/// A member that the operation cannot do without.
pub(super) fn required<T>(member: Option<T>, name: &str) -> Result<T, Problem> {
    member.ok_or_else(|| Problem::bad_parameter(format!("Property {name} is required.")))
}
