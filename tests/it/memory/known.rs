//! Vaults whose keys are known.

use std::fs;
use std::io::Read;
use std::path::Path;

use crypto_bigint::{BoxedUint, Odd};
use strongroom::{
    Curve, ImportKeyOptions, ImportedKey, MasterKey, Passphrase, PassphraseParameters, RsaKeySize,
    SecretBytes, Unlock, Vault, VaultOptions,
};

use super::dump::{Dump, Secret};
use crate::support::{fixed_rsa, hex, name};

/// Two vaults with keys that are known: one under a raw key, one under a passphrase.
#[derive(Debug)]
pub(super) struct Known {
    directory: tempfile::TempDir,
    pub(super) private: Vec<Secret>,
    pub(super) unlocking: Vec<Secret>,
    pub(super) at_rest: Vec<Secret>,
    /// What the child uses for one call each, and lets go of.
    pub(super) passing: Vec<Secret>,
}

/// What came to be in the child.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) at_rest: Vec<Secret>,
    pub(super) private: Vec<Secret>,
}

/// Every file with a secret that the child uses for a while.
pub(super) const PASSING: [(&str, usize); 3] = [
    ("recipient key", 32),
    ("second passphrase", PASSPHRASE_LENGTH),
    ("brought key", 32),
];

/// Text that is as random as its length allows.
pub(super) fn random_text(length: usize) -> String {
    let character = |byte: &u8| char::from(b'0' + byte % 64);
    random(length).iter().map(character).collect()
}

/// The keys of both vaults.
pub(super) fn at_rest_keys(base: &Path, unlock: [Unlock<'_>; 2]) -> Vec<(String, SecretBytes)> {
    let mut keys = Vec::new();
    for (vault, unlock) in ["raw", "pass"].into_iter().zip(unlock) {
        for (key, bytes) in Vault::at_rest_keys(&base.join(vault), unlock).unwrap() {
            keys.push((format!("{vault}: {key}"), bytes));
        }
    }
    keys
}

/// The order of a curve, and the bits of the power of two of its Montgomery form.
pub(super) fn order(curve: Curve) -> Option<(Vec<u8>, usize)> {
    match curve {
        Curve::P256 => Some((
            hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
            256,
        )),
        Curve::P384 => Some((
            hex(
                "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf\
                 581a0db248b0a77aecec196accc52973",
            ),
            384,
        )),
        Curve::P521 => Some((
            hex(
                "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa\
                 51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
            ),
            576,
        )),
        _ => None,
    }
}

pub(super) const PASSPHRASE_LENGTH: usize = 48;

pub(super) fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fs::File::open("/dev/urandom")
        .unwrap()
        .read_exact(&mut bytes)
        .unwrap();
    bytes
}

/// `number` times 2 to the power of `bits`, modulo `modulus`: how libraries hold numbers that they multiply.
pub(super) fn montgomery(number: &[u8], bits: usize, modulus: &[u8]) -> Vec<u8> {
    assert_eq!(number.len(), modulus.len());
    let mut number = number.to_vec();
    for _ in 0..bits {
        let mut carry = 0;
        for byte in number.iter_mut().rev() {
            let doubled = u16::from(*byte) << 1 | carry;
            *byte = doubled as u8;
            carry = doubled >> 8;
        }
        if carry == 1 || number.as_slice() >= modulus {
            let mut borrow = 0;
            for (byte, other) in number.iter_mut().zip(modulus).rev() {
                let difference = i16::from(*byte) - i16::from(*other) - borrow;
                *byte = difference as u8;
                borrow = i16::from(difference < 0);
            }
        }
    }
    number
}

/// Numbers of an RSA key in PKCS#8, by their names in PKCS#1.
pub(super) fn rsa_numbers(size: RsaKeySize) -> Vec<(&'static str, Vec<u8>)> {
    let pem = match size {
        RsaKeySize::Bits2048 => include_str!("../data/rsa-2048.pem"),
        _ => include_str!("../data/rsa-4096.pem"),
    };
    let (_, document) = pkcs8::SecretDocument::from_pem(pem).unwrap();
    let info = document
        .decode_msg::<pkcs8::PrivateKeyInfoRef<'_>>()
        .unwrap();
    let key: pkcs1::RsaPrivateKeyRef<'_> =
        pkcs8::der::Decode::from_der(info.private_key.as_bytes()).unwrap();
    let [mut p, mut q] = [key.prime1, key.prime2].map(|prime| prime.as_bytes().to_vec());
    let [mut dp, mut dq] = [key.exponent1, key.exponent2].map(|number| number.as_bytes().to_vec());
    // As the vault has them: the larger prime first.
    if p < q {
        std::mem::swap(&mut p, &mut q);
        std::mem::swap(&mut dp, &mut dq);
    }
    let bits = u32::try_from(8 * p.len()).unwrap();
    let number = |bytes: &[u8]| BoxedUint::from_be_slice(bytes, bits).unwrap();
    let modulus = Odd::new(number(&p)).unwrap();
    let inverse = number(&q)
        .invert_odd_mod(&modulus)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    vec![
        (
            "qInv in Montgomery form",
            montgomery(&inverse, 8 * p.len(), &p),
        ),
        ("d", key.private_exponent.as_bytes().to_vec()),
        ("p", p),
        ("q", q),
        ("dP", dp),
        ("dQ", dq),
        ("qInv", inverse),
    ]
}

pub(super) const CURVES: [(Curve, &str); 4] = [
    (Curve::P256, "ec-p256"),
    (Curve::P384, "ec-p384"),
    (Curve::P521, "ec-p521"),
    (Curve::P256K, "ec-p256k"),
];

