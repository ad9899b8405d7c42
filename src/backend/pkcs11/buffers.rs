//! Lengths that modules report, and the buffers for their answers.

use std::ptr;

use cryptoki_sys::{CKR_BUFFER_TOO_SMALL, CKR_OPERATION_NOT_INITIALIZED};
use zeroize::Zeroizing;

use super::error::{ErrorClass, TokenError, TokenResult};
use super::mechanism::{Ulong, ulong};

/// The most that an answer is grown to when a module wants a larger buffer than expected.
pub(super) const LARGEST_ANSWER: usize = 64 * 1024;
/// The most mechanisms and slots that are listed.
const LARGEST_LIST: usize = 1_024;

/// Runs an operation into `output` and gives the length of its answer. `run` is told whether it has to initialise
/// the operation.
///
/// When the module wants more room, the buffer grows once. PKCS#11 leaves the operation active then; modules that
/// end it all the same get it anew.
pub(super) fn into_buffer(
    function: &'static str,
    output: &mut Vec<u8>,
    mut run: impl FnMut(bool, *mut u8, *mut Ulong) -> TokenResult<Ulong>,
) -> TokenResult<usize> {
    let mut length = ulong(output.len());
    let mut code = run(true, output.as_mut_ptr(), &raw mut length)?;
    if code == CKR_BUFFER_TOO_SMALL {
        let wanted = bounded(length, LARGEST_ANSWER, function)?;
        if wanted <= output.len() {
            return Err(TokenError::from_code(code, function));
        }
        // A module may have begun to fill the old buffer, so that is wiped.
        let mut larger = vec![0; wanted];
        std::mem::swap(output, &mut larger);
        drop(Zeroizing::new(larger));
        code = run(false, output.as_mut_ptr(), &raw mut length)?;
        if code == CKR_OPERATION_NOT_INITIALIZED {
            length = ulong(output.len());
            code = run(true, output.as_mut_ptr(), &raw mut length)?;
        }
    }
    TokenError::check(code, function)?;
    bounded(length, output.len(), function)
}

/// A list whose length is asked for first.
pub(super) fn listed(
    function: &'static str,
    mut get: impl FnMut(*mut Ulong, *mut Ulong) -> Ulong,
) -> TokenResult<Vec<Ulong>> {
    // A list that grows between the two calls is asked for again.
    for _ in 0..3 {
        let mut count = 0;
        TokenError::check(get(ptr::null_mut(), &raw mut count), function)?;
        let mut list = vec![0; bounded(count, LARGEST_LIST, function)?];
        if list.is_empty() {
            return Ok(list);
        }
        let code = get(list.as_mut_ptr(), &raw mut count);
        if code == CKR_BUFFER_TOO_SMALL {
            continue;
        }
        TokenError::check(code, function)?;
        list.truncate(bounded(count, list.len(), function)?);
        return Ok(list);
    }
    Err(TokenError::from_code(CKR_BUFFER_TOO_SMALL, function))
}

/// A length that a module reported.
pub(super) fn bounded(length: Ulong, max: usize, function: &'static str) -> TokenResult<usize> {
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= max)
        .ok_or_else(|| {
            TokenError::with_detail(
                ErrorClass::Device,
                function,
                "the token gave an answer longer than any that is valid",
            )
        })
}
