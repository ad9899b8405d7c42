//! From the model's values to the library's.

use strongroom::{
    CreateKeyOptions, Curve, ImportKeyOptions, ImportedKey, OctKeySize, RsaKeySize, Tags,
    Timestamp, UpdateKeyOptions,
};

use super::steps::{New, Patch, Update};
use super::tables::Kind;
use crate::make;
use crate::support::{fixed_oct, fixed_rsa};

pub(super) fn tags(number: u8) -> Tags {
    let mut tags = Tags::new();
    for bit in 0..3 {
        if number >> bit & 1 == 1 {
            tags.insert(format!("tag-{bit}"), format!("value-{bit}"))
                .unwrap();
        }
    }
    tags
}

pub(super) fn time(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

pub(super) fn material(kind: Kind) -> ImportedKey {
    match kind {
        Kind::Mac64 => fixed_oct(64),
        Kind::Oct256 => fixed_oct(32),
        Kind::Oct128 => fixed_oct(16),
        Kind::Rsa2048 => fixed_rsa(RsaKeySize::Bits2048),
        // The key of RFC 7515, appendix A.3.1.
        Kind::P256 | Kind::P256K => ImportedKey::from_jwk(
            br#"{"kty":"EC","crv":"P-256",
            "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            "d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#,
        )
        .unwrap(),
    }
}

/// The setters that creating and importing share.
macro_rules! dressed {
    ($options:expr, $new:expr) => {{
        let mut options = $options.enabled($new.enabled).tags(tags($new.tags));
        if let Some(operations) = $new.operations {
            options = options.operations(operations);
        }
        if let Some(not_before) = $new.not_before {
            options = options.not_before(time(not_before));
        }
        if let Some(expires_on) = $new.expires_on {
            options = options.expires_on(time(expires_on));
        }
        if $new.type_change {
            options = options.allow_type_change();
        }
        options
    }};
}

pub(super) fn create_options(new: &New) -> CreateKeyOptions {
    let options = match new.kind {
        Kind::P256 => make::ec(Curve::P256),
        Kind::P256K => make::ec(Curve::P256K),
        Kind::Oct128 => make::oct(OctKeySize::Bits128),
        Kind::Oct256 => make::oct(OctKeySize::Bits256),
        Kind::Mac64 | Kind::Rsa2048 => panic!("{:?} is only imported", new.kind),
    };
    dressed!(options.backup_allowed(), new)
}

pub(super) fn update_options(update: &Update) -> UpdateKeyOptions {
    let mut options = UpdateKeyOptions::new();
    if let Some(enabled) = update.enabled {
        options = options.enabled(enabled);
    }
    if let Some(operations) = update.operations {
        options = options.operations(operations);
    }
    options = match update.not_before {
        Patch::Keep => options,
        Patch::Set(seconds) => options.not_before(time(seconds)),
        Patch::Clear => options.clear_not_before(),
    };
    options = match update.expires_on {
        Patch::Keep => options,
        Patch::Set(seconds) => options.expires_on(time(seconds)),
        Patch::Clear => options.clear_expires_on(),
    };
    match update.tags {
        Patch::Keep => options,
        Patch::Set(number) => options.tags(tags(number)),
        Patch::Clear => options.clear_tags(),
    }
}

pub(super) fn import_options(new: &New) -> ImportKeyOptions {
    dressed!(make::import(material(new.kind)).backup_allowed(), new)
}
