//! Wrapped keys in use: unwrapped into objects of one session that stays open, the least used of them given up.

use std::cell::Cell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::attributes::{Custody, Permissions, unwrapped};
use super::error::{ErrorClass, TokenError, TokenResult};
use super::handles::{ObjectClass, TagHashing};
use super::kept_object::{KeptObject, Pin};
use super::lease::Lease;
use super::module::{Module, ModuleSession, lock};
use super::objects::find_secret;
use super::profile::Profile;
use super::raw::ObjectHandle;
use super::routes::{Route, Value};
use super::template::Template;
use super::token::{Retry, Token};
use super::wrapped::KeyWrapping;
use crate::format::token_key::WrappedValues;
use crate::model::key::KeyTag;
use crate::model::material::PublicParts;
use crate::model::operation::KeyOperations;
use crate::model::spec::KeySpec;

/// How long closing the session waits for the module.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// A wrapped key as its record has it, and its objects.
#[derive(Debug)]
pub(super) struct UnwrappedKey {
    tag: KeyTag,
    spec: KeySpec,
    usage: KeyOperations,
    wrapped: WrappedValues,
    /// From the first use on; shared with other handles of the same key.
    main: OnceLock<Arc<KeptObject>>,
    mac: OnceLock<Arc<KeptObject>>,
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
            main: OnceLock::new(),
            mac: OnceLock::new(),
        }
    }

    fn object(&self, value: Value) -> &OnceLock<Arc<KeptObject>> {
        match value {
            Value::Main => &self.main,
            Value::Mac => &self.mac,
        }
    }
}

/// The objects that wrapped keys have at present.
pub(super) struct UnwrappedKeys {
    limit: usize,
    /// Counts unwrapping.
    clock: AtomicU64,
    state: Mutex<State>,
}

/// Whose an object is, and which of the two.
type Place = (KeyTag, Value);

#[derive(Default)]
struct State {
    /// Of the objects.
    keeper: Option<Keeper>,
    /// Those that are there.
    objects: HashMap<Place, Arc<KeptObject>, TagHashing>,
    /// Those of the keeper that the token does not know any more, as long as somebody works with one.
    withdrawn: Vec<Arc<KeptObject>>,
    /// Those that somebody worked with when they were given up, all at once.
    retired: Vec<Retired>,
}

/// The session that owns objects. They end with it.
struct Keeper {
    /// The epoch in which it was opened.
    epoch: u64,
    session: ModuleSession,
    module: Arc<Module>,
}

/// Closed when nobody works with its objects any more.
struct Retired {
    keeper: Keeper,
    objects: Vec<Arc<KeptObject>>,
}

impl UnwrappedKeys {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            clock: AtomicU64::new(0),
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
        let own = key.object(value);
        let last = Cell::new(None);
        let mut attempt = || {
            token.run(Retry::Safe, |lease| {
                let now = self.clock.load(Ordering::Relaxed);
                let pin = own
                    .get()
                    .and_then(|own| Pin::of(&**own, lease.epoch(), now));
                if let Some(pin) = pin {
                    last.set(Some(pin.handle()));
                    return work(lease, pin.handle());
                }
                let pin = self.unwrap(&*profile()?, lease, key, public, value)?;
                last.set(Some(pin.handle()));
                work(lease, pin.handle())
            })
        };
        match attempt() {
            // Given up meanwhile for another key, or lost with its session.
            Err(error) if error.class == ErrorClass::StaleHandle => {
                if let Some(handle) = last.get() {
                    lock(&self.state).withdraw((key.tag, value), handle);
                }
                attempt()
            }
            result => result,
        }
    }

    /// The object of a key, unwrapped if nobody has done it yet.
    fn unwrap(
        &self,
        profile: &Profile,
        lease: &Lease<'_>,
        key: &UnwrappedKey,
        public: Option<&PublicParts>,
        value: Value,
    ) -> TokenResult<Pin<Arc<KeptObject>>> {
        let wrapping = KeyWrapping::from_number(key.wrapped.mechanism)
            .ok_or_else(|| TokenError::new(ErrorClass::Unsupported, "C_UnwrapKey"))?;
        let is_mac = value == Value::Mac;
        let wrapped = match value {
            Value::Main => &key.wrapped.main,
            Value::Mac => &key.wrapped.mac,
        };
        let Some(wrapped) = wrapped else {
            return Err(TokenError::new(ErrorClass::Unsupported, "C_UnwrapKey"));
        };
        let routes = profile.routes.of(key.spec);
        let permissions =
            Permissions::new(&routes, key.usage, |route: Route| route.is_mac() == is_mac);
        let custody = Custody {
            limit_mechanisms: profile.limits_mechanisms,
            ..Custody::PROBE
        };
        let template = unwrapped(public, is_mac, &custody, &permissions);
        let kek_tag = KeyTag::from_bytes(key.wrapped.kek);
        let kek = find_secret(lease, kek_tag)?;

        let mut state = lock(&self.state);
        state.close_retired();
        let now = self.clock.fetch_add(1, Ordering::Relaxed) + 1;
        let epoch = state.keeper_for(lease)?.epoch;
        let place = (key.tag, value);
        if let Some(object) = state.objects.get(&place) {
            // Another thread has done it, or another handle of the key.
            let _ = key.object(value).set(Arc::clone(object));
            return Pin::of(Arc::clone(object), epoch, now).ok_or_else(gone);
        }
        let handle = state
            .unwrap(lease, wrapping, kek, wrapped, &template)
            .inspect_err(|error| {
                if error.class == ErrorClass::StaleHandle {
                    lease.handles().remove(kek_tag, ObjectClass::Secret);
                }
            })?;
        let object = Arc::clone(key.object(value).get_or_init(Arc::default));
        object.fill(handle, epoch, now);
        state.objects.insert(place, Arc::clone(&object));
        let pin = Pin::of(object, epoch, now).ok_or_else(gone)?;
        while state.objects.len() > self.limit {
            let Some(handle) = state.give_up_one() else {
                break;
            };
            // An object that cannot be destroyed ends with its session.
            let _ = lease.destroy_object(handle);
        }
        Ok(pin)
    }

    /// How many objects there are now.
    pub(super) fn count(&self) -> usize {
        lock(&self.state).objects.len()
    }
}

