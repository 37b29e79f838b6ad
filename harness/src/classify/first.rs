//! The first kernel up to *ready*: did it come up, is it the one that the cell asks for, and did it reserve the region.

use super::story::Story;
use super::{Finding, console, last_phase, panicked, with_foreign_lines};
use crate::cell::{Cell, Firmware, Platform, Reservation};
use crate::evidence::{Evidence, GuestEnd};
use crate::outcome::Outcome;
use guest_protocol::{Arch, KernelFacts, PhysRange};

/// From here on addresses need more than 32 bits.
const FOUR_GIB: u64 = 1 << 32;

/// The first kernel's agent has not reported *ready*.
pub(super) fn before_ready(story: &Story<'_>, evidence: &Evidence) -> Finding {
    if let Some((_, what)) = story.trouble {
        return Finding::Final(Outcome::RigError {
            what: with_foreign_lines(format!("guest agent: {what}"), evidence),
        });
    }
    let no_first_kernel = |why: String| Outcome::NoFirstKernel { at: last_phase(evidence), why };
    let text = console::Text::new(&evidence.console);
    if let Some(panic) = text.panic_line() {
        let outcome = no_first_kernel(panic.to_owned());
        return if text.end_of_panic().is_some() {
            Finding::Final(outcome)
        } else {
            Finding::Likely(outcome)
        };
    }
    if let Some(reason) = panicked::reset_reason(evidence) {
        return Finding::Final(no_first_kernel(format!("the machine was reset: {reason}")));
    }
    match &evidence.end {
        Some(GuestEnd::Deadline { seconds, .. }) => {
            let seen = match text.last_line() {
                Some(line) => format!("the last line on its console: {line}"),
                None => "its console is empty".to_owned(),
            };
            Finding::Likely(no_first_kernel(with_foreign_lines(
                format!("not ready after {seconds} s; {seen}"),
                evidence,
            )))
        }
        Some(GuestEnd::ByItself) => {
            Finding::Likely(no_first_kernel("the machine was switched off".to_owned()))
        }
        Some(GuestEnd::Concluded | GuestEnd::Trouble { .. } | GuestEnd::Interrupted) | None => Finding::Open,
    }
}

/// Whether the kernel that is ready is the one that the cell asks for, with its region. None: all is well.
pub(super) fn at_ready(cell: &Cell, ready: &KernelFacts) -> Option<Outcome> {
    let rig_error = |what: String| Some(Outcome::RigError { what });
    if machine_arch(&ready.machine) != Some(cell.first.arch) {
        return rig_error(format!(
            "the first kernel is to be {}, and says that its machine is {:?}",
            cell.first.arch, ready.machine
        ));
    }
    if ready.userspace != cell.userspace {
        return rig_error(format!(
            "the guest's userspace is to be {}, and its agent is {}",
            cell.userspace, ready.userspace
        ));
    }
    if ready.cpus != cell.platform.cpus.get() {
        return rig_error(format!(
            "the guest is to have {} CPUs, and {} are online",
            cell.platform.cpus, ready.cpus
        ));
    }
    if cell.platform.five_levels && ready.five_levels != Some(true) {
        return rig_error(format!(
            "{} asks for five levels of page tables, and the first kernel's /proc/cpuinfo has no la57: QEMU's -cpu {} or the kernel \
             does without them",
            cell.platform.name, cell.platform.cpu
        ));
    }
    if let Some(why) = other_hardware(cell, ready) {
        return rig_error(why);
    }
    if ready.crash_loaded == Some(true) {
        return rig_error("a crash image was loaded before the loader ran".to_owned());
    }
    unreserved(cell, ready).map(|why| Outcome::Unreserved { why })
}

/// What a BIOS keeps of RAM at the most: the hole from 640 KiB to 1 MiB, and its tables at the end of low RAM.
const BIOS_KEEPS: u64 = 2 << 20;
/// What a UEFI firmware keeps: its runtime services and tables. What it used to come up is RAM again in the map that it hands over.
const UEFI_KEEPS: u64 = 64 << 20;

