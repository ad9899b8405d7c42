//! Requests to the REST interface.

use std::sync::LazyLock;

use super::fixture;
use crate::model::name::KeyName;
use crate::model::options::CreateKeyOptions;
use crate::model::permission::{Permission, Permissions};
use crate::model::release_policy::ReleasePolicy;
use crate::model::spec::{Curve, OctKeySize};
use crate::rest::{AnyToken, RestService};

static SERVICE: LazyLock<RestService> = LazyLock::new(|| {
    let (vault, _) = fixture::vault();
    for (name, options) in [
        ("ec", CreateKeyOptions::ec(Curve::P256)),
        ("oct", CreateKeyOptions::oct(OctKeySize::Bits256)),
    ] {
        let name = KeyName::from_static(name);
        vault.create_key(&name, options).expect("it is legal");
    }
    let policy = br#"{"version":"1.0.0","anyOf":[{"authority":"https://a","allOf":[{"claim":"b","equals":1}]}]}"#;
    let policy = ReleasePolicy::from_json(policy).expect("it is legal");
    let options = CreateKeyOptions::ec(Curve::P256)
        .exportable()
        .release_policy(policy);
    vault
        .create_key(&KeyName::from_static("secret"), options)
        .expect("it is legal");
    // What would make more and more keys is refused after it was read.
    let permissions = Permissions::from([
        Permission::Get,
        Permission::List,
        Permission::Update,
        Permission::Restore,
        Permission::Encrypt,
        Permission::Decrypt,
        Permission::Sign,
        Permission::Verify,
        Permission::WrapKey,
        Permission::UnwrapKey,
        Permission::Rng,
        Permission::Release,
        Permission::GetRotationPolicy,
        Permission::SetRotationPolicy,
    ]);
    RestService::new(vault.restricted(permissions), AnyToken::new())
});

/// Method, target and body, each on a line of its own. The answer is a JSON object, or nothing.
pub(super) fn run(data: &[u8]) -> bool {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let (Some(method), Some(target), Some(body)) = (lines.next(), lines.next(), lines.next())
    else {
        return false;
    };
    let request = http::Request::builder()
        .method(method)
        .uri(target)
        .header("authorization", "Bearer t")
        .body(body.to_vec());
    let Ok(request) = request else {
        return false;
    };
    let response = SERVICE.handle(request);
    let refused = response.status().as_u16() >= 400;
    if !response.body().is_empty() {
        let answer: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(response.body()).expect("an answer is a JSON object");
        assert_eq!(refused, answer.contains_key("error"));
    }
    !refused
}
