//! The one way into every operation: the gate, permission, names in errors, and what is told of the outcome.

use std::cell::{Cell, OnceCell};

use super::acts::Operation;
use super::gate::{Entered, forked};
use super::grant::{Grant, Need};
use super::{Inner, Vault};
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::format::audit::{Event, EventFields, EventSubject};
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
    /// Whether the audit log has an entry of this act already.
    recorded: Cell<bool>,
}

/// An operation that is ended by hand, because others go on beside it: an item of a batch. It has its permission.
pub(super) struct Begun<'a> {
    act: Act<'a>,
    /// Left after the act has ended.
    entered: Entered<'a>,
}

impl<'a> Begun<'a> {
    pub(super) fn act(&self) -> &Act<'a> {
        &self.act
    }

    /// Tells of the outcome, as [`Vault::act`] does.
    pub(super) fn end<T>(self, outcome: Result<T>) -> Result<T> {
        let Self { act, entered } = self;
        let outcome = act.end(outcome);
        drop(entered);
        outcome
    }
}

impl Vault {
    /// Begins an item of a batch as [`Vault::act`] begins an operation. An error is one of the item, which has ended with
    /// it.
    pub(super) fn begin<'a>(
        &'a self,
        operation: Operation,
        subject: impl Into<Subject<'a>>,
    ) -> Result<Begun<'a>> {
        let act = Act::new(&self.inner, &self.grant, operation, subject.into());
        let entered = match self.inner.gate.enter(Some(operation)) {
            Ok(entered) => entered,
            Err(error) => return act.turned_away(error),
        };
        match act.permit() {
            Ok(()) => Ok(Begun { act, entered }),
            Err(error) => act.end(Err(error)),
        }
    }

    /// Carries out one operation. Every public method of the vault comes through here exactly once: it enters
    /// the gate, asks for the permission, runs, names operation and key in an error, and tells of the outcome.
    pub(super) fn act<'a, T>(
        &'a self,
        operation: Operation,
        subject: impl Into<Subject<'a>>,
        run: impl FnOnce(&Act<'a>) -> Result<T>,
    ) -> Result<T> {
        let act = Act::new(&self.inner, &self.grant, operation, subject.into());
        let _operation = match self.inner.gate.enter(Some(operation)) {
            Ok(entered) => entered,
            Err(error) => return act.turned_away(error),
        };
        act.perform(run)
    }
}

impl Inner {
    /// Carries out what ends operations, and thus is none of those that are in flight: locking and closing.
    ///
    /// Errors: `ForkedProcess`, before anything else is touched.
    pub(super) fn act_on_gate<T>(
        &self,
        grant: &Grant,
        operation: Operation,
        run: impl FnOnce(&Act<'_>) -> Result<T>,
    ) -> Result<T> {
        let act = Act::new(self, grant, operation, Subject::Vault);
        self.counters.count_beside_gate(operation);
        if !self.gate.is_here() {
            return act.turned_away(forked());
        }
        act.perform(run)
    }
}

impl<'a> Act<'a> {
    fn new(inner: &'a Inner, grant: &'a Grant, operation: Operation, subject: Subject<'a>) -> Self {
        let version = match subject {
            Subject::Key(selector) => selector.version(),
            Subject::Vault | Subject::Principal(_) => None,
        };
        Self {
            inner,
            grant,
            operation,
            subject,
            late_name: OnceCell::new(),
            version: Cell::new(version),
            recorded: Cell::new(false),
        }
    }

    #[inline]
    fn perform<T>(self, run: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let outcome = match self.permit() {
            Ok(()) => run(&self),
            Err(error) => Err(error),
        };
        self.end(outcome)
    }

    /// Errors: `Forbidden`.
    #[inline]
    fn permit(&self) -> Result<()> {
        let name = match self.subject {
            Subject::Key(selector) => Some(selector.name()),
            Subject::Vault | Subject::Principal(_) => None,
        };
        self.grant.require(self.inner, self.operation.need(), name)
    }

