//! The system calls that load: their flags, their forms and their errors (include/uapi/linux/kexec.h).

use crate::addr::{PhysAddr, Span};
use crate::bzimage::{BzImage, Entries};
use crate::rule::{Arch, Reach};
use alloc::vec::Vec;
use core::fmt;

/// A system call that loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// kexec_load(2).
    Load,
    /// kexec_file_load(2).
    FileLoad,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Load => "kexec_load",
            Self::FileLoad => "kexec_file_load",
        })
    }
}

/// KEXEC_FILE_UNLOAD: drop what is loaded.
pub const FILE_UNLOAD: u32 = 1;
/// KEXEC_FILE_ON_CRASH: the image is for a crash.
pub const FILE_ON_CRASH: u32 = 2;
/// KEXEC_FILE_NO_INITRAMFS: there is no initrd, and its descriptor means nothing.
pub const FILE_NO_INITRAMFS: u32 = 4;

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

/// An array of `struct kexec_segment`, four words each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encoded {
    /// Of 32 bits, for the call of 32-bit programs.
    Words32(Vec<u8>),
    /// Of 64 bits, for the call of 64-bit programs.
    Words64(Vec<u8>),
}

/// The segments as a program of this architecture passes them. A 32-bit program takes the call that all kernels have for it wherever that
/// carries the addresses; else the other, if it can be made; else this is an error, with the address.
pub fn encode(segments: &[RawSegment], userspace: Arch, reach: Reach) -> Result<Encoded, PhysAddr> {
    let beyond =
        segments.iter().map(|segment| segment.memory.start()).find(|start| *start > PhysAddr::LAST_32BIT);
    let narrow = match (userspace, beyond, reach) {
        (Arch::X86_64, ..) | (Arch::I386, Some(_), Reach::Bits64) => false,
        (Arch::I386, None, _) => true,
        (Arch::I386, Some(start), Reach::Bits32(_)) => return Err(start),
    };
    let mut out = Vec::new();
    for segment in segments {
        for word in [segment.buffer, segment.buffer_size, segment.memory.start().0, segment.memory.size()] {
            let bytes = word.to_le_bytes();
            // What is left out is zero: addresses and sizes of this program have 32 bits then, and the region's were looked at.
            out.extend_from_slice(if narrow { &bytes[..4] } else { &bytes });
        }
    }
    Ok(if narrow { Encoded::Words32(out) } else { Encoded::Words64(out) })
}

