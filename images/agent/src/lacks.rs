//! What a running kernel lacks for the rig, as seen from inside: for kernels whose configuration could not be read before they booted.
//! Everything here is a kernel's own doing, so none of it may be laid at the loader's door.

use alloc::format;
use alloc::string::{String, ToString};

/// An option that the kernel was built without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Its name, or those of which one is missing.
    pub option: &'static str,
    /// What shows it.
    pub seen: String,
}

/// The addresses of a process' pages.
pub const PAGEMAP: &str = "/proc/self/pagemap";
/// The kernel's memory by its own addresses.
pub const KCORE: &str = "/proc/kcore";
/// A function of fs/proc/vmcore.c that is visible to the linker, so that no compiler inlines it away.
pub const VMCORE_SYMBOL: &str = "vmcore_cleanup";
/// The parameter that tells a capture kernel where the core headers are.
const ELFCOREHDR: &str = "elfcorehdr=";

const fn lack(option: &'static str, seen: String) -> Lack {
    Lack { option, seen }
}

fn no_file(option: &'static str, path: &str) -> Lack {
    lack(option, format!("there is no {path}"))
}

/// The first kernel at *ready*. `crash_loaded` is what [`crate::conversation::Guest::crash_loaded`] gives.
pub fn at_ready(crash_loaded: Option<bool>, has_pagemap: bool) -> Option<Lack> {
    if crash_loaded.is_none() {
        // From Linux 6.9 on the file needs both.
        return Some(no_file("CONFIG_KEXEC or CONFIG_CRASH_DUMP", "/sys/kernel/kexec_crash_loaded"));
    }
    (!has_pagemap).then(|| no_file("CONFIG_PROC_PAGE_MONITOR", PAGEMAP))
}

/// Whether a loader with these arguments uses kexec_load(2), by the options that loaders share (kexec(8)); the last one decides.
pub fn loads_by_kexec_load(argv: &[String]) -> bool {
    let named = argv.iter().rev().find_map(|arg| match arg.as_str() {
        "-c" | "--kexec-syscall" => Some(true),
        "-s" | "--kexec-file-syscall" | "-a" | "--kexec-syscall-auto" => Some(false),
        _ => None,
    });
    named.unwrap_or(true)
}

/// The first kernel before a load by kexec_load(2).
pub fn at_load(has_kexec_load: bool, has_kcore: bool) -> Option<Lack> {
    if !has_kexec_load {
        return Some(lack("CONFIG_KEXEC", "kexec_load(2) gives ENOSYS".to_string()));
    }
    (!has_kcore).then(|| no_file("CONFIG_PROC_KCORE", KCORE))
}

/// A capture kernel that offers no /proc/vmcore. A kernel hands parameters that it does not know to PID 1's environment
/// (init/main.c, `unknown_bootoption`); `has_symbol` is whether its table of symbols has [`VMCORE_SYMBOL`], none where it shows none.
pub fn without_vmcore(environment: &[u8], has_symbol: Option<bool>) -> Option<Lack> {
    let unknown = environment.split(|&byte| byte == 0).any(|word| word.starts_with(ELFCOREHDR.as_bytes()));
    if unknown {
        let seen = format!("the kernel does not know {ELFCOREHDR}, and gave it to PID 1");
        return Some(lack("CONFIG_CRASH_DUMP", seen));
    }
    (has_symbol == Some(false)).then(|| {
        let seen = format!("there is no /proc/vmcore, and no {VMCORE_SYMBOL} in /proc/kallsyms");
        lack("CONFIG_PROC_VMCORE", seen)
    })
}

/// Whether a line of /proc/kallsyms (address, type, name, and the module for a module's) is that of the kernel's own `symbol`.
pub fn is_symbol(line: &[u8], symbol: &str) -> bool {
    line.split(|&byte| byte == b' ').nth(2).is_some_and(|name| name.trim_ascii_end() == symbol.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn option(lack: Option<Lack>) -> Option<&'static str> {
        lack.map(|lack| lack.option)
    }

    /// Bug: a kernel without kexec is a loader that fails, or a good kernel lacks something.
    #[test]
    fn first_kernels() {
        assert_eq!(option(at_ready(Some(false), true)), None);
        assert_eq!(option(at_ready(None, true)), Some("CONFIG_KEXEC or CONFIG_CRASH_DUMP"));
        assert_eq!(option(at_ready(Some(false), false)), Some("CONFIG_PROC_PAGE_MONITOR"));
        assert_eq!(option(at_load(true, true)), None);
        assert_eq!(option(at_load(false, true)), Some("CONFIG_KEXEC"));
        assert_eq!(option(at_load(true, false)), Some("CONFIG_PROC_KCORE"));
    }

    /// Bug: kexec_load is demanded of a kernel whose loader does without it.
    #[test]
    fn the_loaders_call_is_told_by_its_options() {
        let by_load = |words: &str| {
            let argv: Vec<String> = words.split(' ').map(ToString::to_string).collect();
            loads_by_kexec_load(&argv)
        };
        assert!(by_load("kexec-load --load-panic /boot/k"));
        assert!(!by_load("kexec-load -s /boot/k"));
        assert!(!by_load("kexec-load --kexec-syscall --kexec-syscall-auto /boot/k"));
        assert!(by_load("kexec-load -s -c /boot/k"));
    }

    /// Bug: a vmcore that the loader spoiled is blamed on the kernel, or a kernel without /proc/vmcore on the loader.
    #[test]
    fn capture_kernels_without_a_vmcore() {
        assert_eq!(option(without_vmcore(b"HOME=/\0TERM=linux\0", Some(true))), None);
        assert_eq!(option(without_vmcore(b"HOME=/\0", None)), None, "without symbols nothing is shown");
        assert_eq!(option(without_vmcore(b"HOME=/\0", Some(false))), Some("CONFIG_PROC_VMCORE"));
        let env = b"HOME=/\0elfcorehdr=0x8aff0000\0";
        assert_eq!(option(without_vmcore(env, Some(true))), Some("CONFIG_CRASH_DUMP"));
    }

    /// Bug: a module's symbol, or one whose name begins alike, is taken for the kernel's.
    #[test]
    fn symbols_are_whole_words() {
        assert!(is_symbol(b"ffffffff8139c0e0 T vmcore_cleanup", VMCORE_SYMBOL));
        assert!(!is_symbol(b"ffffffff8139c0e0 T vmcore_cleanup.cold", VMCORE_SYMBOL));
        assert!(!is_symbol(b"ffffffff8139c0e0 T __pfx_vmcore_cleanup", VMCORE_SYMBOL));
        assert!(!is_symbol(b"", VMCORE_SYMBOL));
    }
}
