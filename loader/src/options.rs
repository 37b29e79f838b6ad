//! The command line of `kexec-load`: what was typed, as values. The options that there are have the names and meanings of kexec-tools', so that
//! scripts need not change.

use crate::places::{BadPlaces, Places};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `--help`.
    Help,
    /// `--version`.
    Version,
    /// `--status`: say whether a crash image is loaded.
    Status,
    /// `--unload`: drop the crash image.
    Unload {
        /// `--debug`.
        debug: bool,
    },
    /// `--load-panic`.
    Load(Load),
}

/// A crash load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The capture kernel's bzImage.
    pub kernel: Vec<u8>,
    /// `--initrd`, `--ramdisk`.
    pub initrd: Option<Vec<u8>>,
    /// `--command-line`, `--append`.
    pub command_line: Option<Vec<u8>>,
    /// `--reuse-cmdline`: begin with the running kernel's.
    pub reuse_cmdline: bool,
    /// `--debug`.
    pub debug: bool,
    /// `--dry-run`.
    pub dry_run: bool,
    /// `--entry-32bit`.
    pub entry_32bit: bool,
    /// `--ignore-address-limits`.
    pub ignore_address_limits: bool,
    /// `--place`.
    pub places: Places,
}

/// What is wrong with the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadUsage {
    /// No such option.
    Unknown(String),
    /// The option needs a value and has none.
    NoValue(&'static str),
    /// The option takes no value and has one.
    Value(&'static str),
    /// The option was given twice.
    Twice(&'static str),
    /// No action was asked for.
    NoAction,
    /// Two actions were asked for.
    TwoActions(&'static str, &'static str),
    /// A load without a kernel.
    NoKernel,
    /// More than one file.
    MoreFiles(String),
    /// A file or a load option beside an action that takes none.
    NotWith(&'static str),
    /// `--place` names no places.
    Places(BadPlaces),
}

impl fmt::Display for BadUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(option) => write!(f, "unknown option {option}"),
            Self::NoValue(option) => write!(f, "{option} needs a value: {option}=VALUE"),
            Self::Value(option) => write!(f, "{option} takes no value"),
            Self::Twice(option) => write!(f, "{option} was given twice"),
            Self::NoAction => {
                f.write_str("nothing to do: give --load-panic (-p), --unload (-u) or --status (-S)")
            }
            Self::TwoActions(one, other) => write!(f, "{one} and {other} exclude each other"),
            Self::NoKernel => {
                f.write_str("--load-panic needs the capture kernel's bzImage as its last argument")
            }
            Self::MoreFiles(file) => write!(f, "one bzImage is enough: what is {file}?"),
            Self::NotWith(action) => write!(f, "{action} takes neither files nor options of a load"),
            Self::Places(why) => write!(f, "--place: {why}"),
        }
    }
}

/// An option: its names, whether it takes a value, and what it sets.
struct Known {
    name: &'static str,
    alias: &'static str,
    value: bool,
    set: fn(&mut Typed, Vec<u8>) -> Result<(), BadUsage>,
}

/// Everything that was typed, before it is known to fit together.
#[derive(Default)]
struct Typed {
    help: bool,
    version: bool,
    status: bool,
    unload: bool,
    load_panic: bool,
    load: Load,
    files: Vec<Vec<u8>>,
}

const OPTIONS: &[Known] = &[
    Known { name: "--help", alias: "-h", value: false, set: |typed, _| flag(&mut typed.help) },
    Known { name: "--version", alias: "-v", value: false, set: |typed, _| flag(&mut typed.version) },
    Known { name: "--status", alias: "-S", value: false, set: |typed, _| flag(&mut typed.status) },
    Known { name: "--unload", alias: "-u", value: false, set: |typed, _| flag(&mut typed.unload) },
    Known { name: "--load-panic", alias: "-p", value: false, set: |typed, _| flag(&mut typed.load_panic) },
    Known { name: "--debug", alias: "-d", value: false, set: |typed, _| flag(&mut typed.load.debug) },
    Known { name: "--dry-run", alias: "", value: false, set: |typed, _| flag(&mut typed.load.dry_run) },
    Known {
        name: "--entry-32bit",
        alias: "",
        value: false,
        set: |typed, _| flag(&mut typed.load.entry_32bit),
    },
    Known {
        name: "--reuse-cmdline",
        alias: "",
        value: false,
        set: |typed, _| flag(&mut typed.load.reuse_cmdline),
    },
    Known {
        name: "--ignore-address-limits",
        alias: "",
        value: false,
        set: |typed, _| flag(&mut typed.load.ignore_address_limits),
    },
    Known {
        name: "--initrd",
        alias: "--ramdisk",
        value: true,
        set: |t, v| once("--initrd", &mut t.load.initrd, v),
    },
    Known {
        name: "--command-line",
        alias: "--append",
        value: true,
        set: |t, v| once("--command-line", &mut t.load.command_line, v),
    },
    Known {
        name: "--place",
        alias: "",
        value: true,
        set: |t, v| t.load.places.add(&v).map_err(BadUsage::Places),
    },
];

