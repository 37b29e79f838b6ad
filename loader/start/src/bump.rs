//! An allocator for programs that end soon: it hands out memory and takes none back.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ptr;
use syscalls::{Sysno, syscall};

/// Smallest piece that is asked of the kernel at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// Allocates from the current chunk, and maps a new one when it is full. Only the newest block can grow in place or be
/// given back, which serves vectors that are filled by pushing; everything else stays until the process ends.
pub struct Bump {
    next: Cell<usize>,
    end: Cell<usize>,
}

// SAFETY: programs of this crate have one thread (it offers no way to start another).
unsafe impl Sync for Bump {}

impl Bump {
    /// An allocator without memory; the first allocation maps some.
    #[expect(clippy::new_without_default, reason = "made once, in a static, by `entry!`")]
    pub const fn new() -> Self {
        Self { next: Cell::new(0), end: Cell::new(0) }
    }

    /// The block's start within the current chunk, where it fits.
    fn fit(&self, layout: Layout) -> Option<usize> {
        let start = self.next.get().checked_next_multiple_of(layout.align())?;
        let end = start.checked_add(layout.size())?;
        (start != 0 && end <= self.end.get()).then(|| {
            self.next.set(end);
            start
        })
    }

    /// Replaces the chunk by a new one that holds the block. What was left of the old one is lost. Rare, and so not to be inlined
    /// wherever something is allocated.
    #[cold]
    #[inline(never)]
    fn grow(&self, layout: Layout) -> Option<()> {
        let length = layout.size().checked_add(layout.align())?.max(CHUNK);
        /// PROT_READ | PROT_WRITE, and MAP_PRIVATE | MAP_ANONYMOUS (include/uapi/asm-generic/mman-common.h).
        const READ_WRITE: usize = 1 | 2;
        const PRIVATE: usize = 2 | 0x20;
        // Where there are both, mmap(2) takes its arguments in memory.
        #[cfg(target_arch = "x86")]
        const MMAP: Sysno = Sysno::mmap2;
        #[cfg(target_arch = "x86_64")]
        const MMAP: Sysno = Sysno::mmap;
        // SAFETY: a new anonymous mapping at a place of the kernel's choice touches no memory of ours. No file: -1.
        let start = unsafe { syscall!(MMAP, 0, length, READ_WRITE, PRIVATE, usize::MAX, 0) }.ok()?;
        self.next.set(start);
        self.end.set(start + length);
        Some(())
    }
}

// SAFETY: blocks lie in mappings that are never unmapped, and no two overlap, because `next` only moves past a block when
// it is handed out, and back only over the newest one when that is freed or shrunk.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.fit(layout)
            .or_else(|| self.grow(layout).and_then(|()| self.fit(layout)))
            .map_or(ptr::null_mut(), |start| start as *mut u8)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if block as usize + layout.size() == self.next.get() {
            self.next.set(block as usize);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let start = block as usize;
        if start + layout.size() == self.next.get() {
            if let Some(end) = start.checked_add(new_size).filter(|&end| end <= self.end.get()) {
                self.next.set(end);
                return block;
            }
        }
        // SAFETY: the caller guarantees that the new size with this alignment is a valid layout, and that `block` holds
        // `layout.size()` bytes; the new block is another one.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !new.is_null() {
                ptr::copy_nonoverlapping(block, new, layout.size().min(new_size));
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    /// Catches blocks that overlap, are misaligned, or are lost when a chunk is full.
    #[test]
    fn blocks_are_aligned_and_apart() {
        let bump = Bump::new();
        let mut last = Vec::new();
        for (size, align) in [(1, 1), (3, 64), (CHUNK, 8), (5, 4096), (4 * CHUNK, 16), (7, 1)] {
            // SAFETY: sizes are not zero.
            let block = unsafe { bump.alloc(layout(size, align)) };
            assert!(!block.is_null() && block as usize % align == 0);
            // SAFETY: the block was just handed out.
            unsafe { ptr::write_bytes(block, last.len() as u8, size) };
            last.push((block, size));
        }
        for (index, &(block, size)) in last.iter().enumerate() {
            // SAFETY: the block was handed out, and nothing is ever unmapped.
            let bytes = unsafe { core::slice::from_raw_parts(block, size) };
            assert!(bytes.iter().all(|&byte| usize::from(byte) == index));
        }
    }

    /// Catches a realloc that grows an older block over a newer one, or forgets the contents.
    #[test]
    fn only_the_newest_block_grows_in_place() {
        let bump = Bump::new();
        // SAFETY: sizes are not zero, and blocks are reallocated with their own layouts.
        unsafe {
            let old = bump.alloc(layout(8, 8));
            ptr::write_bytes(old, 7, 8);
            let new = bump.alloc(layout(8, 8));
            assert_eq!(bump.realloc(new, layout(8, 8), 64), new);
            let moved = bump.realloc(old, layout(8, 8), 64);
            assert_ne!(moved, old);
            assert_eq!(core::slice::from_raw_parts(moved, 8), [7; 8]);
        }
    }

    /// Catches an overflow instead of a null for sizes that cannot be.
    #[test]
    fn impossible_sizes_give_null() {
        let bump = Bump::new();
        // SAFETY: the size is not zero.
        assert!(unsafe { bump.alloc(layout(isize::MAX as usize - 4096, 1)) }.is_null());
    }
}
