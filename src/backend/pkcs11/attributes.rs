//! The attributes that keys are made with.

use cryptoki_sys::{
    CK_ATTRIBUTE_TYPE, CKA_ALLOWED_MECHANISMS, CKA_CLASS, CKA_COEFFICIENT, CKA_DECRYPT, CKA_DERIVE,
    CKA_EC_PARAMS, CKA_EC_POINT, CKA_ENCRYPT, CKA_EXPONENT_1, CKA_EXPONENT_2, CKA_EXTRACTABLE,
    CKA_ID, CKA_KEY_TYPE, CKA_LABEL, CKA_MODULUS, CKA_MODULUS_BITS, CKA_PRIME_1, CKA_PRIME_2,
    CKA_PRIVATE, CKA_PRIVATE_EXPONENT, CKA_PUBLIC_EXPONENT, CKA_SENSITIVE, CKA_SIGN,
    CKA_SIGN_RECOVER, CKA_TOKEN, CKA_UNWRAP, CKA_VALUE, CKA_VALUE_LEN, CKA_VERIFY, CKA_WRAP,
    CKA_WRAP_WITH_TRUSTED, CKK_AES, CKK_EC, CKK_GENERIC_SECRET, CKK_RSA, CKO_DATA, CKO_PRIVATE_KEY,
    CKO_SECRET_KEY,
};

use super::error::{ErrorClass, TokenError, TokenResult};
use super::lease::Lease;
use super::mechanism::{Ulong, ulong};
use super::raw::ObjectHandle;
use super::routes::{Route, Usage};
use super::template::Template;
use crate::crypto::public_key::PublicKey;
use crate::model::algorithm::CryptoOperation;
use crate::model::hex;
use crate::model::key::{KeyTag, VaultLabel};
use crate::model::material::{KeyMaterial, MaterialParts, PublicParts};
use crate::model::operation::KeyOperations;
use crate::model::spec::{Curve, RsaKeySize};
use crate::secret::SecretBytes;

/// The longest MAC that a token makes: its HMAC keys are padded with zeros to this length, which changes no MAC.
pub(super) const MAC_KEY_LENGTH: usize = 64;

/// How the labels of markers begin; the tag follows. A marker stands beside a key that is not confirmed. It is an
/// object of its own, because changing an attribute of the key would write the key anew, and a crash in the middle
/// of that can lose it: SoftHSM2 overwrites its file in place.
const MARKER: &str = "strongroom/new/";

/// The id of the MAC value of a symmetric key.
pub(super) fn mac_tag(tag: KeyTag) -> KeyTag {
    KeyTag::from_bytes(tag.as_bytes().map(|byte| !byte))
}

/// The marker of a key that is not confirmed.
pub(super) fn marker(tag: KeyTag) -> Template<'static> {
    with_marker(tag)
        .bool(CKA_TOKEN, true)
        .bool(CKA_PRIVATE, true)
        .bytes(CKA_VALUE, b"new")
}

/// To find it.
pub(super) fn with_marker(tag: KeyTag) -> Template<'static> {
    Template::new()
        .ulong(CKA_CLASS, CKO_DATA)
        .owned(CKA_LABEL, format!("{MARKER}{tag}").into_bytes())
}

/// All data objects, markers among them.
pub(super) fn data_objects() -> Template<'static> {
    Template::new()
        .ulong(CKA_CLASS, CKO_DATA)
        .bool(CKA_TOKEN, true)
}

/// The tag of a marker's key.
pub(super) fn tag_of_marker(label: &str) -> Option<KeyTag> {
    tag_from_digits(label.strip_prefix(MARKER)?)
}

/// The tag of a key of this vault.
pub(super) fn tag_in_label(vault: &VaultLabel, label: &str) -> Option<KeyTag> {
    tag_from_digits(label.strip_prefix(&vault.to_string())?.strip_prefix('/')?)
}

/// As it is written, and in no other way: what looks different is not ours.
fn tag_from_digits(digits: &str) -> Option<KeyTag> {
    let tag = KeyTag::from_bytes(hex::parse(digits)?);
    (tag.to_string() == digits).then_some(tag)
}

