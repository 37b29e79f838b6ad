//! Tests of whole plans: the seed user's machine, and every refusal that needs no layout.

use super::*;
use crate::bytes::{u32_at, u64_at};
use crate::bzimage::tests::FakeImage;
use crate::digest::Digest;
use crate::iomem::Kind;
use crate::kcore::Mapped;
use crate::rule::{I386_LAST, Reach};
use crate::testing::span;
use alloc::string::ToString;
use alloc::vec;

/// A machine with 8 GiB and its crash region where Linux 5.2 and later put it.
fn memory(crash: &[Span]) -> MemoryMap {
    MemoryMap {
        ranges: vec![
            (span(0x1000, 0x9_fbff), Kind::Ram),
            (span(0xf_0000, 0xf_ffff), Kind::Reserved),
            (span(0x10_0000, 0xbffd_ffff), Kind::Ram),
            (span(0x1_0000_0000, 0x2_3fff_ffff), Kind::Ram),
        ],
        crash_regions: crash.to_vec(),
    }
}

const NOTES: [Note; 1] = [Note { address: PhysAddr(0x1_3fc1_0000), size: 0x164 }];

fn direct_map() -> DirectMap {
    let text = Mapped { physical: span(0x100_0000, 0x3bf_ffff), virtual_start: 0xffff_ffff_8100_0000 };
    DirectMap { page_offset: 0xffff_8880_0000_0000, text: Some(text) }
}

struct Case {
    file: Vec<u8>,
    memory: MemoryMap,
    total_ram: u64,
    load: rule::Load,
    line: Vec<u8>,
    initrd_size: usize,
    options: options::Load,
    release: &'static [u8],
    rsdp: Option<PhysAddr>,
    efi: Option<Efi>,
    boot_params: Vec<u8>,
    hotplug_size: Option<u64>,
}

impl Case {
    /// A load from userspace of this architecture, by its own call.
    fn new(running: Arch, userspace: Arch, image: &FakeImage, crash: &[Span]) -> Self {
        let reach = match userspace {
            Arch::I386 => Reach::Bits32(None),
            Arch::X86_64 => Reach::Bits64,
        };
        let load = rule::Load {
            running,
            reach,
            lowmem_last: I386_LAST,
            long_mode: true,
            five_levels: false,
            entry_32bit: false,
            ignore_address_limits: false,
            mem_max: None,
        };
        Self {
            file: image.build(),
            memory: memory(crash),
            total_ram: 0x1_f000_0000,
            load,
            line: b"console=ttyS0".to_vec(),
            initrd_size: 0x12_3456,
            options: options::Load::default(),
            release: b"6.1.0-18-amd64",
            rsdp: None,
            efi: None,
            boot_params: vec![],
            hotplug_size: None,
        }
    }

    fn plan(&self) -> Result<Plan, Refusal> {
        let image = BzImage::parse(&self.file).unwrap();
        make(&Inputs {
            image: &image,
            initrd: Some(&vec![0x5a; self.initrd_size]),
            command_line: &self.line,
            options: &self.options,
            release: self.release,
            memory: &self.memory,
            total_ram: self.total_ram,
            load: self.load,
            direct_map: &direct_map(),
            cpu_notes: &NOTES,
            vmcoreinfo: Some(NOTES[0]),
            boot_params: &self.boot_params,
            framebuffers: b"",
            rsdp: self.rsdp,
            efi: self.efi.as_ref(),
            seed: Some([7; SEED]),
            hotplug_size: self.hotplug_size,
        })
    }
}

/// 256M@1968M.
fn at_1968m() -> Span {
    span(0x7b00_0000, 0x8aff_ffff)
}

