//! A new key shows that it works before anybody relies on it.

use super::Pkcs11Backend;
use super::key::wrong_signature;
use super::routes::Route;
use crate::backend::{
    BackendError, BackendErrorKind, BackendResult, KeyBackend, KeyHandle, KeyReference, KeyRequest,
    NewKey,
};
use crate::model::algorithm::CryptoOperation;
use crate::model::spec::KeyFamily;
use crate::secret::SecretBytes;

const KNOWN: &[u8; 32] = b"a new key shows that it can work";

/// Does one private operation of the key and its opposite, for each of its values.
///
/// Errors: `Device` when they do not agree, and those of the operations.
pub(super) fn run(
    backend: &Pkcs11Backend,
    request: &KeyRequest<'_>,
    made: NewKey,
) -> BackendResult<NewKey> {
    let (blob, public) = made.into_parts();
    let rejection_secret = SecretBytes::copied_from(KNOWN);
    let reference = KeyReference::new(request.tag, request.spec, &blob)
        .with_public(public.as_ref())
        .with_rejection_secret(Some(&rejection_secret));
    let handle = backend.open(&reference)?;
    let routes = backend.connection.profile()?.routes.of(request.spec);
    let mut tested = Vec::new();
    for (operation, route) in routes {
        // One of a kind is enough: the ways themselves were tested when the token was measured.
        let kind = (operation.operation(), route.is_mac());
        let wanted = request.operations.contains(operation.operation());
        if route == Route::Public || !wanted || tested.contains(&kind) {
            continue;
        }
        tested.push(kind);
        test(&*handle, request, operation).map_err(|error| match error.kind() {
            // Nobody gave a ciphertext: it is the new key that fails.
            BackendErrorKind::DecryptFailed | BackendErrorKind::InvalidSignature => does_not_open(),
            _ => error,
        })?;
    }
    Ok(NewKey::new(blob, public))
}

fn test(
    handle: &dyn KeyHandle,
    request: &KeyRequest<'_>,
    operation: CryptoOperation,
) -> BackendResult<()> {
    let symmetric = request.spec.family() == KeyFamily::Oct;
    let permitted = |other: CryptoOperation| request.operations.contains(other.operation());
    match operation {
        CryptoOperation::Sign(algorithm) => {
            let digest = vec![0x5a; algorithm.digest().map_or(32, |hash| hash.digest_length())];
            let signature = handle.sign(algorithm, &digest)?;
            match handle.public_key() {
                Some(public) => public
                    .verify(algorithm, &digest, &signature)
                    .map_err(|_| wrong_signature()),
                None => Ok(()),
            }
        }
        CryptoOperation::Decrypt(algorithm) if !symmetric => {
            let public = handle.public_key().ok_or(BackendErrorKind::Device)?;
            let ciphertext = public
                .encrypt(algorithm, KNOWN)
                .map_err(|error| BackendError::new(BackendErrorKind::Device, error.to_string()))?;
            same(&handle.decrypt(algorithm, &ciphertext, &[], &[], &[])?)
        }
        CryptoOperation::UnwrapKey(algorithm) if !symmetric => {
            let public = handle.public_key().ok_or(BackendErrorKind::Device)?;
            let wrapped = public
                .wrap_key(algorithm, KNOWN)
                .map_err(|error| BackendError::new(BackendErrorKind::Device, error.to_string()))?;
            same(&handle.unwrap_key(algorithm, &wrapped)?)
        }
        CryptoOperation::Encrypt(algorithm) => {
            let iv = vec![0x1f; algorithm.iv_length().unwrap_or(0)];
            let (ciphertext, tag) = handle.encrypt(algorithm, KNOWN, &iv, &[])?.into_parts();
            if !permitted(CryptoOperation::Decrypt(algorithm)) {
                return Ok(());
            }
            let tag = tag.map(|tag| tag.to_vec()).unwrap_or_default();
            same(&handle.decrypt(algorithm, &ciphertext, &iv, &[], &tag)?)
        }
        CryptoOperation::WrapKey(algorithm) => {
            let wrapped = handle.wrap_key(algorithm, KNOWN)?;
            if !permitted(CryptoOperation::UnwrapKey(algorithm)) {
                return Ok(());
            }
            same(&handle.unwrap_key(algorithm, &wrapped)?)
        }
        // Tested with their opposites, or with nothing to compare.
        CryptoOperation::Verify(_)
        | CryptoOperation::Decrypt(_)
        | CryptoOperation::UnwrapKey(_) => Ok(()),
    }
}

fn same(opened: &SecretBytes) -> BackendResult<()> {
    if opened.expose() == KNOWN {
        return Ok(());
    }
    Err(does_not_open())
}

fn does_not_open() -> BackendError {
    BackendError::new(
        BackendErrorKind::Device,
        "a new key of the token does not open what was encrypted with it",
    )
}
