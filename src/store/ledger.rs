//! What the store knows of itself: STATE, the buckets, and how a group changes them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::anchor::AnchorFile;
use super::buckets::{self, toggle};
use super::engine::{Bound, Group, Redo, Storage, Write};
use super::journal::Entry as JournalEntry;
use super::overlay::Images;
use super::redo;
use super::{AuditState, CommitOptions, HeaderFacts, StoreConfig};
use crate::error::{Error, Result};
use crate::format::bucket::Bucket;
use crate::format::record::{BUCKET_COUNT, Class, IndexKey, SealedRecord};
use crate::format::state::State;
use crate::policy;
use crate::seal::hash32;

/// A B record that belongs to the digest in STATE.
#[derive(Debug, Clone)]
pub(super) struct KnownBucket {
    /// Its share in STATE's digest of the buckets.
    pub(super) share: [u8; 32],
    /// Its contents, once they were verified against the members.
    pub(super) bucket: Option<Bucket>,
}

/// Guarded by the commit lock.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) state: State,
    /// Hash of the sealed STATE record; zeros before the first group.
    pub(super) state_hash: [u8; 32],
    pub(super) buckets: Vec<Option<KnownBucket>>,
    pub(super) header: HeaderFacts,
    pub(super) anchor: Option<AnchorFile>,
    /// A durable group that readers see in the overlay and that the engine has yet to get.
    pub(super) unapplied: Option<Group>,
}

/// The last value of each changed record with the one that is stored, in the order of the index keys.
pub(super) type Changed = BTreeMap<Bound, Pair>;

/// A record before and after a group.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) index: IndexKey,
    pub(super) old: Option<SealedRecord>,
    pub(super) new: Option<SealedRecord>,
}

/// A group that is ready to be written, and what the ledger becomes with it.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) group: Group,
    pub(super) images: Images,
    state: State,
    state_hash: [u8; 32],
    buckets: Vec<(u16, KnownBucket)>,
    header: HeaderFacts,
}

impl Ledger {
    /// Before the first group.
    pub(super) fn empty(config: &StoreConfig, anchor: Option<AnchorFile>) -> Self {
        Self {
            state: State {
                generation: config.generation_before,
                ..State::default()
            },
            state_hash: [0; 32],
            buckets: vec![None; usize::from(BUCKET_COUNT)],
            header: config.header.clone(),
            anchor,
            unapplied: None,
        }
    }

    /// A bucket that was verified; `None` when it never had a record.
    pub(super) fn bucket(&self, number: u16) -> Option<&Bucket> {
        self.buckets
            .get(usize::from(number))?
            .as_ref()?
            .bucket
            .as_ref()
    }

    /// Compares a bucket with its members, and keeps its contents.
    ///
    /// Errors: `Tampered` when they do not fit, `NewerFormat`, and failures of the engine.
    pub(super) fn verify_bucket(
        &mut self,
        config: &StoreConfig,
        engine: &dyn Storage,
        number: u16,
    ) -> Result<()> {
        let share = self.known(number)?.map(|known| known.share);
        let bucket = buckets::verify(config, engine, number, share.as_ref())?;
        self.keep(number, bucket);
        Ok(())
    }

    /// Has the contents of a bucket that a reader has verified.
    ///
    /// Errors: as [`Ledger::verify_bucket`].
    pub(super) fn load_bucket(
        &mut self,
        config: &StoreConfig,
        engine: &dyn Storage,
        number: u16,
    ) -> Result<()> {
        let share = match self.known(number)? {
            Some(known) if known.bucket.is_none() => known.share,
            _ => return Ok(()),
        };
        let bucket = buckets::read(config, engine, number, &share)?;
        self.keep(number, Some(bucket));
        Ok(())
    }

    fn known(&self, number: u16) -> Result<Option<&KnownBucket>> {
        let place = self.buckets.get(usize::from(number));
        let place = place.ok_or_else(|| Error::internal("a bucket number is out of range"))?;
        Ok(place.as_ref())
    }

