//! What is wrong with a command line, in words for whoever typed it.

use super::BadValue;
use crate::places::BadPlaces;
use alloc::string::String;
use core::fmt;

/// What is wrong with the command line. Long options are named without their hyphens in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadUsage {
    /// No such option.
    Unknown(String),
    /// Several options begin like that: the first two of them.
    Ambiguous(String, [&'static str; 2]),
    /// An option of kexec-tools that cannot be had here: why, and what to do instead.
    Refused(&'static str, &'static str),
    /// The option needs a value and has none.
    NoValue(&'static str),
    /// The option takes no value and has one.
    Value(&'static str),
    /// The option's value means nothing.
    BadValue(&'static str, BadValue),
    /// The option was given twice.
    Twice(&'static str),
    /// No action was asked for.
    NoAction,
    /// A load without a kernel.
    NoKernel,
    /// More than one file.
    MoreFiles(String),
    /// A file or a load option beside an action that takes none.
    NotWith(&'static str),
    /// An option that only a load by kexec_load(2) can heed.
    NotWithFileLoad(&'static str),
    /// `--mem-min` above `--mem-max`.
    NothingBetween,
    /// `--place` names no places.
    Places(BadPlaces),
}

impl fmt::Display for BadUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(option) => write!(f, "unknown option {option}"),
            Self::Ambiguous(option, [one, other]) => {
                write!(f, "{option} may be --{one} or --{other}: write more of it")
            }
            Self::Refused(option, why) => write!(f, "--{option} {why}"),
            Self::NoValue(option) => write!(f, "--{option} needs a value: --{option}=VALUE"),
            Self::Value(option) => write!(f, "--{option} takes no value"),
            Self::BadValue(option, why) => write!(f, "--{option}: {why}"),
            Self::Twice(option) => write!(f, "--{option} was given twice, by this name or its other"),
            Self::NoAction => {
                f.write_str("nothing to do: give --load-panic (-p), --unload (-p -u) or --status (-S)")
            }
            Self::NoKernel => f.write_str("--load-panic needs the capture kernel's bzImage"),
            Self::MoreFiles(file) => write!(f, "one bzImage is enough: what is {file}?"),
            Self::NotWith(action) => write!(f, "--{action} takes neither files nor options of a load"),
            Self::NotWithFileLoad(option) => write!(
                f,
                "--{option} is not possible with -s or -a, where the kernel does the loading: leave these out"
            ),
            Self::NothingBetween => f.write_str("--mem-min lies above --mem-max"),
            Self::Places(why) => write!(f, "--place: {why}"),
        }
    }
}
