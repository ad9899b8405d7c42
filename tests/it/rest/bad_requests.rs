//! Requests that no client sends by mistake: the answer is a refusal with an envelope, at a bounded cost.

use std::sync::Arc;

use http::Request;
use serde_json::{Value, json};
use strongroom::rest::{AnyToken, RestService};
use strongroom::{CreateKeyOptions, Curve, KeyName, SignatureAlgorithm, Vault, VaultOptions};

use crate::attested::{Service, base64url, claims, policy, vault_trusting};

const SIGNER: KeyName = KeyName::from_static("signer");

fn service() -> (Vault, RestService) {
    let vault = VaultOptions::new().create_in_memory().unwrap();
    vault
        .create_key(&SIGNER, CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    (vault.clone(), RestService::new(vault, AnyToken::new()))
}

fn send(
    service: &RestService,
    method: &str,
    target: &str,
    body: impl Into<Vec<u8>>,
) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("authorization", "Bearer t")
        .body(body.into())
        .unwrap();
    let response = service.handle(request);
    let status = response.status().as_u16();
    let body = match response.body().as_slice() {
        [] => Value::Null,
        body => serde_json::from_slice(body).unwrap(),
    };
    assert_eq!(
        status >= 400,
        body.get("error").is_some(),
        "{target}: {body}"
    );
    (status, body)
}

#[test]
fn malformed_bodies_are_refused_and_not_quoted() {
    let (_vault, service) = service();
    let secret = "c2VjcmV0LXNlY3JldA";
    let deep = format!("{{\"alg\":\"ES256\",\"x\":{}", "[".repeat(200_000));
    let deep_and_closed = format!(
        "{{\"alg\":\"ES256\",\"value\":\"AA\",\"x\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    for body in [
        "{",
        "[]",
        "null",
        "1",
        "{\"alg\":",
        "\u{feff}{}",
        "{}{}",
        &format!("{{\"alg\":{{\"{secret}\":1}}}}"),
        &format!("{{\"alg\":\"ES256\",\"value\":[\"{secret}\"]}}"),
        &format!("{{\"alg\":\"ES256\",\"alg\":\"{secret}\"}}"),
        &format!("\"{secret}\""),
        &deep,
        &deep_and_closed,
    ] {
        let (status, answer) = send(&service, "POST", "/keys/signer/sign?api-version=7.6", body);
        let shown = &body[..body.len().min(60)];
        assert_eq!(status, 400, "{shown}: {answer}");
        assert_eq!(answer["error"]["code"], "BadParameter", "{shown}");
        assert!(!answer.to_string().contains(secret), "{shown}: {answer}");
    }
    for body in [&b"\xff\xfe"[..], b"{\"alg\":\"\xff\"}"] {
        assert_eq!(
            send(&service, "POST", "/keys/signer/sign?api-version=7.6", body).0,
            400
        );
    }
}

#[test]
fn wrong_types_and_ranges_are_refused() {
    let (_vault, service) = service();
    for body in [
        json!({ "kty": 1 }),
        json!({ "kty": "EC", "key_size": "256" }),
        json!({ "kty": "EC", "key_size": -1 }),
        json!({ "kty": "RSA", "key_size": 99_999_999_999_u64 }),
        json!({ "kty": "RSA", "public_exponent": 3 }),
        json!({ "kty": "RSA", "public_exponent": -3 }),
        json!({ "kty": "EC", "key_ops": "sign" }),
        json!({ "kty": "EC", "attributes": [] }),
        json!({ "kty": "EC", "attributes": [true, 1, 2, null, null] }),
        json!({ "kty": "EC", "release_policy": [null, "e30", null] }),
        json!(["EC", null, null, null, null, null, null, null]),
        json!({ "kty": "EC", "attributes": { "enabled": "true" } }),
        json!({ "kty": "EC", "attributes": { "nbf": -1 } }),
        json!({ "kty": "EC", "attributes": { "exp": 1.5 } }),
        json!({ "kty": "EC", "attributes": { "nbf": 2, "exp": 1 } }),
        json!({ "kty": "EC", "attributes": { "exportable": true } }),
        json!({ "kty": "EC", "attributes": { "external_key": { "id": "a" } } }),
        json!({ "kty": "EC", "release_policy": {} }),
        json!({ "kty": "EC", "tags": { "a": 1 } }),
        json!({ "kty": "EC", "tags": { "": "1" } }),
        json!({ "kty": "EC", "tags": { "a": "x".repeat(257) } }),
        json!({ "kty": "ec" }),
        json!({ "kty": "OKP" }),
        json!({ "kty": "oct", "key_size": 512 }),
    ] {
        let text = body.to_string();
        let (status, answer) = send(&service, "POST", "/keys/new/create?api-version=7.6", text);
        assert_eq!(status, 400, "{body}: {answer}");
    }
    let tags: serde_json::Map<String, Value> =
        (0..16).map(|n| (n.to_string(), json!("x"))).collect();
    let body = json!({ "kty": "EC", "tags": tags }).to_string();
    assert_eq!(
        send(&service, "POST", "/keys/new/create?api-version=7.6", body).0,
        400
    );
    assert_eq!(
        send(&service, "GET", "/keys/new?api-version=7.6", "").0,
        404
    );
}

