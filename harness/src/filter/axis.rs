//! The axes of a cell: their names, the values that they can have, and those that a cell has.

use crate::cell::{Cell, Firmware, Loader, LowMemory, Reader, Reservation, Tamper, Trigger};
use guest_protocol::{Arch, Circumstances};
use std::fmt;

/// 896 MiB: the end of the low memory of an i386 kernel with the usual 3 GiB/1 GiB split, and the highest end of a crash
/// region that released i386 loaders accept (-PAGE_OFFSET - 128 MiB with PAGE_OFFSET 0xC0000000).
const LOW_MEMORY_END: u64 = 896 << 20;

/// The value of `reader` in cells without one.
const NO_READER: &str = "none";

/// The value of `hardware` on machines that stand for none.
const NO_HARDWARE: &str = "none";

/// What a filter can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described by `Axis::describe`")]
pub enum Axis {
    Id,
    Suite,
    First,
    FirstArch,
    Userspace,
    Loader,
    Args,
    Circumstances,
    Capture,
    CaptureArch,
    Pair,
    Reservation,
    Region,
    RegionStart,
    RegionLast,
    Size,
    Platform,
    Hardware,
    Machine,
    Memory,
    Cpus,
    Firmware,
    Trigger,
    Reader,
    Tamper,
    LowMemory,
}

impl Axis {
    /// All axes, in the order of their documentation.
    pub const ALL: [Self; 26] = [
        Self::Id,
        Self::Suite,
        Self::First,
        Self::FirstArch,
        Self::Userspace,
        Self::Loader,
        Self::Args,
        Self::Circumstances,
        Self::Capture,
        Self::CaptureArch,
        Self::Pair,
        Self::Reservation,
        Self::Region,
        Self::RegionStart,
        Self::RegionLast,
        Self::Size,
        Self::Platform,
        Self::Hardware,
        Self::Machine,
        Self::Memory,
        Self::Cpus,
        Self::Firmware,
        Self::Trigger,
        Self::Reader,
        Self::Tamper,
        Self::LowMemory,
    ];

