//! Arguments of `bisect`.

use super::{GuestsArgs, HostArgs, KernelArg, KernelSide, LoaderArg, StoreArgs};
use crate::bisect::{Confidence, Criteria, Criterion};
use clap::{Args, Subcommand, ValueEnum};
use std::num::NonZeroU32;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum BisectAction {
    /// Test what a checkout holds, and answer as `git bisect run` wants it.
    ///
    /// Builds this repository's loader from the checkout, or what --build builds, runs the cells until it is sure, and ends with a status
    /// that git understands.
    Step(Box<StepArgs>),
    /// Write a folder that `git bisect run` can use whatever the checkout's own xtask is worth.
    Install(InstallArgs),
    /// Find the culprit between a good end and a bad one, alone: in a work tree of its own, with a report at the end.
    Run(Box<HuntArgs>),
    /// Print the log of the last hunt, as `git bisect log` does.
    Log(LogArgs),
    /// Begin with the verdicts of a log, and go on where it ends. Verdicts that are wrong may be taken out of it before.
    Replay(ReplayArgs),
}

/// The language of `--bad-is`, for the help of all verbs that have it.
macro_rules! what_help {
    () => {
        "\
WHAT is an outcome, or several with & | ! and parentheses:
  captured            the capture kernel came up after the panic (vmcore=verified, wrong or absent
                      says in which state the memory of the first kernel was found)
  refused             loader or kernel refused to load it, with a message
  load-failed         the loader crashed, or ended in another way, and nothing is loaded
  hung, reset         what followed the panic came to no end, or rebooted
  capture-panicked, stopped-by-purgatory, not-panicked
                      as they say: how else it ended
  unreserved, no-first-kernel, rig-error
                      nothing could be tried; these cannot be tested unless WHAT names them
  pass, fail          as the cell expects it, or not
  words~\"REGEX\", console~\"REGEX\"
                      by the words of the outcome, or by what was on the console

CELL is one trial (two kernels, a loader, a machine) by its id, as reports and
`cargo xtask e2e SUITE --list` show it; FILTER selects several, such as 'userspace=i386'."
    };
}

/// The end of the help of `bisect step`.
const STEP_HELP: &str = concat!(
    what_help!(),
    "

Exit status:
    0  good
    1  bad
  125  cannot be tested: does not build, does not boot, no such region, rig trouble
       three times, not sure after --most-runs
  128  stop: bad arguments, something missing, disk full, a process that outlived its
       guest, a bug of this program
  130  interrupted

Examples:
  git bisect run ~/kdump/kdump-bisect step CELL
  git bisect run ~/kdump/kdump-bisect step --build make --kernel first=arch/x86/boot/bzImage CELL"
);

#[derive(Args, Debug)]
#[command(after_help = STEP_HELP)]
pub(crate) struct StepArgs {
    /// The checkout to test. Default: the one that this is started in.
    #[arg(long, value_name = "DIR")]
    pub(crate) checkout: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
    /// Outcomes that are bad, such as hung, 'refused | reset' or 'console~"REGEX"'. Default: all that the cell does not expect.
    #[arg(long = "bad-is", visible_alias = "bad", value_name = "WHAT")]
    pub(crate) bad_is: Option<Criterion>,
    /// Outcomes that are good. With both, an outcome that is neither cannot be tested.
    #[arg(long = "good-is", visible_alias = "good", value_name = "WHAT")]
    pub(crate) good_is: Option<Criterion>,
    #[command(flatten)]
    pub(crate) judging: JudgingArgs,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// What is tested, and how it is made.
#[derive(Args, Clone, Debug)]
pub(crate) struct RecipeArgs {
    /// Shell command that builds what is tested, in the checkout's folder. Default: this repository's loader is built.
    #[arg(long, value_name = "CMD")]
    pub(crate) build: Option<String>,
    /// The loader that is tested, a static program; relative to the checkout. {arch} in it is the userspace: i386 or x86_64.
    #[arg(long, value_name = "PATH", conflicts_with = "kernel")]
    pub(crate) loader: Option<PathBuf>,
    /// The kernel that is tested, a bzImage: first=PATH or capture=PATH, relative to the checkout. One of each at most.
    #[arg(long, value_name = "SIDE=PATH")]
    pub(crate) kernel: Vec<KernelArg>,
}

/// Which cells are run, what counts as bad, and how sure one must be.
#[derive(Args, Clone, Debug)]
pub(crate) struct JudgingArgs {
    /// Cells by their ids, or expressions over their axes as `e2e -E` takes them. Default: all of the suites.
    #[arg(value_name = "CELL|FILTER")]
    pub(crate) cells: Vec<String>,
    /// Suites, by name or as files, that cells are taken from. An id that is not in them is looked for in all. Repeatable.
    #[arg(long, value_name = "SUITE|FILE.yaml", default_value = "smoke")]
    pub(crate) suite: Vec<String>,
    /// How sure a verdict must be, as a probability. A cell is run as often as that needs: one that flakes more often.
    #[arg(long, value_name = "P", default_value = "0.99")]
    pub(crate) confidence: Confidence,
    /// Runs of a cell after which a verdict that is not sure is given up.
    #[arg(long, value_name = "N", default_value = "40")]
    pub(crate) most_runs: NonZeroU32,
    /// Run everything anew: do not use what earlier runs of the very same programs and kernels showed.
    #[arg(long)]
    pub(crate) again: bool,
    /// Folder of what earlier runs showed, of builds and of evidence. Default: `bisect` in the rig's cache.
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) guests: GuestsArgs,
}

