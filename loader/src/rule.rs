//! The rule under test: how high each kind of segment may lie, for a pair of kernels and a userspace.
//!
//! The limit of 896 MiB that crash loaders have always had belongs to i386 kernels: such a kernel runs at PAGE_OFFSET +
//! physical address and can be no higher than its low memory, and such a kernel reaches the crash image through its direct
//! map. Between two x86_64 kernels neither holds, whatever the loader itself was built for.

use crate::addr::PhysAddr;
use crate::bzimage::{BzImage, Entries};
use crate::native::NoNativeCall;
use crate::segment::SegmentKind;
use core::fmt;

/// Architecture of a kernel or a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// 32-bit x86.
    I386,
    /// 64-bit x86.
    X86_64,
}

impl Arch {
    /// The architecture that this program was built for.
    pub const OWN: Self = if cfg!(target_pointer_width = "64") { Self::X86_64 } else { Self::I386 };

    /// The architecture of the running kernel, from `uname -m` with the personality reset.
    pub fn from_machine(machine: &[u8]) -> Option<Self> {
        match machine {
            b"x86_64" => Some(Self::X86_64),
            [b'i', b'3'..=b'6', b'8', b'6'] => Some(Self::I386),
            _ => None,
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::I386 => "i386",
            Self::X86_64 => "x86_64",
        })
    }
}

/// How far the addresses of the kexec_load call go that a program can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// 64 bits: the call of 64-bit programs, which a 32-bit program may be able to make as well (`native`).
    Bits64,
    /// 32 bits, and why the other call cannot be made. Nothing: it was not tried, for it was not to be, or was not needed.
    Bits32(Option<NoNativeCall>),
}

/// The entry of the capture kernel that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// At the load address, in 32-bit protected mode without paging (boot.rst, "32-bit Boot Protocol").
    Bits32,
    /// At the load address + 0x200, in long mode (boot.rst, "64-bit Boot Protocol").
    Bits64,
}

/// The last byte of an i386 kernel's low memory, with the usual PAGE_OFFSET of 3 GiB; it runs and allocates there alone.
///
/// -PAGE_OFFSET - 128 MiB - 1, 0x37ffffff, is where its decompressor halts (arch/x86/boot/compressed/misc.c, "Destination address
/// too large"). Below that, the 128 MiB of vmalloc area are preceded by fixmap, pkmap and CPU entry areas, whose size depends on the
/// number of CPUs that the kernel is built for (arch/x86/include/asm/pgtable_32_areas.h, MAXMEM). This is what Debian's kernels with PAE
/// have left ("879MB LOWMEM available"); one without has a little more. One that was put above, at 0x37000000, passed its
/// decompressor and was reset.
pub const I386_LAST: PhysAddr = PhysAddr(0x36ff_dfff);

/// How high something may lie, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The highest address of its last byte.
    pub last: PhysAddr,
    /// Why no higher.
    pub why: Why,
}

/// The reason of a limit. Its text fits behind "0x37ffffff, ".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The capture kernel is an i386 kernel.
    I386Capture,
    /// The running kernel is an i386 kernel.
    I386First,
    /// `initrd_addr_max` of the capture kernel.
    InitrdAddrMax,
    /// The 32-bit entry holds 32-bit addresses.
    Entry32,
    /// A 32-bit program's kexec_load call holds 32-bit addresses, and for this reason it cannot make the other.
    CompatCall(Option<NoNativeCall>),
    /// `--mem-max`.
    MemMax,
    /// The capture kernel lacks XLF_CAN_BE_LOADED_ABOVE_4G.
    NotAbove4G,
    /// There is none but the machine's.
    Unlimited,
}

