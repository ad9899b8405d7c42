//! What a handle may do: every public method of the vault asks for the permission that Azure asks for, and refuses
//! without telling whether a key exists; patterns, narrowing, access policies that work at once, and listings that
//! show only what a handle is for.

use std::collections::BTreeSet;
use std::path::Path;

use strongroom::{
    BoundKey, CreateKeyOptions, Curve, Error, ErrorKind, NamePattern, OctKeySize, PageSize,
    Permission, Permissions, Principal, Vault,
};

use self::table::{ES256, FullHandle, KW, OnKey, Plain, calls};
use crate::support::{Place, memory_vault, name, refused};

pub(crate) mod table;

fn all_but(permission: Permission) -> Permissions {
    Permission::ALL
        .into_iter()
        .filter(|other| *other != permission)
        .collect()
}

fn patterns(texts: &[&str]) -> Vec<NamePattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[track_caller]
fn forbidden(result: strongroom::Result<()>, what: &str) -> Error {
    let error = result.expect_err(what);
    assert_eq!(error.kind(), ErrorKind::Forbidden, "{what}: {error}");
    let azure = error.azure().unwrap();
    assert_eq!(
        (azure.status(), azure.code(), azure.inner_code()),
        (403, "Forbidden", Some("ForbiddenByPolicy"))
    );
    error
}

