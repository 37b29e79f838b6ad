//! Judges saved evidence again: what a report's outcomes and verdicts would be with the rules of today.
//!
//! Pure, but for [`saved_evidence`], which reads one attempt's folder.

use crate::cell::Cell;
use crate::classify::classify;
use crate::evidence::Evidence;
use crate::judge::{self, describe};
use crate::outcome::{Expectation, Outcome, Verdict};
use crate::report::{AttemptRecord, CellResult, Look, Table, load_evidence, verdict_name};
use crate::triage;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// An outcome with its verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// What became of it.
    pub outcome: Outcome,
    /// Beside the expectation.
    pub verdict: Verdict,
    /// Why it was not as expected, or how it hung, in triage's sentence; none where none was asked for, or none was recorded.
    pub why: Option<String>,
}

impl Judged {
    /// An outcome without evidence, by this expectation.
    fn recorded(outcome: Outcome, expected: &Expectation) -> Self {
        let verdict = judge::judge(&outcome, expected);
        Self { outcome, verdict, why: None }
    }

    /// What this evidence comes to.
    fn of(cell: &Cell, evidence: &Evidence, expected: &Expectation) -> Self {
        let outcome = classify(cell, evidence);
        let verdict = judge::judge(&outcome, expected);
        let why =
            triage::is_wanted(&outcome, verdict).then(|| triage::triage(cell, evidence, &outcome).sentence);
        Self { outcome, verdict, why }
    }

    /// Whether `now` is something else. A sentence that older records do not have is no difference.
    pub fn differs(&self, now: &Self) -> bool {
        let Self { outcome, verdict, why } = self;
        let says_other = why.as_ref().zip(now.why.as_ref()).is_some_and(|(was, now)| was != now);
        *outcome != now.outcome || *verdict != now.verdict || says_other
    }

    /// Both in words.
    pub fn words(&self) -> String {
        format!("{}: {}", verdict_name(self.verdict), describe(&self.outcome))
    }
}

/// What there is of an attempt's evidence.
#[derive(Debug)]
pub enum Saved {
    /// All of it.
    Evidence(Box<Evidence>),
    /// None was saved: the attempt had no guest, or its folder was taken away.
    None,
    /// It was saved, and is not what it was.
    Unreadable {
        /// Which file, and what is wrong with it.
        why: String,
    },
}

/// What an attempt comes to when it is judged again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "evidence", rename_all = "kebab-case")]
pub enum Now {
    /// Derived from its evidence.
    Whole(Judged),
    /// It has no evidence: the outcome is the recorded one, judged again.
    None(Judged),
    /// Its evidence cannot be read: the outcome is the recorded one, judged again.
    Unreadable {
        /// Which file, and what is wrong with it.
        why: String,
        /// The recorded outcome.
        #[serde(flatten)]
        judged: Judged,
    },
}

impl Now {
    /// The outcome and the verdict, wherever they are from.
    pub const fn judged(&self) -> &Judged {
        match self {
            Self::Whole(judged) | Self::None(judged) | Self::Unreadable { judged, .. } => judged,
        }
    }
}

/// An attempt, then and now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// From 1.
    pub attempt: u32,
    /// Folder of its evidence, relative to the report's folder.
    pub folder: PathBuf,
    /// As recorded.
    pub was: Judged,
    /// As judged again.
    pub now: Now,
}

/// A trial, then and now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trial {
    /// The cell's id, with `#2` and so on for its further runs.
    pub trial: String,
    /// As recorded.
    pub was: Judged,
    /// As judged again, by all its attempts.
    pub now: Judged,
    /// Its attempts.
    pub attempts: Vec<Attempt>,
}

impl Trial {
    /// Whether the trial or one of its attempts comes to something else now.
    pub fn differs(&self) -> bool {
        let attempts = || self.attempts.iter().any(|attempt| attempt.was.differs(attempt.now.judged()));
        self.was.differs(&self.now) || attempts()
    }
}

