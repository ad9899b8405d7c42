//! Which operation a method and a path mean: the one table.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderName, Method};

use super::answer::Answer;
use super::call::{Call, Place};
use super::problem::Problem;
use super::{crypto, keys, lifecycle};

const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;

/// Nothing is read from the body, which some clients send all the same.
const NOTHING: usize = 64 * KIB;
/// Attributes, tags, policies.
const PARAMETERS: usize = 64 * KIB;
/// A JSON Web Key of up to 64 KiB besides.
const KEY: usize = 128 * KIB;
/// Digests, signatures, wrapped keys and what HMAC takes: up to 64 KiB in base64url, twice in verify.
const SHORT: usize = 256 * KIB;
/// 16 MiB in base64url, and additional data.
const DATA: usize = 23 * MIB;
/// A backup of up to 48 MiB in base64url.
const BACKUP: usize = 65 * MIB;
pub(super) const LONGEST_BODY: usize = BACKUP;

/// One operation.
pub(super) struct Route {
    method: Method,
    path: &'static str,
    /// The longest body, in bytes.
    pub(super) limit: usize,
    pub(super) run: fn(&Call<'_>) -> Answer,
}

const fn route(
    method: Method,
    path: &'static str,
    limit: usize,
    run: fn(&Call<'_>) -> Answer,
) -> Route {
    Route {
        method,
        path,
        limit,
        run,
    }
}

#[rustfmt::skip]
static ROUTES: [Route; 35] = [
    route(Method::GET, "keys", NOTHING, keys::list),
    route(Method::POST, "keys/restore", BACKUP, lifecycle::restore),
    route(Method::PUT, "keys/{name}", KEY, keys::import),
    route(Method::GET, "keys/{name}", NOTHING, keys::get),
    route(Method::PATCH, "keys/{name}", PARAMETERS, keys::update),
    route(Method::DELETE, "keys/{name}", NOTHING, lifecycle::delete),
    route(Method::POST, "keys/{name}/create", PARAMETERS, keys::create),
    route(Method::POST, "keys/{name}/rotate", NOTHING, keys::rotate),
    route(Method::POST, "keys/{name}/backup", NOTHING, lifecycle::backup),
    route(Method::GET, "keys/{name}/versions", NOTHING, keys::list_versions),
    route(Method::GET, "keys/{name}/rotationpolicy", NOTHING, keys::rotation_policy),
    route(Method::PUT, "keys/{name}/rotationpolicy", PARAMETERS, keys::update_rotation_policy),
    route(Method::GET, "keys/{name}/attestation", NOTHING, keys::attestation),
    route(Method::POST, "keys/{name}/encrypt", DATA, crypto::encrypt),
    route(Method::POST, "keys/{name}/decrypt", DATA, crypto::decrypt),
    route(Method::POST, "keys/{name}/sign", SHORT, crypto::sign),
    route(Method::POST, "keys/{name}/verify", SHORT, crypto::verify),
    route(Method::POST, "keys/{name}/wrapkey", SHORT, crypto::wrap_key),
    route(Method::POST, "keys/{name}/unwrapkey", SHORT, crypto::unwrap_key),
    route(Method::POST, "keys/{name}/release", SHORT, keys::release),
    route(Method::GET, "keys/{name}/{version}", NOTHING, keys::get),
    route(Method::PATCH, "keys/{name}/{version}", PARAMETERS, keys::update),
    route(Method::GET, "keys/{name}/{version}/attestation", NOTHING, keys::attestation),
    route(Method::POST, "keys/{name}/{version}/encrypt", DATA, crypto::encrypt),
    route(Method::POST, "keys/{name}/{version}/decrypt", DATA, crypto::decrypt),
    route(Method::POST, "keys/{name}/{version}/sign", SHORT, crypto::sign),
    route(Method::POST, "keys/{name}/{version}/verify", SHORT, crypto::verify),
    route(Method::POST, "keys/{name}/{version}/wrapkey", SHORT, crypto::wrap_key),
    route(Method::POST, "keys/{name}/{version}/unwrapkey", SHORT, crypto::unwrap_key),
    route(Method::POST, "keys/{name}/{version}/release", SHORT, keys::release),
    route(Method::GET, "deletedkeys", NOTHING, lifecycle::list_deleted),
    route(Method::GET, "deletedkeys/{name}", NOTHING, lifecycle::get_deleted),
    route(Method::DELETE, "deletedkeys/{name}", NOTHING, lifecycle::purge),
    route(Method::POST, "deletedkeys/{name}/recover", NOTHING, lifecycle::recover),
    route(Method::POST, "rng", PARAMETERS, crypto::random_bytes),
];

/// Errors: 404 for an unknown path, 405 for a known one with another method.
pub(super) fn find<'a>(
    method: &Method,
    segments: &'a [Cow<'a, str>],
) -> Result<(&'static Route, Place<'a>), Problem> {
    let mut allowed = Vec::new();
    for route in &ROUTES {
        let Some(place) = route.matches(segments) else {
            continue;
        };
        if route.method == *method {
            return Ok((route, place));
        }
        if !allowed.contains(&route.method.as_str()) {
            allowed.push(route.method.as_str());
        }
    }
    if allowed.is_empty() {
        Err(Problem::no_such_path())
    } else {
        Err(Problem::method_not_allowed(method, &allowed.join(", ")))
    }
}