/// The load that no released loader does: i386 userspace, both kernels x86_64, region above 896 MiB.
#[test]
fn the_seed_users_load() {
    let plan = Case::new(Arch::X86_64, Arch::I386, &FakeImage::x86_64(), &[at_1968m()]).plan().unwrap();
    assert_eq!(plan.entry, Entry::Bits64);
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    let of = |kind| plan.segments.iter().find(|segment| segment.kind == kind).unwrap();
    assert_eq!(of(SegmentKind::Kernel).memory, span(0x7b00_0000, 0x7d8f_ffff), "all of init_size");
    let core = of(SegmentKind::ElfCoreHeader).memory;
    assert_eq!(core.last(), at_1968m().last());
    let line = alloc::format!("elfcorehdr={}K console=ttyS0", core.start().0 / 1024);
    assert_eq!(plan.command_line, line.as_bytes());
    assert_eq!(plan.jump, of(SegmentKind::Purgatory).memory.start());

    // boot_params agrees with the layout, to the byte.
    let params = of(SegmentKind::BootParams);
    let Content::Bytes(bytes) = &params.content else { panic!("no bytes") };
    let at = u32_at(bytes, 0x228).unwrap();
    assert_eq!(u64::from(at), params.memory.start().0 + 4096);
    assert!(bytes[4096..].starts_with(&[line.as_bytes(), b"\0"].concat()));
    assert_eq!(u64::from(u32_at(bytes, 0x218).unwrap()), of(SegmentKind::Initrd).memory.start().0);
    assert_eq!(u32_at(bytes, 0x21c), Some(0x12_3456), "the initrd's exact size, not its pages");
    let entries = usize::from(bytes[0x1e8]);
    let ram = (0..entries).map(|i| 0x2d0 + 20 * i).find(|&o| u64_at(bytes, o) == Some(0x7b00_0000)).unwrap();
    assert_eq!(
        u64_at(bytes, ram + 8),
        Some(core.start().0 - 0x7b00_0000),
        "the region up to the core header"
    );
}

/// Every pair that must be refused above 896 MiB is, whatever the userspace.
#[test]
fn pairs_with_an_i386_kernel_are_refused_above_896m() {
    let cases = [
        (Arch::X86_64, Arch::I386, FakeImage::i386(), "an i386 capture kernel"),
        (Arch::X86_64, Arch::X86_64, FakeImage::i386(), "an i386 capture kernel"),
        (Arch::I386, Arch::I386, FakeImage::i386(), "the running i386 kernel"),
        (Arch::I386, Arch::I386, FakeImage::x86_64(), "the running i386 kernel"),
    ];
    for (running, userspace, image, who) in cases {
        let refusal = Case::new(running, userspace, &image, &[at_1968m()]).plan().unwrap_err().to_string();
        let region = "crash region 0x7b000000-0x8affffff";
        assert!(
            refusal.starts_with(region) && refusal.contains("0x36ffdfff") && refusal.contains(who),
            "{refusal}"
        );
        assert!(Case::new(running, userspace, &image, &[span(0x2000_0000, 0x2fff_ffff)]).plan().is_ok());
    }
}

/// The low companion of a region above 4 GiB, and that region.
fn high() -> [Span; 2] {
    [span(0xaffe_0000, 0xbfed_ffff), span(0x2_2f00_0000, 0x2_3eff_ffff)]
}

/// The upper of two regions is loaded into; i386 userspace can by the call of 64-bit programs alone.
#[test]
fn high_regions() {
    let regions = high();
    let plan = Case::new(Arch::X86_64, Arch::X86_64, &FakeImage::x86_64(), &regions).plan().unwrap();
    assert_eq!(plan.region, regions[1]);
    let refusal =
        Case::new(Arch::X86_64, Arch::I386, &FakeImage::x86_64(), &regions).plan().unwrap_err().to_string();
    assert!(refusal.contains("0x22f000000-0x23effffff lies above 0xffffffff"), "{refusal}");
    assert!(refusal.contains("32-bit userspace") && refusal.contains("--compat-call"), "{refusal}");
    let mut native = Case::new(Arch::X86_64, Arch::I386, &FakeImage::x86_64(), &regions);
    native.load.reach = Reach::Bits64;
    assert_eq!(native.plan().unwrap().segments, plan.segments, "the same plan as from x86_64 userspace");
}

