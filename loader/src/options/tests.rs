//! Tests of the command line as a whole. Those of compatibility are in `fates`.

use super::*;
use crate::places::BadPlaces;
use crate::segment::SegmentKind;
use alloc::string::{String, ToString};

mod fates;
mod kdump_tools;

fn parse_words(words: &[&str]) -> Result<Command, BadUsage> {
    parse(words.iter().map(|word| word.as_bytes()))
}

/// The load that these words ask for.
fn load_of(words: &[&str]) -> Load {
    match parse_words(words) {
        Ok(Command::Load(load)) => *load,
        other => panic!("{words:?}: {other:?}"),
    }
}

fn load() -> Load {
    Load {
        kernel: b"bzImage".to_vec(),
        initrd: Some(b"initrd.gz".to_vec()),
        command_line: Some(b"console=ttyS0 a=\"b c\"".to_vec()),
        ..Load::default()
    }
}

/// Catches values that are looked for in one place alone, options that end at the first file, and abbreviations.
#[test]
fn every_spelling_of_the_same_load() {
    let line = "console=ttyS0 a=\"b c\"";
    for words in [
        &["--load-panic", "--initrd=initrd.gz", &format!("--command-line={line}"), "bzImage"][..],
        &["-p", "--ramdisk=initrd.gz", &format!("--append={line}"), "bzImage"],
        &["bzImage", "--initrd", "initrd.gz", "--append", line, "-p"],
        &["-p", "--append", line, "--initrd", "initrd.gz", "--", "bzImage"],
        &["-ptbzImage", "--in=initrd.gz", "--app", line, "bzImage"],
        &["-pt", "bzImage", "--ram", "initrd.gz", "--com", line, "bzImage"],
        &["--load-pa", "--typ=bzImage", "bzImage", "--initrd=initrd.gz", "--comma", line],
    ] {
        assert_eq!(parse_words(words), Ok(Command::Load(load().into())), "{words:?}");
    }
    // A value may look like an option, and be empty.
    assert_eq!(load_of(&["-p", "k", "--append", "-p"]).command_line, Some(b"-p".to_vec()));
    assert_eq!(load_of(&["-p", "k", "--append="]).command_line, Some(Vec::new()));
    assert_eq!(load_of(&["-p", "--", "-k"]).kernel, b"-k");
    assert_eq!(load_of(&["-p", "-"]).kernel, b"-");
}

/// Catches an option that sets another's field, or none.
#[test]
fn every_option_sets_its_own_field() {
    type Case = (&'static [&'static str], fn(&mut Load));
    let cases: &[Case] = &[
        (&["-d"], |load| load.debug = true),
        (&["--dry-run"], |load| load.dry_run = true),
        (&["--entry-32bit"], |load| load.entry_32bit = true),
        (&["--reuse-cmdline"], |load| load.reuse_cmdline = true),
        (&["-i"], |load| load.no_checks = true),
        (&["--on-mismatch=reset"], |load| load.on_mismatch = OnMismatch::Reset),
        (&["--on-mismatch", "halt"], |_| {}),
        (&["--console-serial"], |load| load.console_serial = true),
        (&["--serial=0x2f8"], |load| load.serial = NonZeroU16::new(0x2f8)),
        (&["--serial-baud=9600"], |load| load.serial_divisor = NonZeroU16::new(12)),
        (&["--backup=always"], |load| load.backup = Backup::Always),
        (&["--backup=never"], |load| load.backup = Backup::Never),
        (&["--backup=auto"], |_| {}),
        (&["--elf32-core-headers"], |load| load.core_headers = Some(Class::Elf32)),
        (&["--elf64-core-headers"], |load| load.core_headers = Some(Class::Elf64)),
        (&["--hotplug"], |load| load.hotplug = true),
        (&["--noefi"], |load| load.noefi = true),
        (&["--mem-min=0x1000"], |load| load.mem_min = Some(PhysAddr(0x1000))),
        (&["--mem-max=0x7fffffff"], |load| load.mem_max = Some(PhysAddr(0x7fff_ffff))),
        (&["-s"], |load| load.syscall = Syscall::File),
        (&["-a"], |load| load.syscall = Syscall::Auto),
        (&["-a", "-c"], |_| {}),
        (&["-tbzImage64"], |load| load.image_type = ImageType::BzImage64),
        (&["--compat-call"], |load| load.compat_call = true),
        (&["--ignore-address-limits"], |load| load.ignore_address_limits = true),
    ];
    for (words, set) in cases {
        let mut expected = Load { kernel: b"k".to_vec(), ..Load::default() };
        set(&mut expected);
        assert_eq!(load_of(&[&["-p", "k"], *words].concat()), expected, "{words:?}");
    }
}