/// Flags may be repeated, as kexec-tools' scripts do.
fn flag(flag: &mut bool) -> Result<(), BadUsage> {
    *flag = true;
    Ok(())
}

/// A second value would silently win over the first.
fn once(name: &'static str, slot: &mut Option<Vec<u8>>, value: Vec<u8>) -> Result<(), BadUsage> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(BadUsage::Twice(name)),
    }
}

/// Reads the arguments, the program's name excluded.
pub fn parse<'a>(args: impl IntoIterator<Item = &'a [u8]>) -> Result<Command, BadUsage> {
    let mut typed = Typed::default();
    let mut args = args.into_iter();
    let mut only_files = false;
    while let Some(arg) = args.next() {
        if only_files || !arg.starts_with(b"-") || arg == b"-" {
            typed.files.push(arg.to_vec());
        } else if arg == b"--" {
            only_files = true;
        } else if !arg.starts_with(b"--") && arg.len() > 2 {
            // `-pd`: short options in one word. None of them takes a value.
            for &letter in &arg[1..] {
                one(&mut typed, &[b'-', letter], &mut core::iter::empty())?;
            }
        } else {
            one(&mut typed, arg, &mut args)?;
        }
    }
    typed.check()
}

/// Reads one option, and its value from the next argument where it has none of its own.
fn one(typed: &mut Typed, arg: &[u8], rest: &mut dyn Iterator<Item = &[u8]>) -> Result<(), BadUsage> {
    let (name, value) = match arg.iter().position(|&byte| byte == b'=') {
        Some(at) => (&arg[..at], Some(arg[at + 1..].to_vec())),
        None => (arg, None),
    };
    let known = OPTIONS
        .iter()
        .find(|known| known.name.as_bytes() == name || known.alias.as_bytes() == name)
        .ok_or_else(|| BadUsage::Unknown(String::from_utf8_lossy(name).into_owned()))?;
    let value = match (known.value, value) {
        (false, None) => Vec::new(),
        (false, Some(_)) => return Err(BadUsage::Value(known.name)),
        (true, Some(value)) => value,
        (true, None) => rest.next().ok_or(BadUsage::NoValue(known.name))?.to_vec(),
    };
    (known.set)(typed, value)
}

impl Typed {
    /// Whether it all fits together.
    fn check(mut self) -> Result<Command, BadUsage> {
        if self.help {
            return Ok(Command::Help);
        }
        if self.version {
            return Ok(Command::Version);
        }
        // As with kexec-tools, `-p` beside `-u` or `-S` only names the kind of image that is meant.
        let action = match (self.status, self.unload) {
            (true, true) => return Err(BadUsage::TwoActions("--status", "--unload")),
            (true, false) => Some(("--status", Command::Status)),
            (false, true) => Some(("--unload", Command::Unload { debug: self.load.debug })),
            (false, false) => None,
        };
        if let Some((name, command)) = action {
            let idle =
                self.files.is_empty() && self.load == Load { debug: self.load.debug, ..Load::default() };
            return if idle { Ok(command) } else { Err(BadUsage::NotWith(name)) };
        }
        if !self.load_panic {
            return Err(BadUsage::NoAction);
        }
        if let Some(more) = self.files.get(1) {
            return Err(BadUsage::MoreFiles(String::from_utf8_lossy(more).into_owned()));
        }
        self.load.kernel = self.files.pop().ok_or(BadUsage::NoKernel)?;
        Ok(Command::Load(self.load))
    }
}

/// The text of `--help`.
pub const HELP: &str = "\
kexec-load: load a capture kernel into the crash region of the running kernel

