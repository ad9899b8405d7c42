//! The cryptographic operations.

use super::answer::{self, Answer};
use super::call::Call;
use super::problem::Problem;
use super::response::Bytes;
use super::wire::{
    KeyOperationParameters, KeyOperationResult, KeySignParameters, KeyVerifyParameters,
    RandomBytes, RandomBytesRequest, Text, VerifyResult, required,
};
use crate::error::ErrorKind;
use crate::model::algorithm::{EncryptionAlgorithm, SignatureAlgorithm, WrapAlgorithm};
use crate::model::identifier::KeyIdentifier;
use crate::model::options::{Ciphertext, EncryptOptions};
use zeroize::Zeroizing;

type SecretVec = Zeroizing<Vec<u8>>;

pub(super) fn encrypt(call: &Call<'_>) -> Answer {
    let parameters: KeyOperationParameters<'_> = call.parameters()?;
    let algorithm: EncryptionAlgorithm = algorithm(parameters.alg)?;
    let plaintext = bytes(parameters.value, "value")?;
    let (iv, aad) = (
        optional(parameters.iv, "iv")?,
        optional(parameters.aad, "aad")?,
    );
    if parameters.tag.is_some() {
        return Err(not_taken("tag", algorithm.as_str()));
    }
    let mut options = EncryptOptions::new();
    if let Some(iv) = &iv {
        options = options.iv(iv);
    }
    if let Some(aad) = &aad {
        options = options.aad(aad);
    }
    let result = call
        .vault()
        .encrypt(call.key()?, algorithm, &plaintext, options)?;
    answer::ok(&KeyOperationResult {
        kid: result.key_id(),
        alg: algorithm.aes_mode().map(|_| algorithm.as_str()),
        value: Bytes(result.ciphertext()),
        iv: result.iv().map(Bytes),
        tag: result.tag().map(Bytes),
        aad: aad.as_deref().map(|aad| Bytes(aad)),
    })
}

pub(super) fn decrypt(call: &Call<'_>) -> Answer {
    let parameters: KeyOperationParameters<'_> = call.parameters()?;
    let algorithm: EncryptionAlgorithm = algorithm(parameters.alg)?;
    let value = bytes(parameters.value, "value")?;
    let iv = optional(parameters.iv, "iv")?.unwrap_or_default();
    let aad = optional(parameters.aad, "aad")?.unwrap_or_default();
    let tag = optional(parameters.tag, "tag")?.unwrap_or_default();
    let ciphertext = Ciphertext::new(&value).iv(&iv).aad(&aad).tag(&tag);
    let (kid, plaintext) = call
        .vault()
        .decrypt_named(call.key()?, algorithm, ciphertext)?;
    let alg = algorithm.aes_mode().map(|_| algorithm.as_str());
    secret_result(&kid, alg, plaintext.expose())
}

pub(super) fn wrap_key(call: &Call<'_>) -> Answer {
    let parameters: KeyOperationParameters<'_> = call.parameters()?;
    let algorithm = wrap_algorithm(&parameters)?;
    let key = bytes(parameters.value, "value")?;
    let result = call.vault().wrap_key(call.key()?, algorithm, &key)?;
    answer::ok(&KeyOperationResult {
        kid: result.key_id(),
        alg: symmetric_wrap(algorithm),
        value: Bytes(result.wrapped_key()),
        iv: None,
        tag: None,
        aad: None,
    })
}

pub(super) fn unwrap_key(call: &Call<'_>) -> Answer {
    let parameters: KeyOperationParameters<'_> = call.parameters()?;
    let algorithm = wrap_algorithm(&parameters)?;
    let wrapped = bytes(parameters.value, "value")?;
    let (kid, key) = call
        .vault()
        .unwrap_key_named(call.key()?, algorithm, &wrapped)?;
    secret_result(&kid, symmetric_wrap(algorithm), key.expose())
}

pub(super) fn sign(call: &Call<'_>) -> Answer {
    let parameters: KeySignParameters<'_> = call.parameters()?;
    refuse_ml_dsa(
        parameters.context.is_some(),
        parameters.external_mu.is_some(),
    )?;
    let algorithm: SignatureAlgorithm = algorithm(parameters.alg)?;
    let value = bytes(parameters.value, "value")?;
    check_digest(algorithm, &value, "value")?;
    let result = call.vault().sign(call.key()?, algorithm, &value)?;
    answer::ok(&KeyOperationResult {
        kid: result.key_id(),
        alg: algorithm.hmac().map(|_| algorithm.as_str()),
        value: Bytes(result.signature()),
        iv: None,
        tag: None,
        aad: None,
    })
}

