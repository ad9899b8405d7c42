//! Inputs to begin with, made by the encoders. `fuzz/seeds` has others, from vectors and from fuzzing.

use super::fixture::{DOMAIN_ID, NOW, VAULT_ID, sdk_ring, settings, vault};
use super::header::BASE;
use super::sealing::recipient;
use crate::format::anchor::Anchor;
use crate::format::audit::{Event, EventFields, EventSubject, encode_record};
use crate::format::backup::Modes;
use crate::format::bucket::Bucket;
use crate::format::domain_file;
use crate::format::header::StoredHeader;
use crate::format::intent::{Action, Intent};
use crate::format::record::IndexKey;
use crate::format::settings::{
    DomainEpochs, encode_access_policy, encode_audit_options, encode_domain_epochs, encode_identity,
};
use crate::format::slot::SLOT_LENGTH;
use crate::format::state::State;
use crate::format::vault_stream::{
    DeletionPrefix, Edition, StreamEnd, StreamHead, encode_settings,
};
use crate::model::algorithm::SignatureAlgorithm;
use crate::model::audit::AuditOptions;
use crate::model::base64url;
use crate::model::key::{BackendInstance, Deletion, KeyBlob, KeyTag};
use crate::model::material::PublicParts;
use crate::model::name::KeyName;
use crate::model::options::CreateKeyOptions;
use crate::model::permission::{Permission, Permissions};
use crate::model::principal::Principal;
use crate::model::spec::{Curve, OctKeySize};
use crate::model::version::KeyVersion;
use crate::seal::backup::{BackupKey, Opening, open_backup};
use crate::seal::hash32;
use crate::secret::SecretBytes;
use crate::vault::{AuditCheckpoint, BackupOptions, VaultOptions};

