//! The values of options: from text to what they mean.

use super::{Backup, ImageType, OnMismatch};
use crate::addr::PhysAddr;
use crate::serial;
use crate::text;
use alloc::string::String;
use core::fmt;
use core::num::NonZeroU16;

/// Why a text is not the value of an option. Fits behind "--option: ".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadValue {
    /// What was found.
    pub found: String,
    /// What is wanted.
    pub wanted: &'static str,
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not {}", self.found, self.wanted)
    }
}

/// Nothing, or what is wanted in place of the text.
pub(super) type Read = Result<(), &'static str>;

/// Puts the value into its place if there is one.
fn put<T>(slot: &mut T, value: Option<T>, wanted: &'static str) -> Read {
    *slot = value.ok_or(wanted)?;
    Ok(())
}

/// A number as strtoul(3) reads it with base 0, which is how kexec-tools does: hexadecimal with `0x`, octal with `0`, else decimal.
/// Unlike there, nothing may stand around it, and it may not be empty.
fn number(text: &[u8]) -> Option<u64> {
    let (digits, radix) = match text {
        [b'0', b'x' | b'X', digits @ ..] => (digits, 16),
        [b'0', digits @ ..] if !digits.is_empty() => (digits, 8),
        digits => (digits, 10),
    };
    text::number(digits, radix)
}

/// `--mem-min`, `--mem-max`.
pub(super) fn address(text: &[u8], slot: &mut Option<PhysAddr>) -> Read {
    let address = number(text).ok_or("an address: a number of bytes, such as 0x10000000")?;
    *slot = Some(PhysAddr(address));
    Ok(())
}

/// `--serial`: the first I/O port of an 8250, or the name of one of the four that PCs have always had at the same ports.
pub(super) fn serial_port(text: &[u8], slot: &mut Option<NonZeroU16>) -> Read {
    *slot = number(text).and_then(serial::port).or_else(|| serial::of_name(text));
    slot.map(drop).ok_or("an I/O port such as 0x3f8, or one of ttyS0 to ttyS3")
}

/// `--serial-baud`: an 8250 divides 115200 by a whole number of 16 bits.
pub(super) fn serial_baud(text: &[u8], slot: &mut Option<NonZeroU16>) -> Read {
    *slot = number(text).and_then(serial::divisor);
    slot.map(drop).ok_or("a rate that a serial port has: 115200, 57600, 38400, 19200, 9600 and so on")
}

/// `--type`.
pub(super) fn image_type(text: &[u8], slot: &mut ImageType) -> Read {
    let value = match text {
        b"bzImage" => Some(ImageType::BzImage),
        b"bzImage64" => Some(ImageType::BzImage64),
        _ => None,
    };
    put(
        slot,
        value,
        "bzImage or bzImage64, and no other is loaded: give the kernel's vmlinuz, not its vmlinux",
    )
}

/// `--on-mismatch`.
pub(super) fn on_mismatch(text: &[u8], slot: &mut OnMismatch) -> Read {
    let value = match text {
        b"halt" => Some(OnMismatch::Halt),
        b"reset" => Some(OnMismatch::Reset),
        _ => None,
    };
    put(slot, value, "halt or reset")
}

/// `--backup`.
pub(super) fn backup(text: &[u8], slot: &mut Backup) -> Read {
    let value = match text {
        b"auto" => Some(Backup::Auto),
        b"always" => Some(Backup::Always),
        b"never" => Some(Backup::Never),
        _ => None,
    };
    put(slot, value, "auto, always or never")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a base that differs from kexec-tools', and signs, blanks and units, which would be read as something else.
    #[test]
    fn numbers_are_read_as_kexec_tools_reads_them() {
        for (text, value) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("0x1000", Some(0x1000)),
            ("0XfF", Some(0xff)),
            ("010", Some(8)),
            ("0xffffffffffffffff", Some(u64::MAX)),
            ("0x10000000000000000", None),
            ("", None),
            ("0x", None),
            ("08", None),
            ("+1", None),
            ("0x+1", None),
            ("-1", None),
            (" 1", None),
            ("1M", None),
        ] {
            assert_eq!(number(text.as_bytes()), value, "{text:?}");
        }
    }

    /// Catches a port or a rate that an 8250 does not have, of which the purgatory would make something else.
    #[test]
    fn serial_ports_and_rates_are_those_of_an_8250() {
        let port = |text: &str| {
            let mut port = None;
            serial_port(text.as_bytes(), &mut port).map(|()| port.map(NonZeroU16::get))
        };
        let baud = |text: &str| {
            let mut baud = None;
            serial_baud(text.as_bytes(), &mut baud).map(|()| baud.map(NonZeroU16::get))
        };
        assert_eq!(port("ttyS1"), Ok(Some(0x2f8)));
        assert_eq!(port("0x3f8"), Ok(Some(0x3f8)));
        for text in ["0", "0x10000", "0xfff9", "ttyS4", "3f8"] {
            assert!(port(text).is_err(), "{text}");
        }
        assert_eq!(baud("115200"), Ok(Some(1)));
        assert_eq!(baud("9600"), Ok(Some(12)));
        for text in ["0", "1", "9601", "230400", "fast"] {
            assert!(baud(text).is_err(), "{text}");
        }
    }
}