#[derive(Args, Debug)]
pub(crate) struct InstallArgs {
    /// The folder. One that an earlier `bisect install` wrote is brought up to date; any other must be empty or not be there.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Suites, by name, whose kernels and loaders are fetched now, so that no step needs the network. Repeatable.
    #[arg(long, value_name = "SUITE", default_values = ["smoke", "seed"])]
    pub(crate) suite: Vec<String>,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

/// What a hunt goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Over {
    /// Commits of a loader's repository: this one's, or another with --repo, --build and --loader.
    Loader,
    /// Commits of a kernel's repository.
    Kernel,
    /// The kernels that the lock file knows, those of `images add` among them, by their series, such as 6.1 or sid.
    KernelPackages,
    /// The kexec-tools that the lock file knows, by their versions.
    KexecTools,
}

/// Which kernel of a cell is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum HuntSide {
    First,
    Capture,
    #[default]
    Both,
}

/// The end of the help of `bisect run`.
const HUNT_HELP: &str = concat!(
    what_help!(),
    "

Exit status:
    0  the culprit is found, and tested again it is the culprit still
    1  the culprit is one of several: all but one of them cannot be tested
    2  bad input, or ends that do not differ
    3  the rig or the host failed, or the culprit was none when it was tested again
  130  interrupted; `bisect run --resume` goes on

Examples:
  cargo xtask bisect run --over loader --good v1 --bad HEAD -- CELL
  cargo xtask bisect run --over kernel-packages --good 5.10 --bad 6.12 -- CELL"
);

#[derive(Args, Debug)]
#[command(after_help = HUNT_HELP)]
pub(crate) struct HuntArgs {
    /// What the hunt goes over.
    #[arg(long, value_enum, required_unless_present = "resume")]
    pub(crate) over: Option<Over>,
    /// The repository. Default: the one around the current folder. Its work tree, index and branches are left as they are.
    #[arg(long, value_name = "DIR")]
    pub(crate) repo: Option<PathBuf>,
    /// The good end: a revision, or of packages a series or version, such as 5.10.
    #[arg(long, value_name = "REV", required_unless_present = "resume")]
    pub(crate) good: Option<String>,
    /// The bad end, after the good one in the history. Packages may go either way.
    #[arg(long, value_name = "REV", required_unless_present = "resume")]
    pub(crate) bad: Option<String>,
    /// Which kernel of the cells is replaced by those that are tried, for --over kernel-packages.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) side: HuntSide,
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
    /// Outcomes that are bad, such as hung, 'refused | reset' or 'console~"REGEX"'. Default: all that the cell does not expect.
    #[arg(long, value_name = "WHAT")]
    pub(crate) bad_is: Option<Criterion>,
    /// Outcomes that are good. With both, an outcome that is neither cannot be tested.
    #[arg(long, value_name = "WHAT")]
    pub(crate) good_is: Option<Criterion>,
    /// Runs of each cell at both ends, and of the culprit at the end: they show how often it flakes.
    #[arg(long, value_name = "N", default_value = "3")]
    pub(crate) end_runs: NonZeroU32,
    /// Leave the work tree there with what was built in it: the next hunt in this repository builds only what differs.
    #[arg(long)]
    pub(crate) keep_tree: bool,
    /// Go on with the hunt that was begun last.
    #[arg(long, conflicts_with_all = ["over", "good", "bad"])]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) judging: JudgingArgs,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

impl StepArgs {
    /// What counts as good and as bad.
    pub(crate) fn criteria(&self) -> Criteria {
        Criteria { good: self.good_is.clone(), bad: self.bad_is.clone() }
    }
}

impl HuntArgs {
    /// What counts as good and as bad.
    pub(crate) fn criteria(&self) -> Criteria {
        Criteria { good: self.good_is.clone(), bad: self.bad_is.clone() }
    }
}

#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    /// Folder of hunts. Default: `bisect` in the rig's cache.
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    /// The log.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// One of two things that are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ComparedArg {
    /// This repository's loader.
    InTree,
    /// A released kexec-tools, by upstream version.
    KexecTools(String),
    /// A static program; `{arch}` in its path is the userspace.
    Program(PathBuf),
    /// A kernel by its name in the lock file, or by its path.
    Kernel(KernelSide, String),
}