/// Whether the running kernel's own loader takes this image, as far as it can be known without asking (arch/x86/kernel/kexec-bzimage64.c,
/// `bzImage64_probe`). Else why not, for behind "kexec_file_load: ".
pub const fn fit_for_file_load(kernel: &FileLoader, image: &BzImage<'_>) -> Result<(), &'static str> {
    match (kernel.running, image.entries) {
        (Arch::I386, _) => Err(NO_FILE_LOAD),
        (Arch::X86_64, Entries::Only32 | Entries::Both { above_4g: false, .. }) => Err(
            "the kernel's own loader takes x86_64 kernels alone, and of those the ones that can be loaded above 4 GiB; -c takes others",
        ),
        (Arch::X86_64, _) if kernel.efi_32bit => {
            Err("the kernel's own loader takes no image where firmware is 32-bit UEFI; -c does")
        }
        (Arch::X86_64, Entries::Both { five_levels: false, .. }) if kernel.five_levels => Err(
            "the kernel uses five levels of page tables, and its own loader takes no image that lacks XLF_5LEVEL then; -c does",
        ),
        (Arch::X86_64, Entries::Both { .. }) => Ok(()),
    }
}

/// What decides which images the running kernel's own loader takes.
#[derive(Clone, Copy, Debug)]
pub struct FileLoader {
    /// The kernel's architecture.
    pub running: Arch,
    /// Whether it uses five levels of page tables, or may.
    pub five_levels: bool,
    /// Whether it calls the services of 32-bit UEFI.
    pub efi_32bit: bool,
}

/// Why there is no such call where the running kernel is an i386 one: it is built for 64-bit kernels alone (arch/x86/Kconfig,
/// ARCH_SUPPORTS_KEXEC_FILE).
pub const NO_FILE_LOAD: &str = "i386 kernels have no such call; -c does without";

/// Whether a load that kexec_file_load answered with this errno may succeed by kexec_load: where the kernel lacks the call, or its own loader does
/// not know the image, does not take it so, or finds no place for it. Anything else (no permission, a signature that is wrong, no
/// memory) would either be answered the same, or must not be evaded. ENOTSUPP is one of these: it is the answer to a signature in a wrapper
/// that is wrong (crypto/asymmetric_keys/verify_pefile.c, `pefile_strip_sig_wrapper`).
pub const fn falls_back(errno: i32) -> bool {
    matches!(errno, ENOEXEC | EINVAL | ENOSYS | EOPNOTSUPP | EADDRNOTAVAIL)
}

/// include/uapi/asm-generic/errno-base.h and errno.h.
pub const EPERM: i32 = 1;
const ENOEXEC: i32 = 8;
const EINVAL: i32 = 22;
/// What is answered where there is no such call.
pub const ENOSYS: i32 = 38;
const EOPNOTSUPP: i32 = 95;
const EADDRNOTAVAIL: i32 = 99;

/// What an errno means, as far as the kernel's sources tell (kernel/kexec.c, kernel/kexec_file.c, kernel/kexec_core.c,
/// arch/x86/kernel/kexec-bzimage64.c; of signatures crypto/asymmetric_keys and lib/asn1_decoder.c; of files fs/kernel_read_file.c): its name, and what to look at. The cases that a plan rules out are named all the same, since
/// kernels change.
pub const fn explain(call: Call, errno: i32) -> (&'static str, &'static str) {
    match (errno, call) {
        (EPERM, _) => ("EPERM", "not permitted"),
        (ENOEXEC, _) => (
            "ENOEXEC",
            "the kernel's own loader does not know this image, or cannot start it on this machine; see the kernel log. -c may",
        ),
        (11, _) => ("EAGAIN", "the kernel is busy with another load; try again"),
        (12, _) => (
            "ENOMEM",
            "the kernel found no place for its control pages in the region, or no memory for the transfer; see the kernel log",
        ),
        (13, Call::Load) => ("EACCES", "an IMA policy wants the image by kexec_file_load (-s)"),
        (13, Call::FileLoad) => (
            "EACCES",
            "an IMA policy does not take one of the files: it lacks the signature or digest that is asked for",
        ),
        (14, _) => ("EFAULT", "a segment's bytes could not be read: was a file changed while it was loaded?"),
        (16, _) => ("EBUSY", "the kernel is busy with another load; try again"),
        (EINVAL, Call::Load) => {
            ("EINVAL", "the kernel does not take these flags or segments; see the kernel log")
        }
        (EINVAL, Call::FileLoad) => (
            "EINVAL",
            "the kernel does not take this image, or not with this command line; see the kernel log",
        ),
        (26, _) => ("ETXTBSY", "one of the files is open for writing; try again when it is closed"),
        (27, _) => ("EFBIG", "one of the files is larger than the kernel reads"),
        (ENOSYS, Call::Load) => {
            ("ENOSYS", "this kernel has no kexec_load: it was built without CONFIG_KEXEC")
        }
        (ENOSYS, Call::FileLoad) => (
            "ENOSYS",
            "this kernel has no kexec_file_load: it was built without CONFIG_KEXEC_FILE, or is no x86_64 kernel",
        ),
        (61, _) => ("ENODATA", "the image is not signed"),
        (65, _) => ("ENOPKG", "the image is signed in a way that the kernel was not built for"),
        (74, _) => ("EBADMSG", "the image's signature is damaged"),
        (80, _) => ("ELIBBAD", "the image cannot carry a signature: it is no EFI program, or a damaged one"),
        (90, _) => ("EMSGSIZE", "the image's signature is too large to be one"),
        (EADDRNOTAVAIL, Call::Load) => {
            ("EADDRNOTAVAIL", "a segment lies outside of the crash region that the kernel has now")
        }
        (EADDRNOTAVAIL, Call::FileLoad) => (
            "EADDRNOTAVAIL",
            "the kernel's own loader finds no place in the crash region: is there one, and is it large enough?",
        ),
        (126, _) => ("ENOKEY", "the image is signed with a key that the kernel does not have"),
        (127, _) => ("EKEYEXPIRED", "the image is signed with a key that has expired"),
        (128, _) => ("EKEYREVOKED", "the image is signed with a key that was revoked"),
        (129, _) => ("EKEYREJECTED", "the image's signature is wrong"),
        // The kernel's own (include/linux/errno.h), which it should not let out and does.
        (524, _) => ("ENOTSUPP", "the image's signature is of a kind that the kernel does not know"),
        _ => ("an unexpected errno", "see the kernel log"),
    }
}

/// What a failed load leaves behind, to be added to what is said of it: the kernel drops the image that was loaded before it has
/// the new one whole.
pub const fn aftermath(loaded_now: Option<bool>) -> &'static str {
    match loaded_now {
        Some(true) => ". What was loaded before is still loaded",
        Some(false) => ". Nothing is loaded now",
        None => ". Whether anything is still loaded cannot be told",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bzimage::tests::FakeImage;
    use crate::testing::span;

    /// Catches "default" in a compat call (EINVAL), and the other architecture's number (a jump in the wrong mode).
    #[test]
    fn flags_name_the_running_kernel() {
        assert_eq!(flags(Arch::X86_64), 0x003e_0001);
        assert_eq!(flags(Arch::I386), 0x0003_0001);
    }

    fn at(start: u64) -> RawSegment {
        RawSegment { buffer: 0x1000, buffer_size: 0x20, memory: span(start, start + 0x1fff) }
    }

    const COMPAT: Reach = Reach::Bits32(None);

    /// Catches the form of the other architecture, of which the kernel would make other segments.
    #[test]
    fn segments_have_the_form_of_their_call() {
        let narrow = [0x1000u32, 0x20, 0x8000_0000, 0x2000].map(u32::to_le_bytes).concat();
        let wide = |start: u64| [0x1000u64, 0x20, start, 0x2000].map(u64::to_le_bytes).concat();
        let low = [at(0x8000_0000)];
        for reach in [COMPAT, Reach::Bits64] {
            assert_eq!(encode(&low, Arch::I386, reach), Ok(Encoded::Words32(narrow.clone())));
        }
        assert_eq!(encode(&low, Arch::X86_64, Reach::Bits64), Ok(Encoded::Words64(wide(0x8000_0000))));
        let high = [at(0x8000_0000), at(0x1_0000_0000)];
        let both = [wide(0x8000_0000), wide(0x1_0000_0000)].concat();
        assert_eq!(encode(&high, Arch::I386, Reach::Bits64), Ok(Encoded::Words64(both)));
    }

    /// Catches an address whose upper half is lost on the way.
    #[test]
    fn what_32_bits_cannot_carry_is_an_error() {
        assert_eq!(
            encode(&[at(0xffff_f000), at(0x1_0000_0000)], Arch::I386, COMPAT),
            Err(PhysAddr(0x1_0000_0000))
        );
    }

    /// Catches a signature that is evaded, and a kernel without the call that is not helped.
    #[test]
    fn only_what_the_kernel_cannot_do_falls_back() {
        let back = (0..600).filter(|&errno| falls_back(errno)).collect::<Vec<_>>();
        assert_eq!(back, [8, 22, 38, 95, 99]);
    }

    /// Catches an image for which the loaded one is dropped before the kernel says no.
    #[test]
    fn the_kernels_own_loader_takes_few_images() {
        let fit_for = |kernel: FileLoader, image: FakeImage| {
            let file = image.build();
            fit_for_file_load(&kernel, &BzImage::parse(&file).unwrap()).is_ok()
        };
        let plain = |running| FileLoader { running, five_levels: false, efi_32bit: false };
        let fit = |running, image| fit_for(plain(running), image);
        assert!(fit(Arch::X86_64, FakeImage::x86_64()));
        assert!(!fit(Arch::X86_64, FakeImage { xloadflags: 1, ..FakeImage::x86_64() }));
        assert!(!fit(Arch::X86_64, FakeImage::i386()));
        assert!(!fit(Arch::I386, FakeImage::x86_64()));
        let five = FileLoader { five_levels: true, ..plain(Arch::X86_64) };
        let four_alone = || FakeImage { xloadflags: 0x0f, ..FakeImage::x86_64() };
        assert!(fit_for(five, FakeImage::x86_64()));
        assert!(!fit_for(five, four_alone()));
        assert!(fit(Arch::X86_64, four_alone()));
        let efi_32bit = FileLoader { efi_32bit: true, ..plain(Arch::X86_64) };
        assert!(!fit_for(efi_32bit, FakeImage::x86_64()));
    }

    /// Catches an answer that is explained with the other call's reason ("use -s" to somebody who did), one about signatures that has no
    /// explanation, and an explanation without the errno's name.
    #[test]
    fn answers_are_explained_for_their_call() {
        assert!(explain(Call::Load, 13).1.contains("(-s)"));
        for errno in 1..600 {
            let (name, why) = explain(Call::FileLoad, errno);
            assert!(!why.contains("-s)"), "{name}: {why}");
            assert_eq!(name.starts_with('E'), !why.starts_with("see"), "{errno}");
        }
        for (errno, words) in
            [(61, "not signed"), (65, "not built for"), (80, "no EFI program"), (26, "open for writing")]
        {
            assert!(explain(Call::FileLoad, errno).1.contains(words), "{errno}");
        }
    }

    /// Catches a failed reload that lets somebody believe in the image of before, or fear for it.
    #[test]
    fn a_failed_reload_says_what_is_loaded() {
        assert_eq!(aftermath(Some(false)), ". Nothing is loaded now");
        assert!(aftermath(Some(true)).contains("still loaded"));
        assert!(aftermath(None).contains("cannot be told"));
    }
}
