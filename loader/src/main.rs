//! `kexec-load`: loads a capture kernel into the crash region of the running kernel. All decisions are made in the library;
//! this program reads files, makes the calls, and speaks with people.
#![no_std]
#![no_main]

extern crate alloc;

mod program;

use kexec_load::options::{self, Command};
use static_start::Args;

static_start::entry!(main);

/// Everything went well; with `--status`: nothing is loaded.
const DONE: u8 = 0;
/// Refused or failed, and nothing was loaded; with `--status`: something is loaded.
const REFUSED: u8 = 1;
/// The command line makes no sense.
const USAGE: u8 = 2;
/// `--status` cannot tell.
const UNKNOWN: u8 = 3;

fn main(args: &Args) -> u8 {
    let command = match options::parse(args.args.iter().skip(1).copied()) {
        Ok(command) => command,
        Err(usage) => {
            program::complain(&alloc::format!("{usage}\nTry kexec-load --help."));
            return USAGE;
        }
    };
    let failed = if command == Command::Status { UNKNOWN } else { REFUSED };
    let done = match command {
        Command::Help => program::print(options::HELP).map(|()| DONE),
        Command::Version => {
            program::print(concat!("kexec-load ", env!("CARGO_PKG_VERSION"), "\n")).map(|()| DONE)
        }
        Command::RegionSize => program::region_size().map(|()| DONE),
        Command::Status => program::status().map(|loaded| if loaded { REFUSED } else { DONE }),
        Command::Unload { debug, syscall } => program::unload(debug, syscall).map(|()| DONE),
        Command::Load(load) => program::load(&load).map(|()| DONE),
    };
    done.unwrap_or_else(|failure| {
        program::complain(&failure);
        failed
    })
}
