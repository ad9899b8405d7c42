//! Making, reading and changing keys.

use super::answer::{self, Answer};
use super::call::Call;
use super::problem::Problem;
use super::wire::{
    KeyAttributes, KeyBody, KeyCreateParameters, KeyImportParameters, KeyItem,
    KeyReleaseParameters, KeyReleaseResult, KeyUpdateParameters, List, key_operations, required,
    tags,
};
use crate::model::imported_jwk::ImportedJwk;
use crate::model::json_object::Object;
use crate::model::options::{
    CreateKeyOptions, ImportKeyOptions, ImportTransferredKeyOptions, UpdateKeyOptions,
};
use crate::model::rotation_policy::{RotationPolicy, RotationPolicyBody};
use crate::model::spec::{Curve, KeyFamily, KeyType, OctKeySize, RsaKeySize};
use crate::vault::ReleaseOptions;

/// What creating and importing have in common, whose options have the same setters and no type in common.
macro_rules! with_common {
    ($options:expr, $parameters:expr) => {{
        let mut options = $options;
        let Object(attributes) = $parameters.attributes.unwrap_or_default();
        attributes.check()?;
        if let Some(enabled) = attributes.enabled {
            options = options.enabled(enabled);
        }
        if let Some(nbf) = attributes.nbf {
            options = options.not_before(nbf);
        }
        if let Some(exp) = attributes.exp {
            options = options.expires_on(exp);
        }
        if let Some(entries) = $parameters.tags {
            options = options.tags(tags(entries)?);
        }
        if attributes.exportable == Some(true) {
            options = options.exportable();
        }
        if let Some(Object(policy)) = $parameters.release_policy {
            options = options.release_policy(policy.check()?);
        }
        options
    }};
}

pub(super) fn create(call: &Call<'_>) -> Answer {
    let parameters: KeyCreateParameters<'_> = call.parameters()?;
    let mut options = kind(&parameters)?;
    if let Some(names) = &parameters.key_ops {
        options = options.operations(key_operations(names)?);
    }
    let options = with_common!(options, parameters);
    let bundle = call.vault().create_key(call.name()?, options)?;
    answer::ok(&KeyBody::from(&bundle))
}

/// Type, size, curve and exponent.
fn kind(parameters: &KeyCreateParameters<'_>) -> Result<CreateKeyOptions, Problem> {
    let kty: KeyType = required(parameters.kty.as_deref(), "kty")?.parse()?;
    let refuse = |member: &str, given: bool| match given {
        true => Err(Problem::bad_parameter(format!(
            "Property {member} does not belong to a key of type {}.",
            kty.as_str()
        ))),
        false => Ok(()),
    };
    let size = parameters.key_size;
    let family = kty.family();
    refuse("crv", parameters.crv.is_some() && family != KeyFamily::Ec)?;
    refuse(
        "public_exponent",
        parameters.public_exponent.is_some() && family != KeyFamily::Rsa,
    )?;
    let options = match family {
        KeyFamily::Rsa => {
            let size = size.map_or(Ok(RsaKeySize::Bits2048), RsaKeySize::try_from)?;
            let options = CreateKeyOptions::rsa(size);
            match parameters.public_exponent {
                Some(exponent) => options.public_exponent(exponent),
                None => options,
            }
        }
        KeyFamily::Ec => CreateKeyOptions::ec(curve(parameters.crv.as_deref(), size)?),
        KeyFamily::Oct => {
            CreateKeyOptions::oct(size.map_or(Ok(OctKeySize::Bits256), OctKeySize::try_from)?)
        }
    };
    Ok(if kty.is_hsm() { options.hsm() } else { options })
}

/// The curve by its name, by its size, or P-256.
fn curve(name: Option<&str>, size: Option<u32>) -> Result<Curve, Problem> {
    let by_size = size
        .map(|size| match size {
            256 => Ok(Curve::P256),
            384 => Ok(Curve::P384),
            521 => Ok(Curve::P521),
            other => Err(Problem::bad_parameter(format!(
                "Unsupported key size ({other}). Supported sizes are [256, 384, 521]"
            ))),
        })
        .transpose()?;
    let by_name = name.map(str::parse::<Curve>).transpose()?;
    match (by_name, by_size) {
        (Some(curve), Some(other))
            if curve != other && (curve, other) != (Curve::P256K, Curve::P256) =>
        {
            Err(Problem::bad_parameter(
                "Properties crv and key_size contradict each other.",
            ))
        }
        (Some(curve), _) | (None, Some(curve)) => Ok(curve),
        (None, None) => Ok(Curve::P256),
    }
}