#[test]
fn bodies_have_limits_for_each_operation() {
    let (_vault, service) = service();
    for (method, path, limit) in [
        ("POST", "/keys/new/create", 64 * 1024),
        ("PATCH", "/keys/signer", 64 * 1024),
        ("POST", "/rng", 64 * 1024),
        ("GET", "/keys", 64 * 1024),
        ("PUT", "/keys/signer/rotationpolicy", 64 * 1024),
        ("POST", "/keys/signer/release", 256 * 1024),
        ("PUT", "/keys/new", 128 * 1024),
        ("POST", "/keys/signer/sign", 256 * 1024),
        ("POST", "/keys/signer/decrypt", 23 * 1024 * 1024),
        ("POST", "/keys/restore", 65 * 1024 * 1024),
    ] {
        let target = format!("{path}?api-version=7.6");
        let (status, answer) = send(&service, method, &target, vec![b' '; limit + 1]);
        assert_eq!(status, 413, "{path}: {answer}");
        assert_eq!(answer["error"]["code"], "RequestEntityTooLarge", "{path}");
        if path != "/keys" {
            assert_eq!(
                send(&service, method, &target, vec![b' '; limit]).0,
                400,
                "{path}"
            );
        }
    }
}

#[test]
fn hostile_base64_is_refused() {
    let (_vault, service) = service();
    let digest = "A".repeat(43);
    for value in [
        "+".repeat(43),
        format!("{digest}="),
        format!("{}B", "A".repeat(42)),
        format!("{digest} "),
        format!("{digest}\u{0}"),
        format!("{}\n{}", "A".repeat(20), "A".repeat(23)),
        "\u{1F511}".repeat(11),
        "A".repeat(41),
    ] {
        let body = json!({ "alg": "ES256", "value": value }).to_string();
        let (status, answer) = send(&service, "POST", "/keys/signer/sign?api-version=7.6", body);
        assert_eq!(status, 400, "{value:?}: {answer}");
    }
    let body = json!({ "alg": "ES256", "value": digest }).to_string();
    assert_eq!(
        send(&service, "POST", "/keys/signer/sign?api-version=7.6", body).0,
        200
    );
    // Escapes in the place of characters mean the same.
    let escaped = format!(
        "{{\"alg\":\"ES256\",\"value\":\"\\u0041{}\"}}",
        "A".repeat(42)
    );
    assert_eq!(
        send(
            &service,
            "POST",
            "/keys/signer/sign?api-version=7.6",
            escaped
        )
        .0,
        200
    );
}

