//! What becomes of each option that kexec-tools lists for x86, in the words of its users: the same meaning, nothing to do, or refused
//! by its name.

use super::super::parse::every;
use super::super::table::{Does, KEXEC_TOOLS};
use super::*;

/// What becomes of an option beside `-p`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It means what it means there.
    Same,
    /// It is taken, and asks for nothing that is not done anyway.
    Idle,
    /// It is refused by name.
    Refused,
}
use Fate::{Idle, Refused, Same};

/// A word as it may stand on the command line, its name, and its fate. From kexec(8) and `kexec --help` of Debian's 2.0.20 and 2.0.25, i386 and amd64,
/// and from the tables of getopt_long in these programs, which have three options that neither names. Where the same option is listed for
/// several types of file, once.
const LISTED: &[(&str, &str, Fate)] = &[
    // kexec(8), OPTIONS.
    ("-d", "debug", Same),
    ("--debug", "debug", Same),
    ("-S", "status", Same),
    ("--status", "status", Same),
    ("-e", "exec", Refused),
    ("--exec", "exec", Refused),
    ("-h", "help", Same),
    ("--help", "help", Same),
    ("-i", "no-checks", Same),
    ("--no-checks", "no-checks", Same),
    ("-l", "load", Same),
    ("--load", "load", Same),
    ("-p", "load-panic", Same),
    ("--load-panic", "load-panic", Same),
    ("-t=bzImage", "type", Same),
    ("--type=bzImage", "type", Same),
    ("-s", "kexec-file-syscall", Same),
    ("--kexec-file-syscall", "kexec-file-syscall", Same),
    ("-c", "kexec-syscall", Same),
    ("--kexec-syscall", "kexec-syscall", Same),
    ("-a", "kexec-syscall-auto", Same),
    ("--kexec-syscall-auto", "kexec-syscall-auto", Same),
    ("-u", "unload", Same),
    ("--unload", "unload", Same),
    ("-v", "version", Same),
    ("--version", "version", Same),
    ("-x", "no-ifdown", Idle),
    ("--no-ifdown", "no-ifdown", Idle),
    ("-y", "no-sync", Idle),
    ("--no-sync", "no-sync", Idle),
    ("--mem-min=0", "mem-min", Same),
    ("--mem-max=0xffffffff", "mem-max", Same),
    ("--entry=0", "entry", Refused),
    ("--load-preserve-context", "load-preserve-context", Refused),
    ("--load-jump-back-helper", "load-jump-back-helper", Refused),
    ("--reuseinitrd", "reuseinitrd", Refused),
    ("--print-ckr-size", "print-ckr-size", Same),
    // kexec(8), SUPPORTED KERNEL FILE TYPES AND OPTIONS: beoboot, elf, bzImage, multiboot.
    ("--args-elf", "args-elf", Refused),
    ("--args-linux", "args-linux", Idle),
    ("--real-mode", "real-mode", Refused),
    ("--append=a", "append", Same),
    ("--command-line=a", "command-line", Same),
    ("--reuse-cmdline", "reuse-cmdline", Same),
    ("--initrd=a", "initrd", Same),
    ("--ramdisk=a", "ramdisk", Same),
    ("--module=a b", "module", Refused),
    // kexec(8), ARCHITECTURE OPTIONS.
    ("--console-serial", "console-serial", Same),
    ("--console-vga", "console-vga", Refused),
    ("--elf32-core-headers", "elf32-core-headers", Same),
    ("--elf64-core-headers", "elf64-core-headers", Same),
    ("--reset-vga", "reset-vga", Refused),
    ("--serial=ttyS0", "serial", Same),
    ("--serial-baud=115200", "serial-baud", Same),
    // `kexec --help` beside these.
    ("--entry-32bit", "entry-32bit", Same),
    ("--args-none", "args-none", Refused),
    ("--exec-live-update", "exec-live-update", Refused),
    ("--load-live-update", "load-live-update", Refused),
    ("--pass-memmap-cmdline", "pass-memmap-cmdline", Refused),
    ("--noefi", "noefi", Same),
    ("--reuse-video-type", "reuse-video-type", Same),
];

/// What a listed option asks for beside `-p k`.
fn meant(name: &str) -> Result<Command, BadUsage> {
    let mut load = load_of(&["-p", "k"]);
    match name {
        "help" => return Ok(Command::Help),
        "version" => return Ok(Command::Version),
        "status" => return Ok(Command::Status),
        "print-ckr-size" => return Ok(Command::RegionSize),
        "unload" => return Err(BadUsage::NotWith("unload")),
        // What is asked for already.
        "load" | "load-panic" | "type" | "kexec-syscall" => {}
        "debug" => load.debug = true,
        "no-checks" => load.no_checks = true,
        "kexec-file-syscall" => load.syscall = Syscall::File,
        "kexec-syscall-auto" => load.syscall = Syscall::Auto,
        "mem-min" => load.mem_min = Some(PhysAddr(0)),
        "mem-max" => load.mem_max = Some(PhysAddr(0xffff_ffff)),
        "append" | "command-line" => load.command_line = Some(b"a".to_vec()),
        "reuse-cmdline" => load.reuse_cmdline = true,
        "initrd" | "ramdisk" => load.initrd = Some(b"a".to_vec()),
        "console-serial" => load.console_serial = true,
        "elf32-core-headers" => load.core_headers = Some(Class::Elf32),
        "elf64-core-headers" => load.core_headers = Some(Class::Elf64),
        "serial" => load.serial = NonZeroU16::new(0x3f8),
        "serial-baud" => load.serial_divisor = NonZeroU16::new(1),
        "entry-32bit" => load.entry_32bit = true,
        "noefi" => load.noefi = true,
        "reuse-video-type" => load.reuse_video_type = true,
        other => panic!("--{other}: what does it mean?"),
    }
    Ok(Command::Load(load.into()))
}

