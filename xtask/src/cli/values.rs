//! Values of the command line: what may stand behind a flag.

use clap::ValueEnum;
use harness::scenario::Coverage;
use std::path::PathBuf;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// One line a cell.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DoctorFormat {
    /// A line a check, and what to do about it.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    /// Columns, for a terminal.
    #[default]
    Text,
    /// For documents.
    Markdown,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum JudgeFormat {
    /// What differs, a table and counts.
    #[default]
    Text,
    /// One JSON object: the counts, and the trials that differ or whose evidence is not whole.
    Json,
}

/// The shells that completions are tried with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShellArg {
    Bash,
    Zsh,
    Fish,
}

/// A way of running cells, for `bench matrix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WayArg {
    /// One fresh guest at a time, and hangs known by their silence, as a script around QEMU has it.
    Loop,
    /// The rig with `--fresh`.
    Fresh,
    /// The rig.
    Rig,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccelArg {
    /// KVM where a probe shows that it works, else TCG.
    #[default]
    Auto,
    /// KVM, and an error where it does not work.
    Kvm,
    /// QEMU's own translation.
    Tcg,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum I686Arg {
    /// The toolchain in use where it has the target or rustup can add it, else Debian's.
    #[default]
    Auto,
    /// The toolchain in use.
    Rustup,
    /// Debian's.
    Debian,
}

/// A value of `--coverage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CoverageArg {
    /// Enough of them for every pair of values.
    Pairwise,
    /// All of them.
    Full,
}

impl From<CoverageArg> for Coverage {
    fn from(coverage: CoverageArg) -> Self {
        match coverage {
            CoverageArg::Pairwise => Self::Pairwise,
            CoverageArg::Full => Self::Full,
        }
    }
}

/// A value of `--patience`: a factor of deadlines, from a hundredth to a hundred.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Patience(pub(crate) f64);

impl Default for Patience {
    fn default() -> Self {
        Self(1.0)
    }
}

impl FromStr for Patience {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(factor) if (0.01..=100.0).contains(&factor) => Ok(Self(factor)),
            _ => Err("expected a number from 0.01 to 100".to_owned()),
        }
    }
}

/// A value of `--loader`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LoaderArg {
    InTree,
    /// A released kexec-tools, by upstream version.
    KexecTools(String),
    /// A program on the host.
    Path(PathBuf),
}

/// Prefix of the names of reference loaders.
const KEXEC_TOOLS: &str = "kexec-tools@";

impl FromStr for LoaderArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "in-tree" {
            return Ok(Self::InTree);
        }
        if let Some(version) = text.strip_prefix(KEXEC_TOOLS) {
            return match version {
                "" => Err(format!("no version after {KEXEC_TOOLS:?}; for example kexec-tools@2.0.25")),
                version => Ok(Self::KexecTools(version.to_owned())),
            };
        }
        // A bare word is taken for a misspelt name, not for a file that happens not to be there.
        if text.contains('/') {
            return Ok(Self::Path(PathBuf::from(text)));
        }
        Err(format!(
            "expected in-tree, {KEXEC_TOOLS}VERSION, or a path with a slash in it such as ./{}",
            if text.is_empty() { "my-loader" } else { text }
        ))
    }
}

/// Which kernel a local image stands in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KernelSide {
    First,
    Capture,
}

/// A local kernel in place of a suite's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KernelArg {
    pub(crate) side: KernelSide,
    pub(crate) path: PathBuf,
}

/// What may stand behind one `--kernel`: one kernel, or both with a comma between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KernelArgs(pub(crate) Vec<KernelArg>);

impl FromStr for KernelArgs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A comma may be a part of a path as well: only one before a side's name is ours.
        let second = [",first=", ",capture="].iter().filter_map(|mark| text.find(mark)).min();
        let parts = match second {
            None => vec![text],
            Some(at) => vec![&text[..at], &text[at + 1..]],
        };
        parts.into_iter().map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for KernelArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (side, path) = match text.split_once('=') {
            Some(("first", path)) => (KernelSide::First, path),
            Some(("capture", path)) => (KernelSide::Capture, path),
            _ => {
                return Err(
                    "expected first=PATH or capture=PATH, or both as first=PATH,capture=PATH".to_owned()
                );
            }
        };
        match path {
            "" => Err("no path after the equals sign".to_owned()),
            path => Ok(KernelArg { side, path: PathBuf::from(path) }),
        }
    }
}
