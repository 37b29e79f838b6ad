//! Bodies of the parsers: files of the user, texts and structures of the kernel, arguments.

use crate::source::Source;
use kexec_load::addr::{PAGE, PhysAddr};
use kexec_load::bzimage::BzImage;
use kexec_load::control::Demand;
use kexec_load::denied::{self, Looked, WayOut};
use kexec_load::e820;
use kexec_load::efi::{self, Efi, Shown};
use kexec_load::iomem::{Kind, MemoryMap};
use kexec_load::kcore::{self, DirectMap};
use kexec_load::options;
use kexec_load::rule::Arch;
use kexec_load::{cmdline, serial, sysfs};

/// A bzImage as it stands, and one of which these bytes are the first two sectors.
pub(crate) fn bzimage(input: &[u8]) {
    check_image(input);
    let mut file = [0; 64 << 10];
    let header = input.len().min(1024);
    file[..header].copy_from_slice(&input[..header]);
    // All that it needs to be whole: as much code as there is.
    let setup = 512 * (1 + if file[0x1f1] == 0 { 4 } else { usize::from(file[0x1f1]) });
    let paragraphs = file.len().saturating_sub(setup) / 16;
    file[0x1f4..0x1f8].copy_from_slice(&(paragraphs as u32).to_le_bytes());
    check_image(&file);
}

fn check_image(file: &[u8]) {
    match BzImage::parse(file) {
        Ok(image) => {
            assert!(image.alignment.is_power_of_two() && image.alignment >= PAGE);
            assert!(image.init_size >= image.kernel.len() as u64 && !image.kernel.is_empty());
            assert!(image.header.len() <= 0x290 - 0x1f1 && image.release.is_ascii());
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

/// /proc/iomem, and what is made of the map alone.
pub(crate) fn iomem(input: &[u8]) {
    let Ok(map) = MemoryMap::parse(input) else { return };
    assert!(map.ranges.is_sorted_by_key(|(span, _)| *span) && map.crash_regions.is_sorted());
    assert!(map.ram().count() > 0);
    let low = e820::low_ram(&map);
    assert!(low.is_none_or(|low| low.last() < PhysAddr(640 << 10)));
    // The capture kernel gets nothing of the crashed kernel's but low memory, and nothing of the holes: here, of the regions.
    for entry in e820::map(&map, &map.crash_regions).iter().filter(|entry| entry.kind == Kind::Ram) {
        assert!(low.is_some_and(|low| low.contains(entry.span)), "{} is told", entry.span);
    }
    for arch in [Arch::I386, Arch::X86_64] {
        let demand = Demand::of(arch, &map);
        for &region in &map.crash_regions {
            if let Some(taken) = demand.taken(region, &[]) {
                assert!(region.contains(taken));
            }
        }
    }
}

/// The headers of /proc/kcore.
pub(crate) fn kcore(input: &[u8]) {
    let size = kcore::headers_size(input);
    let headers = &input[..size.min(input.len())];
    // What lies behind the headers has no say.
    if size <= input.len() {
        assert_eq!(DirectMap::parse(headers), DirectMap::parse(input));
    }
    if let Some(map) = DirectMap::parse(input) {
        assert_eq!(map.page_offset % (1 << 30), 0);
    }
}

/// Arguments with a zero between them, as in /proc/PID/cmdline.
pub(crate) fn arguments(input: &[u8]) {
    match options::parse(input.split(|&byte| byte == 0)) {
        Ok(_) => {}
        Err(usage) => assert!(!usage.to_string().is_empty()),
    }
}

/// A command line of the running kernel, or one that the user gave.
pub(crate) fn command_line(input: &[u8]) {
    let mut source = Source::new(input);
    let (core, rsdp, most) = (PhysAddr(source.number() << 12), source.maybe().map(PhysAddr), source.number());
    let line = source.rest();
    let reused = cmdline::reuse(line);
    assert!(reused.len() <= line.len());
    for gone in ["crashkernel", "elfcorehdr", "memmap", "BOOT_IMAGE"] {
        assert!(!cmdline::has(&reused, gone), "{gone} is inherited");
    }
    assert_eq!(cmdline::reuse(&reused), reused, "what was reused once can be reused again");
    let _ = serial::named(line);
    match cmdline::finish(line, core, rsdp, most) {
        Ok(whole) => {
            assert!(whole.len() as u64 <= most.saturating_add(1) && whole.len() <= 2048);
            assert!(whole.ends_with(b"\0") && whole.iter().filter(|&&byte| byte == 0).count() == 1);
            assert!(whole.starts_with(format!("elfcorehdr={}K", core.0 >> 10).as_bytes()));
            assert!(whole[..whole.len() - 1].ends_with(line));
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

/// Small texts of /sys and /proc.
pub(crate) fn sysfs(input: &[u8]) {
    let _ = (sysfs::decimal(input), sysfs::hexadecimal(input));
    assert!(sysfs::vmcoreinfo(input).is_none_or(|note| note.size != 0));
    if let Some(cpus) = sysfs::cpu_list(input) {
        assert!(cpus.len() <= 8192 && cpus.is_sorted());
    }
    let _ = sysfs::lowmem_last(input);
}

/// Why a load is not permitted.
pub(crate) fn denied(input: &[u8]) {
    let mut source = Source::new(input);
    let way_out = if source.flag() { WayOut::FileLoad } else { WayOut::SignedImage };
    let (disabled, limit_panic, lockdown) = (source.run(), source.run(), source.run());
    let looked = Looked { disabled, limit_panic, lockdown, status: source.rest() };
    assert!(!denied::diagnose(&looked, way_out).to_string().is_empty());
}

/// boot_params, and the files of /sys/firmware/efi.
pub(crate) fn firmware(input: &[u8]) {
    let mut source = Source::new(input);
    let mut boot_params = vec![0; 4096];
    // The fields that are read, and one byte more.
    for (offset, length) in [(0x070, 8), (0x1c0, 33)] {
        for byte in &mut boot_params[offset..offset + length] {
            *byte = source.byte();
        }
    }
    if source.flag() {
        boot_params[0x1c0..0x1c4].copy_from_slice(b"EL64");
    }
    boot_params.truncate(4096 >> (source.byte() % 8));
    let mut shown = Shown {
        systab: source.run().to_vec(),
        tables: [(); 3].map(|()| source.run().to_vec()),
        regions: Vec::new(),
    };
    let _ = efi::rsdp(&boot_params, &shown.systab);
    while !source.is_empty() {
        shown.regions.push([(); 5].map(|()| source.run().to_vec()));
    }
    if let Some(efi) = Efi::parse(&boot_params, &shown) {
        assert!(efi.map().len() <= 40 * shown.regions.len().min(efi::MOST_REGIONS));
        assert_eq!(efi.setup_data().len(), Efi::SETUP_DATA);
        let _ = efi.info(PhysAddr(0x1000));
    }
}
