//! Searching sled's tree: records out of their parts, a page at a time.

use std::ops::Bound::{Excluded, Included, Unbounded};

use super::Finding;
use super::engine::{Bound, PAGE_BYTES, Page, Scan, after, index_of, skip_to};
use super::parts::{self, Joiner, PART_KEY_LENGTH};
use super::sled_failure::Failure;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Class, IndexKey, NAMESPACE_NAMELESS};

/// So many unwanted items in a row are cheaper to walk over than to search past.
const WALK_LIMIT: usize = 8;

/// A report that names so many values needs no further ones.
const MAX_FINDINGS: usize = 1_000;

/// One page of a scan.
pub(super) fn page(tree: &sled::Tree, scan: &Scan) -> Result<Page, Failure> {
    let mut page = Page::default();
    let mut bytes = 0;
    let mut next = Some(scan.from);
    // Each turn begins a new search in the tree.
    while let Some(from) = next.take() {
        next = walk(tree, scan, from, &mut page, &mut bytes)?;
    }
    Ok(page)
}

/// Walks from `from` and adds to the page; `Some` where to search on.
fn walk(
    tree: &sled::Tree,
    scan: &Scan,
    from: Bound,
    page: &mut Page,
    bytes: &mut usize,
) -> Result<Option<Bound>, Failure> {
    let upper = scan
        .until
        .map_or(Unbounded, |until| Excluded(until.to_vec()));
    if scan.until.is_some_and(|until| until <= from) {
        return Ok(None);
    }
    let mut current: Option<(IndexKey, Result<Joiner>)> = None;
    let mut skipped = 0;
    for item in tree.range((Included(from.to_vec()), upper)) {
        let (key, value) = item?;
        let Ok(key) = <[u8; PART_KEY_LENGTH]>::try_from(key.as_ref()) else {
            return Err(Failure::Record(Error::new(
                ErrorKind::Corrupt,
                "the key of a stored record has a wrong length",
            )));
        };
        let mut index = [0; IndexKey::LENGTH];
        index.copy_from_slice(&key[..IndexKey::LENGTH]);
        let part = key[IndexKey::LENGTH];
        if let Some((joined, joiner)) = &mut current
            && *joined.as_bytes() == index
        {
            *joiner = std::mem::replace(joiner, Err(parts::damaged())).and_then(|mut joiner| {
                // Parts beyond the last are no part of the record; a check reports them.
                match joiner.wants() {
                    Some(wanted) if wanted != part => return Err(parts::damaged()),
                    Some(_) => joiner.push(&value)?,
                    None => {}
                }
                Ok(joiner)
            });
            continue;
        }
        if let Some((done, joiner)) = current.take() {
            finish(done, joiner, page, bytes);
            if page.records.len() >= scan.limit || *bytes >= PAGE_BYTES {
                page.next = Some(index);
                return Ok(None);
            }
        }
        let index = index_of(index)?;
        if let Some(class) = scan.class.filter(|class| *class != index.class()) {
            skipped += 1;
            if skipped > WALK_LIMIT {
                return Ok(skip_to(&index, class));
            }
        } else if part == 0 {
            skipped = 0;
            current = Some((index, Joiner::start(&value)));
        }
    }
    if let Some((done, joiner)) = current {
        finish(done, joiner, page, bytes);
        if page.records.len() >= scan.limit {
            page.next = after(*done.as_bytes());
        }
    }
    Ok(None)
}

fn finish(index: IndexKey, joiner: Result<Joiner>, page: &mut Page, bytes: &mut usize) {
    let record = joiner.and_then(Joiner::finish);
    *bytes += record.as_ref().map_or(0, |record| record.as_bytes().len());
    page.records.push((index, record));
}

/// Stored values that are no part of a record.
pub(super) fn find_strays(tree: &sled::Tree, findings: &mut Vec<Finding>) -> Result<(), Failure> {
    let mut whole: Option<(Bound, u8)> = None;
    for item in tree {
        if findings.len() >= MAX_FINDINGS {
            break;
        }
        let (key, value) = item?;
        let Ok(key) = <[u8; PART_KEY_LENGTH]>::try_from(key.as_ref()) else {
            findings.push(stray(&key, "its key has a wrong length"));
            continue;
        };
        let mut index = [0; IndexKey::LENGTH];
        index.copy_from_slice(&key[..IndexKey::LENGTH]);
        let part = key[IndexKey::LENGTH];
        if part == 0 {
            whole = Some((index, value.get(7).copied().unwrap_or(0)));
            if !IndexKey::from_bytes(index).is_some_and(|index| index.is_place_of_a_record()) {
                findings.push(stray(&key, "no record belongs to this place"));
            }
        } else if whole.is_none_or(|(record, parts)| record != index || part >= parts) {
            findings.push(stray(&key, "it is a part of no record"));
        }
    }
    Ok(())
}

fn stray(key: &[u8], what: &str) -> Finding {
    let shown: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    Finding {
        kind: ErrorKind::Corrupt,
        place: format!("stored value {shown}"),
        message: what.to_owned(),
        // A crash leaves unfinished pieces of a redo record; the next opening removes them.
        harmless: key.first() == Some(&NAMESPACE_NAMELESS)
            && key.get(1) == Some(&Class::Redo.byte()),
    }
}