impl Route {
    fn matches<'a>(&self, segments: &'a [Cow<'a, str>]) -> Option<Place<'a>> {
        let mut place = Place::default();
        let mut given = segments.iter();
        for expected in self.path.split('/') {
            let given = &**given.next()?;
            match expected {
                "{name}" => place.name = Some(given),
                "{version}" if !is_word(given) => place.version = Some(given),
                // Paths are compared without case.
                word if word.eq_ignore_ascii_case(given) => {}
                _ => return None,
            }
        }
        given.next().is_none().then_some(place)
    }
}

/// Whether a segment in the place of a version is the name of an operation.
fn is_word(segment: &str) -> bool {
    ROUTES
        .iter()
        .filter_map(|route| route.path.strip_prefix("keys/{name}/"))
        .any(|word| word.eq_ignore_ascii_case(segment))
}

/// The method that is meant: clients that can only POST name it in a header.
///
/// Errors: 405 for another than PUT and PATCH, 400 for two that differ.
pub(super) fn method(head: &Parts) -> Result<Method, Problem> {
    const HEADERS: [HeaderName; 2] = [
        HeaderName::from_static("x-http-method"),
        HeaderName::from_static("x-http-method-override"),
    ];
    if head.method != Method::POST {
        return Ok(head.method.clone());
    }
    let mut meant = None;
    for value in HEADERS.iter().flat_map(|name| head.headers.get_all(name)) {
        let method = [Method::PUT, Method::PATCH, Method::POST]
            .into_iter()
            .find(|method| {
                value
                    .to_str()
                    .is_ok_and(|text| text.eq_ignore_ascii_case(method.as_str()))
            })
            .ok_or_else(|| Problem::method_not_allowed(&head.method, "PUT, PATCH"))?;
        if meant.as_ref().is_some_and(|meant| *meant != method) {
            return Err(Problem::bad_parameter(
                "The headers X-HTTP-METHOD and X-HTTP-Method-Override contradict each other.",
            ));
        }
        meant = Some(method);
    }
    Ok(meant.unwrap_or(Method::POST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> Result<(&'static str, Place<'_>), u16> {
        let segments: Vec<Cow<'_, str>> = path.split('/').map(Cow::Borrowed).collect();
        // The places borrow from the path.
        let segments = Box::leak(segments.into_boxed_slice());
        find(&method, segments)
            .map(|(route, place)| (route.path, place))
            .map_err(|problem| problem.status())
    }

    #[test]
    fn every_route_is_reached_by_its_own_path() {
        for route in &ROUTES {
            let path = route
                .path
                .replace("{name}", "restore")
                .replace("{version}", "0123456789abcdef0123456789abcdef");
            let (path, _) = found(route.method.clone(), &path).unwrap();
            assert_eq!(path, route.path);
        }
    }

    #[test]
    fn no_body_is_longer_than_the_longest() {
        assert!(ROUTES.iter().all(|route| route.limit <= LONGEST_BODY));
    }

    #[test]
    fn no_two_routes_are_the_same() {
        for (at, route) in ROUTES.iter().enumerate() {
            for other in &ROUTES[at + 1..] {
                assert!(
                    route.path != other.path || route.method != other.method,
                    "{}",
                    route.path
                );
            }
        }
    }

    #[test]
    fn words_are_no_versions() {
        let (path, place) = found(Method::POST, "keys/sign/Sign").unwrap();
        assert_eq!(path, "keys/{name}/sign");
        assert_eq!((place.name, place.version), (Some("sign"), None));
        assert_eq!(found(Method::GET, "keys/a/encrypt").unwrap_err(), 405);
        let (path, place) = found(Method::GET, "keys/a/b").unwrap();
        assert_eq!(path, "keys/{name}/{version}");
        assert_eq!(place.version, Some("b"));
    }

    #[test]
    fn unknown_paths_and_methods_are_refused() {
        for path in [
            "",
            "secrets",
            "keys/a/b/c",
            "keys/a/b/sign/d",
            "deletedkeys/a/b",
            "rng/a",
        ] {
            assert_eq!(found(Method::GET, path).unwrap_err(), 404, "{path}");
        }
        for (method, path) in [
            (Method::HEAD, "keys"),
            (Method::POST, "keys/a"),
            (Method::PUT, "keys/a/create"),
            (Method::GET, "rng"),
        ] {
            assert_eq!(found(method, path).unwrap_err(), 405, "{path}");
        }
    }

    #[test]
    fn a_header_stands_for_another_method() {
        let meant = |method: &str, headers: &[(&str, &str)]| {
            let mut request = http::Request::builder().method(method);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            super::method(&request.body(()).unwrap().into_parts().0)
                .map(|method| method.to_string())
                .map_err(|problem| problem.status())
        };
        assert_eq!(meant("POST", &[]), Ok("POST".to_owned()));
        assert_eq!(
            meant("POST", &[("X-HTTP-METHOD", "put")]),
            Ok("PUT".to_owned())
        );
        assert_eq!(
            meant("POST", &[("X-HTTP-Method-Override", "PATCH")]),
            Ok("PATCH".to_owned())
        );
        // It widens nothing but POST, and to nothing but PUT and PATCH.
        assert_eq!(
            meant("GET", &[("X-HTTP-METHOD", "PUT")]),
            Ok("GET".to_owned())
        );
        assert_eq!(meant("POST", &[("X-HTTP-METHOD", "DELETE")]), Err(405));
        let both = [
            ("X-HTTP-METHOD", "PUT"),
            ("X-HTTP-Method-Override", "PATCH"),
        ];
        assert_eq!(meant("POST", &both), Err(400));
    }
}
