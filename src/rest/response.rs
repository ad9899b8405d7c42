//! Responses with a JSON body.

use base64::display::Base64Display;
use base64::engine::general_purpose::{GeneralPurpose, URL_SAFE_NO_PAD};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use serde::{Serialize, Serializer};

/// A response with a complete body.
pub(super) type Response = http::Response<Vec<u8>>;

/// Room for everything in a result but its byte strings: the longest identifier has less than 700 bytes.
const ROOM: usize = 1_024;

/// With this body, which holds byte strings of together `secret` bytes. It is written into memory that is large
/// enough from the start, so that no half of it stays behind where a vector grew.
pub(super) fn json_with_secret(
    status: StatusCode,
    secret: usize,
    body: &impl Serialize,
) -> Response {
    let length = secret.div_ceil(3).saturating_mul(4).saturating_add(ROOM);
    written(status, Vec::with_capacity(length), body)
}

/// 204.
pub(super) fn no_content() -> Response {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    written(status, Vec::new(), body)
}

fn written(status: StatusCode, mut buffer: Vec<u8>, body: &impl Serialize) -> Response {
    // Our own shapes have string keys and no failing members, and a vector takes everything.
    let written = serde_json::to_writer(&mut buffer, body);
    let mut response = Response::new(buffer);
    *response.status_mut() = match written {
        Ok(()) => status,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    response
}

/// What every response has.
pub(super) fn finish(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store"),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Bytes as unpadded base64url, without a string in between.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::<GeneralPurpose>::new(
            self.0,
            &URL_SAFE_NO_PAD,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_written_without_growing() {
        #[derive(Serialize)]
        struct Body<'a> {
            kid: String,
            value: Bytes<'a>,
        }
        for length in [0, 1, 2, 3, 4, 100, 65_536] {
            let secret = vec![0xfb; length];
            let body = Body {
                kid: "k".repeat(700),
                value: Bytes(&secret),
            };
            let response = json_with_secret(StatusCode::OK, length, &body).into_body();
            let capacity = Vec::<u8>::with_capacity(length.div_ceil(3) * 4 + ROOM).capacity();
            assert_eq!(response.capacity(), capacity, "{length} bytes");
        }
    }

    #[test]
    fn bytes_are_unpadded_base64url() {
        let text = serde_json::to_string(&Bytes(&[0xfb, 0xff])).unwrap();
        assert_eq!(text, "\"-_8\"");
    }
}
