//! The system calls that this program is about, and what is said of one that failed.

use super::native::{self, Number};
use super::sys::File;
use super::{facts, files};
use alloc::format;
use alloc::string::String;
use kexec_load::denied::{self, Looked};
use kexec_load::kexec::{self, Call, Encoded};
use syscalls::{Errno, Sysno, syscall};

/// kexec_load(2). `segments` are `count` `struct kexec_segment`, whose buffers must be alive; with none, what is loaded is dropped.
pub(crate) fn kexec_load(entry: u64, count: usize, segments: &Encoded, flags: u32) -> Result<(), Errno> {
    // SAFETY (both): the kernel reads `count` segments from the array and the bytes that they name, and writes nothing into this
    // process.
    match segments {
        Encoded::Words32(words) => {
            // The entry lies in a segment, and those were found to fit.
            let entry = usize::try_from(entry).map_err(|_| Errno::EADDRNOTAVAIL)?;
            // SAFETY: see above.
            unsafe { syscall!(Sysno::kexec_load, entry, count, words.as_ptr(), flags as usize) }.map(drop)
        }
        Encoded::Words64(words) => {
            let arguments = [entry, count as u64, words.as_ptr() as u64, u64::from(flags), 0];
            // SAFETY: see above. They have 64 bits in a 32-bit program only where the call was found to be possible (`encode`).
            unsafe { native::call(Number::KexecLoad, arguments) }.map(drop)
        }
    }
}

/// kexec_file_load(2), which a 32-bit program can make only where `native::possible` says so. `line` must end with a zero byte.
pub(crate) fn kexec_file_load(
    kernel: Option<&File>,
    initrd: Option<&File>,
    line: &[u8],
    flags: u32,
) -> Result<(), Errno> {
    // A descriptor that is none is -1, which the flags say.
    let descriptor = |file: Option<&File>| file.map_or(u64::MAX, File::descriptor);
    let arguments =
        [descriptor(kernel), descriptor(initrd), line.len() as u64, line.as_ptr() as u64, u64::from(flags)];
    // SAFETY: the kernel reads the line and the files, and writes nothing into this process.
    unsafe { native::call(Number::KexecFileLoad, arguments) }.map(drop)
}

/// What is said of a call that failed: why, and what is left.
pub(crate) fn failed(call: Call, errno: Errno) -> String {
    let errno = errno.into_raw();
    let (name, why) = kexec::explain(call, errno);
    let denied = if errno == kexec::EPERM { denied(call) } else { String::new() };
    let left = kexec::aftermath(facts::crash_loaded().ok());
    format!("{call}: {name} ({errno}): {why}{denied}{left}")
}

/// Why it was not permitted, for behind that.
fn denied(call: Call) -> String {
    let look = |path| files::read(path).unwrap_or_default();
    let denied = denied::diagnose(
        call,
        &Looked {
            status: &look("/proc/self/status"),
            disabled: &look("/proc/sys/kernel/kexec_load_disabled"),
            limit_panic: &look("/proc/sys/kernel/kexec_load_limit_panic"),
            lockdown: &look("/sys/kernel/security/lockdown"),
        },
    );
    format!(": {denied}")
}

/// Tells the kernel to show this process the machine as it is: under `setarch i386` (PER_LINUX32) uname would call an x86_64
/// kernel i686, and the load would be planned for the wrong one.
pub(crate) fn reset_personality() -> Result<(), Errno> {
    /// PER_LINUX (include/uapi/linux/personality.h).
    const PER_LINUX: usize = 0;
    // SAFETY: personality(2) takes a number and touches no memory of this process.
    unsafe { syscall!(Sysno::personality, PER_LINUX) }.map(drop)
}
