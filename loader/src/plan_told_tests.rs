//! Tests of whole plans: what the capture kernel is told of memory and firmware, read as it reads it.

use super::*;
use crate::efi;
use crate::elfcorehdr::{NoCoreHeader, Not32};
use crate::options::{Backup, Class};

fn case(image: &FakeImage) -> Case {
    Case::new(Arch::X86_64, Arch::I386, image, &[at_1968m()])
}

/// Where a segment lies, and its bytes.
fn segment(plan: &Plan, kind: SegmentKind) -> (Span, &[u8]) {
    let segment = plan.segments.iter().find(|segment| segment.kind == kind).unwrap();
    match &segment.content {
        Content::Bytes(bytes) => (segment.memory, bytes),
        _ => panic!("the bytes of the {kind} are a file's"),
    }
}

/// Type and payload of each item of setup_data.
fn setup_data(plan: &Plan) -> Vec<(u32, &[u8])> {
    let (place, bytes) = segment(plan, SegmentKind::BootParams);
    let line_end = 4096 + plan.command_line.len() + 1;
    let mut items = vec![];
    let mut next = u64_at(bytes, 0x250).unwrap();
    while next != 0 {
        let at = (next - place.start().0) as usize;
        assert!(at >= line_end, "the command line overlaps");
        let field = |offset| u32_at(bytes, at + offset).unwrap();
        items.push((field(8), &bytes[at + 16..at + 16 + field(12) as usize]));
        next = u64_at(bytes, at).unwrap();
    }
    items
}

/// The memory map as the capture kernel puts it together: address, size, type.
fn e820(plan: &Plan) -> Vec<(u64, u64, u32)> {
    let (_, bytes) = segment(plan, SegmentKind::BootParams);
    let beyond = setup_data(plan).into_iter().find(|(kind, _)| *kind == 1).map(|(_, payload)| payload);
    let table = &bytes[0x2d0..0x2d0 + 20 * usize::from(bytes[0x1e8])];
    let entries = table.chunks_exact(20).chain(beyond.unwrap_or_default().chunks_exact(20));
    entries.map(|e| (u64_at(e, 0).unwrap(), u64_at(e, 8).unwrap(), u32_at(e, 16).unwrap())).collect()
}

/// PT_LOADs of an ELF64 core header: p_offset, p_paddr, p_memsz.
fn loads(core: &[u8]) -> Vec<(u64, u64, u64)> {
    let headers = core[64..].chunks_exact(56).filter(|header| u32_at(header, 0) == Some(1));
    headers.map(|h| (u64_at(h, 8).unwrap(), u64_at(h, 24).unwrap(), u64_at(h, 40).unwrap())).collect()
}

/// Catches a copy that is made and not read, read and not made, or handed out as free memory; one of 5.10, which needs none; and segment or
/// header without room for what an older kernel needs.
#[test]
fn low_memory_of_old_kernels_is_saved() {
    let mut case = case(&FakeImage::x86_64());
    let source = span(0x1000, 0x9_efff);
    for (choice, release, saved) in [
        (Backup::Auto, &b"4.19.0-27-amd64"[..], true),
        (Backup::Auto, b"5.10.0-32-amd64", false),
        (Backup::Always, b"6.12.107+deb13-amd64", true),
        (Backup::Never, b"4.19.0-27-amd64", false),
    ] {
        (case.options.backup, case.release) = (choice, release);
        let plan = case.plan().unwrap();
        assert_eq!(plan.saved, saved.then_some(source));
        let (core, bytes) = segment(&plan, SegmentKind::ElfCoreHeader);
        let low: Vec<_> = loads(bytes).into_iter().filter(|load| load.1 < 0x10_0000).collect();
        let ram: Vec<_> = e820(&plan).into_iter().filter(|entry| entry.2 == 1).collect();
        assert_eq!(ram[0], (0x1000, 0x9_e000, 1), "the capture kernel needs it either way");
        if saved {
            let (copy, bytes) = segment(&plan, SegmentKind::Backup);
            assert_eq!((copy.size(), bytes.len()), (source.size(), 0));
            assert_eq!(low, [(copy.start().0, 0x1000, source.size())]);
            let free = at_1968m().size() - copy.size() - core.size();
            assert_eq!(ram[1..].iter().map(|entry| entry.1).sum::<u64>(), free);
            assert!(ram.iter().all(|&(start, size, _)| {
                Span::sized(PhysAddr(start), size).unwrap().intersect(copy).is_none()
            }));
        } else {
            assert_eq!(low, []);
            assert!(plan.segments.iter().all(|segment| segment.kind != SegmentKind::Backup));
        }
    }
}

