//! Every option there is: its names, and what it does.

use super::parse::Typed;
use super::values;
use super::{BadUsage, BadValue, Class, Syscall};
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
    /// Takes a value.
    Value(fn(&mut Typed, &'static str, &[u8]) -> Result<(), BadUsage>),
    /// Nothing, for this program does what it asks for in any case.
    Nothing,
    /// Is refused: why, and what to do instead. Fits behind the option's name.
    Refused(&'static str),
}

const fn plain(name: &'static str, letter: u8, set: fn(&mut Typed)) -> Known {
    Known { name, letter, does: Does::Plain(set) }
}

const fn value(
    name: &'static str,
    letter: u8,
    set: fn(&mut Typed, &'static str, &[u8]) -> Result<(), BadUsage>,
) -> Known {
    Known { name, letter, does: Does::Value(set) }
}

const fn nothing(name: &'static str, letter: u8) -> Known {
    Known { name, letter, does: Does::Nothing }
}

const fn refused(name: &'static str, letter: u8, why: &'static str) -> Known {
    Known { name, letter, does: Does::Refused(why) }
}

/// Why what is no crash load is refused.
pub(super) const REBOOTS: &str =
    "is for starting a kernel without a panic, and this program loads crash kernels alone: use kexec-tools";
/// Why what belongs to other files than bzImages is refused.
const OTHER_FILES: &str = "belongs to multiboot and ELF files, and only bzImages are loaded: leave it out";

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
    value("type", b't', |typed, name, text| {
        typed.load.image_type = read(name, values::image_type(text))?;
        Ok(())
    }),
    // The last one decides.
    plain("kexec-syscall", b'c', |typed| typed.load.syscall = Syscall::Load),
    plain("kexec-file-syscall", b's', |typed| typed.load.syscall = Syscall::File),
    plain("kexec-syscall-auto", b'a', |typed| typed.load.syscall = Syscall::Auto),
    value("initrd", 0, |typed, _, text| once("initrd", &mut typed.load.initrd, text)),
    value("ramdisk", 0, |typed, _, text| once("initrd", &mut typed.load.initrd, text)),
    refused("reuseinitrd", 0, "is not possible, for kernels do not keep their initrd: give --initrd=FILE"),
    value("command-line", 0, |typed, _, text| once("command-line", &mut typed.load.command_line, text)),
    value("append", 0, |typed, _, text| once("command-line", &mut typed.load.command_line, text)),
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
    value("serial", 0, |typed, name, text| {
        typed.load.serial = Some(read(name, values::serial_port(text))?);
        Ok(())
    }),
    value("serial-baud", 0, |typed, name, text| {
        typed.load.serial_baud = Some(read(name, values::serial_baud(text))?);
        Ok(())
    }),
    refused("console-vga", 0, "is not possible, for the purgatory has no screen: take --console-serial"),
    refused("reset-vga", 0, "is not possible, for the purgatory has no screen: leave it out"),
    // The capture kernel is always told the screen that the running kernel was told.
    nothing("reuse-video-type", 0),
    plain("elf32-core-headers", 0, |typed| typed.load.core_headers = Some(Class::Elf32)),
    plain("elf64-core-headers", 0, |typed| typed.load.core_headers = Some(Class::Elf64)),
    refused(
        "pass-memmap-cmdline",
        0,
        "is not possible, for the memory map is passed in boot_params, which every kernel reads: leave it out",
    ),
    plain("noefi", 0, |typed| typed.load.noefi = true),
    value("mem-min", 0, |typed, name, text| {
        typed.load.mem_min = Some(read(name, values::address(text))?);
        Ok(())
    }),
    value("mem-max", 0, |typed, name, text| {
        typed.load.mem_max = Some(read(name, values::address(text))?);
        Ok(())
    }),
];

/// The options that are this program's own, and those of later kexec-tools. An abbreviation is theirs only if it is none of the others',
/// so that it means what it means to 2.0.25.
pub(super) const OWN: &[Known] = &[
    plain("dry-run", 0, |typed| typed.load.dry_run = true),
    plain("compat-call", 0, |typed| typed.load.compat_call = true),
    value("on-mismatch", 0, |typed, name, text| {
        typed.load.on_mismatch = read(name, values::on_mismatch(text))?;
        Ok(())
    }),
    value("backup", 0, |typed, name, text| {
        typed.load.backup = read(name, values::backup(text))?;
        Ok(())
    }),
    // kexec-tools 2.0.28.
    plain("hotplug", 0, |typed| typed.load.hotplug = true),
    // kexec-tools 2.0.27.
    refused("dtb", 0, "is not possible, for no device tree is passed: leave it out"),
    plain("ignore-address-limits", 0, |typed| typed.load.ignore_address_limits = true),
    value("place", 0, |typed, _, text| typed.load.places.add(text).map_err(BadUsage::Places)),
];

/// A second value would silently win over the first.
fn once(name: &'static str, slot: &mut Option<Vec<u8>>, text: &[u8]) -> Result<(), BadUsage> {
    match slot.replace(text.to_vec()) {
        None => Ok(()),
        Some(_) => Err(BadUsage::Twice(name)),
    }
}

fn read<T>(name: &'static str, value: Result<T, BadValue>) -> Result<T, BadUsage> {
    value.map_err(|why| BadUsage::BadValue(name, why))
}
