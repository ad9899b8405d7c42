//! The connection to a token.

use super::mechanism::Ulong;
use super::module::Module;
use super::token_info::TokenInfo;

/// Found in a slot, logged in.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) slot: Ulong,
    pub(super) info: TokenInfo,
    /// The generation of the module in which it was made; in another one it is void.
    pub(super) generation: u64,
    /// Tells apart the attachments of one token.
    pub(super) number: u64,
}

impl Attachment {
    /// Whether the same token is still in the slot.
    pub(super) fn answers(&self, module: &Module) -> bool {
        module
            .functions()
            .token_info(self.slot)
            .is_ok_and(|info| info.serial == self.info.serial)
    }
}
