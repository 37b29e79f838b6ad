//! The capture kernel's command line: `elfcorehdr=`, `acpi_rsdp=` for kernels that learn of it by nothing else, and what the user gave, or the
//! running kernel's own.
//!
//! The loader's words stand first: a kernel reads no parameters behind a bare `--`, and an unbalanced quote swallows what
//! follows it (kernel/params.c, lib/cmdline.c).

use crate::addr::PhysAddr;
use alloc::vec::Vec;
use core::fmt;

/// Longest command line, in bytes without the terminating zero, whatever a header claims: COMMAND_LINE_SIZE of x86 is 2048
/// (arch/x86/include/asm/setup.h).
const LONGEST: u64 = 2047;

/// Why a command line cannot be handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadCommandLine {
    /// It is too long with what is appended.
    TooLong {
        /// Bytes that it has, all that is added included.
        length: u64,
        /// Bytes that the capture kernel takes.
        most: u64,
    },
    /// It has a parameter that only the loader can know.
    Taken {
        /// The parameter.
        parameter: &'static str,
    },
    /// It has a byte that ends it or a line.
    Control {
        /// Where, counted in bytes from 0.
        offset: usize,
        /// The byte.
        byte: u8,
    },
}

impl fmt::Display for BadCommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { length, most } => write!(
                f,
                "command line too long: {length} bytes with what the loader adds, and the capture kernel takes {most}"
            ),
            Self::Taken { parameter } => {
                write!(f, "the command line must not have {parameter}=: the loader alone knows its value")
            }
            Self::Control { offset, byte } => {
                write!(f, "the command line has the control byte {byte:#04x} at offset {offset}")
            }
        }
    }
}

/// Parameters of a running kernel's command line that a capture kernel must not inherit: the reservation, which it has no room
/// for; the place of a core header, which is not ours; a map of all memory, which is no longer its own; and what the boot loader
/// alone says.
const NOT_INHERITED: [&str; 4] = ["crashkernel", "elfcorehdr", "memmap", "BOOT_IMAGE"];

/// The running kernel's command line without what a capture kernel must not inherit.
pub fn reuse(running: &[u8]) -> Vec<u8> {
    let words = words(running).filter(|word| {
        let name = unquoted(word).split(|&byte| byte == b'=').next().unwrap_or_default();
        !NOT_INHERITED.iter().any(|not| not.as_bytes() == name)
    });
    let mut line = Vec::new();
    for word in words {
        append(&mut line, word);
    }
    line
}

/// Appends `addition`, with a space between where both have something.
pub fn append(line: &mut Vec<u8>, addition: &[u8]) {
    if !line.is_empty() && !addition.is_empty() {
        line.push(b' ');
    }
    line.extend_from_slice(addition);
}

/// Bytes that the loader's words can add: the names, a space behind each, 17 digits of KiB with their suffix, and 16 digits.
pub const LONGEST_ADDITION: u64 = "elfcorehdr= acpi_rsdp=0x ".len() as u64 + 17 + 1 + 16;

/// Whether the line has a word for this parameter.
pub fn has(line: &[u8], parameter: &str) -> bool {
    words(line).any(|word| {
        unquoted(word)
            .strip_prefix(parameter.as_bytes())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"="))
    })
}

/// Checks a command line as far as the user is answerable for it.
pub fn check(line: &[u8]) -> Result<(), BadCommandLine> {
    if let Some((offset, &byte)) =
        line.iter().enumerate().find(|(_, byte)| matches!(byte, 0..=0x08 | 0x0a..=0x1f | 0x7f))
    {
        return Err(BadCommandLine::Control { offset, byte });
    }
    let parameter = "elfcorehdr";
    if has(line, parameter) { Err(BadCommandLine::Taken { parameter }) } else { Ok(()) }
}

/// Checks a command line to which the running kernel's own loader adds `elfcorehdr=`: it refuses one that might become too long,
/// when what was loaded before is gone already (arch/x86/kernel/kexec-bzimage64.c, `bzImage64_load`).
pub fn check_for_file_load(line: &[u8], cmdline_size: u64) -> Result<(), BadCommandLine> {
    /// What it sets aside: MAX_ELFCOREHDR_STR_LEN there.
    const SET_ASIDE: u64 = 30;
    let length = line.len() as u64 + SET_ASIDE;
    // It counts the terminating zero in the one, and not in the other.
    let most = cmdline_size.saturating_sub(1);
    if length > most { Err(BadCommandLine::TooLong { length, most }) } else { Ok(()) }
}

/// The final command line with its terminating zero. The length is measured with everything in it. Somebody who gave `acpi_rsdp=` by
/// hand knows better.
pub fn finish(
    line: &[u8],
    elfcorehdr: PhysAddr,
    rsdp: Option<PhysAddr>,
    cmdline_size: u64,
) -> Result<Vec<u8>, BadCommandLine> {
    check(line)?;
    // A page address, so nothing is lost by counting in KiB (kernel-parameters.txt, "elfcorehdr=").
    let mut whole = alloc::format!("elfcorehdr={}K", elfcorehdr.0 >> 10).into_bytes();
    if let Some(rsdp) = rsdp.filter(|_| !has(line, "acpi_rsdp")) {
        append(&mut whole, alloc::format!("acpi_rsdp={rsdp}").as_bytes());
    }
    append(&mut whole, line);
    let most = cmdline_size.min(LONGEST);
    if whole.len() as u64 > most {
        return Err(BadCommandLine::TooLong { length: whole.len() as u64, most });
    }
    whole.push(0);
    Ok(whole)
}

