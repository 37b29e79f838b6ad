//! The one system call that this program is about.

use syscalls::{Errno, Sysno, syscall};

/// kexec_load(2). `segments` is an array of `count` `struct kexec_segment` in the form of this program's architecture, whose
/// buffers must be alive; with none, what is loaded is dropped.
pub(crate) fn kexec_load(entry: u64, count: usize, segments: &[u8], flags: u32) -> Result<(), Errno> {
    // In the i386 build an entry beyond 32 bits cannot be: the segments, the purgatory among them, were encoded before.
    let entry = usize::try_from(entry).map_err(|_| Errno::EADDRNOTAVAIL)?;
    // SAFETY: the kernel reads `count` segments from the array and the bytes that they name, and writes nothing into this
    // process.
    unsafe { syscall!(Sysno::kexec_load, entry, count, segments.as_ptr(), flags as usize) }.map(drop)
}

/// Tells the kernel to show this process the machine as it is: under `setarch i386` (PER_LINUX32) uname would call an x86_64
/// kernel i686, and the load would be planned for the wrong one.
pub(crate) fn reset_personality() -> Result<(), Errno> {
    /// PER_LINUX (include/uapi/linux/personality.h).
    const PER_LINUX: usize = 0;
    // SAFETY: personality(2) takes a number and touches no memory of this process.
    unsafe { syscall!(Sysno::personality, PER_LINUX) }.map(drop)
}
