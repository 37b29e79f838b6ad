//! Whether low memory must be saved before the capture kernel starts.
//!
//! A capture kernel needs RAM below 640 KiB for itself (`e820::low_ram`), which is the crashed kernel's. From Linux 5.5 on a kernel that was
//! given `crashkernel=` keeps out of the first MiB (6f599d84231f, arch/x86/kernel/crash.c, i386 as well as x86_64; without any
//! `crashkernel=` since 5.14, f1d4d47c5851): there is nothing to be saved, the kernel's own loader stopped saving it in the same
//! release (7c321eb2b843), and dumps leave the first MiB out. An older kernel may have anything there: its purgatory copies it into a segment,
//! and the dump takes it from that. Where firmware leaves several ranges of RAM below 640 KiB, the capture kernel uses the largest; the dump has
//! the others from where they are.

use crate::addr::{PAGE, PhysAddr, Span};
use crate::e820;
use crate::iomem::MemoryMap;
use crate::options::Backup;
use crate::text;

/// Memory of the crashed kernel that the capture kernel will use, and where a copy of it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The memory.
    pub source: Span,
    /// Where the copy begins.
    pub target: PhysAddr,
}

/// The first release whose kernels keep out of low memory.
const KEPT_FREE_SINCE: (u64, u64) = (5, 5);

/// What is to be saved of the memory of a running kernel of this release (`uname -r`): whole pages, since no kernel uses parts of one.
pub fn source(choice: Backup, release: &[u8], memory: &MemoryMap) -> Option<Span> {
    let wanted = match choice {
        Backup::Always => true,
        Backup::Never => false,
        // A release that says nothing may be an old one; a copy too many harms nobody.
        Backup::Auto => text::version(release).is_none_or(|version| version < KEPT_FREE_SINCE),
    };
    e820::low_ram(memory).filter(|_| wanted).and_then(|low| low.whole_units(PAGE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iomem::Kind;
    use crate::testing::span;

    /// Catches versions that are compared as texts ("5.10" before "5.5"), a copy that is made where nobody needs it, and an old or
    /// strange kernel whose low memory is lost.
    #[test]
    fn kernels_before_5_5_are_saved() {
        let memory = MemoryMap { ranges: vec![(span(0x1000, 0x9_fbff), Kind::Ram)], crash_regions: vec![] };
        let auto = |release: &str| source(Backup::Auto, release.as_bytes(), &memory);
        let all = Some(span(0x1000, 0x9_efff));
        for old in ["4.19.0-27-amd64", "5.4.0", "5.4-rc1", "2.6.32", "strange", "", "5", "5.x"] {
            assert_eq!(auto(old), all, "{old}");
        }
        for new in ["5.5.0", "5.10.0-32-686-pae", "6.1.0-18-amd64", "10.0", "5.5-rc3"] {
            assert_eq!(auto(new), None, "{new}");
        }
        assert_eq!(source(Backup::Always, b"6.12.0", &memory), all);
        assert_eq!(source(Backup::Never, b"4.19.0", &memory), None);
    }
}
