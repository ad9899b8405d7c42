//! Pure decisions: who may do what with a key now, and what its lifecycle permits.

mod schedule;
#[cfg(test)]
mod tests;

pub(crate) use self::schedule::{KeySchedule, schedule};
use crate::error::{Error, ErrorKind, Result};
use crate::model::algorithm::{CryptoOperation, WrapAlgorithm};
use crate::model::attributes::Validity;
use crate::model::key::{KeyObject, KeyTag, VersionAttributes};
use crate::model::operation::{KeyOperation, KeyOperations};
use crate::model::release_policy::ReleasePolicy;
use crate::model::settings::AlgorithmRules;
use crate::model::spec::{KeyFamily, KeySpec};
use crate::model::time::Timestamp;

/// Proof that one operation of one key version was allowed when it was asked for.
///
/// Only [`authorize`] makes it, and the one function that calls key handles consumes it: enabled,
/// not-before, expiry, `key_ops` and the algorithm cannot be skipped.
#[derive(Debug)]
pub(crate) struct Authorized {
    tag: KeyTag,
    operation: CryptoOperation,
}

impl Authorized {
    /// The operation, for the version of this tag only.
    pub(crate) fn operation_on(self, tag: KeyTag) -> Option<CryptoOperation> {
        (self.tag == tag).then_some(self.operation)
    }
}

/// The moment of a decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) time: Timestamp,
    /// Seconds by which not-before and expiry are stretched for clocks that differ.
    pub(crate) leeway_seconds: u64,
}

/// What is asked: may `operation` be done now with a version of these properties?
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) tag: KeyTag,
    pub(crate) spec: KeySpec,
    pub(crate) attributes: &'a VersionAttributes,
    pub(crate) operation: CryptoOperation,
    pub(crate) rules: AlgorithmRules,
    /// Asked only if the answer depends on it.
    pub(crate) now: &'a dyn Fn() -> Now,
}

