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
            serial: port(options, line).map(|port| Serial { port, divisor: options.serial_divisor }),
            greets: options.console_serial,
            on_mismatch: options.on_mismatch,
        }
    }
}

/// The port on which the purgatory speaks: the one that was given, or that the command line names. Whoever asks for a console without
/// either gets kexec-tools' usual one.
fn port(options: &options::Load, line: &[u8]) -> Option<NonZeroU16> {
    options.serial.or_else(|| serial::named(line)).or_else(|| options.console_serial.then_some(serial::USUAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Load;
    use crate::testing::span;
    use sha2::{Digest as _, Sha256};
    use std::format;

    fn new(options: &Load, line: &str) -> Verification {
        let loaded = [
            (SegmentKind::Kernel, span(0x100_0000, 0x4ff_ffff), &b"kernel"[..]),
            (SegmentKind::Initrd, span(0x500_0000, 0x500_0fff), b"initrd!"),
            (SegmentKind::BootParams, span(0x600_0000, 0x600_1fff), &[7; 4999]),
            (SegmentKind::ElfCoreHeader, span(0x700_0000, 0x700_0fff), &[8; 999]),
        ];
        Verification::new(options, line.as_bytes(), loaded.into_iter())
    }

    fn verified(options: &Load) -> Vec<(SegmentKind, Span)> {
        let checks = new(options, "").checks.into_iter().flatten();
        checks.map(|check| (check.segment, check.memory)).collect()
    }

    /// Catches a segment that is left out, one that is verified with the zeros behind it (which the capture kernel unpacks
    /// itself over), and a digest of other bytes.
    #[test]
    fn what_was_loaded_is_verified() {
        assert_eq!(
            verified(&Load::default()),
            [
                (SegmentKind::Kernel, span(0x100_0000, 0x100_0005)),
                (SegmentKind::Initrd, span(0x500_0000, 0x500_0006)),
                (SegmentKind::BootParams, span(0x600_0000, 0x600_1386)),
                (SegmentKind::ElfCoreHeader, span(0x700_0000, 0x700_03e6)),
            ]
        );
        let checks = new(&Load::default(), "").checks.unwrap();
        assert_eq!(format!("{}", checks[1].digest), format!("{:x}", Sha256::digest(b"initrd!")));
    }

    /// Catches a capture that is refused because the running kernel did what it was asked to, and checks that nobody wants.
    #[test]
    fn what_changes_is_not_verified() {
        let hotplug = verified(&Load { hotplug: true, ..Load::default() });
        assert!(!hotplug.iter().any(|&(segment, _)| segment == SegmentKind::ElfCoreHeader));
        assert_eq!(hotplug.len(), 3);
        let own = [(SegmentKind::Purgatory, span(0x1000, 0x1fff), &b"verifies itself"[..])];
        let own = Verification::new(&Load::default(), b"", own.into_iter());
        assert_eq!(own.checks, Some(Vec::new()));
        assert_eq!(new(&Load { no_checks: true, ..Load::default() }, "").checks, None);
    }

    /// Catches a port of the command line that wins over the one that was given, silence where a console was asked for,
    /// and a word on a port that nobody named.
    #[test]
    fn the_port_that_was_given_comes_first() {
        let port = |options: &Load, line| new(options, line).serial.map(|serial| serial.port.get());
        let given = Load { serial: NonZeroU16::new(0x3e8), ..Load::default() };
        let console = Load { console_serial: true, ..Load::default() };
        assert_eq!(port(&given, "console=ttyS1"), Some(0x3e8));
        assert_eq!(port(&Load::default(), "console=ttyS1"), Some(0x2f8));
        assert_eq!(port(&console, "console=ttyS1"), Some(0x2f8));
        assert_eq!(port(&console, "console=tty0"), Some(0x3f8));
        assert_eq!(port(&Load::default(), "console=tty0"), None);
        assert!(new(&console, "").greets && !new(&given, "").greets);
    }

    /// Catches a UART that is set to another speed than the capture kernel's, or at all where nobody asked for it.
    #[test]
    fn a_speed_is_set_only_on_request() {
        let divisor = |serial_divisor| {
            let options = Load { serial_divisor, ..Load::default() };
            new(&options, "console=ttyS0,9600").serial.unwrap().divisor
        };
        for asked in [None, serial::divisor(115_200), serial::divisor(9600)] {
            assert_eq!(divisor(asked), asked);
        }
    }
}
