//! The REST interface, request by request: every shape and every error has a fixture in `fixtures`, and what the vault
//! does is what its answers say.

mod bad_requests;
mod busy;
mod fixture;

use std::collections::BTreeSet;

use self::fixture::fixtures;

/// The shapes of the wire, by Azure's names.
const SHAPES: [&str; 29] = [
    "BackupKeyResult",
    "DeletedKeyBundle",
    "DeletedKeyItem",
    "DeletedKeyListResult",
    "GetRandomBytesRequest",
    "JsonWebKey EC",
    "JsonWebKey RSA",
    "JsonWebKey key_hsm",
    "JsonWebKey oct",
    "KeyAttestation",
    "KeyAttributes",
    "KeyBundle",
    "KeyCreateParameters",
    "KeyImportParameters",
    "KeyItem",
    "KeyListResult",
    "KeyOperationResult",
    "KeyOperationsParameters",
    "KeyReleaseParameters",
    "KeyReleasePolicy",
    "KeyReleaseResult",
    "KeyRestoreParameters",
    "KeyRotationPolicy",
    "KeySignParameters",
    "KeyUpdateParameters",
    "KeyVaultError",
    "KeyVerifyParameters",
    "KeyVerifyResult",
    "RandomBytes",
];

/// The errors of the service that a vault in a process can have, as `status code[/inner code] situation`.
const ERRORS: [&str; 29] = [
    "400 BadParameter algorithm",
    "400 BadParameter api-version",
    "400 BadParameter backup",
    "400 BadParameter digest length",
    "400 BadParameter exportable",
    "400 BadParameter immutable release policy",
    "400 BadParameter jwk",
    "400 BadParameter key_ops",
    "400 BadParameter name",
    "400 BadParameter release policy",
    "400 BadParameter required",
    "400 BadParameter rng count",
    "400 BadParameter rotation policy",
    "400 BadParameter size",
    "401 Unauthorized",
    "403 Forbidden purge protection",
    "403 Forbidden release",
    "403 Forbidden/ForbiddenByPolicy",
    "403 Forbidden/KeyDisabled",
    "403 Forbidden/KeyExpired",
    "403 Forbidden/KeyNotYetValid",
    "403 Forbidden/KeyOperationForbidden",
    "404 KeyNotFound",
    "404 KeyNotFound deleted",
    "405 method",
    "409 Conflict",
    "409 Conflict/ObjectIsDeletedButRecoverable",
    "429 Throttled",
    "503 ServiceUnavailable",
];

#[test]
fn every_shape_is_as_its_fixture_says() {
    run("shapes", &SHAPES);
}

#[test]
fn every_error_is_as_its_fixture_says() {
    run("errors", &ERRORS);
}

fn run(folder: &str, wanted: &[&str]) {
    let mut shown = BTreeSet::new();
    for (path, fixture) in fixtures(folder) {
        fixture.run(&path);
        shown.extend(fixture.shows);
    }
    let wanted: BTreeSet<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(shown, wanted);
}
