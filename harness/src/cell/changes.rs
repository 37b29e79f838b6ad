//! What the rig changes in the guest's memory, from outside, between *armed* and the trigger.

use super::LiteralError;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The part of the loaded crash image in which the rig flips a bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tamper {
    /// None of them.
    #[default]
    None,
    /// The capture kernel.
    Kernel,
    /// Its initramfs.
    Initrd,
    /// boot_params, with the command line and what else lies behind it.
    BootParams,
    /// The purgatory itself.
    Purgatory,
    /// The core headers.
    Elfcorehdr,
}

impl Tamper {
    /// All of them, in the order of their documentation.
    pub const ALL: [Self; 6] =
        [Self::None, Self::Kernel, Self::Initrd, Self::BootParams, Self::Purgatory, Self::Elfcorehdr];

    /// The name in scenarios and filters, which is the loader's own of the segment.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::BootParams => "boot_params",
            Self::Purgatory => "purgatory",
            Self::Elfcorehdr => "elfcorehdr",
        }
    }

    /// The segment's name; none where none is changed.
    pub fn segment(self) -> Option<&'static str> {
        (self != Self::None).then(|| self.name())
    }
}

impl FromStr for Tamper {
    type Err = LiteralError;

    fn from_str(text: &str) -> Result<Self, LiteralError> {
        Self::ALL.into_iter().find(|tamper| tamper.name() == text).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
            LiteralError(format!("{text:?} is no part of a crash image; known: {}", known.join(", ")))
        })
    }
}

/// What becomes of the first kernel's memory below 640 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LowMemory {
    /// Nothing.
    #[default]
    Untouched,
    /// A page of it gets a pattern, which the vmcore must have.
    Planted,
}

impl LowMemory {
    /// Both, in the order of their documentation.
    pub const ALL: [Self; 2] = [Self::Untouched, Self::Planted];

    /// The name in scenarios and filters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Untouched => "untouched",
            Self::Planted => "planted",
        }
    }
}

impl FromStr for LowMemory {
    type Err = LiteralError;

    fn from_str(text: &str) -> Result<Self, LiteralError> {
        Self::ALL.into_iter().find(|low| low.name() == text).ok_or_else(|| {
            LiteralError(format!(
                "{text:?} says nothing of the memory below 640 KiB; known: untouched, planted"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: a name in results or evidence is another one than in scenarios.
    #[test]
    fn names_are_those_of_the_result_files() {
        for tamper in Tamper::ALL {
            assert_eq!(serde_json::to_value(tamper).unwrap(), tamper.name());
            assert_eq!(tamper.name().parse(), Ok(tamper));
        }
        for low in LowMemory::ALL {
            assert_eq!(serde_json::to_value(low).unwrap(), low.name());
            assert_eq!(low.name().parse(), Ok(low));
        }
        assert!("boot-params".parse::<Tamper>().is_err() && "".parse::<LowMemory>().is_err());
        assert_eq!((Tamper::None.segment(), Tamper::Initrd.segment()), (None, Some("initrd")));
    }
}