/// Judges a trial again, by `expected`, which may be another expectation than the one that was recorded.
pub fn rejudge(
    result: &CellResult,
    expected: &Expectation,
    mut saved: impl FnMut(&AttemptRecord) -> Saved,
) -> Trial {
    let judged = |outcome: &Outcome| Judged::recorded(outcome.clone(), expected);
    let attempts: Vec<Attempt> = result
        .attempts
        .iter()
        .map(|record| {
            let now = match saved(record) {
                Saved::Evidence(evidence) => Now::Whole(Judged::of(&result.cell, &evidence, expected)),
                Saved::None => Now::None(judged(&record.outcome)),
                Saved::Unreadable { why } => Now::Unreadable { why, judged: judged(&record.outcome) },
            };
            Attempt {
                attempt: record.attempt,
                folder: record.evidence.clone(),
                was: Judged {
                    outcome: record.outcome.clone(),
                    verdict: record.verdict,
                    why: record.triage.as_ref().map(|triage| triage.sentence.clone()),
                },
                now,
            }
        })
        .collect();
    let verdicts: Vec<Verdict> = attempts.iter().map(|attempt| attempt.now.judged().verdict).collect();
    let now = match judge::overall(&verdicts) {
        Some(verdict) => {
            let deciding = judge::deciding(&verdicts, verdict).and_then(|at| attempts.get(at));
            let judged = deciding.map(|attempt| attempt.now.judged().clone());
            Judged { verdict, ..judged.unwrap_or_else(|| Judged::recorded(result.outcome.clone(), expected)) }
        }
        None => judged(&result.outcome),
    };
    let why = result.triage().map(|triage| triage.sentence.clone());
    let was = Judged { outcome: result.outcome.clone(), verdict: result.verdict, why };
    Trial { trial: result.trial().to_string(), was, now, attempts }
}

/// Reads the evidence of an attempt of the report in `folder`.
pub fn saved_evidence(folder: &Path, record: &AttemptRecord) -> Saved {
    // An attempt that never had a folder; joined, its empty name would lead to the report's own.
    if record.evidence.as_os_str().is_empty() {
        return Saved::None;
    }
    match load_evidence(&folder.join(&record.evidence)) {
        Ok(evidence) => Saved::Evidence(Box::new(evidence)),
        Err(error) if error.is_absence() => Saved::None,
        Err(error) => Saved::Unreadable { why: error.to_string() },
    }
}

/// How many attempts were judged, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Trials that come to the same, also those of which nothing could be judged anew.
    pub same: usize,
    /// Trials that come to something else.
    pub different: usize,
    /// Attempts whose outcome was derived from their evidence.
    pub judged: usize,
    /// Attempts that never had evidence: no guest was started for them.
    pub never_had_evidence: usize,
    /// Attempts whose folder of evidence is gone.
    pub evidence_gone: usize,
    /// Attempts whose evidence cannot be read.
    pub unreadable: usize,
}

impl Counts {
    /// Counts these trials.
    pub fn of(trials: &[Trial]) -> Self {
        let mut counts = Self::default();
        for trial in trials {
            *(if trial.differs() { &mut counts.different } else { &mut counts.same }) += 1;
            for attempt in &trial.attempts {
                *match attempt.now {
                    Now::Whole(_) => &mut counts.judged,
                    Now::None(_) if attempt.folder.as_os_str().is_empty() => &mut counts.never_had_evidence,
                    Now::None(_) => &mut counts.evidence_gone,
                    Now::Unreadable { .. } => &mut counts.unreadable,
                } += 1;
            }
        }
        counts
    }
}

/// How many trials went from what to what: those that differ first, then those that are the same.
pub fn table(trials: &[Trial]) -> Table {
    let short =
        |judged: &Judged| format!("{}: {}", verdict_name(judged.verdict), Look::of(&judged.outcome).words());
    let mut rows: BTreeMap<(bool, String, String), usize> = BTreeMap::new();
    for trial in trials {
        let (was, now) = (short(&trial.was), short(&trial.now));
        let now = match trial.differs() {
            true if was == now => format!("{now}, with other details"),
            _ => now,
        };
        *rows.entry((!trial.differs(), was, now)).or_insert(0) += 1;
    }
    let rows = rows
        .into_iter()
        .map(|((same, was, now), count)| {
            let now = if same { "the same".to_owned() } else { now };
            vec![was, now, count.to_string()]
        })
        .collect();
    Table {
        title: "Judged again".to_owned(),
        head: ["was", "is now", "cells"].map(str::to_owned).to_vec(),
        rows,
    }
}

#[cfg(test)]
mod tests;
