//! What one read sees: a single state of the vault.

use std::cell::Cell;

use super::Shared;
use super::engine::{Bound, Scan, after, index_of, lowest};
use crate::error::Result;
use crate::format::record::{BUCKET_COUNT, Class, IndexKey, NAMESPACE_KEYS, SealedRecord};

/// The records as they are between two groups, unless [`View::is_of_one_state`] denies it.
pub(crate) struct View<'s> {
    shared: &'s Shared,
    /// Groups that were published before the first read.
    groups: u64,
    seen: Cell<Seen>,
}

/// What a view has read so far.
#[derive(Clone, Copy)]
enum Seen {
    Nothing,
    /// Only from this bucket, of which so many groups had changed records before.
    Bucket(u16, u64),
    More,
}

impl<'s> View<'s> {
    pub(super) fn new(shared: &'s Shared) -> Self {
        Self {
            shared,
            groups: shared.overlay.number(),
            seen: Cell::new(Seen::Nothing),
        }
    }

    /// Whether no group landed meanwhile that matters for what was read.
    pub(super) fn is_of_one_state(&self) -> bool {
        let overlay = &self.shared.overlay;
        match self.seen.get() {
            Seen::Nothing => true,
            Seen::Bucket(bucket, groups) => overlay.bucket_number(bucket) == groups,
            Seen::More => overlay.number() == self.groups,
        }
    }

    /// To be called before anything is read from the bucket.
    fn see_bucket(&self, bucket: u16) {
        let seen = match self.seen.get() {
            Seen::Nothing => Seen::Bucket(bucket, self.shared.overlay.bucket_number(bucket)),
            Seen::Bucket(known, groups) if known == bucket => Seen::Bucket(known, groups),
            Seen::Bucket(..) | Seen::More => Seen::More,
        };
        self.seen.set(seen);
    }

    fn see_more(&self) {
        self.seen.set(Seen::More);
    }

    /// Any record; for one of a key, its bucket is verified first.
    ///
    /// Errors: `Tampered`, `Corrupt`, `NewerFormat`, `VaultFailed`.
    pub(crate) fn record(&self, index: &IndexKey) -> Result<Option<SealedRecord>> {
        if index.class().is_bucket_member() {
            self.enter_bucket(index.bucket_number())?;
        } else {
            self.see_more();
        }
        // The overlay first: what it has no more, the engine has; and for what comes later the read is repeated.
        match self.shared.overlay.get(index) {
            Some(image) => Ok(image),
            None => self.shared.engine.get(index),
        }
    }

    /// A settings record.
    pub(crate) fn settings(&self, number: u64) -> Result<Option<SealedRecord>> {
        self.record(&IndexKey::settings(number))
    }

    /// Up to `count` settings records from the number `first` on, with their numbers.
    pub(crate) fn settings_between(
        &self,
        first: u64,
        count: u64,
    ) -> Result<Vec<(u64, SealedRecord)>> {
        let scan = Scan {
            from: lowest(&IndexKey::settings(first).as_bytes()[..17]),
            until: Some(lowest(
                &IndexKey::settings(first.saturating_add(count)).as_bytes()[..17],
            )),
            class: None,
            limit: PAGE,
        };
        self.see_more();
        let records = self.all(scan)?;
        Ok(records
            .into_iter()
            .map(|(index, record)| (index.number(), record))
            .collect())
    }

    /// Up to `limit` audit records, beginning with the first whose number is not below `first`, and where the next
    /// ones begin.
    pub(crate) fn audit_records(&self, first: u64, limit: usize) -> Result<(Records, Option<u64>)> {
        self.see_more();
        let (mut records, following) = self.page(&super::audit::scan_from(first, limit))?;
        let more = following.is_some() || records.len() > limit;
        records.truncate(limit);
        let next = match records.last() {
            Some((last, _)) => last.number().checked_add(1),
            None => following.and_then(|bound| index_of(bound).ok().map(|index| index.number())),
        };
        let next = next.filter(|_| more);
        Ok((records, next))
    }

    /// The intents, in the order of their tags.
    pub(crate) fn intents(&self) -> Result<Records> {
        self.see_more();
        let first = IndexKey::intent([0; 16]);
        self.all(Scan::prefix(&first.as_bytes()[..18], PAGE))
    }

