//! Backups of the second edition: a key with a rotation policy, whose versions have release policies.

use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use strongroom::{
    BackupOptions, CreateKeyOptions, Curve, Entropy, Passphrase, PassphraseParameters,
    RecipientKey, ReleasePolicy, RotationPolicy, RotationTrigger, Unlock, Vault,
};

use super::generate::{Blob, Golden, Known, PASSPHRASE, RECIPIENT, blob, to_hex};
use super::{golden, options};
use crate::image::{scratch, write_image};
use crate::support::{master_key, name};

const INVALID: &str = "InvalidBackup";
const NEWER: &str = "NewerFormat";

const RELEASE: &str = r#"{"version":"1.0.0","anyOf":[{"authority":"https://attest.example","allOf":[{"claim":"sdk","equals":"1"}]}]}"#;
const CONTENT_TYPE: &str = "application/json; charset=utf-8";

/// Bytes of a rotation policy with both durations and a trigger.
const ROTATION_LENGTH: usize = 8 + 8 + 1 + 4 + 24 + 24 + 1 + 24;

fn rotation() -> RotationPolicy {
    RotationPolicy::new()
        .rotate(RotationTrigger::TimeAfterCreate("P30D".parse().unwrap()))
        .notify_before_expiry("P10D".parse().unwrap())
        .expiry_time("P3M".parse().unwrap())
}

fn release() -> ReleasePolicy {
    ReleasePolicy::from_json(RELEASE.as_bytes()).unwrap()
}

/// Where the policies stand in a payload of one version.
struct Places {
    /// Behind the byte that says that there is a rotation policy.
    rotation: usize,
    /// The number of release policies.
    releases: usize,
}