/// What a private or secret key may do in the token: exactly what the routes of its operations need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Permissions {
    sign: bool,
    encrypt: bool,
    decrypt: bool,
    wrap: bool,
    unwrap: bool,
    mechanisms: Vec<Ulong>,
}

impl Permissions {
    /// For the operations, among the routes of the key's kind that `select` picks.
    pub(super) fn new(
        routes: &[(CryptoOperation, Route)],
        operations: KeyOperations,
        select: impl Fn(Route) -> bool,
    ) -> Self {
        let mut permissions = Self::default();
        for (operation, route) in routes {
            if !operations.contains(operation.operation()) || !select(*route) {
                continue;
            }
            match route.usage(*operation) {
                Some(Usage::Sign) => permissions.sign = true,
                Some(Usage::Encrypt) => permissions.encrypt = true,
                Some(Usage::Decrypt) => permissions.decrypt = true,
                Some(Usage::Wrap) => permissions.wrap = true,
                Some(Usage::Unwrap) => permissions.unwrap = true,
                None => {}
            }
            if let Some(mechanism) = route.mechanism(*operation)
                && !permissions.mechanisms.contains(&mechanism)
            {
                permissions.mechanisms.push(mechanism);
            }
        }
        permissions
    }

    /// These, with whatever mechanism.
    pub(super) fn some(usages: &[Usage]) -> Self {
        Self {
            sign: usages.contains(&Usage::Sign),
            encrypt: usages.contains(&Usage::Encrypt),
            decrypt: usages.contains(&Usage::Decrypt),
            wrap: usages.contains(&Usage::Wrap),
            unwrap: usages.contains(&Usage::Unwrap),
            mechanisms: Vec::new(),
        }
    }
}

/// Where an object is kept and who may take it out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Custody<'a> {
    /// For an object of the token its id and label; without one it is the session's.
    pub(super) named: Option<(&'a KeyTag, &'a str)>,
    /// Whether the token may wrap it.
    pub(super) extractable: bool,
    /// Then only under a key that the security officer trusts.
    pub(super) trusted_only: bool,
    /// Whether the token honours CKA_ALLOWED_MECHANISMS.
    pub(super) limit_mechanisms: bool,
}

impl Custody<'_> {
    /// An object of a session, for probes.
    pub(super) const PROBE: Self = Self {
        named: None,
        extractable: false,
        trusted_only: false,
        limit_mechanisms: false,
    };
}

/// What all private and secret keys have: sensitive, private, and no use that is not wanted.
fn guarded<'a>(
    template: Template<'a>,
    custody: &Custody<'a>,
    permissions: &Permissions,
) -> Template<'a> {
    let mut template = template
        .bool(CKA_TOKEN, custody.named.is_some())
        .bool(CKA_PRIVATE, true)
        .bool(CKA_SENSITIVE, true)
        .bool(CKA_EXTRACTABLE, custody.extractable)
        .bool(CKA_DERIVE, false)
        .bool(CKA_SIGN, permissions.sign)
        .bool(CKA_DECRYPT, permissions.decrypt)
        .bool(CKA_UNWRAP, permissions.unwrap);
    if let Some((tag, label)) = custody.named {
        template = template
            .bytes(CKA_ID, tag.as_bytes())
            .bytes(CKA_LABEL, label.as_bytes());
    }
    if custody.trusted_only {
        template = template.bool(CKA_WRAP_WITH_TRUSTED, true);
    }
    if custody.limit_mechanisms && !permissions.mechanisms.is_empty() {
        template = template.ulongs(CKA_ALLOWED_MECHANISMS, permissions.mechanisms.clone());
    }
    template
}

fn secret<'a>(key_type: Ulong, custody: &Custody<'a>, permissions: &Permissions) -> Template<'a> {
    let template = Template::new()
        .ulong(CKA_CLASS, CKO_SECRET_KEY)
        .ulong(CKA_KEY_TYPE, key_type);
    guarded(template, custody, permissions)
        .bool(CKA_ENCRYPT, permissions.encrypt)
        .bool(CKA_WRAP, permissions.wrap)
        // A MAC is verified by making it again.
        .bool(CKA_VERIFY, false)
}

