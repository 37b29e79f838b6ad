//! Every option there is: its names, and what it does.

use super::parse::Typed;
use super::values::{self, Read};
use super::{Class, Load, Syscall};
use alloc::vec::Vec;

/// An option.
pub(super) struct Known {
    /// The long name, without its hyphens.
    pub(super) name: &'static str,
    /// The letter, if there is one, else 0.
    pub(super) letter: u8,
    /// What it does.
    pub(super) does: Does,
}

/// What an option does.
pub(super) enum Does {
    /// Takes no value.
    Plain(fn(&mut Typed)),
    /// Takes a text, which may be given once, by this name or another.
    Text(fn(&mut Load) -> &mut Option<Vec<u8>>),
    /// Takes a value, and says what is wanted where it is none.
    Value(fn(&mut Load, &[u8]) -> Read),
    /// Takes places of segments.
    Places,
    /// Nothing, for this program does what it asks for in any case.
    Nothing,
    /// Is refused: why, and what to do instead. Fits behind the option's name.
    Refused(&'static str),
}

impl Known {
    /// Whether it takes a value.
    pub(super) const fn takes_value(&self) -> bool {
        matches!(self.does, Does::Text(_) | Does::Value(_) | Does::Places)
    }
}

const fn option(name: &'static str, letter: u8, does: Does) -> Known {
    Known { name, letter, does }
}

const fn plain(name: &'static str, letter: u8, set: fn(&mut Typed)) -> Known {
    option(name, letter, Does::Plain(set))
}

const fn text(name: &'static str, slot: fn(&mut Load) -> &mut Option<Vec<u8>>) -> Known {
    option(name, 0, Does::Text(slot))
}

const fn value(name: &'static str, letter: u8, set: fn(&mut Load, &[u8]) -> Read) -> Known {
    option(name, letter, Does::Value(set))
}

const fn nothing(name: &'static str, letter: u8) -> Known {
    option(name, letter, Does::Nothing)
}

const fn refused(name: &'static str, letter: u8, why: &'static str) -> Known {
    option(name, letter, Does::Refused(why))
}

/// Why what is no crash load is refused.
pub(super) const REBOOTS: &str =
    "is for starting a kernel without a panic, and this program loads crash kernels alone: use kexec-tools";
/// Why what belongs to other files than bzImages is refused.
const OTHER_FILES: &str = "belongs to multiboot and ELF files, and only bzImages are loaded: leave it out";

const NO_DEVICE_TREE: &str = "is not possible, for no device tree is passed: leave it out";

/// The options of kexec-tools: those of 2.0.20 and 2.0.25 on x86, of both builds, with those that their help leaves out.
pub(super) const KEXEC_TOOLS: &[Known] = &[
    plain("help", b'h', |typed| typed.help = true),
    plain("version", b'v', |typed| typed.version = true),
    plain("debug", b'd', |typed| typed.load.debug = true),
    plain("status", b'S', |typed| typed.status = true),
    plain("print-ckr-size", 0, |typed| typed.region_size = true),
    plain("unload", b'u', |typed| typed.unload = true),
    // The last of `-p` and `-f` decides whether a kernel is started at once, there too.
    plain("load-panic", b'p', |typed| (typed.load_panic, typed.force) = (true, false)),
    plain("force", b'f', |typed| typed.force = true),
    // Beside `-p` it changes nothing there.
    plain("load", b'l', |typed| typed.load_reboot = true),
    refused("exec", b'e', REBOOTS),
    refused("exec-live-update", 0, REBOOTS),
    refused("load-live-update", 0, REBOOTS),
    refused("load-preserve-context", 0, REBOOTS),
    refused("load-jump-back-helper", 0, REBOOTS),
    refused("entry", 0, REBOOTS),
    // Whoever loads brings no interface down and syncs no disk.
    nothing("no-ifdown", b'x'),
    nothing("no-sync", b'y'),
    value("type", b't', |load, text| values::image_type(text, &mut load.image_type)),
    // The last one decides.
    plain("kexec-syscall", b'c', |typed| typed.load.syscall = Syscall::Load),
    plain("kexec-file-syscall", b's', |typed| typed.load.syscall = Syscall::File),
    plain("kexec-syscall-auto", b'a', |typed| typed.load.syscall = Syscall::Auto),
    text("initrd", |load| &mut load.initrd),
    text("ramdisk", |load| &mut load.initrd),
    refused("reuseinitrd", 0, "is not possible, for kernels do not keep their initrd: give --initrd=FILE"),
    text("command-line", |load| &mut load.command_line),
    text("append", |load| &mut load.command_line),
    plain("reuse-cmdline", 0, |typed| typed.load.reuse_cmdline = true),
    // bzImages always get their arguments in Linux's way. kdump-tools gives it for ELF files, which are refused as such.
    nothing("args-linux", 0),
    refused("args-elf", 0, OTHER_FILES),
    refused("args-none", 0, OTHER_FILES),
    refused("module", 0, OTHER_FILES),
    plain("entry-32bit", 0, |typed| typed.load.entry_32bit = true),
    refused("real-mode", 0, "is not possible, for firmware cannot be called after a panic: leave it out"),
    plain("no-checks", b'i', |typed| typed.load.no_checks = true),
    plain("console-serial", 0, |typed| typed.load.console_serial = true),
    value("serial", 0, |load, text| values::serial_port(text, &mut load.serial)),
    value("serial-baud", 0, |load, text| values::serial_baud(text, &mut load.serial_divisor)),
    refused("console-vga", 0, "is not possible, for the purgatory has no screen: take --console-serial"),
    refused("reset-vga", 0, "is not possible, for the purgatory has no screen: leave it out"),
    plain("reuse-video-type", 0, |typed| typed.load.reuse_video_type = true),
    plain("elf32-core-headers", 0, |typed| typed.load.core_headers = Some(Class::Elf32)),
    plain("elf64-core-headers", 0, |typed| typed.load.core_headers = Some(Class::Elf64)),
    refused(
        "pass-memmap-cmdline",
        0,
        "is not possible, for the memory map is passed in boot_params, which every kernel reads: leave it out",
    ),
    plain("noefi", 0, |typed| typed.load.noefi = true),
    value("mem-min", 0, |load, text| values::address(text, &mut load.mem_min)),
    value("mem-max", 0, |load, text| values::address(text, &mut load.mem_max)),
];

/// What may stand beside `-p -u` and means nothing there, as kexec-tools has it, where scripts give the same arguments to both: what has a
/// letter, and these. Those of bzImages may not.
pub(super) const BESIDE_UNLOAD: &[&str] = &[
    "console-serial",
    "serial",
    "serial-baud",
    "elf32-core-headers",
    "elf64-core-headers",
    "mem-min",
    "mem-max",
];

/// The options that are this program's own, and those of later kexec-tools. An abbreviation is theirs only if it is none of the others',
/// so that it means what it means to 2.0.25.
pub(super) const OWN: &[Known] = &[
    plain("dry-run", 0, |typed| typed.load.dry_run = true),
    plain("compat-call", 0, |typed| typed.load.compat_call = true),
    value("on-mismatch", 0, |load, text| values::on_mismatch(text, &mut load.on_mismatch)),
    value("backup", 0, |load, text| values::backup(text, &mut load.backup)),
    // kexec-tools 2.0.28.
    plain("hotplug", 0, |typed| typed.load.hotplug = true),
    // kexec-tools 2.0.27, and later.
    refused("dtb", 0, NO_DEVICE_TREE),
    refused("force-dtb", 0, NO_DEVICE_TREE),
    // It keeps segments out of memory for DMA (CMA). A crash region is none.
    nothing("no-cma", 0),
    plain("ignore-address-limits", 0, |typed| typed.load.ignore_address_limits = true),
    option("place", 0, Does::Places),
];
