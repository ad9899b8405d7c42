//! Listings: pages of 1 to 25, tokens that can be printed and go on after changes, and each key once.

use std::collections::BTreeSet;

use strongroom::{
    ContinuationToken, CreateKeyOptions, ErrorKind, OctKeySize, PageSize, UpdateKeyOptions, Vault,
};

use crate::make;
use crate::support::{memory_vault, name, refused};

fn oct() -> CreateKeyOptions {
    make::oct(OctKeySize::Bits128)
}

fn fill(vault: &Vault, count: usize) -> BTreeSet<String> {
    (0..count)
        .map(|number| {
            let text = format!("key-{number}");
            vault.create_key(&name(&text), oct()).unwrap();
            text
        })
        .collect()
}

/// Reads all pages, taking each token through its text.
fn paged(vault: &Vault, size: PageSize) -> Vec<String> {
    let mut names = Vec::new();
    let mut token: Option<ContinuationToken> = None;
    loop {
        let page = vault
            .list_key_properties_page(token.as_ref(), size)
            .unwrap();
        assert!(page.items().len() <= size.items());
        names.extend(page.items().iter().map(|item| item.name().to_string()));
        match page.continuation() {
            Some(next) => token = Some(next.to_string().parse().unwrap()),
            None => return names,
        }
    }
}

#[test]
fn a_page_has_1_to_25_items() {
    for items in 0..=u8::MAX {
        let legal = (1..=25).contains(&items);
        assert_eq!(PageSize::new(items).is_ok(), legal, "{items}");
    }
    assert_eq!(refused(PageSize::new(0)), ErrorKind::BadParameter);
    assert_eq!(PageSize::default(), PageSize::new(25).unwrap());
}

#[test]
fn every_page_size_lists_each_key_once() {
    let (vault, _clock) = memory_vault();
    assert!(paged(&vault, PageSize::MAX).is_empty());
    let all = fill(&vault, 60);
    let order = paged(&vault, PageSize::MAX);
    for items in 1..=25 {
        let listed = paged(&vault, PageSize::new(items).unwrap());
        assert_eq!(listed, order, "the order is fixed, whatever the page size");
    }
    assert_eq!(order.len(), 60);
    assert_eq!(order.into_iter().collect::<BTreeSet<_>>(), all);
    let iterated: BTreeSet<String> = vault
        .list_key_properties()
        .map(|item| item.unwrap().name().to_string())
        .collect();
    assert_eq!(iterated, all);
}

#[test]
fn items_show_the_newest_version_of_each_key() {
    let (vault, _clock) = memory_vault();
    fill(&vault, 3);
    vault.rotate_key(&name("key-1")).unwrap();
    vault
        .update_key_properties(&name("key-1"), UpdateKeyOptions::new().enabled(false))
        .unwrap();
    for item in vault.list_key_properties() {
        let item = item.unwrap();
        assert_eq!(&item, vault.get_key(item.name()).unwrap().properties());
    }
}

#[test]
fn an_interrupted_listing_goes_on_after_deletions_and_additions() {
    let (vault, _clock) = memory_vault();
    fill(&vault, 60);
    let order = paged(&vault, PageSize::MAX);
    let first = vault.list_key_properties_page(None, PageSize::MAX).unwrap();
    let token = first.continuation().unwrap().clone();
    // The key on which the token stands, one before and one after it go; others come.
    for gone in [&order[24], &order[3], &order[30]] {
        vault.delete_key(&name(gone)).unwrap();
    }
    vault.purge_deleted_key(&name(&order[24])).unwrap();
    for number in 0..20 {
        vault
            .create_key(&name(&format!("new-{number}")), oct())
            .unwrap();
    }
    let mut rest = Vec::new();
    let mut token = Some(token);
    while let Some(from) = token {
        let page = vault
            .list_key_properties_page(Some(&from), PageSize::MAX)
            .unwrap();
        rest.extend(page.items().iter().map(|item| item.name().to_string()));
        token = page.continuation().cloned();
    }
    let old: Vec<&String> = rest
        .iter()
        .filter(|name| name.starts_with("key-"))
        .collect();
    let expected: Vec<&String> = order[25..]
        .iter()
        .filter(|name| **name != order[30])
        .collect();
    assert_eq!(old, expected);
}

#[test]
fn long_runs_of_deleted_keys_give_empty_pages_and_not_long_calls() {
    let (vault, _clock) = memory_vault();
    // A call looks at 256 keys.
    let count = make::at_most(700, 300);
    fill(&vault, count);
    let order = paged(&vault, PageSize::MAX);
    for gone in &order[..count - 10] {
        vault.delete_key(&name(gone)).unwrap();
    }
    let page = vault.list_key_properties_page(None, PageSize::MAX).unwrap();
    assert!(page.items().is_empty());
    assert!(page.continuation().is_some());
    assert_eq!(paged(&vault, PageSize::MAX), order[count - 10..]);
    assert_eq!(vault.list_key_properties().count(), 10);
    assert_eq!(vault.list_deleted_key_properties().count(), count - 10);
}

