//! What a hunt comes to: the bad end without the culprit, the report, the status.

use super::{Found, Hunt, LOG, REPORT};
use crate::bisect::axis::Axis;
use crate::bisect::confidence::Belief;
use crate::bisect::log::{self, Step};
use crate::bisect::paper::{self, Confirmed, Paper, Reverted};
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
        let reverted = match confirmed {
            Confirmed::Yes => self.without(first_bad, bad_end).await?,
            Confirmed::No | Confirmed::NotTried | Confirmed::Corrected => Reverted::NotTried,
        };
        let paper = Paper {
            found: self.short(first_bad),
            subject: self.axis.subject(first_bad).await?,
            among: {
                let mut told = Vec::new();
                for revision in &among {
                    let step = self.known(revision);
                    let why = step.map(|step| step.words).unwrap_or_default();
                    told.push((self.short(revision), self.axis.subject(revision).await?, why));
                }
                told
            },
            criteria: self.tester.criteria.in_words(),
            confirmed,
            reverted,
            error,
            rates: match sides.0.cells.first() {
                Some(cell) => self.tester.belief(&cell.key)?.rates(),
                None => Belief::after(&[]).rates(),
            },
            seconds: began.elapsed().as_secs_f64(),
            steps: self
                .steps
                .iter()
                .map(|step| Step { revision: self.short(&step.revision), ..step.clone() })
                .collect(),
            good: sides.0,
            bad: sides.1,
            command: self.commands(first_bad).await?,
            step_command: self.step_command(),
            is_git: matches!(self.axis, Axis::Git { .. }),
        };
        let path = self.folder.join(REPORT);
        let text = paper::write(&paper);
        std::fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display())).or_rig()?;
        output::line(format_args!("\n{}\nreport: {}", paper::sentence(&paper), path.display()));
        Ok(match (paper.among.is_empty(), paper.confirmed) {
            (true, Confirmed::Yes) => Exit::AsExpected,
            (false, _) => Exit::NotAsExpected,
            (true, Confirmed::No | Confirmed::NotTried | Confirmed::Corrected) => Exit::RigFailed,
        })
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
        let how = Thoroughness { least: self.args.end_runs.get(), again: false, exactly: false };
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
        let mut commands = format!("cargo xtask bisect run {}", self.words());
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

    fn words(&self) -> String {
        let log = log::read(&self.folder.join(LOG));
        let words = log.map(|(started, _)| started.words).unwrap_or_default();
        words.iter().map(|word| crate::table::shell_word(word)).collect::<Vec<_>>().join(" ")
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
