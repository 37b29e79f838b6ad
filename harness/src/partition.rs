//! One of several parts of the cells, for runs that are spread over hosts or days. Pure.
//!
//! A cell's part follows from its own boot alone: it stays the same when other cells come or go, cells that share a boot stay
//! together, and each cell is in exactly one part. Parts are of about the same size, not of exactly the same.

use crate::cell::Cell;
use sha2::{Digest, Sha256};
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Part `part` of `of`: 1 <= part <= of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    part: NonZeroU64,
    of: NonZeroU64,
}

/// A text that names no part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// It is not two numbers.
    #[error("{0:?} is no part: expected M/N, such as 1/4 for the first of four")]
    Form(String),
    /// The part is not one of them.
    #[error("{part}/{of}: parts are counted from 1 to {of}")]
    Range {
        /// As written.
        part: u64,
        /// As written.
        of: NonZeroU64,
    },
    /// There are no parts.
    #[error("{0}/0: there is one part at the least")]
    NoParts(u64),
}

impl FromStr for Partition {
    type Err = PartitionError;

    fn from_str(text: &str) -> Result<Self, PartitionError> {
        // `parse` takes a sign.
        let number = |text: &str| (!text.starts_with('+')).then(|| text.parse::<u64>().ok()).flatten();
        let numbers = text.split_once('/').and_then(|(part, of)| number(part).zip(number(of)));
        let (part, of) = numbers.ok_or_else(|| PartitionError::Form(text.to_owned()))?;
        let of = NonZeroU64::new(of).ok_or(PartitionError::NoParts(part))?;
        match NonZeroU64::new(part) {
            Some(part) if part <= of => Ok(Self { part, of }),
            Some(_) | None => Err(PartitionError::Range { part, of }),
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.of)
    }
}

impl Partition {
    /// Whether the cell is in this part.
    pub fn has(self, cell: &Cell) -> bool {
        boot_number(cell) % self.of == self.part.get() - 1
    }
}

/// A number that cells of one boot have in common, and that is spread evenly over boots. It follows from what the cell says,
/// not from the words that the rig adds to a command line: those change with the rig.
fn boot_number(cell: &Cell) -> u64 {
    let (platform, words) = (&cell.platform, cell.first_cmdline.join(" "));
    let reservation = cell.reservation.to_string();
    let boot =
        [&cell.first.name, cell.userspace.name(), &reservation, &words, &platform.name, &platform.machine];
    let digest = Sha256::digest(boot.join("\n").as_bytes());
    digest.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::grouped;
    use crate::cell::Reservation;
    use crate::testing;
    use guest_protocol::Arch;

    /// Cells of 240 boots, three each.
    fn cells() -> Vec<Cell> {
        let mut cells = Vec::new();
        for place in 0..120 {
            for userspace in [Arch::I386, Arch::X86_64] {
                for capture in ["5.10-amd64", "6.1-amd64", "6.12-amd64"] {
                    let mut cell = testing::cell();
                    cell.reservation =
                        Reservation::At { size: testing::mib(256), offset_mib: 512 + 16 * place };
                    cell.userspace = userspace;
                    cell.capture.name = capture.into();
                    cells.push(cell);
                }
            }
        }
        cells
    }

    fn partition(text: &str) -> Partition {
        text.parse().unwrap()
    }

    /// Bug: a cell is run in no part, or in two, and nobody notices.
    #[test]
    fn each_cell_is_in_exactly_one_part() {
        let cells = cells();
        for of in [1, 2, 3, 7] {
            let parts: Vec<_> = (1..=of).map(|part| partition(&format!("{part}/{of}"))).collect();
            for cell in &cells {
                assert_eq!(parts.iter().filter(|part| part.has(cell)).count(), 1, "{} of {of}", cell.id);
            }
        }
    }

    /// Bug: cells that share a boot are torn apart, so that every part boots everything; or all cells land in one part.
    #[test]
    fn boots_stay_together_and_are_spread() {
        let cells = cells();
        let part = partition("2/4");
        for group in grouped(cells.iter(), |cell| cell) {
            assert!(group.iter().all(|cell| part.has(cell) == part.has(group[0])));
        }
        let size = cells.iter().filter(|cell| part.has(cell)).count();
        assert!((120..=240).contains(&size), "{size} of {}", cells.len());
    }

    /// Bug: a changed digest moves cells between parts, so that parts of one suite that were run before and after it miss some.
    #[test]
    fn parts_are_what_they_were() {
        assert_eq!(boot_number(&testing::cell()), BOOT_NUMBER);
        let reference = Cell { loader: crate::cell::Loader::KexecTools("2.0.25".into()), ..testing::cell() };
        assert_eq!(boot_number(&reference), BOOT_NUMBER, "runs from the same boot");
    }

    /// As it was computed when this was written.
    const BOOT_NUMBER: u64 = 18_149_510_723_529_418_272;

    /// Bug: `0/4` or `5/4` runs nothing and succeeds.
    #[test]
    fn parts_that_are_none_are_refused() {
        for good in ["1/1", "1/4", "4/4"] {
            assert_eq!(partition(good).to_string(), good);
        }
        for (bad, told) in [
            ("", "expected M/N"),
            ("1", "expected M/N"),
            ("1/", "expected M/N"),
            ("a/4", "expected M/N"),
            ("+1/4", "expected M/N"),
            ("-1/4", "expected M/N"),
            ("1/4/2", "expected M/N"),
            ("0/4", "counted from 1 to 4"),
            ("5/4", "counted from 1 to 4"),
            ("1/0", "one part at the least"),
        ] {
            let error = bad.parse::<Partition>().unwrap_err().to_string();
            assert!(error.contains(told), "{bad}: {error}");
        }
    }
}