#[test]
fn hostile_targets_are_refused() {
    let (_vault, service) = service();
    for (target, status) in [
        ("/", 404),
        ("/keys/signer/a/b/c/d/e/f", 404),
        ("/keys/%00", 400),
        ("/keys/..", 400),
        ("/keys/%2e%2e/create", 405),
        ("/keys/signer%2Fsign", 400),
        ("/keys/%ff", 400),
        ("/keys/signer/%", 400),
        ("/KEYS/SIGNER/VERSIONS", 200),
        ("///keys///signer///", 200),
    ] {
        let (given, answer) = send(&service, "GET", &format!("{target}?api-version=7.6"), "");
        assert_eq!(given, status, "{target}: {answer}");
    }
    for query in [
        "maxresults=0",
        "maxresults=26",
        "maxresults=",
        "maxresults=1&maxresults=1",
        "$skiptoken=",
        "$skiptoken=%00",
        "$skiptoken=00112233445566778899aabbccddeeff&%24skiptoken=00112233445566778899aabbccddeeff",
    ] {
        let (status, answer) = send(
            &service,
            "GET",
            &format!("/keys?api-version=7.6&{query}"),
            "",
        );
        assert_eq!(status, 400, "{query}: {answer}");
    }
    let many = "a=b&".repeat(10_000);
    let (status, _) = send(
        &service,
        "GET",
        &format!("/keys?api-version=7.6&{many}"),
        "",
    );
    assert_eq!(status, 200);
    // A token of another listing is none of this one.
    let token = "00112233445566778899aabbccddeeff";
    let target = format!("/keys/signer/versions?api-version=7.6&$skiptoken={token}");
    assert_eq!(send(&service, "GET", &target, "").0, 400);
}

/// A service whose vault trusts an attestation service, and has an exportable key.
fn service_with_exportable_key() -> (RestService, Arc<Service>) {
    let attestation = Arc::new(Service::new());
    let (vault, _clock) = vault_trusting(&attestation);
    let options = CreateKeyOptions::ec(Curve::P256)
        .exportable()
        .release_policy(policy());
    vault.create_key(&SIGNER, options).unwrap();
    (RestService::new(vault, AnyToken::new()), attestation)
}

#[test]
fn hostile_attestation_tokens_are_refused() {
    let (service, attestation) = service_with_exportable_key();
    let release = |token: &str| {
        let body = json!({ "target": token }).to_string();
        send(
            &service,
            "POST",
            "/keys/signer/release?api-version=7.6",
            body,
        )
    };
    let good = attestation.token(SignatureAlgorithm::Rs256, &claims());
    assert_eq!(release(&good).0, 200);
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("{good}");
    };
    let alg = |alg: &str| base64url(json!({ "alg": alg, "kid": "rsa" }).to_string().as_bytes());
    let nested = base64url(format!("{}{}", "[".repeat(20_000), "]".repeat(20_000)).as_bytes());
    for (token, status) in [
        (String::from("."), 400),
        (format!("{header}.{payload}"), 400),
        (format!("{good}."), 400),
        (format!("{good}.{good}"), 400),
        (format!("{good}="), 400),
        (format!(" {good}"), 400),
        (format!("{header}\u{0}.{payload}.{signature}"), 400),
        (format!("{}.{payload}.{signature}", alg("none")), 400),
        (format!("{}.{payload}.", alg("none")), 400),
        (format!("{}.{payload}.{signature}", alg("HS256")), 400),
        (format!("{}.{payload}.{signature}", alg("rs256")), 400),
        (format!("{}.{payload}.{signature}", alg("PS256")), 403),
        (format!("{}.{payload}.{signature}", alg("ES256")), 403),
        (format!("{header}.{payload}."), 400),
        (format!("{nested}.{payload}.{signature}"), 400),
        (format!("{header}.{nested}.{signature}"), 400),
        ("A".repeat(100_000), 400),
        (".".repeat(100_000), 400),
    ] {
        let (given, answer) = release(&token);
        let shown = &token[..token.len().min(60)];
        assert_eq!(given, status, "{shown}: {answer}");
        assert!(!answer.to_string().contains(&payload[..40]), "{answer}");
    }
    // Of somebody else, who has the same names and other keys.
    let other = Service::new();
    let stranger = other.token(SignatureAlgorithm::Es256, &claims());
    assert_eq!(release(&stranger).0, 403);
    let mut foreign = claims();
    foreign["iss"] = "https://elsewhere.example".into();
    let foreign = attestation.token(SignatureAlgorithm::Rs256, &foreign);
    assert_eq!(release(&foreign).0, 403);
}

