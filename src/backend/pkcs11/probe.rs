//! What every trial of a measurement needs.

use std::sync::Arc;

use super::error::TokenResult;
use super::lease::Lease;
use super::mechanism::Ulong;
use super::raw::ObjectHandle;
use super::routes::{Route, RouteTable};
use super::token::Token;
use super::trials::Trials;
use crate::backend::{Capabilities, Support};
use crate::crypto::rustcrypto::RustCryptoEngine;
use crate::env::OsEntropy;
use crate::model::algorithm::CryptoOperation;
use crate::model::spec::KeySpec;

/// Whether ways that need the library's help are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fallbacks {
    Allowed,
    Forbidden,
}

/// The trials of one measurement, and what they have shown so far.
pub(super) struct Probe<'t> {
    pub(super) trials: Trials<'t>,
    pub(super) mechanisms: Vec<Ulong>,
    pub(super) fallbacks: Fallbacks,
    pub(super) engine: RustCryptoEngine,
    pub(super) routes: RouteTable,
    pub(super) capabilities: Capabilities,
}

impl<'t> Probe<'t> {
    pub(super) fn new(token: &'t Token, mechanisms: Vec<Ulong>, fallbacks: Fallbacks) -> Self {
        Self {
            trials: Trials::new(token),
            mechanisms,
            fallbacks,
            engine: RustCryptoEngine::new(Arc::new(OsEntropy)),
            routes: RouteTable::default(),
            capabilities: Capabilities::new(),
        }
    }

    /// Tries in a session of its own: one that failed is not used again.
    pub(super) fn try_with(
        &self,
        make: impl Fn(&Lease<'_>) -> TokenResult<ObjectHandle>,
        work: impl Fn(&Lease<'_>, ObjectHandle) -> TokenResult<bool>,
    ) -> TokenResult<bool> {
        self.trials.holds(|lease| {
            let key = make(lease)?;
            let outcome = work(lease, key)?;
            lease.destroy_object(key)?;
            Ok(outcome)
        })
    }

    pub(super) fn has(&self, mechanism: Ulong) -> bool {
        self.mechanisms.contains(&mechanism)
    }

    pub(super) fn add(&mut self, spec: KeySpec, operation: CryptoOperation, route: Route) {
        self.routes.add(spec, operation, route);
    }

    pub(super) fn generates(&mut self, spec: KeySpec) {
        self.capabilities = std::mem::take(&mut self.capabilities).with_generation(spec);
    }

    pub(super) fn imports(&mut self, spec: KeySpec) {
        self.capabilities = std::mem::take(&mut self.capabilities).with_import(spec);
    }

    /// The first of the ways that works.
    pub(super) fn first_that_works(
        &self,
        operation: CryptoOperation,
        ways: &[Route],
        works: impl Fn(Route) -> TokenResult<bool>,
    ) -> TokenResult<Option<Route>> {
        for route in ways {
            let fallback = matches!(route.support(), Support::Fallback(_));
            if fallback && self.fallbacks == Fallbacks::Forbidden {
                continue;
            }
            let listed = route
                .mechanism(operation)
                .is_none_or(|mechanism| self.has(mechanism));
            if listed && works(*route)? {
                return Ok(Some(*route));
            }
        }
        Ok(None)
    }
}
