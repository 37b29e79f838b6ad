//! What the running kernel says about itself, read from /proc and /sys.

use super::call;
use super::firmware::Firmware;
use super::{files, sys};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use kexec_load::addr::PhysAddr;
use kexec_load::cpu::Cpu;
use kexec_load::elfcorehdr::Note;
use kexec_load::iomem::MemoryMap;
use kexec_load::kcore::{self, DirectMap};
use kexec_load::native;
use kexec_load::options;
use kexec_load::refusal::Refusal;
use kexec_load::rule::{self, Arch, I386_LAST};
use kexec_load::sysfs;

/// All that a plan needs to know of the running kernel.
pub(crate) struct Facts {
    /// Its architecture.
    pub(crate) running: Arch,
    /// Its memory.
    pub(crate) memory: MemoryMap,
    /// Its direct map.
    pub(crate) direct_map: DirectMap,
    /// Whether the CPUs have long mode.
    pub(crate) long_mode: bool,
    /// Whether it uses five levels of page tables, or may.
    pub(crate) five_levels: bool,
    /// Last byte of its low memory, if it is an i386 kernel.
    pub(crate) lowmem_last: PhysAddr,
    /// Where its CPUs' notes lie.
    pub(crate) cpu_notes: Vec<Note>,
    /// Where VMCOREINFO lies.
    pub(crate) vmcoreinfo: Option<Note>,
    /// Its release (`uname -r`).
    pub(crate) release: Vec<u8>,
    /// Its boot_params; empty if it does not show them.
    pub(crate) boot_params: Vec<u8>,
    /// Its framebuffers (/proc/fb); empty if it shows none.
    pub(crate) framebuffers: Vec<u8>,
    /// What firmware told it.
    pub(crate) firmware: Firmware,
    /// Bytes that it asks for to keep a core header up to date, if it can.
    pub(crate) hotplug_size: Option<u64>,
    /// What was missing and can be done without.
    pub(crate) warnings: Vec<String>,
}

impl Facts {
    /// Reads what a load with these options needs.
    pub(crate) fn gather(load: &options::Load) -> Result<Self, String> {
        let running = running_arch()?;
        let mut warnings = Vec::new();
        let memory = memory()?;
        let cpu = cpu();
        let mut five_levels = None;
        let direct_map = match running {
            Arch::I386 => DirectMap::WITHOUT_KASLR,
            Arch::X86_64 => direct_map().unwrap_or_else(|why| {
                five_levels = Some(cpu.five_levels);
                warnings.push(format!("{why}: the virtual addresses in the dump are guessed"));
                DirectMap::WITHOUT_KASLR
            }),
        };
        let five_levels = running == Arch::X86_64 && five_levels.unwrap_or(direct_map.five_levels());
        let lowmem_last = match running {
            Arch::X86_64 => I386_LAST,
            Arch::I386 => lowmem_last().unwrap_or_else(|why| {
                warnings.push(format!("{why}: taking {I386_LAST} for the end of low memory"));
                I386_LAST
            }),
        };
        let cpu_notes = cpu_notes(&mut warnings)?;
        let vmcoreinfo = files::read("/sys/kernel/vmcoreinfo").ok().and_then(|text| sysfs::vmcoreinfo(&text));
        // Only what firmware told is taken from it, so that it may be missing.
        let boot_params = files::read("/sys/kernel/boot_params/data").unwrap_or_default();
        let firmware = Firmware::read(&boot_params, running == Arch::X86_64 && !load.noefi);
        let hotplug_size =
            if load.hotplug { files::read("/sys/kernel/crash_elfcorehdr_size").ok() } else { None };
        Ok(Self {
            running,
            memory,
            direct_map,
            long_mode: running == Arch::X86_64 || cpu.long_mode,
            five_levels,
            lowmem_last,
            cpu_notes,
            vmcoreinfo,
            release: uname(RELEASE)?,
            boot_params,
            framebuffers: files::read("/proc/fb").unwrap_or_default(),
            firmware,
            hotplug_size: hotplug_size.and_then(|text| sysfs::decimal(&text)),
            warnings,
        })
    }

    /// The rule's inputs for a load with these options.
    pub(crate) fn load(&self, load: &options::Load) -> rule::Load {
        // Without a region there is nothing to reach.
        let last = self.memory.crash_regions.last().map_or(PhysAddr(0), |region| region.last());
        let reach = native::reach(Arch::OWN, self.running, load.compat_call, last, super::native::possible);
        rule::Load {
            running: self.running,
            reach,
            lowmem_last: self.lowmem_last,
            long_mode: self.long_mode,
            five_levels: self.five_levels,
            entry_32bit: load.entry_32bit,
            ignore_address_limits: load.ignore_address_limits,
            mem_max: load.mem_max,
        }
    }
}

