//! The plan of a load: every segment with its place and its bytes, ready for kexec_load. Made from plain values by one pure
//! function, so that everything that can be refused is refused before the kernel is asked: a failed kexec_load drops the image
//! that was loaded before.

use crate::addr::{PAGE, PhysAddr, Span, sort_by_key};
use crate::backup::{self, Saved};
use crate::bzimage::BzImage;
use crate::cmdline;
use crate::control::Demand;
use crate::e820;
use crate::efi::{self, Efi, Firmware};
use crate::elfcorehdr::{self, Crashed, Note};
use crate::iomem::MemoryMap;
use crate::kcore::DirectMap;
use crate::layout::{self, Request};
use crate::options;
use crate::params::{self, Known};
use crate::purgatory::{self, Handover};
use crate::refusal::Refusal;
use crate::rule::{self, Arch, Entry, Limit, Limits};
use crate::screen::Framebuffers;
use crate::segment::SegmentKind;
use crate::setup_data::SEED;
use crate::verification::Verification;
use crate::working;
use alloc::string::String;
use alloc::vec::Vec;

/// Everything that a plan depends on.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The capture kernel.
    pub image: &'a BzImage<'a>,
    /// The initrd, if there is one.
    pub initrd: Option<&'a [u8]>,
    /// The capture kernel's command line, without `elfcorehdr=`.
    pub command_line: &'a [u8],
    /// What was asked for on the command line.
    pub options: &'a options::Load,
    /// The running kernel's release, as `uname -r` says it.
    pub release: &'a [u8],
    /// The running kernel's memory.
    pub memory: &'a MemoryMap,
    /// Bytes of memory that the running kernel hands out (`totalram` of sysinfo): RAM without the crash regions and what is reserved at boot.
    pub total_ram: u64,
    /// The rule's inputs.
    pub load: rule::Load,
    /// The running kernel's direct map.
    pub direct_map: &'a DirectMap,
    /// Where the CPUs' notes lie.
    pub cpu_notes: &'a [Note],
    /// Where VMCOREINFO lies.
    pub vmcoreinfo: Option<Note>,
    /// The running kernel's boot_params, empty if unknown.
    pub boot_params: &'a [u8],
    /// /proc/fb; empty where there is none.
    pub framebuffers: &'a [u8],
    /// Where ACPI's root table lies, if that is known.
    pub rsdp: Option<PhysAddr>,
    /// UEFI, if the running kernel can call it.
    pub efi: Option<&'a Efi>,
    /// Random bytes for the capture kernel.
    pub seed: Option<[u8; SEED]>,
    /// Bytes that the running kernel asks for to keep the core header up to date (`--hotplug`); none if it does not.
    pub hotplug_size: Option<u64>,
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The crash region that is loaded into.
    pub region: Span,
    /// How high the segments may lie.
    pub limits: Limits,
    /// The capture kernel's entry that is used.
    pub entry: Entry,
    /// Where the running kernel jumps to.
    pub jump: PhysAddr,
    /// The segments, ascending.
    pub segments: Vec<Segment>,
    /// Where the running kernel will take its control code, page tables and copy of VMCOREINFO from: its lowest page to its highest.
    pub control: Option<Span>,
    /// The low memory that is saved, if any is.
    pub saved: Option<Span>,
    /// What the capture kernel is told of firmware, in words.
    pub firmware: String,
    /// What the purgatory verifies, and where it speaks.
    pub verification: Verification,
    /// The command line as the capture kernel gets it, without the terminating zero.
    pub command_line: Vec<u8>,
    /// What will work less well than the user may expect.
    pub warnings: Vec<String>,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What it is.
    pub kind: SegmentKind,
    /// Where it lies.
    pub memory: Span,
    /// Its bytes.
    pub content: Content,
}

/// The bytes of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The capture kernel's protected-mode part, out of the file.
    Kernel,
    /// The initrd, out of the file.
    Initrd,
    /// These.
    Bytes(Vec<u8>),
}

