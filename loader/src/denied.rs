//! Why the kernel answers EPERM to a load. It has five reasons and one errno for them (kernel/kexec.c, `kexec_load_permitted` and
//! `kexec_load_check`; kernel/kexec_file.c, `kimage_validate_signature`); which it was can be read from files.

use crate::kexec::Call;
use crate::rule::Arch;
use crate::sysfs;
use core::fmt;

/// What the files say. Empty where one is missing or cannot be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looked<'a> {
    /// /proc/self/status.
    pub status: &'a [u8],
    /// /proc/sys/kernel/kexec_load_disabled.
    pub disabled: &'a [u8],
    /// /proc/sys/kernel/kexec_load_limit_panic, since Linux 6.3, as it was before the call: each call takes one, whatever comes of it.
    pub limit_panic: &'a [u8],
    /// /sys/kernel/security/lockdown.
    pub lockdown: &'a [u8],
}

/// The reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The process lacks the capability.
    NoCapability,
    /// `kernel.kexec_load_disabled` is 1.
    Disabled,
    /// `kernel.kexec_load_limit_panic` is 0.
    LimitUsedUp,
    /// The kernel is locked down.
    LockedDown {
        /// How far: the word that the kernel has for it.
        level: &'static str,
        /// What to do.
        way_out: WayOut,
    },
    /// None of these, and a seccomp filter is in place.
    Filtered,
    /// None of all these.
    Unknown {
        /// Whether lockdown can be told at all: its file is on a file system of its own, which small systems do not mount.
        lockdown_seen: bool,
        /// What to do if that is it.
        way_out: WayOut,
    },
}

/// What may still load where the kernel is locked down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayOut {
    /// kexec_file_load.
    FileLoad,
    /// Another image.
    SignedImage,
    /// Whatever kexec_file_load lacked, which was tried before.
    Before,
    /// Nothing.
    None,
}

impl WayOut {
    /// What there is beside this call on this kernel.
    pub const fn beside(call: Call, running: Arch, after_file_load: bool) -> Self {
        match (call, running) {
            (_, Arch::I386) => Self::None,
            (Call::FileLoad, Arch::X86_64) => Self::SignedImage,
            (Call::Load, Arch::X86_64) if after_file_load => Self::Before,
            (Call::Load, Arch::X86_64) => Self::FileLoad,
        }
    }
}

impl fmt::Display for WayOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FileLoad => "Use -s, by which the kernel verifies the image itself",
            Self::SignedImage => "The image's signature is not one that it trusts: take a signed kernel",
            Self::Before => "Only kexec_file_load is left then: see why that failed",
            Self::None => "An i386 kernel loads nothing then: boot without lockdown=",
        })
    }
}

/// Finds the reason, in the order in which the kernel looks.
pub fn diagnose(looked: &Looked<'_>, way_out: WayOut) -> Denied {
    if effective(looked.status).is_some_and(|capabilities| capabilities & CAP_SYS_BOOT == 0) {
        Denied::NoCapability
    } else if sysfs::decimal(looked.disabled) == Some(1) {
        Denied::Disabled
    } else if sysfs::decimal(looked.limit_panic) == Some(0) {
        Denied::LimitUsedUp
    } else if let Some(level) = locked_down(looked.lockdown) {
        Denied::LockedDown { level, way_out }
    } else if field(looked.status, b"Seccomp:") == Some(b"2") {
        // SECCOMP_MODE_FILTER.
        Denied::Filtered
    } else {
        Denied::Unknown { lockdown_seen: !looked.lockdown.is_empty(), way_out }
    }
}

/// The bit of CAP_SYS_BOOT (include/uapi/linux/capability.h) in a set of capabilities.
const CAP_SYS_BOOT: u64 = 1 << 22;

/// The effective capabilities, from /proc/self/status.
fn effective(status: &[u8]) -> Option<u64> {
    sysfs::hexadecimal(field(status, b"CapEff:")?)
}

/// The value of a line of /proc/self/status.
fn field<'a>(status: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut lines = status.split(|&byte| byte == b'\n');
    lines.find_map(|line| line.strip_prefix(name)).map(<[u8]>::trim_ascii)
}

