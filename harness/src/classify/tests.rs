//! A cell's life in evidence, step by step, and what each turn of it must be called.

mod captured;
mod early;
mod panicked;
mod properties;
mod purgatory;

use super::*;
use crate::cell::{
    Cell, CellId, Firmware, FirstBoot, Kernel, Loader, LowMemory, Mib, Platform, Reservation, Tamper, Trigger,
};
use crate::cmdline::capture_cmdline;
use crate::evidence::{CpuState, PhaseWait, QmpEvent, RegisterSample, Timed};
use crate::outcome::{Expectation, ExpectedVmcore};
use guest_protocol::{
    Arch, Circumstances, ExitKind, FirstLog, Found, HexBytes, KernelFacts, LoadHeader, LoadReport, Mapping,
    Message, PhysRange, Place, Plant, Planted, ReadResult, Report, Side, Vmcore, VmcoreReport,
};
use std::num::NonZeroU32;

/// The crash region of 256M@1968M.
const REGION: PhysRange = PhysRange { start: 0x7b00_0000, end: 0x8aff_ffff };

/// The trigger's time in [`Life::triggered`].
const TRIGGERED_MS: u64 = 9000;

/// Console text of a first kernel's panic by NMI, up to where the capture kernel takes over.
const NMI_PANIC: &str = "\
[    9.001210] Uhhuh. NMI received for unknown reason 30 on CPU 0.\r
[    9.001822] Kernel panic - not syncing: NMI: Not continuing\r
[    9.002313] CPU: 0 PID: 1 Comm: init Not tainted 5.10.0-32-amd64 #1 Debian 5.10.223-1\r
";

const END_OF_PANIC: &str = "[    9.104105] ---[ end Kernel panic - not syncing: NMI: Not continuing ]---\r\n";

/// The line that was ordered into the first kernel's log.
const LOG_LINE: &str = "kdump-rig: the log of this cell has 0123456789abcdef";

/// How an i386 kernel faults in its own panic path.
const FAULT: &str = "\
[    9.020102] BUG: kernel NULL pointer dereference, address: 00000000\r
[    9.020611] #PF: supervisor write access in kernel mode\r
[    9.021004] #PF: error_code(0x0002) - not-present page\r
[    9.021208] EIP: machine_kexec+0x66/0x144\r
[    9.043015] Kernel panic - not syncing: Fatal exception in interrupt\r
[    9.044103] ---[ end Kernel panic - not syncing: Fatal exception in interrupt ]---\r
";

const DECOMPRESSOR_REFUSES: &str = "early console in extract_kernel\r\ninput_data: 0x7b6a4094\r\n\r\nDestination address too large\r\n\r\n -- System halted";

const CAPTURE_BOOTS: &str = "early console in extract_kernel\r\n\r\nDecompressing Linux... Parsing ELF... done.\r\nBooting the kernel.\r\n\
[    0.000000] Linux version 6.1.0-50-amd64 (debian-kernel@lists.debian.org)\r\n";

fn kernel(name: &str, arch: Arch) -> Kernel {
    Kernel { name: name.to_owned(), arch, pae: true, path: None }
}

fn cell(first: Arch, capture: Arch) -> Cell {
    Cell {
        id: CellId("cell".to_owned()),
        suite: "suite".to_owned(),
        first: kernel("first", first),
        userspace: Arch::I386,
        loader: Loader::InTree,
        loader_args: Vec::new(),
        circumstances: Circumstances::None,
        capture: kernel("capture", capture),
        reservation: "256M@1968M".parse().unwrap(),
        platform: Platform {
            name: "pc-4g".to_owned(),
            machine: "pc".to_owned(),
            memory: Mib(NonZeroU32::new(4096).unwrap()),
            cpu: "qemu64".to_owned(),
            cpus: NonZeroU32::MIN,
            boot: FirstBoot::Fastest,
            firmware: Firmware::Bios,
            five_levels: false,
            hardware: None,
        },
        trigger: Trigger::Nmi,
        reader: None,
        first_cmdline: Vec::new(),
        capture_cmdline: Vec::new(),
        tamper: Tamper::None,
        low_memory: LowMemory::Untouched,
        expected: Expectation::captured(ExpectedVmcore::Verified),
    }
}