const COMPAT_CALL: &str = "the highest address that a kexec_load call from 32-bit userspace can carry";

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I386Capture => {
                "the highest address an i386 capture kernel can run at (0x37ffffff less its fixed mappings)"
            }
            Self::I386First => {
                "the highest address that the running i386 kernel can reach through its direct map"
            }
            Self::InitrdAddrMax => {
                "the highest address at which the capture kernel accepts an initrd (initrd_addr_max)"
            }
            Self::Entry32 => "the highest address that the capture kernel's 32-bit entry can be given",
            Self::CompatCall(None) => COMPAT_CALL,
            Self::CompatCall(Some(why)) => {
                return write!(f, "{COMPAT_CALL}; the call of 64-bit programs is not possible here: {why}");
            }
            Self::MemMax => "the highest address that --mem-max allows",
            Self::NotAbove4G => {
                "the highest address the capture kernel can run at (it lacks XLF_CAN_BE_LOADED_ABOVE_4G)"
            }
            Self::Unlimited => "the highest address there is",
        })
    }
}

/// The limits of one load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of the kernel.
    pub kernel: Limit,
    /// Of the initrd.
    pub initrd: Limit,
    /// Of every other segment.
    pub others: Limit,
    /// Of the pages that the running kernel takes from the region (`control`).
    pub control: Limit,
}

impl Limits {
    /// The limit of a segment.
    pub const fn of(&self, segment: SegmentKind) -> Limit {
        match segment {
            SegmentKind::Kernel => self.kernel,
            SegmentKind::Initrd => self.initrd,
            SegmentKind::BootParams
            | SegmentKind::Purgatory
            | SegmentKind::ElfCoreHeader
            | SegmentKind::Backup => self.others,
        }
    }
}

/// What the rule needs to know of a load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Architecture of the running kernel.
    pub running: Arch,
    /// What the call can carry that the program makes.
    pub reach: Reach,
    /// Last byte of the running kernel's low memory, where it is an i386 kernel.
    pub lowmem_last: PhysAddr,
    /// Whether the CPUs have long mode. An x86_64 kernel runs on no others.
    pub long_mode: bool,
    /// Whether the running kernel uses five levels of page tables, and so hands over with CR4.LA57 set; or may use them, where that
    /// cannot be told.
    pub five_levels: bool,
    /// Whether the 32-bit entry is asked for although there is a 64-bit one.
    pub entry_32bit: bool,
    /// Whether the limits that the kernels set are to be ignored. What 32 bits cannot carry stays.
    pub ignore_address_limits: bool,
    /// `--mem-max`: what no segment's last byte may exceed.
    pub mem_max: Option<PhysAddr>,
}

/// The entry that a load uses.
pub fn entry(load: &Load, image: &BzImage<'_>) -> Entry {
    match (load.running, image.entries) {
        // The running kernel jumps in long mode, so that the 64-bit entry is the better way, and the default. It alone reaches above 4 GiB.
        // There is less to go wrong after a panic: no paging turned off and on, no write to EFER or CR4 (which TDX and SEV guests
        // must not do), no second climb to 64 bits in the capture kernel. And the identity map of the running kernel stays in use, where
        // the 32-bit entry runs without paging until the capture kernel has built its own. `--entry-32bit` is for the proof that
        // that entry works above 896 MiB, and for comparison with loaders that have no other.
        // Only a kernel that expects five levels of page tables can be entered with them; the way down to 32 bits ends them.
        (Arch::X86_64, Entries::Both { five_levels, .. })
            if !load.entry_32bit && (five_levels || !load.five_levels) =>
        {
            Entry::Bits64
        }
        _ => Entry::Bits32,
    }
}

/// Whether the capture kernel can run on these CPUs at all. A 32-bit kernel starts an x86_64 one on a CPU without long mode as willingly
/// as on any other, and that halts without a word (arch/x86/kernel/verify_cpu.S).
pub fn runs_here(load: &Load, image: &BzImage<'_>) -> bool {
    load.long_mode || load.ignore_address_limits || image.entries.arch() == Arch::I386
}

