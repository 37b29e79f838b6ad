//! What a kernel says about itself.

use crate::{Arch, PhysRange};
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What a kernel says about itself at [`crate::Message::Ready`] and [`crate::Message::Up`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFacts {
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub version: String,
    /// `uname -m`, with the personality reset: the running kernel's own machine.
    pub machine: String,
    /// Architecture that the agent was built for.
    pub userspace: Arch,
    /// /proc/cmdline without its newline.
    pub cmdline: String,
    /// CPUs that are online.
    pub cpus: u32,
    /// `Crash kernel` lines of /proc/iomem, in its order. Empty: the kernel reserved nothing.
    pub crash_regions: Vec<PhysRange>,
    /// `System RAM` lines of /proc/iomem, in its order.
    pub system_ram: Vec<PhysRange>,
    /// Whether it translates by five levels of page tables; none where it does not say, as agents of before did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub five_levels: Option<bool>,
    /// What the first CPU says it is; none in what agents said that did not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuIdentity>,
    /// RAM that the firmware's map has in all, in bytes (`System RAM` in /sys/firmware/memmap, which is e820 as it was handed over); none
    /// where the kernel shows no such map, as after a kexec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware_ram: Option<u64>,
    /// The `Kernel code` line of /proc/iomem.
    pub kernel_code: Option<PhysRange>,
    /// /sys/kernel/kexec_crash_loaded; absent where the kernel has no such file.
    pub crash_loaded: Option<bool>,
}

/// What a CPU is, as CPUID tells it and /proc/cpuinfo prints it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuIdentity {
    /// `vendor_id`, such as `AuthenticAMD`.
    pub vendor: String,
    /// `cpu family`, the extended one included.
    pub family: u32,
    /// `model`, the extended one included.
    pub model: u32,
    /// `stepping`.
    pub stepping: u32,
}

impl core::fmt::Display for CpuIdentity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{} family {:#x} model {:#x} stepping {}",
            self.vendor, self.family, self.model, self.stepping
        )
    }
}