impl Content {
    /// The bytes themselves.
    pub fn bytes<'a>(&'a self, image: &BzImage<'a>, initrd: Option<&'a [u8]>) -> &'a [u8] {
        match self {
            Self::Kernel => image.kernel,
            Self::Initrd => initrd.unwrap_or_default(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Makes the plan, or says why there is none.
pub fn make(inputs: &Inputs<'_>) -> Result<Plan, Refusal> {
    let Inputs { image, options, memory, load, .. } = *inputs;
    let initrd_size = inputs.initrd.map(|bytes| bytes.len() as u64);
    cmdline::check(inputs.command_line).map_err(Refusal::CommandLine)?;
    if !rule::runs_here(&load, image) {
        return Err(Refusal::NoLongMode);
    }
    // With `crashkernel=SIZE,high` there are two regions; the kernel takes segments in the upper one alone (crashk_res), and
    // the lower one is for the capture kernel's DMA.
    let region = *memory.crash_regions.last().ok_or(Refusal::NoRegion)?;
    if inputs.cpu_notes.is_empty() {
        return Err(Refusal::NoCrashNotes);
    }
    if e820::low_ram(memory).is_none() {
        return Err(Refusal::NoLowRam);
    }
    let source = backup::source(options.backup, inputs.release, memory);
    let mut crashed = Crashed {
        arch: load.running,
        reader: image.entries.arch(),
        memory,
        direct_map: inputs.direct_map,
        lowmem_last: load.lowmem_last,
        cpu_notes: inputs.cpu_notes,
        vmcoreinfo: inputs.vmcoreinfo,
        backup: source.map(|source| Saved { source, target: PhysAddr(0) }),
        class: options.core_headers,
    };
    let core_size = elfcorehdr::build(&crashed).map_err(Refusal::CoreHeaders)?.len() as u64;
    let hotplug_size = match (options.hotplug, inputs.hotplug_size) {
        (false, _) => 0,
        (true, Some(size)) => size,
        (true, None) => return Err(Refusal::NoHotplug),
    };
    let limits = rule::limits(&load, image);
    let entry = rule::entry(&load, image);
    let demand = Demand::of(load.running, memory);
    // Kernel, boot_params, purgatory, core header.
    let segments = 4 + u64::from(initrd_size.is_some()) + u64::from(source.is_some());
    let mut reserves = demand.reserves(segments, limits.control).to_vec();
    if !load.ignore_address_limits {
        reserves.push(working::reserve(image.entries.arch(), memory, region, initrd_size));
    }
    let with_efi = !options.noefi && !cmdline::has(inputs.command_line, "noefi");
    let known = Known {
        image,
        command_line: inputs.command_line,
        firmware: Firmware::new(load.running, image, inputs.rsdp, inputs.efi.filter(|_| with_efi)),
        seed: inputs.seed.as_ref(),
        running: inputs.boot_params,
        framebuffers: if options.reuse_video_type {
            Framebuffers::Vouched
        } else {
            Framebuffers::Listed(inputs.framebuffers)
        },
    };
    // Each hole cuts a range into two at the most.
    let entries = e820::map(memory, &[]).len() + 2;
    let most_entries = e820::most(image.entries.arch());
    let layout = layout::place(&Request {
        region,
        limits,
        kernel_size: image.init_size,
        kernel_alignment: image.alignment,
        pref_address: image.pref_address,
        initrd_size,
        boot_params_size: known.size(entries.min(most_entries)),
        purgatory_size: purgatory::size(load.running) as u64,
        elfcorehdr_size: core_size.max(hotplug_size),
        backup_size: source.map(Span::size),
        reserves,
        places: options.places,
        mem_min: options.mem_min.unwrap_or(PhysAddr(0)),
        ignore_alignment: load.ignore_address_limits,
    })?;
    let spans = layout.spans();
    let mut taken = Vec::new();
    for &(_, span) in &spans {
        taken.push(span);
    }
    let control = demand.taken(region, &taken);
    check_size(&spans, inputs.total_ram)?;
    let saved = source.zip(layout.backup).map(|(source, copy)| Saved { source, target: copy.start() });
    crashed.backup = saved;
    let core = elfcorehdr::build(&crashed).map_err(Refusal::CoreHeaders)?;
    let line = cmdline::finish(
        inputs.command_line,
        layout.elfcorehdr.start(),
        known.firmware.rsdp_word,
        image.cmdline_size,
    )
    .map_err(Refusal::CommandLine)?;
    let mut holes = alloc::vec![layout.elfcorehdr];
    holes.extend(layout.backup);
    let mut e820 = e820::map(memory, &holes);
    let left_out = e820.len().saturating_sub(most_entries);
    e820.truncate(most_entries);
    let params = known.build(&params::Places {
        segment: layout.boot_params.start(),
        kernel: layout.kernel.start(),
        initrd: layout.initrd.zip(initrd_size).map(|(span, size)| (span.start(), size)),
        command_line: &line,
        e820: &e820,
    });
    let contents = [
        (SegmentKind::Kernel, Content::Kernel),
        (SegmentKind::Initrd, Content::Initrd),
        (SegmentKind::BootParams, Content::Bytes(params)),
        (SegmentKind::ElfCoreHeader, Content::Bytes(core)),
        // The kernel fills it with zeros, the purgatory with what is saved.
        (SegmentKind::Backup, Content::Bytes(Vec::new())),
    ];
    let mut segments = Vec::new();
    for (kind, content) in contents {
        if let Some(&(_, memory)) = spans.iter().find(|(placed, _)| *placed == kind) {
            segments.push(Segment { kind, memory, content });
        }
    }
    let mut loaded = Vec::new();
    for segment in &segments {
        loaded.push((segment.kind, segment.memory, segment.content.bytes(image, inputs.initrd)));
    }
    let verification = Verification::new(options, inputs.command_line, &loaded);
    let handover = Handover {
        running: load.running,
        entry,
        kernel: layout.kernel.start(),
        boot_params: layout.boot_params.start(),
        backup: saved,
    };
    // None where its addresses would wrap, which they do not below a limit.
    let (purgatory, jump) = purgatory::build(layout.purgatory.start(), &handover, &verification)
        .ok_or(Refusal::BeyondLimit { region, limit: limits.others })?;
    segments.push(Segment {
        kind: SegmentKind::Purgatory,
        memory: layout.purgatory,
        content: Content::Bytes(purgatory),
    });
    sort_by_key(&mut segments, |segment| segment.memory);
    let mut command_line = line;
    command_line.pop();
    let mut warnings = warnings(inputs, &spans, demand.code(region, &taken));
    if known.firmware.efi.is_none()
        && known.firmware.takes_over
        && with_efi
        && efi::booted(inputs.boot_params)
    {
        warnings.push(
            "the capture kernel is told nothing of UEFI, for /sys/firmware/efi does not show all that it needs (with efi=noruntime, for one): \
             it will have no EFI variables. --noefi says that this is meant"
                .into(),
        );
    }
    let room = e820::most(Arch::I386);
    if image.entries.arch() == Arch::X86_64 && e820.len() > room {
        warnings.push(alloc::format!(
            "the capture kernel is told of {} ranges of memory: if it was built without CONFIG_NUMA, it has room for {room} and loses RAM",
            e820.len()
        ));
    }
    if left_out > 0 {
        warnings.push(alloc::format!(
            "the capture kernel has no room for all of this machine's memory map: {left_out} of its reserved ranges are left out"
        ));
    }
    let lost = match (load.running, image.entries.arch()) {
        _ if !options.hotplug => None,
        (Arch::I386, Arch::X86_64) => Some("the machine that an x86_64 capture kernel asks for"),
        _ => saved.map(|_| "the low memory that is saved"),
    };
    warnings.extend(lost.map(|lost| {
        alloc::format!(
            "--hotplug: once CPUs or memory have come or gone, the running kernel writes a core header of its own, without {lost}"
        )
    }));
    Ok(Plan {
        region,
        limits,
        entry,
        jump,
        segments,
        control,
        saved: source,
        firmware: alloc::format!("{}", known.firmware),
        verification,
        command_line,
        warnings,
    })
}

/// kexec_load refuses an image that takes more than half of the pages that the kernel hands out (kernel/kexec_core.c,
/// `sanity_check_segment_list`). Segments are whole pages.
fn check_size(spans: &[(SegmentKind, Span)], ram: u64) -> Result<(), Refusal> {
    let image: u64 = spans.iter().map(|(_, span)| span.size()).sum();
    if image / PAGE > ram / PAGE / 2 { Err(Refusal::MoreThanHalfOfRam { image, ram }) } else { Ok(()) }
}

/// The first thing that lies beyond a limit which kernels set, if that was asked for.
fn crossed(inputs: &Inputs<'_>, spans: &[(SegmentKind, Span)], code: Option<Span>) -> Option<String> {
    let Inputs { image, load, .. } = *inputs;
    let strict = rule::limits(&rule::Load { ignore_address_limits: false, ..load }, image);
    let beyond = |what, span: Span, limit: Limit| (span.last() > limit.last).then_some((what, span, limit));
    let (what, span, limit) = code
        .and_then(|span| beyond("running kernel's control page", span, strict.control))
        .or_else(|| spans.iter().find_map(|&(kind, span)| beyond(kind.name(), span, strict.of(kind))))?;
    Some(alloc::format!(
        "--ignore-address-limits: the {what} at {span} goes beyond {}, {}. THE MACHINE WILL HANG AFTER A PANIC instead of starting \
         the capture kernel",
        limit.last,
        limit.why
    ))
}

/// Whether a release names the flavour with PAE, as distributions do.
fn says_pae(release: &[u8]) -> bool {
    release.windows(3).any(|word| word.eq_ignore_ascii_case(b"pae"))
}

fn warnings(inputs: &Inputs<'_>, spans: &[(SegmentKind, Span)], code: Option<Span>) -> Vec<String> {
    let Inputs { image, load, .. } = *inputs;
    let mut warnings: Vec<String> = crossed(inputs, spans, code).into_iter().collect();
    match (load.running, image.entries.arch()) {
        (Arch::I386, Arch::X86_64) => warnings.push(
            "the dump of this i386 kernel will say that it is of an x86_64 one, for an x86_64 capture kernel offers no other. Set the \
             two bytes at offset 18 of a copy (e_machine) from 62 to 3 for tools that go by them"
                .into(),
        ),
        // Nothing in the image tells reliably. A release that says so is believed; it is only a warning.
        (_, Arch::I386) if inputs.memory.reaches_above_4g() && !says_pae(image.release) => {
            warnings.push(alloc::format!(
                "if the capture kernel {} was built without CONFIG_X86_PAE, it cannot read memory above 4 GiB, where this machine has \
                 some: it will start without /proc/vmcore",
                String::from_utf8_lossy(image.release)
            ));
        }
        _ => {}
    }
    if load.running == Arch::X86_64 && inputs.direct_map.text.is_none() {
        warnings.push(
            "/proc/kcore tells no place of the kernel's text: the virtual addresses in the dump may be wrong (physical ones \
             are right)"
                .into(),
        );
    }
    if load.running == Arch::I386 && load.lowmem_last > elfcorehdr::I386_MAPPED_LAST {
        warnings.push(
            "the running kernel was built with another split between user and kernel than 3 GiB to 1 (CONFIG_VMSPLIT_*): the virtual \
             addresses in the dump are wrong (physical ones are right)"
                .into(),
        );
    }
    if inputs.vmcoreinfo.is_none() {
        warnings
            .push("/sys/kernel/vmcoreinfo is missing: tools will not be able to interpret the dump".into());
    }
    warnings
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
