//! How hunts begin: their arguments, what they test, and the folders that they are kept in.

use crate::bisect::candidate::Recipe;
use crate::bisect::log::Started;
use crate::bisect::tester::cache_folder;
use crate::cli::{BisectAction, CommandLine, HuntArgs, Over, Verb};
use crate::exit::{Failure, OrFail};
use anyhow::{Context, anyhow};
use clap::Parser as _;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The file of a hunt's log, in its folder.
pub(super) const LOG: &str = "log";

/// The words behind `bisect run` of a command line. Those that are not UTF-8 have signs in place of what is not: a log is text.
pub(super) fn own_words(words: impl Iterator<Item = OsString>) -> Vec<String> {
    let own = words.skip(1).skip_while(|word| word != "run").skip(1);
    own.map(|word| word.to_string_lossy().into_owned()).collect()
}

/// The arguments that a hunt was started with.
pub(super) fn hunt_args(started: &Started) -> Result<HuntArgs, Failure> {
    let words =
        ["xtask", "bisect", "run"].into_iter().map(str::to_owned).chain(started.words.iter().cloned());
    let parsed = CommandLine::try_parse_from(words)
        .context("the log's arguments are not of this version")
        .or_input()?;
    match parsed.verb {
        Verb::Bisect { action: BisectAction::Run(args) } if !args.resume => Ok(*args),
        _ => Err(Failure::Input(anyhow!("the log's first line does not start a hunt"))),
    }
}

fn hunts(cache: Option<&Path>) -> Result<PathBuf, Failure> {
    Ok(cache_folder(cache)?.join("hunts"))
}

/// The hunt that was begun last. Names begin with the time.
pub(super) fn latest(cache: Option<&Path>) -> Result<PathBuf, Failure> {
    let hunts = hunts(cache)?;
    let entries = std::fs::read_dir(&hunts).into_iter().flatten().flatten().map(|entry| entry.path());
    let last = entries.filter(|path| path.join(LOG).is_file()).max();
    last.ok_or_else(|| anyhow!("no hunt was begun yet in {}", hunts.display())).or_input()
}

pub(super) fn new_folder(cache: Option<&Path>) -> Result<PathBuf, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(hunts(cache)?.join(format!("{:012}-{:03}-{}", now.as_secs(), now.subsec_millis(), std::process::id())))
}

/// What a hunt tests, and how it comes by it.
///
/// # Errors
/// [`Failure::Input`]: arguments that do not go together.
pub(super) fn recipe(args: &HuntArgs, over: Over) -> Result<Recipe, Failure> {
    let recipe = match over {
        Over::Loader | Over::Kernel => Recipe::new(&args.recipe)?,
        Over::KernelPackages | Over::KexecTools => {
            let is_built = Recipe::new(&args.recipe)? != Recipe::OwnLoader;
            if is_built || args.repo.is_some() {
                return Err(Failure::Input(anyhow!(
                    "--repo, --build, --loader and --kernel go with --over loader and --over kernel: released packages are not built"
                )));
            }
            Recipe::Released
        }
    };
    if (over == Over::Kernel) != matches!(recipe, Recipe::Kernels { .. }) {
        return Err(Failure::Input(anyhow!(
            "--over kernel goes with --kernel first=PATH or capture=PATH (and --build, which makes it), and nothing else does"
        )));
    }
    Ok(recipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: a file name that is not UTF-8 ends the program in a panic.
    #[test]
    fn any_word_can_be_written_down() {
        use std::os::unix::ffi::OsStringExt as _;
        let words = ["xtask", "bisect", "run", "--repo"].map(OsString::from).into_iter();
        let words = words.chain([OsString::from_vec(b"/r\xff".to_vec()), "run".into()]);
        assert_eq!(own_words(words), ["--repo", "/r\u{fffd}", "run"]);
    }

    /// Bug: a hunt that cannot be gone on with, because its own words are not understood any more.
    #[test]
    fn a_hunt_is_started_again_by_its_own_words() {
        let words = "--over loader --repo /r --good a --bad b --bad-is hung --confidence 0.999 -- cell";
        let started =
            Started { words: words.split(' ').map(str::to_owned).collect(), folder: "/".into(), ends: None };
        let args = hunt_args(&started).unwrap();
        assert_eq!((args.good.as_deref(), args.bad.as_deref()), (Some("a"), Some("b")));
        assert_eq!(args.judging.cells, ["cell"]);
        assert_eq!(args.repo.as_deref(), Some(Path::new("/r")));
        let resume = Started { words: vec!["--resume".into()], folder: "/".into(), ends: None };
        assert!(hunt_args(&resume).is_err());
    }
}