impl Places {
    fn of(payload: &[u8]) -> Self {
        let release = 1 + 8 + CONTENT_TYPE.len() + 8 + RELEASE.len() + 1;
        let releases = payload.len() - release - 8;
        let places = Self {
            rotation: releases - ROTATION_LENGTH,
            releases,
        };
        assert_eq!(payload[..2], [0, 2]);
        assert_eq!(payload[places.rotation - 1], 1);
        assert_eq!(payload[releases..releases + 9], [0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert!(payload[places.json(RELEASE.len())] < 2, "immutable or not");
        assert_eq!(&payload[places.json_range()], RELEASE.as_bytes());
        places
    }

    /// The byte at `offset` of a rotation policy: dates 0, trigger 16, notice 45, life 69.
    fn rotation(&self, offset: usize) -> usize {
        self.rotation + offset
    }

    fn content_type(&self) -> usize {
        self.releases + 17
    }

    fn json(&self, offset: usize) -> usize {
        self.content_type() + CONTENT_TYPE.len() + 8 + offset
    }

    fn json_range(&self) -> Range<usize> {
        self.json(0)..self.json(RELEASE.len())
    }
}

pub(super) fn second_edition() -> Value {
    let directory = scratch();
    let path = directory.path().join("vault");
    write_image(&path, &golden());
    let known = Arc::new(Known::default());
    let vault = options()
        .entropy(Arc::clone(&known) as Arc<dyn Entropy>)
        .open(&path, Unlock::raw_key(&master_key()))
        .unwrap();
    let sdk = Golden::read().sdk_ring()[12..44].to_vec();
    let make = |vault: &Vault, release: Option<ReleasePolicy>| {
        let options = CreateKeyOptions::ec(Curve::P256);
        let options = match release {
            Some(policy) => options.exportable().release_policy(policy),
            None => options,
        };
        vault.create_key(&name("v"), options).unwrap();
    };
    let purge = |vault: &Vault| {
        vault.delete_key(&name("v")).unwrap();
        vault.purge_deleted_key(&name("v")).unwrap();
    };
    let for_domain = BackupOptions::new();
    make(&vault, Some(release().immutable()));
    let released = blob(&vault, &known, &for_domain, Some(sdk.clone()));
    purge(&vault);
    make(&vault, None);
    vault
        .update_key_rotation_policy(&name("v"), rotation())
        .unwrap();
    let rotated = blob(&vault, &known, &for_domain, Some(sdk.clone()));
    purge(&vault);
    make(&vault, Some(release()));
    vault
        .update_key_rotation_policy(&name("v"), rotation())
        .unwrap();
    let both = blob(&vault, &known, &for_domain, Some(sdk));
    let key = RecipientKey::from_bytes(&RECIPIENT).unwrap();
    let secret = Passphrase::new(PASSPHRASE).unwrap();
    let for_recipient = for_domain
        .clone()
        .recipient(&key.recipient())
        .without_domain();
    let recipient = blob(&vault, &known, &for_recipient, None);
    let for_passphrase = for_domain
        .passphrase(&secret)
        .passphrase_parameters(PassphraseParameters::new(19_456, 1, 1).unwrap())
        .without_domain();
    let passphrase = blob(&vault, &known, &for_passphrase, None);

    let none = RotationPolicy::new();
    let mut vectors = Vec::new();
    for (title, open, blob, rotation_policy, release_policy) in [
        ("good", "domain", &both, &rotation(), Some(release())),
        (
            "good",
            "recipient",
            &recipient,
            &rotation(),
            Some(release()),
        ),
        (
            "good",
            "passphrase",
            &passphrase,
            &rotation(),
            Some(release()),
        ),
        (
            "only a rotation policy",
            "domain",
            &rotated,
            &rotation(),
            None,
        ),
        (
            "only an immutable release policy",
            "domain",
            &released,
            &none,
            Some(release().immutable()),
        ),
    ] {
        vectors.push(json!({
            "name": format!("{open}: {title}"), "open": open, "blob": STANDARD.encode(blob.build()),
            "expect": "ok", "rotation_policy": rotation_policy, "release_policy": release_policy,
        }));
    }
    for (title, blob, expect) in failures(&both) {
        vectors.push(json!({
            "name": format!("domain: {title}"), "open": "domain", "blob": STANDARD.encode(blob),
            "expect": expect,
        }));
    }
    json!({
        "base": "tests/golden/v1/aes-256-gcm", "recipient": to_hex(&RECIPIENT),
        "passphrase": PASSPHRASE, "vectors": vectors,
    })
}

/// What is sealed rightly and says something else than the library would write.
fn failures(blob: &Blob) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let payload = &blob.payload;
    let places = Places::of(payload);
    let with = |at: usize, new: &[u8]| {
        assert_ne!(payload[at..at + new.len()], *new, "nothing changes at {at}");
        blob.with_payload(at, new)
    };
    let without = |from: usize, to: usize| {
        let mut cut = blob.clone();
        cut.payload.drain(from..to);
        cut.build()
    };
    let longer = |at: usize, more: &[u8]| {
        let mut grown = blob.clone();
        grown.payload.splice(at..at, more.iter().copied());
        grown.build()
    };
    let days = |days: u32| [0, 0, days, 0, 0, 0].map(u32::to_be_bytes).concat();
    let (trigger, notice, life) = (21, 45, 70);
    let end = payload.len();
    let mut no_release = blob.clone();
    no_release.payload.truncate(places.releases + 8);
    no_release.payload.push(0);
    let mut no_policies = no_release.clone();
    no_policies
        .payload
        .drain(places.rotation(0)..places.rotation(ROTATION_LENGTH));
    no_policies.payload[places.rotation(0) - 1] = 0;
    let mut no_list = no_release.clone();
    no_list.payload.truncate(places.releases + 7);
    no_list.payload.push(0);
    let mut two = blob.clone();
    two.payload[places.releases + 7] = 2;
    two.payload.push(0);
    vec![
        ("neither policy", no_policies.build(), "ok"),
        ("no release policy", no_release.build(), "ok"),
        ("layout 3", with(0, &[0, 3]), NEWER),
        ("called layout 1", with(0, &[0, 1]), INVALID),
        ("no list of release policies", no_list.build(), INVALID),
        ("more release policies than versions", two.build(), INVALID),
        (
            "two release policies of which one is there",
            with(places.releases + 7, &[2]),
            INVALID,
        ),
        (
            "very many release policies",
            with(places.releases, &[255; 8]),
            INVALID,
        ),
        ("something behind the policies", longer(end, &[0]), INVALID),
        (
            "cut off in the release policy",
            without(end - 1, end),
            INVALID,
        ),
        (
            "cut off before the policies",
            without(places.rotation(0) - 1, end),
            INVALID,
        ),
        (
            "cut off in the rotation policy",
            without(places.rotation(30), end),
            INVALID,
        ),
        (
            "neither some nor no rotation policy",
            with(places.rotation(0) - 1, &[2]),
            INVALID,
        ),
        (
            "neither some nor no trigger",
            with(places.rotation(16), &[2]),
            INVALID,
        ),
        (
            "a trigger of an unknown kind",
            with(places.rotation(17), &[0, 0, 0, 2]),
            INVALID,
        ),
        (
            "a trigger of 7 days",
            with(places.rotation(trigger), &days(7)),
            "ok",
        ),
        (
            "a trigger of 6 days",
            with(places.rotation(trigger), &days(6)),
            INVALID,
        ),
        (
            "a trigger at once",
            with(places.rotation(trigger), &days(0)),
            INVALID,
        ),
        (
            "a trigger too late",
            with(places.rotation(trigger), &days(86)),
            INVALID,
        ),
        (
            "a trigger at the end of time",
            with(places.rotation(trigger), &[255; 24]),
            INVALID,
        ),
        (
            "a notice of 7 days",
            with(places.rotation(notice), &days(7)),
            "ok",
        ),
        (
            "a notice of 6 days",
            with(places.rotation(notice), &days(6)),
            INVALID,
        ),
        (
            "a notice of no time",
            with(places.rotation(notice), &days(0)),
            INVALID,
        ),
        (
            "a life of 27 days",
            with(places.rotation(life), &days(27)),
            INVALID,
        ),
        (
            "a life of no time",
            with(places.rotation(life), &[0; 24]),
            INVALID,
        ),
        (
            "a life to the end of time",
            with(places.rotation(life), &[255; 24]),
            "ok",
        ),
        (
            "neither some nor no life",
            with(places.rotation(life - 1), &[2]),
            INVALID,
        ),
        (
            "neither some nor no release policy",
            with(places.releases + 8, &[2]),
            INVALID,
        ),
        (
            "a content type that is no text",
            with(places.content_type(), &[0xff]),
            INVALID,
        ),
        (
            "another content type",
            with(places.content_type(), b"text/plain "),
            INVALID,
        ),
        (
            "a content type longer than the payload",
            with(places.content_type() - 8, &[255; 8]),
            INVALID,
        ),
        (
            "a release policy longer than the payload",
            with(places.json(0) - 8, &[255; 8]),
            INVALID,
        ),
        (
            "a release policy that is no JSON",
            with(places.json(0), b"["),
            INVALID,
        ),
        (
            "a release policy that is no text",
            with(places.json(2), &[0xff]),
            INVALID,
        ),
        (
            "a release policy of another version",
            with(places.json(12), b"9"),
            INVALID,
        ),
        (
            "a release policy of an unknown rule",
            with(places.json(20), b"xnyOf"),
            INVALID,
        ),
        ("neither immutable nor not", with(end - 1, &[2]), INVALID),
        ("an immutable release policy", with(end - 1, &[1]), "ok"),
        (
            "dates at the end of time",
            with(places.rotation(0), &[255; 16]),
            "ok",
        ),
        (
            "a rotation policy that is not there",
            with(places.rotation(0) - 1, &[0]),
            INVALID,
        ),
    ]
}
