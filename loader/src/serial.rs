//! The serial port on which the purgatory speaks: the one that the capture kernel's command line names, since that is where somebody
//! looks. Only ports in I/O space are known; a UART in memory may lie outside of what the crashed kernel maps.
//!
//! Of several words the last `console=` counts, which is /dev/console of the capture kernel; without one that is a UART, the last
//! of `earlycon=` and `earlyprintk=`.

use crate::cmdline;
use crate::text;
use core::num::NonZeroU16;

/// A 16550 or its like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serial {
    /// The first of its eight I/O ports.
    pub port: NonZeroU16,
    /// What 115200 bits per second are divided by, if the speed is to be set. As it is set, if none.
    pub divisor: Option<NonZeroU16>,
}

/// The usual ports of ttyS0 to ttyS3 (arch/x86/include/asm/serial.h, SERIAL_PORT_DFNS).
const PORTS: [u16; 4] = [0x3f8, 0x2f8, 0x3e8, 0x2e8];

/// The bits per second at which a UART's divisor is 1: its clock of 1.8432 MHz by 16 (PC16550D data sheet, "Programmable Baud Generator"), with
/// the crystal that PCs have always had.
const FASTEST: u64 = 115_200;

/// The divisor for this many bits per second; none if no whole number of 16 bits makes it.
pub fn divisor(rate: u64) -> Option<NonZeroU16> {
    let divisor = FASTEST.checked_div(rate).filter(|divisor| divisor * rate == FASTEST)?;
    NonZeroU16::new(u16::try_from(divisor).ok()?)
}

/// Where kexec-tools speaks if nothing is said.
pub const USUAL: NonZeroU16 = NonZeroU16::new(PORTS[0]).unwrap();

/// A UART's first port, from a number: seven more follow it.
pub fn port(number: u64) -> Option<NonZeroU16> {
    const LAST: u64 = 0xfff8;
    NonZeroU16::new(u16::try_from(number).ok().filter(|_| number <= LAST)?)
}

/// The port of a UART with this name: `ttyS0` to `ttyS3`, what follows a comma aside.
pub fn of_name(name: &[u8]) -> Option<NonZeroU16> {
    let index = decimal(first_field(name.strip_prefix(b"ttyS")?))?;
    PORTS.get(usize::try_from(index).ok()?).copied().and_then(NonZeroU16::new)
}

/// The port that a capture kernel's command line names.
pub fn named(line: &[u8]) -> Option<NonZeroU16> {
    let (mut console, mut early) = (None, None);
    // What follows a bare `--` is for init (kernel/params.c, parse_args).
    for word in cmdline::words(line).take_while(|&word| word != b"--") {
        if let Some(value) = word.strip_prefix(b"console=") {
            console = device(value).or(console);
        } else if let Some(value) = word.strip_prefix(b"earlycon=") {
            early = device(value).or(early);
        } else if let Some(value) = word.strip_prefix(b"earlyprintk=") {
            early = early_printk(value).or(early);
        }
    }
    console.or(early)
}

/// `ttyS0[,...]`, `uart[8250],io,0x3f8[,...]` (kernel-parameters.txt, "console=", "earlycon=").
fn device(value: &[u8]) -> Option<NonZeroU16> {
    if value.starts_with(b"ttyS") {
        return of_name(value);
    }
    let address = value.strip_prefix(b"uart8250,io,").or_else(|| value.strip_prefix(b"uart,io,"))?;
    io_port(first_field(address))
}

/// `[serial,]ttyS0[,...]`, `[serial,]0x3f8[,...]`, `serial` (arch/x86/kernel/early_printk.c). Only ttyS0 and ttyS1 are known there; any other
/// number means the first.
fn early_printk(value: &[u8]) -> Option<NonZeroU16> {
    let (serial, rest) = match value.strip_prefix(b"serial") {
        Some(rest) => (true, rest.strip_prefix(b",").unwrap_or(rest)),
        None => (false, value),
    };
    if let Some(number) = rest.strip_prefix(b"ttyS") {
        let second = decimal(first_field(number)) == Some(1);
        return NonZeroU16::new(PORTS[usize::from(second)]);
    }
    match first_field(rest) {
        address if address.starts_with(b"0x") && serial => io_port(address),
        b"" | b"keep" if serial => Some(USUAL),
        _ => None,
    }
}

