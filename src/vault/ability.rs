//! What a backend can do now.

use crate::backend::{Capabilities, KeyBackend};
use crate::error::Result;

/// Whether a backend can do something. One that cannot be reached does nothing, and says why; one that can be reached
/// after all is asked again.
pub(super) fn is_able(
    backend: &dyn KeyBackend,
    able: impl Fn(&Capabilities) -> bool,
) -> Result<bool> {
    if able(&backend.capabilities()) {
        return Ok(true);
    }
    backend.check()?;
    Ok(able(&backend.capabilities()))
}
