//! The actions of the program: what each reads, calls and says.

mod call;
mod facts;
mod file_load;
mod files;
mod firmware;
mod native;
mod sys;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use facts::Facts;
use file_load::NotLoaded;
use files::WholeFile;
use kexec_load::addr::{PhysAddr, Span};
use kexec_load::bzimage::{BzImage, Entries};
use kexec_load::cmdline;
use kexec_load::denied::WayOut;
use kexec_load::kexec::{self, Call, Encoded, RawSegment};
use kexec_load::options::{ImageType, Load, Syscall};
use kexec_load::plan::{self, Inputs, Plan, Segment};
use kexec_load::refusal::Refusal;
use kexec_load::rule::{Arch, Entry};
use syscalls::Errno;

/// Says something on standard error.
pub(crate) fn complain(text: &str) {
    static_start::write_stderr(format!("kexec-load: {text}\n").as_bytes());
}

/// Writes to standard output, all of it.
pub(crate) fn print(text: &str) -> Result<(), String> {
    files::write_stdout(text.as_bytes()).map_err(|errno| files::failed("standard output", errno))
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
pub(crate) fn unload(debug: bool, syscall: Syscall) -> Result<(), String> {
    let running = facts::running_arch()?;
    if debug {
        complain(&format!("running kernel: {running}; unloading"));
    }
    by(syscall, &|| file_load::unload(running), &|after_file_load| {
        // Without segments, both forms are the same.
        make(running, after_file_load, &|| {
            call::kexec_load(0, 0, &Encoded::Words32(Vec::new()), kexec::flags(running))
        })
    })
}

/// Plans a load and carries it out.
pub(crate) fn load(load: &Load) -> Result<(), String> {
    let kernel = WholeFile::open(&load.kernel)?;
    let bad = |why| Refusal::Image { path: kernel.path().into(), why }.to_string();
    let image = BzImage::parse(kernel.bytes());
    if let Some(why) = image.as_ref().err().filter(|why| load.syscall == Syscall::Load || !why.may_be_newer())
    {
        return Err(bad(why.clone()));
    }
    if let (ImageType::BzImage64, Ok(BzImage { entries: Entries::Only32, .. })) = (load.image_type, &image) {
        return Err(format!("{}: not a bzImage64, for it has no 64-bit entry", kernel.path()));
    }
    let initrd = load.initrd.as_deref().map(WholeFile::open).transpose()?;
    if let Some(initrd) = initrd.as_ref().filter(|initrd| initrd.bytes().is_empty()) {
        return Err(Refusal::EmptyInitrd { path: initrd.path().into() }.to_string());
    }
    let mut line = Vec::new();
    if load.reuse_cmdline {
        line = cmdline::reuse(&files::read("/proc/cmdline")?);
    }
    cmdline::append(&mut line, &cmdline::in_one_line(load.command_line.as_deref().unwrap_or_default()));
    by(
        load.syscall,
        &|| file_load::load(&kernel, image.as_ref().ok(), initrd.as_ref(), &line, load.debug),
        &|after_file_load| {
            let image = image.as_ref().map_err(|why| bad(why.clone()))?;
            by_kexec_load(load, image, initrd.as_ref(), &line, after_file_load)
        },
    )
}

/// Whether kexec_file_load failed before.
type AfterFileLoad = bool;

/// Does something by the system call that was asked for, and says why it was not the first of two.
fn by(
    syscall: Syscall,
    by_file_load: &dyn Fn() -> Result<(), NotLoaded>,
    by_load: &dyn Fn(AfterFileLoad) -> Result<(), String>,
) -> Result<(), String> {
    if syscall == Syscall::Load {
        return by_load(false);
    }
    let NotLoaded { why, falls_back } = match by_file_load() {
        Ok(()) => return Ok(()),
        Err(not) => not,
    };
    if syscall == Syscall::File || !falls_back {
        return Err(why);
    }
    complain(&format!("warning: {why}. Trying kexec_load"));
    by_load(true).map_err(|then| format!("{then}. Before that, {why}"))
}

/// Plans a load by kexec_load and carries it out.
fn by_kexec_load(
    load: &Load,
    image: &BzImage<'_>,
    initrd: Option<&WholeFile>,
    line: &[u8],
    after_file_load: AfterFileLoad,
) -> Result<(), String> {
    let facts = Facts::gather(load)?;
    facts.warnings.iter().for_each(|warning| complain(&format!("warning: {warning}")));
    let rules = facts.load(load);
    let plan = plan::make(&Inputs {
        image,
        initrd: initrd.map(WholeFile::bytes),
        command_line: line,
        options: load,
        release: &facts.release,
        memory: &facts.memory,
        total_ram: files::total_ram()?,
        load: rules,
        direct_map: &facts.direct_map,
        cpu_notes: &facts.cpu_notes,
        vmcoreinfo: facts.vmcoreinfo,
        boot_params: &facts.boot_params,
        framebuffers: &facts.framebuffers,
        rsdp: facts.firmware.rsdp,
        efi: facts.firmware.efi.as_ref(),
        seed: firmware::seed(),
        hotplug_size: facts.hotplug_size,
    })
    .map_err(|refusal| refusal.to_string())?;
    plan.warnings.iter().for_each(|warning| complain(&format!("warning: {warning}")));
    let buffers: Vec<RawSegment> =
        plan.segments.iter().map(|segment| raw(segment, image, initrd.map(WholeFile::bytes))).collect();
    if load.debug {
        describe(&facts, &plan, &buffers).iter().for_each(|line| complain(line));
    }
    if load.dry_run {
        return print(&(describe(&facts, &plan, &buffers).join("\n") + "\n"));
    }
    let encoded = kexec::encode(&buffers, Arch::OWN, rules.reach).map_err(unreachable_address)?;
    let flags = kexec::flags(facts.running) | if load.hotplug { kexec::UPDATE_ELFCOREHDR } else { 0 };
    make(facts.running, after_file_load, &|| call::kexec_load(plan.jump.0, buffers.len(), &encoded, flags))?;
    say_loaded(Call::Load, load.debug);
    Ok(())
}

/// Says by which call the image was loaded, where details are wanted: what is loaded does not show it.
fn say_loaded(call: Call, debug: bool) {
    if debug {
        complain(&format!("loaded by {call}"));
    }
}

/// Makes a call of kexec_load.
fn make(
    running: Arch,
    after_file_load: AfterFileLoad,
    it: &dyn Fn() -> Result<(), Errno>,
) -> Result<(), String> {
    let way_out = WayOut::beside(Call::Load, running, after_file_load);
    call::make(Call::Load, way_out, it).map_err(|failed| failed.why)
}

/// What a plan would never hold if it kept the rule.
fn unreachable_address(address: PhysAddr) -> String {
    format!("segment address {address} does not fit a 32-bit kexec_load call")
}

/// The bytes of a segment, as the call takes them.
fn raw(segment: &Segment, image: &BzImage<'_>, initrd: Option<&[u8]>) -> RawSegment {
    let bytes = segment.content.bytes(image, initrd);
    RawSegment { buffer: bytes.as_ptr() as u64, buffer_size: bytes.len() as u64, memory: segment.memory }
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
    lines.extend(plan.saved.map(|span| format!("low memory {span} is saved in the backup")));
    lines.push(format!("firmware: {}", plan.firmware));
    let verification = &plan.verification;
    for check in verification.checks.iter().flatten() {
        lines.push(format!("digest: {} {}", check.segment, check.digest));
    }
    lines.extend(verification.serial.map(|serial| format!("serial port: {:#x}", serial.port)));
    // What lies behind these bytes in a segment is zero.
    lines.extend(plan.segments.iter().zip(buffers).filter_map(|(segment, buffer)| {
        let loaded = Span::sized(segment.memory.start(), buffer.buffer_size)?;
        Some(format!("loaded: {} {loaded}", segment.kind))
    }));
    lines.extend(plan.control.map(|span| format!("control pages of the running kernel: {span}")));
    lines.push(format!("command line: {}", String::from_utf8_lossy(&plan.command_line)));
    lines
}