    /// All versions of a key object, in the order of their index keys.
    pub(crate) fn versions(&self, n: [u8; 16]) -> Result<Records> {
        let first = IndexKey::key_version(n, [0; 16]);
        self.enter_bucket(first.bucket_number())?;
        self.all(Scan::prefix(&first.as_bytes()[..18], PAGE))
    }

    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for keys with very many versions")
    )]
    /// Up to `limit` versions of a key object, beginning after the one with this `v`.
    pub(crate) fn versions_after(
        &self,
        n: [u8; 16],
        previous: [u8; 16],
        limit: usize,
    ) -> Result<Records> {
        let last = IndexKey::key_version(n, previous);
        self.enter_bucket(last.bucket_number())?;
        let mut scan = Scan::prefix(&last.as_bytes()[..18], limit);
        match after(*last.as_bytes()) {
            Some(from) => scan.from = from,
            None => return Ok(Records::new()),
        }
        let (mut records, _) = self.page(&scan)?;
        records.truncate(limit);
        Ok(records)
    }

    /// The GCM counters of a key object.
    pub(crate) fn gcm_counters(&self, n: [u8; 16]) -> Result<Records> {
        let first = IndexKey::gcm_counter(n, [0; 16]);
        self.enter_bucket(first.bucket_number())?;
        self.all(Scan::prefix(&first.as_bytes()[..18], PAGE))
    }

    /// Up to `limit` key objects in the order of `n`, beginning after `previous`.
    pub(crate) fn key_objects(
        &self,
        previous: Option<[u8; 16]>,
        limit: usize,
    ) -> Result<Vec<([u8; 16], SealedRecord)>> {
        self.see_more();
        let end = lowest(&[NAMESPACE_KEYS + 1]);
        let mut from = lowest(&[NAMESPACE_KEYS]);
        if let Some(previous) = previous {
            let mut last = [u8::MAX; IndexKey::LENGTH];
            last[..17].copy_from_slice(&IndexKey::key_object(previous).as_bytes()[..17]);
            from = after(last).unwrap_or(end);
        }
        let first_bucket = bucket_at(&from);
        let mut found = Vec::new();
        let mut next = Some(from);
        while let Some(from) = next {
            if found.len() >= limit {
                break;
            }
            let scan = Scan {
                from,
                until: Some(end),
                class: Some(Class::KeyObject),
                limit: (limit - found.len()).min(PAGE),
            };
            let (records, following) = self.page(&scan).or_else(|error| {
                // What is no record at all spoils its bucket: the answer of a listing is that of a single read.
                (first_bucket..BUCKET_COUNT).try_for_each(|bucket| self.enter_bucket(bucket))?;
                Err(error)
            })?;
            found.extend(
                records
                    .into_iter()
                    .map(|(index, record)| (index.n(), record)),
            );
            next = following;
        }
        found.truncate(limit);
        // A key that is not in the list is an answer too: every bucket that the list passed counts.
        let last_bucket = match found.last() {
            Some((n, _)) if found.len() >= limit => IndexKey::key_object(*n).bucket_number(),
            _ => BUCKET_COUNT - 1,
        };
        for bucket in first_bucket..=last_bucket {
            self.enter_bucket(bucket)?;
        }
        Ok(found)
    }

    /// Verifies a bucket, all of whose records may be read then.
    fn enter_bucket(&self, number: u16) -> Result<()> {
        self.see_bucket(number);
        self.shared.require_bucket(number)
    }

    fn all(&self, mut scan: Scan) -> Result<Records> {
        let mut found = Vec::new();
        loop {
            let (records, next) = self.page(&scan)?;
            found.extend(records);
            match next {
                Some(from) => scan.from = from,
                None => return Ok(found),
            }
        }
    }

    /// A page of the engine, with the records of a durable group in flight as that leaves them.
    fn page(&self, scan: &Scan) -> Result<(Records, Option<Bound>)> {
        let mut images = self.shared.overlay.range(scan.from, scan.until);
        let page = self.shared.engine.scan(scan)?;
        if let Some(next) = &page.next {
            images.split_off(next);
        }
        if images.is_empty() {
            let records = page
                .records
                .into_iter()
                .map(|(index, record)| record.map(|record| (index, record)))
                .collect::<Result<_>>()?;
            return Ok((records, page.next));
        }
        let mut merged: std::collections::BTreeMap<Bound, Result<SealedRecord>> = page
            .records
            .into_iter()
            .map(|(index, record)| (*index.as_bytes(), record))
            .collect();
        for (key, image) in images {
            let wanted = scan.class.is_none_or(|class| class.byte() == key[17]);
            match image.filter(|_| wanted) {
                Some(record) => merged.insert(key, Ok(record)),
                None => merged.remove(&key),
            };
        }
        let records = merged
            .into_iter()
            .map(|(key, record)| Ok((index_of(key)?, record?)))
            .collect::<Result<_>>()?;
        Ok((records, page.next))
    }
}

/// Records with their places, in the order of the index keys.
pub(crate) type Records = Vec<(IndexKey, SealedRecord)>;

/// Records in one page of a scan.
const PAGE: usize = 256;

/// The bucket in which a scan of the key objects begins.
fn bucket_at(from: &Bound) -> u16 {
    if from[0] == NAMESPACE_KEYS {
        u16::from_be_bytes([from[1], from[2]]) >> 4
    } else {
        BUCKET_COUNT
    }
}