/// For C_GenerateKey and C_UnwrapKey of an AES key.
pub(super) fn aes_key<'a>(
    length: Option<usize>,
    custody: &Custody<'a>,
    permissions: &Permissions,
) -> Template<'a> {
    let template = secret(CKK_AES, custody, permissions);
    match length {
        Some(length) => template.ulong(CKA_VALUE_LEN, ulong(length)),
        None => template,
    }
}

/// For C_GenerateKey and C_UnwrapKey of an HMAC key.
pub(super) fn mac_key<'a>(
    length: Option<usize>,
    custody: &Custody<'a>,
    permissions: &Permissions,
) -> Template<'a> {
    let template = secret(CKK_GENERIC_SECRET, custody, permissions);
    match length {
        Some(length) => template.ulong(CKA_VALUE_LEN, ulong(length)),
        None => template,
    }
}

/// The public half of a pair that is generated: it lives as long as the session, because the records keep the
/// public key.
pub(super) fn rsa_public(size: RsaKeySize, exponent: u64) -> Template<'static> {
    Template::new()
        .bool(CKA_TOKEN, false)
        .bool(CKA_PRIVATE, false)
        .bool(CKA_VERIFY, true)
        .ulong(CKA_MODULUS_BITS, Ulong::from(size.bits()))
        .owned(
            CKA_PUBLIC_EXPONENT,
            trimmed(exponent.to_be_bytes().to_vec()),
        )
}

/// Whether a generated RSA key is the one that was asked for: some modules have an exponent of their own.
pub(super) fn require_rsa(parts: &PublicParts, size: RsaKeySize, exponent: u64) -> TokenResult<()> {
    let wrong = |what: String| {
        Err(TokenError::with_detail(
            ErrorClass::Device,
            "C_GenerateKeyPair",
            format!(
                "the token generated another RSA key than it was asked for, {what}; it was not kept"
            ),
        ))
    };
    let PublicParts::Rsa { n, e } = parts else {
        return wrong("one that is none".to_owned());
    };
    let bits = n.first().map_or(0, |first| {
        8 * n.len() - usize::try_from(first.leading_zeros()).unwrap_or(0)
    });
    if Ok(bits) != usize::try_from(size.bits()) {
        return wrong(format!("of {bits} bits instead of {}", size.bits()));
    }
    if *e != trimmed(exponent.to_be_bytes().to_vec()) {
        return wrong(format!(
            "with another public exponent than {exponent}; ask for the one that it has, usually 65537"
        ));
    }
    Ok(())
}

pub(super) fn ec_public(curve: Curve) -> Template<'static> {
    Template::new()
        .bool(CKA_TOKEN, false)
        .bool(CKA_PRIVATE, false)
        .bool(CKA_VERIFY, true)
        .bytes(CKA_EC_PARAMS, curve_oid(curve))
}

/// The private half of a pair that is generated, and for C_UnwrapKey.
pub(super) fn private_key<'a>(
    class: Option<Ulong>,
    custody: &Custody<'a>,
    permissions: &Permissions,
) -> Template<'a> {
    let template = match class {
        Some(key_type) => Template::new()
            .ulong(CKA_CLASS, CKO_PRIVATE_KEY)
            .ulong(CKA_KEY_TYPE, key_type),
        None => Template::new(),
    };
    // Tokens give this one unasked.
    guarded(template, custody, permissions).bool(CKA_SIGN_RECOVER, false)
}

/// The key type of an unwrapped private key.
fn private_key_type(public: &PublicParts) -> Ulong {
    match public {
        PublicParts::Rsa { .. } => CKK_RSA,
        PublicParts::Ec { .. } => CKK_EC,
    }
}

