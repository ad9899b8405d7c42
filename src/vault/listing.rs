//! Listings: pages and iterators.

use std::collections::VecDeque;
use std::sync::Arc;

use super::lifecycle::deletion_dates;
use super::records::StoredKey;
use super::{Act, Inner, Operation, Subject, Vault};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::IndexKey;
use crate::model::key::VersionRecord;
use crate::model::name::KeyName;
use crate::model::paging::{ContinuationToken, Page, PageSize};
use crate::model::results::{DeletedKeyProperties, KeyProperties};
use crate::policy::{self, Lifecycle};

/// How many key objects a page looks at before it answers, full or not.
const MAX_SCANNED: usize = 256;

impl Vault {
    /// The keys in use, each by the properties of its newest version, in a fixed but arbitrary order:
    /// Azure's [Get Keys](https://learn.microsoft.com/rest/api/keyvault/keys/get-keys/get-keys).
    ///
    /// The listing reads page by page; keys that are made or deleted meanwhile may or may not appear, and
    /// every other key appears once. An item can be an error; the listing ends after it.
    #[must_use]
    pub fn list_key_properties(&self) -> KeyIterator {
        KeyIterator {
            pages: Pages::new(self.clone()),
        }
    }

    /// One page of [`Vault::list_key_properties`]. It may be short, and even empty, although more follow.
    ///
    /// # Errors
    ///
    /// The errors of storage.
    ///
    /// # Examples
    ///
    /// ```
    /// # use strongroom::*;
    /// # let vault = VaultOptions::new().create_in_memory()?;
    /// let mut token = None;
    /// loop {
    ///     let page = vault.list_key_properties_page(token.as_ref(), PageSize::MAX)?;
    ///     for properties in page.items() {
    ///         println!("{}", properties.id());
    ///     }
    ///     token = page.continuation().cloned();
    ///     if token.is_none() {
    ///         break;
    ///     }
    /// }
    /// # Ok::<(), Error>(())
    /// ```
    pub fn list_key_properties_page(
        &self,
        from: Option<&ContinuationToken>,
        size: PageSize,
    ) -> Result<Page<KeyProperties>> {
        self.act(Operation::ListKeyProperties, Subject::Vault, |act| {
            let inner = act.inner();
            inner.page(act, from, size, Lifecycle::Active, |key, newest| {
                inner.properties(&key.object, newest)
            })
        })
    }

    /// The versions of a key, newest first: Azure's
    /// [Get Key Versions](https://learn.microsoft.com/rest/api/keyvault/keys/get-key-versions/get-key-versions).
    ///
    /// # Errors
    ///
    /// [`KeyNotFound`](ErrorKind::KeyNotFound), and the errors of storage.
    pub fn list_key_properties_versions(&self, name: &KeyName) -> Result<KeyVersionIterator> {
        self.act(Operation::ListKeyPropertiesVersions, name, |act| {
            let versions = act.inner().versions(name)?;
            Ok(KeyVersionIterator { versions })
        })
    }

    /// One page of [`Vault::list_key_properties_versions`], newest first.
    ///
    /// # Errors
    ///
    /// [`KeyNotFound`](ErrorKind::KeyNotFound); [`BadParameter`](ErrorKind::BadParameter) for a token of another
    /// listing; and the errors of storage.
    pub fn list_key_properties_versions_page(
        &self,
        name: &KeyName,
        from: Option<&ContinuationToken>,
        size: PageSize,
    ) -> Result<Page<KeyProperties>> {
        self.act(Operation::ListKeyPropertiesVersions, name, |act| {
            act.inner().page_of_versions(name, from, size)
        })
    }

    /// The deleted keys that can be recovered, in a fixed but arbitrary order: Azure's
    /// [Get Deleted Keys](https://learn.microsoft.com/rest/api/keyvault/keys/get-deleted-keys/get-deleted-keys).
    #[must_use]
    pub fn list_deleted_key_properties(&self) -> DeletedKeyIterator {
        DeletedKeyIterator {
            pages: Pages::new(self.clone()),
        }
    }

    /// One page of [`Vault::list_deleted_key_properties`]. It may be short, and even empty, although more
    /// follow.
    ///
    /// # Errors
    ///
    /// The errors of storage.
    pub fn list_deleted_key_properties_page(
        &self,
        from: Option<&ContinuationToken>,
        size: PageSize,
    ) -> Result<Page<DeletedKeyProperties>> {
        self.act(Operation::ListDeletedKeyProperties, Subject::Vault, |act| {
            let inner = act.inner();
            inner.page(act, from, size, Lifecycle::Deleted, |key, newest| {
                DeletedKeyProperties {
                    properties: inner.properties(&key.object, newest),
                    deletion: deletion_dates(key),
                }
            })
        })
    }
}

impl Inner {
    /// The versions of a key, newest first.
    fn versions(&self, name: &KeyName) -> Result<VecDeque<KeyProperties>> {
        self.store.read(|view| {
            let key = self.load_active(view, name)?;
            let mut versions = self.load_versions(view, &key)?;
            versions.reverse();
            Ok(versions
                .into_iter()
                .map(|version| self.properties(&key.object, version))
                .collect())
        })
    }

