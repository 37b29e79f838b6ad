//! Which circumstances a load can meet with: told before anything boots, since an agent that cannot arrange them says so minutes
//! later.

use crate::cell::Cell;
use guest_protocol::{Arch, Circumstances};

/// Kernels from this version on, major and minor, count loads (a42aaad2e47b "kexec: introduce sysctl parameters kexec_load_limit_*").
const LIMITS_SINCE: (u32, u32) = (6, 3);

/// Why the cell's load cannot meet with its circumstances; none where it can.
pub(super) fn why_not(cell: &Cell) -> Option<String> {
    match cell.circumstances {
        Circumstances::None
        | Circumstances::PerLinux32
        | Circumstances::WithoutCapSysBoot
        | Circumstances::KexecLoadDisabled
        | Circumstances::Lockdown
        | Circumstances::Reload
        | Circumstances::ReloadFails => None,
        Circumstances::LoadLimitUsedUp => {
            let old = cell.first.version().is_some_and(|version| version < LIMITS_SINCE);
            old.then(|| format!("{} does not count loads, as kernels from 6.3 on do", cell.first.name))
        }
        Circumstances::No64BitCode => match (cell.userspace, cell.first.arch) {
            (Arch::I386, Arch::X86_64) => None,
            (Arch::X86_64, _) => Some("x86_64 userspace is 64-bit code itself".to_owned()),
            (Arch::I386, Arch::I386) => {
                Some(format!("{} has no 64-bit code that could be forbidden", cell.first.name))
            }
        },
    }
}
