//! What a kernel leaves to its PID 1: file systems, standard streams, personality.

use super::errno;
use alloc::format;
use core::fmt;
use guest_agent::failure::{Errno, Failure};
use rustix::fd::AsRawFd;
use rustix::fs::{Mode, OFlags, mkdir, open};
use rustix::mount::{MountFlags, mount};
use syscalls::{Sysno, syscall};

/// PER_LINUX (include/uapi/linux/personality.h): under PER_LINUX32 an x86_64 kernel would call itself i686.
const PER_LINUX: usize = 0;

/// Type of each file system and where it belongs.
const FILE_SYSTEMS: [(&str, &str); 3] = [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")];

/// Mounts /proc, /sys and /dev, opens the standard streams, and resets the personality.
pub(crate) fn prepare() -> Result<(), Failure> {
    let mounted = FILE_SYSTEMS.into_iter().try_for_each(|(kind, target)| mount_at(kind, target));
    // Before anything else is opened, so that no other file takes the numbers 0 to 2; and even where a mount failed, so
    // that the failure can be said.
    open_standard_streams();
    mounted?;
    // SAFETY: personality(2) takes a number and touches no memory of ours.
    unsafe { syscall!(Sysno::personality, PER_LINUX) }
        .map(drop)
        .map_err(|error| Failure::errno("reset the personality", Errno(error.into_raw())))
}

/// Mounts a file system, unless something is mounted there.
pub(crate) fn mount_at(kind: &str, target: &str) -> Result<(), Failure> {
    match mkdir(target, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(Failure::errno(format!("create {target}"), errno(error))),
    }
    match mount(kind, target, kind, MountFlags::NOSUID, None) {
        // Busy: it is mounted there already.
        Ok(()) | Err(rustix::io::Errno::BUSY) => Ok(()),
        Err(error) => Err(Failure::errno(format!("mount {kind} on {target}"), errno(error))),
    }
}

/// Fills the file descriptors 0 to 2, which the kernel leaves closed when the initramfs has no /dev/console. They get the
/// console, else its port, else /dev/null; where not even that can be opened, nothing will be said on the console.
fn open_standard_streams() {
    for path in ["/dev/console", "/dev/ttyS0", "/dev/null"] {
        while let Ok(file) = open(path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()) {
            if file.as_raw_fd() > 2 {
                return;
            }
            // It is one of the three now, for as long as this process lives.
            core::mem::forget(file);
        }
    }
}

/// A line on the console, for the person who reads its log.
pub(crate) fn say(what: &impl fmt::Display) {
    static_start::write_stderr(format!("guest-agent: {what}\n").as_bytes());
}