    /// The vault is locked, closed or another process's. Nothing that has a lock is touched: in a forked child
    /// nobody might open it.
    fn turned_away<T>(self, error: Error) -> Result<T> {
        self.inner.counters.count_failure(self.operation);
        Err(self.named(error))
    }

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
            recorded: Cell::new(false),
        }
    }

    /// Makes changes durable, with the entry of this act in the same group.
    ///
    /// Errors: those of the store.
    pub(super) fn commit(&self, changes: Vec<Change>, options: CommitOptions) -> Result<()> {
        self.commit_of(changes, options, 1)
    }

    /// As [`Act::commit`]; the entry says that it stands for `count` operations.
    pub(super) fn commit_of(
        &self,
        changes: Vec<Change>,
        mut options: CommitOptions,
        count: u32,
    ) -> Result<()> {
        let records = self.add_entry(&mut options, count)?;
        self.inner.store.commit_with(changes, options)?;
        if records {
            self.recorded.set(true);
        }
        Ok(())
    }

    /// Makes the changes of several acts of this vault durable, those of each act all or none and with its entry. They
    /// share groups.
    ///
    /// Errors: those of the store, for each act.
    pub(super) fn commit_each(inner: &Inner, wanted: Vec<(&Self, Vec<Change>)>) -> Vec<Result<()>> {
        let mut requests = Vec::with_capacity(wanted.len());
        let acts: Vec<_> = wanted
            .into_iter()
            .map(|(act, changes)| {
                let mut options = CommitOptions::default();
                let records = act.add_entry(&mut options, 1)?;
                requests.push((changes, options));
                Ok((act, records))
            })
            .collect();
        let mut committed = inner.store.commit_each(requests).into_iter();
        acts.into_iter()
            .map(|act: Result<(&Self, bool)>| {
                let (act, records) = act?;
                let unanswered = || Err(Error::internal("a change was not committed"));
                committed.next().unwrap_or_else(unanswered)?;
                if records {
                    act.recorded.set(true);
                }
                Ok(())
            })
            .collect()
    }

    /// Whether the audit log gets an entry with the commit.
    fn add_entry(&self, options: &mut CommitOptions, count: u32) -> Result<bool> {
        let records = self.inner.recorder.is_on() && !self.recorded.get();
        if records {
            options.events.push(self.event(None, count)?);
        }
        Ok(records)
    }

    /// Records success before the end: after it there is nowhere to record it.
    pub(super) fn record_now(&self) {
        if self.inner.recorder.is_on() && !self.recorded.replace(true) {
            self.note(None, 1);
        }
    }

    fn event(&self, error: Option<ErrorKind>, count: u32) -> Result<Event> {
        let subject = match (self.subject, self.late_name.get()) {
            (Subject::Key(selector), _) => EventSubject::Key(selector.name()),
            (_, Some(name)) => EventSubject::Key(name),
            (Subject::Principal(principal), None) => EventSubject::Principal(principal),
            (Subject::Vault, None) => EventSubject::Vault,
        };
        let error = error.map(|kind| format!("{kind:?}"));
        Event::new(&EventFields {
            time_ms: self.inner.now_ms(),
            count,
            operation: self.operation.audit_name(),
            error: error.as_deref().unwrap_or_default(),
            subject,
            version: self.version.get(),
            actor: self.grant.principal(),
        })
    }

    fn note(&self, error: Option<ErrorKind>, count: u32) {
        // No act has a name that is too long for an entry.
        if let Ok(event) = self.event(error, count) {
            self.inner.store.note_event(event);
        }
    }

    /// Tells the audit log, unless a commit did.
    #[inline]
    fn record(&self, error: Option<ErrorKind>) {
        if !self.recorded.get() && self.inner.recorder.is_on() {
            self.record_outcome(error);
        }
    }

    fn record_outcome(&self, error: Option<ErrorKind>) {
        let always = self.operation.always_recorded() || error == Some(ErrorKind::Forbidden);
        let count = if always {
            Some(1)
        } else {
            self.inner.recorder.sample()
        };
        if let Some(count) = count {
            self.note(error, count);
        }
    }

    #[inline]
    fn end<T>(self, outcome: Result<T>) -> Result<T> {
        // Reading says `VaultFailed` and no more; who changes something may match on the cause.
        let outcome = outcome.map_err(|error| {
            if self.operation.always_recorded() {
                self.inner.store.tell_failure(error)
            } else {
                error
            }
        });
        let error = outcome.as_ref().err().map(Error::kind);
        if error.is_some() {
            self.inner.counters.count_failure(self.operation);
        }
        self.record(error);
        #[cfg(feature = "tracing")]
        self.trace(error);
        outcome.map_err(|error| self.named(error))
    }

    #[cfg(feature = "tracing")]
    fn trace(&self, error: Option<ErrorKind>) {
        let key = match (self.subject, self.late_name.get()) {
            (Subject::Key(selector), _) => Some(selector.name()),
            (_, name) => name,
        };
        super::trace::emit(&super::trace::Outcome {
            operation: self.operation,
            key: key.map(KeyName::as_str),
            version: self.version.get(),
            actor: self.grant.principal().map(Principal::as_str),
            error,
        });
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
