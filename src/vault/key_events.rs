//! Telling an application what happens to its keys.

use std::fmt::Debug;

use super::Inner;
use crate::model::identifier::KeyIdentifier;
use crate::model::time::Timestamp;

/// Hears of what [`Vault::maintain`](crate::Vault::maintain) finds and does; see
/// [`VaultOptions::subscriber`](crate::VaultOptions::subscriber).
///
/// It is called on the thread that maintains, after what it tells of is durable, and while no key is locked: it may use
/// the vault, but not lock or close it. After a crash an event is lost rather than repeated.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use strongroom::{KeyEvent, KeyEventKind, KeyEventSubscriber, VaultOptions};
///
/// #[derive(Debug)]
/// struct Pager;
///
/// impl KeyEventSubscriber for Pager {
///     fn notify(&self, event: &KeyEvent) {
///         if event.kind() == KeyEventKind::NearExpiry {
///             println!("{} expires soon", event.key_id());
///         }
///     }
/// }
///
/// let vault = VaultOptions::new().subscriber(Arc::new(Pager)).create_in_memory()?;
/// # drop(vault);
/// # Ok::<(), strongroom::Error>(())
/// ```
pub trait KeyEventSubscriber: Debug + Send + Sync {
    /// Something happened.
    fn notify(&self, event: &KeyEvent);
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyEventKind {
    /// The newest version of a key expires, after the time before it that its rotation policy says. It may have
    /// expired meanwhile. At most once for each version.
    NearExpiry,
    /// A rotation policy made a new version.
    Rotated,
}

impl KeyEventKind {
    /// The name of the event in Azure's Event Grid.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NearExpiry => "Microsoft.KeyVault.KeyNearExpiry",
            Self::Rotated => "Microsoft.KeyVault.KeyNewVersionCreated",
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEvent {
    kind: KeyEventKind,
    key_id: KeyIdentifier,
    expires_on: Option<Timestamp>,
}

impl KeyEvent {
    pub(super) fn new(
        kind: KeyEventKind,
        key_id: KeyIdentifier,
        expires_on: Option<Timestamp>,
    ) -> Self {
        Self {
            kind,
            key_id,
            expires_on,
        }
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> KeyEventKind {
        self.kind
    }

    /// The version that expires, or the new one.
    #[must_use]
    pub fn key_id(&self) -> &KeyIdentifier {
        &self.key_id
    }

    /// When this version expires.
    #[must_use]
    pub fn expires_on(&self) -> Option<Timestamp> {
        self.expires_on
    }
}

impl Inner {
    pub(super) fn tell(&self, event: &KeyEvent) {
        if let Some(subscriber) = &self.subscriber {
            subscriber.notify(event);
        }
    }
}
