//! The one way into every operation: permission, names in errors, and what is told of the outcome.

use std::cell::{Cell, OnceCell};

use super::acts::Operation;
use super::grant::{Grant, Need};
use super::{Inner, Vault};
use crate::error::{Error, Result};
use crate::model::identifier::KeySelector;
use crate::model::name::KeyName;
use crate::model::principal::Principal;
use crate::model::version::KeyVersion;
use crate::store::{Change, CommitOptions};

/// What an operation is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject<'a> {
    Vault,
    Key(KeySelector<'a>),
    Principal(&'a Principal),
}

impl<'a, T: Into<KeySelector<'a>>> From<T> for Subject<'a> {
    fn from(key: T) -> Self {
        Self::Key(key.into())
    }
}

/// One operation of one handle, while it is under way.
pub(super) struct Act<'a> {
    inner: &'a Inner,
    grant: &'a Grant,
    operation: Operation,
    subject: Subject<'a>,
    /// The key, where only the work itself tells which it is.
    late_name: OnceCell<KeyName>,
    version: Cell<Option<KeyVersion>>,
}

impl Vault {
    /// Carries out one operation. Every public method of the vault comes through here exactly once: it asks for
    /// the permission, runs, names operation and key in an error, and tells of the outcome.
    pub(super) fn act<'a, T>(
        &'a self,
        operation: Operation,
        subject: impl Into<Subject<'a>>,
        run: impl FnOnce(&Act<'a>) -> Result<T>,
    ) -> Result<T> {
        let subject = subject.into();
        let (name, version) = match subject {
            Subject::Key(selector) => (Some(selector.name()), selector.version()),
            Subject::Vault | Subject::Principal(_) => (None, None),
        };
        let act = Act {
            inner: &self.inner,
            grant: &self.grant,
            operation,
            subject,
            late_name: OnceCell::new(),
            version: Cell::new(version),
        };
        let outcome = match self.grant.require(&self.inner, operation.need(), name) {
            Ok(()) => run(&act),
            Err(error) => Err(error),
        };
        act.end(outcome)
    }
}

impl<'a> Act<'a> {
    /// The vault, without any question about permissions.
    pub(super) fn inner(&self) -> &'a Inner {
        self.inner
    }

    /// Asks for a permission besides the one of the operation.
    ///
    /// Errors: `Forbidden`.
    pub(super) fn require(&self, need: Need, name: &KeyName) -> Result<()> {
        self.grant
            .require(self.inner, need, Some(name))
            .map_err(|error| error.with_key(name))
    }

    /// The operation turns out to be about this key.
    ///
    /// Errors: `Forbidden` when the handle is not for keys of this name.
    pub(super) fn is_about(&self, name: &KeyName) -> Result<()> {
        self.require(self.operation.need(), name)?;
        // The first name stays.
        let _ = self.late_name.set(name.clone());
        Ok(())
    }

    /// The version that was used or made.
    pub(super) fn note_version(&self, version: KeyVersion) {
        self.version.set(Some(version));
    }

    /// Whether a listing shows keys of this name.
    pub(super) fn shows(&self, name: &KeyName) -> bool {
        self.grant.shows(self.inner, name)
    }

    /// A part of this operation that is an act of its own: for the audit log, where it goes with a commit, and for
    /// nothing else. The permission was that of the whole.
    pub(super) fn beside<'b>(&self, operation: Operation, subject: Subject<'b>) -> Act<'b>
    where
        'a: 'b,
    {
        Act {
            inner: self.inner,
            grant: self.grant,
            operation,
            subject,
            late_name: OnceCell::new(),
            version: Cell::new(None),
        }
    }

    /// Makes changes durable, with the entry of this act in the same group.
    ///
    /// Errors: those of the store.
    pub(super) fn commit(&self, changes: Vec<Change>, options: CommitOptions) -> Result<()> {
        self.inner.store.commit_with(changes, options)
    }

    fn end<T>(self, outcome: Result<T>) -> Result<T> {
        outcome.map_err(|error| self.named(error))
    }

    fn named(&self, error: Error) -> Error {
        let error = match (self.subject, self.late_name.get()) {
            (Subject::Key(selector), _) => error.with_key(selector),
            (_, Some(name)) => error.with_key(name),
            (Subject::Vault | Subject::Principal(_), None) => error,
        };
        error.with_operation(self.operation.method())
    }
}
