//! A cell: one fully determined trial. Made by the scenario module, run by the guest module, judged with its expectation.

mod changes;
mod literals;

use crate::outcome::Expectation;
use guest_protocol::{Arch, Circumstances, CpuIdentity, PhysRange};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;
use std::path::PathBuf;

pub use changes::{LowMemory, Tamper};
pub use literals::LiteralError;

/// Stable, readable name of a cell, derived from its content and never from its position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CellId(pub String);

impl std::fmt::Display for CellId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// One fully determined trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Its name.
    pub id: CellId,
    /// The suite that it belongs to.
    pub suite: String,
    /// The kernel that panics.
    pub first: Kernel,
    /// Architecture of agent and loader in the first kernel.
    pub userspace: Arch,
    /// What loads the capture kernel.
    pub loader: Loader,
    /// Arguments for the loader beyond those that every load has, such as `--ignore-address-limits`.
    pub loader_args: Vec<String>,
    /// What the load meets with.
    #[serde(default, skip_serializing_if = "Circumstances::is_none")]
    pub circumstances: Circumstances,
    /// The kernel that kexec starts.
    pub capture: Kernel,
    /// What `crashkernel=` asks for.
    pub reservation: Reservation,
    /// The machine.
    pub platform: Platform,
    /// What makes the first kernel panic.
    pub trigger: Trigger,
    /// What reads the vmcore in the capture kernel beside the rig's agent, where anything does.
    pub reader: Option<Reader>,
    /// Words for the first kernel's command line beyond those that every cell has.
    pub first_cmdline: Vec<String>,
    /// Words for the capture kernel's command line beyond those that every cell has.
    pub capture_cmdline: Vec<String>,
    /// The part of the loaded crash image in which the rig flips a bit before the panic.
    #[serde(default)]
    pub tamper: Tamper,
    /// What the rig does to the first kernel's memory below 640 KiB before the panic.
    #[serde(default)]
    pub low_memory: LowMemory,
    /// What must come of it.
    pub expected: Expectation,
}

/// A kernel: its name and its architecture, which is known before anything boots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Kernel {
    /// Name in the lock file, such as `6.1-686-pae`, or for a local image its file name.
    pub name: String,
    /// Its architecture.
    pub arch: Arch,
    /// Whether it is a PAE kernel. Always true for x86_64.
    pub pae: bool,
    /// A local bzImage; none means the lock file's.
    pub path: Option<PathBuf>,
}

impl Kernel {
    /// Its version, major and minor, by its name in the lock file. Of a local image it is not known before it boots.
    pub fn version(&self) -> Option<(u32, u32)> {
        if self.path.is_some() {
            return None;
        }
        let (version, _) = self.name.split_once('-')?;
        let (major, minor) = version.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    }
}

/// What loads the capture kernel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loader {
    /// This repository's `kexec-load`.
    InTree,
    /// A released kexec-tools out of the lock file, by its upstream version.
    KexecTools(String),
    /// A local static program that takes kexec-tools' options.
    Path(PathBuf),
}

impl std::fmt::Display for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InTree => f.pad("in-tree"),
            Self::KexecTools(version) => f.pad(&format!("kexec-tools@{version}")),
            Self::Path(path) => f.pad(&path.display().to_string()),
        }
    }
}

/// A program that reads the vmcore independently of the rig.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reader {
    /// The `vmcore-dmesg` of a released kexec-tools out of the lock file, by its upstream version.
    VmcoreDmesg(String),
}

impl std::fmt::Display for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::VmcoreDmesg(version) => f.pad(&format!("vmcore-dmesg@{version}")),
        }
    }
}

/// A size in MiB, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mib(pub NonZeroU32);

impl Mib {
    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        (self.0.get() as u64) << 20
    }
}

impl std::fmt::Display for Mib {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}M", self.0)
    }
}

/// What `crashkernel=` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Reservation {
    /// `size`: the kernel chooses the place.
    Auto {
        /// Its size.
        size: Mib,
    },
    /// `size@offset`.
    At {
        /// Its size.
        size: Mib,
        /// Physical address of its first byte, in MiB.
        offset_mib: u32,
    },
    /// `size,high`.
    High {
        /// Its size.
        size: Mib,
    },
}

impl Reservation {
    /// The kind's name in filters.
    pub const fn kind_name(self) -> &'static str {
        match self {
            Self::Auto { .. } => "auto",
            Self::At { .. } => "at",
            Self::High { .. } => "high",
        }
    }

    /// The size that is asked for.
    pub const fn size(self) -> Mib {
        match self {
            Self::Auto { size } | Self::At { size, .. } | Self::High { size } => size,
        }
    }

    /// The range that is asked for, where it is fixed.
    pub fn range(self) -> Option<PhysRange> {
        match self {
            Self::At { size, offset_mib } => {
                let start = u64::from(offset_mib) << 20;
                Some(PhysRange { start, end: start + (size.bytes() - 1) })
            }
            Self::Auto { .. } | Self::High { .. } => None,
        }
    }
}

