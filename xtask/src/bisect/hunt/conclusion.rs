//! What a hunt comes to: the bad end without the culprit, the report, the status.

use super::ends::end_runs;
use super::{Found, Hunt, LOG, REPORT};
use crate::bisect::axis::Axis;
use crate::bisect::confidence::Belief;
use crate::bisect::log::{self, Step};
use crate::bisect::paper::{self, Confirmed, Culprit, Paper, Reverted};
use crate::bisect::tester::{Finding, Tested, Thoroughness};
use crate::exit::{Exit, Failure, OrFail};
use crate::output;
use anyhow::Context;
use std::time::Instant;

impl Hunt<'_> {
    /// Tries the bad end without the culprit, and writes the report.
    pub(super) async fn conclude(
        &mut self,
        found: Found,
        bad_end: &str,
        confirmed: Confirmed,
        sides: (Tested, Tested),
        error: f64,
        began: Instant,
    ) -> Result<Exit, Failure> {
        let Found { first_bad, among } = found;
        let first_bad = first_bad.as_str();
        let mut told = Vec::new();
        for revision in &among {
            let why = self.known(revision).map(|step| step.words).unwrap_or_default();
            told.push((self.short(revision), self.subject(revision).await?, why));
        }
        let subject = self.subject(first_bad).await?;
        let culprit = Culprit { found: self.short(first_bad), subject, among: told, confirmed };
        // First of all: what comes now takes minutes, and may fail.
        output::line(format_args!("\n{}", paper::sentence(&culprit)));
        let reverted = match confirmed {
            Confirmed::Yes => {
                or_note(self.without(first_bad, bad_end).await, "the bad end without it cannot be tried")?
                    .unwrap_or_else(Reverted::Untestable)
            }
            Confirmed::Open | Confirmed::No | Confirmed::NotTried | Confirmed::Corrected => {
                Reverted::NotTried
            }
        };
        let exit = match (culprit.among.is_empty(), confirmed) {
            (true, Confirmed::Yes) => Exit::AsExpected,
            (false, _) => Exit::NotAsExpected,
            (true, Confirmed::Open | Confirmed::No | Confirmed::NotTried | Confirmed::Corrected) => {
                Exit::RigFailed
            }
        };
        let belief = match sides.0.cells.first() {
            Some(cell) => or_note(self.tester.belief(&cell.key), "how often it flakes is not known")?.ok(),
            None => None,
        };
        let command = or_note(self.commands(first_bad).await, "the report lacks a command")?;
        let paper = Paper {
            culprit,
            criteria: self.tester.criteria.in_words(),
            reverted,
            error,
            rates: belief.unwrap_or_else(|| Belief::after(&[])).rates(),
            seconds: began.elapsed().as_secs_f64(),
            steps: self
                .steps
                .iter()
                .map(|step| Step { revision: self.short(&step.revision), ..step.clone() })
                .collect(),
            good: sides.0,
            bad: sides.1,
            command: command.unwrap_or_else(|_| self.command()),
            step_command: self.step_command(),
            is_git: matches!(self.axis, Axis::Git { .. }),
        };
        let path = self.folder.join(REPORT);
        let written = std::fs::write(&path, paper::write(&paper));
        let written = written.with_context(|| format!("cannot write {}", path.display())).or_rig();
        if or_note(written, "there is no report")?.is_ok() {
            output::line(format_args!("report: {}", path.display()));
        }
        Ok(exit)
    }

    /// What people know a revision by; nothing where that cannot be found out.
    async fn subject(&self, revision: &str) -> Result<String, Failure> {
        let subject = self.axis.subject(revision).await;
        Ok(or_note(subject, "a revision's subject is not known")?.unwrap_or_default())
    }

    /// Whether the bad end is good without the culprit.
    async fn without(&self, culprit: &str, bad_end: &str) -> Result<Reverted, Failure> {
        let Axis::Git { git, .. } = &self.axis else { return Ok(Reverted::NotTried) };
        if culprit == bad_end {
            return Ok(Reverted::IsTheEnd);
        }
        git.check_out(bad_end).await?;
        if !git.revert(culprit).await? {
            return Ok(Reverted::DoesNotApply);
        }
        let began = Instant::now();
        let how = Thoroughness { least: end_runs(self.args), again: false, exactly: false };
        let tested = self.try_candidate(self.axis.built().await, how, began).await?;
        // The next checkout takes the half-done revert away.
        Ok(match tested.finding {
            Finding::Good { .. } => Reverted::Mends,
            Finding::Bad { .. } => Reverted::StillBad,
            Finding::Untestable { why } => Reverted::Untestable(why),
        })
    }

    /// The command of this hunt, and where there is one the command that shows the two sides beside each other.
    async fn commands(&self, culprit: &str) -> Result<String, Failure> {
        let mut commands = self.command();
        let before = self.axis.before(culprit).await?;
        if let Some(compared) = before.and_then(|before| self.axis.compared(&before, culprit)) {
            let suites =
                self.args.judging.suite.iter().flat_map(|suite| ["--suite".to_owned(), suite.clone()]);
            let ids = self.tester.cells.iter().map(|cell| cell.id.0.clone());
            let words: Vec<String> = suites.chain(["--".to_owned()]).chain(ids).collect();
            let words: Vec<String> = words.iter().map(|word| crate::table::shell_word(word)).collect();
            commands.push_str(&format!("\ncargo xtask compare {compared} {}", words.join(" ")));
        }
        Ok(commands)
    }

    /// The command of this hunt.
    fn command(&self) -> String {
        let log = log::read(&self.folder.join(LOG));
        let words = log.map(|(started, _)| started.words).unwrap_or_default();
        let words: Vec<String> = words.iter().map(|word| crate::table::shell_word(word)).collect();
        format!("cargo xtask bisect run {}", words.join(" "))
    }

    /// The command that tests one checkout as this hunt does.
    fn step_command(&self) -> String {
        let mut words = vec!["DIR/kdump-bisect".to_owned(), "step".to_owned()];
        let mut add = |flag: &str, value: Option<String>| {
            if let Some(value) = value {
                words.extend([flag.to_owned(), crate::table::shell_word(&value)]);
            }
        };
        add("--build", self.args.recipe.build.clone());
        add("--loader", self.args.recipe.loader.as_ref().map(|path| path.display().to_string()));
        add("--bad-is", self.args.bad_is.as_ref().map(ToString::to_string));
        add("--good-is", self.args.good_is.as_ref().map(ToString::to_string));
        for kernel in &self.args.recipe.kernel {
            let side = if kernel.side == crate::cli::KernelSide::First { "first" } else { "capture" };
            add("--kernel", Some(format!("{side}={}", kernel.path.display())));
        }
        words.extend(self.tester.cells.iter().map(|cell| crate::table::shell_word(&cell.id.0)));
        words.join(" ")
    }
}

