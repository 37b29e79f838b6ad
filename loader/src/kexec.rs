//! The kexec_load system call's numbers and forms (include/uapi/linux/kexec.h).

use crate::addr::{PhysAddr, Span};
use crate::rule::Arch;
use alloc::vec::Vec;

/// KEXEC_ON_CRASH: the image is for a crash.
pub const ON_CRASH: u32 = 1;
/// KEXEC_UPDATE_ELFCOREHDR: the kernel rewrites the core header when CPUs or memory come and go, and no digest covers it (Linux 6.5,
/// arch/x86/kernel/crash.c). Not KEXEC_CRASH_HOTPLUG_SUPPORT (8), which x86 kernels before 6.10 do not know and none needs here.
pub const UPDATE_ELFCOREHDR: u32 = 4;
/// KEXEC_ARCH_386.
const ARCH_386: u32 = 3 << 16;
/// KEXEC_ARCH_X86_64.
const ARCH_X86_64: u32 = 62 << 16;

/// The flags of a crash load on this kernel. The architecture is the running kernel's, in a compat call too: there the kernel
/// refuses "default", and takes any other value without a look (kernel/kexec.c).
pub const fn flags(running: Arch) -> u32 {
    ON_CRASH
        | match running {
            Arch::I386 => ARCH_386,
            Arch::X86_64 => ARCH_X86_64,
        }
}

/// A segment as the call takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawSegment {
    /// Address of the bytes in this program.
    pub buffer: u64,
    /// How many bytes there are.
    pub buffer_size: u64,
    /// Where they go. The kernel fills the rest of the span with zeros.
    pub memory: Span,
}

/// `struct kexec_segment` as a program of this architecture passes it: four words each.
pub fn encode(segments: &[RawSegment], userspace: Arch) -> Result<Vec<u8>, PhysAddr> {
    let mut out = Vec::new();
    for segment in segments {
        let start = segment.memory.start();
        for word in [segment.buffer, segment.buffer_size, start.0, segment.memory.size()] {
            match userspace {
                Arch::X86_64 => out.extend_from_slice(&word.to_le_bytes()),
                Arch::I386 => out.extend_from_slice(&u32::try_from(word).map_err(|_| start)?.to_le_bytes()),
            }
        }
    }
    Ok(out)
}

/// What an errno of kexec_load means, as far as the kernel's sources tell (kernel/kexec.c, kernel/kexec_core.c): its name, and
/// what to look at. The cases that a plan rules out are named all the same, since kernels change.
pub const fn explain(errno: i32) -> (&'static str, &'static str) {
    match errno {
        1 => (
            "EPERM",
            "not permitted: it needs CAP_SYS_BOOT, kernel.kexec_load_disabled=0, kernel.kexec_load_limit_panic not used up, \
             and no lockdown of the kernel",
        ),
        11 => ("EAGAIN", "the kernel is busy with another load; try again"),
        12 => (
            "ENOMEM",
            "the kernel found no place for its control pages in the region, or no memory for the transfer; see the kernel log",
        ),
        13 => ("EACCES", "an IMA policy or secure boot wants a signed image by kexec_file_load"),
        14 => ("EFAULT", "a segment's bytes could not be read: was a file changed while it was loaded?"),
        16 => ("EBUSY", "the kernel is busy with another load; try again"),
        22 => ("EINVAL", "the kernel does not take these flags or segments; see the kernel log"),
        38 => ("ENOSYS", "this kernel has no kexec_load: it was built without CONFIG_KEXEC"),
        99 => ("EADDRNOTAVAIL", "a segment lies outside of the crash region that the kernel has now"),
        _ => ("an unexpected errno", "see the kernel log"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::span;

    /// Catches "default" in a compat call (EINVAL), and the other architecture's number (a jump in the wrong mode).
    #[test]
    fn flags_name_the_running_kernel() {
        assert_eq!(flags(Arch::X86_64), 0x003e_0001);
        assert_eq!(flags(Arch::I386), 0x0003_0001);
    }

    #[test]
    fn segments_have_the_form_of_their_userspace() {
        let segment =
            RawSegment { buffer: 0x1000, buffer_size: 0x20, memory: span(0x8000_0000, 0x8000_1fff) };
        assert_eq!(
            encode(&[segment], Arch::I386).unwrap(),
            [0x1000u32, 0x20, 0x8000_0000, 0x2000].map(u32::to_le_bytes).concat()
        );
        assert_eq!(
            encode(&[segment], Arch::X86_64).unwrap(),
            [0x1000u64, 0x20, 0x8000_0000, 0x2000].map(u64::to_le_bytes).concat()
        );
    }

    /// Catches an address whose upper half is lost on the way.
    #[test]
    fn what_32_bits_cannot_carry_is_an_error() {
        let segment = RawSegment { buffer: 0, buffer_size: 0, memory: span(0x1_0000_0000, 0x1_0000_0fff) };
        assert_eq!(encode(&[segment], Arch::I386), Err(PhysAddr(0x1_0000_0000)));
    }
}
