//! The allocator that counts, and what it says of a call.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static HEAP: Counting = Counting;

impl Counting {
    fn took(bytes: usize) {
        let held = HELD.fetch_add(bytes, Ordering::SeqCst) + bytes;
        PEAK.fetch_max(held, Ordering::SeqCst);
    }

    fn gave(bytes: usize) {
        HELD.fetch_sub(bytes, Ordering::SeqCst);
    }
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::took(layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::took(layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        Self::gave(layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there while the bytes are moved.
        Self::took(size);
        // SAFETY: the caller keeps the contract.
        let moved = unsafe { System.realloc(place, layout, size) };
        Self::gave(layout.size());
        moved
    }
}

/// One measurement at a time, because all threads are counted.
static ALONE: Mutex<()> = Mutex::new(());

pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most that was held during the call beyond what was held before, its result included.
pub(crate) fn peak<T>(call: impl FnOnce() -> T) -> usize {
    let before = HELD.load(Ordering::SeqCst);
    PEAK.store(before, Ordering::SeqCst);
    let result = call();
    let peak = PEAK.load(Ordering::SeqCst);
    drop(result);
    peak.saturating_sub(before)
}

#[test]
fn what_is_held_is_counted() {
    let _alone = alone();
    let length = 1 << 20;
    // Threads of the test harness allocate a little.
    let about = |bytes: usize| bytes..bytes + 64 * 1_024;
    assert!(about(length).contains(&peak(|| vec![1_u8; length])));
    assert!(about(length).contains(&peak(|| drop(vec![0_u8; length]))));
    assert!(about(0).contains(&peak(|| ())));
    let one_after_the_other = || {
        drop(vec![1_u8; length]);
        drop(vec![1_u8; length]);
    };
    assert!(about(length).contains(&peak(one_after_the_other)));
    let mut bytes = vec![1_u8; length];
    assert!(about(2 * length).contains(&peak(|| bytes.reserve_exact(length))));
    let on_another_thread = || std::thread::spawn(move || vec![1_u8; length]).join();
    assert!(about(length).contains(&peak(on_another_thread)));
}

/// A parser that believes a length, as the planted leak that the measurements of this binary must find.
#[test]
fn a_parser_that_believes_a_length_is_found() {
    let _alone = alone();
    let believing = |input: &[u8]| -> Option<Vec<u8>> {
        let (length, rest) = input.split_first_chunk()?;
        let length = u32::from_be_bytes(*length) as usize;
        let mut field = Vec::with_capacity(length.min(1 << 28));
        field.extend_from_slice(rest.get(..length)?);
        Some(field)
    };
    let good = b"\x00\x00\x00\x03abc";
    assert!(crate::parsers::worst(good, &|input: &[u8]| drop(believing(input))).is_err());
    let doubting = |input: &[u8]| drop(input.to_vec());
    assert!(crate::parsers::worst(good, &doubting).is_ok());
}
