//! What combinations can be asked for by: which of their choices say it, and its values in words.

use super::cross::{Choice, Combination, Cross};
use super::written::Factor;

impl Factor {
    /// What a block's axes are.
    pub(super) const AXES: [Self; 16] = [
        Self::First,
        Self::Userspace,
        Self::Loader,
        Self::LoaderArgs,
        Self::Circumstances,
        Self::Capture,
        Self::Region,
        Self::Trigger,
        Self::Reader,
        Self::Tamper,
        Self::LowMemory,
        Self::Hardware,
        Self::Memory,
        Self::Machine,
        Self::Firmware,
        Self::Cpus,
    ];

    /// What `machines` lists.
    pub(super) const OF_ON: [Self; 5] =
        [Self::Hardware, Self::Memory, Self::Machine, Self::Firmware, Self::Cpus];

    /// As it is written.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Userspace => "userspace",
            Self::Loader => "loader",
            Self::LoaderArgs => "loader-args",
            Self::Circumstances => "circumstances",
            Self::Capture => "capture",
            Self::Region => "region",
            Self::Trigger => "trigger",
            Self::Reader => "reader",
            Self::Tamper => "tamper",
            Self::LowMemory => "low-memory",
            Self::Pair => "pair",
            Self::Limit => "limit",
            Self::Hardware => "hardware",
            Self::Memory => "memory",
            Self::Machine => "machine",
            Self::Firmware => "firmware",
            Self::Cpus => "cpus",
        }
    }

    /// What says its value.
    pub(super) const fn choices(self) -> &'static [Choice] {
        match self {
            Self::First => &[Choice::First],
            Self::Userspace => &[Choice::Userspace],
            Self::Loader => &[Choice::Loader],
            Self::LoaderArgs | Self::Circumstances => &[Choice::Load],
            Self::Capture => &[Choice::Capture],
            Self::Region
            | Self::Limit
            | Self::Hardware
            | Self::Memory
            | Self::Machine
            | Self::Firmware
            | Self::Cpus => &[Choice::Region],
            Self::Trigger | Self::Reader | Self::Tamper | Self::LowMemory => &[Choice::End],
            Self::Pair => &[Choice::First, Choice::Capture],
        }
    }
}

impl Cross<'_> {
    /// The value of a factor in words, as far as this choice says it: of a pair of architectures either choice says one.
    pub(super) fn word(&self, factor: Factor, choice: Choice, combination: Combination) -> String {
        let region = self.region(combination);
        let platform = &region.platform;
        let (args, circumstances) = self.load(combination);
        let end = self.end(combination);
        match factor {
            Factor::First => self.first(combination).name.clone(),
            Factor::Userspace => self.userspace(combination).to_string(),
            Factor::Loader => self.loader(combination).to_string(),
            Factor::LoaderArgs => args.iter().map(|arg| arg.0.as_str()).collect::<Vec<_>>().join(" "),
            Factor::Circumstances => circumstances.name().to_owned(),
            Factor::Capture => self.capture(combination).name.clone(),
            // A platform that `machines` make is five axes; any other is one with its region.
            Factor::Region if region.machine.is_some() => region.region.reservation.to_string(),
            Factor::Region => format!("{} on {}", region.region.reservation, platform.name),
            Factor::Trigger => end.trigger.name().to_owned(),
            Factor::Reader => end.reader.map(ToString::to_string).unwrap_or_default(),
            Factor::Tamper => end.tamper.name().to_owned(),
            Factor::LowMemory => end.low_memory.name().to_owned(),
            Factor::Pair if choice == Choice::First => self.first(combination).arch.to_string(),
            Factor::Pair => self.capture(combination).arch.to_string(),
            Factor::Limit => region.limit.unwrap_or_default().to_owned(),
            Factor::Hardware => {
                platform.hardware.as_ref().map(|known| known.name.clone()).unwrap_or_default()
            }
            Factor::Memory => platform.memory.to_string(),
            Factor::Machine => region.machine.as_ref().unwrap_or(&platform.machine).clone(),
            Factor::Firmware => platform.firmware.name().to_owned(),
            Factor::Cpus => platform.cpus.to_string(),
        }
    }

    /// The same for every item of the choice's list.
    pub(super) fn words(&self, factor: Factor, choice: Choice) -> Vec<String> {
        self.over(&[choice]).map(|combination| self.word(factor, choice, combination)).collect()
    }
}