/// Catches a bound that is not kept by every segment, and one that is kept by loading into the lower region, which the kernel refuses.
#[test]
fn mem_min_and_mem_max_bound_the_segments() {
    let mut case = Case::new(Arch::X86_64, Arch::X86_64, &FakeImage::x86_64(), &high());
    let bounds = span(0x2_3000_0000, 0x2_37ff_ffff);
    case.options.mem_min = Some(bounds.start());
    case.load.mem_max = Some(bounds.last());
    let plan = case.plan().unwrap();
    assert!(plan.segments.iter().all(|segment| bounds.contains(segment.memory)), "{:x?}", plan.segments);

    case.options.mem_min = Some(PhysAddr(0));
    case.load.mem_max = Some(PhysAddr(0xffff_ffff));
    let refusal = case.plan().unwrap_err().to_string();
    for words in [
        "crash region 0x22f000000-0x23effffff lies above 0xffffffff, the highest address that --mem-max allows",
        "the kernel takes segments in the highest alone",
    ] {
        assert!(refusal.contains(words), "{refusal}");
    }

    case.load.mem_max = None;
    case.options.mem_min = Some(PhysAddr(0x2_3f00_0000));
    let refusal = case.plan().unwrap_err().to_string();
    assert!(
        refusal.contains("lies below 0x23f000000, the lowest address that --mem-min allows"),
        "{refusal}"
    );

    case.options.mem_min = Some(PhysAddr(0x2_3eff_e001));
    let refusal = case.plan().unwrap_err().to_string();
    assert!(
        refusal.contains("it must begin at or above 0x23effe001, the lowest address that --mem-min allows"),
        "{refusal}"
    );
}

/// The proofs of the hang can be loaded, and say loudly what they are.
#[test]
fn ignoring_the_limits_is_loud() {
    let mut case = Case::new(Arch::X86_64, Arch::I386, &FakeImage::i386(), &[at_1968m()]);
    case.load.ignore_address_limits = true;
    let plan = case.plan().unwrap();
    assert!(
        plan.warnings[0].contains("WILL HANG") && plan.warnings[0].contains("0x36ffdfff"),
        "{:?}",
        plan.warnings
    );
    case.memory.crash_regions = vec![span(0x2000_0000, 0x2fff_ffff)];
    assert!(case.plan().unwrap().warnings.is_empty(), "within the limits there is nothing to warn of");
}

/// Catches a dump that is not there for want of the machine that the capture kernel asks for, and silence about the disguise.
#[test]
fn an_i386_kernels_dump_is_made_readable_for_x86_64() {
    let low = span(0x2000_0000, 0x2fff_ffff);
    let plan = Case::new(Arch::I386, Arch::I386, &FakeImage::x86_64(), &[low]).plan().unwrap();
    assert_eq!(plan.entry, Entry::Bits32);
    assert!(plan.warnings[0].contains("from 62 to 3"), "{:?}", plan.warnings);
    let core = plan.segments.iter().find(|segment| segment.kind == SegmentKind::ElfCoreHeader).unwrap();
    let Content::Bytes(core) = &core.content else { panic!("no bytes") };
    assert_eq!((core[4], core[18]), (2, 62), "ELF64, EM_X86_64");
}

/// Catches silence about virtual addresses that are wrong throughout, and a warning to everybody.
#[test]
fn another_split_of_an_i386_kernel_is_told() {
    let low = span(0x2000_0000, 0x2fff_ffff);
    let mut case =
        Case::new(Arch::I386, Arch::I386, &FakeImage { release: "6.1-pae", ..FakeImage::i386() }, &[low]);
    assert_eq!(case.plan().unwrap().warnings, Vec::<String>::new());
    case.load.lowmem_last = PhysAddr(0x77ff_ffff);
    assert!(case.plan().unwrap().warnings[0].contains("CONFIG_VMSPLIT_"));
}

