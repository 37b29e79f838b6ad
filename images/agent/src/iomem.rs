//! /proc/iomem: one resource a line, `start-end : name` in hexadecimal, nested ones indented.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use guest_protocol::PhysRange;

/// A region that `crashkernel=` reserved; `,high` gives two of them.
pub const CRASH_KERNEL: &str = "Crash kernel";
/// Ordinary RAM.
pub const SYSTEM_RAM: &str = "System RAM";
/// The running kernel's text.
pub const KERNEL_CODE: &str = "Kernel code";

/// All ranges of this name at any depth, in the order of the file. Lines of another form are passed over.
pub fn ranges(text: &str, name: &str) -> Vec<PhysRange> {
    text.lines().filter_map(parse_line).filter(|&(_, found)| found == name).map(|(range, _)| range).collect()
}

/// The same text with every range of this name `by` bytes further up. `None` where there is none, or one would end beyond the
/// addresses.
pub fn with_moved(text: &str, name: &str, by: u64) -> Option<String> {
    let mut moved = String::with_capacity(text.len());
    let mut any = false;
    for line in text.lines() {
        match parse_line(line).filter(|&(_, found)| found == name) {
            Some((range, _)) => {
                let indent = line.len() - line.trim_ascii_start().len();
                let (start, end) = (range.start.checked_add(by)?, range.end.checked_add(by)?);
                moved.push_str(&line[..indent]);
                moved.push_str(&format!("{start:08x}-{end:08x} : {name}\n"));
                any = true;
            }
            None => {
                moved.push_str(line);
                moved.push('\n');
            }
        }
    }
    any.then_some(moved)
}

fn parse_line(line: &str) -> Option<(PhysRange, &str)> {
    let (range, name) = line.trim_ascii().split_once(" : ")?;
    let (start, end) = range.split_once('-')?;
    let hex = |digits| u64::from_str_radix(digits, 16).ok();
    Some((PhysRange { start: hex(start)?, end: hex(end)? }, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    const HIGH: &str = "\
00000000-00000fff : Reserved
00100000-bffdffff : System RAM
  01000000-01c031a1 : Kernel code
  a9000000-b8ffffff : Crash kernel
100000000-1bfffffff : System RAM
  1a8000000-1b7ffffff : Crash kernel
  1b8000000-1b8000fff : Crash kernel (not quite)
";

    /// Catches the second region of a `,high` pair being lost, addresses cut at 32 bits, and names matched by prefix.
    #[test]
    fn finds_every_region_of_a_name() {
        assert_eq!(
            ranges(HIGH, CRASH_KERNEL),
            vec![
                PhysRange { start: 0xa900_0000, end: 0xb8ff_ffff },
                PhysRange { start: 0x1_a800_0000, end: 0x1_b7ff_ffff },
            ]
        );
        assert_eq!(ranges(HIGH, SYSTEM_RAM).len(), 2);
        assert_eq!(ranges(HIGH, KERNEL_CODE), vec![PhysRange { start: 0x100_0000, end: 0x1c0_31a1 }]);
    }

    /// Catches a region that is moved in part, in width or indentation, or one of another name.
    #[test]
    fn regions_are_moved_where_they_stand() {
        let moved = with_moved(HIGH, CRASH_KERNEL, 16 << 20).unwrap();
        let expected = HIGH
            .replace("a9000000-b8ffffff : Crash", "aa000000-b9ffffff : Crash")
            .replace("1a8000000-1b7ffffff", "1a9000000-1b8ffffff");
        assert_eq!(moved, expected);
        assert_eq!(with_moved("1-2 : System RAM\n", CRASH_KERNEL, 1), None);
        assert_eq!(with_moved("1-ffffffffffffffff : Crash kernel\n", CRASH_KERNEL, 1), None);
    }

    /// Catches a panic on text that is not as expected.
    #[test]
    fn foreign_lines_are_passed_over() {
        assert_eq!(ranges("nonsense\n1-2\nzz-1 : System RAM\n1-2 : System RAM", SYSTEM_RAM).len(), 1);
    }
}
