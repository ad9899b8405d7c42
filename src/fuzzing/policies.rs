//! What comes from outside as JSON and is held against a key: attestation tokens with release policies, rotation
//! policies, and blobs of keys in transfer.

use crate::model::jwt::Token;
use crate::model::key_transfer::KeyTransferBlob;
use crate::model::release_policy::ReleasePolicy;
use crate::model::rotation_policy::RotationPolicy;
use crate::model::strict_json::Json;

/// The first byte chooses.
pub(super) fn run(data: &[u8]) -> bool {
    let Some((selector, bytes)) = data.split_first() else {
        return false;
    };
    match selector % 4 {
        0 => token(bytes),
        1 => release_policy(bytes),
        2 => rotation_policy(bytes),
        _ => KeyTransferBlob::from_json(bytes).is_ok(),
    }
}

/// A token, whoever signed it, and behind a zero the policy that it is held against.
fn token(bytes: &[u8]) -> bool {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (text, policy) = (String::from_utf8_lossy(next()).into_owned(), next());
    let Ok(token) = Token::parse(&text) else {
        return false;
    };
    if let Ok(rules) = ReleasePolicy::from_json(policy).and_then(|policy| policy.rules()) {
        let issuer = token.claims.member("iss").and_then(Json::as_text);
        let issuer = issuer.unwrap_or_default();
        assert!(rules.names(issuer) || !rules.are_met_by(issuer, &token.claims));
    }
    true
}

/// It is kept as it is.
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

fn rotation_policy(bytes: &[u8]) -> bool {
    let Ok(policy) = serde_json::from_slice::<RotationPolicy>(bytes) else {
        return false;
    };
    let wire = serde_json::to_vec(&policy).expect("it is text");
    let again: RotationPolicy = serde_json::from_slice(&wire).expect("it was just written");
    assert_eq!(again, policy);
    true
}