fn amd64() -> Cell {
    cell(Arch::X86_64, Arch::X86_64)
}

fn first_facts(cell: &Cell) -> KernelFacts {
    KernelFacts {
        release: "5.10.0-32".to_owned(),
        version: "#1 SMP Debian 5.10.223-1 (2024-08-10)".to_owned(),
        machine: machine(cell.first.arch).to_owned(),
        userspace: cell.userspace,
        cmdline: "console=ttyS0 kdump_rig=first".to_owned(),
        cpus: cell.platform.cpus.get(),
        crash_regions: vec![REGION],
        system_ram: vec![PhysRange { start: 0x10_0000, end: REGION.end }],
        five_levels: None,
        cpu: None,
        firmware_ram: None,
        kernel_code: Some(PhysRange { start: 0x100_0000, end: 0x1e0_2000 }),
        crash_loaded: Some(false),
    }
}

fn capture_facts(cell: &Cell) -> KernelFacts {
    KernelFacts {
        release: "6.1.0-50".to_owned(),
        machine: machine(cell.capture.arch).to_owned(),
        cmdline: format!("elfcorehdr=0x8aff0000 {}", capture_cmdline(cell)),
        cpus: 1,
        crash_regions: Vec::new(),
        // All of the region but the core header.
        system_ram: vec![
            PhysRange { start: 0x1000, end: 0x9_efff },
            PhysRange { start: REGION.start, end: 0x8afe_ffff },
        ],
        kernel_code: Some(PhysRange { start: 0x7c00_0000, end: 0x7ce0_2000 }),
        crash_loaded: None,
        ..first_facts(cell)
    }
}

const fn machine(arch: Arch) -> &'static str {
    match arch {
        Arch::I386 => "i686",
        Arch::X86_64 => "x86_64",
    }
}

fn loaded() -> LoadReport {
    LoadReport {
        loaded_before: None,
        exit: ExitKind::Exited { status: 0 },
        stdout: String::new(),
        stderr: String::new(),
        crash_loaded: true,
        milliseconds: 210,
        time: None,
    }
}

fn plants() -> Vec<Plant> {
    (0..2)
        .map(|id| Plant { id, bytes: HexBytes(vec![0xa0 + id as u8; 64]), place: Place::Anywhere })
        .collect()
}

fn planted() -> Vec<Planted> {
    vec![Planted { id: 0, address: 0x1234_5000 }, Planted { id: 1, address: 0x1_2345_6000 }]
}

fn vmcore(cell: &Cell) -> Vmcore {
    Vmcore {
        class_bits: if cell.first.arch == Arch::X86_64 { 64 } else { 32 },
        machine: if cell.first.arch == Arch::X86_64 { 62 } else { 3 },
        size: 4 << 30,
        prstatus: cell.platform.cpus.get(),
        osrelease: Some("5.10.0-32".to_owned()),
        crashtime: Some(1_700_000_000),
        loads: vec![LoadHeader {
            physical: 0x10_0000,
            virtual_: if cell.first.arch == Arch::X86_64 { 0xffff_8880_0010_0000 } else { 0xc010_0000 },
            size: REGION.start - 0x10_0000,
            offset: 0x2000,
        }],
        reads: planted()
            .iter()
            .zip(plants())
            .map(|(place, plant)| ReadResult { address: place.address, found: Found::Bytes(plant.bytes) })
            .collect(),
        mappings: Ok(vec![Mapping { first: Some(0x10_0000), last: Some(REGION.start - 1) }]),
        uts_release: Ok("5.10.0-32".to_owned()),
        log: Ok(FirstLog { records: 700, tail: first_log() }),
    }
}