/// A random scalar as the SEC1 form takes it.
pub(super) fn ec_key(curve: Curve) -> (ImportedKey, Vec<u8>) {
    let (length, oid): (usize, &[u8]) = match curve {
        Curve::P256 => (32, &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]),
        Curve::P384 => (48, &[6, 5, 0x2b, 0x81, 4, 0, 0x22]),
        Curve::P521 => (66, &[6, 5, 0x2b, 0x81, 4, 0, 0x23]),
        _ => (32, &[6, 5, 0x2b, 0x81, 4, 0, 0x0a]),
    };
    let mut d = random(length);
    // Below the order of each curve.
    d[0] = u8::from(curve != Curve::P521);
    let mut body = vec![2, 1, 1, 4, u8::try_from(length).unwrap()];
    body.extend(&d);
    body.extend([0xa0, u8::try_from(oid.len()).unwrap()]);
    body.extend(oid);
    let mut der = vec![0x30, u8::try_from(body.len()).unwrap()];
    der.extend(body);
    (ImportedKey::from_sec1_der(&der).unwrap(), d)
}

impl Known {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path();
        let master = random(32);
        let text = random_text(PASSPHRASE_LENGTH);
        fs::write(base.join("master"), &master).unwrap();
        fs::write(base.join("passphrase"), &text).unwrap();
        let key = MasterKey::from_bytes(&master).unwrap();
        let passphrase = Passphrase::new(&text).unwrap();
        let unlock = [Unlock::raw_key(&key), Unlock::passphrase(&passphrase)];
        let options = || {
            let parameters = PassphraseParameters::new(19_456, 1, 1).unwrap();
            VaultOptions::new().passphrase_parameters(parameters)
        };
        let vault = options().create(base.join("raw"), unlock[0]).unwrap();
        let mut private = Vec::new();
        let import = |label: &str, key: ImportedKey| {
            vault
                .import_key(&name(label), ImportKeyOptions::new(key))
                .unwrap();
        };
        for (size, label) in [
            (RsaKeySize::Bits2048, "rsa-2048"),
            (RsaKeySize::Bits4096, "rsa-4096"),
        ] {
            import(label, fixed_rsa(size));
            for (number, bytes) in rsa_numbers(size) {
                private.push(Secret::new(format!("{label} {number}"), &bytes));
            }
        }
        for (curve, label) in CURVES {
            let (key, d) = ec_key(curve);
            import(label, key);
            private.push(Secret::new(format!("{label} d"), &d));
            if let Some((order, bits)) = order(curve) {
                let form = montgomery(&d, bits, &order);
                private.push(Secret::new(format!("{label} d in Montgomery form"), &form));
            }
        }
        let (key, d) = ec_key(Curve::P256);
        import("purged", key);
        private.push(Secret::new("purged d", &d));
        for (label, length) in [("oct-256", 32), ("oct-512", 64)] {
            let bytes = random(length);
            import(label, ImportedKey::oct(SecretBytes::copied_from(&bytes)));
            private.push(Secret::new(label, &bytes));
        }
        vault.close().unwrap();
        let other = options().create(base.join("pass"), unlock[1]).unwrap();
        let bytes = random(32);
        other
            .import_key(
                &name("oct-256"),
                ImportKeyOptions::new(ImportedKey::oct(SecretBytes::copied_from(&bytes))),
            )
            .unwrap();
        private.push(Secret::new("oct-256 of the other vault", &bytes));
        other.close().unwrap();
        let at_rest: Vec<Secret> = at_rest_keys(base, unlock)
            .into_iter()
            .filter(|(key, _)| !key.contains("private: "))
            .map(|(key, bytes)| Secret::new(key, bytes.expose()))
            .collect();
        let passing = PASSING.map(|(file, length)| {
            let secret = random_text(length);
            fs::write(base.join(file), &secret).unwrap();
            Secret::new(file, secret.as_bytes())
        });
        for vault in ["raw", "pass"] {
            let found = Dump::of_bytes(fs::read(base.join(vault).join("vault.hdr")).unwrap())
                .find(&at_rest);
            assert_eq!(found, Vec::<String>::new(), "in the header of {vault}");
        }
        Self {
            private,
            unlocking: vec![
                Secret::new("master key", &master),
                Secret::new("passphrase", text.as_bytes()),
            ],
            at_rest,
            passing: passing.into(),
            directory,
        }
    }

    /// What has come to be since, now that the child has ended.
    pub(super) fn made(&self) -> Made {
        let base = self.directory.path();
        let key = MasterKey::from_bytes(&fs::read(base.join("master")).unwrap()).unwrap();
        let text = fs::read_to_string(base.join("passphrase")).unwrap();
        let passphrase = Passphrase::new(&text).unwrap();
        let (private, at_rest): (Vec<_>, Vec<_>) = at_rest_keys(
            base,
            [Unlock::raw_key(&key), Unlock::passphrase(&passphrase)],
        )
        .into_iter()
        .map(|(name, bytes)| Secret::new(name, bytes.expose()))
        .filter(|secret| !self.at_rest.iter().any(|known| known.is_equal_to(secret)))
        .partition(|secret| secret.name.contains("private: "));
        let is_new = |secret: &Secret| {
            ["private: made", "private: the vault"]
                .iter()
                .any(|name| secret.name.contains(name))
        };
        let private: Vec<Secret> = private.into_iter().filter(is_new).collect();
        assert_eq!(private.len(), 3, "two versions and the vault's own key");
        let names: Vec<&str> = at_rest.iter().map(|secret| secret.name.as_str()).collect();
        for name in ["raw: KEK", "raw: KDK of made", "raw: KDK of brought"] {
            assert!(names.contains(&name), "{names:?}");
        }
        Made { at_rest, private }
    }

    pub(super) fn job(&self, protection: &str) -> String {
        format!("{protection} {}", self.directory.path().display())
    }
}