/// How far the kernel is locked down, if it is: the word in brackets (kernel_lockdown(7), security/lockdown/lockdown.c).
fn locked_down(text: &[u8]) -> Option<&'static str> {
    let is = |word: &[u8]| text.windows(word.len()).any(|at| at == word);
    if is(b"[integrity]") {
        Some("integrity")
    } else if is(b"[confidentiality]") {
        Some("confidentiality")
    } else {
        None
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCapability => f.write_str(
                "this process lacks CAP_SYS_BOOT (CapEff in /proc/self/status). Run this as root, and not in a container",
            ),
            Self::Disabled => f.write_str(
                "kernel.kexec_load_disabled is 1, until the next boot. See who sets it (/etc/sysctl.d), and load before that",
            ),
            Self::LimitUsedUp => f.write_str(
                "kernel.kexec_load_limit_panic is 0: no crash load is left until the next boot. Each try takes one, and -a may take two. \
                 See who sets it (/etc/sysctl.d)",
            ),
            Self::LockedDown { level, way_out } => write!(
                f,
                "the kernel is locked down (/sys/kernel/security/lockdown: {level}), as with secure boot. {way_out}"
            ),
            Self::Filtered => f.write_str(
                "a seccomp filter is on this process (/proc/self/status), as in a container. Run this outside of it",
            ),
            Self::Unknown { lockdown_seen: false, way_out } => write!(
                f,
                "the kernel may be locked down, as with secure boot: mount securityfs at /sys/kernel/security, or see the kernel log. \
                 If it is: {way_out}"
            ),
            Self::Unknown { lockdown_seen: true, .. } => f.write_str(
                "CAP_SYS_BOOT, kernel.kexec_load_disabled, kernel.kexec_load_limit_panic and lockdown would permit it: a security module \
                 may not, or this is a container. See the kernel log",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &[u8] =
        b"Name:\tkexec-load\nCapPrm:\t000001ffffffffff\nCapEff:\t000001ffffffffff\nSeccomp:\t0\n";

    fn of(looked: Looked<'_>) -> std::string::String {
        diagnose(&looked, WayOut::FileLoad).to_string()
    }

    /// Catches a reason that is taken for another, and one that is missed: each file alone says no.
    #[test]
    fn each_reason_is_told_from_the_others() {
        let permits = Looked {
            status: ROOT,
            disabled: b"0\n",
            limit_panic: b"-1\n",
            lockdown: b"[none] integrity confidentiality\n",
        };
        let no_boot = b"CapPrm:\t000001ffffffffff\nCapEff:\t000001ffffbfffff\nSeccomp:\t2\n";
        let filtered = b"CapEff:\t000001ffffffffff\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        let locked = b"none [integrity] confidentiality\n";
        for (looked, words) in [
            (Looked { status: no_boot, ..permits }, "lacks CAP_SYS_BOOT"),
            (Looked { disabled: b"1\n", ..permits }, "kexec_load_disabled is 1"),
            (Looked { limit_panic: b"0\n", ..permits }, "kexec_load_limit_panic is 0"),
            (
                Looked { lockdown: locked, ..permits },
                "locked down (/sys/kernel/security/lockdown: integrity)",
            ),
            (Looked { status: filtered, ..permits }, "a seccomp filter is on"),
            (permits, "a security module may not"),
            (Looked { lockdown: b"", ..permits }, "mount securityfs"),
        ] {
            assert!(of(looked).contains(words), "{words}: {}", of(looked));
        }
    }

    /// Catches advice that goes in a circle: to use -s for a load that was one, after one, or on a kernel that has no such call.
    #[test]
    fn lockdown_is_another_matter_for_each_call() {
        let locked = Looked { lockdown: b"none integrity [confidentiality]\n", ..Looked::default() };
        let unseen = Looked { status: ROOT, ..Looked::default() };
        for (call, running, after_file_load, words) in [
            (Call::Load, Arch::X86_64, false, "Use -s, by which the kernel verifies the image itself"),
            (Call::Load, Arch::X86_64, true, "see why that failed"),
            (Call::FileLoad, Arch::X86_64, false, "take a signed kernel"),
            (Call::Load, Arch::I386, false, "boot without lockdown="),
            (Call::Load, Arch::I386, true, "boot without lockdown="),
        ] {
            let way_out = WayOut::beside(call, running, after_file_load);
            for looked in [locked, unseen] {
                let said = diagnose(&looked, way_out).to_string();
                assert!(said.ends_with(words), "{said}");
            }
            assert!(diagnose(&locked, way_out).to_string().contains("confidentiality"));
        }
    }

    /// Catches lockdown as the reason where the call did not get so far, and the other way round.
    #[test]
    fn the_limit_is_looked_at_before_lockdown() {
        let locked =
            Looked { status: ROOT, lockdown: b"none [integrity] confidentiality\n", ..Looked::default() };
        assert!(of(Looked { limit_panic: b"0\n", ..locked }).contains("kexec_load_limit_panic is 0"));
        assert!(of(Looked { limit_panic: b"1\n", ..locked }).contains("locked down"));
    }

    /// Catches a panic or a guess on what is no such file.
    #[test]
    fn odd_texts_say_nothing() {
        for odd in [&b""[..], b"[", b"]none[", b"CapEff:", b"CapEff:\tnone", b"\xff\xff"] {
            let looked = Looked { status: odd, disabled: odd, limit_panic: odd, lockdown: odd };
            let denied = diagnose(&looked, WayOut::FileLoad);
            assert!(matches!(denied, Denied::Unknown { .. }), "{odd:?}: {denied:?}");
        }
    }
}
