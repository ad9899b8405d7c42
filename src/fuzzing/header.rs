//! Copies of the header file and slots of the anchor file, signed again after they were changed.

use std::sync::LazyLock;

use super::fixture::{
    DOMAIN_ID, FixedEntropy, SUITE, VAULT_ID, edited, hierarchy, kek_ring, root, sdk_ring,
};
use crate::error::ErrorKind;
use crate::format::anchor::Anchor;
use crate::format::header::{
    HEADER_COPY_LENGTH, HEADER_MAC_LENGTH, MAX_SLOTS, StoredHeader, choose,
};
use crate::seal::anchor::{open_anchor, seal_anchor};
use crate::seal::hash32;
use crate::seal::header::{OpenLimits, open_first, open_header, seal_header};
use crate::seal::hierarchy::Hierarchy;
use crate::seal::hpke::RecipientKey;
use crate::seal::passphrase::PassphraseParameters;
use crate::seal::slot::{NewSlot, PassphraseCost, SlotId, Unlock, seal_slot};
use crate::secret::{MasterKey, Passphrase};

/// A valid vault's beginning, and what opens it.
pub(super) struct Base {
    pub(super) hierarchy: Hierarchy,
    pub(super) master: MasterKey,
    pub(super) passphrase: Passphrase,
    pub(super) recipient: RecipientKey,
    pub(super) copy: Vec<u8>,
    anchor: Anchor,
}

pub(super) static BASE: LazyLock<Base> = LazyLock::new(|| {
    let entropy = FixedEntropy::default();
    let bytes: Vec<u8> = (101..=132).collect();
    let master = MasterKey::from_bytes(&bytes).expect("these are 32 bytes");
    let passphrase = Passphrase::new("an open secret").expect("it is short");
    let recipient = RecipientKey::from_bytes(&[0x42; 32]).expect("these are 32 bytes");
    let (root, hierarchy) = (root(), hierarchy());
    let cheapest = PassphraseParameters::new(19_456, 1, 1).expect("these are legal");
    let slots = [
        NewSlot::from(Unlock::raw_key(&master)),
        NewSlot::from(Unlock::passphrase(&passphrase)),
        NewSlot::recipient(&recipient.recipient()),
    ]
    .map(|new| {
        let id = SlotId::random(&entropy).expect("it never fails");
        let cost = PassphraseCost::Chosen(cheapest);
        seal_slot(new, id, cost, &VAULT_ID, SUITE, &root, &entropy).expect("it fits")
    });
    let stored = seal_header(
        &hierarchy,
        DOMAIN_ID,
        3,
        slots.to_vec(),
        &kek_ring(),
        &sdk_ring(),
        &entropy,
    )
    .expect("it fits");
    Base {
        copy: stored.encode(hash32),
        hierarchy,
        master,
        passphrase,
        recipient,
        anchor: Anchor {
            generation: 5,
            state_hash: [6; 32],
            vault_id: VAULT_ID,
        },
    }
});

/// Raw copies and anchors; or edits of valid ones under a right checksum and a right MAC.
pub(super) fn run(data: &[u8]) -> bool {
    let Some((selector, bytes)) = data.split_first() else {
        return false;
    };
    match selector % 4 {
        0 => raw(bytes),
        1 => copies(bytes),
        2 => anchor(&edited(&seal_anchor(&BASE.hierarchy, &BASE.anchor), bytes)),
        _ => {
            let anchor = Anchor::decode(bytes);
            if let Ok((anchor, mac)) = &anchor {
                assert_eq!(anchor.encode(mac)[..], *bytes);
            }
            anchor.is_ok()
        }
    }
}

