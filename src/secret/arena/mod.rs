//! Memory for secrets: locked against swapping, left out of core dumps, wiped on free.
//!
//! An arena is one mapping with a guard page on both sides. What is allocated where stands outside of it. When it
//! is full, or the system gives none, the ordinary heap serves, and is counted.
#![expect(unsafe_code, reason = "memory maps, and pointers into them")]

mod heap;

use std::ffi::c_void;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use zeroize::Zeroize;

pub use self::heap::WipingAllocator;
pub(super) use self::heap::is_wiped;
use super::process_number::process_number;

/// Blocks begin at multiples of this, and have lengths that are multiples of it.
const GRANULE: usize = 32;

/// The largest block; more goes to the heap.
pub(super) const LARGEST_BLOCK: usize = 4_096;

/// Every page size of today divides it.
const GUARD: usize = 64 * 1_024;

/// Where a secret lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Home {
    /// A vault's own keys: a forked child finds zeros in their place.
    Vault,
    /// What the caller holds, for example a master key: it survives a fork as every value does.
    Caller,
}

static VAULTS: Arena = Arena::new(1024 * 1_024, Home::Vault);
static CALLERS: Arena = Arena::new(64 * 1_024, Home::Caller);

impl Home {
    fn arena(self) -> &'static Arena {
        match self {
            Self::Vault => &VAULTS,
            Self::Caller => &CALLERS,
        }
    }
}

/// What the system refused, by its error number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Refusals {
    pub(super) map: Option<i32>,
    pub(super) lock: Option<i32>,
    pub(super) dont_dump: Option<i32>,
    pub(super) wipe_on_fork: Option<i32>,
    /// Blocks that live on the heap now.
    pub(super) on_heap: usize,
}

pub(super) fn refusals(home: Home) -> Refusals {
    let arena = home.arena();
    let mut refusals = match arena.mapping() {
        Err(map) => Refusals {
            map: Some(map),
            ..Refusals::default()
        },
        Ok(mapping) => match mapping.books() {
            Some(books) => books.refusals,
            // A fork left the books locked: nothing is put into the arena, nor locked.
            None => Refusals {
                map: Some(rustix::io::Errno::AGAIN.raw_os_error()),
                ..Refusals::default()
            },
        },
    };
    refusals.on_heap = arena.on_heap.load(Ordering::Relaxed);
    refusals
}

/// From now on the process gets no arena, as if the system had given none; `false` when it has one already.
#[cfg(feature = "testing")]
pub(super) fn refuse() -> bool {
    let refused = || Err(rustix::io::Errno::NOMEM.raw_os_error());
    [&VAULTS, &CALLERS]
        .into_iter()
        .all(|arena| arena.mapped.get_or_init(refused).is_err())
}

/// The place in the vaults' arena that a fork wipes; `None` when there is none.
pub(super) fn sentinel() -> Option<&'static AtomicU64> {
    let mapping = VAULTS.mapping().ok()?;
    // SAFETY: the first granule of the mapping is never allocated, is readable and writable for as long as the
    // process lives, is aligned for a `u64`, and is only ever used through this atomic.
    mapping
        .wipes_on_fork
        .then(|| unsafe { AtomicU64::from_ptr(mapping.start.as_ptr().cast()) })
}

struct Arena {
    length: usize,
    home: Home,
    mapped: OnceLock<Result<Mapping, i32>>,
    on_heap: AtomicUsize,
}

/// A mapping that is never unmapped.
struct Mapping {
    start: NonNull<u8>,
    length: usize,
    wipes_on_fork: bool,
    books: Mutex<Books>,
    /// The process that these books are of.
    origin: AtomicU64,
}

// SAFETY: `start` is an address that stays valid, and no access goes through it but to blocks, each of which has
// one owner, and to the sentinel, which is atomic.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// Which parts of a mapping are free: offset and length, ascending, never adjacent.
struct Books {
    free: Vec<(usize, usize)>,
    refusals: Refusals,
}

impl Arena {
    const fn new(length: usize, home: Home) -> Self {
        Self {
            length,
            home,
            mapped: OnceLock::new(),
            on_heap: AtomicUsize::new(0),
        }
    }

    fn mapping(&self) -> Result<&Mapping, i32> {
        self.mapped
            .get_or_init(|| Mapping::new(self.length, self.home))
            .as_ref()
            .map_err(|errno| *errno)
    }

    fn allocate(&'static self, length: usize) -> Option<(NonNull<u8>, &'static Mapping)> {
        if length > LARGEST_BLOCK {
            return None;
        }
        let mapping = self.mapping().ok()?;
        let offset = mapping.books()?.take(rounded(length))?;
        // SAFETY: the books only hold offsets inside the mapping.
        let start = unsafe { mapping.start.add(offset) };
        Some((start, mapping))
    }
}