/// The rule: how high the segments of this load may lie.
pub fn limits(load: &Load, image: &BzImage<'_>) -> Limits {
    let carried = carried(load, image);
    if load.ignore_address_limits {
        return Limits { kernel: carried, initrd: carried, others: carried, control: UNLIMITED };
    }
    let control = match load.running {
        Arch::I386 => Limit { last: load.lowmem_last, why: Why::I386First },
        Arch::X86_64 => UNLIMITED,
    };
    match image.entries {
        // An i386 kernel takes boot_params and command line with paging off (head_32.S, its decompressor too), and reads the core
        // header as old memory, page by page (fs/proc/vmcore.c): they may lie beyond its low memory. It would also fetch an initrd from
        // there, into low memory of the same size (arch/x86/kernel/setup.c, `relocate_initrd`), so nothing would be won.
        Entries::Only32 => {
            let kernel = lower(I386_CAPTURE, carried);
            let initrd = lower(kernel, Limit { last: image.initrd_addr_max, why: Why::InitrdAddrMax });
            Limits { kernel, initrd, others: carried, control }
        }
        // initrd_addr_max is 2 GiB in x86_64 images for the sake of 32-bit boot loaders. Such a kernel takes its initrd from
        // anywhere below 4 GiB by its 32-bit entry, and from anywhere at all by its 64-bit entry.
        Entries::Both { above_4g, .. } => {
            let promised = Limit { last: PhysAddr::LAST_32BIT, why: Why::NotAbove4G };
            let any = if above_4g { carried } else { lower(promised, carried) };
            Limits { kernel: any, initrd: any, others: any, control }
        }
    }
}

/// The limit of an i386 capture kernel.
pub const I386_CAPTURE: Limit = Limit { last: I386_LAST, why: Why::I386Capture };

/// No limit.
pub const UNLIMITED: Limit = Limit { last: PhysAddr(u64::MAX), why: Why::Unlimited };

/// What the addresses of the call and of the entry can carry, and what the user allows, which nothing lifts.
fn carried(load: &Load, image: &BzImage<'_>) -> Limit {
    let carried = match (load.reach, entry(load, image)) {
        (Reach::Bits32(why), _) => Limit { last: PhysAddr::LAST_32BIT, why: Why::CompatCall(why) },
        (Reach::Bits64, Entry::Bits32) => Limit { last: PhysAddr::LAST_32BIT, why: Why::Entry32 },
        (Reach::Bits64, Entry::Bits64) => UNLIMITED,
    };
    match load.mem_max {
        Some(last) => lower(carried, Limit { last, why: Why::MemMax }),
        None => carried,
    }
}