#[test]
fn every_method_needs_its_permission_and_no_other() {
    let (vault, _) = memory_vault();
    let (present, absent) = (name("present"), name("absent"));
    vault
        .create_key(&present, CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    for (method, needs, run) in calls() {
        let permission = match needs {
            OnKey(permission) | Plain(permission) => permission,
            FullHandle => {
                forbidden(run(&vault.restricted(Permissions::all()), &present), method);
                if let Err(error) = run(&vault, &present) {
                    assert_ne!(error.kind(), ErrorKind::Forbidden, "{method}");
                }
                continue;
            }
        };
        let without = vault.restricted(all_but(permission));
        let only = vault.restricted(Permissions::from([permission]));
        for key in [&absent, &present] {
            let error = forbidden(run(&without, key), method);
            assert!(
                error.to_string().contains(permission.as_str()),
                "{method}: {error}"
            );
            // A page is named as the listing it belongs to.
            let operation = error.operation().unwrap();
            assert_eq!(operation, method.trim_end_matches("_page"));
            if matches!(needs, OnKey(_)) {
                assert_eq!(error.key(), Some(key.as_str()), "{method}");
            }
            if let Err(error) = run(&only, key) {
                assert_ne!(error.kind(), ErrorKind::Forbidden, "{method}: {error}");
            }
        }
    }
}

#[test]
fn names_outside_the_patterns_are_refused_alike_whether_they_exist_or_not() {
    let (vault, _) = memory_vault();
    vault
        .create_key(&name("present"), CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    let handle = vault.restricted(
        Permissions::all()
            .for_names(patterns(&["other", "billing-*"]))
            .unwrap(),
    );
    for (method, needs, run) in calls() {
        if !matches!(needs, OnKey(_)) {
            continue;
        }
        let texts: BTreeSet<String> = ["present", "absent-"]
            .map(|key| {
                let error = forbidden(run(&handle, &name(key)), method);
                error.to_string().replace(key, "KEY")
            })
            .into();
        assert_eq!(texts.len(), 1, "{method}: {texts:?}");
        for inside in ["Other", "BILLING-1", "billing-"] {
            if let Err(error) = run(&handle, &name(inside)) {
                assert_ne!(
                    error.kind(),
                    ErrorKind::Forbidden,
                    "{method} {inside}: {error}"
                );
            }
        }
    }
}

/// The table above is complete: whoever adds a public method must say what it needs.
#[test]
fn the_table_knows_every_public_method() {
    // What tells nothing of keys and does nothing, and what works on files rather than a handle.
    let free = [
        "url",
        "deletion_settings",
        "algorithm_rules",
        "restricted",
        "is_read_only",
        "is_locked",
        "memory_report",
        "destroy",
        "at_rest_keys",
    ];
    // These end operations and are none of those that are in flight.
    let on_the_gate = ["lock", "close"];
    // Each item of these begins and ends an act of its own.
    let makes_many = ["create_many", "import_many"];
    let elsewhere = ["rewrap_key"];
    let known: BTreeSet<&str> = calls().iter().map(|(method, _, _)| *method).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/vault");
    let mut methods = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let source = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for block in source.split("\nimpl Vault {\n").skip(1) {
            let block = block.split("\n}\n").next().unwrap();
            for method in block.split("\n    pub fn ").skip(1) {
                let (signature, _) = method.split_once(['(', '<']).unwrap();
                methods += 1;
                if free.contains(&signature) {
                    continue;
                }
                let iterates = ["list_key_properties", "list_deleted_key_properties"];
                assert!(
                    method.contains("self.act(")
                        || makes_many.contains(&signature) && method.contains("self.make_many(")
                        || iterates.contains(&signature)
                        || on_the_gate.contains(&signature) && method.contains("&self.grant"),
                    "{signature} does not go through the envelope"
                );
                assert!(
                    known.contains(signature) || elsewhere.contains(&signature),
                    "what does {signature} need?"
                );
            }
        }
    }
    assert!(methods > 45, "only {methods} methods were seen");
}

#[test]
fn rewrapping_needs_both_permissions_for_both_names() {
    let (vault, _) = memory_vault();
    let (from, to) = (name("from"), name("to"));
    for key in [&from, &to] {
        vault
            .create_key(key, CreateKeyOptions::oct(OctKeySize::Bits256))
            .unwrap();
    }
    let wrapped = vault.wrap_key(&from, KW, &[7; 32]).unwrap();
    let rewrap = |handle: &Vault| handle.rewrap_key(&from, KW, wrapped.wrapped_key(), &to, KW);
    let both = || Permissions::from([Permission::UnwrapKey, Permission::WrapKey]);
    assert!(rewrap(&vault.restricted(both())).is_ok());
    for lacking in [
        all_but(Permission::UnwrapKey),
        all_but(Permission::WrapKey),
        both().for_names(patterns(&["from"])).unwrap(),
        both().for_names(patterns(&["to"])).unwrap(),
    ] {
        let text = format!("{lacking:?}");
        forbidden(rewrap(&vault.restricted(lacking)).map(drop), &text);
    }
}

#[test]
fn handles_can_only_be_narrowed() {
    let (vault, _) = memory_vault();
    let key = name("signer-1");
    vault
        .create_key(&key, CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    let sign = |handle: &Vault| handle.sign(&key, ES256, &[7; 32]).map(drop);

    let read = vault.restricted(Permissions::from([Permission::Get, Permission::List]));
    forbidden(
        sign(&read.restricted(Permissions::all())),
        "all does not widen",
    );
    assert!(read.restricted(Permissions::all()).get_key(&key).is_ok());

    let signers = Permissions::all()
        .for_names(patterns(&["signer-*"]))
        .unwrap();
    let ones = Permissions::all().for_names(patterns(&["*"])).unwrap();
    let others = Permissions::all()
        .for_names(patterns(&["other", "signer-2"]))
        .unwrap();
    assert!(sign(&vault.restricted(signers.clone()).restricted(ones)).is_ok());
    forbidden(
        sign(&vault.restricted(signers.clone()).restricted(others.clone())),
        "both",
    );
    forbidden(
        sign(&vault.restricted(others).restricted(signers)),
        "in either order",
    );
    // The original handle is as it was.
    assert!(sign(&vault).is_ok());
    let mut narrow = vault.clone();
    for _ in 0..10_000 {
        narrow = narrow.restricted(Permissions::all());
    }
    assert!(sign(&narrow).is_ok(), "a handle that was narrowed often");
}

#[test]
fn a_bound_key_keeps_the_handle_that_bound_it() {
    let (vault, _) = memory_vault();
    let (key, who) = (name("signer"), "service".parse::<Principal>().unwrap());
    vault
        .create_key(&key, CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    vault
        .set_access_policy(&who, Permissions::from([Permission::Get, Permission::Sign]))
        .unwrap();
    let bound = vault.as_principal(&who).unwrap().key(&key).unwrap();
    let sign = |bound: &BoundKey| bound.sign(ES256, &[7; 32]).map(drop);
    let verify = |bound: &BoundKey| bound.verify(ES256, &[7; 32], &[7; 64]);
    sign(&bound).unwrap();
    forbidden(verify(&bound), "verify was not given");
    vault
        .set_access_policy(&who, Permissions::from([Permission::Verify]))
        .unwrap();
    forbidden(sign(&bound), "sign was taken away");
    assert_eq!(refused(verify(&bound)), ErrorKind::InvalidSignature);
}

#[test]
fn a_changed_or_removed_access_policy_works_at_once_and_survives_reopening() {
    let place = Place::new();
    let vault = place.create();
    let key = name("signer");
    vault
        .create_key(&key, CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    let [alice, bob]: [Principal; 2] = ["alice", "bob"].map(|text| text.parse().unwrap());
    assert_eq!(refused(vault.as_principal(&alice)), ErrorKind::Forbidden);
    vault
        .set_access_policy(&alice, Permissions::from([Permission::Get]))
        .unwrap();
    let limited = Permissions::all()
        .for_names(patterns(&["b-*", "exact"]))
        .unwrap();
    vault.set_access_policy(&bob, limited.clone()).unwrap();

    let handle = vault.as_principal(&alice).unwrap();
    let narrowed = handle.restricted(Permissions::from([Permission::Sign]));
    handle.get_key(&key).unwrap();
    let sign = |handle: &Vault| handle.sign(&key, ES256, &[7; 32]).map(drop);
    forbidden(sign(&handle), "sign is not in the policy");
    forbidden(sign(&narrowed), "nor in both");
    vault
        .set_access_policy(
            &alice,
            Permissions::from([Permission::Get, Permission::Sign]),
        )
        .unwrap();
    sign(&handle).unwrap();
    sign(&narrowed).unwrap();
    forbidden(
        narrowed.get_key(&key).map(drop),
        "narrowing holds on top of the policy",
    );
    assert!(vault.remove_access_policy(&alice).unwrap());
    assert!(!vault.remove_access_policy(&alice).unwrap());
    forbidden(handle.get_key(&key).map(drop), "the policy is gone");
    forbidden(
        handle
            .list_key_properties_page(None, PageSize::MAX)
            .map(drop),
        "also for lists",
    );
    vault
        .set_access_policy(&alice, Permissions::from([Permission::Get]))
        .unwrap();
    handle.get_key(&key).unwrap();

    let policies = vault.access_policies().unwrap();
    assert_eq!(policies.len(), 2);
    assert_eq!(policies[&bob], limited);
    vault.close().unwrap();
    drop((vault, handle, narrowed));
    let vault = place.open().unwrap();
    assert_eq!(vault.access_policies().unwrap(), policies);
    vault.as_principal(&alice).unwrap().get_key(&key).unwrap();
    assert!(vault.check().unwrap().is_clean());
}

#[test]
fn a_vault_has_access_policies_for_1024_principals() {
    let (vault, _) = memory_vault();
    let who = |number: usize| format!("principal {number}").parse::<Principal>().unwrap();
    let longest = Permissions::all()
        .for_names((0..64).map(|number| format!("{}{number:02}", "x".repeat(125)).parse().unwrap()))
        .unwrap();
    for number in 0..1_024 {
        vault
            .set_access_policy(&who(number), Permissions::from([Permission::Get]))
            .unwrap();
    }
    let set = |number| vault.set_access_policy(&who(number), longest.clone());
    assert_eq!(refused(set(1_024)), ErrorKind::BadParameter);
    set(1_023).unwrap();
    assert!(vault.remove_access_policy(&who(500)).unwrap());
    set(1_024).unwrap();
    assert_eq!(vault.access_policies().unwrap().len(), 1_024);
}

#[test]
fn listings_show_what_the_handle_is_for_and_pages_stay_whole() {
    let (vault, _) = memory_vault();
    let mut shown = BTreeSet::new();
    for number in 0..70 {
        let (text, keep) = match number % 3 {
            0 => (format!("Show-{number}"), true),
            1 => (format!("hide-{number}"), false),
            _ => (format!("drop-{number}"), false),
        };
        vault
            .create_key(&name(&text), CreateKeyOptions::oct(OctKeySize::Bits128))
            .unwrap();
        if keep {
            shown.insert(text);
        } else if number % 3 == 2 {
            vault.delete_key(&name(&text)).unwrap();
        }
    }
    let handle = vault.restricted(
        Permissions::from([Permission::List])
            .for_names(patterns(&["show-*", "drop-2"]))
            .unwrap(),
    );
    for size in [1, 7, 25] {
        let mut listed = Vec::new();
        let mut token = None;
        loop {
            let page = handle
                .list_key_properties_page(token.as_ref(), PageSize::new(size).unwrap())
                .unwrap();
            listed.extend(
                page.items()
                    .iter()
                    .map(|item| item.name().as_str().to_owned()),
            );
            token = page.continuation().cloned();
            if token.is_none() {
                break;
            }
            assert!(page.items().len() <= usize::from(size));
        }
        assert_eq!(listed.len(), shown.len(), "each once");
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), shown);
    }
    let deleted: Vec<String> = handle
        .list_deleted_key_properties()
        .map(|item| item.unwrap().properties().name().as_str().to_owned())
        .collect();
    assert_eq!(deleted, ["drop-2"]);
    assert_eq!(
        refused(handle.list_key_properties_versions(&name("hide-1"))),
        ErrorKind::Forbidden
    );
}

#[test]
fn a_backup_is_restored_only_under_a_name_of_the_handle() {
    let (vault, _) = memory_vault();
    let key = name("billing-1");
    vault
        .create_key(&key, CreateKeyOptions::ec(Curve::P256))
        .unwrap();
    let backup = vault.backup_key(&key).unwrap();
    let restorer = |pattern: &str| {
        vault.restricted(
            Permissions::from([Permission::Restore])
                .for_names(patterns(&[pattern]))
                .unwrap(),
        )
    };
    // The name is taken, and whoever is not for it does not learn that.
    let error = forbidden(
        restorer("other-*").restore_key(&backup).map(drop),
        "another name",
    );
    assert_eq!(error.key(), Some("billing-1"));
    assert_eq!(
        refused(restorer("billing-*").restore_key(&backup)),
        ErrorKind::KeyExists
    );
    vault.delete_key(&key).unwrap();
    vault.purge_deleted_key(&key).unwrap();
    forbidden(
        restorer("other-*").restore_key(&backup).map(drop),
        "another name",
    );
    restorer("billing-*").restore_key(&backup).unwrap();
}