/// Catches an action that needs what it does not use, or does another's work: `-u` alone is about another kernel in kexec-tools.
#[test]
fn actions() {
    let unload = |debug, syscall| Ok(Command::Unload { debug, syscall });
    assert_eq!(parse_words(&["-p", "-u"]), unload(false, Syscall::Load));
    assert_eq!(parse_words(&["-dspu"]), unload(true, Syscall::File));
    assert!(matches!(parse_words(&["-u"]), Err(BadUsage::Refused("unload", _))));
    // What kexec-tools 2.0.20 and 2.0.25 take there too, tried; and what they do not is wrong usage, below.
    for word in [
        "--elf64-core-headers",
        "--elf32-core-headers",
        "--console-serial",
        "--serial=0x3f8",
        "--mem-min=0",
        "-i",
        "-tbzImage",
    ] {
        assert_eq!(parse_words(&["-p", "-u", word]), unload(false, Syscall::Load), "{word}");
    }
    assert_eq!(load_of(&["-p", "--no-cma", "k"]), load_of(&["-p", "k"]));
    assert!(matches!(parse_words(&["-p", "--force-dtb", "k"]), Err(BadUsage::Refused("force-dtb", _))));
    for words in [&["-S"][..], &["-p", "-S"], &["-S", "-p", "-u"], &["-p", "--initrd=i", "k", "-S"]] {
        assert_eq!(parse_words(words), Ok(Command::Status), "{words:?}");
    }
    assert_eq!(parse_words(&["-p", "--help"]), Ok(Command::Help));
    assert_eq!(parse_words(&["-v"]), Ok(Command::Version));
    assert_eq!(parse_words(&["--print"]), Ok(Command::RegionSize));
}

/// Catches a mistake that is taken for something else.
#[test]
fn wrong_usage_is_named() {
    let cases: &[(&[&str], BadUsage)] = &[
        (&[], BadUsage::NoAction),
        (&["bzImage"], BadUsage::NoAction),
        (&["-p"], BadUsage::NoKernel),
        (&["-p", "a", "b"], BadUsage::MoreFiles("b".into())),
        (&["-p", "--initrdx=1", "a"], BadUsage::Unknown("--initrdx".into())),
        (&["-pz", "a"], BadUsage::Unknown("-z".into())),
        (&["-p", "--conso", "a"], BadUsage::Ambiguous("--conso".into(), ["console-serial", "console-vga"])),
        (&["-p", "a", "--initrd"], BadUsage::NoValue("initrd")),
        (&["-p", "a", "-t"], BadUsage::NoValue("type")),
        (&["-p", "--debug=1", "a"], BadUsage::Value("debug")),
        (&["-p", "--no-sync=1", "a"], BadUsage::Value("no-sync")),
        (&["-p", "--append=a", "--command-line=b", "a"], BadUsage::Twice("command-line")),
        (&["-p", "-u", "bzImage"], BadUsage::NotWith("unload")),
        (&["-p", "-u", "--noefi"], BadUsage::NotWith("unload")),
        (&["-p", "-u", "--initrd=i"], BadUsage::NotWith("unload")),
        (&["-p", "-u", "--backup=never"], BadUsage::NotWith("unload")),
        (&["-p", "-s", "--place=kernel=0x1000000", "a"], BadUsage::NotWithFileLoad("place")),
        (&["-p", "-a", "--backup=never", "a"], BadUsage::NotWithFileLoad("backup")),
        (&["-p", "--mem-min=2", "--mem-max=1", "a"], BadUsage::NothingBetween),
        (
            &["-p", "--place=kernel=0x1000000", "--place", "kernel=0x2000000", "a"],
            BadUsage::Places(BadPlaces::Twice(SegmentKind::Kernel)),
        ),
    ];
    for (words, error) in cases {
        assert_eq!(parse_words(words).as_ref(), Err(error), "{words:?}");
    }
}