/// What stands before the first comma.
fn first_field(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == b',').next().unwrap_or_default()
}

fn decimal(digits: &[u8]) -> Option<u64> {
    text::number(digits, 10)
}

/// A port with `0x`.
fn io_port(text: &[u8]) -> Option<NonZeroU16> {
    port(text::number(text.strip_prefix(b"0x")?, 16)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port_of(line: &str) -> Option<u16> {
        named(line.as_bytes()).map(NonZeroU16::get)
    }

    /// Catches a form that is not understood, so that the message goes nowhere, and one that is taken for another port.
    #[test]
    fn every_form_of_a_port() {
        for (line, expected) in [
            ("console=ttyS0", 0x3f8),
            ("console=ttyS1,115200n8", 0x2f8),
            ("console=ttyS2,9600 quiet", 0x3e8),
            ("console=ttyS3", 0x2e8),
            ("console=uart8250,io,0x2f8,115200n8", 0x2f8),
            ("console=uart,io,0x3f8", 0x3f8),
            ("earlycon=uart8250,io,0x3e8,115200", 0x3e8),
            ("earlyprintk=serial,ttyS1,115200", 0x2f8),
            ("earlyprintk=ttyS0,115200,keep", 0x3f8),
            ("earlyprintk=ttyS1", 0x2f8),
            ("earlyprintk=serial,0x2f8,115200", 0x2f8),
            ("earlyprintk=serial", 0x3f8),
            ("earlyprintk=serial,keep", 0x3f8),
            ("earlyprintk=serial,ttyS3", 0x3f8), // as the kernel reads it
        ] {
            assert_eq!(port_of(line), Some(expected), "{line}");
        }
    }

    /// Catches the first console= in place of the last, an early console that wins over the real one, and a word that is not
    /// for a UART but ends the search.
    #[test]
    fn the_best_word_counts() {
        assert_eq!(port_of("console=ttyS0 console=ttyS1"), Some(0x2f8));
        assert_eq!(port_of("console=ttyS1 console=tty0"), Some(0x2f8));
        assert_eq!(port_of("console=ttyS1 earlyprintk=ttyS0"), Some(0x2f8));
        assert_eq!(port_of("earlyprintk=ttyS0 earlycon=uart8250,io,0x2f8"), Some(0x2f8));
        assert_eq!(port_of("a=\"b console=ttyS1 c\" console=ttyS0"), Some(0x3f8));
        assert_eq!(port_of("console=ttyS0 -- console=ttyS1"), Some(0x3f8));
    }

    /// Catches a guess: bytes that are written to a device which nobody named.
    #[test]
    fn what_names_no_port() {
        for line in [
            "",
            "console=tty0 quiet",
            "console=ttyS4",
            "console=ttyS",
            "console=ttyS+1",
            "console=ttyS99999999999999999999",
            "console=ttyUSB0",
            "console=uart8250,mmio,0xfe000000",
            "console=uart8250,io,0x0",
            "console=uart8250,io,0xfff9",
            "console=uart8250,io,0x10000",
            "console=uart8250,io,3f8",
            "earlyprintk=vga",
            "earlyprintk=efi,keep",
            "earlycon",
            "xconsole=ttyS0",
        ] {
            assert_eq!(port_of(line), None, "{line}");
        }
    }

    /// Catches a speed that the UART would round to another.
    #[test]
    fn only_whole_divisors_are_divisors() {
        let of = |rate| divisor(rate).map(NonZeroU16::get);
        assert_eq!([115_200, 9600, 50, 2].map(of), [Some(1), Some(12), Some(2304), Some(57_600)]);
        assert_eq!([0, 1, 9601, 230_400, u64::MAX].map(of), [None; 5]);
    }
}
