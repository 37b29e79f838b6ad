//! What the purgatory verifies before it starts the capture kernel, and what it says and does about it.
//!
//! Verified are the bytes that were loaded, not the whole of a segment's span: the kernel fills the rest with zeros, the capture kernel
//! unpacks itself over it, and nothing of it is read before it is written. Not verified is what changes between load and panic:
//! the backup, which the purgatory itself fills, and the core header where the running kernel keeps it up to date (`--hotplug`).
//! The purgatory verifies itself too, its list of digests aside: see `purgatory::data`.

use crate::addr::Span;
use crate::digest::Digest;
use crate::options::{self, OnMismatch};
use crate::segment::SegmentKind;
use crate::serial::{self, Serial};
use alloc::vec::Vec;
use core::num::NonZeroU16;

/// Bits per second of a UART whose divisor is 1: its clock of 1.8432 MHz by 16 (PC16550D data sheet, "Programmable Baud Generator").
const FASTEST: u32 = 115_200;

/// Bytes that must be at the panic what they were at the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// The segment that they are of.
    pub segment: SegmentKind,
    /// Where they lie.
    pub memory: Span,
    /// Their digest.
    pub digest: Digest,
}

/// The verification as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// What is verified beside the purgatory; none: not even that (`--no-checks`).
    pub checks: Option<Vec<Check>>,
    /// Where the purgatory speaks, if anywhere.
    pub serial: Option<Serial>,
    /// Whether it also says that all is well.
    pub greets: bool,
    /// What it does if all is not.
    pub on_mismatch: OnMismatch,
}

impl Verification {
    /// What the options ask for. `loaded` are the segments' places and bytes, `line` is the capture kernel's command line.
    pub fn new<'a>(
        options: &options::Load,
        line: &[u8],
        loaded: impl Iterator<Item = (SegmentKind, Span, &'a [u8])>,
    ) -> Self {
        let check = |(segment, memory, bytes): (SegmentKind, Span, &[u8])| {
            let constant = match segment {
                SegmentKind::Kernel | SegmentKind::Initrd | SegmentKind::BootParams => true,
                SegmentKind::ElfCoreHeader => !options.hotplug,
                // The one is filled at the panic, the other verified by itself, see above.
                SegmentKind::Backup | SegmentKind::Purgatory => false,
            };
            let memory = Span::sized(memory.start(), bytes.len() as u64).filter(|_| constant)?;
            Some(Check { segment, memory, digest: Digest::of(bytes) })
        };
        Self {
            checks: (!options.no_checks).then(|| loaded.filter_map(check).collect()),
            serial: port(options, line).map(|port| Serial {
                port,
                divisor: options
                    .serial_baud
                    .and_then(|baud| NonZeroU16::new(u16::try_from(FASTEST.checked_div(baud)?).ok()?)),
            }),
            greets: options.console_serial,
            on_mismatch: options.on_mismatch,
        }
    }
}

/// The port on which the purgatory speaks: the one that was given, or that the command line names. Whoever asks for a console without
/// either gets kexec-tools' usual one.
fn port(options: &options::Load, line: &[u8]) -> Option<NonZeroU16> {
    options
        .serial
        .and_then(NonZeroU16::new)
        .or_else(|| serial::named(line))
        .or_else(|| options.console_serial.then_some(serial::USUAL))
}