/// Catches a capture kernel without a vmcore that nobody was told of, and a warning where there will be one.
#[test]
fn an_i386_kernel_without_pae_is_warned_of() {
    let low = span(0x2000_0000, 0x2fff_ffff);
    let plan = |release, above_4g| {
        let image = FakeImage { release, ..FakeImage::i386() };
        let mut case = Case::new(Arch::X86_64, Arch::I386, &image, &[low]);
        case.memory.ranges.retain(|(span, _)| above_4g || span.last() <= PhysAddr::LAST_32BIT);
        case.plan().unwrap().warnings
    };
    let warnings = plan("6.1.0-18-686", true);
    assert!(warnings[0].contains("if the capture kernel 6.1.0-18-686 was built without"), "{warnings:?}");
    assert!(warnings[0].contains("without /proc/vmcore"), "{warnings:?}");
    assert_eq!(plan("6.1.0-18-686", false), Vec::<String>::new());
    assert_eq!(plan("6.1.0-18-686-pae", true), Vec::<String>::new());
}

/// What real kernels did in small regions and across the end of low memory, loaded from an x86_64 kernel with an initrd of 140 KiB.
/// Catches a refusal of what came up, and a load of what ran out of memory. (72M@512M is refused, where 5.10 and 6.12 came up: see
/// `working`.)
#[test]
fn small_regions_are_loaded_as_measured() {
    const MIB: u64 = 1 << 20;
    let image64 = |init_size| FakeImage { init_size, ..FakeImage::x86_64() };
    let image32 = |init_size| FakeImage { init_size, ..FakeImage::i386() };
    let [v5_10, v6_1, v6_12] = [0x3b7_a000, 0x3f9_7000, 0x37e_f000].map(image64);
    let [v5_10_pae, v6_1_686, v6_1_pae] = [0xf7_6000, 0x100_c000, 0x113_5000].map(image32);
    for (image, size_mib, offset_mib, came_up) in [
        (&v5_10, 64, 512, false),
        (&v5_10, 80, 512, true),
        (&v5_10, 96, 512, true),
        (&v6_1, 64, 512, false),
        (&v6_1, 80, 512, false),
        (&v6_1, 88, 512, true),
        (&v6_12, 80, 512, true),
        (&v5_10_pae, 32, 512, true),
        (&v5_10_pae, 48, 512, true),
        (&v6_1_686, 32, 512, false),
        (&v6_1_686, 48, 512, true),
        (&v6_1_pae, 32, 512, false),
        (&v5_10_pae, 256, 768, true),
        (&v5_10_pae, 128, 832, true),
        (&v5_10_pae, 128, 848, false),
        (&v5_10_pae, 128, 864, false),
    ] {
        let region = Span::sized(PhysAddr(offset_mib * MIB), size_mib * MIB).unwrap();
        let mut case = Case::new(Arch::X86_64, Arch::X86_64, image, &[region]);
        case.initrd_size = 0x2_2870;
        let plan = case.plan();
        assert_eq!(plan.is_ok(), came_up, "{size_mib}M@{offset_mib}M, {:#x}: {plan:?}", image.init_size);
    }
}

/// The low companion of a high region is the capture kernel's memory as well.
#[test]
fn a_companion_counts() {
    let high = span(0x1_2000_0000, 0x1_2000_0000 + (64 << 20) - 1);
    let image = FakeImage { init_size: 0x3b7_a000, ..FakeImage::x86_64() };
    let with = |regions: &[Span]| {
        let mut case = Case::new(Arch::X86_64, Arch::X86_64, &image, regions);
        case.initrd_size = 0x2_2870;
        case.plan().map(|plan| plan.region)
    };
    assert!(matches!(with(&[high]), Err(Refusal::TooLittleLeft { .. })));
    assert_eq!(with(&[span(0xaf00_0000, 0xbeff_ffff), high]), Ok(high));
}

