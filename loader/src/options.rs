//! The command line of `kexec-load`: what was typed, as values.
//!
//! It is that of kexec-tools for a crash load on x86, so that scripts need not change. Every option of kexec-tools is in the table
//! (`table`): with the same meaning, or refused by its own name, with what to do instead. None is quietly given another meaning.

mod help;
mod parse;
mod table;
mod usage;
mod values;

#[cfg(test)]
mod tests;

pub use help::HELP;
pub use parse::parse;
pub use usage::BadUsage;
pub use values::BadValue;

use crate::addr::PhysAddr;
use crate::places::Places;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroU16;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `--help`.
    Help,
    /// `--version`.
    Version,
    /// `--print-ckr-size`: print the size of the crash region.
    RegionSize,
    /// `--status`: say whether a crash image is loaded.
    Status,
    /// `--unload`: drop the crash image.
    Unload {
        /// `--debug`.
        debug: bool,
        /// `-s`, `-c`, `-a`.
        syscall: Syscall,
    },
    /// `--load-panic`.
    Load(Box<Load>),
}

/// A crash load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The capture kernel's bzImage.
    pub kernel: Vec<u8>,
    /// `--type`: what the file must be.
    pub image_type: ImageType,
    /// `--initrd`, `--ramdisk`.
    pub initrd: Option<Vec<u8>>,
    /// `--command-line`, `--append`.
    pub command_line: Option<Vec<u8>>,
    /// `--reuse-cmdline`: begin with the running kernel's.
    pub reuse_cmdline: bool,
    /// `-s`, `-c`, `-a`: the system call that is made.
    pub syscall: Syscall,
    /// `--compat-call`: a 32-bit program makes only the call that all kernels have for it, with 32-bit addresses.
    pub compat_call: bool,
    /// `--debug`.
    pub debug: bool,
    /// `--dry-run`.
    pub dry_run: bool,
    /// `--entry-32bit`.
    pub entry_32bit: bool,
    /// `--no-checks`: the purgatory does not verify the segments.
    pub no_checks: bool,
    /// `--on-mismatch`: what the purgatory does when a segment has changed.
    pub on_mismatch: OnMismatch,
    /// `--console-serial`: the purgatory speaks on the serial port.
    pub console_serial: bool,
    /// `--serial`: the serial port's first I/O port. None: the one that the purgatory finds out, or its default.
    pub serial: Option<NonZeroU16>,
    /// `--serial-baud`: the serial port's speed, as what 115200 bits per second are divided by. None: as it is set.
    pub serial_divisor: Option<NonZeroU16>,
    /// `--backup`: whether the low 640 KiB are copied into the region.
    pub backup: Backup,
    /// `--elf32-core-headers`, `--elf64-core-headers`. None: the class that fits.
    pub core_headers: Option<Class>,
    /// `--hotplug`: the running kernel rewrites the core header when CPUs or memory come and go.
    pub hotplug: bool,
    /// `--reuse-video-type`: firmware's framebuffer is where it was, whoever drives it now.
    pub reuse_video_type: bool,
    /// `--noefi`: the capture kernel is told nothing of EFI.
    pub noefi: bool,
    /// `--mem-min`: no segment lies lower.
    pub mem_min: Option<PhysAddr>,
    /// `--mem-max`: no segment's last byte lies higher.
    pub mem_max: Option<PhysAddr>,
    /// `--ignore-address-limits`.
    pub ignore_address_limits: bool,
    /// `--place`.
    pub places: Places,
}

/// The system call that loads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Syscall {
    /// `-c`: kexec_load(2), where this program does all the work.
    #[default]
    Load,
    /// `-s`: kexec_file_load(2), where the kernel does, and verifies signatures.
    File,
    /// `-a`: kexec_file_load(2), and kexec_load(2) where the kernel cannot or does not know the image.
    Auto,
}

/// What the capture kernel's file must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageType {
    /// A bzImage of either kind.
    #[default]
    BzImage,
    /// One with a 64-bit entry.
    BzImage64,
}

/// What the purgatory does when a segment is not what was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMismatch {
    /// It stops the machine, so that somebody can look at it.
    #[default]
    Halt,
    /// It resets the machine.
    Reset,
}

/// Whether the low 640 KiB are copied into the crash region before the capture kernel starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backup {
    /// If the running kernel may have data there.
    #[default]
    Auto,
    /// In any case.
    Always,
    /// In no case.
    Never,
}

/// Class of an ELF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// ELFCLASS32.
    Elf32,
    /// ELFCLASS64.
    Elf64,
}