pub(super) fn import(call: &Call<'_>) -> Answer {
    let mut parameters: KeyImportParameters<'_> = call.parameters()?;
    let key = required(parameters.key.take(), "key")?.get();
    let bundle = match ImportedJwk::parse(key.as_bytes())? {
        ImportedJwk::Plain(key) => {
            let mut options = with_common!(ImportKeyOptions::new(key), parameters);
            if parameters.hsm == Some(true) {
                options = options.hsm();
            }
            call.vault().import_key(call.name()?, options)?
        }
        ImportedJwk::Transferred(key) => {
            let mut options = ImportTransferredKeyOptions::new(key.key_type, key.blob);
            if parameters.hsm == Some(true) {
                options = options.hsm();
            }
            if let Some(operations) = key.operations {
                options = options.operations(operations);
            }
            if let Some(curve) = key.curve {
                options = options.curve(curve);
            }
            let options = with_common!(options, parameters);
            call.vault().import_transferred_key(call.name()?, options)?
        }
    };
    answer::ok(&KeyBody::from(&bundle))
}

pub(super) fn rotate(call: &Call<'_>) -> Answer {
    let bundle = call.vault().rotate_key(call.name()?)?;
    answer::ok(&KeyBody::from(&bundle))
}

pub(super) fn get(call: &Call<'_>) -> Answer {
    let bundle = call.vault().get_key(call.key()?)?;
    answer::ok(&KeyBody::from(&bundle))
}

pub(super) fn update(call: &Call<'_>) -> Answer {
    let parameters: KeyUpdateParameters<'_> = call.parameters()?;
    let KeyAttributes {
        enabled,
        nbf,
        exp,
        exportable,
        ..
    } = {
        let Object(attributes) = parameters.attributes.unwrap_or_default();
        attributes.check()?;
        attributes
    };
    let mut options = UpdateKeyOptions::new();
    if let Some(names) = parameters.key_ops {
        options = options.operations(key_operations(&names)?);
    }
    if let Some(enabled) = enabled {
        options = options.enabled(enabled);
    }
    if let Some(nbf) = nbf {
        options = options.not_before(nbf);
    }
    if let Some(exp) = exp {
        options = options.expires_on(exp);
    }
    if let Some(entries) = parameters.tags {
        options = options.tags(tags(entries)?);
    }
    if let Some(exportable) = exportable {
        options = options.exportable(exportable);
    }
    if let Some(Object(policy)) = parameters.release_policy {
        options = options.release_policy(policy.check()?);
    }
    let bundle = call.vault().update_key_properties(call.key()?, options)?;
    answer::ok(&KeyBody::from(&bundle))
}

pub(super) fn list(call: &Call<'_>) -> Answer {
    let target = call.target();
    let token = target.continuation()?;
    let page = call
        .vault()
        .list_key_properties_page(token.as_ref(), target.page_size()?)?;
    answer::ok(&List {
        value: page.items().iter().map(KeyItem::of_key).collect(),
        next_link: call.next_link("keys", &page)?,
    })
}

pub(super) fn list_versions(call: &Call<'_>) -> Answer {
    let target = call.target();
    let name = call.name()?;
    let token = target.continuation()?;
    let page = call.vault().list_key_properties_versions_page(
        name,
        token.as_ref(),
        target.page_size()?,
    )?;
    answer::ok(&List {
        value: page.items().iter().map(KeyItem::of_version).collect(),
        next_link: call.next_link(&format!("keys/{name}/versions"), &page)?,
    })
}

pub(super) fn rotation_policy(call: &Call<'_>) -> Answer {
    answer::ok(&call.vault().get_key_rotation_policy(call.name()?)?)
}

pub(super) fn update_rotation_policy(call: &Call<'_>) -> Answer {
    let body: RotationPolicyBody = call.parameters()?;
    let policy = RotationPolicy::try_from(body)?;
    let policy = call
        .vault()
        .update_key_rotation_policy(call.name()?, policy)?;
    answer::ok(&policy)
}

pub(super) fn release(call: &Call<'_>) -> Answer {
    let parameters: KeyReleaseParameters = call.parameters()?;
    let target = parameters.target.filter(|target| !target.is_empty());
    let target = required(target, "target")?;
    let mut options = ReleaseOptions::new();
    if let Some(nonce) = &parameters.nonce {
        options = options.nonce(nonce);
    }
    if let Some(algorithm) = parameters.enc {
        options = options.algorithm(algorithm.parse()?);
    }
    let released = call.vault().release(call.key()?, &target, options)?;
    answer::ok(&KeyReleaseResult {
        value: released.value(),
    })
}

pub(super) fn attestation(call: &Call<'_>) -> Answer {
    call.since("7.6")?;
    let attested = call.vault().get_key_attestation(call.key()?)?;
    answer::ok(&KeyBody::from(&attested))
}