/// Catches the wrong one of two low ranges saved: the capture kernel uses the larger, and the dump has the other as it is.
#[test]
fn of_two_low_ranges_the_one_in_use_is_saved() {
    let mut case = case(&FakeImage::x86_64());
    case.options.backup = Backup::Always;
    case.memory.ranges[0].0 = span(0x1000, 0x3_07ff);
    case.memory.ranges.insert(1, (span(0x3_1000, 0x9_fbff), Kind::Ram));
    let plan = case.plan().unwrap();
    assert_eq!(plan.saved, Some(span(0x3_1000, 0x9_efff)));
    let copy = segment(&plan, SegmentKind::Backup).0.start().0;
    let (_, core) = segment(&plan, SegmentKind::ElfCoreHeader);
    let low: Vec<_> = loads(core).into_iter().filter(|load| load.1 < 0x10_0000).collect();
    assert_eq!(low, [(copy, 0x3_1000, 0x6_e000), (0x1000, 0x1000, 0x2_f000)]);
    let ram: Vec<_> = e820(&plan).into_iter().filter(|entry| entry.0 < 0x10_0000 && entry.2 == 1).collect();
    assert_eq!(ram, [(0x3_1000, 0x6_e000, 1)]);
}

/// Catches entries that are lost behind the 128th, a core header that splits the region and needs one more, and a segment too small for them.
#[test]
fn a_long_memory_map_arrives_whole() {
    let mut case = case(&FakeImage::x86_64());
    case.options.places.add(b"elfcorehdr=0x80000000").unwrap();
    case.options.backup = Backup::Always;
    case.options.places.add(b"backup=0x82000000").unwrap();
    for count in [120, 122, 123, 200, 2500] {
        case.memory = memory(&[at_1968m()]);
        let reserved = |nth: u64| span(0x9000_0000 + nth * 0x2000, 0x9000_0fff + nth * 0x2000);
        case.memory.ranges.extend((0..count).map(|nth| (reserved(nth), Kind::Reserved)));
        let plan = case.plan().unwrap();
        let entries = e820(&plan);
        // Low RAM, three pieces of the region, and the range below 1 MiB that `memory` has.
        assert_eq!(entries.len() as u64, 5 + count);
        assert!((0..count).all(|nth| entries.contains(&(reserved(nth).start().0, 0x1000, 2))));
        let (place, bytes) = segment(&plan, SegmentKind::BootParams);
        assert!(bytes.len() as u64 <= place.size());
    }
}

/// Catches a map that fills an i386 kernel's table: it then loses the end of its RAM, which it splits (seen with 145 entries: "not given
/// 0x2fff90a0-0x2fffffff of the crash region"); and ranges that are left out without a word.
#[test]
fn a_capture_kernel_has_entries_to_spare() {
    let most = |image: &FakeImage, count: u64| {
        let mut case = case(image);
        case.memory.crash_regions = vec![span(0x2000_0000, 0x2fff_ffff)];
        let reserved = |nth: u64| span(0x9000_0000 + nth * 0x2000, 0x9000_0fff + nth * 0x2000);
        case.memory.ranges.extend((0..count).map(|nth| (reserved(nth), Kind::Reserved)));
        let plan = case.plan().unwrap();
        let entries = e820(&plan);
        assert_eq!(entries.iter().filter(|entry| entry.2 == 1).count(), 2, "all RAM is there");
        let told = plan.warnings.iter().any(|warning| warning.contains("reserved ranges are left out"));
        assert_eq!(told, entries.len() as u64 != 3 + count);
        let many =
            plan.warnings.iter().any(|warning| warning.contains("if it was built without CONFIG_NUMA"));
        assert_eq!(many, entries.len() > 115);
        entries.len()
    };
    assert_eq!(most(&FakeImage::i386(), 112), 115);
    assert_eq!(most(&FakeImage::i386(), 140), 115);
    assert_eq!(most(&FakeImage::x86_64(), 140), 143);
    assert_eq!(most(&FakeImage::x86_64(), 4000), 3184);
}