pub(super) fn verify(call: &Call<'_>) -> Answer {
    let parameters: KeyVerifyParameters<'_> = call.parameters()?;
    refuse_ml_dsa(
        parameters.context.is_some(),
        parameters.external_mu.is_some(),
    )?;
    let algorithm: SignatureAlgorithm = algorithm(parameters.alg)?;
    let digest = bytes(parameters.digest, "digest")?;
    let signature = bytes(parameters.value, "value")?;
    check_digest(algorithm, &digest, "digest")?;
    let verified = call
        .vault()
        .verify(call.key()?, algorithm, &digest, &signature);
    match verified {
        Ok(()) => answer::ok(&VerifyResult { value: true }),
        Err(error) if error.kind() == ErrorKind::InvalidSignature => {
            answer::ok(&VerifyResult { value: false })
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn random_bytes(call: &Call<'_>) -> Answer {
    let parameters: RandomBytesRequest = call.parameters()?;
    let count = usize::try_from(required(parameters.count, "count")?)
        .ok()
        .filter(|count| (1..=128).contains(count))
        .ok_or_else(|| {
            Problem::bad_parameter(
                "GetRandomBytesRequest: count cannot be greater than 128 or less than 1",
            )
        })?;
    let bytes = call.vault().get_random_bytes(count)?;
    answer::ok_with_secret(
        bytes.len(),
        &RandomBytes {
            value: Bytes(bytes.expose()),
        },
    )
}

fn algorithm<T: std::str::FromStr<Err = crate::error::Error>>(
    name: Option<String>,
) -> Result<T, Problem> {
    Ok(required(name, "alg")?.parse()?)
}

fn wrap_algorithm(parameters: &KeyOperationParameters<'_>) -> Result<WrapAlgorithm, Problem> {
    let algorithm: WrapAlgorithm = algorithm(parameters.alg.clone())?;
    // Taking them without using them would promise what is not done.
    for (name, member) in [
        ("iv", &parameters.iv),
        ("aad", &parameters.aad),
        ("tag", &parameters.tag),
    ] {
        if member.is_some() {
            return Err(not_taken(name, algorithm.as_str()));
        }
    }
    Ok(algorithm)
}

fn not_taken(member: &str, algorithm: &str) -> Problem {
    Problem::bad_parameter(format!(
        "Property {member} is not allowed here with algorithm {algorithm}."
    ))
}

fn symmetric_wrap(algorithm: WrapAlgorithm) -> Option<&'static str> {
    match algorithm {
        WrapAlgorithm::RsaOaep | WrapAlgorithm::RsaOaep256 | WrapAlgorithm::Rsa1_5 => None,
        _ => Some(algorithm.as_str()),
    }
}

fn bytes(member: Option<Text<'_>>, name: &str) -> Result<SecretVec, Problem> {
    required(member, name)?.bytes(name)
}

fn optional(member: Option<Text<'_>>, name: &str) -> Result<Option<SecretVec>, Problem> {
    member.map(|text| text.bytes(name)).transpose()
}

/// Azure's sentence for the mistake that is made most: data instead of their digest.
fn check_digest(algorithm: SignatureAlgorithm, digest: &[u8], name: &str) -> Result<(), Problem> {
    match algorithm.digest().map(|hash| hash.digest_length()) {
        Some(length) if length != digest.len() => Err(Problem::bad_parameter(format!(
            "Invalid length of '{name}': {} bytes. {algorithm} requires {length} bytes, encoded with base64url.",
            digest.len()
        ))),
        _ => Ok(()),
    }
}

fn refuse_ml_dsa(context: bool, external_mu: bool) -> Result<(), Problem> {
    match (context, external_mu) {
        (false, false) => Ok(()),
        (true, _) => Err(Problem::not_offered("Property context")),
        (false, true) => Err(Problem::not_offered("Property external_mu")),
    }
}

fn secret_result(kid: &KeyIdentifier, alg: Option<&'static str>, secret: &[u8]) -> Answer {
    answer::ok_with_secret(
        secret.len(),
        &KeyOperationResult {
            kid,
            alg,
            value: Bytes(secret),
            iv: None,
            tag: None,
            aad: None,
        },
    )
}
