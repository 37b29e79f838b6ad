//! The conversation with the rig: which message follows on which order, in either kernel (the contract is in
//! `guest_protocol`'s first lines).

use crate::circumstances::{self, Arrangement, Bound, Setting};
use crate::cmdline;
use crate::failure::Failure;
use crate::iomem;
use crate::lacks::{self, Lack};
use crate::line::{self, Line};
use crate::read_at::ReadAt;
use crate::vmcore;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use guest_protocol::{
    ExitKind, KernelFacts, LoadOrder, LoadReport, MAX_LOG_LINE, MAX_NONCE_BYTES, Message, Order, Plant,
    Planted, Read, ReaderOrder, ReaderReport, RunTime, Side, Told, VmcoreReport,
};

/// A program that ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// How it ended.
    pub exit: ExitKind,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// Its time.
    pub time: RunTime,
}

impl Run {
    const fn milliseconds(&self) -> u64 {
        self.time.wall_ns / 1_000_000
    }
}

/// What the conversation needs of the guest. A channel that fails is the end of every conversation, so neither
/// [`Guest::report`] nor [`Guest::next_line`] returns then.
pub trait Guest {
    /// A planted page.
    type Page;
    /// An open /proc/vmcore.
    type Core: ReadAt;

    /// Sends a message, numbered.
    fn report(&mut self, message: Message);
    /// Waits for the next line of the rig.
    fn next_line(&mut self) -> Vec<u8>;
    /// What the running kernel says about itself.
    fn facts(&mut self) -> Result<KernelFacts, Failure>;
    /// Plants a nonce in a page of its own, which stays.
    fn plant(&mut self, plant: &Plant) -> Result<Self::Page, Failure>;
    /// Where a planted page lies now.
    fn locate(&mut self, page: &Self::Page) -> Result<Planted, Failure>;
    /// Writes a line into the kernel's log.
    fn log(&mut self, line: &str) -> Result<(), Failure>;
    /// Runs a program to its end, within a bound.
    fn run(&mut self, argv: &[String], timeout_seconds: u32, bound: Option<Bound>) -> Result<Run, Failure>;
    /// Gives the kernel a setting.
    fn set(&mut self, setting: &Setting) -> Result<(), Failure>;
    /// The text of /proc/iomem.
    fn memory_map(&mut self) -> Result<String, Failure>;
    /// Lets every program read this in place of /proc/iomem.
    fn cover_memory_map(&mut self, text: &str) -> Result<(), Failure>;
    /// /sys/kernel/kexec_crash_loaded; `None` where the kernel has no such file.
    fn crash_loaded(&mut self) -> Result<Option<bool>, Failure>;
    /// Panics the kernel from this CPU. Returns only where that failed.
    fn panic(&mut self, cpu: u32) -> Failure;
    /// /proc/sys/kernel/unknown_nmi_panic; `None` where the kernel has no such file.
    fn unknown_nmi_panic(&mut self) -> Result<Option<bool>, Failure>;
    /// Whether there is such a file.
    fn has_file(&mut self, path: &str) -> bool;
    /// Whether the kernel has kexec_load(2). Nothing is loaded or unloaded by the question.
    fn has_kexec_load(&mut self) -> bool;
    /// The environment that the kernel gave to PID 1: words with a NUL behind each.
    fn environment(&mut self) -> Result<Vec<u8>, Failure>;
    /// Whether /proc/kallsyms has a symbol of the kernel itself; none where it shows no symbols.
    fn has_symbol(&mut self, symbol: &str) -> Result<Option<bool>, Failure>;
    /// What this kernel was told of its machine.
    fn told(&mut self) -> Result<Told, Failure>;
    /// Opens /proc/vmcore; with its size in bytes. `None` where there is none.
    fn vmcore(&mut self) -> Result<Option<(Self::Core, u64)>, Failure>;
}

/// Talks to the rig until the guest is to be powered off.
pub fn converse(guest: &mut impl Guest, side: Side) {
    match side {
        Side::First => first_kernel(guest),
        Side::Capture => capture_kernel(guest),
    }
}