fn raw(bytes: &[u8]) -> bool {
    // A checksum that every input can meet.
    let checksum = |_: &[u8]| [0; 32];
    let decoded = StoredHeader::decode(bytes, checksum);
    if let Ok(stored) = &decoded {
        assert_eq!(stored.encode(checksum), bytes);
        assert!((1..=MAX_SLOTS).contains(&stored.header.slots.len()));
        // What nobody signed opens for nobody.
        let opened = open_header(
            stored.clone(),
            Unlock::raw_key(&BASE.master),
            OpenLimits::default(),
        );
        assert!(opened.is_err() || stored.encode(hash32) == BASE.copy);
    }
    decoded.is_ok()
}

/// The checksum and the MAC that the bytes before them call for.
fn signed(mut copy: Vec<u8>) -> Vec<u8> {
    if copy.len() == HEADER_COPY_LENGTH {
        let mac_at = HEADER_COPY_LENGTH - HEADER_MAC_LENGTH;
        let checksum_at = mac_at - 32;
        let checksum = hash32(&copy[..checksum_at]);
        copy[checksum_at..mac_at].copy_from_slice(&checksum);
        let mac = BASE.hierarchy.header_mac(&copy[..mac_at]);
        copy[mac_at..].copy_from_slice(&mac);
    }
    copy
}

/// An altered copy beside the good one: the good one opens, whatever the other says, but for one of a later format.
fn copies(edits: &[u8]) -> bool {
    let good = &BASE.copy;
    let altered = signed(edited(good, edits));
    let chosen = choose(&altered, good, hash32);
    let candidates = match chosen {
        Ok(candidates) => candidates,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NewerFormat);
            return false;
        }
    };
    assert!(candidates.len() <= 2);
    let fingerprint = BASE.hierarchy.fingerprint();
    let limits = OpenLimits {
        // Nobody pays for what an altered slot asks for.
        max_kdf_work_kib: 0,
        expected_root: Some(fingerprint),
    };
    for unlock in [
        Unlock::raw_key(&BASE.master),
        Unlock::recipient(&BASE.recipient),
    ] {
        let opened = open_first(candidates.clone(), unlock, limits).expect("one copy is good");
        let stored = opened.stored.encode(hash32);
        assert!(stored == altered || stored == *good);
        assert_eq!(opened.hierarchy.fingerprint(), fingerprint);
        assert!(opened.slot < opened.stored.header.slots.len());
    }
    let by_passphrase = open_first(candidates, Unlock::passphrase(&BASE.passphrase), limits);
    let refused = by_passphrase.expect_err("its cost is above the limit");
    assert!(matches!(
        refused.kind(),
        ErrorKind::KdfCostRefused | ErrorKind::WrongKey | ErrorKind::NewerFormat
    ));

    // The altered copy alone.
    let Ok(stored) = StoredHeader::decode(&altered, hash32) else {
        return false;
    };
    assert_eq!(stored.encode(hash32), altered);
    match open_header(stored, Unlock::raw_key(&BASE.master), limits) {
        Ok(opened) => {
            assert_eq!(opened.hierarchy.vault_id(), &VAULT_ID);
            true
        }
        Err(error) => {
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::WrongKey
                        | ErrorKind::NewerFormat
                        | ErrorKind::Tampered
                        | ErrorKind::Corrupt
                ),
                "{error}"
            );
            false
        }
    }
}

fn anchor(altered: &[u8]) -> bool {
    let mut altered = altered.to_vec();
    if let Some((head, rest)) = altered.split_at_mut_checked(64)
        && let Some(mac) = rest.get_mut(..32)
    {
        mac.copy_from_slice(&BASE.hierarchy.anchor_mac(head));
    }
    match open_anchor(&BASE.hierarchy, &altered) {
        Ok(anchor) => {
            assert_eq!(anchor.vault_id, VAULT_ID);
            assert_eq!(seal_anchor(&BASE.hierarchy, &anchor)[..], *altered);
            true
        }
        Err(error) => {
            assert!(matches!(
                error.kind(),
                ErrorKind::Corrupt | ErrorKind::Tampered
            ));
            false
        }
    }
}