/// A value that means nothing is told with its option, and with what would mean something.
#[test]
fn bad_values_are_told_with_what_is_wanted() {
    for (words, message) in [
        (["-p", "-tvmlinux", "k"], "--type: \"vmlinux\" is not bzImage or bzImage64"),
        (["-p", "--mem-max=1G", "k"], "--mem-max: \"1G\" is not an address"),
        (["-p", "--on-mismatch=spin", "k"], "--on-mismatch: \"spin\" is not halt or reset"),
        (["-p", "--serial=com1", "k"], "--serial: \"com1\" is not an I/O port"),
    ] {
        let error = parse_words(&words).unwrap_err().to_string();
        assert!(error.starts_with(message), "{words:?}: {error}");
    }
}

/// Whether a text has this option, and not just a longer one.
fn names(text: &str, option: &str) -> bool {
    text.match_indices(option).any(|(at, _)| {
        let around = [text[..at].chars().next_back(), text[at + option.len()..].chars().next()];
        around.into_iter().flatten().all(|c| !c.is_ascii_alphanumeric() && c != '-')
    })
}

/// The manual page's words: without requests for fonts, and hyphens as they are typed.
fn manual() -> String {
    let page = include_str!("../../kexec-load.8").replace("\\-", "-");
    ["\\fR", "\\fI", "\\fP", "\""].iter().fold(page, |page, font| page.replace(font, ""))
}

/// Whether an option is explained: its letter, if it has one, on a line with its name.
fn explains(text: &str, known: &table::Known) -> bool {
    let letter = format!("-{}", char::from(known.letter));
    text.lines()
        .filter(|line| names(line, &format!("--{}", known.name)))
        .any(|line| known.letter == 0 || names(line, &letter))
}

/// Every option that is read is also explained, by its letter too. Catches one that was added to the table alone.
#[test]
fn help_and_manual_explain_every_option() {
    let manual = manual();
    for known in parse::every() {
        assert!(explains(HELP, known), "--help: --{}", known.name);
        assert!(explains(&manual, known), "kexec-load.8: --{}", known.name);
    }
}

/// What is explained is an option. Catches one that was taken from the table alone, and a typing error.
#[test]
fn help_and_manual_explain_nothing_else() {
    for text in [HELP, &manual()] {
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
            let known = match word.as_bytes() {
                [b'-', b'-', _, ..] => parse::every().any(|known| known.name == &word[2..]),
                &[b'-', letter] => parse::every().any(|known| known.letter == letter),
                // Nothing, text, and letters in one word.
                _ => true,
            };
            assert!(known, "{word}");
        }
    }
}

/// Catches two options of one name, of which the second could never be given.
#[test]
fn names_and_letters_are_unique() {
    let all: Vec<_> = parse::every().collect();
    for (at, one) in all.iter().enumerate() {
        for other in &all[at + 1..] {
            assert_ne!(one.name, other.name);
            assert!(one.letter == 0 || one.letter != other.letter, "{} {}", one.name, other.name);
        }
    }
}