    /// Its name in expressions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Suite => "suite",
            Self::First => "first",
            Self::FirstArch => "first.arch",
            Self::Userspace => "userspace",
            Self::Loader => "loader",
            Self::Args => "args",
            Self::Circumstances => "circumstances",
            Self::Capture => "capture",
            Self::CaptureArch => "capture.arch",
            Self::Pair => "pair",
            Self::Reservation => "reservation",
            Self::Region => "region",
            Self::RegionStart => "region.start",
            Self::RegionLast => "region.last",
            Self::Size => "size",
            Self::Platform => "platform",
            Self::Hardware => "hardware",
            Self::Machine => "machine",
            Self::Memory => "memory",
            Self::Cpus => "cpus",
            Self::Firmware => "firmware",
            Self::Trigger => "trigger",
            Self::Reader => "reader",
            Self::Tamper => "tamper",
            Self::LowMemory => "low-memory",
        }
    }

    /// What its values are, for help texts.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Id => "the cell's id",
            Self::Suite => "the suite's name",
            Self::First => "the first kernel's name, such as 5.10-amd64",
            Self::FirstArch => "i386 or x86_64",
            Self::Userspace => "i386 or x86_64",
            Self::Loader => "in-tree, kexec-tools (any release), kexec-tools@VERSION, or a path",
            Self::Args => "the loader's further arguments, joined by blanks; \"\" for none",
            Self::Circumstances => "none, or what the load meets with, such as lockdown",
            Self::Capture => "the capture kernel's name",
            Self::CaptureArch => "i386 or x86_64",
            Self::Pair => "architectures of first and capture kernel, such as x86_64->i386",
            Self::Reservation => "auto, at, high, or the value of crashkernel=, such as 256M@1968M",
            Self::Region => {
                "below, above or across 896 MiB where the place is fixed, auto where the first kernel chooses it"
            }
            Self::RegionStart => {
                "the first address of a region at a fixed place, such as 1968M or 0x7b000000; none of another"
            }
            Self::RegionLast => {
                "the last address of a region at a fixed place, such as 0x8affffff; none of another"
            }
            Self::Size => "the size of the region, such as 256M",
            Self::Platform => "the platform's name in the scenario",
            Self::Hardware => {
                "the name in platforms.yaml of what the machine stands for, none where it stands for nothing"
            }
            Self::Machine => "QEMU's -machine with its options",
            Self::Memory => "the size of RAM, such as 4G or 3520M",
            Self::Cpus => "the number of CPUs",
            Self::Firmware => "bios or uefi",
            Self::Trigger => "nmi, sysrq-key, serial-break or sysrq-trigger",
            Self::Reader => "none, or what reads the vmcore beside the agent: vmcore-dmesg@VERSION",
            Self::Tamper => {
                "none, or the part of the loaded image that the rig changes: kernel, initrd, boot_params, purgatory, elfcorehdr"
            }
            Self::LowMemory => "untouched, or planted: the rig wrote a pattern below 640 KiB",
        }
    }

    /// The axis of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|axis| axis.name() == name)
    }

    /// The value as [`Axis::values`] would give it, or none where no cell can have it.
    pub(super) fn canonical(self, value: &str) -> Option<String> {
        match self {
            // Free texts: which ones exist is the scenario's affair.
            Self::Id
            | Self::Suite
            | Self::First
            | Self::Args
            | Self::Capture
            | Self::Platform
            | Self::Hardware
            | Self::Machine => Some(value.to_owned()),
            Self::FirstArch | Self::Userspace | Self::CaptureArch => {
                arch(value).map(|arch| arch.name().to_owned())
            }
            Self::Loader => match value {
                "kexec-tools" => Some(value.to_owned()),
                _ => value.parse::<Loader>().ok().map(|loader| loader.to_string()),
            },
            Self::Pair => {
                let (first, capture) = value.split_once("->")?;
                Some(pair(arch(first)?, arch(capture)?))
            }
            Self::Reservation => match value {
                "auto" | "at" | "high" => Some(value.to_owned()),
                _ => value.parse::<Reservation>().ok().map(|reservation| reservation.to_string()),
            },
            Self::Region => matches!(value, "below" | "above" | "across" | "auto").then(|| value.to_owned()),
            Self::RegionStart | Self::RegionLast | Self::Size | Self::Memory | Self::Cpus => {
                let unit = self.unit()?;
                unit.parse(value).map(|number| unit.show(number))
            }
            Self::Circumstances => Circumstances::by_name(value).map(|known| known.name().to_owned()),
            Self::Firmware => {
                let known = Firmware::ALL.into_iter().find(|firmware| firmware.name() == value);
                known.map(|firmware| firmware.name().to_owned())
            }
            Self::Trigger => value.parse::<Trigger>().ok().map(|trigger| trigger.name().to_owned()),
            Self::Reader => match value {
                NO_READER => Some(value.to_owned()),
                _ => value.parse::<Reader>().ok().map(|reader| reader.to_string()),
            },
            Self::Tamper => value.parse::<Tamper>().ok().map(|tamper| tamper.name().to_owned()),
            Self::LowMemory => value.parse::<LowMemory>().ok().map(|low| low.name().to_owned()),
        }
    }

    /// The values that the cell has on this axis: one or more, or none where the cell has no such thing.
    pub(crate) fn values(self, cell: &Cell) -> Vec<String> {
        let one = |value: &str| vec![value.to_owned()];
        match self {
            Self::Id => one(&cell.id.0),
            Self::Suite => one(&cell.suite),
            Self::First => one(&cell.first.name),
            Self::FirstArch => one(cell.first.arch.name()),
            Self::Userspace => one(cell.userspace.name()),
            Self::Loader => match &cell.loader {
                Loader::KexecTools(_) => vec!["kexec-tools".to_owned(), cell.loader.to_string()],
                Loader::InTree | Loader::Path(_) => vec![cell.loader.to_string()],
            },
            Self::Args => vec![cell.loader_args.join(" ")],
            Self::Circumstances => one(cell.circumstances.name()),
            Self::Capture => one(&cell.capture.name),
            Self::CaptureArch => one(cell.capture.arch.name()),
            Self::Pair => vec![pair(cell.first.arch, cell.capture.arch)],
            Self::Reservation => vec![cell.reservation.kind_name().to_owned(), cell.reservation.to_string()],
            Self::Region => one(region(cell.reservation)),
            Self::Platform => one(&cell.platform.name),
            Self::Hardware => one(cell.platform.hardware.as_ref().map_or(NO_HARDWARE, |known| &known.name)),
            Self::Machine => one(&cell.platform.machine),
            Self::RegionStart | Self::RegionLast | Self::Size | Self::Memory | Self::Cpus => {
                let shown = self.unit().zip(self.number(cell)).map(|(unit, number)| unit.show(number));
                shown.into_iter().collect()
            }
            Self::Firmware => one(cell.platform.firmware.name()),
            Self::Trigger => one(cell.trigger.name()),
            Self::Reader => vec![cell.reader.as_ref().map_or(NO_READER.to_owned(), Reader::to_string)],
            Self::Tamper => one(cell.tamper.name()),
            Self::LowMemory => one(cell.low_memory.name()),
        }
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn arch(name: &str) -> Option<Arch> {
    [Arch::I386, Arch::X86_64].into_iter().find(|arch| arch.name() == name)
}

fn pair(first: Arch, capture: Arch) -> String {
    format!("{first}->{capture}")
}

fn region(reservation: Reservation) -> &'static str {
    match reservation.range() {
        None => "auto",
        Some(range) if range.end < LOW_MEMORY_END => "below",
        Some(range) if range.start >= LOW_MEMORY_END => "above",
        Some(_) => "across",
    }
}
