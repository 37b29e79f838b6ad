//! What pages show of a report: its results, with what each attempt's evidence adds. [`read_view`] is the rim; the rest is pure.

use super::machine::Machine;
use super::{CellResult, RUN_FILE, ReadError, SkippedRecord, load_evidence, read_results};
use crate::evidence::{Evidence, Timed};
use crate::last_lines::{ConsoleLine, last_lines};
use crate::outcome::Verdict;
use crate::phase::Phase;
use crate::runner::Conclusion;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Bytes at the console's end that are looked at for its last lines.
const CONSOLE_END: usize = 16 * 1024;

/// Members of `run.json` that say what the results say as well.
const COUNTS: [&str; 2] = ["verdicts", "repeated"];

/// Lines of the console that are shown.
const CONSOLE_LINES: usize = 15;

/// Characters of a console line that are shown.
const LINE_WIDTH: usize = 400;

/// A report as pages show it.
#[derive(Clone, Debug, Default)]
pub struct ReportView {
    /// The run.
    pub(super) run: RunView,
    /// One a trial, in the order of the file.
    pub(super) trials: Vec<TrialView>,
    /// The cells that were skipped.
    pub(super) skipped: Vec<SkippedRecord>,
}

/// What `run.json` says. Of a report of another version, what it has.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct RunView {
    pub(super) rig: Option<String>,
    pub(super) qemu: Option<String>,
    pub(super) accel: Option<String>,
    pub(super) jobs: Option<usize>,
    pub(super) total: Option<usize>,
    /// Seconds since the epoch.
    pub(super) started: Option<u64>,
    /// Seconds since the epoch; none of a run that goes on or was killed.
    pub(super) ended: Option<u64>,
    pub(super) not_run: Option<usize>,
    pub(super) interrupted: Option<bool>,
    pub(super) made_with: MadeWithView,
    /// What later versions of the rig write down beside: shown as it stands.
    #[serde(flatten)]
    pub(super) more: BTreeMap<String, Value>,
}

/// The artifacts, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct MadeWithView {
    pub(super) artifacts: BTreeMap<String, String>,
}

/// A trial with what its evidence shows.
#[derive(Clone, Debug)]
pub(super) struct TrialView {
    pub(super) result: CellResult,
    /// As many as the result has attempts, in their order.
    pub(super) attempts: Vec<AttemptView>,
}

/// What an attempt's evidence shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct AttemptView {
    /// Its memory.
    pub(super) machine: Option<Machine>,
    /// When each phase began.
    pub(super) phases: Vec<Timed<Phase>>,
    /// The last moment that anything was seen, in milliseconds since `cont`.
    pub(super) last_ms: u64,
    /// The console's last lines.
    pub(super) console: Vec<String>,
    /// Names of the files in its folder, sorted.
    pub(super) files: Vec<String>,
    /// Why its evidence cannot be shown.
    pub(super) trouble: Option<String>,
}

impl ReportView {
    /// How many trials and skipped cells have this verdict.
    pub(super) fn count(&self, verdict: Verdict) -> usize {
        let trials = self.trials.iter().filter(|trial| trial.result.verdict == verdict).count();
        trials + self.skipped.iter().filter(|skipped| skipped.verdict == verdict).count()
    }

    /// What the run came to, as its exit status told; none of one that never ended. A process that outlived its guest is not
    /// in the report.
    pub(super) fn conclusion(&self) -> Option<Conclusion> {
        self.run.ended?;
        Some(if self.run.interrupted == Some(true) {
            Conclusion::Interrupted
        } else if self.count(Verdict::Fail) > 0 {
            Conclusion::SomeFailed
        } else if self.count(Verdict::Error) > 0 {
            Conclusion::RigFailed
        } else {
            Conclusion::AsExpected
        })
    }
}

impl TrialView {
    /// Which attempt's outcome is the trial's.
    pub(super) fn deciding_at(&self) -> Option<usize> {
        self.result.attempts.iter().rposition(|record| record.evidence == self.result.evidence)
    }

    /// The attempt whose outcome is the trial's.
    pub(super) fn deciding(&self) -> Option<&AttemptView> {
        self.attempts.get(self.deciding_at()?)
    }

