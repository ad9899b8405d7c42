//! One request, after everything that all operations have in common was looked at.

use super::problem::Problem;
use super::target::{API_VERSIONS, Target};
use super::wire;
use crate::model::identifier::{KeyIdentifier, KeySelector};
use crate::model::name::KeyName;
use crate::model::paging::Page;
use crate::model::version::KeyVersion;
use crate::vault::Vault;

/// Name and version in a path, as they were written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) version: Option<&'a str>,
}

/// A request for one operation.
pub(super) struct Call<'a> {
    vault: Vault,
    target: &'a Target<'a>,
    api_version: &'a str,
    name: Option<KeyName>,
    version: Option<KeyVersion>,
    body: &'a [u8],
}

impl<'a> Call<'a> {
    /// Errors: 400 for what is not a name, 404 for what is not a version, because no key has such a one.
    pub(super) fn new(
        vault: Vault,
        target: &'a Target<'a>,
        api_version: &'a str,
        place: Place<'a>,
        body: &'a [u8],
    ) -> Result<Self, Problem> {
        let name = place.name.map(str::parse::<KeyName>).transpose()?;
        let version = match (&name, place.version) {
            (Some(name), Some(text)) => {
                let shown: String = text.chars().take(64).collect();
                let version = text
                    .parse()
                    .map_err(|_| Problem::key_not_found(&format!("{name}/{shown}")))?;
                Some(version)
            }
            _ => None,
        };
        Ok(Self {
            vault,
            target,
            api_version,
            name,
            version,
            body,
        })
    }

    pub(super) fn vault(&self) -> &Vault {
        &self.vault
    }

    pub(super) fn target(&self) -> &Target<'a> {
        self.target
    }

    /// The name in the path.
    pub(super) fn name(&self) -> Result<&KeyName, Problem> {
        self.name.as_ref().ok_or_else(Problem::no_such_path)
    }

    /// Name and version in the path; without a version the newest is meant.
    pub(super) fn key(&self) -> Result<KeySelector<'_>, Problem> {
        let name = self.name()?;
        Ok(match self.version {
            None => name.into(),
            Some(version) => (name, version).into(),
        })
    }

    /// Errors: 404 for an API version in which the operation is not there yet.
    pub(super) fn since(&self, version: &str) -> Result<(), Problem> {
        let place = |wanted| API_VERSIONS.iter().position(|known| *known == wanted);
        if place(self.api_version) < place(version) {
            return Err(Problem::no_such_path());
        }
        Ok(())
    }

    /// The body as this shape. Errors: 400, which never quotes what stands there.
    pub(super) fn parameters<T: serde::Deserialize<'a>>(&self) -> Result<T, Problem> {
        wire::parse(self.body)
    }

    /// Where the listing at `path` goes on after this page.
    pub(super) fn next_link<T>(
        &self,
        path: &str,
        page: &Page<T>,
    ) -> Result<Option<String>, Problem> {
        let Some(token) = page.continuation() else {
            return Ok(None);
        };
        Ok(Some(format!(
            "{url}/{path}?api-version={version}&$skiptoken={token}&maxresults={size}",
            url = self.vault.url(),
            version = self.api_version,
            size = self.target.page_size()?.items(),
        )))
    }
}

/// The identifier without its version.
pub(super) fn base_id(id: &KeyIdentifier) -> String {
    format!("{}/keys/{}", id.vault_url(), id.name())
}
