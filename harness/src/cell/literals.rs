//! How sizes, reservations, loaders, triggers and readers are written in scenarios, filters and on the command line.

use super::{Loader, Mib, Reader, Reservation, Trigger};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

/// MiB in a GiB.
const MIB_PER_GIB: u32 = 1024;

/// A text that is none of what it should be. The message says what is wanted, with an example.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LiteralError(pub(super) String);

impl FromStr for Mib {
    type Err = LiteralError;

    /// `256M` or `4G`; at least 1M and below 4 PiB.
    fn from_str(text: &str) -> Result<Self, LiteralError> {
        mib(text).and_then(NonZeroU32::new).map(Self).ok_or_else(|| {
            LiteralError(format!("{text:?} is no size: a whole number of M or G, at least 1M, such as 256M"))
        })
    }
}

impl FromStr for Reservation {
    type Err = LiteralError;

    /// The values of `crashkernel=` that the rig knows: `256M`, `256M@1968M`, `256M,high`.
    fn from_str(text: &str) -> Result<Self, LiteralError> {
        let reservation = if let Some((size, place)) = text.split_once('@') {
            size.parse().ok().zip(mib(place)).map(|(size, offset_mib)| Self::At { size, offset_mib })
        } else if let Some((size, "high")) = text.split_once(',') {
            size.parse().ok().map(|size| Self::High { size })
        } else {
            text.parse().ok().map(|size| Self::Auto { size })
        };
        reservation.ok_or_else(|| {
            LiteralError(format!(
                "{text:?} is no reservation: one of 256M, 256M@1968M and 256M,high, with sizes of at least 1M"
            ))
        })
    }
}

impl FromStr for Loader {
    type Err = LiteralError;

    /// `in-tree`, `kexec-tools@2.0.25`, or a path, which has a slash in it.
    fn from_str(text: &str) -> Result<Self, LiteralError> {
        match text.split_once('@') {
            _ if text == "in-tree" => Ok(Self::InTree),
            _ if text.contains('/') => Ok(Self::Path(PathBuf::from(text))),
            Some(("kexec-tools", version)) if !version.is_empty() => Ok(Self::KexecTools(version.to_owned())),
            Some(_) | None => Err(LiteralError(format!(
                "{text:?} is no loader: in-tree, kexec-tools@VERSION, or a path with a slash, such as ./kexec"
            ))),
        }
    }
}

impl FromStr for Trigger {
    type Err = LiteralError;

    fn from_str(text: &str) -> Result<Self, LiteralError> {
        Self::ALL.into_iter().find(|trigger| trigger.name() == text).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
            LiteralError(format!("{text:?} is no trigger; known: {}", known.join(", ")))
        })
    }
}

impl FromStr for Reader {
    type Err = LiteralError;

    /// `vmcore-dmesg@2.0.25`, by the version of the kexec-tools that has it.
    fn from_str(text: &str) -> Result<Self, LiteralError> {
        match text.split_once('@') {
            Some(("vmcore-dmesg", version)) if !version.is_empty() => {
                Ok(Self::VmcoreDmesg(version.to_owned()))
            }
            Some(_) | None => Err(LiteralError(format!(
                "{text:?} is no reader: vmcore-dmesg@VERSION, such as vmcore-dmesg@2.0.25"
            ))),
        }
    }
}

/// A number of MiB; zero is a place, if no size.
fn mib(text: &str) -> Option<u32> {
    let (digits, factor) = match text.strip_suffix('M') {
        Some(digits) => (digits, 1),
        None => (text.strip_suffix('G')?, MIB_PER_GIB),
    };
    // `parse` takes a sign.
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u32>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_are_read_as_the_kernel_prints_them() {
        // A reading that differs from crashkernel='s own would test another region than the one named.
        for (text, printed) in [
            ("256M", "256M"),
            ("256M@1968M", "256M@1968M"),
            ("1G,high", "1024M,high"),
            ("256M@2G", "256M@2048M"),
        ] {
            assert_eq!(text.parse::<Reservation>().map(|r| r.to_string()), Ok(printed.to_owned()));
        }
        for bad in [
            "",
            "0M",
            "0M@512M",
            "256",
            "256m",
            "256M@",
            "@512M",
            "256M,low",
            "256M,high@512M",
            "+256M",
            "5000000G",
        ] {
            assert!(bad.parse::<Reservation>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn loaders_are_told_apart() {
        // A path that is taken for a name would be looked up in the lock.
        assert_eq!("in-tree".parse(), Ok(Loader::InTree));
        assert_eq!("kexec-tools@2.0.25".parse(), Ok(Loader::KexecTools("2.0.25".to_owned())));
        assert_eq!("./in-tree".parse(), Ok(Loader::Path("./in-tree".into())));
        for bad in ["", "kexec-tools", "kexec-tools@", "kexec", "kexec@2"] {
            assert!(bad.parse::<Loader>().is_err(), "{bad:?}");
        }
    }
}
