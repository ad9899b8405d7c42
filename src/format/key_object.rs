//! M: what all versions of a key share, and the key under which their records are sealed.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::layout;
use crate::error::Result;
use crate::model::key::{Deletion, KeyObject};
use crate::model::time::Timestamp;
use crate::model::version::KeyVersion;
use crate::secret::Key32;

const LAYOUT_1: u16 = 1;

#[derive(Serialize, Deserialize)]
struct KeyObject1<'a> {
    #[serde(borrow)]
    name: &'a str,
    object_id: [u8; 16],
    created: u64,
    updated: u64,
    newest: [u8; 16],
    version_count: u32,
    deletion: Option<Deletion1>,
}

#[derive(Serialize, Deserialize)]
struct Deletion1 {
    deleted: u64,
    scheduled_purge: u64,
}

pub(super) fn encode_parts(object: &KeyObject) -> impl Serialize + '_ {
    let KeyObject {
        name,
        object_id,
        created,
        updated,
        newest,
        version_count,
        deletion,
    } = object;
    KeyObject1 {
        name: name.as_str(),
        object_id: *object_id,
        created: created.unix_seconds(),
        updated: updated.unix_seconds(),
        newest: *newest.as_bytes(),
        version_count: *version_count,
        deletion: deletion.map(|deletion| Deletion1 {
            deleted: deletion.deleted.unix_seconds(),
            scheduled_purge: deletion.scheduled_purge.unix_seconds(),
        }),
    }
}

/// layout ‖ KDK ‖ key object.
pub(crate) fn encode(data_key: &Key32, object: &KeyObject) -> Result<Zeroizing<Vec<u8>>> {
    layout::encode_record(LAYOUT_1, data_key.expose(), &encode_parts(object))
}

/// Errors: `NewerFormat`, `Corrupt`.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Key32, KeyObject)> {
    let (number, rest) = layout::split_number(bytes)?;
    if number != LAYOUT_1 {
        return Err(layout::newer(
            "a key object has a layout of a newer version",
        ));
    }
    let (key, rest) = rest
        .split_first_chunk::<32>()
        .ok_or_else(|| layout::corrupt("a key object is too short"))?;
    let key = Key32::filled_with(|bytes| {
        bytes.copy_from_slice(key);
        Ok::<(), crate::error::Error>(())
    })?;
    Ok((key, decode_parts(layout::decode(rest)?)?))
}

fn decode_parts(parts: KeyObject1<'_>) -> Result<KeyObject> {
    Ok(KeyObject {
        name: parts
            .name
            .parse()
            .map_err(|_| layout::corrupt("a key object has an impossible name"))?,
        object_id: parts.object_id,
        created: Timestamp::from_unix_seconds(parts.created),
        updated: Timestamp::from_unix_seconds(parts.updated),
        newest: KeyVersion::from_bytes(parts.newest),
        version_count: parts.version_count,
        deletion: parts.deletion.map(|deletion| Deletion {
            deleted: Timestamp::from_unix_seconds(deletion.deleted),
            scheduled_purge: Timestamp::from_unix_seconds(deletion.scheduled_purge),
        }),
    })
}