/// The end of the first kernel's log.
fn first_log() -> String {
    format!("random: crng init done\n{LOG_LINE}\n{}\nCPU: 0 PID: 1 Comm: init", Trigger::Nmi.panic_text())
}

/// Evidence in the making: each step adds what a real run would have seen.
#[derive(Clone)]
struct Life {
    cell: Cell,
    evidence: Evidence,
}

impl Life {
    fn of(cell: Cell) -> Self {
        let evidence = Evidence { plants: plants(), log_line: LOG_LINE.to_owned(), ..Evidence::default() };
        Self { cell, evidence }
            .console(100, "[    0.000000] Linux version 5.10.0-32 (debian-kernel@lists.debian.org)\r\n")
    }

    fn says(mut self, ms: u64, kernel: Side, message: Message) -> Self {
        let seq = self.evidence.reports.iter().filter(|report| report.what.kernel == kernel).count() as u32;
        self.evidence.reports.push(Timed { ms, what: Report { seq, kernel, message } });
        self
    }

    fn ready(self) -> Self {
        let facts = first_facts(&self.cell);
        self.ready_with(facts)
    }

    fn ready_with(self, facts: KernelFacts) -> Self {
        self.says(8000, Side::First, Message::Ready(facts))
    }

    fn loads(self, report: LoadReport) -> Self {
        self.says(8500, Side::First, Message::Loaded(report))
    }

    fn armed(self) -> Self {
        self.ready().loads(loaded()).says(8600, Side::First, Message::Armed { planted: planted() })
    }

    /// Everything up to the trigger, for a load that succeeded.
    fn triggered(self) -> Self {
        let mut life = self.armed();
        life.evidence.triggered_ms = Some(TRIGGERED_MS);
        life.evidence.console_at_trigger = Some(life.evidence.console.len());
        life
    }

    fn console(mut self, ms: u64, text: &str) -> Self {
        self.evidence.console.extend_from_slice(text.as_bytes());
        self.evidence.last_console_ms = Some(ms);
        self
    }

    fn sample(mut self, ms: u64, cpus: &[CpuState]) -> Self {
        self.evidence.samples.push(Timed { ms, what: RegisterSample { cpus: cpus.to_vec() } });
        self
    }

    fn event(mut self, ms: u64, name: &str, reason: &str) -> Self {
        let data = serde_json::json!({ "guest": true, "reason": reason });
        self.evidence.events.push(Timed { ms, what: QmpEvent { name: name.to_owned(), data } });
        self
    }

    fn up(self) -> Self {
        let facts = capture_facts(&self.cell);
        self.up_with(facts)
    }

    fn up_with(self, facts: KernelFacts) -> Self {
        self.says(15_000, Side::Capture, Message::Up(facts))
    }

    fn reads(self, report: VmcoreReport) -> Self {
        self.says(15_500, Side::Capture, Message::Vmcore(report))
    }

    fn done(self) -> Self {
        self.says(15_600, Side::Capture, Message::Done)
    }

    fn ends(mut self, end: GuestEnd) -> Self {
        self.evidence.end = Some(end);
        self
    }

    fn deadline(self, phase: Phase) -> Self {
        self.ends(GuestEnd::Deadline { phase, seconds: 45 })
    }

    fn outcome(&self) -> Outcome {
        classify(&self.cell, &self.evidence)
    }

    fn is_concluded(&self) -> bool {
        conclude(&self.cell, &self.evidence).is_some()
    }
}

/// A CPU halted with interrupts off.
const fn dead(ip: u64) -> CpuState {
    CpuState { ip, flags: 0x46, halted: true }
}

/// A CPU that waits for its next interrupt.
const fn idle(ip: u64) -> CpuState {
    CpuState { ip, flags: 0x246, halted: true }
}

/// A CPU that runs, as in the loop at the end of a panic.
const fn running(ip: u64) -> CpuState {
    CpuState { ip, flags: 0x206, halted: false }
}

fn rig_error(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::RigError { what } => what,
        other => panic!("not a rig error: {other:?}"),
    }
}
