//! A heap that wipes what is freed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::optimization_barrier;

static IN_USE: AtomicBool = AtomicBool::new(false);

/// Whether the program's heap is a [`WipingAllocator`].
pub(in crate::secret) fn is_wiped() -> bool {
    IN_USE.load(Ordering::Relaxed)
}

/// An allocator that wipes whatever is freed, for a program's `#[global_allocator]`.
///
/// The cryptographic crates below this library, above all that of RSA, leave copies of numbers in memory which they
/// have freed: nothing but the allocator can reach those. Without it the memory of a vault is never *fully* protected,
/// see [`MemoryReport`](crate::MemoryReport). It costs the writing of every freed byte.
///
/// # Examples
///
/// ```
/// #[global_allocator]
/// static HEAP: strongroom::WipingAllocator = strongroom::WipingAllocator::system();
///
/// # fn main() -> Result<(), strongroom::Error> {
/// use strongroom::{MemoryDegradation, VaultOptions};
///
/// let vault = VaultOptions::new().create_in_memory()?;
/// let report = vault.memory_report();
/// assert!(!report.reasons().contains(&MemoryDegradation::HeapNotWiped));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct WipingAllocator<A = System> {
    inner: A,
}

impl WipingAllocator {
    /// On the system's allocator.
    #[must_use]
    pub const fn system() -> Self {
        Self { inner: System }
    }
}

impl<A> WipingAllocator<A> {
    /// On another allocator.
    #[must_use]
    pub const fn over(inner: A) -> Self {
        Self { inner }
    }
}

// SAFETY: every call goes on to the allocator inside with the same arguments; memory is only written to between the
// caller's giving it back and that allocator's taking it. `realloc` is the trait's own: it copies and frees.
unsafe impl<A: GlobalAlloc> GlobalAlloc for WipingAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.store(true, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of this very method.
        unsafe { self.inner.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { self.inner.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the block has the layout's size, belongs to the caller until now, and nobody uses it any more.
        unsafe { ptr::write_bytes(pointer, 0, layout.size()) };
        // The compiler knows that nobody reads freed memory, and would leave the writing out.
        optimization_barrier(&pointer);
        // SAFETY: as above.
        unsafe { self.inner.dealloc(pointer, layout) };
    }
}
