//! What the rig changed in the guest's memory between *armed* and the trigger: types only.

use guest_protocol::{HexBytes, PhysRange};
use serde::{Deserialize, Serialize};

/// What the rig changed in the guest's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Changes {
    /// The byte of the loaded crash image that has another value since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tampered: Option<Tampered>,
    /// The pattern below 640 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_pattern: Option<LowPattern>,
}

impl Changes {
    /// Whether nothing was changed.
    pub const fn is_empty(&self) -> bool {
        self.tampered.is_none() && self.low_pattern.is_none()
    }
}

/// A changed byte of the loaded crash image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tampered {
    /// The segment, by the loader's name.
    pub segment: String,
    /// Where the segment's loaded bytes lie, as the loader said it.
    pub loaded: PhysRange,
    /// Physical address of the byte.
    pub address: u64,
    /// What stood there.
    pub before: u8,
    /// What was put there, and read back.
    pub after: u8,
}

/// A pattern in the first kernel's memory below 640 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LowPattern {
    /// Physical address of its first byte.
    pub address: u64,
    /// The bytes, drawn for this cell.
    pub bytes: HexBytes,
}