usage: kexec-load --load-panic [--initrd=FILE] [--command-line=TEXT] BZIMAGE
       kexec-load --unload | --status | --help | --version

  -p, --load-panic         load BZIMAGE, to be started when this kernel panics
      --initrd=FILE        its initial ramdisk (also --ramdisk)
      --command-line=TEXT  its command line (also --append), behind elfcorehdr=
      --reuse-cmdline      begin with the running kernel's command line, without
                           crashkernel=, elfcorehdr=, memmap= and BOOT_IMAGE=
  -u, --unload             drop what is loaded
  -S, --status             say whether a capture kernel is loaded
  -d, --debug              say on standard error what is found and planned
      --dry-run            print the planned segments, and load nothing
      --entry-32bit        use the 32-bit entry of a 64-bit kernel
      --ignore-address-limits
                           load where an i386 kernel cannot run or cannot reach, or
                           where a kernel has too little memory: the machine then
                           HANGS after a panic. For proofs only
      --place=SEGMENT=ADDRESS[,SEGMENT=ADDRESS]...
                           put kernel, initrd, boot_params, purgatory, elfcorehdr at
                           these addresses (0x...), for proofs. The limits hold still
  -h, --help               this text
  -v, --version            the version

status: 0 done; 1 refused or failed, and nothing was loaded; 2 wrong usage.
        --status: 1 if a capture kernel is loaded, 0 if not, 3 if that cannot be read.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::SegmentKind;

    fn parse_words(words: &[&str]) -> Result<Command, BadUsage> {
        parse(words.iter().map(|word| word.as_bytes()))
    }

    fn load() -> Load {
        Load {
            kernel: b"bzImage".to_vec(),
            initrd: Some(b"initrd.gz".to_vec()),
            command_line: Some(b"console=ttyS0 a=\"b c\"".to_vec()),
            ..Load::default()
        }
    }

    #[test]
    fn every_spelling_of_the_same_load() {
        let line = "console=ttyS0 a=\"b c\"";
        for words in [
            &["--load-panic", "--initrd=initrd.gz", &format!("--command-line={line}"), "bzImage"][..],
            &["-p", "--ramdisk=initrd.gz", &format!("--append={line}"), "bzImage"],
            &["bzImage", "--initrd", "initrd.gz", "--append", line, "-p"],
            &["-p", "--append", line, "--initrd", "initrd.gz", "--", "bzImage"],
        ] {
            assert_eq!(parse_words(words), Ok(Command::Load(load())), "{words:?}");
        }
    }

    #[test]
    fn flags() {
        let Ok(Command::Load(load)) =
            parse_words(&["-pd", "--dry-run", "--entry-32bit", "--reuse-cmdline", "k"])
        else {
            panic!("no load");
        };
        assert!(
            load.debug
                && load.dry_run
                && load.entry_32bit
                && load.reuse_cmdline
                && !load.ignore_address_limits
        );
        assert_eq!(parse_words(&["-p", "-u"]), Ok(Command::Unload { debug: false }));
        assert_eq!(parse_words(&["-S"]), Ok(Command::Status));
        assert_eq!(parse_words(&["-p", "--help"]), Ok(Command::Help));
    }

    #[test]
    fn wrong_usage_is_named() {
        let cases: [(&[&str], BadUsage); 11] = [
            (&[], BadUsage::NoAction),
            (&["bzImage"], BadUsage::NoAction),
            (&["-p"], BadUsage::NoKernel),
            (&["-p", "a", "b"], BadUsage::MoreFiles("b".into())),
            (&["-p", "--initrdx=1", "a"], BadUsage::Unknown("--initrdx".into())),
            (&["-px", "a"], BadUsage::Unknown("-x".into())),
            (&["-p", "a", "--initrd"], BadUsage::NoValue("--initrd")),
            (&["-p", "--debug=1", "a"], BadUsage::Value("--debug")),
            (&["-p", "--append=a", "--command-line=b", "a"], BadUsage::Twice("--command-line")),
            (&["-u", "bzImage"], BadUsage::NotWith("--unload")),
            (
                &["-p", "--place=kernel=0x1000000", "--place", "kernel=0x2000000", "a"],
                BadUsage::Places(BadPlaces::Twice(SegmentKind::Kernel)),
            ),
        ];
        for (words, error) in cases {
            assert_eq!(parse_words(words), Err(error), "{words:?}");
        }
    }

    /// Every option that is read is also explained.
    #[test]
    fn help_names_every_option() {
        for known in OPTIONS {
            assert!(HELP.contains(known.name), "{}", known.name);
            // A short name stands in front of its long one, lest `-d` be found inside of `--dry-run`.
            let named = match known.alias {
                "" => true,
                alias if alias.starts_with("--") => HELP.contains(&format!("(also {alias})")),
                alias => HELP.contains(&format!("{alias}, {}", known.name)),
            };
            assert!(named, "{}", known.alias);
        }
    }
}
