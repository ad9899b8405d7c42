//! M: what all versions of a key share, and the key under which their records are sealed.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::layout;
use super::rotation_policy::RotationPolicy1;
use crate::error::Result;
use crate::model::key::{Deletion, KeyObject};
use crate::model::time::Timestamp;
use crate::model::version::KeyVersion;
use crate::secret::Key32;

const LAYOUT_1: u16 = 1;
/// With a rotation policy, or the announcement of an expiry: what has neither keeps layout 1.
const LAYOUT_2: u16 = 2;

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
struct KeyObject2<'a> {
    #[serde(borrow)]
    first: KeyObject1<'a>,
    rotation_policy: Option<RotationPolicy1>,
    announced: Option<[u8; 16]>,
}

#[derive(Serialize, Deserialize)]
struct Deletion1 {
    deleted: u64,
    scheduled_purge: u64,
}

impl<'a> From<&'a KeyObject> for KeyObject1<'a> {
    fn from(object: &'a KeyObject) -> Self {
        let KeyObject {
            name,
            object_id,
            created,
            updated,
            newest,
            version_count,
            deletion,
            rotation_policy: _,
            announced: _,
        } = object;
        Self {
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
}

/// layout ‖ KDK ‖ key object.
pub(crate) fn encode(data_key: &Key32, object: &KeyObject) -> Result<Zeroizing<Vec<u8>>> {
    let first = KeyObject1::from(object);
    if object.rotation_policy.is_none() && object.announced.is_none() {
        return layout::encode_record(LAYOUT_1, data_key.expose(), &first);
    }
    let second = KeyObject2 {
        first,
        rotation_policy: object.rotation_policy.as_ref().map(RotationPolicy1::from),
        announced: object.announced.map(|version| *version.as_bytes()),
    };
    layout::encode_record(LAYOUT_2, data_key.expose(), &second)
}

/// Errors: `NewerFormat`, `Corrupt`.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Key32, KeyObject)> {
    let (number, rest) = layout::split_number(bytes)?;
    if !matches!(number, LAYOUT_1 | LAYOUT_2) {
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
    if number == LAYOUT_1 {
        return Ok((key, decode_parts(layout::decode(rest)?)?));
    }
    let KeyObject2 {
        first,
        rotation_policy,
        announced,
    } = layout::decode(rest)?;
    if rotation_policy.is_none() && announced.is_none() {
        return Err(layout::corrupt(
            "a key object has a longer layout than it needs",
        ));
    }
    let object = KeyObject {
        rotation_policy: rotation_policy
            .map(RotationPolicy1::into_stored)
            .transpose()?,
        announced: announced.map(KeyVersion::from_bytes),
        ..decode_parts(first)?
    };
    Ok((key, object))
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
        rotation_policy: None,
        announced: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::model::rotation_policy::{
        PolicyDates, RotationPolicy, RotationTrigger, StoredRotationPolicy,
    };

    fn object() -> KeyObject {
        KeyObject {
            name: "ab".parse().unwrap(),
            object_id: [1; 16],
            created: Timestamp::from_unix_seconds(2),
            updated: Timestamp::from_unix_seconds(3),
            newest: KeyVersion::from_bytes([4; 16]),
            version_count: 5,
            deletion: None,
            rotation_policy: None,
            announced: None,
        }
    }

    fn with_policy() -> KeyObject {
        let policy = RotationPolicy::new()
            .rotate(RotationTrigger::TimeBeforeExpiry(
                "P1M2DT3H".parse().unwrap(),
            ))
            .expiry_time("P1Y".parse().unwrap());
        KeyObject {
            rotation_policy: Some(StoredRotationPolicy {
                policy,
                dates: PolicyDates {
                    created: Timestamp::from_unix_seconds(6),
                    updated: Timestamp::from_unix_seconds(7),
                },
            }),
            announced: Some(KeyVersion::from_bytes([8; 16])),
            ..object()
        }
    }

    /// Bytes as the manual has them, written by hand.
    fn expected(layout: u8, rest: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0, layout];
        bytes.extend([9; 32]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 2, b'a', b'b']);
        bytes.extend([1; 16]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 2]);
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 3]);
        bytes.extend([4; 16]);
        bytes.extend([0, 0, 0, 5]);
        bytes.push(0);
        bytes.extend(rest.concat());
        bytes
    }

    fn key() -> Key32 {
        Key32::copied_from(&[9; 32]).unwrap()
    }

    #[test]
    fn both_layouts_are_as_the_manual_says() {
        assert_eq!(*encode(&key(), &object()).unwrap(), expected(1, &[]));
        let second = expected(
            2,
            &[
                &[1],
                &[0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 7],
                // Rotate: timeBeforeExpiry.
                &[1, 0, 0, 0, 1],
                &[
                    0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0,
                ],
                // Notify: 30 days.
                &[
                    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 30, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                ],
                // expiryTime: one year.
                &[
                    1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                ],
                &[1],
                &[8; 16],
            ],
        );
        assert_eq!(*encode(&key(), &with_policy()).unwrap(), second);
        assert_eq!(decode(&second).unwrap().1, with_policy());
        assert_eq!(decode(&expected(1, &[])).unwrap().1, object());
    }

    #[test]
    fn a_policy_and_an_announcement_each_need_the_longer_layout() {
        for object in [
            KeyObject {
                announced: None,
                ..with_policy()
            },
            KeyObject {
                rotation_policy: None,
                ..with_policy()
            },
        ] {
            let bytes = encode(&key(), &object).unwrap();
            assert_eq!(bytes[..2], [0, 2]);
            assert_eq!(decode(&bytes).unwrap().1, object);
        }
    }

    #[test]
    fn each_key_object_has_one_layout() {
        let longer = expected(2, &[&[0, 0]]);
        assert_eq!(decode(&longer).unwrap_err().kind(), ErrorKind::Corrupt);
        let newer = expected(3, &[]);
        assert_eq!(decode(&newer).unwrap_err().kind(), ErrorKind::NewerFormat);
        let mut impossible = encode(&key(), &with_policy()).unwrap().to_vec();
        // The days of the notice.
        let days = expected(1, &[]).len() + 1 + 16 + 5 + 24 + 11;
        assert_eq!(impossible[days], 30);
        impossible[days] = 6;
        assert_eq!(decode(&impossible).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
