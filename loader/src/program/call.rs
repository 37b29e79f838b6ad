//! The system calls that this program is about, and what is said of one that failed.

use super::native::{self, Number};
use super::sys::File;
use super::{facts, files};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use kexec_load::denied::{self, Looked, WayOut};
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

/// A call that failed.
pub(crate) struct Failed {
    /// With this.
    pub(crate) errno: i32,
    /// What is said of it: why, and what is left.
    pub(crate) why: String,
}

/// Makes a call.
pub(crate) fn make(call: Call, way_out: WayOut, it: &dyn Fn() -> Result<(), Errno>) -> Result<(), Failed> {
    let limit_panic = look("/proc/sys/kernel/kexec_load_limit_panic");
    let Err(errno) = it() else { return Ok(()) };
    let errno = errno.into_raw();
    let (name, why) = kexec::explain(call, errno);
    let denied = if errno == kexec::EPERM { denied(&limit_panic, way_out) } else { String::new() };
    let left = kexec::aftermath(facts::crash_loaded().ok());
    Err(Failed { errno, why: format!("{call}: {name} ({errno}): {why}{denied}{left}") })
}

/// Why it was not permitted, for behind that.
fn denied(limit_panic: &[u8], way_out: WayOut) -> String {
    let looked = Looked {
        status: &look("/proc/self/status"),
        disabled: &look("/proc/sys/kernel/kexec_load_disabled"),
        limit_panic,
        lockdown: &look("/sys/kernel/security/lockdown"),
    };
    format!(": {}", denied::diagnose(&looked, way_out))
}

fn look(path: &str) -> Vec<u8> {
    files::read(path).unwrap_or_default()
}

/// Tells the kernel to show this process the machine as it is: under `setarch i386` (PER_LINUX32) uname would call an x86_64
/// kernel i686, and the load would be planned for the wrong one.
pub(crate) fn reset_personality() -> Result<(), Errno> {
    /// PER_LINUX (include/uapi/linux/personality.h).
    const PER_LINUX: usize = 0;
    // SAFETY: personality(2) takes a number and touches no memory of this process.
    unsafe { syscall!(Sysno::personality, PER_LINUX) }.map(drop)
}
