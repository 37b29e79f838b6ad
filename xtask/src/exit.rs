//! Exit statuses of `cargo xtask`: the one place where they are numbered and explained.
//!
//! They are an interface: scripts, CI jobs and `git bisect run` are written against them.

use std::process::ExitCode;

/// How a run ended, as its caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was as expected.
    AsExpected,
    /// At least one cell, or for `test` one check, was not as expected.
    NotAsExpected,
    /// Bad input or a missing host tool; nothing was run. Also what clap gives for usage errors.
    BadInput,
    /// The rig, the host or the platform failed, and no loader was shown wrong. Also a panic of this program.
    RigFailed,
    /// Interrupted by Ctrl-C, SIGTERM or SIGHUP.
    Interrupted,
    /// Of `bisect step` alone: what the checkout holds cannot be tested, in git's language.
    CannotTest,
    /// Of `bisect step` alone: nothing can be tested here, and the bisection is to stop, in git's language.
    Stop,
}

impl Exit {
    /// Every status but those of `bisect step`, in the order in which `--help` lists them.
    pub(crate) const ALL: [Self; 5] =
        [Self::AsExpected, Self::NotAsExpected, Self::BadInput, Self::RigFailed, Self::Interrupted];

    /// The number that the caller gets.
    pub(crate) const fn status(self) -> u8 {
        match self {
            Self::AsExpected => 0,
            Self::NotAsExpected => 1,
            Self::BadInput => 2,
            Self::RigFailed => 3,
            // 128 + SIGINT, the shells' convention.
            Self::Interrupted => 130,
            // git-bisect(1): 125 skips, 128 and above end the bisection.
            Self::CannotTest => 125,
            Self::Stop => 128,
        }
    }

    /// What it means, for `--help`.
    const fn meaning(self) -> &'static str {
        match self {
            Self::AsExpected => "all as expected",
            Self::NotAsExpected => "at least one cell or check was not",
            Self::BadInput => "bad input or a missing host tool; nothing was run",
            Self::RigFailed => "the rig, the host or the platform failed, and no loader was shown wrong",
            Self::Interrupted => "interrupted",
            Self::CannotTest => "cannot be tested",
            Self::Stop => "nothing can be tested: stop",
        }
    }

    /// The section that ends `--help`.
    pub(crate) fn help() -> String {
        let mut text = String::from("Exit status:");
        for exit in Self::ALL {
            text.push_str(&format!("\n  {:>3}  {}", exit.status(), exit.meaning()));
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.status())
    }
}

/// Why a verb stopped before it had a result. Each kind has its own exit status.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked cannot be done as asked, or a host tool is missing.
    Input(anyhow::Error),
    /// A check failed: the code under test is at fault, not its surroundings.
    Check(anyhow::Error),
    /// The rig, the host, the network or an artifact failed.
    Rig(anyhow::Error),
    /// The user wants it to end.
    Interrupted,
}

impl Failure {
    /// The status that this failure ends the program with.
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Input(_) => Exit::BadInput,
            Self::Check(_) => Exit::NotAsExpected,
            Self::Rig(_) => Exit::RigFailed,
            Self::Interrupted => Exit::Interrupted,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Input(error) | Self::Check(error) | Self::Rig(error) => f.write_str(&told(error)),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

/// An error and its causes, joined with ": ". A cause that the text has already, as that of an error whose own words name it, is not
/// told twice.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Sorts an error into the kind of failure that it means where it happened.
pub(crate) trait OrFail<T> {
    /// It is the user's to correct.
    fn or_input(self) -> Result<T, Failure>;
    /// It is trouble of the rig or the host.
    fn or_rig(self) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrFail<T> for Result<T, E> {
    fn or_input(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Input(error.into()))
    }

    fn or_rig(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Rig(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a renumbering: scripts and CI jobs rely on these numbers.
    #[test]
    fn statuses_are_the_documented_ones() {
        assert_eq!(Exit::ALL.map(Exit::status), [0, 1, 2, 3, 130]);
    }

    /// Catches a failure that is reported under another kind's status.
    #[test]
    fn each_failure_has_its_status() {
        let why = || anyhow::anyhow!("why");
        let statuses =
            [Failure::Input(why()), Failure::Check(why()), Failure::Rig(why()), Failure::Interrupted]
                .map(|failure| failure.exit().status());
        assert_eq!(statuses, [2, 1, 3, 130]);
    }

    /// Catches "No space left on device: No space left on device", and a cause that is lost.
    #[test]
    fn each_cause_is_told_once() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let named = harness::report::ReportError::Io { what: "write", path: "r".into(), source: full() };
        assert_eq!(Failure::Rig(named.into()).to_string(), format!("cannot write r: {}", full()));
        let in_the_middle =
            anyhow::Error::new(full()).context(format!("cannot write r: {}; then --resume", full()));
        assert_eq!(
            Failure::Rig(in_the_middle).to_string(),
            format!("cannot write r: {}; then --resume", full())
        );
        let wrapped = anyhow::Error::new(full()).context("cannot write r");
        assert_eq!(Failure::Rig(wrapped).to_string(), format!("cannot write r: {}", full()));
    }

    /// Catches a status that `--help` forgets.
    #[test]
    fn help_lists_every_status() {
        assert_eq!(
            Exit::help(),
            "Exit status:\n    0  all as expected\n    1  at least one cell or check was not\n    2  bad input or \
             a missing host tool; nothing was run\n    3  the rig, the host or the platform failed, and no loader \
             was shown wrong\n  130  interrupted"
        );
    }
}
