//! Body of the plan as a whole: any machine, any kernel, any options; a plan that keeps all of its promises, or a refusal in words.

use crate::core_header::{direct_map, memory, notes};
use crate::source::Source;
use kexec_load::addr::{PAGE, PhysAddr};
use kexec_load::bzimage::BzImage;
use kexec_load::elfcorehdr::Note;
use kexec_load::kexec::{self, RawSegment};
use kexec_load::native::NoNativeCall;
use kexec_load::options::{Backup, Class, Load, OnMismatch};
use kexec_load::places::Places;
use kexec_load::plan::{self, Content, Inputs, Plan};
use kexec_load::rule::{self, Arch, Reach};
use kexec_load::segment::SegmentKind;
use kexec_load::serial;

/// KEXEC_SEGMENT_MAX (include/uapi/linux/kexec.h).
const MOST_SEGMENTS: usize = 16;

/// A kernel with a valid header, but for those fields that the source sets otherwise.
fn image(source: &mut Source<'_>) -> Vec<u8> {
    const SETUP: usize = 5 * 512;
    let mut file = vec![0; SETUP + 4096];
    let mut put = |offset: usize, bytes: &[u8]| file[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[4]);
    put(0x1f4, &(4096u32 / 16).to_le_bytes());
    put(0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]);
    put(0x202, b"HdrS");
    put(0x206, &source.one_of(&[0x020fu16, 0x020c, 0x020b, 0x020a]).to_le_bytes());
    put(0x211, &[1]);
    put(0x22c, &source.one_of(&[0x7fff_ffffu32, 0x37ff_ffff, u32::MAX, 0]).to_le_bytes());
    put(0x230, &(1u32 << (source.byte() % 31)).to_le_bytes());
    put(0x234, &[1]);
    put(0x236, &source.one_of(&[0x3fu16, 0x0f, 1, 0]).to_le_bytes());
    put(0x238, &source.one_of(&[2047u32, 255, 0, u32::MAX]).to_le_bytes());
    put(0x258, &source.number().to_le_bytes());
    put(0x260, &(source.number().max(4096) as u32).to_le_bytes());
    file
}

fn options(source: &mut Source<'_>) -> Load {
    let mut places = Places::default();
    for kind in SegmentKind::ALL {
        if source.byte() % 8 == 7 {
            let text = format!("{kind}={:#x}", source.number());
            places.add(text.as_bytes()).expect("a place that was written by hand");
        }
    }
    Load {
        no_checks: source.flag(),
        on_mismatch: source.one_of(&[OnMismatch::Halt, OnMismatch::Reset]),
        console_serial: source.flag(),
        serial: source.maybe().and_then(serial::port),
        serial_divisor: source.one_of(&[
            None,
            serial::divisor(115_200),
            serial::divisor(9600),
            serial::divisor(50),
        ]),
        backup: source.one_of(&[Backup::Auto, Backup::Always, Backup::Never]),
        core_headers: source.one_of(&[None, Some(Class::Elf32), Some(Class::Elf64)]),
        hotplug: source.flag(),
        noefi: source.flag(),
        mem_min: source.maybe().map(PhysAddr),
        mem_max: source.maybe().map(PhysAddr),
        ignore_address_limits: source.flag(),
        entry_32bit: source.flag(),
        places,
        ..Load::default()
    }
}

pub(crate) fn run(input: &[u8]) {
    let _ = planned(input);
}