type Seeds = Vec<(&'static str, Vec<u8>)>;

/// selector ‖ bytes.
fn behind(selector: u8, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    [&[selector], bytes.as_ref()].concat()
}

fn principal() -> Principal {
    "someone@example.org".parse().expect("it is legal")
}

fn checkpoint() -> AuditCheckpoint {
    let vault = VaultOptions::new().audit(AuditOptions::on());
    let vault = vault.create_in_memory().expect("memory is there");
    vault.audit_checkpoint().expect("the vault is open")
}

pub(super) fn audit() -> Seeds {
    let name = KeyName::from_static("a-key");
    let principal = principal();
    let event = |subject, error, version| {
        let fields = EventFields {
            time_ms: NOW.unix_seconds() * 1_000,
            count: 2,
            operation: "KeySign",
            error,
            subject,
            version,
            actor: Some(&principal),
        };
        Event::new(&fields).expect("it is short")
    };
    let version = Some(KeyVersion::from_bytes([3; 16]));
    let events = [
        event(EventSubject::Vault, "", None),
        event(EventSubject::Key(&name), "KeyDisabled", version),
        event(EventSubject::Principal(&principal), "", None),
    ];
    let record = encode_record(7, &events).expect("there are three");
    let mut seeds = vec![
        ("record", behind(0, record)),
        ("checkpoint", behind(2, checkpoint().to_bytes())),
        ("signed", vec![3]),
        ("signed-other", vec![3, 2, 0, 20, 1]),
    ];
    for (name, event) in ["vault", "key", "principal"].into_iter().zip(&events) {
        seeds.push((name, behind(1, event.as_bytes())));
    }
    seeds
}

/// The payload of a backup of a key with two versions.
fn payload(name: &str, options: fn() -> CreateKeyOptions) -> Vec<u8> {
    let (vault, _) = vault();
    let name: KeyName = name.parse().expect("it is legal");
    let made = |options: CreateKeyOptions| {
        let options = options.backup_allowed().tag("a", "b");
        vault.create_key(&name, options).expect("it is legal");
    };
    made(options());
    made(options().enabled(false));
    let recipient = recipient();
    let sealed_for = BackupOptions::new()
        .without_domain()
        .recipient(&recipient.recipient());
    let blob = vault
        .backup_key_with(&name, &sealed_for)
        .expect("software keys can be");
    let opening = Opening {
        domain: None,
        by: Some(BackupKey::recipient(&recipient)),
        max_kdf_work_kib: 0,
    };
    let opened = open_backup(opening, Modes::KEY, blob.as_bytes());
    opened.expect("it was just sealed").payload.to_vec()
}

fn payloads() -> [(&'static str, Vec<u8>); 2] {
    [
        ("ec", payload("ec", || CreateKeyOptions::ec(Curve::P256))),
        (
            "oct",
            payload("oct", || CreateKeyOptions::oct(OctKeySize::Bits256)),
        ),
    ]
}

pub(super) fn backup() -> Seeds {
    let [(_, ec), (_, oct)] = payloads();
    vec![
        ("payload-ec", behind(0, &ec)),
        ("header", vec![2]),
        ("header-mode", vec![2, 5, 0, 11, 1, 1]),
        ("restored-ec", behind(3, &ec)),
        ("restored-oct", behind(3, &oct)),
    ]
}

pub(super) fn containers() -> Seeds {
    Vec::new()
}

pub(super) fn header() -> Seeds {
    let mut raw = BASE.copy.clone();
    raw[20_384..20_416].fill(0);
    let anchor = Anchor {
        generation: 1,
        state_hash: [2; 32],
        vault_id: VAULT_ID,
    };
    vec![
        ("raw", behind(0, raw)),
        ("same", vec![1]),
        // Another sequence number, another length of what is wrapped, two slots instead of three.
        ("seq", vec![1, 5, 0, 55, 1, 9]),
        ("length", vec![1, 5, 0, 66, 2, 0xff, 0xff]),
        ("slots", vec![1, 5, 0, 57, 1, 2]),
        ("anchor-same", vec![2]),
        ("anchor-generation", vec![2, 5, 0, 15, 1, 9]),
        ("anchor-raw", behind(3, anchor.encode(&[4; 32]))),
    ]
}

pub(super) fn identifiers() -> Seeds {
    let texts: &[(&str, &str)] = &[
        ("name", "a-Key-9"),
        (
            "identifier",
            "https://my.vault:8443/keys/a-Key/00112233445566778899aabbccddeeff",
        ),
        ("version", "00112233445566778899aabbccddeeff"),
        ("url", "http://localhost/"),
        ("pattern", "prod-*"),
        ("principal", "someone@example.org"),
        ("permission", "keys/get"),
        ("algorithm", "RSA-OAEP-256"),
        ("curve", "P-256K"),
        ("type", "oct-HSM"),
    ];
    let mut seeds: Seeds = texts
        .iter()
        .map(|(name, text)| (*name, behind(0, text)))
        .collect();
    let recipient = recipient().recipient().to_string();
    seeds.push(("recipient", behind(0, recipient)));
    let (vault, _) = vault();
    let pin = vault.pin().expect("the vault is open");
    seeds.push(("pin", behind(0, pin.to_string())));
    seeds.push((
        "tags",
        behind(
            2,
            b"\x19\x3f\x00\x00\x00\x07\x01\x00\x02ab\xc3\x01\x00\x00a",
        ),
    ));
    let (one, two) = ([0x11; 32], [0xe1; 32]);
    let raw = [one, two].concat();
    let der = SignatureAlgorithm::Es256
        .signature_to_der(&raw)
        .expect("it has the length");
    seeds.push(("signature-raw", behind(3, raw)));
    seeds.push(("signature-der", behind(3, der)));
    seeds
}

pub(super) fn jwk() -> Seeds {
    Vec::new()
}

pub(super) fn operations() -> Seeds {
    let life = [
        0, 0, 0, 10, 0, 1, 3, 0, 8, 0, 5, 0, 14, 0, 7, 0, 9, 0, 0, 15, 0, 1,
    ];
    let cipher = [
        0, 1, 1, 11, 1, 40, 12, 1, 3, 4, 1, 0, 3, 11, 1, 9, 2, 2, 7, 3, 2,
    ];
    let time = [
        0, 2, 0, 5, 2, 13, 0, 60, 6, 2, 5, 2, 13, 0, 95, 6, 2, 0, 2, 2,
    ];
    vec![
        ("life", life.to_vec()),
        ("cipher", cipher.to_vec()),
        ("time", time.to_vec()),
        (
            "all",
            [life, [16; 22]]
                .concat()
                .into_iter()
                .chain(cipher)
                .chain(time)
                .collect(),
        ),
    ]
}

#[cfg(feature = "pkcs11")]
pub(super) fn pkcs11() -> Seeds {
    use super::pkcs11::{mgf1, xor};
    use crate::crypto::hash::digest;
    use crate::model::algorithm::HashAlgorithm;

    // The base point of P-256.
    let point = [
        &[4][..],
        b"\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2",
        b"\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96",
        b"\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16",
        b"\x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5",
    ]
    .concat();
    let mut modulus = vec![0xc5; 256];
    modulus[255] = 0x4f;
    let rsa = [&[0, 4, 3, 1, 0, 1][..], &modulus].concat();
    let texts = [
        &[1, 0, 0, 0, 0, 0, 0, 0, 4][..],
        &[b' '; 92],
        b"0123",
        b"strongroom/abababababababab/00112233445566778899aabbccddeeff",
    ]
    .concat();
    let mut pkcs1 = vec![2, 0, 1, 0];
    pkcs1.extend([0, 2]);
    pkcs1.extend([0x77; 200]);
    pkcs1.push(0);
    pkcs1.extend([0x61; 53]);
    let mut data = digest(HashAlgorithm::Sha256, b"");
    data.resize(180, 0);
    data.push(1);
    data.resize(223, 0x61);
    let masked = xor(&data, &mgf1(&[0x31; 32], 223));
    let seed = xor(&[0x31; 32], &mgf1(&masked, 32));
    let oaep = [&[2, 1, 1, 0, 0][..], &seed, &masked].concat();
    vec![
        ("point", [&[0, 0][..], &point].concat()),
        ("point-wrapped", [&[0, 0, 4, 65][..], &point].concat()),
        ("rsa", rsa),
        ("texts", texts),
        ("pkcs1", pkcs1),
        ("oaep", oaep),
        ("signature", [&[3][..], &[1; 32], &[0xf0; 32]].concat()),
    ]
}

pub(super) fn policies() -> Seeds {
    let release = br#"{"version":"1.0.0","anyOf":[{"authority":"https://a.example","allOf":[{"claim":"t.level","equals":3},{"anyOf":[{"claim":"t.debug","equals":false},{"claim":"x","equals":"y"}]}]}]}"#;
    let rotation = br#"{"lifetimeActions":[{"trigger":{"timeBeforeExpiry":"P30D"},"action":{"type":"Notify"}},{"trigger":{"timeAfterCreate":"P90D"},"action":{"type":"Rotate"}}],"attributes":{"expiryTime":"P1Y"}}"#;
    let part = |bytes: &[u8]| base64url::encode(bytes);
    let token = [
        part(br#"{"alg":"ES256","kid":"k"}"#),
        part(br#"{"iss":"https://a.example","exp":1,"t":{"level":3,"debug":false}}"#),
        part(&[1; 64]),
    ]
    .join(".");
    vec![
        (
            "token",
            [&[0], token.as_bytes(), &[0], &release[..]].concat(),
        ),
        ("release", behind(1, release)),
        ("rotation", behind(2, rotation)),
        (
            "transfer",
            behind(
                3,
                br#"{"schema_version":"1.0.0","header":{"kid":"https://v/keys/k/00112233445566778899aabbccddeeff","alg":"dir","enc":"CKM_RSA_AES_KEY_WRAP"},"ciphertext":"AA"}"#,
            ),
        ),
    ]
}

pub(super) fn record() -> Seeds {
    let intent = |action| {
        let intent = Intent {
            tag: KeyTag::from_bytes([7; 16]),
            backend: "pkcs11".parse().expect("it is legal"),
            action,
        };
        behind(13, &*intent.encode().expect("it is short"))
    };
    let blob = || KeyBlob::new(SecretBytes::copied_from(b"resident"));
    let permissions = Permissions::none().with(Permission::Get);
    let names = ["prod-*", "one"].map(|name| name.parse().expect("it is legal"));
    let permissions = permissions.for_names(names).expect("there are two");
    let policy = encode_access_policy(&principal(), &permissions).expect("it is short");
    let epochs = DomainEpochs {
        floor: 1,
        made: vec![(1, NOW), (2, NOW)],
    };
    let public = PublicParts::Ec {
        curve: Curve::P256,
        x: vec![1; 32],
        y: vec![2; 32],
    };
    let audit = encode_audit_options(&AuditOptions::on()).expect("it is short");
    let epochs = encode_domain_epochs(&epochs).expect("it is short");
    let identity = encode_identity(&public, &blob()).expect("it is short");
    let remove = [&[2][..], IndexKey::settings(1).as_bytes(), &[0; 4]].concat();
    let key = b"SRP11\x01\x02\x0b\x00\x080123abcd................\x02\x00\x04main\x00\x03mac";
    let backup = [
        &b"SRP1B\x01................\x03\x00\x080123abcd\x00\x00\x10"[..],
        &[1; 16],
        b"\x00\x18",
        &[2; 24],
    ]
    .concat();
    let instance = BackendInstance::new(b"0123abcd");
    vec![
        ("intent-creation", intent(Action::Creation(instance))),
        ("intent-destruction", intent(Action::Destruction(blob()))),
        ("policy", behind(14, &*policy)),
        ("audit-options", behind(15, &*audit)),
        ("identity", behind(16, &*identity)),
        ("epochs", behind(17, &*epochs)),
        ("group", behind(18, remove)),
        ("token-key", behind(19, key)),
        ("token-key-backup", behind(20, backup)),
        (
            "index",
            behind(22, IndexKey::key_object([9; 16]).as_bytes()),
        ),
    ]
}

#[cfg(feature = "rest")]
pub(super) fn rest() -> Seeds {
    let requests: [(&str, &[u8]); 15] = [
        ("get", b"GET\n/keys/ec?api-version=7.4\n"),
        ("list", b"GET\n/keys?api-version=7.4&maxresults=1\n"),
        ("versions", b"GET\n/keys/oct/versions?api-version=7.4\n"),
        (
            "patch",
            b"PATCH\n/keys/ec?api-version=7.4\n{\"attributes\":{\"enabled\":true},\"tags\":{\"a\":\"b\"}}",
        ),
        (
            "sign",
            b"POST\n/keys/ec/sign?api-version=7.4\n{\"alg\":\"ES256\",\"value\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        ),
        (
            "encrypt",
            b"POST\n/keys/oct/encrypt?api-version=7.4\n{\"alg\":\"A256GCM\",\"value\":\"AAAA\",\"aad\":\"AAAA\"}",
        ),
        (
            "wrap",
            b"POST\n/keys/oct/wrapkey?api-version=7.4\n{\"alg\":\"A256KW\",\"value\":\"AAAAAAAAAAAAAAAAAAAAAA\"}",
        ),
        ("restore", b"POST\n/keys/restore?api-version=7.4\n{\"value\":\"AAAA\"}"),
        ("rng", b"POST\n/rng?api-version=7.4\n{\"count\":16}"),
        (
            "policy",
            b"GET\n/keys/ec/rotationpolicy?api-version=7.4\n",
        ),
        (
            "set-policy",
            b"PUT\n/keys/ec/rotationpolicy?api-version=7.4\n{\"lifetimeActions\":[{\"trigger\":{\"timeAfterCreate\":\"P90D\"},\"action\":{\"type\":\"Rotate\"}}],\"attributes\":{\"expiryTime\":\"P1Y\"}}",
        ),
        (
            "release",
            b"POST\n/keys/secret/release?api-version=7.4\n{\"target\":\"eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJodHRwczovL2EiLCJiIjoxLCJleHAiOjIwMDAwMDAwMDAsIm5vbmNlIjoibiJ9.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"nonce\":\"n\",\"enc\":\"RSA_AES_KEY_WRAP_256\"}",
        ),
        (
            "patch-policy",
            b"PATCH\n/keys/secret?api-version=7.4\n{\"attributes\":{\"exportable\":true},\"release_policy\":{\"contentType\":\"application/json\",\"data\":\"eyJ2ZXJzaW9uIjoiMS4wLjAiLCJhbnlPZiI6W3siYXV0aG9yaXR5IjoiaHR0cHM6Ly9hIiwiYWxsT2YiOlt7ImNsYWltIjoiYiIsImVxdWFscyI6MX1dfV19\",\"immutable\":false}}",
        ),
        (
            "attestation",
            b"GET\n/keys/ec/attestation?api-version=7.6\n",
        ),
        (
            "import-wrapped",
            b"PUT\n/keys/new?api-version=7.6\n{\"key\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"key_hsm\":\"eyJzY2hlbWFfdmVyc2lvbiI6IjEuMC4wIiwiaGVhZGVyIjp7ImtpZCI6Imh0dHBzOi8vdmF1bHQuaW52YWxpZC9rZXlzL2VjLzAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmIiwiYWxnIjoiZGlyIiwiZW5jIjoiQ0tNX1JTQV9BRVNfS0VZX1dSQVAifSwiY2lwaGVydGV4dCI6IkFBQUEifQ\"},\"Hsm\":false}",
        ),
    ];
    requests
        .map(|(name, request)| (name, request.to_vec()))
        .to_vec()
}

pub(super) fn slots() -> Seeds {
    let stored = StoredHeader::decode(&BASE.copy, hash32).expect("it is good");
    let slot = |number: usize| {
        let mut place = vec![0; SLOT_LENGTH];
        let slot = &stored.header.slots[number];
        slot.write(&mut place);
        behind(0, &place[..128 + slot.wrapped.len()])
    };
    let recipient = recipient().recipient();
    vec![
        ("raw-key", slot(0)),
        ("passphrase", slot(1)),
        ("recipient", slot(2)),
        ("same", vec![1]),
        ("cost", vec![1, 5, 8, 4, 4, 0xff, 0xff, 0xff, 0xff]),
        ("hpke", [&[2; 73][..], recipient.as_bytes()].concat()),
        (
            "parameters",
            b"\x03\x00\x01\x00\x00\x00\x00\x00\x03\x00\x00\x00\x04\x00\x10\x00\x00".to_vec(),
        ),
    ]
}

pub(super) fn state() -> Seeds {
    let state = State {
        kek_term: 2,
        generation: 9,
        key_count: 3,
        ..State::default()
    };
    let bucket = Bucket {
        bucket: 17,
        members: 5,
        m_count: 2,
        term: 2,
        m_prev: 1,
        ..Bucket::default()
    };
    vec![
        ("state", behind(0, state.encode())),
        ("bucket", behind(1, bucket.encode())),
        (
            "sealed",
            b"\x02\x05\x01\x05\x02\x00\x20\x01\x00 a plaintext".to_vec(),
        ),
        (
            "sealed-long",
            [&b"\x02\x08\x01\x00"[..], &[7; 20_000]].concat(),
        ),
    ]
}

pub(super) fn stream() -> Seeds {
    let [(_, ec), (_, oct)] = payloads();
    let head = StreamHead {
        edition: Edition::Two,
        vault_id: [1; 16],
        expected_keys: 2,
    };
    let end = StreamEnd {
        keys: 2,
        left_out: 1,
        chain: [3; 32],
    };
    let frame = |payload: &[u8]| {
        let length = u16::try_from(payload.len()).expect("it is short");
        [&[1][..], &length.to_be_bytes(), payload].concat()
    };
    let prefix = DeletionPrefix {
        deletion: Deletion {
            deleted: NOW,
            scheduled_purge: NOW.plus_days(30),
        },
    };
    let deleted = {
        let payload = [&prefix.encode()[..], &oct].concat();
        let mut frame = frame(&payload);
        frame[0] = 12;
        frame
    };
    let usual = encode_settings(&settings()).expect("they are short");
    let domain = domain_file::encode(&DOMAIN_ID, &sdk_ring()).expect("the ring is short");
    let (vault, _) = vault();
    let options = CreateKeyOptions::ec(Curve::P256).backup_allowed();
    vault
        .create_key(&KeyName::from_static("k"), options)
        .expect("it is legal");
    let mut raw = vec![1];
    let sealed_for = BackupOptions::new()
        .without_domain()
        .recipient(&recipient().recipient());
    vault
        .backup_to(&mut raw, &sealed_for, |_| ())
        .expect("memory can be written");
    vec![
        ("head", behind(0, head.encode())),
        ("end", behind(0, end.encode())),
        ("raw", raw),
        (
            "script-two",
            [&[2, 0, 2][..], &frame(&ec), &frame(&oct)].concat(),
        ),
        (
            "script-twice",
            [&[2, 0, 2][..], &frame(&ec), &frame(&ec)].concat(),
        ),
        ("script-more", [&[2, 2, 2][..], &frame(&oct)].concat()),
        (
            "script-deleted",
            [&[2, 4, 2][..], &frame(&ec), &deleted].concat(),
        ),
        (
            "script-settings",
            [&[2, 12, 2][..], &frame(&ec), &deleted].concat(),
        ),
        ("settings", behind(0, &*usual)),
        ("prefix", behind(0, prefix.encode())),
        ("domain", behind(3, &*domain)),
    ]
}
