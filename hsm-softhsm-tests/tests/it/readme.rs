//! The table of algorithms in README.md is what a fresh token was measured to do.
//!
//! `STRONGROOM_WRITE_README=1 cargo test -p hsm-softhsm-tests --test it readme::` writes it anew.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use hsm_softhsm_tests::{Token, TokenUnderTest, skip};
use strongroom::backend::pkcs11::Pkcs11Backend;
use strongroom::backend::software::SoftwareBackend;
use strongroom::backend::{Capabilities, KeyBackend, Support};
use strongroom::{CryptoOperation, Curve, KeySpec, OctKeyLength, RsaKeySize};

use crate::backends::own_options;
use crate::support::variable;

const BEGIN: &str = "<!-- algorithms: measured, see hsm-softhsm-tests/tests/it/readme.rs -->\n";
const END: &str = "<!-- algorithms end -->\n";

/// The release that the table is about, as C_GetInfo tells it.
const VERSION: (u8, u8) = (2, 6);

fn specs() -> impl Iterator<Item = KeySpec> {
    let rsa = RsaKeySize::ALL.into_iter().map(KeySpec::Rsa);
    let ec = Curve::ALL.into_iter().map(KeySpec::Ec);
    let oct = (OctKeyLength::MIN_BYTES..=OctKeyLength::MAX_BYTES)
        .map(|bytes| KeySpec::Oct(OctKeyLength::try_from(bytes).unwrap()));
    rsa.chain(ec).chain(oct)
}

/// Every operation with its algorithm, in pairs: there and back.
fn pairs() -> Vec<[CryptoOperation; 2]> {
    let all: Vec<CryptoOperation> = CryptoOperation::all().collect();
    all.chunks(2)
        .map(|pair| {
            let pair: [CryptoOperation; 2] = pair.try_into().unwrap();
            assert_eq!(pair[0].algorithm(), pair[1].algorithm());
            pair
        })
        .collect()
}

/// The least that a backend does in both directions with any kind of key that fits.
fn least(capabilities: &Capabilities, pair: [CryptoOperation; 2]) -> Support {
    let rank = |support: &Support| match support {
        Support::Native => 2,
        Support::Fallback(_) => 1,
        _ => 0,
    };
    pair.into_iter()
        .flat_map(|operation| {
            specs()
                .filter(move |spec| operation.fits(*spec))
                .map(move |spec| capabilities.support(spec, operation))
        })
        .min_by_key(rank)
        .unwrap()
}

fn cell(support: Support) -> &'static str {
    match support {
        Support::Native => "native",
        Support::Fallback(_) => "fallback",
        _ => "no",
    }
}

fn table(software: &Capabilities, token: &Capabilities) -> String {
    let mut table = String::from(
        "| operations | algorithm | software | SoftHSM2 2.6.1 | how, if not native |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for pair in pairs() {
        let [here, there] = [software, token].map(|capabilities| least(capabilities, pair));
        let how = match there {
            Support::Fallback(how) => how,
            _ => "",
        };
        let operations = pair.map(|operation| operation.operation().as_str());
        writeln!(
            table,
            "| {}, {} | {} | {} | {} | {how} |",
            operations[0],
            operations[1],
            pair[0].algorithm(),
            cell(here),
            cell(there)
        )
        .unwrap();
    }
    table
}

#[test]
fn the_table_of_algorithms_is_what_was_measured() {
    let token = TokenUnderTest::get();
    let Some(token) = token.own_or_skip("the table of algorithms is about SoftHSM2") else {
        return;
    };
    let version = token.pkcs11().get_library_info().unwrap();
    let version = version.library_version();
    if (version.major(), version.minor()) != VERSION {
        skip(&format!(
            "the table of algorithms is about SoftHSM2 2.6, and this is {version}"
        ));
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("where the table begins");
    let (written, after) = rest.split_once(END).expect("where the table ends");
    let measured = measured(token);
    if variable("STRONGROOM_WRITE_README").is_some() {
        fs::write(
            &path,
            [before, BEGIN, "\n", &measured, "\n", END, after].concat(),
        )
        .unwrap();
        return;
    }
    assert_eq!(
        written.trim(),
        measured.trim(),
        "README.md does not say what was measured; STRONGROOM_WRITE_README=1 writes it"
    );
}

fn measured(token: &Token) -> String {
    let backend = Pkcs11Backend::new(own_options(token));
    backend.check().unwrap();
    table(
        &SoftwareBackend::new().capabilities(),
        &backend.capabilities(),
    )
}