#[test]
fn what_is_missing_or_too_much_is_refused() {
    let case = || Case::new(Arch::X86_64, Arch::I386, &FakeImage::x86_64(), &[at_1968m()]);
    let refused = |change: fn(&mut Case)| {
        let mut case = case();
        change(&mut case);
        case.plan().unwrap_err()
    };
    assert_eq!(refused(|case| case.memory.crash_regions.clear()), Refusal::NoRegion);
    assert_eq!(refused(|case| case.load.long_mode = false), Refusal::NoLongMode);
    assert!(matches!(refused(|case| case.line = vec![b'x'; 2040]), Refusal::CommandLine(_)));
    assert!(matches!(
        refused(|case| case.memory.crash_regions = vec![span(0x7b00_0000, 0x7bff_ffff)]),
        Refusal::NoRoom { segment: SegmentKind::Kernel, .. }
    ));
    assert_eq!(
        refused(|case| case.memory.ranges.retain(|(span, _)| span.start().0 >= 0x10_0000)),
        Refusal::NoLowRam
    );
}

/// Catches a bound on all RAM, crash region and all, where the kernel's is on what it hands out: it then refuses itself, and what was loaded
/// before is gone. It counts whole pages, and takes just half of them.
#[test]
fn an_image_is_at_most_half_of_what_the_kernel_hands_out() {
    let mut case = Case::new(Arch::X86_64, Arch::I386, &FakeImage::x86_64(), &[at_1968m()]);
    let image: u64 = case.plan().unwrap().segments.iter().map(|segment| segment.memory.size()).sum();
    for (total_ram, fits) in [(2 * image, true), (2 * image + 0x1fff, true), (2 * image - 1, false)] {
        case.total_ram = total_ram;
        let wanted = Some(Refusal::MoreThanHalfOfRam { image, ram: total_ram }).filter(|_| !fits);
        assert_eq!(case.plan().err(), wanted, "{total_ram:#x}");
    }
}

/// Bytes that do not fit their segment are refused by the kernel, which has by then dropped the image that was loaded.
#[test]
fn a_plan_fits_the_call() {
    let plan = Case::new(Arch::X86_64, Arch::I386, &FakeImage::x86_64(), &[at_1968m()]).plan().unwrap();
    for segment in &plan.segments {
        if let Content::Bytes(bytes) = &segment.content {
            assert!(bytes.len() as u64 <= segment.memory.size(), "{} overflows", segment.kind);
        }
    }
}

/// Catches digests of other bytes than those that are loaded, in other places, and a purgatory that does not know of them.
#[test]
fn what_is_loaded_is_what_the_purgatory_verifies() {
    let mut case = Case::new(Arch::X86_64, Arch::I386, &FakeImage::x86_64(), &[at_1968m()]);
    let plan = case.plan().unwrap();
    let image = BzImage::parse(&case.file).unwrap();
    let initrd = vec![0x5a; case.initrd_size];
    let checks = plan.verification.checks.as_deref().unwrap();
    let of = |kind| plan.segments.iter().find(|segment| segment.kind == kind).unwrap();
    assert_eq!(checks.len(), plan.segments.len() - 1, "all but the purgatory, which adds itself");
    for check in checks {
        let segment = of(check.segment);
        let bytes = segment.content.bytes(&image, Some(&initrd));
        assert_eq!(Some(check.memory), Span::sized(segment.memory.start(), bytes.len() as u64));
        assert_eq!(check.digest, Digest::of(bytes), "{}", check.segment);
    }
    let Content::Bytes(purgatory) = &of(SegmentKind::Purgatory).content else { panic!("no bytes") };
    let known = |plan: &[u8], digest: Digest| {
        let digest = digest.0.map(u32::to_le_bytes).concat();
        plan.windows(digest.len()).any(|window| window == digest)
    };
    assert!(checks.iter().all(|check| known(purgatory, check.digest)));

    case.options.no_checks = true;
    let plan = case.plan().unwrap();
    let unverified = plan.segments.iter().find(|segment| segment.kind == SegmentKind::Purgatory).unwrap();
    let Content::Bytes(unverified) = &unverified.content else { panic!("no bytes") };
    assert!(unverified.len() < purgatory.len() && plan.verification.checks.is_none());
}

#[path = "plan_told_tests.rs"]
mod told;