/// Where `-f` stands decides there whether the kernel is started at once, and so here.
#[test]
fn force_is_taken_where_it_forces_nothing() {
    assert_eq!(load_of(&["-f", "-p", "k"]), load_of(&["-p", "k"]));
    for words in [&["-p", "-f", "k"][..], &["--force", "k"], &["-fp", "--for", "k"]] {
        assert!(matches!(parse_words(words), Err(BadUsage::Refused("force", _))), "{words:?}");
    }
}

/// A load for a reboot is not quietly made one for a panic.
#[test]
fn load_is_taken_beside_load_panic_alone() {
    assert_eq!(load_of(&["-l", "-p", "k"]), load_of(&["-p", "-l", "k"]));
    for words in [&["-l", "k"][..], &["-S", "--load"], &["-l", "-u"]] {
        assert!(matches!(parse_words(words), Err(BadUsage::Refused("load", _))), "{words:?}");
    }
}

/// Catches an option of kexec-tools that is unknown here, is refused without its name, or changes its meaning.
#[test]
fn every_listed_option_has_its_fate() {
    for &(word, name, fate) in LISTED {
        let known = every().find(|known| known.name == name).unwrap_or_else(|| panic!("--{name} is unknown"));
        let found = match known.does {
            Does::Plain(_) | Does::Text(_) | Does::Value(_) | Does::Places => Same,
            Does::Nothing => Idle,
            Does::Refused(_) => Refused,
        };
        assert_eq!(found, fate, "{word}");
        // `-t=x` is the value "=x" to getopt: the letter is tried by itself.
        let words = match word.strip_prefix("-t=") {
            Some(value) => vec!["-p", "-t", value, "k"],
            None => vec!["-p", word, "k"],
        };
        match (fate, parse_words(&words)) {
            (Same, found) => assert_eq!(found, meant(name), "{word}"),
            (Idle, Ok(Command::Load(load))) => assert_eq!(*load, load_of(&["-p", "k"]), "{word}"),
            (Refused, Err(refused @ BadUsage::Refused(..))) => {
                assert!(refused.to_string().starts_with(&format!("--{name} ")), "{refused}");
            }
            (_, other) => panic!("{word}: {other:?}"),
        }
    }
}

/// Catches an option in the table for kexec-tools' own that it does not have: it would take part in the meaning of abbreviations.
#[test]
fn kexec_tools_has_no_other_options() {
    for known in KEXEC_TOOLS.iter().filter(|known| known.name != "force") {
        let letter = format!("-{}", char::from(known.letter));
        let listed = |word: &str| {
            LISTED.iter().any(|(listed, name, _)| *name == known.name && listed.starts_with(word))
        };
        assert!(listed(&format!("--{}", known.name)), "--{}", known.name);
        assert!(known.letter == 0 || listed(&letter), "{letter}");
    }
}

/// Abbreviations as kexec-tools 2.0.20 takes them, tried there. Catches an option of this program's own that makes one ambiguous, as
/// `--dry-run` would `--d` and `--compat-call` would `--com`.
#[test]
fn abbreviations_mean_what_they_mean_there() {
    for (word, name) in [
        ("--d", "debug"),
        ("--com=a", "command-line"),
        ("--i=a", "initrd"),
        ("--ra=a", "ramdisk"),
        ("--ty=bzImage", "type"),
        ("--serial-=9600", "serial-baud"),
    ] {
        let value = word.split_once('=').map(|(_, value)| format!("={value}")).unwrap_or_default();
        assert_eq!(load_of(&["-p", word, "k"]), load_of(&["-p", &format!("--{name}{value}"), "k"]), "{word}");
    }
    for (word, command) in [("--h", Command::Help), ("--ve", Command::Version), ("--st", Command::Status)] {
        assert_eq!(parse_words(&[word]), Ok(command), "{word}");
    }
    for word in [
        "--kexec-s",
        "--no",
        "--conso",
        "--elf",
        "--re",
        "--entr",
        "--p",
        "--load-p",
        "--m",
        "--s",
        "--ser",
        "--a",
        "--co",
        "--l",
        "--e",
    ] {
        assert!(matches!(parse_words(&["-p", word, "k"]), Err(BadUsage::Ambiguous(..))), "{word}");
    }
}
