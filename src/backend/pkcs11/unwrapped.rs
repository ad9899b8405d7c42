//! Wrapped keys in use: unwrapped into objects of one session that stays open, the least used of them given up.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::attributes::{Custody, Permissions, unwrapped};
use super::error::{ErrorClass, TokenError, TokenResult};
use super::handles::TagHashing;
use super::lease::Lease;
use super::module::{Module, ModuleSession, lock};
use super::objects::find_secret;
use super::profile::Profile;
use super::raw::ObjectHandle;
use super::routes::{Route, Value};
use super::token::{Retry, Token};
use super::wrapped::KeyWrapping;
use crate::format::token_key::WrappedValues;
use crate::model::key::KeyTag;
use crate::model::material::PublicParts;
use crate::model::operation::KeyOperations;
use crate::model::spec::KeySpec;

/// How long closing the session waits for the module.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// A wrapped key as its record has it.
#[derive(Debug)]
pub(super) struct UnwrappedKey {
    tag: KeyTag,
    spec: KeySpec,
    usage: KeyOperations,
    wrapped: WrappedValues,
}

impl UnwrappedKey {
    pub(super) fn new(
        tag: KeyTag,
        spec: KeySpec,
        usage: KeyOperations,
        wrapped: WrappedValues,
    ) -> Self {
        Self {
            tag,
            spec,
            usage,
            wrapped,
        }
    }
}

/// The objects that wrapped keys have at present.
pub(super) struct UnwrappedKeys {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Of the objects; who works with one of them keeps it alive too.
    keeper: Option<Arc<Keeper>>,
    objects: HashMap<(KeyTag, bool), Object, TagHashing>,
    clock: u64,
}

/// The session that owns objects. They end with it.
struct Keeper {
    /// The epoch in which it was opened.
    epoch: u64,
    session: Mutex<ModuleSession>,
    module: Arc<Module>,
}

struct Object {
    handle: ObjectHandle,
    used: u64,
    /// Shared with everyone who works with the object; who has the state's lock can tell. It keeps the session alive;
    /// closing that needs a lease.
    pin: Arc<Pin>,
}

/// One for each object.
struct Pin {
    _keeper: Arc<Keeper>,
}

/// An object that is not destroyed while this lives: a module may answer anything about one that is being destroyed,
/// and may give its number to another key's.
struct Pinned {
    handle: ObjectHandle,
    /// Dropped while there is a lease.
    _pin: Arc<Pin>,
}

impl Object {
    fn pinned(&self) -> Pinned {
        Pinned {
            handle: self.handle,
            _pin: Arc::clone(&self.pin),
        }
    }

    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.pin) == 1
    }
}