/// Catches UEFI for a kernel that cannot take it over, or for which it was forbidden; a seed that is not there; and addresses of another place than
/// the segment's.
#[test]
fn firmware_is_handed_on_where_it_can_be() {
    let told = |image: &FakeImage, change: fn(&mut Case)| {
        let mut case = case(image);
        case.memory.crash_regions = vec![span(0x2000_0000, 0x2fff_ffff)];
        (case.efi, case.rsdp) = (Some(efi::tests::ovmf()), Some(PhysAddr(0x7fb7_e014)));
        change(&mut case);
        let plan = case.plan().unwrap();
        let (place, bytes) = segment(&plan, SegmentKind::BootParams);
        assert_eq!(u64_at(bytes, 0x70), Some(0x7fb7_e014));
        let kinds: Vec<u32> = setup_data(&plan).iter().map(|(kind, _)| *kind).collect();
        if bytes[0x1c0..0x1c4] == *b"EL64" {
            let map = u64::from(u32_at(bytes, 0x1d0).unwrap()) - place.start().0;
            let efi = efi::tests::ovmf();
            assert!(bytes[map as usize..].starts_with(efi.map()));
            assert!(plan.firmware.starts_with("UEFI"));
        } else {
            assert!(plan.firmware.starts_with("no UEFI"));
        }
        (kinds, bytes[0x1c0], String::from_utf8(plan.command_line).unwrap().contains("acpi_rsdp=0x7fb7e014 "))
    };
    let (k64, k32) = (FakeImage::x86_64(), FakeImage::i386());
    assert_eq!(told(&k64, |_| ()), (vec![4, 9], b'E', false));
    assert_eq!(told(&k64, |case| case.options.noefi = true), (vec![9], 0, false));
    assert_eq!(told(&k64, |case| case.line = b"quiet noefi".to_vec()), (vec![9], 0, false));
    assert_eq!(told(&k32, |_| ()), (vec![9], 0, false));
    let old = FakeImage { protocol: 0x020d, ..k32 };
    assert_eq!(told(&old, |_| ()), (vec![9], 0, true));
}

/// Catches UEFI that is lost without a word, and a word where it is not there, not wanted, or of no use to the capture kernel.
#[test]
fn uefi_that_is_not_handed_on_is_told() {
    let warned = |image: &FakeImage, change: fn(&mut Case)| {
        let mut case = case(image);
        case.memory.crash_regions = vec![span(0x2000_0000, 0x2fff_ffff)];
        case.boot_params = vec![0; 4096];
        case.boot_params[0x1c0..0x1c4].copy_from_slice(b"EL64");
        change(&mut case);
        case.plan().unwrap().warnings.iter().any(|warning| warning.contains("nothing of UEFI"))
    };
    let (k64, k32) = (FakeImage::x86_64(), FakeImage::i386());
    assert!(warned(&k64, |_| ()));
    assert!(!warned(&k64, |case| case.efi = Some(efi::tests::ovmf())));
    assert!(!warned(&k64, |case| case.boot_params.fill(0)));
    assert!(!warned(&k64, |case| case.options.noefi = true));
    assert!(!warned(&k64, |case| case.line = b"noefi".to_vec()));
    assert!(!warned(&k32, |_| ()));
}

/// Catches a header that the running kernel cannot make larger when it rewrites it, and a wish that is dropped without a word.
#[test]
fn a_core_header_that_is_kept_up_to_date_has_room() {
    let mut case = case(&FakeImage::x86_64());
    case.hotplug_size = Some(0x10_0000);
    let size = |case: &Case| case.plan().map(|plan| segment(&plan, SegmentKind::ElfCoreHeader).0.size());
    assert_eq!(size(&case), Ok(0x1000), "nobody asked");
    case.options.hotplug = true;
    assert_eq!(size(&case), Ok(0x10_0000));
    assert_eq!(case.plan().unwrap().warnings, Vec::<String>::new());
    case.options.backup = Backup::Always;
    assert!(case.plan().unwrap().warnings[0].contains("without the low memory that is saved"));
    case.options.backup = Backup::Auto;
    case.hotplug_size = Some(1);
    assert_eq!(size(&case), Ok(0x1000));
    case.hotplug_size = None;
    assert!(case.plan().unwrap_err().to_string().starts_with("--hotplug: the running kernel does not"));
}

/// Catches a class that was asked for and is not heeded.
#[test]
fn the_class_is_heeded() {
    let mut case = case(&FakeImage::x86_64());
    case.options.core_headers = Some(Class::Elf32);
    assert_eq!(case.plan(), Err(Refusal::CoreHeaders(NoCoreHeader::Not32(Not32::Running64))));
    case.options.core_headers = Some(Class::Elf64);
    assert!(case.plan().is_ok());
}
