//! `cargo xtask judge`: a report judged again from its saved evidence.

use crate::cli::{JudgeArgs, JudgeFormat};
use crate::e2e::plan;
use crate::exit::{Exit, Failure, OrFail};
use crate::table::one_line;
use crate::{Host, output};
use anyhow::anyhow;
use harness::outcome::Expectation;
use harness::rejudge::{Counts, Judged, Now, Trial, rejudge, saved_evidence, table};
use harness::report::{CellResult, read_results};
use serde::Serialize;
use std::path::Path;

/// What `--format json` prints.
#[derive(Serialize)]
struct Told<'a> {
    report: &'a Path,
    counts: &'a Counts,
    /// Trials whose cells are not in the suites that were named: judged by what was expected then.
    not_in_suites: usize,
    trials: Vec<&'a Trial>,
}

pub(crate) fn run(args: &JudgeArgs, host: &Host) -> Result<Exit, Failure> {
    let folder = args.report.clone().unwrap_or_else(|| host.repo.default_report());
    let results = read_results(&folder).or_input()?;
    let today = match args.suite.as_slice() {
        [] => None,
        names => Some(plan::expectations(names, &host.repo)?),
    };
    let mut not_in_suites = 0;
    let trials: Vec<Trial> = results
        .trials
        .iter()
        .map(|result| {
            let expected = match &today {
                None => &result.expected,
                Some(today) => today.get(&result.id).unwrap_or_else(|| {
                    not_in_suites += 1;
                    &result.expected
                }),
            };
            judge(result, expected, &folder)
        })
        .collect();
    if not_in_suites > 0 && not_in_suites == trials.len() {
        let names = args.suite.join(" ");
        return Err(Failure::Input(anyhow!("{}: none of its cells is in {names}", folder.display())));
    }
    let counts = Counts::of(&trials);
    match args.format {
        JudgeFormat::Text => text(&trials, &counts, not_in_suites).iter().for_each(output::line),
        JudgeFormat::Json => {
            let worth_telling = trials.iter().filter(|trial| trial.differs() || !is_whole(trial)).collect();
            let told = Told { report: &folder, counts: &counts, not_in_suites, trials: worth_telling };
            output::line(serde_json::to_string_pretty(&told).or_rig()?);
        }
    }
    exit(&counts).map_err(|why| Failure::Input(anyhow!("{}: {why}", folder.display())))
}

fn judge(result: &CellResult, expected: &Expectation, folder: &Path) -> Trial {
    rejudge(result, expected, |record| saved_evidence(folder, record))
}

fn is_whole(trial: &Trial) -> bool {
    trial.attempts.iter().all(|attempt| matches!(attempt.now, Now::Whole(_)))
}

/// A difference is told first; evidence that is spoilt is no statement, and no success either.
const fn exit(counts: &Counts) -> Result<Exit, &'static str> {
    if counts.different > 0 {
        Ok(Exit::NotAsExpected)
    } else if counts.judged == 0 && counts.unreadable == 0 {
        Err("no attempt of this report has evidence, so there is nothing to judge")
    } else if counts.unreadable > 0 || counts.evidence_gone > 0 {
        Ok(Exit::RigFailed)
    } else {
        Ok(Exit::AsExpected)
    }
}

/// What differs, what could not be judged, the table and the counts.
fn text(trials: &[Trial], counts: &Counts, not_in_suites: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for trial in trials {
        let several = trial.attempts.len() > 1;
        if trial.differs() {
            lines.push(trial.trial.clone());
            lines.extend(beside("", &trial.was, &trial.now));
        }
        for attempt in &trial.attempts {
            let name = if several { format!(", attempt {}", attempt.attempt) } else { String::new() };
            if several && attempt.was.differs(attempt.now.judged()) {
                let of = format!("attempt {} ", attempt.attempt);
                lines.extend(beside(&of, &attempt.was, attempt.now.judged()));
            }
            match &attempt.now {
                Now::Whole(_) => {}
                Now::None(_) if attempt.folder.as_os_str().is_empty() => {
                    lines.push(format!("{}{name}: there was no guest", trial.trial));
                }
                Now::None(_) => {
                    lines.push(format!("{}{name}: {} is gone", trial.trial, attempt.folder.display()));
                }
                Now::Unreadable { why, .. } => {
                    lines.push(format!("{}{name}: {}", trial.trial, one_line(why)));
                }
            }
        }
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.push(table(trials).text());
    let mut counted = format!(
        "{} different, {} the same; {} attempts judged from their evidence",
        counts.different, counts.same, counts.judged
    );
    for (count, words) in [
        (counts.never_had_evidence, "that had no guest"),
        (counts.evidence_gone, "whose evidence is gone"),
        (counts.unreadable, "with evidence that cannot be read"),
        (not_in_suites, "of cells that the suites do not have, judged by what was expected then"),
    ] {
        if count > 0 {
            counted.push_str(&format!(", {count} {words}"));
        }
    }
    lines.push(counted);
    lines
}

/// Both, one under the other, with the cause where that is what differs.
fn beside(of: &str, was: &Judged, now: &Judged) -> Vec<String> {
    let why = |judged: &Judged| match &judged.why {
        Some(why) if was.why.is_some() && was.why != now.why => format!("; {why}"),
        _ => String::new(),
    };
    [("was    ", was), ("is now ", now)]
        .map(|(when, judged)| one_line(&format!("{of}{when} {}{}", judged.words(), why(judged))))
        .map(|line| format!("  {line}"))
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches spoilt evidence, or a report without any, that passes for "all the same".
    #[test]
    fn nothing_judged_is_no_success() {
        let status = |different, judged, unreadable| {
            let counts = Counts { different, judged, unreadable, ..Counts::default() };
            exit(&counts).map(Exit::status)
        };
        assert_eq!(status(0, 2, 0), Ok(0));
        assert_eq!(status(1, 2, 1), Ok(1));
        assert_eq!(status(0, 2, 1), Ok(3));
        assert!(status(0, 0, 0).is_err());
        let gone = Counts { judged: 1, evidence_gone: 97, ..Counts::default() };
        assert_eq!(exit(&gone).map(Exit::status), Ok(3));
    }
}