impl UnwrappedKeys {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            state: Mutex::default(),
        }
    }

    /// Does `work` with the object of a wrapped key; when the token does not know it any more, with a new one. The
    /// `profile` has been measured before: with a session in hand nobody may wait for another.
    pub(super) fn with<T>(
        &self,
        token: &Token,
        profile: impl Fn() -> TokenResult<Arc<Profile>>,
        key: &UnwrappedKey,
        public: Option<&PublicParts>,
        value: Value,
        mut work: impl FnMut(&Lease<'_>, ObjectHandle) -> TokenResult<T>,
    ) -> TokenResult<T> {
        let place = (key.tag, value == Value::Mac);
        let mut attempt = || {
            token.run(Retry::Safe, |lease| {
                let known = lock(&self.state).known(lease.epoch(), place);
                let object = match known {
                    Some(object) => object,
                    None => self.unwrap(&*profile()?, lease, key, public, place)?,
                };
                work(lease, object.handle)
            })
        };
        match attempt() {
            // Given up meanwhile for another key, or lost with its session.
            Err(error) if error.class == ErrorClass::StaleHandle => {
                lock(&self.state).objects.remove(&place);
                attempt()
            }
            result => result,
        }
    }

    fn unwrap(
        &self,
        profile: &Profile,
        lease: &Lease<'_>,
        key: &UnwrappedKey,
        public: Option<&PublicParts>,
        place: (KeyTag, bool),
    ) -> TokenResult<Pinned> {
        let wrapping = KeyWrapping::from_number(key.wrapped.mechanism)
            .ok_or_else(|| TokenError::new(ErrorClass::Unsupported, "C_UnwrapKey"))?;
        let wrapped = match place.1 {
            false => &key.wrapped.main,
            true => &key.wrapped.mac,
        };
        let Some(wrapped) = wrapped else {
            return Err(TokenError::new(ErrorClass::Unsupported, "C_UnwrapKey"));
        };
        let routes = profile.routes.of(key.spec);
        let permissions =
            Permissions::new(&routes, key.usage, |route: Route| route.is_mac() == place.1);
        let custody = Custody {
            limit_mechanisms: profile.limits_mechanisms,
            ..Custody::PROBE
        };
        let template = unwrapped(public, place.1, &custody, &permissions);
        let kek = find_secret(lease, KeyTag::from_bytes(key.wrapped.kek))?;

        let mut state = lock(&self.state);
        // Somebody may have done it since.
        if let Some(object) = state.known(lease.epoch(), place) {
            return Ok(object);
        }
        let keeper = match state.keeper_in(lease.epoch()) {
            Some(keeper) => Arc::clone(keeper),
            None => {
                // Objects of an earlier epoch go with their session, when the last who works with one is done. The
                // lease is the permit to close it.
                state.objects.clear();
                let module = lease.module();
                let keeper = Arc::new(Keeper {
                    epoch: lease.epoch(),
                    session: Mutex::new(module.open_session(lease.slot())?),
                    module: Arc::clone(module),
                });
                state.keeper = Some(Arc::clone(&keeper));
                keeper
            }
        };
        let unwrapped = lease.functions().unwrap_key(
            lock(&keeper.session).raw(),
            &wrapping.mechanism(),
            kek,
            wrapped,
            &template,
        );
        let handle = unwrapped.map_err(|error| match error.class {
            ErrorClass::StaleHandle => {
                lease.handles().remove(
                    KeyTag::from_bytes(key.wrapped.kek),
                    super::handles::ObjectClass::Secret,
                );
                error
            }
            ErrorClass::SessionLost => {
                // The objects have gone with it; the session of the lease may be well.
                state.objects.clear();
                state.keeper = None;
                error
            }
            // It is the vault's record that does not open, not what the caller gave.
            ErrorClass::DecryptFailed => TokenError::with_detail(
                ErrorClass::Device,
                "C_UnwrapKey",
                "the token does not unwrap the key that the vault keeps for it; see the token's own log, and check \
                 that it is not initialised anew",
            ),
            _ => error,
        })?;
        state.clock += 1;
        let object = Object {
            handle,
            used: state.clock,
            pin: Arc::new(Pin { _keeper: keeper }),
        };
        let pinned = object.pinned();
        state.objects.insert(place, object);
        while state.objects.len() > self.limit {
            let least = state
                .objects
                .iter()
                .filter(|(_, object)| object.is_idle())
                .min_by_key(|(_, object)| object.used)
                .map(|(place, _)| *place);
            let Some(object) = least.and_then(|least| state.objects.remove(&least)) else {
                break;
            };
            // An object that cannot be destroyed ends with its session.
            let _ = lease.destroy_object(object.handle);
        }
        Ok(pinned)
    }

    /// How many objects there are now.
    pub(super) fn count(&self) -> usize {
        lock(&self.state).objects.len()
    }
}

impl State {
    /// The session of the objects, if they are good for a lease of this epoch. Those of a later epoch are: nobody but
    /// a connection, to whatever token, begins one while there is a lease.
    fn keeper_in(&self, epoch: u64) -> Option<&Arc<Keeper>> {
        self.keeper.as_ref().filter(|keeper| keeper.epoch >= epoch)
    }

    fn known(&mut self, epoch: u64, place: (KeyTag, bool)) -> Option<Pinned> {
        self.keeper_in(epoch)?;
        self.clock += 1;
        let object = self.objects.get_mut(&place)?;
        object.used = self.clock;
        Some(object.pinned())
    }
}

impl Drop for UnwrappedKeys {
    fn drop(&mut self) {
        // Nobody works with the objects any more.
        lock(&self.state).objects.clear();
        if let Some(keeper) = lock(&self.state).keeper.take().and_then(Arc::into_inner) {
            let session = keeper.session.into_inner();
            let session = session.unwrap_or_else(PoisonError::into_inner);
            keeper.module.close([session], CLOSE_PATIENCE);
        }
    }
}

impl fmt::Debug for UnwrappedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnwrappedKeys({} of {})", self.count(), self.limit)
    }
}