/// The lower of two limits, the first where they are the same.
fn lower(a: Limit, b: Limit) -> Limit {
    if b.last < a.last { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bzimage::tests::FakeImage;

    /// A load from userspace of this architecture, by its own call.
    fn load(running: Arch, userspace: Arch) -> Load {
        let reach = match userspace {
            Arch::I386 => Reach::Bits32(None),
            Arch::X86_64 => Reach::Bits64,
        };
        Load {
            running,
            reach,
            lowmem_last: I386_LAST,
            long_mode: true,
            five_levels: false,
            entry_32bit: false,
            ignore_address_limits: false,
            mem_max: None,
        }
    }

    /// A load from i386 userspace by the call of 64-bit programs.
    fn native() -> Load {
        Load { reach: Reach::Bits64, ..load(Arch::X86_64, Arch::I386) }
    }

    /// Limits of kernel, initrd, other segments and control pages.
    fn rule(load: Load, image: &FakeImage) -> [u64; 4] {
        let file = image.build();
        let Limits { kernel, initrd, others, control } = limits(&load, &BzImage::parse(&file).unwrap());
        [kernel, initrd, others, control].map(|limit| limit.last.0)
    }

    const LOW: u64 = 0x36ff_dfff;
    const BELOW_4G: u64 = 0xffff_ffff;
    const ALL: u64 = u64::MAX;

    /// The table of the rule, row by row. Catches each of: the limit kept for 64 to 64, lifted for either i386 kernel,
    /// taken from the program's own architecture, or ended at 32 bits for x86_64 userspace.
    #[test]
    fn the_rule_as_a_table() {
        use Arch::{I386, X86_64};
        let (k64, k32) = (FakeImage::x86_64(), FakeImage::i386());
        assert_eq!(rule(load(X86_64, I386), &k64), [BELOW_4G, BELOW_4G, BELOW_4G, ALL]);
        assert_eq!(rule(load(X86_64, X86_64), &k64), [ALL, ALL, ALL, ALL]);
        assert_eq!(rule(native(), &k64), [ALL, ALL, ALL, ALL]);
        assert_eq!(rule(load(X86_64, I386), &k32), [LOW, LOW, BELOW_4G, ALL]);
        assert_eq!(rule(native(), &k32), [LOW, LOW, BELOW_4G, ALL]);
        assert_eq!(rule(load(X86_64, X86_64), &k32), [LOW, LOW, BELOW_4G, ALL]);
        assert_eq!(rule(load(I386, I386), &k64), [BELOW_4G, BELOW_4G, BELOW_4G, LOW]);
        assert_eq!(rule(load(I386, I386), &k32), [LOW, LOW, BELOW_4G, LOW]);
    }

    /// Either test alone (protocol, flag) would let an image without a 64-bit entry above 896 MiB.
    #[test]
    fn a_64_bit_kernel_needs_protocol_and_flag() {
        let load = load(Arch::X86_64, Arch::I386);
        assert_eq!(rule(load, &FakeImage { protocol: 0x020b, ..FakeImage::x86_64() })[0], LOW);
        assert_eq!(rule(load, &FakeImage { xloadflags: 0x3e, ..FakeImage::x86_64() })[0], LOW);
        assert_eq!(
            rule(load, &FakeImage { protocol: 0x020c, xloadflags: 1, ..FakeImage::x86_64() })[0],
            BELOW_4G
        );
    }

    /// Without XLF_CAN_BE_LOADED_ABOVE_4G, or by the 32-bit entry, 4 GiB is the end for x86_64 userspace too.
    #[test]
    fn four_gib_is_the_end_without_the_promise() {
        let load = load(Arch::X86_64, Arch::X86_64);
        let all = [BELOW_4G, BELOW_4G, BELOW_4G, ALL];
        assert_eq!(rule(load, &FakeImage { xloadflags: 1, ..FakeImage::x86_64() }), all);
        assert_eq!(rule(Load { entry_32bit: true, ..load }, &FakeImage::x86_64()), all);
    }

    /// The limit says which call sets it, and why no other can be made. Catches the reason of a failed try that is lost on the way.
    #[test]
    fn the_call_is_named_with_what_stands_against_the_other() {
        let image = FakeImage::x86_64().build();
        let image = BzImage::parse(&image).unwrap();
        let why = |reach| limits(&Load { reach, ..native() }, &image).kernel.why.to_string();
        assert_eq!(why(Reach::Bits32(None)), COMPAT_CALL);
        let killed = why(Reach::Bits32(Some(NoNativeCall::Killed { signal: 31 })));
        assert!(killed.starts_with(COMPAT_CALL) && killed.contains("seccomp"), "{killed}");
    }

    /// Catches a bound of the user's that the other limits lift, or that lifts them, or that keeps the running kernel from its pages.
    #[test]
    fn mem_max_is_a_limit_of_every_segment() {
        let load = Load { mem_max: Some(PhysAddr(0x1fff_ffff)), ..load(Arch::X86_64, Arch::X86_64) };
        let bounded = [0x1fff_ffff, 0x1fff_ffff, 0x1fff_ffff, ALL];
        assert_eq!(rule(load, &FakeImage::x86_64()), bounded);
        assert_eq!(rule(Load { ignore_address_limits: true, ..load }, &FakeImage::i386()), bounded);
        let high = Load { mem_max: Some(PhysAddr(ALL)), ..load };
        assert_eq!(rule(high, &FakeImage::i386()), [LOW, LOW, BELOW_4G, ALL]);
    }

    /// The switch lifts what the kernels ask for, and never what 32 bits cannot carry.
    #[test]
    fn ignoring_limits_leaves_the_32_bits() {
        use Arch::{I386, X86_64};
        let ignoring = |running, userspace| Load { ignore_address_limits: true, ..load(running, userspace) };
        let all = [BELOW_4G, BELOW_4G, BELOW_4G, ALL];
        assert_eq!(rule(ignoring(X86_64, I386), &FakeImage::i386()), all);
        assert_eq!(rule(ignoring(I386, I386), &FakeImage::x86_64()), all);
        assert_eq!(rule(ignoring(X86_64, X86_64), &FakeImage::i386()), all);
        assert_eq!(rule(ignoring(X86_64, X86_64), &FakeImage::x86_64()), [ALL; 4]);
    }

    #[test]
    fn low_memory_and_initrd_addr_max_lower_the_limits() {
        let first = Load { lowmem_last: PhysAddr(0x2fff_ffff), ..load(Arch::I386, Arch::I386) };
        assert_eq!(rule(first, &FakeImage::i386()), [LOW, LOW, BELOW_4G, 0x2fff_ffff]);
        let image = FakeImage { initrd_addr_max: 0x1fff_ffff, ..FakeImage::i386() };
        assert_eq!(rule(load(Arch::X86_64, Arch::I386), &image), [LOW, 0x1fff_ffff, BELOW_4G, ALL]);
    }

    /// Catches an x86_64 kernel that would halt after the panic, and a refusal of what has always run on such CPUs.
    #[test]
    fn an_x86_64_kernel_needs_long_mode() {
        let short = Load { long_mode: false, ..load(Arch::I386, Arch::I386) };
        let runs = |load: &Load, image: FakeImage| {
            let file = image.build();
            runs_here(load, &BzImage::parse(&file).unwrap())
        };
        assert!(!runs(&short, FakeImage::x86_64()));
        assert!(runs(&short, FakeImage::i386()));
        assert!(runs(&Load { ignore_address_limits: true, ..short }, FakeImage::x86_64()));
        assert!(runs(&load(Arch::I386, Arch::I386), FakeImage::x86_64()));
    }

    #[test]
    fn machines_are_known_by_their_names() {
        assert_eq!(Arch::from_machine(b"x86_64"), Some(Arch::X86_64));
        assert_eq!(Arch::from_machine(b"i686"), Some(Arch::I386));
        assert_eq!(Arch::from_machine(b"i786"), None);
        assert_eq!(Arch::from_machine(b"aarch64"), None);
    }

    /// The 64-bit entry is used only out of long mode, and only if the image has one.
    #[test]
    fn entries() {
        let file = FakeImage::x86_64().build();
        let image = BzImage::parse(&file).unwrap();
        let of = |running, entry_32bit| entry(&Load { entry_32bit, ..load(running, Arch::I386) }, &image);
        assert_eq!(of(Arch::X86_64, false), Entry::Bits64);
        assert_eq!(of(Arch::X86_64, true), Entry::Bits32);
        assert_eq!(of(Arch::I386, false), Entry::Bits32);
        // Catches a kernel that is entered with page tables of a depth that it does not know.
        let five = Load { five_levels: true, ..load(Arch::X86_64, Arch::X86_64) };
        assert_eq!(entry(&five, &image), Entry::Bits64);
        let file = FakeImage { xloadflags: 0x0f, ..FakeImage::x86_64() }.build();
        let old = BzImage::parse(&file).unwrap();
        assert_eq!(entry(&five, &old), Entry::Bits32);
        assert_eq!(limits(&five, &old).kernel.last, PhysAddr::LAST_32BIT);
    }
}
