//! What the store asks of an engine: get, scan page by page, and for one group at a time commit and apply.

use std::fmt;

use super::Finding;
use super::journal::Entry;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Class, IndexKey, SealedRecord};

/// One write of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Write {
    Put(IndexKey, SealedRecord),
    Remove(IndexKey),
}

impl Write {
    pub(crate) fn index(&self) -> &IndexKey {
        match self {
            Self::Put(index, _) | Self::Remove(index) => index,
        }
    }
}

/// Writes that become durable together.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) redo: Redo,
    /// The changes themselves, in the order in which they are applied.
    pub(crate) writes: Vec<Write>,
}

/// The redo record of a group: what an engine without atomic groups makes durable first. One with them may ignore it.
#[derive(Debug)]
pub(crate) enum Redo {
    /// For the journal. The changes themselves may become durable later.
    Journal(Entry),
    /// Of a group that is too large for it: written among the records, durable before any of them, and removed when all
    /// of them are.
    Records(Vec<Write>),
}

/// Writes that become durable before this returns, but not as a whole.
///
/// Errors: those of the engine.
pub(super) fn write_through(engine: &dyn Storage, writes: Vec<Write>) -> Result<()> {
    let group = Group {
        redo: Redo::Records(Vec::new()),
        writes,
    };
    engine.commit(&group)?;
    engine.apply(&group)
}

/// A bound of a scan: the bytes of an index key, or what follows it.
pub(crate) type Bound = [u8; IndexKey::LENGTH];

/// What a scan looks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scan {
    /// The first index key of interest.
    pub(crate) from: Bound,
    /// The first that no longer is; `None` at the end of the tree.
    pub(crate) until: Option<Bound>,
    /// Only records of this class; the others are skipped as cheaply as the engine can.
    pub(crate) class: Option<Class>,
    /// The most records of a page.
    pub(crate) limit: usize,
}

impl Scan {
    /// Every record whose index key begins with `prefix`.
    pub(crate) fn prefix(prefix: &[u8], limit: usize) -> Self {
        let mut last = [u8::MAX; IndexKey::LENGTH];
        last[..prefix.len()].copy_from_slice(prefix);
        Self {
            from: lowest(prefix),
            until: after(last),
            class: None,
            limit,
        }
    }
}

/// A page ends early when it holds so many bytes.
pub(crate) const PAGE_BYTES: usize = 1 << 20;

/// One page of a scan, in the order of the index keys.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// A record that cannot be put together stands with its error, so that the caller knows its place.
    pub(crate) records: Vec<(IndexKey, Result<SealedRecord>)>,
    /// Where the next page begins; `None` at the end.
    pub(crate) next: Option<Bound>,
}

/// A place for records that keeps a group whole and durable.
pub(crate) trait Storage: fmt::Debug + Send + Sync {
    /// Errors: `Corrupt` when the record is not whole, `NewerFormat`, and any failure of the engine.
    fn get(&self, index: &IndexKey) -> Result<Option<SealedRecord>>;

    /// The next page of a scan.
    fn scan(&self, scan: &Scan) -> Result<Page>;

    /// Makes a group durable; `Ok` means that all of it survives a power cut, though it may be in the journal or its
    /// redo record alone, and its records are not touched yet. After an error the engine's contents are unknown until the vault
    /// is reopened.
    fn commit(&self, group: &Group) -> Result<()>;

    /// Puts the records of the group that was committed last into their places. After an error it is still durable,
    /// and the engine serves no reads until the vault is reopened.
    fn apply(&self, group: &Group) -> Result<()>;

    /// The entries that the journal had when the engine was opened, in their order. Asked for once.
    fn journaled(&self) -> Vec<Entry> {
        Vec::new()
    }

    /// What is wrong with how the records are kept, whatever they hold.
    fn check(&self) -> Result<Vec<Finding>>;

    /// Lets go of the engine; later calls fail.
    fn close(&self) -> Result<()>;
}

/// The lowest bound of a prefix.
pub(crate) fn lowest(prefix: &[u8]) -> Bound {
    let mut bound = [0; IndexKey::LENGTH];
    bound[..prefix.len()].copy_from_slice(prefix);
    bound
}

/// The bound right after `bytes`; `None` after the last.
pub(crate) fn after(mut bytes: Bound) -> Option<Bound> {
    for byte in bytes.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(bytes);
        }
    }
    None
}

/// Where the next record of `class` can stand, seen from one of another class at `index`.
pub(crate) fn skip_to(index: &IndexKey, class: Class) -> Option<Bound> {
    let mut bound = *index.as_bytes();
    bound[18..].fill(0);
    if index.class().byte() < class.byte() {
        bound[17] = class.byte();
        return Some(bound);
    }
    bound[17..].fill(u8::MAX);
    after(bound)
}

/// The index key of these bytes.
pub(crate) fn index_of(bytes: Bound) -> Result<IndexKey> {
    IndexKey::from_bytes(bytes).ok_or_else(|| {
        Error::new(
            ErrorKind::NewerFormat,
            "a stored record has a class that this build does not know; \
             open the vault with the version that wrote it",
        )
    })
}