#[test]
fn deleted_keys_are_listed_apart_with_their_dates() {
    let (vault, clock) = memory_vault();
    fill(&vault, 40);
    for number in 0..30 {
        clock.advance_seconds(1);
        vault.delete_key(&name(&format!("key-{number}"))).unwrap();
    }
    let mut seen = BTreeSet::new();
    let mut token = None;
    loop {
        let page = vault
            .list_deleted_key_properties_page(token.as_ref(), PageSize::new(7).unwrap())
            .unwrap();
        for item in page.items() {
            let deleted = vault.get_deleted_key(item.properties().name()).unwrap();
            assert_eq!(item.properties(), deleted.properties());
            assert_eq!(item.deleted_on(), deleted.deleted_on());
            assert_eq!(item.scheduled_purge_date(), deleted.scheduled_purge_date());
            assert_eq!(item.recovery_id(), deleted.recovery_id());
            assert!(seen.insert(item.properties().name().clone()));
        }
        token = page.continuation().cloned();
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 30);
    assert_eq!(vault.list_key_properties().count(), 10);
}

#[test]
fn versions_come_newest_first_and_in_pages() {
    let (vault, _clock) = memory_vault();
    let key = name("k");
    let mut made = vec![vault.create_key(&key, oct()).unwrap().properties().clone()];
    for _ in 0..29 {
        made.push(vault.rotate_key(&key).unwrap().properties().clone());
    }
    made.reverse();
    let all: Vec<_> = vault.list_key_properties_versions(&key).unwrap().collect();
    assert_eq!(all, made);
    for size in [1, 7, 25] {
        let size = PageSize::new(size).unwrap();
        let mut listed = Vec::new();
        let mut token: Option<ContinuationToken> = None;
        loop {
            let page = vault
                .list_key_properties_versions_page(&key, token.as_ref(), size)
                .unwrap();
            token = page.continuation().cloned();
            listed.extend(page.into_items());
            if token.is_none() {
                break;
            }
        }
        assert_eq!(listed, made);
    }
    // A new version comes at the front, where an interrupted listing has been already.
    let first = vault
        .list_key_properties_versions_page(&key, None, PageSize::MAX)
        .unwrap();
    let newest = vault.rotate_key(&key).unwrap().properties().clone();
    let rest = vault
        .list_key_properties_versions_page(&key, first.continuation(), PageSize::MAX)
        .unwrap();
    assert_eq!(rest.items(), &made[25..]);
    let again = vault
        .list_key_properties_versions_page(&key, None, PageSize::MAX)
        .unwrap();
    assert_eq!(again.items()[0], newest);
    assert_eq!(again.items()[1..], made[..24]);
    // Another key in between, and one of the same name.
    let other = name("other");
    vault.create_key(&other, oct()).unwrap();
    let of_other = vault
        .list_key_properties_versions_page(&other, None, PageSize::MAX)
        .unwrap();
    assert_eq!(of_other.items().len(), 1);
    let second = vault
        .list_key_properties_versions_page(&key, again.continuation(), PageSize::MAX)
        .unwrap();
    assert_eq!(second.items(), &made[24..]);
    vault.delete_key(&key).unwrap();
    vault.purge_deleted_key(&key).unwrap();
    vault.create_key(&key, oct()).unwrap();
    let anew = vault
        .list_key_properties_versions_page(&key, None, PageSize::MAX)
        .unwrap();
    assert_eq!(anew.items().len(), 1);
    assert_eq!(
        refused(vault.list_key_properties_versions(&name("missing"))),
        ErrorKind::KeyNotFound
    );
}

#[test]
fn a_token_of_another_listing_is_refused_or_harmless() {
    let (vault, _clock) = memory_vault();
    let all = fill(&vault, 30);
    vault.rotate_key(&name("key-0")).unwrap();
    let token = vault
        .list_key_properties_page(None, PageSize::MAX)
        .unwrap()
        .continuation()
        .unwrap()
        .clone();
    assert_eq!(
        refused(vault.list_key_properties_versions_page(
            &name("key-0"),
            Some(&token),
            PageSize::MAX
        )),
        ErrorKind::BadParameter
    );
    for made_up in ["00", "f", ""] {
        let text = made_up.repeat(16);
        match text.parse::<ContinuationToken>() {
            Ok(token) => {
                vault
                    .list_key_properties_page(Some(&token), PageSize::MAX)
                    .unwrap();
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::BadParameter),
        }
    }
    let zero: ContinuationToken = "00".repeat(16).parse().unwrap();
    let page = vault
        .list_key_properties_page(Some(&zero), PageSize::MAX)
        .unwrap();
    assert_eq!(page.items().len(), 25.min(all.len()));
}

#[test]
fn iterators_outlive_the_handle_and_end_after_an_error() {
    let (vault, _clock) = memory_vault();
    fill(&vault, 30);
    let mut keys = vault.list_key_properties();
    keys.next().unwrap().unwrap();
    vault.close().unwrap();
    let rest: Vec<_> = keys.by_ref().collect();
    let errors = rest.iter().filter(|item| item.is_err()).count();
    assert_eq!(errors, 1, "the second page fails");
    assert!(rest.last().unwrap().is_err());
    assert!(keys.next().is_none());
}