/// What is looked at, in this order.
const CHECKS: [fn(&Question<'_>) -> Option<Error>; 5] =
    [unfit, against_rules, disabled, outside_validity, not_listed];

/// Decides. The error is the first of [`refusals`].
#[inline]
pub(crate) fn authorize(question: Question<'_>) -> Result<Authorized> {
    for check in CHECKS {
        if let Some(refusal) = check(&question) {
            return Err(refusal);
        }
    }
    Ok(Authorized {
        tag: question.tag,
        operation: question.operation,
    })
}

/// Allows a version to unwrap a key that is being imported: RSA, enabled, and for nothing else than imports.
pub(crate) fn authorize_import(
    tag: KeyTag,
    spec: KeySpec,
    attributes: &VersionAttributes,
    rules: AlgorithmRules,
) -> Result<Authorized> {
    let operation = CryptoOperation::UnwrapKey(WrapAlgorithm::RsaOaep);
    let question = Question {
        tag,
        spec,
        attributes,
        operation,
        rules,
        now: &|| Now {
            time: Timestamp::from_unix_seconds(0),
            leeway_seconds: 0,
        },
    };
    // Unwrapping has no dates.
    let refusal = unfit(&question).or_else(|| against_rules(&question));
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    if !attributes.enabled {
        return Err(is_disabled(KeyOperation::Import));
    }
    if !is_for_imports(attributes.operations) {
        return Err(Error::new(
            ErrorKind::OperationNotPermitted,
            "operation import is not permitted on this key: it must be the only one in its key_ops",
        ));
    }
    Ok(Authorized { tag, operation })
}

/// Whether a key with these operations unwraps keys that are being imported, and nothing else.
pub(crate) fn is_for_imports(operations: KeyOperations) -> bool {
    operations == KeyOperations::from([KeyOperation::Import])
}

/// What a backend is told that a key is to do: whoever imports, unwraps.
pub(crate) fn backend_operations(operations: KeyOperations) -> KeyOperations {
    if is_for_imports(operations) {
        KeyOperations::from([KeyOperation::UnwrapKey])
    } else {
        operations
    }
}

/// Every reason against it, in the order in which they are looked at.
pub(crate) fn refusals(question: Question<'_>) -> impl Iterator<Item = Error> {
    CHECKS.into_iter().filter_map(move |check| check(&question))
}

// Errors are made apart from the checks, which then are no more than a few comparisons before each operation.

#[inline]
fn unfit(question: &Question<'_>) -> Option<Error> {
    let Question {
        operation, spec, ..
    } = *question;
    (!operation.fits(spec)).then(|| is_unfit(operation, spec))
}

#[cold]
fn is_unfit(operation: CryptoOperation, spec: KeySpec) -> Error {
    Error::new(
        ErrorKind::AlgorithmMismatch,
        format!(
            "key and algorithm are incompatible: {} needs {}, and this is {spec}",
            operation.algorithm(),
            operation.needed_key(),
        ),
    )
}

#[inline]
fn against_rules(question: &Question<'_>) -> Option<Error> {
    let operation = question.operation;
    (!question.rules.permits(operation)).then(|| is_against_rules(operation))
}

#[cold]
fn is_against_rules(operation: CryptoOperation) -> Error {
    Error::new(
        ErrorKind::AlgorithmRefused,
        format!(
            "the settings of this vault refuse the algorithm {}",
            operation.algorithm()
        ),
    )
}

#[inline]
fn disabled(question: &Question<'_>) -> Option<Error> {
    let verb = question.operation.operation();
    (!question.attributes.enabled).then(|| is_disabled(verb))
}

#[cold]
fn is_disabled(verb: KeyOperation) -> Error {
    Error::new(
        ErrorKind::KeyDisabled,
        format!("operation {verb} is not allowed on a disabled key; enable the version first"),
    )
}

#[inline]
fn outside_validity(question: &Question<'_>) -> Option<Error> {
    let verb = question.operation.operation();
    let validity = question.attributes.validity;
    if !verb.needs_current_key() || !validity.has_dates() {
        return None;
    }
    outside_dates(verb, validity, (question.now)())
}

/// Not-before is inclusive, expiry exclusive.
#[inline(never)]
fn outside_dates(verb: KeyOperation, validity: Validity, now: Now) -> Option<Error> {
    if let Some(not_before) = validity.not_before()
        && now.time.plus_seconds(now.leeway_seconds) < not_before
    {
        return Some(Error::new(
            ErrorKind::KeyNotYetValid,
            format!(
                "operation {verb} is not allowed on a key before its not-before time ({not_before})"
            ),
        ));
    }
    if let Some(expires_on) = validity.expires_on()
        && now.time >= expires_on.plus_seconds(now.leeway_seconds)
    {
        return Some(Error::new(
            ErrorKind::KeyExpired,
            format!(
                "operation {verb} is not allowed on an expired key (expired at {expires_on}); \
                 decrypt, unwrapKey and verify still are"
            ),
        ));
    }
    None
}

#[inline]
fn not_listed(question: &Question<'_>) -> Option<Error> {
    let verb = question.operation.operation();
    (!question.attributes.operations.contains(verb)).then(|| is_not_listed(verb))
}

#[cold]
fn is_not_listed(verb: KeyOperation) -> Error {
    Error::new(
        ErrorKind::OperationNotPermitted,
        format!("operation {verb} is not permitted on this key: its key_ops do not list it"),
    )
}

/// The `key_ops` of a new version, or of an updated one: the defaults when none are given.
pub(crate) fn settle_operations(
    spec: KeySpec,
    requested: Option<KeyOperations>,
) -> Result<KeyOperations> {
    let Some(requested) = requested else {
        return Ok(spec.default_operations());
    };
    if requested.is_empty() {
        return Err(Error::bad_parameter(
            "key_ops is empty: leave it out for the defaults, or disable the key",
        ));
    }
    let possible = spec.possible_operations();
    let impossible: Vec<&str> = requested
        .iter()
        .filter(|operation| !possible.contains(*operation))
        .map(|operation| operation.as_str())
        .collect();
    if impossible.is_empty() {
        Ok(requested)
    } else {
        let possible: Vec<&str> = possible
            .iter()
            .map(|operation| operation.as_str())
            .collect();
        Err(Error::bad_parameter(format!(
            "unsupported key operation(s) for {spec}: {}; supported are {}",
            impossible.join(", "),
            possible.join(", "),
        )))
    }
}

/// The release policy of a new version: the given one, or that of the version before it.
pub(crate) fn settle_release_policy<'a>(
    exportable: bool,
    given: Option<&'a ReleasePolicy>,
    inherited: Option<&'a ReleasePolicy>,
) -> Result<Option<&'a ReleasePolicy>> {
    match (exportable, given.or(inherited)) {
        (true, None) => Err(Error::bad_parameter(
            "Exportable keys must have release policy: give one with release_policy",
        )),
        (true, policy) => Ok(policy),
        (false, _) if given.is_some() => Err(must_be_exportable()),
        (false, _) => Ok(None),
    }
}

