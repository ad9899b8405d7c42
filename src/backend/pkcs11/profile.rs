//! What a token can do, found out by doing it: known-answer tests on objects of a session.
//!
//! A mechanism list is right about what is missing, and says nothing about hashes, curves, key lengths and
//! functions; so each way is tried, and counts only if an independent implementation agrees.

use std::sync::Arc;

use super::error::TokenResult;
use super::probe::{Fallbacks, Probe};
use super::routes::RouteTable;
use super::token::{Retry, Token};
use super::wrapped::{KeyWrapping, probe_wrapping};
use crate::backend::Capabilities;
use crate::model::spec::{Curve, OctKeySize};

/// What was found out about a token.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) routes: RouteTable,
    pub(super) capabilities: Arc<Capabilities>,
    /// Whether CKA_ALLOWED_MECHANISMS is taken and honoured.
    pub(super) limits_mechanisms: bool,
    /// Whether CKA_WRAP_WITH_TRUSTED is taken.
    pub(super) wraps_with_trusted: bool,
    /// How the token wraps keys of its own.
    pub(super) key_wrapping: Option<KeyWrapping>,
    /// How many things failed in a way that may pass.
    pub(super) doubts: usize,
}

impl Profile {
    /// **Blocking:** some dozens of operations of the token.
    ///
    /// Errors: what has to do with the token as a whole. An operation that fails is one that it does not have; where the
    /// failure may pass it is tried once more, and then counted among the doubts. Tokens that answer CKR_GENERAL_ERROR to
    /// what they do not have are no exception, so doubts keep nobody from using the rest.
    pub(super) fn measure(token: &Token, fallbacks: Fallbacks) -> TokenResult<Self> {
        let mechanisms = token.run(Retry::Safe, |lease| lease.mechanism_list())?;
        let mut probe = Probe::new(token, mechanisms, fallbacks);
        probe.rsa()?;
        for curve in Curve::ALL {
            probe.curve(curve)?;
        }
        for size in OctKeySize::ALL {
            probe.aes(size)?;
        }
        probe.macs()?;
        let limits_mechanisms = probe.limits_mechanisms()?;
        let wraps_with_trusted = probe.wraps_with_trusted()?;
        let key_wrapping = probe_wrapping(&probe.trials, &probe.mechanisms)?;
        let Probe {
            trials,
            routes,
            mut capabilities,
            ..
        } = probe;
        for (spec, operation, route) in routes.iter() {
            capabilities = capabilities.with(spec, operation, route.support());
        }
        Ok(Self {
            routes,
            capabilities: Arc::new(capabilities),
            limits_mechanisms,
            wraps_with_trusted,
            key_wrapping,
            doubts: trials.doubts(),
        })
    }
}
