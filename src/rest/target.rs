//! What a URL says: the segments of its path and the parameters of its query.

use std::borrow::Cow;

use super::problem::Problem;
use crate::model::paging::{ContinuationToken, PageSize};

/// The API versions that are spoken here, newest last.
pub(super) const API_VERSIONS: [&str; 4] = ["7.4", "7.5", "7.6", "2025-07-01"];

/// The longest path has four segments; one more tells that there are too many.
const MAX_SEGMENTS: usize = 5;
/// Parameters that are looked at.
const MAX_PARAMETERS: usize = 32;

/// The parts of a request's URL.
#[derive(Debug)]
pub(super) struct Target<'a> {
    /// Without the empty ones: `//keys/a//sign` is `keys`, `a`, `sign`, as the service takes it.
    segments: Vec<Cow<'a, str>>,
    parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Target<'a> {
    /// Errors: 400 for what is not percent-encoded UTF-8.
    pub(super) fn parse(uri: &'a http::Uri) -> Result<Self, Problem> {
        let segments = uri
            .path()
            .split('/')
            .filter(|segment| !segment.is_empty())
            .take(MAX_SEGMENTS)
            .map(decode)
            .collect::<Result<_, _>>()?;
        let parameters = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .take(MAX_PARAMETERS)
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok::<_, Problem>((decode(name)?, decode(value)?))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            segments,
            parameters,
        })
    }

    pub(super) fn segments(&self) -> &[Cow<'a, str>] {
        &self.segments
    }

    /// A parameter, whose name is compared without case. Errors: 400 when it is there twice.
    fn parameter(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self
            .parameters
            .iter()
            .filter(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| &**value);
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(Problem::bad_parameter(format!(
                "The query parameter {name} is there twice."
            ))),
        }
    }

    /// Errors: 400 when the API version is missing or not one of [`API_VERSIONS`].
    pub(super) fn check_api_version(&self) -> Result<&str, Problem> {
        let Some(version) = self
            .parameter("api-version")?
            .filter(|version| !version.is_empty())
        else {
            return Err(Problem::bad_parameter(
                "The query parameter api-version must be specified.",
            ));
        };
        if API_VERSIONS.contains(&version) {
            return Ok(version);
        }
        let shown: String = version.chars().take(32).collect();
        Err(Problem::bad_parameter(format!(
            "The specified version ({shown}) is not recognized. Consider using the latest supported version \
             ({latest}).",
            latest = API_VERSIONS[API_VERSIONS.len() - 1]
        )))
    }

    /// `maxresults`. Errors: 400 outside 1 to 25.
    pub(super) fn page_size(&self) -> Result<PageSize, Problem> {
        let Some(text) = self.parameter("maxresults")? else {
            return Ok(PageSize::MAX);
        };
        let size = text.parse().ok().and_then(|size| PageSize::new(size).ok());
        size.ok_or_else(|| {
            Problem::bad_parameter("The query parameter maxresults is a number from 1 to 25.")
        })
    }

    /// `$skiptoken` of a nextLink. Errors: 400 when it is none of this vault.
    pub(super) fn continuation(&self) -> Result<Option<ContinuationToken>, Problem> {
        Ok(self
            .parameter("$skiptoken")?
            .map(str::parse::<ContinuationToken>)
            .transpose()?)
    }
}

fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let bad = || Problem::bad_parameter("The URL is not percent-encoded UTF-8.");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let (digits, after) = after.split_at_checked(2).ok_or_else(bad)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let value = digit(digits[0])
            .zip(digit(digits[1]))
            .and_then(|(high, low)| u8::try_from(high * 16 + low).ok())
            .ok_or_else(bad)?;
        bytes.push(value);
        rest = after;
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> http::Uri {
        text.parse().unwrap()
    }

    #[test]
    fn empty_segments_do_not_count() {
        let uri = uri("https://vault.invalid//keys/a%2Db//sign?api-version=7.4");
        let target = Target::parse(&uri).unwrap();
        assert_eq!(target.segments(), ["keys", "a-b", "sign"]);
        assert_eq!(target.check_api_version().unwrap(), "7.4");
    }

    #[test]
    fn the_api_version_is_one_of_those_spoken() {
        for (query, status) in [
            ("", 400),
            ("?api-version=", 400),
            ("?api-version=7.3", 400),
            ("?api-version=7.4&api-version=7.5", 400),
            ("?API-Version=2025-07-01", 200),
            ("?x&&api-version=7.5", 200),
        ] {
            let uri = uri(&format!("/keys{query}"));
            let target = Target::parse(&uri).unwrap();
            let given = target.check_api_version();
            assert_eq!(
                given.map_or_else(|p| p.status(), |_| 200),
                status,
                "{query}"
            );
        }
    }

    #[test]
    fn pages_and_tokens_are_checked() {
        let token = "00112233445566778899aabbccddeeff";
        let uri1 = uri(&format!("/keys?maxresults=25&%24skiptoken={token}"));
        let target = Target::parse(&uri1).unwrap();
        assert_eq!(target.page_size().unwrap(), PageSize::MAX);
        assert_eq!(target.continuation().unwrap().unwrap().to_string(), token);
        for query in [
            "maxresults=0",
            "maxresults=26",
            "maxresults=x",
            "maxresults=-1",
        ] {
            let uri = uri(&format!("/keys?{query}"));
            assert!(Target::parse(&uri).unwrap().page_size().is_err(), "{query}");
        }
        let uri2 = uri("/keys?$skiptoken=zz");
        assert!(Target::parse(&uri2).unwrap().continuation().is_err());
    }

    #[test]
    fn bad_percent_encoding_is_refused() {
        for path in [
            "/keys/%",
            "/keys/%4",
            "/keys/%zz",
            "/keys/%ff",
            "/keys?a=%f0%28",
        ] {
            assert_eq!(
                Target::parse(&uri(path)).unwrap_err().status(),
                400,
                "{path}"
            );
        }
    }
}
