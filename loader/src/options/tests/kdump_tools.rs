//! The command lines of Debian's kdump-tools: the functions `kdump_load` and `kdump_unload` of kdump-config 1.8.1 (bookworm), by reading
//! them. They ask for `-p`, `-s` where secure boot or lockdown are on, `--args-linux` where the kernel's file is an ELF file, what the
//! administrator wrote into KDUMP_KEXEC_ARGS, the command line as one word, the initrd if there is one, and the kernel last. Whether
//! something is loaded is read from /sys/kernel/kexec_crash_loaded, without a program.

use super::*;

/// KDUMP_KERNEL and KDUMP_INITRD as the package sets them.
const KERNEL: &str = "/var/lib/kdump/vmlinuz";
const INITRD: &str = "--initrd=/var/lib/kdump/initrd.img";

/// What becomes of /proc/cmdline there, without crashkernel=, and KDUMP_CMDLINE_APPEND behind it. The blank at the end of the first
/// part is crashkernel='s.
const LINE: &str = "--command-line=BOOT_IMAGE=/vmlinuz root=/dev/sda1 ro quiet  reset_devices \
                    systemd.unit=kdump-tools-dump.service nr_cpus=1 irqpoll usbcore.nousb";

fn expected() -> Load {
    Load {
        kernel: KERNEL.into(),
        initrd: Some(b"/var/lib/kdump/initrd.img".to_vec()),
        command_line: Some(LINE.split_once('=').unwrap().1.into()),
        ..Load::default()
    }
}

/// Catches a load that a Debian system's service would see refused, or done otherwise.
#[test]
fn its_loads_are_loads() {
    assert_eq!(load_of(&["-p", LINE, INITRD, KERNEL]), expected());
    assert_eq!(load_of(&["-p", LINE, KERNEL]), Load { initrd: None, ..expected() });
    let file = Load { syscall: Syscall::File, ..expected() };
    assert_eq!(load_of(&["-p", "-s", LINE, INITRD, KERNEL]), file);
    // The file's form is for who reads it to refuse.
    assert_eq!(load_of(&["-p", "--args-linux", LINE, INITRD, KERNEL]), expected());
    // KDUMP_KEXEC_ARGS as its configuration file proposes, with and without secure boot.
    let class = Some(Class::Elf64);
    let args = "--elf64-core-headers";
    assert_eq!(load_of(&["-p", args, LINE, INITRD, KERNEL]), Load { core_headers: class, ..expected() });
    assert_eq!(load_of(&["-p", "-s", args, LINE, INITRD, KERNEL]), Load { core_headers: class, ..file });
}

/// Catches an unload that does not stand in for theirs.
#[test]
fn its_unloads_are_unloads() {
    let unload = |syscall| Ok(Command::Unload { debug: false, syscall });
    assert_eq!(parse_words(&["-p", "-u"]), unload(Syscall::Load));
    assert_eq!(parse_words(&["-s", "-p", "-u"]), unload(Syscall::File));
}
