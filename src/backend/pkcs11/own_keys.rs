//! Keys of the token's own: made when they are first needed, found again by class and label, and never taken out.

use std::collections::BTreeSet;

use cryptoki_sys::{
    CKA_CLASS, CKA_EXTRACTABLE, CKA_ID, CKA_LABEL, CKA_NEVER_EXTRACTABLE, CKA_SENSITIVE,
};

use super::error::{ErrorClass, TokenError, TokenResult};
use super::handles::ObjectClass;
use super::known_answers::internal;
use super::lease::Lease;
use super::mechanism::Ulong;
use super::raw::ObjectHandle;
use super::template::Template;
use super::token::Token;
use crate::env::OsEntropy;
use crate::model::key::KeyTag;

/// More than one is the trace of processes that made one at the same time, or ended while they did.
const MOST: usize = 64;

/// The keys of one class and label.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnKeys<'a> {
    pub(super) class: ObjectClass,
    pub(super) label: &'a str,
}

/// How a key of its own is made, with this id.
pub(super) type Make<'a> = &'a dyn Fn(&Lease<'_>, &KeyTag) -> TokenResult<()>;

/// A key that may be the one for new uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// CKA_ID, which is never empty.
    pub(super) id: Vec<u8>,
    pub(super) epoch: u64,
    /// Just made, and nobody else's.
    fresh: bool,
}

impl OwnKeys<'_> {
    /// The key for new uses: among those that work the one with the lowest id, made when there is none. Without
    /// `make` there has to be one.
    ///
    /// One that does not work is left alone: whatever was wrapped by it once, nobody else can unwrap.
    pub(super) fn current(
        &self,
        token: &Token,
        make: Option<Make<'_>>,
        mut works: impl FnMut(&Candidate) -> TokenResult<bool>,
    ) -> TokenResult<Candidate> {
        let mut unusable = BTreeSet::new();
        loop {
            let candidate = token.mutate(|lease| self.choose(lease, &unusable, make))?;
            if works(&candidate)? {
                return Ok(candidate);
            }
            if candidate.fresh {
                return Err(TokenError::with_detail(
                    ErrorClass::Device,
                    "C_GenerateKey",
                    format!(
                        "the token made a key labelled {}, which it cannot use; see its own log",
                        self.label
                    ),
                ));
            }
            unusable.insert(candidate.id);
        }
    }

    fn choose(
        &self,
        lease: &Lease<'_>,
        unusable: &BTreeSet<Vec<u8>>,
        make: Option<Make<'_>>,
    ) -> TokenResult<Candidate> {
        let epoch = lease.epoch();
        let first = |ids: Vec<Vec<u8>>| ids.into_iter().find(|id| !unusable.contains(id));
        let (ids, objects) = self.existing(lease)?;
        if let Some(id) = first(ids) {
            return Ok(Candidate {
                id,
                epoch,
                fresh: false,
            });
        }
        // An empty answer of a token that is gone is no reason to make a key.
        lease.health()?;
        let Some(make) = make else {
            return Err(TokenError::with_detail(
                ErrorClass::NotFound,
                "C_FindObjects",
                format!(
                    "the token has no key labelled {} that is fit for this: sensitive, never extractable, with an id, of \
                     the right kind and size, and working",
                    self.label
                ),
            ));
        };
        if objects >= MOST {
            return Err(TokenError::with_detail(
                ErrorClass::Device,
                "C_FindObjects",
                format!(
                    "none of the many objects labelled {} in the token works, so no more are made; see the token's own \
                     log",
                    self.label
                ),
            ));
        }
        let made = KeyTag::random(&OsEntropy).map_err(internal)?;
        make(lease, &made)?;
        // Another process may have made one too: both choose the same now.
        let made = made.as_bytes().to_vec();
        let id = first(self.existing(lease)?.0).unwrap_or_else(|| made.clone());
        Ok(Candidate {
            fresh: id == made,
            id,
            epoch,
        })
    }

    /// The ids in their order, and how many objects there are: a generation that was cut short can leave one without
    /// an id. An empty answer is believed only after [`Lease::health`].
    pub(super) fn existing(&self, lease: &Lease<'_>) -> TokenResult<(Vec<Vec<u8>>, usize)> {
        let template = Template::new()
            .ulong(CKA_CLASS, self.class.number())
            .bytes(CKA_LABEL, self.label.as_bytes());
        let objects = lease.find_objects(&template, MOST)?;
        let mut ids = Vec::new();
        for object in &objects {
            ids.extend(lease.get_attribute(*object, CKA_ID)?);
        }
        ids.retain(|id| !id.is_empty());
        ids.sort_unstable();
        Ok((ids, objects.len()))
    }
}

/// Whether an attribute that is yes or no has this value; `None` when the object does not show it.
pub(super) fn is(
    lease: &Lease<'_>,
    object: ObjectHandle,
    attribute: Ulong,
    wanted: bool,
) -> TokenResult<Option<bool>> {
    let value = lease.get_attribute(object, attribute)?;
    Ok(value.map(|value| value == [u8::from(wanted)]))
}

/// Whether the token keeps the key to itself, and always has: what somebody else has put there could be known to
/// him.
pub(super) fn is_kept(lease: &Lease<'_>, key: ObjectHandle) -> TokenResult<bool> {
    Ok(is(lease, key, CKA_SENSITIVE, true)? == Some(true)
        && is(lease, key, CKA_EXTRACTABLE, false)? == Some(true)
        && is(lease, key, CKA_NEVER_EXTRACTABLE, true)? != Some(false))
}
