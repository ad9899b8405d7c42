//! What types of secrets cannot do: be copied, cloned, displayed or serialised. The answer for each type is a constant
//! that the compiler finds; types that can are controls.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use strongroom::backend::KeyBlob;
use strongroom::{
    CreateKeyOptions, DataKey, ImportKeyOptions, ImportedKey, KeyMaterial, MasterKey, Passphrase,
    RecipientKey, SecretBytes,
};

/// Whether the type implements the trait.
macro_rules! implements {
    ($type:ty: $($bound:tt)+) => {{
        // An inherent constant hides the one of a trait.
        #[allow(dead_code, reason = "only for types that do not")]
        trait Otherwise {
            const YES: bool = false;
        }
        struct Asked<T: ?Sized>(std::marker::PhantomData<T>);
        impl<T: ?Sized> Otherwise for Asked<T> {}
        #[allow(dead_code, reason = "only for types that do")]
        impl<T: ?Sized + $($bound)+> Asked<T> {
            const YES: bool = true;
        }
        <Asked<$type>>::YES
    }};
}

macro_rules! abilities {
    ($($type:ty),+ $(,)?) => {
        [$((
            stringify!($type),
            [
                ("Clone", implements!($type: Clone)),
                ("Copy", implements!($type: Copy)),
                ("Display", implements!($type: Display)),
                ("Serialize", implements!($type: Serialize)),
                ("Deserialize", implements!($type: for<'de> Deserialize<'de>)),
                ("Default", implements!($type: Default)),
                ("AsRef<[u8]>", implements!($type: AsRef<[u8]>)),
                ("Deref<Target = [u8]>", implements!($type: std::ops::Deref<Target = [u8]>)),
                ("Into<Vec<u8>>", implements!($type: Into<Vec<u8>>)),
                ("PartialOrd", implements!($type: PartialOrd)),
                ("Hash", implements!($type: std::hash::Hash)),
            ],
        )),+]
    };
}

#[test]
fn types_of_secrets_cannot_be_cloned_copied_displayed_or_serialised() {
    let secret = abilities![
        SecretBytes,
        MasterKey,
        Passphrase,
        RecipientKey,
        ImportedKey,
        KeyMaterial,
        KeyBlob,
        DataKey,
        CreateKeyOptions,
        ImportKeyOptions,
    ];
    for (name, abilities) in secret {
        for (ability, has) in abilities {
            assert!(!has, "{name} implements {ability}");
        }
    }
    #[cfg(feature = "pkcs11")]
    {
        let [(name, abilities)] = abilities![strongroom::Pin];
        for (ability, has) in abilities {
            assert!(!has, "{name} implements {ability}");
        }
        // It can be shared, and nothing can be got out of it.
        assert!(!implements!(strongroom::backend::pkcs11::PinSource: Display));
        assert!(!implements!(strongroom::backend::pkcs11::PinSource: Serialize));
    }
}

/// Without these the test above would prove nothing.
#[test]
fn the_question_has_the_other_answer_for_types_that_can() {
    let able = abilities![String];
    let missing: Vec<&str> = able[0]
        .1
        .iter()
        .filter(|(_, has)| !has)
        .map(|(ability, _)| *ability)
        .collect();
    assert_eq!(missing, ["Copy", "Deref<Target = [u8]>"]);
    let [(_, copied)] = abilities![u8];
    assert!(copied[1].1);
    let [(_, bytes)] = abilities![Vec<u8>];
    assert!(bytes[7].1);
    // References to secrets may be copied, and what borrows them may be.
    assert!(implements!(&MasterKey: Copy));
    assert!(implements!(strongroom::Unlock<'static>: Copy));
    assert!(!implements!(strongroom::Unlock<'static>: Display));
}

/// Everything that is shown to people has `Debug`, and only what is no secret also `Display`.
#[test]
fn types_of_secrets_can_be_debugged() {
    assert!(implements!(SecretBytes: std::fmt::Debug));
    assert!(implements!(MasterKey: std::fmt::Debug));
    assert!(implements!(strongroom::Recipient: Display));
    assert!(!implements!(RecipientKey: Display));
}