/// For C_UnwrapKey of a key's value; `public` tells the type of a private key.
pub(super) fn unwrapped<'a>(
    public: Option<&PublicParts>,
    as_mac: bool,
    custody: &Custody<'a>,
    permissions: &Permissions,
) -> Template<'a> {
    match (public, as_mac) {
        (Some(public), _) => private_key(Some(private_key_type(public)), custody, permissions),
        (None, false) => aes_key(None, custody, permissions),
        (None, true) => mac_key(None, custody, permissions),
    }
}

/// For C_CreateObject. The value is copied once, into the template, which wipes it.
pub(super) fn imported<'a>(
    material: &'a KeyMaterial,
    as_mac: bool,
    custody: &Custody<'a>,
    permissions: &Permissions,
) -> Template<'a> {
    let copy = |secret: &SecretBytes| SecretBytes::copied_from(secret.expose());
    match &material.parts {
        MaterialParts::Rsa(rsa) => private_key(Some(CKK_RSA), custody, permissions)
            .bytes(CKA_MODULUS, &rsa.n)
            .bytes(CKA_PUBLIC_EXPONENT, &rsa.e)
            .secret(CKA_PRIVATE_EXPONENT, copy(&rsa.d))
            .secret(CKA_PRIME_1, copy(&rsa.p))
            .secret(CKA_PRIME_2, copy(&rsa.q))
            .secret(CKA_EXPONENT_1, copy(&rsa.dp))
            .secret(CKA_EXPONENT_2, copy(&rsa.dq))
            .secret(CKA_COEFFICIENT, copy(&rsa.qi)),
        MaterialParts::Ec(ec) => private_key(Some(CKK_EC), custody, permissions)
            .bytes(CKA_EC_PARAMS, curve_oid(ec.curve))
            .secret(CKA_VALUE, copy(&ec.d)),
        MaterialParts::Oct { key, .. } if as_mac => {
            let padded = SecretBytes::filled_with(MAC_KEY_LENGTH, |bytes| {
                bytes[..key.len()].copy_from_slice(key.expose());
                TokenResult::Ok(())
            });
            let template = mac_key(None, custody, permissions);
            match padded {
                Ok(padded) => template.secret(CKA_VALUE, padded),
                Err(_) => template,
            }
        }
        MaterialParts::Oct { key, .. } => {
            aes_key(None, custody, permissions).secret(CKA_VALUE, copy(key))
        }
    }
}

/// The public key of a pair that was generated.
pub(super) fn public_parts(
    lease: &Lease<'_>,
    public: ObjectHandle,
    curve: Option<Curve>,
) -> TokenResult<PublicParts> {
    let attribute = |attribute: CK_ATTRIBUTE_TYPE| {
        lease.get_attribute(public, attribute)?.ok_or_else(|| {
            TokenError::with_detail(
                ErrorClass::Device,
                "C_GetAttributeValue",
                "the token does not show the public key that it generated",
            )
        })
    };
    let parts = match curve {
        None => rsa_parts(attribute(CKA_MODULUS)?, attribute(CKA_PUBLIC_EXPONENT)?),
        Some(curve) => ec_parts(curve, &attribute(CKA_EC_POINT)?),
    };
    parts.ok_or_else(|| {
        TokenError::with_detail(
            ErrorClass::Device,
            "C_GetAttributeValue",
            "the token generated a public key that is none",
        )
    })
}

/// `None` unless it is a public key of a size that is supported.
pub(super) fn rsa_parts(modulus: Vec<u8>, exponent: Vec<u8>) -> Option<PublicParts> {
    usable(PublicParts::Rsa {
        n: trimmed(modulus),
        e: trimmed(exponent),
    })
}

/// `None` unless it is a point on the curve.
pub(super) fn ec_parts(curve: Curve, encoded: &[u8]) -> Option<PublicParts> {
    let (x, y) = point(curve, encoded)?;
    usable(PublicParts::Ec { curve, x, y })
}

fn usable(parts: PublicParts) -> Option<PublicParts> {
    PublicKey::from_parts(&parts).is_ok().then_some(parts)
}

fn trimmed(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros.min(number.len()));
    number
}

