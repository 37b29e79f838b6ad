//! boot_params' segment: boot_params, the command line, and what setup_data brings (`setup_data`), one behind the other.

use crate::addr::PhysAddr;
use crate::boot_params::{self, Told};
use crate::bzimage::BzImage;
use crate::cmdline;
use crate::e820::Entry;
use crate::efi::Firmware;
use crate::screen::Framebuffers;
use crate::setup_data::{ALIGNMENT, SEED, Tail};
use alloc::vec::Vec;

/// What is known before places are.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The capture kernel.
    pub image: &'a BzImage<'a>,
    /// Its command line, without what the loader adds.
    pub command_line: &'a [u8],
    /// What it is told of firmware.
    pub firmware: Firmware<'a>,
    /// Random bytes for it.
    pub seed: Option<&'a [u8; SEED]>,
    /// boot_params of the running kernel, empty if unknown.
    pub running: &'a [u8],
    /// /proc/fb.
    pub framebuffers: Framebuffers<'a>,
}

/// What is known when all places are.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// Where the segment lies.
    pub segment: PhysAddr,
    /// Where the kernel is loaded.
    pub kernel: PhysAddr,
    /// Address and exact size of the initrd.
    pub initrd: Option<(PhysAddr, u64)>,
    /// The command line as [`cmdline::finish`] made it of the known one.
    pub command_line: &'a [u8],
    /// The memory map.
    pub e820: &'a [Entry],
}

impl<'a> Known<'a> {
    /// Where setup_data begins: behind the longest command line that `finish` makes.
    fn tail_offset(&self) -> usize {
        let longest = self.command_line.len() + cmdline::LONGEST_ADDITION as usize + 1;
        (boot_params::SIZE + longest).next_multiple_of(ALIGNMENT)
    }

    fn tail(&self) -> Tail<'a> {
        Tail { efi: self.firmware.efi, seed: self.seed }
    }

    /// Bytes of the segment with a memory map of no more than so many entries.
    pub fn size(&self, entries: usize) -> u64 {
        (self.tail_offset() + self.tail().size(entries)) as u64
    }

    /// The segment's bytes.
    pub fn build(&self, places: &Places<'_>) -> Vec<u8> {
        let at = |offset: usize| PhysAddr(places.segment.0 + offset as u64);
        let filled = self.tail().fill(at(self.tail_offset()), places.e820);
        let mut bytes = boot_params::build(
            self.image,
            &Told {
                kernel: places.kernel,
                initrd: places.initrd,
                command_line: at(boot_params::SIZE),
                e820: places.e820,
                setup_data: filled.setup_data,
                rsdp: self.firmware.rsdp,
                efi: self.firmware.efi.zip(filled.efi_map),
                running: self.running,
                framebuffers: self.framebuffers,
            },
        );
        bytes.extend_from_slice(places.command_line);
        bytes.resize(self.tail_offset(), 0);
        bytes.extend_from_slice(&filled.bytes);
        bytes
    }
}
