//! Segments' places as somebody chose them by hand (`--place`). They stand in for this program's choice, to prove that a refusal
//! is right or wrong; they are checked like any other place (`layout`).

use crate::addr::PhysAddr;
use crate::segment::SegmentKind;
use alloc::string::String;
use core::fmt;

/// The places that were chosen, by segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places([Option<PhysAddr>; SegmentKind::ALL.len()]);

/// Why a text names no places. Fits behind "--place: ".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadPlaces {
    /// Not `SEGMENT=ADDRESS`.
    NoAddress(String),
    /// No such segment.
    UnknownSegment(String),
    /// Not a hexadecimal number with `0x` of at most 64 bits.
    NotHexadecimal {
        /// Whose place it is.
        segment: SegmentKind,
        /// What stands there.
        found: String,
    },
    /// The segment has a place already.
    Twice(SegmentKind),
}

impl fmt::Display for BadPlaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress(found) => {
                write!(f, "\"{found}\" is not SEGMENT=ADDRESS, such as kernel=0x10000000")
            }
            Self::UnknownSegment(found) => {
                write!(f, "there is no segment \"{found}\"; they are")?;
                SegmentKind::ALL
                    .iter()
                    .enumerate()
                    .try_for_each(|(index, kind)| write!(f, "{} {kind}", if index == 0 { "" } else { "," }))
            }
            Self::NotHexadecimal { segment, found } => {
                write!(
                    f,
                    "the {segment}'s address \"{found}\" is not hexadecimal with 0x, of at most 64 bits"
                )
            }
            Self::Twice(segment) => write!(f, "the {segment} was given two places"),
        }
    }
}

impl Places {
    /// The place of a segment, if one was chosen.
    pub const fn get(&self, segment: SegmentKind) -> Option<PhysAddr> {
        self.0[segment as usize]
    }

    /// Reads more places: `SEGMENT=ADDRESS[,SEGMENT=ADDRESS]...`.
    pub fn add(&mut self, text: &[u8]) -> Result<(), BadPlaces> {
        text.split(|&byte| byte == b',').try_for_each(|item| self.add_one(item))
    }

    fn add_one(&mut self, item: &[u8]) -> Result<(), BadPlaces> {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let equals =
            item.iter().position(|&byte| byte == b'=').ok_or_else(|| BadPlaces::NoAddress(shown(item)))?;
        let (name, address) = (&item[..equals], &item[equals + 1..]);
        let segment = SegmentKind::ALL
            .into_iter()
            .find(|kind| kind.name().as_bytes() == name)
            .ok_or_else(|| BadPlaces::UnknownSegment(shown(name)))?;
        let address = hexadecimal(address)
            .ok_or_else(|| BadPlaces::NotHexadecimal { segment, found: shown(address) })?;
        match self.0[segment as usize].replace(PhysAddr(address)) {
            None => Ok(()),
            Some(_) => Err(BadPlaces::Twice(segment)),
        }
    }
}

/// A number with `0x`, without signs, which `from_str_radix` alone would take.
fn hexadecimal(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"0x")?;
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    u64::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn read(text: &str) -> Result<Places, BadPlaces> {
        let mut places = Places::default();
        places.add(text.as_bytes()).map(|()| places)
    }

    /// Catches places that end up with another segment.
    #[test]
    fn every_segment_gets_its_own_place() {
        let places = read(
            "elfcorehdr=0x5000,kernel=0x1000,initrd=0x2000,backup=0x6000,purgatory=0x4000,boot_params=0x3000",
        )
        .unwrap();
        let found = SegmentKind::ALL.map(|kind| places.get(kind).map(|place| place.0));
        assert_eq!(found, [0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000].map(Some));
        let some = read("initrd=0x1ffffF000").unwrap();
        assert_eq!(some.get(SegmentKind::Initrd), Some(PhysAddr(0x1_ffff_f000)));
        assert_eq!(some.get(SegmentKind::Kernel), None);
    }

    /// Catches a place that is silently another one: decimal digits read as hexadecimal, the last of two, one that wraps.
    #[test]
    fn what_is_no_place_is_named() {
        for (text, message) in [
            ("kernel", "\"kernel\" is not SEGMENT=ADDRESS"),
            ("kernel=0x1000,", "\"\" is not SEGMENT=ADDRESS"),
            (
                "kernal=0x1000",
                "no segment \"kernal\"; they are kernel, initrd, boot_params, purgatory, elfcorehdr, backup",
            ),
            ("kernel=1000", "the kernel's address \"1000\" is not hexadecimal"),
            ("kernel=0x", "is not hexadecimal"),
            ("kernel=0x+1000", "is not hexadecimal"),
            ("kernel=0x10000000000000000", "of at most 64 bits"),
            ("initrd=0x1000,initrd=0x1000", "the initrd was given two places"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
