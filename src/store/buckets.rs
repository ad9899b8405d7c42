//! Comparing a bucket with its members.

use super::StoreConfig;
use super::engine::{Scan, Storage, lowest};
use crate::error::{Error, ErrorKind, Result};
use crate::format::bucket::Bucket;
use crate::format::record::{BUCKET_COUNT, Class, IndexKey, NAMESPACE_KEYS};

/// The contents of a bucket, `None` when it never had a record. `share` is its share in STATE's digest of the buckets.
///
/// Errors: `Tampered` when its members are not those that it counts, `NewerFormat`, and failures of the engine.
pub(super) fn verify(
    config: &StoreConfig,
    engine: &dyn Storage,
    number: u16,
    share: Option<&[u8; 32]>,
) -> Result<Option<Bucket>> {
    let expected = match share {
        Some(share) => Some(read(config, engine, number, share)?),
        None => None,
    };
    let term = expected.as_ref().map_or(0, |bucket| bucket.term);
    let found = count_members(config, engine, number, term)?;
    let wanted = expected.clone().unwrap_or_default();
    let fits = found.members == wanted.members
        && found.digest == wanted.digest
        && found.m_count == wanted.m_count
        && found.m_prev == wanted.m_prev;
    if !fits {
        return Err(bad_bucket());
    }
    Ok(expected)
}

/// The contents of a bucket, without a look at its members.
///
/// Errors: as [`verify`].
pub(super) fn read(
    config: &StoreConfig,
    engine: &dyn Storage,
    number: u16,
    share: &[u8; 32],
) -> Result<Bucket> {
    let index = IndexKey::bucket(number);
    let record = engine
        .get(&index)
        .map_err(damaged_is_bad)?
        .ok_or_else(bad_bucket)?;
    let hierarchy = &config.hierarchy;
    if hierarchy.member_digest(&index, &record) != *share {
        return Err(bad_bucket());
    }
    let plaintext = hierarchy
        .open_record(&*hierarchy.meta_key()?, &index, &record)
        .map_err(damaged_is_bad)?;
    let bucket = Bucket::decode(&plaintext).map_err(damaged_is_bad)?;
    if bucket.bucket != number {
        return Err(bad_bucket());
    }
    Ok(bucket)
}

/// The bucket that the stored members make.
fn count_members(
    config: &StoreConfig,
    engine: &dyn Storage,
    number: u16,
    term: u32,
) -> Result<Bucket> {
    let mut found = Bucket {
        bucket: number,
        term,
        ..Bucket::default()
    };
    let mut scan = bucket_scan(number);
    loop {
        let page = engine.scan(&scan)?;
        for (index, record) in page.records {
            let record = record.map_err(damaged_is_bad)?;
            if !index.class().is_bucket_member() || record.class() != Some(index.class()) {
                return Err(bad_bucket());
            }
            toggle(
                &mut found.digest,
                &config.hierarchy.member_digest(&index, &record),
            );
            found.members += 1;
            if index.class() == Class::KeyObject {
                found.m_count += 1;
                found.m_prev += u32::from(record.term() < term);
            }
        }
        match page.next {
            Some(from) => scan.from = from,
            None => return Ok(found),
        }
    }
}

/// All records whose `n` begins with the bucket's 12 bits.
fn bucket_scan(number: u16) -> Scan {
    let edge = |number: u16| {
        let [high, low] = (number << 4).to_be_bytes();
        lowest(&[NAMESPACE_KEYS, high, low])
    };
    let until = if number + 1 < BUCKET_COUNT {
        edge(number + 1)
    } else {
        lowest(&[NAMESPACE_KEYS + 1])
    };
    Scan {
        from: edge(number),
        until: Some(until),
        class: None,
        limit: 256,
    }
}

/// Adds a member to a set's digest, or takes it out.
pub(super) fn toggle(digest: &mut [u8; 32], share: &[u8; 32]) {
    for (byte, other) in digest.iter_mut().zip(share) {
        *byte ^= other;
    }
}

fn damaged_is_bad(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Corrupt => bad_bucket().with_source(error),
        _ => error,
    }
}

pub(super) fn bad_bucket() -> Error {
    Error::new(
        ErrorKind::Tampered,
        "the records that are stored together with this key are not those that the vault wrote last: \
         altered, moved, missing or old; restore the vault from a copy",
    )
}