/// What came of something without which a hunt has its culprit all the same: a failure is noted, with what is lacking for it, and given
/// in words.
///
/// # Errors
/// [`Failure::Interrupted`]: nothing more is to be done.
pub(super) fn or_note<T>(
    came_of_it: Result<T, Failure>,
    lacking: &str,
) -> Result<Result<T, String>, Failure> {
    match came_of_it {
        Ok(came_of_it) => Ok(Ok(came_of_it)),
        Err(Failure::Interrupted) => Err(Failure::Interrupted),
        Err(failure) => {
            output::note(format_args!("{lacking}: {failure}"));
            Ok(Err(failure.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    /// Bug: a report that cannot be written, or a revert that cannot be tried, takes the culprit away that was found before it; or an
    /// interruption does not end the hunt.
    #[test]
    fn what_fails_after_the_culprit_is_found_is_a_note() {
        for failure in
            [Failure::Input(anyhow!("why")), Failure::Check(anyhow!("why")), Failure::Rig(anyhow!("why"))]
        {
            assert_eq!(or_note(Err::<(), _>(failure), "x").unwrap(), Err("why".to_owned()));
        }
        assert_eq!(or_note(Ok(1), "x").unwrap(), Ok(1));
        assert!(matches!(or_note(Err::<(), _>(Failure::Interrupted), "x"), Err(Failure::Interrupted)));
    }
}