/// An uncompressed point, bare or in an OCTET STRING as the standard has it.
fn point(curve: Curve, encoded: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let length = curve.field_length();
    // The last bytes are the point either way.
    let start = encoded.len().checked_sub(2 * length + 1)?;
    let (wrapping, bare) = encoded.split_at(start);
    let sound = match wrapping {
        [] => true,
        [0x04, rest @ ..] => rest.len() <= 2,
        _ => false,
    };
    let (form, coordinates) = bare.split_first()?;
    let (x, y) = coordinates.split_at(length);
    (sound && *form == 0x04).then(|| (x.to_vec(), y.to_vec()))
}

/// The named curve as DER.
pub(super) const fn curve_oid(curve: Curve) -> &'static [u8] {
    match curve {
        Curve::P256 => b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
        Curve::P384 => b"\x06\x05\x2b\x81\x04\x00\x22",
        Curve::P521 => b"\x06\x05\x2b\x81\x04\x00\x23",
        Curve::P256K => b"\x06\x05\x2b\x81\x04\x00\x0a",
    }
}

/// All private and secret keys of the token. What sessions have unwrapped is none of its own.
pub(super) fn key_classes() -> [Template<'static>; 2] {
    [CKO_PRIVATE_KEY, CKO_SECRET_KEY].map(|class| {
        Template::new()
            .ulong(CKA_CLASS, class)
            .bool(CKA_TOKEN, true)
    })
}

/// Every object with this id.
pub(super) fn with_id(tag: &KeyTag) -> Template<'_> {
    Template::new().bytes(CKA_ID, tag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_keys_and_markers_give_back_the_tag() {
        let vault = VaultLabel::from_bytes([0xab; 8]);
        let other = VaultLabel::from_bytes([0xac; 8]);
        let tag = KeyTag::from_bytes(*b"0123456789abcdef");
        let label = vault.of_key(tag);
        assert_eq!(tag_in_label(&vault, &label), Some(tag));
        assert_eq!(tag_in_label(&other, &label), None);
        assert_eq!(tag_of_marker(&format!("{MARKER}{tag}")), Some(tag));
        assert_eq!(tag_of_marker(&label), None);
        for foreign in ["", "strongroom/", "strongroom/abababababababab/", "a/b/new"] {
            assert_eq!(tag_in_label(&vault, foreign), None);
            assert_eq!(tag_of_marker(foreign), None);
        }
        assert_eq!(
            tag_in_label(&vault, &format!("{vault}/{}", "é".repeat(16))),
            None
        );
    }

    /// A fuzzer found it: `u8::from_str_radix` takes `+9` for 9, so that another label stood for the tag of a key.
    #[test]
    fn a_tag_is_written_in_one_way_only() {
        let vault = VaultLabel::from_bytes([0xab; 8]);
        let tag = KeyTag::from_bytes([0x0a; 16]);
        for digits in [
            "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a+a",
            "+a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
            "0A0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
            "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a a",
            "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a",
        ] {
            assert_eq!(tag_in_label(&vault, &format!("{vault}/{digits}")), None);
            assert_eq!(tag_of_marker(&format!("{MARKER}{digits}")), None);
        }
        let label = format!("{vault}/{}", "0a".repeat(16));
        assert_eq!(tag_in_label(&vault, &label), Some(tag));
    }

    #[test]
    fn points_are_read_bare_and_wrapped_and_nothing_else_is() {
        let mut bare = vec![4];
        bare.extend([1; 32]);
        bare.extend([2; 32]);
        let wrapped = [&[4, 65], &bare[..]].concat();
        let expected = Some((vec![1; 32], vec![2; 32]));
        assert_eq!(point(Curve::P256, &bare), expected);
        assert_eq!(point(Curve::P256, &wrapped), expected);
        assert_eq!(point(Curve::P256, &wrapped[..wrapped.len() - 1]), None);
        assert_eq!(point(Curve::P256, &[]), None);
        bare[0] = 2;
        assert_eq!(point(Curve::P256, &bare), None);
    }
}
