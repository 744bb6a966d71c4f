//! Memory that is wiped once it is done with.
//!
//! Types that hold keys wipe themselves (`Zeroizing`). What they cannot reach is what libraries and the standard library leave behind:
//! the old place of a text that grew, a preshared key inside a WireGuard session, the temporaries of a decoder. So the programs
//! allocate by [`Wiping`], which wipes every small block when it is given back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;

/// Larger blocks are buffers of files and connections, which would cost time; keys and passwords are small.
const SMALL: usize = 64 << 10;
/// So much of the stack is wiped: deeper than that no key is handled.
const DEPTH: usize = 128 << 10;

/// The system's allocator, but that small blocks are wiped when they are freed. For `#[global_allocator]`.
pub struct Wiping;

// Sound as `System` is: blocks are its own, and what is written lies within the block that the caller gives back.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() <= SMALL {
            // The compiler may leave out what is written to memory that is freed next, unless somebody may look at it.
            unsafe { block.write_bytes(0, layout.size()) };
            black_box(block);
        }
        unsafe { System.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if layout.size() > SMALL {
            return unsafe { System.realloc(block, layout, size) };
        }
        // The system would free the old place as it is.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                new.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

/// Wipes what functions that have returned left on the stack of this thread.
#[inline(never)]
pub fn stack() {
    let mut left = [0_u8; DEPTH];
    black_box(&mut left);
}