fn first_kernel(guest: &mut impl Guest) {
    // A second load would start from a guest in which something is planted and perhaps loaded: it is refused.
    let mut fresh = greet(guest, Message::Ready, |guest, facts| {
        lacks::at_ready(facts.crash_loaded, guest.has_file(lacks::PAGEMAP))
    });
    let mut armed = false;
    loop {
        match next_order(guest) {
            Order::Load(order) if fresh => {
                fresh = false;
                attempt(guest, |guest| {
                    armed = load_and_arm(guest, &order)?;
                    Ok(())
                });
            }
            Order::Panic { cpu } if armed => {
                let failure = guest.panic(cpu);
                trouble(guest, &failure.to_string());
            }
            Order::Panic { .. } => trouble(guest, "ordered to panic a kernel that is not armed"),
            Order::Load(_) => trouble(guest, "this guest has had its load: a new cell needs a new boot"),
            Order::Read { .. } => trouble(guest, "ordered to read a vmcore in the first kernel"),
            Order::PowerOff => return,
        }
    }
}

fn capture_kernel(guest: &mut impl Guest) {
    greet(guest, Message::Up, |_, _| None);
    loop {
        match next_order(guest) {
            Order::Read { reads, reader } => {
                if attempt(guest, |guest| read_vmcore(guest, &reads, reader.as_ref())) {
                    return;
                }
            }
            Order::Load(_) => trouble(guest, "ordered to load in the capture kernel"),
            Order::Panic { .. } => trouble(guest, "ordered to panic the capture kernel"),
            Order::PowerOff => return,
        }
    }
}

/// Says which kernel this is, or what it lacks for the rig, and whether it can be worked with.
fn greet<G: Guest>(
    guest: &mut G,
    greeting: fn(KernelFacts) -> Message,
    lacks: impl FnOnce(&mut G, &KernelFacts) -> Option<Lack>,
) -> bool {
    let mut whole = true;
    let said = attempt(guest, |guest| {
        let facts = guest.facts()?;
        match lacks(guest, &facts) {
            None => guest.report(greeting(facts)),
            Some(lack) => {
                whole = false;
                say_lack(guest, lack);
            }
        }
        Ok(())
    });
    said && whole
}

fn say_lack(guest: &mut impl Guest, lack: Lack) {
    guest.report(Message::Lacks { option: lack.option.to_string(), seen: lack.seen });
}

fn next_order(guest: &mut impl Guest) -> Order {
    loop {
        let line = guest.next_line();
        match line::parse(&line) {
            Line::Order(order) => return order,
            Line::NotAnOrder(why) => trouble(guest, &why),
            Line::Noise => {}
        }
    }
}

/// Whether the guest is armed.
fn load_and_arm(guest: &mut impl Guest, order: &LoadOrder) -> Result<bool, Failure> {
    check_load(order)?;
    if lacks::loads_by_kexec_load(&order.argv) {
        let (has_call, has_kcore) = (guest.has_kexec_load(), guest.has_file(lacks::KCORE));
        if let Some(lack) = lacks::at_load(has_call, has_kcore) {
            say_lack(guest, lack);
            return Ok(false);
        }
    }
    let cmdline = guest.facts()?.cmdline;
    let pages = order.plants.iter().map(|plant| guest.plant(plant)).collect::<Result<Vec<_>, _>>()?;
    let (run, loaded_before) = load(guest, order)?;
    // A kernel without that file has no kexec either: nothing is loaded.
    let crash_loaded = guest.crash_loaded()?.unwrap_or(false);
    let milliseconds = run.milliseconds();
    guest.report(Message::Loaded(LoadReport {
        exit: run.exit,
        stdout: run.stdout,
        stderr: run.stderr,
        crash_loaded,
        loaded_before,
        milliseconds,
        time: Some(run.time),
    }));
    if !crash_loaded && !order.arm_unloaded {
        return Ok(false);
    }
    if order.sysrq {
        // Every function: what distributions allow has the dump of a crash not among it.
        guest.set(&Setting { mount: None, path: "/proc/sys/kernel/sysrq", value: "1" })?;
    }
    if cmdline::wants_unknown_nmi_panic(&cmdline) && guest.unknown_nmi_panic()? == Some(false) {
        return Err(Failure::new(
            "the command line has unknown_nmi_panic, yet /proc/sys/kernel/unknown_nmi_panic is 0: an NMI would not panic",
        ));
    }
    guest.log(&order.log_line)?;
    // The kernel may have moved a page since it was planted: the addresses of now are what counts.
    let planted = pages.iter().map(|page| guest.locate(page)).collect::<Result<Vec<_>, _>>()?;
    guest.report(Message::Armed { planted });
    Ok(true)
}

