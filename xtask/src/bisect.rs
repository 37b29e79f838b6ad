//! `cargo xtask bisect`: which commit, kernel or loader release broke a cell.
//!
//! `step` tests one checkout and answers in git's language; `install` makes a folder from which it works whatever the checkout is worth;
//! `run` drives a whole hunt alone.

mod axis;
mod candidate;
mod check;
mod compare;
mod confidence;
mod criterion;
mod disk;
mod git;
mod hunt;
mod install;
mod log;
mod memory;
mod paper;
mod search;
mod select;
mod step;
mod tester;

pub(crate) use check::check;
pub(crate) use compare::run as compare;
pub(crate) use confidence::Confidence;
pub(crate) use criterion::{Criteria, Criterion};

use crate::Host;
use crate::cli::BisectAction;
use crate::exit::{Exit, Failure};
use std::ffi::OsString;

pub(crate) async fn run(action: &BisectAction, host: &Host) -> Result<Exit, Failure> {
    match action {
        BisectAction::Step(args) => step::run(args, host).await,
        BisectAction::Install(args) => install::run(args, host).await,
        BisectAction::Run(args) => hunt::run(args, host).await,
        BisectAction::Log(args) => hunt::print_log(args),
        BisectAction::Replay(args) => hunt::replay(args, host).await,
    }
}

/// Whether this command line is one whose status git reads.
pub(crate) fn is_step(words: impl Iterator<Item = OsString>) -> bool {
    words.skip(1).take(2).eq(["bisect", "step"].map(OsString::from))
}

/// The status of a step that came to no verdict: git would take the usual ones for "bad".
pub(crate) const fn status_of_trouble(usual: Exit) -> Exit {
    match usual {
        Exit::Interrupted => Exit::Interrupted,
        Exit::CannotTest => Exit::CannotTest,
        Exit::AsExpected | Exit::NotAsExpected | Exit::BadInput | Exit::RigFailed | Exit::Stop => Exit::Stop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Failure;

    /// Bug: trouble that git takes for "bad" (any status from 1 to 124) or for "good", which decides over a commit that nobody tested.
    #[test]
    fn no_trouble_is_a_verdict() {
        let why = || anyhow::anyhow!("why");
        for failure in
            [Failure::Input(why()), Failure::Check(why()), Failure::Rig(why()), Failure::Interrupted]
        {
            assert!(status_of_trouble(failure.exit()).status() >= 128, "{failure}");
        }
        assert_eq!(status_of_trouble(Exit::Interrupted).status(), 130);
        assert_eq!(status_of_trouble(Exit::CannotTest).status(), 125);
    }

    /// Bug: a step with a typo in its flags ends with clap's 2, and the commit is "bad".
    #[test]
    fn a_step_is_known_by_its_words() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>().into_iter();
        assert!(is_step(words("/x/xtask bisect step --no-such-flag")));
        assert!(!is_step(words("xtask e2e bisect step")) && !is_step(words("xtask bisect run")));
        assert!(!is_step(words("xtask")));
    }
}
