//! What a load may meet with beside its kernels and its region: a kernel or an administrator who forbids it, a sandbox, a
//! personality.

use serde::{Deserialize, Serialize};

/// What the first kernel's agent does before it starts the loader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Circumstances {
    /// Nothing.
    #[default]
    None,
    /// The loader runs under PER_LINUX32, as below `setarch i386`: the kernel calls itself i686.
    PerLinux32,
    /// The loader runs as root without CAP_SYS_BOOT, as in a container.
    WithoutCapSysBoot,
    /// kernel.kexec_load_disabled is 1, as hardening guides want it.
    KexecLoadDisabled,
    /// kernel.kexec_load_limit_panic is 0: no crash load is left (Linux 6.3 and later).
    LoadLimitUsedUp,
    /// The kernel is locked down, for integrity, as under Secure Boot.
    Lockdown,
    /// A seccomp filter kills the loader at a 64-bit system call.
    #[serde(rename = "no-64-bit-code")]
    No64BitCode,
    /// The loader has loaded once, and runs again, as when a service is reloaded.
    Reload,
    /// The loader has loaded once, and runs again with /proc/iomem telling of another crash region than the kernel's.
    ReloadFails,
}

impl Circumstances {
    /// All of them, in the order of their documentation.
    pub const ALL: [Self; 9] = [
        Self::None,
        Self::PerLinux32,
        Self::WithoutCapSysBoot,
        Self::KexecLoadDisabled,
        Self::LoadLimitUsedUp,
        Self::Lockdown,
        Self::No64BitCode,
        Self::Reload,
        Self::ReloadFails,
    ];

    /// The name in scenarios, filters and ids.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::PerLinux32 => "per-linux32",
            Self::WithoutCapSysBoot => "without-cap-sys-boot",
            Self::KexecLoadDisabled => "kexec-load-disabled",
            Self::LoadLimitUsedUp => "load-limit-used-up",
            Self::Lockdown => "lockdown",
            Self::No64BitCode => "no-64-bit-code",
            Self::Reload => "reload",
            Self::ReloadFails => "reload-fails",
        }
    }

    /// Whether the load meets with nothing.
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Those of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}