    fn keep(&mut self, number: u16, bucket: Option<Bucket>) {
        if let (Some(Some(known)), Some(bucket)) =
            (self.buckets.get_mut(usize::from(number)), bucket)
        {
            known.bucket = Some(bucket);
        }
    }

    /// Works out a group. The buckets of all members must have been verified.
    ///
    /// Errors: `TooLarge`, `RandomUnavailable`, `Internal`; nothing was changed.
    pub(super) fn prepare(
        &self,
        config: &StoreConfig,
        changed: Changed,
        options: &CommitOptions,
        chain: Option<AuditState>,
    ) -> Result<Prepared> {
        let header = options
            .header
            .clone()
            .unwrap_or_else(|| self.header.clone());
        let mut state = self.next_state(config, &header, options)?;
        if let Some(chain) = chain {
            state.audit_first = chain.first;
            state.audit_next = chain.next;
            state.audit_head = chain.head;
            state.audit_cut_head = chain.cut_head;
        }
        let mut touched: BTreeMap<u16, Bucket> = BTreeMap::new();
        for pair in changed.values() {
            match pair.index.class() {
                class if class.is_bucket_member() => {
                    let number = pair.index.bucket_number();
                    let bucket = match touched.entry(number) {
                        Entry::Occupied(entry) => entry.into_mut(),
                        Entry::Vacant(entry) => {
                            entry.insert(self.bucket_for(number, header.kek_term)?)
                        }
                    };
                    count_change(config, &mut state, bucket, pair)?;
                }
                Class::Settings | Class::Intent => {
                    state.meta_count = step(state.meta_count, pair)?;
                    toggle_pair(config, &mut state.meta_digest, pair);
                }
                _ => {}
            }
        }

        let mut writes: Vec<Write> = Vec::with_capacity(changed.len() + touched.len() + 1);
        let mut images = Images::new();
        let mut ordered: Vec<Pair> = changed.into_values().collect();
        // Versions before the key object that tells of them.
        ordered.sort_by_key(|pair| match pair.index.class() {
            Class::KeyVersion | Class::GcmCounter => 0,
            Class::KeyObject => 1,
            _ => 2,
        });
        for Pair { index, new, .. } in ordered {
            images.insert(*index.as_bytes(), new.clone());
            writes.push(match new {
                Some(record) => Write::Put(index, record),
                None => Write::Remove(index),
            });
        }

        let mut buckets = Vec::with_capacity(touched.len());
        for (number, bucket) in touched {
            let index = IndexKey::bucket(number);
            let record = seal(config, &index, &bucket.encode())?;
            let share = config.hierarchy.member_digest(&index, &record);
            match &self.buckets[usize::from(number)] {
                Some(known) => toggle(&mut state.bucket_digest, &known.share),
                None => state.bucket_count += 1,
            }
            toggle(&mut state.bucket_digest, &share);
            let bucket = Some(bucket);
            buckets.push((number, KnownBucket { share, bucket }));
            writes.push(Write::Put(index, record));
        }

        let record = seal(config, &IndexKey::state(), &state.encode())?;
        let state_hash = hash32(record.as_bytes());
        writes.push(Write::Put(IndexKey::state(), record));

        let pieces = redo::seal(
            &config.hierarchy,
            config.entropy.as_ref(),
            state.generation,
            &self.state_hash,
            &writes,
        )?;
        let redo = redo_for(state.generation, pieces);
        Ok(Prepared {
            group: Group { redo, writes },
            images,
            state,
            state_hash,
            buckets,
            header,
        })
    }

    /// The group is durable.
    pub(super) fn adopt(&mut self, prepared: &mut Prepared) {
        self.state = std::mem::take(&mut prepared.state);
        self.state_hash = prepared.state_hash;
        self.header = prepared.header.clone();
        for (number, known) in std::mem::take(&mut prepared.buckets) {
            self.buckets[usize::from(number)] = Some(known);
        }
    }

