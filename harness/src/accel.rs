//! The accelerator: what was asked for, what is used, and why.

use serde::{Deserialize, Serialize};

/// The accelerator that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccelChoice {
    /// KVM where guests are seen to be clearly faster under it, else TCG.
    Auto,
    /// KVM, or an error.
    Kvm,
    /// TCG.
    Tcg,
}

impl std::str::FromStr for AccelChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "kvm" => Ok(Self::Kvm),
            "tcg" => Ok(Self::Tcg),
            _ => Err(format!("unknown accelerator {text:?}; use auto, kvm or tcg")),
        }
    }
}

/// The accelerator that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// Hardware virtualisation.
    Kvm,
    /// QEMU's own translator.
    Tcg,
}

impl Accel {
    /// Value of QEMU's `-accel`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

impl std::fmt::Display for Accel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// What an accelerator was chosen by: recorded with the run and with each of its results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccelReason {
    /// What was asked for.
    pub asked: AccelChoice,
    /// The choice and its reason, a sentence.
    pub reason: String,
    /// Probe guests that ran at a time.
    pub guests: usize,
    /// What the probe took under TCG; none where it came to no end.
    pub tcg: Option<ProbeSeconds>,
    /// What it took under KVM; none where that was not tried, or came to no end.
    pub kvm: Option<ProbeSeconds>,
    /// What it takes under TCG on the host that the table of deadlines was made on.
    pub reference_seconds: f64,
    /// Multiplies every deadline of the run.
    pub deadline_factor: f64,
}

/// What a probe took: the slowest of those that ran at a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeSeconds {
    /// By the clock on the wall.
    pub took: f64,
    /// Of them, those in which QEMU waited for a CPU: the load of the host.
    pub waited: f64,
}