/// The running kernel's memory.
pub(crate) fn memory() -> Result<MemoryMap, String> {
    MemoryMap::parse(&files::read("/proc/iomem")?).map_err(|unusable| Refusal::Memory(unusable).to_string())
}

/// The running kernel's architecture, not this program's.
pub(crate) fn running_arch() -> Result<Arch, String> {
    // Without it uname may name another machine than the kernel's own, and a load for the wrong one dies after the panic.
    call::reset_personality().map_err(|errno| {
        format!("personality: errno {}: cannot learn the kernel's own machine", errno.into_raw())
    })?;
    let machine = uname(MACHINE)?;
    Arch::from_machine(&machine).ok_or_else(|| {
        format!("the running kernel is of machine {}, not x86", String::from_utf8_lossy(&machine))
    })
}

/// Fields of uname(2) (`sys::uname`).
const RELEASE: usize = 2;
const MACHINE: usize = 4;

fn uname(field: usize) -> Result<Vec<u8>, String> {
    sys::uname(field).map_err(|errno| files::failed("uname", errno))
}

/// Whether a crash image is loaded.
pub(crate) fn crash_loaded() -> Result<bool, String> {
    let path = "/sys/kernel/kexec_crash_loaded";
    match sysfs::decimal(&files::read(path)?) {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        _ => Err(format!("{path}: neither 0 nor 1")),
    }
}

/// What this CPU says of itself; the others are taken to be like it.
fn cpu() -> Cpu {
    #[cfg(target_arch = "x86")]
    use core::arch::x86::__cpuid_count;
    #[cfg(target_arch = "x86_64")]
    use core::arch::x86_64::__cpuid_count;
    Cpu::ask(|leaf| {
        // SAFETY: both targets are built for CPUs with SSE2, which all have the instruction.
        #[allow(unused_unsafe, reason = "newer compilers than 1.85 know as much")]
        let answer = unsafe { __cpuid_count(leaf, 0) };
        [answer.eax, answer.ebx, answer.ecx, answer.edx]
    })
}

/// Whether the running x86_64 kernel uses five levels of page tables, or may, if it does not tell.
pub(crate) fn five_levels() -> bool {
    direct_map().map_or_else(|_| cpu().five_levels, |map| map.five_levels())
}

fn direct_map() -> Result<DirectMap, String> {
    let path = "/proc/kcore";
    // Most kernels have all headers in the first page, and each read makes the kernel write all of them anew.
    let mut headers = files::read_up_to(path, 4096)?;
    let size = kcore::headers_size(&headers);
    if size > headers.len() {
        headers = files::read_up_to(path, size)?;
    }
    DirectMap::parse(&headers).ok_or_else(|| format!("{path}: not the headers of an x86_64 kernel"))
}

fn lowmem_last() -> Result<PhysAddr, String> {
    let path = "/proc/zoneinfo";
    sysfs::lowmem_last(&files::read(path)?).ok_or_else(|| format!("{path}: no zone of low memory"))
}

/// The notes of all CPUs that are there. One without a file would be missing in the dump, which is worth a word.
fn cpu_notes(warnings: &mut Vec<String>) -> Result<Vec<Note>, String> {
    /// Size of a note where the kernel does not tell: what it was before crash_notes_size came (kernel 3.8).
    const DEFAULT_SIZE: u64 = 1024;
    let present = "/sys/devices/system/cpu/present";
    let cpus =
        sysfs::cpu_list(&files::read(present)?).ok_or_else(|| format!("{present}: not a list of CPUs"))?;
    // The same for all CPUs (drivers/base/cpu.c, `crash_notes_size_show`).
    let mut size = None;
    let mut notes = Vec::new();
    for cpu in cpus {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/crash_notes");
        match files::read(&path).map(|text| sysfs::hexadecimal(&text)) {
            Ok(Some(address)) => {
                let size = *size.get_or_insert_with(|| {
                    let text = files::read(&format!("{path}_size"));
                    text.ok().and_then(|text| sysfs::decimal(&text)).unwrap_or(DEFAULT_SIZE)
                });
                notes.push(Note { address: PhysAddr(address), size });
            }
            Ok(None) => {
                warnings.push(format!("{path}: not an address: CPU {cpu} will be missing in the dump"))
            }
            Err(why) => warnings.push(format!("{why}: CPU {cpu} will be missing in the dump")),
        }
    }
    Ok(notes)
}