/// Runs the loader in the circumstances that are ordered. Where they ask for two runs it says of the second whether the first one left
/// an image loaded.
fn load<G: Guest>(guest: &mut G, order: &LoadOrder) -> Result<(Run, Option<bool>), Failure> {
    let run = |guest: &mut G, bound| guest.run(&order.argv, order.timeout_seconds, bound);
    match circumstances::arrangement(order.circumstances) {
        Arrangement::Nothing => Ok((run(guest, None)?, None)),
        Arrangement::Setting(setting) => {
            guest.set(&setting)?;
            Ok((run(guest, None)?, None))
        }
        Arrangement::Bound(bound) => Ok((run(guest, Some(bound))?, None)),
        Arrangement::Reload { moved } => {
            let first = run(guest, None)?;
            // One that loads nothing has said already what there is to be judged.
            if guest.crash_loaded()? != Some(true) {
                return Ok((first, Some(false)));
            }
            if moved {
                let map = guest.memory_map()?;
                let moved = iomem::with_moved(&map, iomem::CRASH_KERNEL, circumstances::MOVED_BY)
                    .ok_or_else(|| Failure::new("/proc/iomem has no crash region that could be moved"))?;
                guest.cover_memory_map(&moved)?;
            }
            Ok((run(guest, None)?, Some(true)))
        }
    }
}

fn check_load(order: &LoadOrder) -> Result<(), Failure> {
    if order.argv.is_empty() {
        return Err(Failure::new("the order to load names no program"));
    }
    let line = order.log_line.as_bytes();
    if !(1..=MAX_LOG_LINE).contains(&line.len()) || !line.iter().all(|&byte| (b' '..=b'~').contains(&byte)) {
        return Err(Failure::new(format!(
            "the line for the log must be 1 to {MAX_LOG_LINE} printable characters of ASCII: {:?}",
            order.log_line
        )));
    }
    match order.plants.iter().find(|plant| !(1..=MAX_NONCE_BYTES).contains(&plant.bytes.0.len())) {
        Some(plant) => Err(Failure::new(format!(
            "nonce {} has {} bytes, and must have 1 to {MAX_NONCE_BYTES}",
            plant.id,
            plant.bytes.0.len()
        ))),
        None => Ok(()),
    }
}

fn read_vmcore(guest: &mut impl Guest, reads: &[Read], reader: Option<&ReaderOrder>) -> Result<(), Failure> {
    if let Some(read) = reads.iter().find(|read| read.length as usize > MAX_NONCE_BYTES) {
        return Err(Failure::new(format!(
            "ordered to read {} bytes at {:#x}; at most {MAX_NONCE_BYTES} can be reported",
            read.length, read.address
        )));
    }
    if reader.is_some_and(|reader| reader.argv.is_empty()) {
        return Err(Failure::new("the order to read names a reader without a program"));
    }
    let report = match guest.vmcore()? {
        None => {
            let environment = guest.environment()?;
            let has_symbol = guest.has_symbol(lacks::VMCORE_SYMBOL)?;
            if let Some(lack) = lacks::without_vmcore(&environment, has_symbol) {
                say_lack(guest, lack);
                return Ok(());
            }
            VmcoreReport::Absent
        }
        Some((mut core, size)) => vmcore::inspect(&mut core, size, reads),
    };
    let reader = reader.filter(|_| report != VmcoreReport::Absent);
    guest.report(Message::Vmcore(report));
    let told = guest.told()?;
    guest.report(Message::Told(told));
    if let Some(reader) = reader {
        run_reader(guest, reader)?;
    }
    guest.report(Message::Done);
    Ok(())
}

fn run_reader(guest: &mut impl Guest, reader: &ReaderOrder) -> Result<(), Failure> {
    let run = guest.run(&reader.argv, reader.timeout_seconds, None)?;
    let milliseconds = run.milliseconds();
    guest.report(Message::Reader(ReaderReport {
        exit: run.exit,
        stdout: run.stdout,
        stderr: run.stderr,
        milliseconds,
    }));
    Ok(())
}

/// Does something, reports its failure, and says whether it succeeded.
fn attempt<G: Guest>(guest: &mut G, action: impl FnOnce(&mut G) -> Result<(), Failure>) -> bool {
    match action(guest) {
        Ok(()) => true,
        Err(failure) => {
            trouble(guest, &failure.to_string());
            false
        }
    }
}

fn trouble(guest: &mut impl Guest, what: &str) {
    guest.report(Message::Trouble { what: what.to_string() });
}

#[cfg(test)]
mod tests;