/// The words of a line. Double quotes keep spaces in a word, as the kernel reads them (lib/cmdline.c, `next_arg`).
pub(crate) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    line.split(move |&byte| {
        quoted ^= byte == b'"';
        !quoted && byte.is_ascii_whitespace()
    })
    .filter(|word| !word.is_empty())
}

/// A word without the quote that it may begin with, which kernels drop (`next_arg`): `"crashkernel=1G"` is as good as without.
fn unquoted(word: &[u8]) -> &[u8] {
    word.strip_prefix(b"\"").unwrap_or(word)
}

/// What the user gave, in one line: files and scripts that hold it end it with a line feed, or break it where it is long.
pub fn in_one_line(text: &[u8]) -> Vec<u8> {
    let as_space = |&byte: &u8| if matches!(byte, b'\n' | b'\r' | b'\t') { b' ' } else { byte };
    text.trim_ascii_end().iter().map(as_space).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elfcorehdr_stands_first_in_kib() {
        let line = finish(b"console=ttyS0 -- rescue \"", PhysAddr(0x8aff_f000), None, 2047).unwrap();
        assert_eq!(line, b"elfcorehdr=2277372K console=ttyS0 -- rescue \"\0");
        assert_eq!(finish(b"", PhysAddr(0x2_1fff_f000), None, 2047).unwrap(), b"elfcorehdr=8912892K\0");
    }

    /// Catches a length that is measured before the loader's own words are added, and a silent cut.
    #[test]
    fn the_length_counts_everything() {
        let long = alloc::vec![b'x'; 2047 - " elfcorehdr=2277372K".len()];
        assert_eq!(finish(&long, PhysAddr(0x8aff_f000), None, 4096).unwrap().len(), 2048);
        let longer = alloc::vec![b'x'; long.len() + 1];
        assert_eq!(
            finish(&longer, PhysAddr(0x8aff_f000), None, 4096),
            Err(BadCommandLine::TooLong { length: 2048, most: 2047 })
        );
        assert!(finish(&long, PhysAddr(0x8aff_f000), None, 255).is_err());
    }

    /// Catches a line for which what was loaded is gone before the kernel says no: it counts the end, and sets 30 bytes aside.
    #[test]
    fn the_kernels_own_addition_is_counted() {
        let check = |length| check_for_file_load(&alloc::vec![b'x'; length], 2047);
        assert_eq!(check(2047 - 30 - 1), Ok(()));
        assert_eq!(check(2047 - 30), Err(BadCommandLine::TooLong { length: 2047, most: 2046 }));
        assert!(check_for_file_load(b"", 0).is_err());
    }

    /// Catches a root table that is told twice, or against what somebody gave by hand, and room that does not suffice.
    #[test]
    fn acpi_rsdp_is_told_once() {
        let finish = |line, rsdp| finish(line, PhysAddr(0x8aff_f000), Some(PhysAddr(rsdp)), 2047).unwrap();
        assert_eq!(finish(b"quiet", 0x7fb7_e014), b"elfcorehdr=2277372K acpi_rsdp=0x7fb7e014 quiet\0");
        assert_eq!(finish(b"acpi_rsdp=0x1 quiet", 0x2), b"elfcorehdr=2277372K acpi_rsdp=0x1 quiet\0");
        let longest = super::finish(b"x", PhysAddr(u64::MAX), Some(PhysAddr(u64::MAX)), 2047).unwrap();
        assert_eq!(longest.len() as u64, LONGEST_ADDITION + 2);
    }

    /// Catches a reused reservation (the capture kernel would set its own memory aside), several of them, quoted spaces that
    /// are cut, and names that only begin alike.
    #[test]
    fn a_reused_line_loses_what_is_not_for_the_capture_kernel() {
        let running =
            b"BOOT_IMAGE=/boot/vmlinuz root=/dev/sda1 crashkernel=256M dyndbg=\"file a +p\" crashkernel=1G,high memmap=4K$0x1000 crashkernelx=1 quiet\n";
        assert_eq!(reuse(running), b"root=/dev/sda1 dyndbg=\"file a +p\" crashkernelx=1 quiet");
        assert_eq!(reuse(b"\n"), b"");
        assert_eq!(reuse(b"\"crashkernel=1G,high\" \"root=/dev/sda 1\""), b"\"root=/dev/sda 1\"");
    }

    /// Catches a refusal of what stands in a file, and words that become one.
    #[test]
    fn lines_of_a_file_become_one() {
        assert_eq!(in_one_line(b"quiet\r\n\tirqpoll\n"), b"quiet   irqpoll");
        assert_eq!(in_one_line(b" a\x01b"), b" a\x01b", "other control bytes are refused later");
    }

    /// Catches a second place of the core header, in quotes or not; kernels take the last.
    #[test]
    fn what_only_the_loader_knows_is_refused() {
        assert_eq!(check(b"a elfcorehdr=1M b"), Err(BadCommandLine::Taken { parameter: "elfcorehdr" }));
        assert_eq!(check(b"a \"elfcorehdr=1M\" b"), Err(BadCommandLine::Taken { parameter: "elfcorehdr" }));
        assert_eq!(check(b"a elfcorehdrx=1M x=elfcorehdr="), Ok(()));
        assert_eq!(check(b"ab\nc"), Err(BadCommandLine::Control { offset: 2, byte: b'\n' }));
    }
}
