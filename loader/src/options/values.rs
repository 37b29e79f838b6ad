//! The values of options: from text to what they mean.

use super::{Backup, ImageType, OnMismatch};
use crate::addr::PhysAddr;
use alloc::string::String;
use core::fmt;

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

/// The value if there is one, else what was wanted.
fn wanted<T>(text: &[u8], value: Option<T>, wanted: &'static str) -> Result<T, BadValue> {
    value.ok_or_else(|| BadValue { found: String::from_utf8_lossy(text).into_owned(), wanted })
}

/// A number as strtoul(3) reads it with base 0, which is how kexec-tools does: hexadecimal with `0x`, octal with `0`, else decimal.
/// Unlike there, nothing may stand around it, and it may not be empty.
fn number(text: &[u8]) -> Option<u64> {
    let (digits, radix) = match text {
        [b'0', b'x' | b'X', digits @ ..] => (digits, 16),
        [b'0', digits @ ..] if !digits.is_empty() => (digits, 8),
        digits => (digits, 10),
    };
    // from_str_radix takes a sign.
    let digits = digits.first().is_some_and(|&first| first != b'+').then_some(digits)?;
    u64::from_str_radix(core::str::from_utf8(digits).ok()?, radix).ok()
}

/// `--mem-min`, `--mem-max`.
pub(super) fn address(text: &[u8]) -> Result<PhysAddr, BadValue> {
    wanted(text, number(text).map(PhysAddr), "an address: a number of bytes, such as 0x10000000")
}

/// `--serial`: the I/O port of an 8250, or the name of one of the four that PCs have always had at the same ports
/// (arch/x86/include/asm/serial.h, SERIAL_PORT_DFNS).
pub(super) fn serial_port(text: &[u8]) -> Result<u16, BadValue> {
    /// Seven registers follow the first.
    const LAST: u16 = 0xfff8;
    let port = match text {
        b"ttyS0" => Some(0x3f8),
        b"ttyS1" => Some(0x2f8),
        b"ttyS2" => Some(0x3e8),
        b"ttyS3" => Some(0x2e8),
        _ => number(text).and_then(|port| u16::try_from(port).ok()).filter(|port| (1..=LAST).contains(port)),
    };
    wanted(text, port, "an I/O port such as 0x3f8, or one of ttyS0 to ttyS3")
}

/// `--serial-baud`: an 8250 divides 115200 by a whole number of 16 bits.
pub(super) fn serial_baud(text: &[u8]) -> Result<u32, BadValue> {
    /// The rate of divisor 1, with the crystal that PCs have always had (Documentation/arch/x86/earlyprintk.rst).
    const FASTEST: u64 = 115_200;
    let baud = number(text).filter(|&baud| baud > 0 && FASTEST % baud == 0 && FASTEST / baud <= 0xffff);
    wanted(
        text,
        baud.and_then(|baud| u32::try_from(baud).ok()),
        "a rate that a serial port has: 115200, 57600, 38400, 19200, 9600 and so on",
    )
}

/// `--type`.
pub(super) fn image_type(text: &[u8]) -> Result<ImageType, BadValue> {
    let value = match text {
        b"bzImage" => Some(ImageType::BzImage),
        b"bzImage64" => Some(ImageType::BzImage64),
        _ => None,
    };
    wanted(
        text,
        value,
        "bzImage or bzImage64, and no other is loaded: give the kernel's vmlinuz, not its vmlinux",
    )
}

/// `--on-mismatch`.
pub(super) fn on_mismatch(text: &[u8]) -> Result<OnMismatch, BadValue> {
    let value = match text {
        b"halt" => Some(OnMismatch::Halt),
        b"reset" => Some(OnMismatch::Reset),
        _ => None,
    };
    wanted(text, value, "halt or reset")
}

/// `--backup`.
pub(super) fn backup(text: &[u8]) -> Result<Backup, BadValue> {
    let value = match text {
        b"auto" => Some(Backup::Auto),
        b"always" => Some(Backup::Always),
        b"never" => Some(Backup::Never),
        _ => None,
    };
    wanted(text, value, "auto, always or never")
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
        assert_eq!(serial_port(b"ttyS1"), Ok(0x2f8));
        assert_eq!(serial_port(b"0x3f8"), Ok(0x3f8));
        for text in ["0", "0x10000", "0xfff9", "ttyS4", "3f8"] {
            assert!(serial_port(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(serial_baud(b"115200"), Ok(115_200));
        assert_eq!(serial_baud(b"9600"), Ok(9600));
        for text in ["0", "1", "9601", "230400", "fast"] {
            assert!(serial_baud(text.as_bytes()).is_err(), "{text}");
        }
    }
}