/// How the guest differs from the hardware that its platform stands for; none where it does not, or where it stands for none.
fn other_hardware(cell: &Cell, ready: &KernelFacts) -> Option<String> {
    let Platform { name, memory, cpu, firmware, hardware, .. } = &cell.platform;
    let hardware = hardware.as_ref()?;
    let asked = &hardware.identity;
    match &ready.cpu {
        Some(found) if found == asked => {}
        Some(found) => {
            return Some(format!(
                "{name} stands for {} with {asked}, and the first kernel's /proc/cpuinfo says {found}: look at QEMU's -cpu {cpu}",
                hardware.name
            ));
        }
        None => {
            return Some(format!(
                "{name} stands for {} with {asked}, and the first kernel's /proc/cpuinfo does not say what its CPU is",
                hardware.name
            ));
        }
    }
    let Some(found) = ready.firmware_ram else {
        return Some(format!(
            "{name} is to have {memory} of RAM, and the first kernel shows no map of its firmware's: it needs CONFIG_FIRMWARE_MEMMAP"
        ));
    };
    let keeps = match firmware {
        Firmware::Bios => BIOS_KEEPS,
        Firmware::Uefi => UEFI_KEEPS,
    };
    let asked = memory.bytes();
    let fits = found <= asked && found >= asked.saturating_sub(keeps);
    (!fits).then(|| {
        format!(
            "{name} is to have {memory} of RAM, of which its firmware may keep {} MiB, and the firmware's map has {} MiB",
            keeps >> 20,
            found >> 20
        )
    })
}

/// Why the regions that the kernel reserved are not the one asked for.
fn unreserved(cell: &Cell, ready: &KernelFacts) -> Option<String> {
    let regions = &ready.crash_regions;
    let asked = cell.reservation;
    if regions.is_empty() {
        return Some(format!("crashkernel={asked} reserved nothing"));
    }
    let found = || regions.iter().map(PhysRange::to_string).collect::<Vec<_>>().join(", ");
    let of_size =
        |size: u64| move |region: &&PhysRange| region.end.wrapping_sub(region.start).wrapping_add(1) == size;
    match asked {
        Reservation::At { .. } => {
            let wanted = asked.range()?;
            // Beside a region above 4 GiB an x86_64 kernel up to 6.6 reserves a companion below, as with `,high`
            // (arch/x86/kernel/setup.c, `reserve_crashkernel_low`). Segments lie in the wanted one all the same.
            let companion = |region: &PhysRange| {
                cell.first.arch == Arch::X86_64 && wanted.start >= FOUR_GIB && region.end < FOUR_GIB
            };
            let fits = regions.contains(&wanted)
                && regions.iter().all(|region| *region == wanted || companion(region));
            (!fits).then(|| format!("crashkernel={asked} is {wanted}, and the kernel reserved {}", found()))
        }
        Reservation::Auto { size } => (!regions.iter().any(|region| of_size(size.bytes())(&region)))
            .then(|| format!("crashkernel={asked} asks for {size}, and the kernel reserved {}", found())),
        Reservation::High { size } => {
            // Only x86_64 kernels know memory above 4 GiB for this; an i386 one treats it as `auto`.
            let must_be_high = cell.first.arch == Arch::X86_64;
            let fits = |region: &PhysRange| {
                of_size(size.bytes())(&region) && (!must_be_high || region.start >= FOUR_GIB)
            };
            (!regions.iter().any(fits)).then(|| {
                format!(
                    "crashkernel={asked} asks for {size} above 4 GiB, and the kernel reserved {}",
                    found()
                )
            })
        }
    }
}

/// The architecture of a kernel by its `uname -m`.
pub(super) fn machine_arch(machine: &str) -> Option<Arch> {
    match machine {
        "x86_64" => Some(Arch::X86_64),
        "i386" | "i486" | "i586" | "i686" => Some(Arch::I386),
        _ => None,
    }
}