/// Whether `new` may take the place of the release policy of a version.
pub(crate) fn settle_new_release_policy(
    current: Option<&ReleasePolicy>,
    new: &ReleasePolicy,
) -> Result<()> {
    match current {
        None => Err(must_be_exportable()),
        Some(current) if current.is_immutable() && current != new => Err(Error::bad_parameter(
            "AKV.SKR.1020: Immutable Key Release Policy cannot be modified.",
        )),
        Some(_) => Ok(()),
    }
}

fn must_be_exportable() -> Error {
    Error::bad_parameter(
        "Non-exportable keys must not have release policy: make the key with exportable",
    )
}

/// Every reason against the release of a version, in the order in which they are looked at. The dates of the version
/// are no reason.
pub(crate) fn release_refusals(attributes: &VersionAttributes) -> impl Iterator<Item = Error> {
    let inexportable = attributes.release_policy.is_none().then(|| {
        Error::new(
            ErrorKind::NotExportable,
            "the version was not made exportable and cannot be released",
        )
    });
    let disabled = (!attributes.enabled).then(|| is_disabled(KeyOperation::Export));
    let unlisted = (!attributes.operations.contains(KeyOperation::Export))
        .then(|| is_not_listed(KeyOperation::Export));
    [inexportable, disabled, unlisted].into_iter().flatten()
}

/// Whether a new version of `family` may follow the newest one under the same name.
pub(crate) fn settle_family(
    newest: KeySpec,
    family: KeyFamily,
    change_allowed: bool,
) -> Result<()> {
    if newest.family() == family || change_allowed {
        Ok(())
    } else {
        Err(Error::bad_parameter(format!(
            "the newest version of this key is {newest}; a version of another type must be asked \
             for with allow_type_change"
        )))
    }
}

/// Where a key stands in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lifecycle {
    /// In use.
    Active,
    /// Deleted, and recoverable until its scheduled purge date.
    Deleted,
    /// Past its scheduled purge date: gone for every call, although records may remain.
    Gone,
}

/// The state of `object` at `now`.
pub(crate) fn lifecycle(object: &KeyObject, now: Timestamp) -> Lifecycle {
    match object.deletion {
        None => Lifecycle::Active,
        Some(deletion) if now < deletion.scheduled_purge => Lifecycle::Deleted,
        Some(_) => Lifecycle::Gone,
    }
}

/// How far the clock may move between two commits and still be believed: 32 days, in milliseconds.
const PLAUSIBLE_CLOCK_STEP_MS: u64 = 32 * 86_400_000;

/// Whether a reading of the clock is close enough to the latest time that a commit has seen. One wrong
/// reading must not destroy deleted keys.
pub(crate) fn clock_is_plausible(seen_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(seen_ms) <= PLAUSIBLE_CLOCK_STEP_MS
}

/// The latest time that has been seen, after a commit at `now_ms`. It never goes back, and a jump that is
/// not plausible does not move it: somebody has to confirm the clock first. A new vault has seen nothing.
pub(crate) fn time_floor_after(seen_ms: u64, now_ms: u64) -> u64 {
    if seen_ms == 0 || clock_is_plausible(seen_ms, now_ms) {
        seen_ms.max(now_ms)
    } else {
        seen_ms
    }
}
