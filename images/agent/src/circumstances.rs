//! What the circumstances of a load take: a setting of the kernel's, a bound on the loader alone, or a second load.

use guest_protocol::Circumstances;

/// What is to be done for the circumstances of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// Nothing.
    Nothing,
    /// The kernel gets this setting before the loader is started.
    Setting(Setting),
    /// The loader is started with this bound.
    Bound(Bound),
    /// The loader is run twice.
    Reload {
        /// The second time with another crash region in /proc/iomem.
        moved: bool,
    },
}

/// A setting of the running kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The file system that it is in and where that is mounted, where it is none of those that are there anyway.
    pub mount: Option<(&'static str, &'static str)>,
    /// Its file.
    pub path: &'static str,
    /// What is written there.
    pub value: &'static str,
}

/// What a program is bound by from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The personality PER_LINUX32.
    PerLinux32,
    /// No CAP_SYS_BOOT.
    NoCapSysBoot,
    /// A seccomp filter that kills it at a system call of x86_64.
    NoNativeCalls,
}

/// How far the second load of [`Arrangement::Reload`] may find the crash region from its place, in bytes: whatever is put at its end
/// lies outside of the kernel's, and it still lies in RAM.
pub const MOVED_BY: u64 = 16 << 20;

/// What these circumstances take. The files are those of Documentation/admin-guide/sysctl/kernel.rst and of the lockdown module
/// (security/lockdown/lockdown.c).
pub fn arrangement(circumstances: Circumstances) -> Arrangement {
    let sysctl = |path, value| Arrangement::Setting(Setting { mount: None, path, value });
    match circumstances {
        Circumstances::None => Arrangement::Nothing,
        Circumstances::PerLinux32 => Arrangement::Bound(Bound::PerLinux32),
        Circumstances::WithoutCapSysBoot => Arrangement::Bound(Bound::NoCapSysBoot),
        Circumstances::No64BitCode => Arrangement::Bound(Bound::NoNativeCalls),
        Circumstances::KexecLoadDisabled => sysctl("/proc/sys/kernel/kexec_load_disabled", "1"),
        Circumstances::LoadLimitUsedUp => sysctl("/proc/sys/kernel/kexec_load_limit_panic", "0"),
        Circumstances::Lockdown => Arrangement::Setting(Setting {
            mount: Some(("securityfs", "/sys/kernel/security")),
            path: "/sys/kernel/security/lockdown",
            value: "integrity",
        }),
        Circumstances::Reload => Arrangement::Reload { moved: false },
        Circumstances::ReloadFails => Arrangement::Reload { moved: true },
    }
}