impl std::str::FromStr for ComparedArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kernel = [("first=", KernelSide::First), ("capture=", KernelSide::Capture)]
            .into_iter()
            .find_map(|(prefix, side)| Some((side, text.strip_prefix(prefix)?)));
        if let Some((side, name)) = kernel {
            return if name.is_empty() {
                Err("no kernel after the equals sign".to_owned())
            } else {
                Ok(Self::Kernel(side, name.to_owned()))
            };
        }
        match text.parse() {
            Ok(LoaderArg::InTree) => Ok(Self::InTree),
            Ok(LoaderArg::KexecTools(version)) => Ok(Self::KexecTools(version)),
            Ok(LoaderArg::Path(path)) => Ok(Self::Program(path)),
            Err(why) => Err(format!("{why}, or a kernel: first=NAME or capture=NAME")),
        }
    }
}

impl std::fmt::Display for ComparedArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InTree => f.write_str("in-tree"),
            Self::KexecTools(version) => write!(f, "kexec-tools@{version}"),
            Self::Program(path) => write!(f, "{}", path.display()),
            Self::Kernel(KernelSide::First, name) => write!(f, "first={name}"),
            Self::Kernel(KernelSide::Capture, name) => write!(f, "capture={name}"),
        }
    }
}

#[derive(Args, Debug)]
#[command(after_help = "Exit status:
    0  nothing differs
    1  a cell does
    2  bad input
    3  the rig or the host failed
  130  interrupted")]
pub(crate) struct CompareArgs {
    /// A loader (in-tree, kexec-tools@VERSION, or a path) or a kernel (first=NAME, capture=NAME; a path has a slash).
    #[arg(value_name = "A")]
    pub(crate) a: ComparedArg,
    /// What it is compared with.
    #[arg(value_name = "B")]
    pub(crate) b: ComparedArg,
    /// Runs of each cell with each. What differs between runs of the same thing is no difference between the two.
    #[arg(long, value_name = "N", default_value = "2")]
    pub(crate) runs: NonZeroU32,
    #[command(flatten)]
    pub(crate) judging: JudgingArgs,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[cfg(test)]
mod tests {
    use crate::cli::{BisectAction, CommandLine, Verb};
    use clap::Parser;

    fn parse(words: &str) -> Result<BisectAction, clap::Error> {
        let words = ["xtask", "bisect"].into_iter().chain(words.split(' '));
        match CommandLine::try_parse_from(words)?.verb {
            Verb::Bisect { action } => Ok(action),
            other => panic!("{other:?}"),
        }
    }

    /// Bug: a recipe of the documentation that the command line does not take: each of its steps would stop.
    #[test]
    fn documented_commands_are_understood() {
        let Ok(BisectAction::Step(args)) =
            parse("step --build make --kernel first=a --bad hung --confidence 0.999 c")
        else {
            panic!()
        };
        assert!(args.bad_is.is_some() && args.judging.cells == ["c"] && args.recipe.kernel.len() == 1);
        for words in [
            "step a=b --good refused",
            "install /x --suite smoke",
            "run --over loader --good v1 --bad HEAD -- c",
            "run --over kernel --repo r --good a --bad b --build make --kernel capture=x -- c",
            "run --over kernel-packages --side first --good 5.10 --bad 6.12 -- c",
            "run --over kexec-tools --good 2.0.20 --bad 2.0.25 --bad-is refused -- c",
            "run --resume",
            "log",
            "replay f",
        ] {
            assert!(parse(words).is_ok(), "{words}");
        }
    }

    /// Bug: a hunt without an end, or one that is gone on with and begun anew at once.
    #[test]
    fn half_a_hunt_is_refused() {
        for words in [
            "run --over loader --good a",
            "run --good a --bad b",
            "run --resume --good a --bad b --over loader",
            "step --confidence 1 c",
            "step --loader a --kernel first=b c",
        ] {
            assert!(parse(words).is_err(), "{words}");
        }
    }
}
