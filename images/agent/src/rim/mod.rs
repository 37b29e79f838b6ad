//! The system calls of the agent, behind the trait that the conversation asks for. No decisions are taken here that could
//! be taken in the library.

pub(crate) mod bound;
pub(crate) mod channel;
pub(crate) mod files;
pub(crate) mod memory;
pub(crate) mod panic;
pub(crate) mod power;
pub(crate) mod process;
pub(crate) mod setup;
pub(crate) mod told;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use channel::Channel;
use core::ffi::CStr;
use guest_agent::circumstances::{Bound, Setting};
use guest_agent::conversation::{Guest, Run};
use guest_agent::failure::{Errno, Failure};
use guest_agent::{cpuinfo, cpulist, iomem, lacks, memmap};
use guest_protocol::{Arch, KernelFacts, Message, Plant, Planted, Told};

/// The agent's own architecture.
#[cfg(target_arch = "x86")]
const USERSPACE: Arch = Arch::I386;
/// The agent's own architecture.
#[cfg(target_arch = "x86_64")]
const USERSPACE: Arch = Arch::X86_64;

/// The kernel's map of physical addresses.
const MEMORY_MAP: &str = "/proc/iomem";

/// The guest, as seen by PID 1.
pub(crate) struct Rim {
    channel: Channel,
}

impl Rim {
    pub(crate) const fn new(channel: Channel) -> Self {
        Self { channel }
    }
}

impl Guest for Rim {
    type Page = memory::Page;
    type Core = files::Offsets;

    fn report(&mut self, message: Message) {
        self.channel.report(message);
    }

    fn next_line(&mut self) -> Vec<u8> {
        self.channel.next_line()
    }

    fn facts(&mut self) -> Result<KernelFacts, Failure> {
        let kernel = rustix::system::uname();
        let text = |field: &CStr| String::from_utf8_lossy(field.to_bytes()).into_owned();
        let map = self.memory_map()?;
        let cpus = files::read_text("/proc/cpuinfo")?;
        let online = files::read_text("/sys/devices/system/cpu/online")?;
        Ok(KernelFacts {
            release: text(kernel.release()),
            version: text(kernel.version()),
            machine: text(kernel.machine()),
            userspace: USERSPACE,
            cmdline: files::read_text("/proc/cmdline")?.trim_end_matches('\n').to_owned(),
            cpus: cpulist::count(&online).ok_or_else(|| {
                Failure::new(alloc::format!("/sys/devices/system/cpu/online is no list of CPUs: {online:?}"))
            })?,
            crash_regions: iomem::ranges(&map, iomem::CRASH_KERNEL),
            system_ram: iomem::ranges(&map, iomem::SYSTEM_RAM),
            five_levels: cpuinfo::has_flag(&cpus, "la57"),
            cpu: cpuinfo::identity(&cpus),
            firmware_ram: firmware_ram()?,
            kernel_code: iomem::ranges(&map, iomem::KERNEL_CODE).first().copied(),
            crash_loaded: self.crash_loaded()?,
        })
    }

    fn plant(&mut self, plant: &Plant) -> Result<memory::Page, Failure> {
        memory::plant(plant)
    }

    fn locate(&mut self, page: &memory::Page) -> Result<Planted, Failure> {
        memory::locate(page)
    }

    fn log(&mut self, line: &str) -> Result<(), Failure> {
        files::write_once("/dev/kmsg", line.as_bytes())
    }

    fn run(&mut self, argv: &[String], timeout_seconds: u32, bound: Option<Bound>) -> Result<Run, Failure> {
        process::run(argv, timeout_seconds, bound)
    }

    fn set(&mut self, setting: &Setting) -> Result<(), Failure> {
        if let Some((kind, target)) = setting.mount {
            setup::mount_at(kind, target)?;
        }
        files::write_once(setting.path, setting.value.as_bytes())
    }

    fn memory_map(&mut self) -> Result<String, Failure> {
        files::read_text(MEMORY_MAP)
    }

    fn cover_memory_map(&mut self, text: &str) -> Result<(), Failure> {
        files::cover(MEMORY_MAP, "/tmp/iomem", text.as_bytes())
    }

    fn crash_loaded(&mut self) -> Result<Option<bool>, Failure> {
        files::read_switch("/sys/kernel/kexec_crash_loaded")
    }

    fn panic(&mut self, cpu: u32) -> Failure {
        match bound::to_cpu(cpu).and_then(|()| files::write_once("/proc/sysrq-trigger", b"c")) {
            Ok(()) => Failure::new("/proc/sysrq-trigger took a c, and the kernel goes on"),
            Err(failure) => failure,
        }
    }

    fn unknown_nmi_panic(&mut self) -> Result<Option<bool>, Failure> {
        files::read_switch("/proc/sys/kernel/unknown_nmi_panic")
    }

    fn has_file(&mut self, path: &str) -> bool {
        files::is_there(path)
    }

    fn has_kexec_load(&mut self) -> bool {
        bound::has_kexec_load()
    }

    fn environment(&mut self) -> Result<Vec<u8>, Failure> {
        files::read_bytes("/proc/self/environ")
    }

    fn has_symbol(&mut self, symbol: &str) -> Result<Option<bool>, Failure> {
        files::any_line("/proc/kallsyms", |line| lacks::is_symbol(line, symbol))
    }

    fn told(&mut self) -> Result<Told, Failure> {
        told::told()
    }

    fn vmcore(&mut self) -> Result<Option<(files::Offsets, u64)>, Failure> {
        files::Offsets::open("/proc/vmcore")
    }
}

/// What the firmware's map has of RAM in all; none where the kernel shows no such map.
fn firmware_ram() -> Result<Option<u64>, Failure> {
    const MAP: &str = "/sys/firmware/memmap";
    let Some(entries) = files::names(MAP)?.filter(|entries| !entries.is_empty()) else { return Ok(None) };
    let mut total = 0_u64;
    for entry in entries {
        let read = |name| files::read_text(&alloc::format!("{MAP}/{entry}/{name}"));
        let (start, end, kind) = (read("start")?, read("end")?, read("type")?);
        let size = memmap::ram_bytes(&start, &end, &kind).ok_or_else(|| {
            Failure::new(alloc::format!("{MAP}/{entry} is no range: {start:?} to {end:?}, {kind:?}"))
        })?;
        total = total.saturating_add(size);
    }
    Ok(Some(total))
}

/// The library's form of an error number.
const fn errno(errno: rustix::io::Errno) -> Errno {
    Errno(errno.raw_os_error())
}
