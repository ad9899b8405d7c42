//! Attestation tokens, release policies, rotation policies and blobs of keys in transfer, by the first byte.

use crate::model::jwt::Token;
use crate::model::key_transfer::KeyTransferBlob;
use crate::model::release_policy::ReleasePolicy;
use crate::model::rotation_policy::RotationPolicy;
use crate::model::strict_json::Json;

pub(super) fn run(data: &[u8]) -> bool {
    let Some((selector, bytes)) = data.split_first() else {
        return false;
    };
    match selector % 4 {
        0 => attestation_token(bytes),
        1 => release_policy(bytes),
        2 => rotation_policy(bytes),
        _ => KeyTransferBlob::from_json(bytes).is_ok(),
    }
}

/// A token, whoever signed it, and a policy that is held against it: the bytes before the first zero are the token.
fn attestation_token(bytes: &[u8]) -> bool {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let (token, policy) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let token = String::from_utf8_lossy(token);
    let (Ok(token), Ok(rules)) = (
        Token::parse(&token),
        ReleasePolicy::from_json(policy).and_then(|policy| policy.rules()),
    ) else {
        return false;
    };
    let issuer = token.claims.member("iss").and_then(Json::as_text);
    let issuer = issuer.unwrap_or_default();
    assert!(rules.names(issuer) || !rules.are_met_by(issuer, &token.claims));
    true
}

/// A release policy, which is kept as it is.
fn release_policy(bytes: &[u8]) -> bool {
    let Ok(policy) = ReleasePolicy::from_json(bytes) else {
        return false;
    };
    assert_eq!(policy.json(), bytes);
    let wire = serde_json::to_vec(&policy).expect("it is text");
    let again: ReleasePolicy = serde_json::from_slice(&wire).expect("it was just written");
    assert_eq!(again, policy);
    true
}

/// A rotation policy as it comes over the wire; what it says is what is stored.
fn rotation_policy(bytes: &[u8]) -> bool {
    let Ok(policy) = serde_json::from_slice::<RotationPolicy>(bytes) else {
        return false;
    };
    let wire = serde_json::to_vec(&policy).expect("it is text");
    let again: RotationPolicy = serde_json::from_slice(&wire).expect("it was just written");
    assert_eq!(again, policy);
    true
}