    /// Whether its outcome is another than the expected one.
    pub(super) const fn misses(&self) -> bool {
        matches!(self.result.verdict, Verdict::Fail | Verdict::Error)
    }

    /// Whether it passed, and at once.
    pub(super) const fn is_as_expected(&self) -> bool {
        matches!(self.result.verdict, Verdict::Pass | Verdict::Skipped)
    }
}

impl AttemptView {
    /// What this evidence shows.
    pub(super) fn of(evidence: &Evidence) -> Self {
        let moments = [evidence.last_console_ms, evidence.triggered_ms]
            .into_iter()
            .flatten()
            .chain(evidence.reports.iter().map(|report| report.ms))
            .chain(evidence.events.iter().map(|event| event.ms))
            .chain(evidence.samples.iter().map(|sample| sample.ms))
            .chain(evidence.phases.iter().map(|phase| phase.ms));
        Self {
            machine: Machine::of(evidence),
            phases: evidence.phases.clone(),
            last_ms: moments.max().unwrap_or(0),
            console: last_words(&evidence.console),
            files: Vec::new(),
            trouble: None,
        }
    }
}

/// The console's last lines, an unfinished one marked.
fn last_words(console: &[u8]) -> Vec<String> {
    let end = console.get(console.len().saturating_sub(CONSOLE_END)..).unwrap_or(console);
    let shown = |line: ConsoleLine| {
        let text: String = line.text.chars().take(LINE_WIDTH).collect();
        if line.finished { text } else { format!("{text} [unfinished]") }
    };
    last_lines(end, CONSOLE_LINES).into_iter().map(shown).collect()
}

/// Reads the report in `folder`, also one that is still written. Evidence that cannot be read is told at its place.
///
/// # Errors
/// It has no results that can be read. A `run.json` that cannot be read leaves out what it would have said.
pub fn read_view(folder: &Path) -> Result<ReportView, ReadError> {
    let results = read_results(folder)?;
    let run_file = std::fs::read(folder.join(RUN_FILE));
    let mut run: RunView =
        run_file.ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    COUNTS.iter().for_each(|name| drop(run.more.remove(*name)));
    let trials = results.trials.into_iter().map(|result| {
        let attempts = result.attempts.iter().map(|record| read_attempt(folder, &record.evidence)).collect();
        TrialView { result, attempts }
    });
    Ok(ReportView { run, trials: trials.collect(), skipped: results.skipped })
}

fn read_attempt(folder: &Path, evidence: &Path) -> AttemptView {
    if evidence.as_os_str().is_empty() {
        return AttemptView::default();
    }
    let folder = folder.join(evidence);
    let mut view = match load_evidence(&folder) {
        Ok(evidence) => AttemptView::of(&evidence),
        Err(error) => AttemptView { trouble: Some(error.to_string()), ..AttemptView::default() },
    };
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    view.files = files.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    view.files.sort_unstable();
    view
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: the words at which a kernel died are cut away because no newline follows, or nothing says that it did not get to end them.
    #[test]
    fn an_unfinished_last_line_is_shown() {
        let console = b"one\r\n\xfftwo\r\nDestination address too large\r\n\r\n -- System halted";
        let lines = last_words(console);
        assert_eq!((lines.last().unwrap().as_str(), lines.len()), ("-- System halted [unfinished]", 4));
        assert_eq!(last_words(b"\n \n\n"), Vec::<String>::new());
        let long = last_words(&[[b'x'; 3 * CONSOLE_END].as_slice(), b"\n"].concat());
        assert_eq!((long.len(), long[0].len()), (1, LINE_WIDTH));
    }

    /// Bug: `run.json` of another version, or one that lacks something, leaves a page without its head.
    #[test]
    fn a_run_file_of_any_version_is_shown() {
        let text = r#"{"qemu":"7.2","accel":"tcg","started":7,"verdicts":{"pass":1},"host":{"cpus":2}}"#;
        let run: RunView = serde_json::from_str(text).unwrap();
        assert_eq!((run.qemu.as_deref(), run.started, run.ended), (Some("7.2"), Some(7), None));
        assert_eq!(run.more.keys().collect::<Vec<_>>(), ["host", "verdicts"]);
    }
}