impl Mapping {
    fn new(length: usize, home: Home) -> Result<Self, i32> {
        use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mlock, mmap_anonymous, mprotect};
        let whole = length + 2 * GUARD;
        // SAFETY: a new private mapping at an address that the system chooses.
        let base = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                whole,
                ProtFlags::empty(),
                MapFlags::PRIVATE,
            )
        }
        .map_err(rustix::io::Errno::raw_os_error)?;
        // SAFETY: `GUARD` is less than the length of the mapping.
        let start = unsafe { base.cast::<u8>().add(GUARD) };
        // SAFETY: the inner part of a mapping that is ours alone. Should it fail, the mapping stays unused.
        unsafe {
            mprotect(
                start.cast::<c_void>(),
                length,
                MprotectFlags::READ | MprotectFlags::WRITE,
            )
        }
        .map_err(rustix::io::Errno::raw_os_error)?;
        let mut refusals = advise(start, length, home);
        // SAFETY: mapped above, readable and writable.
        refusals.lock = unsafe { mlock(start.cast::<c_void>(), length) }
            .err()
            .map(rustix::io::Errno::raw_os_error);
        let start = NonNull::new(start).ok_or(0)?;
        Ok(Self {
            start,
            length,
            wipes_on_fork: home == Home::Vault && refusals.wipe_on_fork.is_none(),
            books: Mutex::new(Books {
                // The first granule is the sentinel's.
                free: vec![(GRANULE, length - GRANULE)],
                refusals,
            }),
            origin: AtomicU64::new(0),
        })
    }

    /// The books, unless a fork left them locked by a thread that does not exist in this process.
    fn books(&self) -> Option<MutexGuard<'_, Books>> {
        let here = process_number(sentinel());
        let known = self.origin.load(Ordering::Acquire);
        if known == here {
            return Some(self.books.lock().unwrap_or_else(PoisonError::into_inner));
        }
        let mut books = match self.books.try_lock() {
            Ok(books) => books,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if known == 0 => {
                self.books.lock().unwrap_or_else(PoisonError::into_inner)
            }
            Err(TryLockError::WouldBlock) => return None,
        };
        if known != 0 && self.origin.load(Ordering::Acquire) == known {
            // A child inherits advice, and no locks on memory.
            // SAFETY: the whole of this mapping, which is never unmapped.
            books.refusals.lock =
                unsafe { rustix::mm::mlock(self.start.as_ptr().cast::<c_void>(), self.length) }
                    .err()
                    .map(rustix::io::Errno::raw_os_error);
        }
        self.origin.store(here, Ordering::Release);
        Some(books)
    }
}

impl Books {
    /// The first hole that is large enough.
    fn take(&mut self, length: usize) -> Option<usize> {
        let at = self.free.iter().position(|(_, room)| *room >= length)?;
        let (offset, room) = self.free[at];
        if room == length {
            self.free.remove(at);
        } else {
            self.free[at] = (offset + length, room - length);
        }
        Some(offset)
    }

    fn give_back(&mut self, offset: usize, length: usize) {
        let next = self.free.partition_point(|(other, _)| *other < offset);
        self.free.insert(next, (offset, length));
        if let Some((after, room)) = self.free.get(next + 1).copied()
            && offset + length == after
        {
            self.free[next].1 += room;
            self.free.remove(next + 1);
        }
        if let Some((before, room)) = next.checked_sub(1).map(|previous| self.free[previous])
            && before + room == offset
        {
            self.free[next - 1].1 += self.free[next].1;
            self.free.remove(next);
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn advise(start: *mut u8, length: usize, home: Home) -> Refusals {
    use rustix::mm::{Advice, madvise};
    // SAFETY: the caller gives a mapping of its own, and neither advice changes what is in it now.
    let refused = |advice| {
        unsafe { madvise(start.cast::<c_void>(), length, advice) }
            .err()
            .map(rustix::io::Errno::raw_os_error)
    };
    Refusals {
        dont_dump: refused(Advice::LinuxDontDump),
        wipe_on_fork: match home {
            Home::Vault => refused(Advice::LinuxWipeOnFork),
            Home::Caller => None,
        },
        ..Refusals::default()
    }
}

/// Other systems have no such advice, or other words for it.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn advise(_: *mut u8, _: usize, home: Home) -> Refusals {
    let unsupported = rustix::io::Errno::NOSYS.raw_os_error();
    Refusals {
        dont_dump: Some(unsupported),
        wipe_on_fork: (home == Home::Vault).then_some(unsupported),
        ..Refusals::default()
    }
}

fn rounded(length: usize) -> usize {
    length.max(1).next_multiple_of(GRANULE)
}

/// Bytes in an arena, or on the heap where that does not do; zeros at first, wiped at the end.
pub(super) struct Block {
    place: Place,
}

enum Place {
    Arena {
        start: NonNull<u8>,
        length: usize,
        mapping: &'static Mapping,
    },
    Heap {
        bytes: Box<[u8]>,
        arena: &'static Arena,
    },
}

// SAFETY: a block owns its bytes as a box does; the mapping behind it is `Sync`.
unsafe impl Send for Block {}
// SAFETY: as above; a shared block only gives shared access.
unsafe impl Sync for Block {}

impl Block {
    pub(super) fn zeroed(length: usize, home: Home) -> Self {
        let arena = home.arena();
        let place = match arena.allocate(length) {
            Some((start, mapping)) => Place::Arena {
                start,
                length,
                mapping,
            },
            None => {
                arena.on_heap.fetch_add(1, Ordering::Relaxed);
                Place::Heap {
                    bytes: vec![0; length].into_boxed_slice(),
                    arena,
                }
            }
        };
        Self { place }
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.place {
            // SAFETY: `length` bytes from `start` were allocated to this block alone, and were zeros from the system
            // or from whoever freed them.
            Place::Arena { start, length, .. } => unsafe {
                std::slice::from_raw_parts(start.as_ptr(), *length)
            },
            Place::Heap { bytes, .. } => bytes,
        }
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.place {
            // SAFETY: as in `deref`; the block is borrowed mutably.
            Place::Arena { start, length, .. } => unsafe {
                std::slice::from_raw_parts_mut(start.as_ptr(), *length)
            },
            Place::Heap { bytes, .. } => bytes,
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.zeroize();
        match &self.place {
            Place::Arena {
                start,
                length,
                mapping,
            } => {
                let offset = start.as_ptr() as usize - mapping.start.as_ptr() as usize;
                // What a fork left locked is never freed in the child.
                if let Some(mut books) = mapping.books() {
                    books.give_back(offset, rounded(*length));
                }
            }
            Place::Heap { arena, .. } => {
                arena.on_heap.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests;
