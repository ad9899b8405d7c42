//! Records in memory: for tests and for vaults that are not meant to last.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use super::Finding;
use super::engine::{
    Bound as KeyBytes, Group, PAGE_BYTES, Page, Scan, Storage, Write, after, index_of,
};
use crate::error::Result;
use crate::format::record::{IndexKey, SealedRecord};

/// Groups are atomic because they are applied under one lock, so the redo record is not kept.
#[derive(Debug, Default)]
pub(crate) struct MemoryEngine {
    records: RwLock<BTreeMap<KeyBytes, SealedRecord>>,
}

impl Storage for MemoryEngine {
    fn get(&self, index: &IndexKey) -> Result<Option<SealedRecord>> {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        Ok(records.get(index.as_bytes()).cloned())
    }

    fn scan(&self, scan: &Scan) -> Result<Page> {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        let mut page = Page::default();
        let mut bytes = 0;
        let until = scan.until.map_or(Bound::Unbounded, Bound::Excluded);
        if scan.until.is_some_and(|until| until <= scan.from) {
            return Ok(page);
        }
        for (key, record) in records.range((Bound::Included(scan.from), until)) {
            let index = index_of(*key)?;
            if scan.class.is_some_and(|class| index.class() != class) {
                continue;
            }
            page.records.push((index, Ok(record.clone())));
            bytes += record.as_bytes().len();
            if page.records.len() >= scan.limit || bytes >= PAGE_BYTES {
                page.next = after(*index.as_bytes());
                break;
            }
        }
        Ok(page)
    }

    fn commit(&self, _: &Group) -> Result<()> {
        Ok(())
    }

    fn apply(&self, group: &Group) -> Result<()> {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        for write in &group.writes {
            match write {
                Write::Put(index, record) => records.insert(*index.as_bytes(), record.clone()),
                Write::Remove(index) => records.remove(index.as_bytes()),
            };
        }
        Ok(())
    }

    fn check(&self) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    fn close(&self) -> Result<()> {
        self.records
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        Ok(())
    }
}
