//! The actions of the program: what each reads, calls and says.

mod call;
mod facts;
mod files;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use facts::Facts;
use files::MappedFile;
use kexec_load::addr::Span;
use kexec_load::bzimage::BzImage;
use kexec_load::cmdline;
use kexec_load::kexec::{self, RawSegment};
use kexec_load::options::Load;
use kexec_load::plan::{self, Content, Inputs, Plan, Segment};
use kexec_load::refusal::Refusal;
use kexec_load::rule::{Arch, Entry};

/// Says something on standard error.
pub(crate) fn complain(text: &str) {
    static_start::write_stderr(format!("kexec-load: {text}\n").as_bytes());
}

/// Writes to standard output, all of it.
pub(crate) fn print(text: &str) -> Result<(), String> {
    files::write_stdout(text.as_bytes()).map_err(|errno| format!("standard output: {errno}"))
}

/// Whether a crash image is loaded; says so too.
pub(crate) fn status() -> Result<bool, String> {
    let loaded = facts::crash_loaded()?;
    print(if loaded { "a capture kernel is loaded\n" } else { "no capture kernel is loaded\n" })?;
    Ok(loaded)
}

/// Prints the size of the crash region in bytes, 0 if there is none.
pub(crate) fn region_size() -> Result<(), String> {
    let regions = facts::memory()?.crash_regions;
    print(&format!("{}\n", regions.last().map_or(0, |region| region.size())))
}

/// Drops the crash image.
pub(crate) fn unload(debug: bool) -> Result<(), String> {
    let running = facts::running_arch()?;
    if debug {
        complain(&format!("running kernel: {running}; unloading"));
    }
    call::kexec_load(0, 0, &[], kexec::flags(running)).map_err(failed_call)
}

/// Plans a load and carries it out.
pub(crate) fn load(load: &Load) -> Result<(), String> {
    let kernel = MappedFile::open(&load.kernel)?;
    let image = BzImage::parse(kernel.bytes())
        .map_err(|why| Refusal::Image { path: kernel.path().into(), why }.to_string())?;
    let initrd = load.initrd.as_deref().map(MappedFile::open).transpose()?;
    if let Some(initrd) = initrd.as_ref().filter(|initrd| initrd.bytes().is_empty()) {
        return Err(Refusal::EmptyInitrd { path: initrd.path().into() }.to_string());
    }
    let mut line = Vec::new();
    if load.reuse_cmdline {
        line = cmdline::reuse(&files::read("/proc/cmdline")?);
    }
    cmdline::append(&mut line, load.command_line.as_deref().unwrap_or_default());
    let facts = Facts::gather()?;
    facts.warnings.iter().for_each(|warning| complain(&format!("warning: {warning}")));
    let plan = plan::make(&Inputs {
        image: &image,
        initrd_size: initrd.as_ref().map(|initrd| initrd.bytes().len() as u64),
        command_line: &line,
        memory: &facts.memory,
        load: facts.load(load),
        direct_map: &facts.direct_map,
        cpu_notes: &facts.cpu_notes,
        vmcoreinfo: facts.vmcoreinfo,
        boot_params: &facts.boot_params,
        places: load.places,
    })
    .map_err(|refusal| refusal.to_string())?;
    plan.warnings.iter().for_each(|warning| complain(&format!("warning: {warning}")));
    let buffers: Vec<RawSegment> =
        plan.segments.iter().map(|segment| raw(segment, &image, initrd.as_ref())).collect();
    if load.debug {
        describe(&facts, &plan, &buffers).iter().for_each(|line| complain(line));
    }
    if load.dry_run {
        return print(&(describe(&facts, &plan, &buffers).join("\n") + "\n"));
    }
    let encoded = kexec::encode(&buffers, Arch::OWN)
        .map_err(|address| format!("segment address {address} does not fit a 32-bit kexec_load call"))?;
    call::kexec_load(plan.jump.0, buffers.len(), &encoded, kexec::flags(facts.running)).map_err(|errno| {
        let now = match facts::crash_loaded() {
            Ok(true) => "",
            Ok(false) => ". Nothing is loaded now",
            Err(_) => ". Whether anything is still loaded cannot be told",
        };
        failed_call(errno) + now
    })
}

/// The bytes of a segment, as the call takes them.
fn raw(segment: &Segment, image: &BzImage<'_>, initrd: Option<&MappedFile>) -> RawSegment {
    let bytes = match &segment.content {
        Content::Kernel => image.kernel,
        Content::Initrd => initrd.map_or(&[][..], MappedFile::bytes),
        Content::Bytes(bytes) => bytes,
    };
    RawSegment { buffer: bytes.as_ptr() as u64, buffer_size: bytes.len() as u64, memory: segment.memory }
}

fn failed_call(errno: syscalls::Errno) -> String {
    let number = errno.into_raw();
    let (name, why) = kexec::explain(number);
    format!("kexec_load: {name} ({number}): {why}")
}

/// The plan in lines: for people, and for whoever reads them by the words in front.
fn describe(facts: &Facts, plan: &Plan, buffers: &[RawSegment]) -> Vec<String> {
    let entry = match plan.entry {
        Entry::Bits32 => "32-bit",
        Entry::Bits64 => "64-bit",
    };
    let mut lines = alloc::vec![
        format!(
            "running kernel: {}, userspace: {}, capture kernel's entry: {entry}",
            facts.running,
            Arch::OWN
        ),
        format!("jump: to the purgatory at {}", plan.jump),
        format!("crash region: {} ({} MiB)", plan.region, plan.region.size() >> 20),
        format!("highest address of the kernel: {}, {}", plan.limits.kernel.last, plan.limits.kernel.why),
    ];
    lines.extend(plan.segments.iter().map(|segment| {
        format!("segment: {} {} ({:#x} bytes)", segment.kind, segment.memory, segment.memory.size())
    }));
    // What lies behind these bytes in a segment is zero.
    lines.extend(plan.segments.iter().zip(buffers).filter_map(|(segment, buffer)| {
        let loaded = Span::sized(segment.memory.start(), buffer.buffer_size)?;
        Some(format!("loaded: {} {loaded}", segment.kind))
    }));
    lines.extend(plan.control.map(|span| format!("control pages of the running kernel: {span}")));
    lines.push(format!("command line: {}", String::from_utf8_lossy(&plan.command_line)));
    lines
}
