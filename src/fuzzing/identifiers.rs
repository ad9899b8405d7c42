//! Everything short that is parsed from text: what is displayed is parsed to the same.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use super::fixture::Input;
use crate::model::algorithm::{EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm};
use crate::model::attributes::RecoveryLevel;
use crate::model::identifier::{KeyIdentifier, VaultUrl};
use crate::model::key::BackendId;
use crate::model::name::KeyName;
use crate::model::name_pattern::NamePattern;
use crate::model::operation::{KeyOperation, KeyOperations};
use crate::model::paging::{ContinuationToken, PageSize};
use crate::model::permission::{Permission, Permissions};
use crate::model::pin::VaultPin;
use crate::model::principal::Principal;
use crate::model::spec::{Curve, KeyType};
use crate::model::tags::Tags;
use crate::model::version::KeyVersion;
use crate::seal::hpke::Recipient;
use crate::seal::slot::SlotId;

const ECDSA: [SignatureAlgorithm; 4] = [
    SignatureAlgorithm::Es256,
    SignatureAlgorithm::Es384,
    SignatureAlgorithm::Es512,
    SignatureAlgorithm::Es256K,
];

/// Text by every parser; tags, sizes and signatures by the first byte.
pub(super) fn run(data: &[u8]) -> bool {
    let Some((selector, bytes)) = data.split_first() else {
        return false;
    };
    match selector % 4 {
        0 | 1 => std::str::from_utf8(bytes).is_ok_and(texts),
        2 => tags(Input::new(bytes)),
        _ => signatures(bytes),
    }
}

fn texts(text: &str) -> bool {
    let mut accepted = false;
    accepted |= shown::<KeyName>(text);
    accepted |= shown::<KeyIdentifier>(text);
    accepted |= shown::<KeyVersion>(text);
    accepted |= shown::<VaultUrl>(text);
    accepted |= shown::<BackendId>(text);
    accepted |= shown::<NamePattern>(text);
    accepted |= shown::<ContinuationToken>(text);
    accepted |= shown::<Principal>(text);
    accepted |= shown::<VaultPin>(text);
    accepted |= shown::<SlotId>(text);
    accepted |= shown::<Recipient>(text);
    accepted |= shown::<KeyOperation>(text);
    accepted |= shown::<Permission>(text);
    accepted |= shown::<RecoveryLevel>(text);
    accepted |= shown::<Curve>(text);
    accepted |= shown::<KeyType>(text);
    accepted |= shown::<SignatureAlgorithm>(text);
    accepted |= shown::<EncryptionAlgorithm>(text);
    accepted |= shown::<WrapAlgorithm>(text);
    if let Ok(name) = text.parse::<KeyName>() {
        assert_eq!(name.as_str(), text);
        let upper: KeyName = text.to_uppercase().parse().expect("it is ASCII");
        assert_eq!(upper, name);
        let exact: NamePattern = text.parse().expect("a name is a pattern");
        assert!(exact.matches(&upper));
    }
    if let Ok(id) = text.parse::<KeyIdentifier>() {
        // JSON has the same form.
        let json = serde_json::to_string(&id).expect("a text is JSON");
        let again: KeyIdentifier = serde_json::from_str(&json).expect("it was just written");
        assert_eq!(again.to_string(), id.to_string());
        assert!(id.to_string().len() <= text.len() + 1);
    }
    accepted
}

/// Whether the text was accepted; then its displayed form is, too, and displayed the same.
fn shown<T: FromStr + Display + Debug>(text: &str) -> bool {
    let Ok(value) = text.parse::<T>() else {
        return false;
    };
    let shown = value.to_string();
    let Ok(again) = shown.parse::<T>() else {
        panic!("{value:?} is not parsed from what it displays: {shown}");
    };
    assert_eq!(again.to_string(), shown);
    true
}

fn tags(mut input: Input<'_>) -> bool {
    let size = input.u8();
    assert_eq!(PageSize::new(size).is_ok(), (1..=25).contains(&size));
    let bits = input.u8();
    let operations = KeyOperations::from_bits(bits);
    assert_eq!(operations.to_bits(), bits);
    assert_eq!(operations.iter().collect::<KeyOperations>(), operations);
    let permissions = Permissions::from_bits(input.u32());
    if let Some(permissions) = &permissions {
        let again = permissions
            .iter()
            .fold(Permissions::none(), Permissions::with);
        assert_eq!(again, *permissions);
    }
    let mut tags = Tags::new();
    while !input.is_empty() {
        let (name, value) = (usize::from(input.u8()), usize::from(input.u16()));
        let name = String::from_utf8_lossy(input.take(name)).into_owned();
        let value = String::from_utf8_lossy(input.take(value)).into_owned();
        let before = tags.len();
        let known = tags.get(&name).is_some();
        match tags.insert(name.clone(), value.clone()) {
            Ok(()) => {
                assert_eq!(tags.get(&name), Some(value.as_str()));
                assert_eq!(tags.len(), before + usize::from(!known));
            }
            Err(_) => assert_eq!(tags.len(), before),
        }
        assert!(tags.len() <= Tags::MAX_COUNT);
    }
    !tags.is_empty()
}

fn signatures(bytes: &[u8]) -> bool {
    let mut accepted = false;
    for algorithm in ECDSA {
        if let Ok(raw) = algorithm.signature_from_der(bytes)
            && let Ok(der) = algorithm.signature_to_der(&raw)
        {
            assert_eq!(der, bytes);
            accepted = true;
        }
        if let Ok(der) = algorithm.signature_to_der(bytes) {
            let raw = algorithm.signature_from_der(&der);
            assert_eq!(raw.expect("it was just encoded"), bytes);
            accepted = true;
        }
    }
    accepted
}