#[test]
fn policies_that_nest_too_deep_or_repeat_members_are_refused() {
    let (_vault, service) = service();
    let create = |policy: &str| {
        let body = json!({
            "kty": "EC", "attributes": { "exportable": true },
            "release_policy": { "data": base64url(policy.as_bytes()) },
        });
        let target = "/keys/new/create?api-version=7.6";
        send(&service, "POST", target, body.to_string()).0
    };
    let claim = r#"{"claim":"a","equals":"x"}"#;
    let deep = |depth: usize| {
        format!(
            r#"{{"version":"1.0.0","anyOf":[{{"authority":"a","allOf":[{}{claim}{}]}}]}}"#,
            r#"{"anyOf":["#.repeat(depth),
            "]}".repeat(depth)
        )
    };
    assert_eq!(create(&deep(5)), 200);
    for policy in [
        deep(20),
        deep(700),
        deep(0).replace(claim, r#"{"claim":"a","claim":"b","equals":"x"}"#),
        deep(0).replace("1.0.0", "1.0"),
        deep(0) + " ",
        "\u{feff}{}".to_owned(),
        "[".repeat(10_000),
    ] {
        let shown = &policy[..policy.len().min(60)];
        // What follows a policy and is only space belongs to it.
        let status = if policy.ends_with(' ') { 200 } else { 400 };
        assert_eq!(create(&policy), status, "{shown}");
    }
    assert_eq!(create(&(" ".repeat(16 * 1024) + &deep(0))), 400);
}

#[test]
fn rotation_policies_of_wrong_types_are_refused() {
    let (_vault, service) = service();
    let rotate = json!({ "type": "Rotate" });
    let after = json!({ "timeAfterCreate": "P90D" });
    let action = json!({ "trigger": after, "action": rotate });
    for body in [
        json!([]),
        json!({ "lifetimeActions": {} }),
        json!({ "lifetimeActions": [null] }),
        json!({ "lifetimeActions": [{}] }),
        json!({ "lifetimeActions": [[after, rotate]] }),
        json!({ "lifetimeActions": [{ "trigger": after }] }),
        json!({ "lifetimeActions": [{ "trigger": after, "action": "Rotate" }] }),
        json!({ "lifetimeActions": [{ "trigger": ["P90D", null], "action": rotate }] }),
        json!({ "lifetimeActions": [{ "trigger": {}, "action": rotate }] }),
        json!({ "lifetimeActions": [{ "trigger": { "timeAfterCreate": 90 }, "action": rotate }] }),
        json!({ "lifetimeActions": [{ "trigger": { "timeAfterCreate": "90" }, "action": rotate }] }),
        json!({ "lifetimeActions": [{ "trigger": { "timeAfterCreate": "P9999999999D" }, "action": rotate }] }),
        json!({ "lifetimeActions": vec![action; 100] }),
        json!({ "attributes": { "expiryTime": "P".repeat(10_000) } }),
        json!({ "attributes": ["P90D", null, null] }),
        json!({ "attributes": { "expiryTime": "P90D", "created": "now" } }),
    ] {
        let target = "/keys/signer/rotationpolicy?api-version=7.6";
        let (status, answer) = send(&service, "PUT", target, body.to_string());
        assert_eq!(status, 400, "{body}: {answer}");
    }
    let (status, kept) = send(
        &service,
        "GET",
        "/keys/signer/rotationpolicy?api-version=7.6",
        "",
    );
    assert_eq!((status, kept["attributes"].clone()), (200, json!({})));
}

#[test]
fn what_would_be_ignored_in_silence_is_refused() {
    let (_vault, service) = service();
    let body = json!({ "kty": "oct", "key_size": 256 }).to_string();
    assert_eq!(
        send(&service, "POST", "/keys/kek/create?api-version=7.6", body).0,
        200
    );
    for (path, body) in [
        // A caller's IV for GCM, additional data where none are authenticated, a tag that nobody checks.
        (
            "encrypt",
            json!({ "alg": "A256GCM", "value": "AAAA", "iv": "A".repeat(16) }),
        ),
        (
            "encrypt",
            json!({ "alg": "A256CBCPAD", "value": "AAAA", "aad": "AAAA" }),
        ),
        (
            "encrypt",
            json!({ "alg": "A256GCM", "value": "AAAA", "tag": "AAAA" }),
        ),
        (
            "wrapkey",
            json!({ "alg": "A256KW", "value": "A".repeat(22), "aad": "AAAA" }),
        ),
        (
            "unwrapkey",
            json!({ "alg": "A256KW", "value": "A".repeat(32), "tag": "AAAA" }),
        ),
        (
            "encrypt",
            json!({ "alg": "A256KW", "value": "A".repeat(22) }),
        ),
        (
            "wrapkey",
            json!({ "alg": "A256GCM", "value": "A".repeat(22) }),
        ),
    ] {
        let target = format!("/keys/kek/{path}?api-version=7.6");
        let (status, answer) = send(&service, "POST", &target, body.to_string());
        assert_eq!(status, 400, "{path} {body}: {answer}");
    }
}

#[test]
fn a_closed_vault_says_so_without_details() {
    let (vault, service) = service();
    vault.close().unwrap();
    let (status, answer) = send(&service, "GET", "/keys/signer?api-version=7.6", "");
    assert_eq!(status, 500);
    assert_eq!(answer["error"]["code"], "InternalServerError");
}

/// Good requests with a few bytes changed: whatever that makes of them, there is an answer.
#[test]
fn requests_with_changed_bytes_are_answered() {
    let (_vault, service) = service();
    let kek = json!({ "kty": "oct" }).to_string();
    assert_eq!(
        send(&service, "POST", "/keys/kek/create?api-version=7.6", kek).0,
        200
    );
    let digest = "A".repeat(43);
    let good = [
        (
            "POST",
            "/keys/new/create",
            json!({ "kty": "EC", "crv": "P-256", "key_ops": ["sign"], "attributes": { "enabled": true, "exp": 4_000_000_000_u64 }, "tags": { "a": "b" } }),
        ),
        (
            "PATCH",
            "/keys/signer",
            json!({ "attributes": { "enabled": true }, "key_ops": ["sign", "verify"] }),
        ),
        (
            "PUT",
            "/keys/imported",
            json!({ "key": { "kty": "oct", "k": "AAECAwQFBgcICQoLDA0ODw" }, "Hsm": false }),
        ),
        (
            "POST",
            "/keys/signer/sign",
            json!({ "alg": "ES256", "value": digest }),
        ),
        (
            "POST",
            "/keys/signer/verify",
            json!({ "alg": "ES256", "digest": digest, "value": "A".repeat(86) }),
        ),
        (
            "POST",
            "/keys/kek/encrypt",
            json!({ "alg": "A256GCM", "value": "AAAA", "aad": "AAAA" }),
        ),
        (
            "POST",
            "/keys/kek/decrypt",
            json!({ "alg": "A256GCM", "value": "AAAA", "iv": "A".repeat(16), "tag": "A".repeat(22) }),
        ),
        (
            "POST",
            "/keys/kek/wrapkey",
            json!({ "alg": "A256KW", "value": "A".repeat(32) }),
        ),
        ("POST", "/keys/restore", json!({ "value": "AAAA" })),
        (
            "PUT",
            "/keys/signer/rotationpolicy",
            json!({ "lifetimeActions": [{ "trigger": { "timeAfterCreate": "P90D" }, "action": { "type": "Rotate" } }], "attributes": { "expiryTime": "P1Y" } }),
        ),
        (
            "POST",
            "/keys/signer/release",
            json!({ "target": "e30.e30.AA", "nonce": "n", "enc": "RSA_AES_KEY_WRAP_256" }),
        ),
        ("POST", "/rng", json!({ "count": 8 })),
    ];
    // A linear congruential generator: the same changes in every run.
    let mut state = 1_u64;
    let mut next = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for round in 0..6_000 {
        let (method, path, body) = &good[round % good.len()];
        let mut body = body.to_string().into_bytes();
        for _ in 0..=next(3) {
            let at = next(body.len());
            match next(4) {
                0 => body[at] = u8::try_from(next(256)).unwrap(),
                1 => body[at] = b"{}[]\",:0-9\\Ae"[next(13)],
                2 => drop(body.remove(at)),
                _ => body.insert(at, b"{}[]\",:\\"[next(8)]),
            }
        }
        let (status, _) = send(&service, method, &format!("{path}?api-version=7.6"), body);
        assert!(status < 500, "{status}");
        *statuses.entry(status).or_default() += 1;
    }
    assert!(
        statuses[&400] > 1_000 && statuses[&200] > 100,
        "{statuses:?}"
    );
}
