//! The memory functions that compiled code calls by name: `memcpy`, `memmove`, `memset`, `memcmp`, `bcmp`, `strlen`.
//!
//! Copying and filling are string instructions, so that the compiler cannot turn them into calls to themselves, and so that
//! a kernel of 10 MB is copied at the machine's own speed. Comparing reads volatile for the same reason.
//!
//! Contracts are those of the C standard, with which the compiler emits the calls.

use core::arch::asm;

/// Copies `n` bytes, lowest first. Right for overlapping blocks where `to` lies below `from`.
///
/// # Safety
/// Both blocks hold `n` bytes.
#[inline(always)]
unsafe fn copy_up(to: *mut u8, from: *const u8, n: usize) {
    // SAFETY: the caller's. The direction flag is clear at any call (System V ABI). The source register cannot be named
    // as an operand on i386 (LLVM keeps it for itself), so it is swapped in and back; the memory operand is the program's.
    unsafe {
        #[cfg(target_arch = "x86")]
        asm!(
            "xchg esi, {from}", "rep movsb", "xchg esi, {from}",
            from = inout(reg) from => _, inout("edi") to => _, inout("ecx") n => _,
            options(nostack, preserves_flags),
        );
        #[cfg(target_arch = "x86_64")]
        asm!(
            "rep movsb",
            inout("rsi") from => _, inout("rdi") to => _, inout("rcx") n => _,
            options(nostack, preserves_flags),
        );
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    // SAFETY: the caller's.
    unsafe { copy_up(to, from, n) };
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= n {
        // SAFETY: the caller's; `to` lies below `from`, or the blocks do not overlap.
        unsafe { copy_up(to, from, n) };
    } else {
        for i in (0..n).rev() {
            // SAFETY: both blocks hold `n` bytes.
            unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) };
        }
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, n: usize) -> *mut u8 {
    // SAFETY: the block holds `n` bytes; the direction flag is clear at any call.
    unsafe {
        #[cfg(target_arch = "x86")]
        asm!("rep stosb", inout("edi") to => _, inout("ecx") n => _, in("eax") value, options(nostack, preserves_flags));
        #[cfg(target_arch = "x86_64")]
        asm!("rep stosb", inout("rdi") to => _, inout("rcx") n => _, in("eax") value, options(nostack, preserves_flags));
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    for i in 0..n {
        // SAFETY: both blocks hold `n` bytes.
        let (x, y) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: the caller's.
    unsafe { memcmp(a, b, n) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(string: *const u8) -> usize {
    let mut n = 0;
    // SAFETY: the string ends with a zero, which has not been met yet.
    while unsafe { string.add(n).read_volatile() } != 0 {
        n += 1;
    }
    n
}
