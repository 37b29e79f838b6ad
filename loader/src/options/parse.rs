//! Reading the arguments, as getopt_long(3) reads those of kexec-tools: options and files in any order, values in the same word or
//! the next, letters in one word, long names abbreviated.

use super::table::{self, Does, Known};
use super::{Backup, BadUsage, BadValue, Command, Load, OnMismatch, Syscall};
use crate::places::Places;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// Everything that was typed, before it is known to fit together.
#[derive(Default)]
pub(super) struct Typed {
    pub(super) help: bool,
    pub(super) version: bool,
    pub(super) region_size: bool,
    pub(super) status: bool,
    pub(super) unload: bool,
    pub(super) load_panic: bool,
    pub(super) load_reboot: bool,
    pub(super) force: bool,
    /// Something is about a load alone.
    about_load: bool,
    pub(super) load: Load,
    files: Vec<Vec<u8>>,
}

/// Reads the arguments, the program's name excluded.
pub fn parse<'a>(args: impl IntoIterator<Item = &'a [u8]>) -> Result<Command, BadUsage> {
    let mut typed = Typed::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg {
            b"--" => typed.files.extend(args.by_ref().map(<[u8]>::to_vec)),
            [b'-', b'-', long @ ..] => {
                let (name, own) = match long.iter().position(|&byte| byte == b'=') {
                    Some(at) => (&long[..at], Some(&long[at + 1..])),
                    None => (long, None),
                };
                set(&mut typed, find(name)?, own, &mut args)?;
            }
            [b'-', letters @ ..] if !letters.is_empty() => letter_word(&mut typed, letters, &mut args)?,
            file => typed.files.push(file.to_vec()),
        }
    }
    typed.check()
}

/// Reads letters in one word. The first that takes a value takes the rest of the word for it.
fn letter_word<'a>(
    typed: &mut Typed,
    letters: &'a [u8],
    args: &mut dyn Iterator<Item = &'a [u8]>,
) -> Result<(), BadUsage> {
    for (at, &letter) in letters.iter().enumerate() {
        let known = every()
            .find(|known| known.letter == letter && letter != 0)
            .ok_or_else(|| BadUsage::Unknown(shown(b"-", &letters[at..=at])))?;
        if known.takes_value() {
            return set(typed, known, Some(&letters[at + 1..]).filter(|rest| !rest.is_empty()), args);
        }
        set(typed, known, None, args)?;
    }
    Ok(())
}

/// Every option.
pub(super) fn every() -> impl Iterator<Item = &'static Known> {
    table::KEXEC_TOOLS.iter().chain(table::OWN)
}

/// The option of this long name, or the only one that begins so.
fn find(name: &[u8]) -> Result<&'static Known, BadUsage> {
    if let Some(known) = every().find(|known| known.name.as_bytes() == name) {
        return Ok(known);
    }
    for group in [table::KEXEC_TOOLS, table::OWN] {
        let mut like = group.iter().filter(|known| known.name.as_bytes().starts_with(name));
        match (like.next(), like.next()) {
            (Some(known), None) => return Ok(known),
            (Some(one), Some(other)) => {
                return Err(BadUsage::Ambiguous(shown(b"--", name), [one.name, other.name]));
            }
            (None, _) => {}
        }
    }
    Err(BadUsage::Unknown(shown(b"--", name)))
}

/// Does what an option says, with its own value or the next argument.
fn set<'a>(
    typed: &mut Typed,
    known: &Known,
    own: Option<&'a [u8]>,
    args: &mut dyn Iterator<Item = &'a [u8]>,
) -> Result<(), BadUsage> {
    if let Does::Refused(why) = known.does {
        return Err(BadUsage::Refused(known.name, why));
    }
    typed.about_load |= known.letter == 0 && !table::BESIDE_UNLOAD.contains(&known.name);
    let value = match own {
        Some(_) if !known.takes_value() => return Err(BadUsage::Value(known.name)),
        None if known.takes_value() => args.next().ok_or(BadUsage::NoValue(known.name))?,
        own => own.unwrap_or_default(),
    };
    match known.does {
        Does::Plain(set) => set(typed),
        Does::Text(slot) => {
            // A second one would silently win over the first.
            if slot(&mut typed.load).replace(value.to_vec()).is_some() {
                return Err(BadUsage::Twice(known.name));
            }
        }
        Does::Value(set) => set(&mut typed.load, value).map_err(|wanted| {
            BadUsage::BadValue(known.name, BadValue { found: shown(b"", value), wanted })
        })?,
        Does::Places => typed.load.places.add(value).map_err(BadUsage::Places)?,
        Does::Nothing | Does::Refused(_) => {}
    }
    Ok(())
}

fn shown(hyphens: &[u8], name: &[u8]) -> String {
    String::from_utf8_lossy(&[hyphens, name].concat()).into_owned()
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
        if self.region_size {
            return Ok(Command::RegionSize);
        }
        if self.force {
            return Err(BadUsage::Refused("force", table::REBOOTS));
        }
        if self.load_reboot && !self.load_panic {
            return Err(BadUsage::Refused("load", table::REBOOTS));
        }
        // As with kexec-tools, `-S` is about the crash kernel unless `-l` is there too, and outdoes all others.
        if self.status {
            return Ok(Command::Status);
        }
        if self.unload {
            return self.check_unload();
        }
        if !self.load_panic {
            return Err(BadUsage::NoAction);
        }
        if let Some(more) = self.files.get(1) {
            return Err(BadUsage::MoreFiles(shown(b"", more)));
        }
        self.load.kernel = self.files.pop().ok_or(BadUsage::NoKernel)?;
        check_load(&self.load)?;
        Ok(Command::Load(Box::new(self.load)))
    }

    fn check_unload(self) -> Result<Command, BadUsage> {
        // Alone it drops the kernel for a reboot there, and would drop the crash kernel of somebody who means that.
        if !self.load_panic {
            return Err(BadUsage::Refused(
                "unload",
                "alone is for kernels that wait for a reboot: say -p -u",
            ));
        }
        if self.about_load || !self.files.is_empty() {
            return Err(BadUsage::NotWith("unload"));
        }
        Ok(Command::Unload { debug: self.load.debug, syscall: self.load.syscall })
    }
}

/// Whether the options of a load fit together.
fn check_load(load: &Load) -> Result<(), BadUsage> {
    // With kexec_file_load the kernel makes the plan. kexec-tools' options that it cannot heed are ignored there and so here: scripts give them
    // whatever the call. What only this program has was asked for knowingly.
    let unheeded = [
        ("dry-run", load.dry_run),
        ("compat-call", load.compat_call),
        ("on-mismatch", load.on_mismatch != OnMismatch::default()),
        ("backup", load.backup != Backup::default()),
        ("ignore-address-limits", load.ignore_address_limits),
        ("place", load.places != Places::default()),
    ];
    if load.syscall != Syscall::Load {
        if let Some((name, _)) = unheeded.into_iter().find(|&(_, given)| given) {
            return Err(BadUsage::NotWithFileLoad(name));
        }
    }
    match (load.mem_min, load.mem_max) {
        (Some(least), Some(most)) if least > most => Err(BadUsage::NothingBetween),
        _ => Ok(()),
    }
}