impl State {
    /// The session for objects of a lease. Those of a later epoch than the lease's are good for it, too.
    fn keeper_for(&mut self, lease: &Lease<'_>) -> TokenResult<&Keeper> {
        let current = self.keeper.as_ref();
        if current.is_none_or(|keeper| keeper.epoch < lease.epoch()) {
            self.retire();
            let module = lease.module();
            self.keeper = Some(Keeper {
                epoch: lease.epoch(),
                session: module.open_session(lease.slot())?,
                module: Arc::clone(module),
            });
        }
        self.keeper.as_ref().ok_or_else(gone)
    }

    fn unwrap(
        &mut self,
        lease: &Lease<'_>,
        wrapping: KeyWrapping,
        kek: ObjectHandle,
        wrapped: &[u8],
        template: &Template<'_>,
    ) -> TokenResult<ObjectHandle> {
        let session = self.keeper_for(lease)?.session.raw();
        let mechanism = wrapping.mechanism();
        let unwrapped = lease
            .functions()
            .unwrap_key(session, &mechanism, kek, wrapped, template);
        unwrapped.map_err(|error| match error.class {
            ErrorClass::SessionLost => {
                // The objects have gone with it; the session of the lease may be well.
                self.retire();
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
        })
    }

    /// Takes away the object that nobody works with and that was not used for the longest time.
    fn give_up_one(&mut self) -> Option<ObjectHandle> {
        let mut idle: Vec<_> = self
            .objects
            .iter()
            .filter(|(_, object)| object.is_idle())
            .map(|(place, object)| (object.used(), *place))
            .collect();
        idle.sort_unstable_by_key(|(used, _)| *used);
        // One may be in use again by now.
        idle.into_iter().find_map(|(_, place)| {
            let handle = self.objects.get(&place)?.take_idle()?;
            self.objects.remove(&place);
            Some(handle)
        })
    }

    /// Nobody else gets an object that the token does not know any more.
    fn withdraw(&mut self, place: Place, handle: ObjectHandle) {
        // Somebody may have put another one there.
        if let Entry::Occupied(entry) = self.objects.entry(place)
            && entry.get().handle() == handle
        {
            let object = entry.remove();
            object.withdraw();
            self.withdrawn.push(object);
        }
    }

    /// Gives up all objects, and the session with them as soon as nobody works with one any more. The caller has a lease,
    /// which is the permit to close it.
    fn retire(&mut self) {
        let mut objects = std::mem::take(&mut self.withdrawn);
        for (_, object) in self.objects.drain() {
            object.withdraw();
            objects.push(object);
        }
        if let Some(keeper) = self.keeper.take() {
            self.retired.push(Retired { keeper, objects });
        }
        self.close_retired();
    }

    /// Closes the sessions whose objects nobody works with any more. The caller has a lease.
    fn close_retired(&mut self) {
        self.withdrawn.retain(|object| !object.is_idle());
        self.retired.retain_mut(|retired| {
            retired.objects.retain(|object| !object.is_idle());
            !retired.objects.is_empty()
        });
    }
}

/// Cannot happen: what has just been put there is there for who has the lock.
fn gone() -> TokenError {
    TokenError::new(ErrorClass::Device, "C_UnwrapKey")
}

impl Drop for UnwrappedKeys {
    fn drop(&mut self) {
        // Nobody works with the objects any more.
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let retired = std::mem::take(&mut state.retired).into_iter();
        let keepers = retired
            .map(|retired| retired.keeper)
            .chain(state.keeper.take());
        for keeper in keepers {
            keeper.module.close([keeper.session], CLOSE_PATIENCE);
        }
    }
}

impl fmt::Debug for UnwrappedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnwrappedKeys({} of {})", self.count(), self.limit)
    }
}
