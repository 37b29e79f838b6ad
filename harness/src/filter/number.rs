//! Comparisons: the axes that have an order, and how their numbers are written.

use super::Axis;
use crate::cell::Cell;
use std::num::NonZeroU32;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// How a number is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Below,
    AtMost,
    Above,
    AtLeast,
}

impl Relation {
    /// As it is written.
    pub(super) const fn symbol(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
        }
    }

    pub(super) const fn holds(self, number: u64, than: u64) -> bool {
        match self {
            Self::Below => number < than,
            Self::AtMost => number <= than,
            Self::Above => number > than,
            Self::AtLeast => number >= than,
        }
    }
}

/// What the numbers of an axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Sizes and addresses, in bytes.
    Bytes,
    /// Things that are counted.
    Count,
}

impl Unit {
    /// The number that is written here: `896M`, `4G` or `0x36ffe000` for bytes, `2` for a count.
    pub(super) fn parse(self, text: &str) -> Option<u64> {
        // `from_str_radix` and `parse` take a sign.
        let digits = |text: &str, radix| {
            (!text.starts_with('+')).then(|| u64::from_str_radix(text, radix).ok()).flatten()
        };
        match self {
            Self::Count => text.parse::<NonZeroU32>().ok().map(|count| u64::from(count.get())),
            Self::Bytes => {
                if let Some(hex) = text.strip_prefix("0x") {
                    digits(hex, 16)
                } else if let Some(mib) = text.strip_suffix('M') {
                    digits(mib, 10)?.checked_mul(MIB)
                } else {
                    digits(text.strip_suffix('G')?, 10)?.checked_mul(GIB)
                }
            }
        }
    }

    /// A number as [`Unit::parse`] reads it: whole MiB as such, other addresses in hexadecimal.
    pub(super) fn show(self, number: u64) -> String {
        match self {
            Self::Bytes if number.is_multiple_of(MIB) => format!("{}M", number / MIB),
            Self::Bytes => format!("{number:#x}"),
            Self::Count => number.to_string(),
        }
    }

    /// How a number is written, for error messages.
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Bytes => "whole M or G, or bytes in hexadecimal, such as 896M, 4G or 0x36ffe000",
            Self::Count => "a number, such as 2",
        }
    }
}

/// How a cell's number on an axis is found.
type Number = fn(&Cell) -> Option<u64>;

impl Axis {
    /// What the axis's numbers are, and how a cell's is found; none where the axis's values have no order.
    fn measure(self) -> Option<(Unit, Number)> {
        match self {
            Self::Size => Some((Unit::Bytes, |cell| Some(cell.reservation.size().bytes()))),
            Self::RegionStart => {
                Some((Unit::Bytes, |cell| cell.reservation.range().map(|range| range.start)))
            }
            Self::RegionLast => Some((Unit::Bytes, |cell| cell.reservation.range().map(|range| range.end))),
            Self::Memory => Some((Unit::Bytes, |cell| Some(cell.platform.memory.bytes()))),
            Self::Cpus => Some((Unit::Count, |cell| Some(u64::from(cell.platform.cpus.get())))),
            Self::Id
            | Self::Suite
            | Self::First
            | Self::FirstArch
            | Self::Userspace
            | Self::Loader
            | Self::Args
            | Self::Circumstances
            | Self::Capture
            | Self::CaptureArch
            | Self::Pair
            | Self::Reservation
            | Self::Region
            | Self::Platform
            | Self::Hardware
            | Self::Machine
            | Self::Firmware
            | Self::Trigger
            | Self::Reader
            | Self::Tamper
            | Self::LowMemory => None,
        }
    }

    /// What the axis's numbers are; none where its values have no order.
    pub(super) fn unit(self) -> Option<Unit> {
        self.measure().map(|(unit, _)| unit)
    }

    /// The cell's number on an axis that has an order; none where the cell has no such thing, as a region that the first kernel
    /// places has no known start.
    pub(super) fn number(self, cell: &Cell) -> Option<u64> {
        self.measure().and_then(|(_, number)| number(cell))
    }
}