    fn next_state(
        &self,
        config: &StoreConfig,
        header: &HeaderFacts,
        options: &CommitOptions,
    ) -> Result<State> {
        let mut state = self.state.clone();
        state.generation = state
            .generation
            .checked_add(1)
            .ok_or_else(|| Error::internal("the generation counter is exhausted"))?;
        if header.kek_term < state.kek_term || header.seq < state.header_seq {
            return Err(Error::internal(
                "a header older than STATE's was to be committed",
            ));
        }
        state.kek_term = header.kek_term;
        state.header_seq = header.seq;
        state.header_mac = header.mac;
        if options.raise_shred_term {
            state.shred_term = state.shred_term.max(header.kek_term);
        }
        let now = config.clock.unix_milliseconds();
        state.max_time_seen = if options.reset_time_floor {
            now
        } else {
            policy::time_floor_after(state.max_time_seen, now)
        };
        Ok(state)
    }

    /// The bucket as it stands, counted under the current term.
    fn bucket_for(&self, number: u16, term: u32) -> Result<Bucket> {
        let mut bucket = match &self.buckets[usize::from(number)] {
            None => Bucket {
                bucket: number,
                term,
                ..Bucket::default()
            },
            Some(known) => known.bucket.clone().ok_or_else(|| {
                Error::internal("a bucket was to be written before it was verified")
            })?,
        };
        if bucket.term != term {
            // No M can bear a term that no B of its bucket bears.
            bucket.m_prev = bucket.m_count;
            bucket.term = term;
        }
        Ok(bucket)
    }
}

fn count_change(
    config: &StoreConfig,
    state: &mut State,
    bucket: &mut Bucket,
    pair: &Pair,
) -> Result<()> {
    bucket.members = step(bucket.members, pair)?;
    state.record_count = step(state.record_count, pair)?;
    toggle_pair(config, &mut bucket.digest, pair);
    if pair.index.class() == Class::KeyObject {
        bucket.m_count = step(bucket.m_count, pair)?;
        state.key_count = step(state.key_count, pair)?;
        let earlier = |record: &Option<SealedRecord>| {
            record
                .as_ref()
                .is_some_and(|record| record.term() < bucket.term)
        };
        let old = u32::from(earlier(&pair.old));
        let new = u32::from(earlier(&pair.new));
        bucket.m_prev = (bucket.m_prev + new)
            .checked_sub(old)
            .ok_or_else(miscounted)?;
    }
    Ok(())
}

/// A count after a record came or went.
fn step<N: TryFrom<i128> + Into<i128>>(count: N, pair: &Pair) -> Result<N> {
    let change = i128::from(pair.new.is_some()) - i128::from(pair.old.is_some());
    N::try_from(count.into() + change).map_err(|_| miscounted())
}

fn miscounted() -> Error {
    Error::internal("a count in STATE or a bucket does not fit its records")
}

fn toggle_pair(config: &StoreConfig, digest: &mut [u8; 32], pair: &Pair) {
    for record in [&pair.old, &pair.new].into_iter().flatten() {
        toggle(digest, &config.hierarchy.member_digest(&pair.index, record));
    }
}

fn seal(config: &StoreConfig, index: &IndexKey, plaintext: &[u8]) -> Result<SealedRecord> {
    let hierarchy = &config.hierarchy;
    hierarchy.seal_record(
        &*hierarchy.meta_key()?,
        index,
        0,
        plaintext,
        config.entropy.as_ref(),
    )
}

/// By the journal, unless it is too large for that.
fn redo_for(generation: u64, pieces: Vec<SealedRecord>) -> Redo {
    let entry = JournalEntry { generation, pieces };
    if entry.fits() {
        return Redo::Journal(entry);
    }
    let indices = (0..).map(IndexKey::redo);
    let pieces = indices.zip(entry.pieces);
    Redo::Records(
        pieces
            .map(|(index, piece)| Write::Put(index, piece))
            .collect(),
    )
}
