//! The segments of a crash image, by name.

use core::fmt;

/// What a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SegmentKind {
    /// The capture kernel's protected-mode code, and the room in which it unpacks itself.
    Kernel,
    /// The initrd.
    Initrd,
    /// boot_params; behind it the command line, setup_data and UEFI's memory map.
    BootParams,
    /// The purgatory.
    Purgatory,
    /// The ELF header of the crashed kernel's memory.
    ElfCoreHeader,
    /// Where the purgatory saves low memory before the capture kernel uses it; only where that is needed (`backup`).
    Backup,
}

impl SegmentKind {
    /// All of them, in the order in which they lie in a region that has room.
    pub const ALL: [Self; 6] =
        [Self::Kernel, Self::Initrd, Self::BootParams, Self::Purgatory, Self::ElfCoreHeader, Self::Backup];

    /// The name by which options and messages call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::BootParams => "boot_params",
            Self::Purgatory => "purgatory",
            Self::ElfCoreHeader => "elfcorehdr",
            Self::Backup => "backup",
        }
    }
}

impl fmt::Display for SegmentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