/// Makes a plan and checks it; whether there is one.
fn planned(input: &[u8]) -> bool {
    let mut source = Source::new(input);
    let Some(memory) = memory(&mut source) else { return false };
    let file = image(&mut source);
    let Ok(image) = BzImage::parse(&file) else { return false };
    let (options, cpu_notes, direct_map) =
        (options(&mut source), notes(&mut source), direct_map(&mut source));
    let initrd = vec![0; usize::from(source.byte()) << 8];
    let load = rule::Load {
        running: source.one_of(&[Arch::X86_64, Arch::I386]),
        reach: source.one_of(&[
            Reach::Bits64,
            Reach::Bits32(None),
            Reach::Bits32(Some(NoNativeCall::NoChild { errno: 1 })),
        ]),
        lowmem_last: source.one_of(&[rule::I386_LAST, PhysAddr(source_last(input))]),
        long_mode: true,
        five_levels: source.flag(),
        entry_32bit: options.entry_32bit,
        ignore_address_limits: options.ignore_address_limits,
        mem_max: options.mem_max,
    };
    let inputs = Inputs {
        image: &image,
        initrd: (!initrd.is_empty()).then_some(&initrd),
        options: &options,
        release: source.one_of(&[&b"5.10.0-32-amd64"[..], b"4.19.0-27-686-pae", b""]),
        memory: &memory,
        total_ram: if source_last(input) % 8 == 7 { source_last(input) } else { u64::MAX },
        load,
        direct_map: &direct_map,
        cpu_notes: &cpu_notes,
        vmcoreinfo: source.maybe().map(|address| Note { address: PhysAddr(address), size: 4096 }),
        boot_params: if source.flag() { &[0; 4096] } else { &[] },
        framebuffers: b"",
        rsdp: source.maybe().map(PhysAddr),
        efi: None,
        seed: source.flag().then_some([7; _]),
        hotplug_size: source.maybe(),
        command_line: source.rest(),
    };
    match plan::make(&inputs) {
        Ok(plan) => {
            check(&plan, &inputs);
            assert_eq!(plan::make(&inputs).as_ref(), Ok(&plan), "two plans of the same");
            true
        }
        Err(refusal) => {
            assert!(!refusal.to_string().is_empty());
            false
        }
    }
}

/// A number that depends on all of the input.
fn source_last(input: &[u8]) -> u64 {
    input.iter().rev().take(4).fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn check(plan: &Plan, inputs: &Inputs<'_>) {
    let Plan { segments, region, limits, .. } = plan;
    assert!(segments.len() <= MOST_SEGMENTS);
    assert!(segments.windows(2).all(|pair| pair[0].memory.last() < pair[1].memory.start()), "{segments:?}");
    for segment in segments {
        let (kind, memory) = (segment.kind, segment.memory);
        assert!(region.contains(memory), "{kind} {memory} lies outside of {region}");
        assert!(
            memory.start().0 % PAGE == 0 && memory.size() % PAGE == 0,
            "{kind} {memory} is no whole pages"
        );
        assert!(memory.last() <= limits.of(kind).last, "{kind} {memory} lies beyond its limit");
        assert!(inputs.options.mem_min.is_none_or(|least| memory.start() >= least), "{kind} {memory}");
        assert!(inputs.options.mem_max.is_none_or(|most| memory.last() <= most), "{kind} {memory}");
        let bytes = segment.content.bytes(inputs.image, inputs.initrd).len() as u64;
        assert!(bytes <= memory.size(), "{kind} has {bytes} bytes for {memory}");
    }
    let of = |kind| segments.iter().find(|segment| segment.kind == kind).expect("a segment is missing");
    assert!(of(SegmentKind::Kernel).memory.size() >= inputs.image.init_size);
    let purgatory = of(SegmentKind::Purgatory).memory;
    assert!(purgatory.start() <= plan.jump && plan.jump <= purgatory.last(), "the jump misses the purgatory");
    assert!(plan.control.is_none_or(|control| region.contains(control)));
    let core = of(SegmentKind::ElfCoreHeader);
    let word = format!("elfcorehdr={}K", core.memory.start().0 >> 10);
    assert!(plan.command_line.starts_with(word.as_bytes()));
    assert!(matches!(&core.content, Content::Bytes(bytes) if bytes.starts_with(b"\x7fELF")));
    let raw: Vec<RawSegment> = segments
        .iter()
        .map(|segment| RawSegment { buffer: 0, buffer_size: 0, memory: segment.memory })
        .collect();
    for userspace in [Arch::I386, Arch::X86_64] {
        if userspace == Arch::I386 || inputs.load.reach == Reach::Bits64 {
            assert!(
                kexec::encode(&raw, userspace, inputs.load.reach).is_ok(),
                "an address that the call cannot carry"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::{self, Random};

    /// Catches a body that gets no further than refusals, and so checks nothing: an order of values that is no longer the corpus's.
    #[test]
    fn the_corpus_comes_to_plans() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus/plan");
        let corpus: Vec<Vec<u8>> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .collect();
        assert!(corpus.iter().any(|input| planned(input)));
        let body = crate::ALL.iter().find(|body| body.name == "plan").unwrap();
        let mut random = Random(1);
        let plans = (0..1000).filter(|_| planned(&mutate::input(body, &corpus, &mut random))).count();
        assert!(plans > 50, "{plans} of 1000 changed inputs");
    }
}