    /// A page of the versions of a key, newest first.
    fn page_of_versions(
        &self,
        name: &KeyName,
        from: Option<&ContinuationToken>,
        size: PageSize,
    ) -> Result<Page<KeyProperties>> {
        self.store.read(|view| {
            let key = self.load_active(view, name)?;
            let object = view
                .record(&IndexKey::key_object(key.n))?
                .ok_or_else(version_is_missing)?;
            let order = match self.version_order.get(&object) {
                Some(order) => order,
                None => {
                    let versions = self.load_versions(view, &key)?;
                    let order = versions.iter().rev().map(|record| record.version).collect();
                    self.version_order.keep(&object, Arc::clone(&order));
                    order
                }
            };
            // The token names the last version of the page before.
            let begin = match from {
                None => 0,
                Some(token) => order
                    .iter()
                    .position(|version| *version.as_bytes() == token.after)
                    .map(|position| position + 1)
                    .ok_or_else(|| {
                        Error::new(
                            ErrorKind::BadParameter,
                            "the continuation token belongs to another listing",
                        )
                    })?,
            };
            let end = order.len().min(begin + size.items());
            let items = order[begin..end]
                .iter()
                .map(|version| {
                    let record = self
                        .load_version(view, &key, *version)?
                        .ok_or_else(version_is_missing)?;
                    Ok(self.properties(&key.object, record))
                })
                .collect::<Result<Vec<_>>>()?;
            let next = order[begin..end]
                .last()
                .filter(|_| end < order.len())
                .map(|version| ContinuationToken::after(*version.as_bytes()));
            Ok(Page { items, next })
        })
    }

    /// A page of the keys that the handle may see.
    fn page<T>(
        &self,
        act: &Act<'_>,
        from: Option<&ContinuationToken>,
        size: PageSize,
        wanted: Lifecycle,
        item: impl Fn(&StoredKey, VersionRecord) -> T,
    ) -> Result<Page<T>> {
        let now = self.now();
        self.store.read(|view| {
            let mut items = Vec::with_capacity(size.items());
            let mut after = from.map(|token| token.after);
            let mut scanned = 0;
            loop {
                let missing = size.items() - items.len();
                let objects = view.key_objects(after, missing)?;
                let at_end = objects.len() < missing;
                scanned += objects.len();
                for (n, record) in &objects {
                    after = Some(*n);
                    let key = self.open_key(*n, record)?;
                    if policy::lifecycle(&key.object, now) == wanted && act.shows(&key.object.name)
                    {
                        let newest = self.load_newest(view, &key)?;
                        items.push(item(&key, newest));
                    }
                }
                if at_end {
                    return Ok(Page { items, next: None });
                }
                if items.len() == size.items() || scanned >= MAX_SCANNED {
                    let next = after.map(ContinuationToken::after);
                    return Ok(Page { items, next });
                }
            }
        })
    }
}

/// In a read that sees one state this is nobody's race.
fn version_is_missing() -> Error {
    Error::new(
        ErrorKind::Tampered,
        "a record of the key that was there a moment before is missing",
    )
}

/// Reads pages as they are needed.
#[derive(Debug)]
struct Pages<T> {
    vault: Vault,
    ready: VecDeque<T>,
    next: Option<ContinuationToken>,
    finished: bool,
}

impl<T> Pages<T> {
    fn new(vault: Vault) -> Self {
        Self {
            vault,
            ready: VecDeque::new(),
            next: None,
            finished: false,
        }
    }

    fn next(
        &mut self,
        read: impl Fn(&Vault, Option<&ContinuationToken>) -> Result<Page<T>>,
    ) -> Option<Result<T>> {
        while self.ready.is_empty() && !self.finished {
            match read(&self.vault, self.next.as_ref()) {
                Ok(page) => {
                    self.ready = page.items.into();
                    self.finished = page.next.is_none();
                    self.next = page.next;
                }
                Err(error) => {
                    self.finished = true;
                    return Some(Err(error));
                }
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

/// What [`Vault::list_key_properties`] gives.
#[derive(Debug)]
pub struct KeyIterator {
    pages: Pages<KeyProperties>,
}

impl Iterator for KeyIterator {
    type Item = Result<KeyProperties>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pages
            .next(|vault, from| vault.list_key_properties_page(from, PageSize::MAX))
    }
}

/// What [`Vault::list_deleted_key_properties`] gives.
#[derive(Debug)]
pub struct DeletedKeyIterator {
    pages: Pages<DeletedKeyProperties>,
}

impl Iterator for DeletedKeyIterator {
    type Item = Result<DeletedKeyProperties>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pages
            .next(|vault, from| vault.list_deleted_key_properties_page(from, PageSize::MAX))
    }
}

/// What [`Vault::list_key_properties_versions`] gives.
#[derive(Debug)]
pub struct KeyVersionIterator {
    versions: VecDeque<KeyProperties>,
}

impl Iterator for KeyVersionIterator {
    type Item = KeyProperties;

    fn next(&mut self) -> Option<Self::Item> {
        self.versions.pop_front()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.versions.len(), Some(self.versions.len()))
    }
}