impl std::fmt::Display for Reservation {
    /// The value of `crashkernel=`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto { size } => write!(f, "{size}"),
            Self::At { size, offset_mib } => write!(f, "{size}@{offset_mib}M"),
            Self::High { size } => write!(f, "{size},high"),
        }
    }
}

/// The emulated machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Name in the scenario, part of the cell's id.
    pub name: String,
    /// QEMU's `-machine`, options included, such as `pc,max-ram-below-4g=4G`.
    pub machine: String,
    /// RAM.
    pub memory: Mib,
    /// QEMU's `-cpu`, options included.
    pub cpu: String,
    /// Number of CPUs.
    pub cpus: NonZeroU32,
    /// How a first kernel comes up on it.
    pub boot: FirstBoot,
    /// What the machine starts with.
    #[serde(default)]
    pub firmware: Firmware,
    /// Whether first kernels must come up with five levels of page tables on it. A CPU that has them is not enough: the kernel must
    /// be built for them.
    #[serde(default)]
    pub five_levels: bool,
    /// The hardware that it stands for; none where it is QEMU's own machine and nothing more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<Hardware>,
}

/// Hardware that a machine stands for: its guests must find what that one's would.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hardware {
    /// Its name in `platforms.yaml`, such as `ekabini`.
    pub name: String,
    /// What its CPUs say they are.
    pub identity: CpuIdentity,
}

/// What a machine starts with, and what a kernel finds of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// QEMU's own, SeaBIOS.
    #[default]
    Bios,
    /// OVMF out of the lock file: first kernels come up by their EFI stub.
    Uefi,
}

impl Firmware {
    /// All of them, in the order of their documentation.
    pub const ALL: [Self; 2] = [Self::Bios, Self::Uefi];

    /// The name in scenarios and filters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Uefi => "uefi",
        }
    }
}

/// How a first kernel comes up. What it comes to at *ready* is the same; what is tested begins there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirstBoot {
    /// The fastest way that kernel and machine allow.
    #[default]
    Fastest,
    /// From its bzImage, as boot loaders do.
    #[serde(rename = "bzimage")]
    BzImage,
}

/// What makes the first kernel panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// QMP's `inject-nmi`, with `unknown_nmi_panic` on the first kernel's command line.
    Nmi,
    /// Alt-SysRq-c on the machine's keyboard, by QMP's `send-key`.
    SysrqKey,
    /// A break on the console's line, by QMP's `chardev-send-break`, and a `c`.
    SerialBreak,
    /// /proc/sysrq-trigger, written by the agent on [`Trigger::SYSRQ_CPU`].
    SysrqTrigger,
}

impl Trigger {
    /// All triggers, in the order of their documentation.
    pub const ALL: [Self; 4] = [Self::Nmi, Self::SysrqKey, Self::SerialBreak, Self::SysrqTrigger];

    /// The CPU that [`Trigger::SysrqTrigger`] is pulled on: one other than that which booted.
    pub const SYSRQ_CPU: u32 = 1;

    /// The command that pulls it in QEMU's monitor. Of one that the agent pulls another one, which panics the kernel too.
    pub const fn monitor_command(self) -> &'static str {
        match self {
            Self::Nmi | Self::SysrqTrigger => "nmi",
            Self::SysrqKey => "sendkey alt-sysrq-c",
            Self::SerialBreak => "chardev-send-break console",
        }
    }

    /// What is to be typed on the console after it.
    pub const fn typed(self) -> &'static str {
        match self {
            Self::SerialBreak => "c",
            Self::Nmi | Self::SysrqKey | Self::SysrqTrigger => "",
        }
    }

    /// Whether the first kernel must let the magic SysRq key do all that it can: by default Debian's let it do no crash.
    /// (/proc/sysrq-trigger always may.)
    pub const fn needs_sysrq(self) -> bool {
        match self {
            Self::SysrqKey | Self::SerialBreak => true,
            Self::Nmi | Self::SysrqTrigger => false,
        }
    }

    /// The name in scenarios and filters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nmi => "nmi",
            Self::SysrqKey => "sysrq-key",
            Self::SerialBreak => "serial-break",
            Self::SysrqTrigger => "sysrq-trigger",
        }
    }

    /// The first kernel's panic line, without its time.
    pub const fn panic_text(self) -> &'static str {
        match self {
            // arch/x86/kernel/nmi.c, `unknown_nmi_error`, and kernel/panic.c.
            Self::Nmi => "Kernel panic - not syncing: NMI: Not continuing",
            // drivers/tty/sysrq.c, `sysrq_handle_crash`.
            Self::SysrqKey | Self::SerialBreak | Self::SysrqTrigger => {
                "Kernel panic - not syncing: sysrq triggered crash"
            }
        }
    }
}
