//! A restoration or a ceremony that is cut short at any call leaves nothing half done.

use std::time::Duration;

use cryptoki::object::Attribute;
use cryptoki::session::Session;
use cryptoki_sys::CKR_DEVICE_MEMORY;
use hsm_softhsm_tests::proxy::{Fault, Function};
use hsm_softhsm_tests::{Proxy, Token};
use strongroom::backend::KeyBackend;
use strongroom::backend::pkcs11::{KeyKeeping, TransportFingerprint};
use strongroom::{CreateKeyOptions, ErrorKind, KeyOperation, OctKeySize};

use super::{Site, name, provision, vault};

#[test]
fn a_restoration_that_stops_half_way_leaves_nothing_in_the_token() {
    let proxy = Proxy::new();
    let site = Site::on(proxy.new_token(), KeyKeeping::Resident, None).with_domain();
    let (other, _directory) = vault(&site.backend, Some(&site.vault));
    let key = name("both");
    let options = CreateKeyOptions::oct(OctKeySize::Bits256).operations([
        KeyOperation::Encrypt,
        KeyOperation::Decrypt,
        KeyOperation::Sign,
        KeyOperation::Verify,
    ]);
    site.vault
        .create_key(&key, options.hsm().backup_allowed())
        .unwrap();
    site.vault.rotate_key(&key).unwrap();
    let backup = site.vault.backup_key(&key).unwrap();
    let files = site.token.object_files();
    for (step, calls) in [(Function::UnwrapKey, 4), (Function::Sign, 2)] {
        for number in 1..=calls {
            let strikes = proxy.inject(Fault::answer(step, CKR_DEVICE_MEMORY).from_call(number));
            let error = other.restore_key(&backup).unwrap_err();
            assert_eq!(strikes.count(), 1);
            assert_eq!(error.kind(), ErrorKind::Throttled, "{step:?} {number}");
            assert_eq!(site.token.object_files(), files, "{step:?} {number}");
            let missing = other.get_key(&key).unwrap_err();
            assert_eq!(missing.kind(), ErrorKind::KeyNotFound);
        }
    }
    assert_eq!(other.check().unwrap().findings(), &[]);
    assert_eq!(other.restore_key(&backup).unwrap().version_count(), 2);
    assert_eq!(site.token.object_files(), files + 4);
}

/// Calls that change something, or are the last before something changes.
const STEPS: [Function; 9] = [
    Function::Login,
    Function::Logout,
    Function::GenerateKey,
    Function::CreateObject,
    Function::CopyObject,
    Function::WrapKey,
    Function::UnwrapKey,
    Function::SetAttributeValue,
    Function::DestroyObject,
];

/// The ceremony with the proxy failing at one call; then it is held again. Whether it failed.
fn interrupted(
    proxy: &Proxy,
    sites: &[Site; 2],
    heard: TransportFingerprint,
    step: Function,
    number: u64,
) -> bool {
    let [first, second] = sites;
    for site in sites {
        begin_anew(site);
    }
    first.backend.create_domain_key(&first.officer()).unwrap();

    // No code that makes anybody try again by himself.
    let fault = Fault::answer(step, CKR_DEVICE_MEMORY).from_call(number);
    let strikes = proxy.inject(fault);
    let outcome = provision(first, second, heard);
    proxy.heal();
    if strikes.count() == 0 {
        outcome.unwrap();
    } else {
        assert!(outcome.is_err(), "{step:?} {number}");
        // A login that failed is not tried again at once.
        while second.backend.check().and(first.backend.check()).is_err() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    provision(first, second, heard).unwrap();
    let domain = second.backend.domain_key().unwrap().unwrap();
    assert!(
        domain.is_trusted() && domain.is_closed(),
        "{step:?} {number}"
    );
    assert_eq!(first.backend.domain_key().unwrap(), Some(domain));
    // Each has its domain key and, but for what was put aside, nothing else.
    let files = (first.token.object_files(), second.token.object_files());
    assert_eq!(files, (1, 1 + 2), "{step:?} {number}");
    strikes.count() > 0
}

/// Another session, beside the backend, whose login counts for it too.
fn session_beside(site: &Site) -> Session {
    site.backend.check().unwrap();
    let pkcs11 = site.token.pkcs11();
    pkcs11.open_rw_session(site.token.slot()).unwrap()
}

const TRANSPORT: &[u8] = b"strongroom/transport";

/// The label of transport keys that the test has put aside, because making one takes a second.
const ASIDE: &[u8] = b"aside";

/// Gives all transport keys another label.
fn put_transport_aside(site: &Site) {
    let session = session_beside(site);
    let transport = [Attribute::Label(TRANSPORT.to_vec())];
    for object in session.find_objects(&transport).unwrap() {
        let aside = [Attribute::Label(ASIDE.to_vec())];
        session.update_attributes(object, &aside).unwrap();
    }
}

/// Destroys all that was not put aside, and makes transport keys of what was.
fn begin_anew(site: &Site) {
    let session = session_beside(site);
    let aside = session.find_objects(&[Attribute::Label(ASIDE.to_vec())]);
    let aside = aside.unwrap();
    for object in session.find_objects(&[]).unwrap() {
        if !aside.contains(&object) {
            session.destroy_object(object).unwrap();
        }
    }
    for object in aside {
        let transport = [Attribute::Token(true), Attribute::Label(TRANSPORT.to_vec())];
        session.copy_object(object, &transport).unwrap();
    }
}

/// How often the ceremony was interrupted.
fn every_interruption(source: bool) -> u32 {
    let proxy = Proxy::new();
    let mut tokens = [proxy.new_token(), Token::new()];
    if !source {
        tokens.reverse();
    }
    let sites = tokens.map(|token| Site::on(token, KeyKeeping::Wrapped, None));
    let heard = sites[1].backend.begin_provisioning().unwrap().fingerprint();
    put_transport_aside(&sites[1]);
    let mut interruptions = 0;
    for step in STEPS {
        for number in 1.. {
            if !interrupted(&proxy, &sites, heard, step, number) {
                break;
            }
            interruptions += 1;
        }
    }
    interruptions
}

#[test]
fn a_ceremony_that_the_source_cuts_short_is_completed_by_holding_it_again() {
    assert!(every_interruption(true) >= 10);
}

#[test]
fn a_ceremony_that_the_destination_cuts_short_is_completed_by_holding_it_again() {
    assert!(every_interruption(false) >= 20);
}
