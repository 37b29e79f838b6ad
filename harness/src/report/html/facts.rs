//! Head and foot of the page, and the choice of what is shown.

use super::template;
use crate::outcome::Verdict;
use crate::report::view::{ReportView, RunView};
use crate::report::{Look, verdict_name};
use crate::runner::Conclusion;
use chrono::DateTime;
use maud::{Markup, PreEscaped};
use std::collections::{BTreeMap, BTreeSet};

/// The verdicts, those first that a person looks for.
const VERDICTS: [Verdict; 5] =
    [Verdict::Fail, Verdict::Error, Verdict::Flaky, Verdict::Pass, Verdict::Skipped];

/// The page's title.
pub(super) fn title(view: &ReportView) -> String {
    let counts: Vec<String> =
        counts(view).map(|(verdict, count)| format!("{count} {}", verdict_name(verdict))).collect();
    format!("kdump-rig: {}", if counts.is_empty() { "no results".to_owned() } else { counts.join(", ") })
}

fn counts(view: &ReportView) -> impl Iterator<Item = (Verdict, usize)> {
    VERDICTS.into_iter().map(|verdict| (verdict, view.count(verdict))).filter(|(_, count)| *count > 0)
}

/// What the run came to, and what it was.
pub(super) fn head(view: &ReportView) -> Markup {
    let run = &view.run;
    let (class, conclusion) = conclusion(view);
    let mut looks: BTreeMap<Look, usize> = BTreeMap::new();
    for trial in &view.trials {
        *looks.entry(Look::of(&trial.result.outcome)).or_insert(0) += 1;
    }
    template! {
        h1 { "kdump-rig" span { " report" } }
        p class={ "end " (class) } { (conclusion) }
        p class="counts" {
            @for (verdict, count) in counts(view) {
                span class={ "count v-" (verdict_name(verdict)) } { b { (count) } " " (verdict_name(verdict)) }
            }
            @if let Some(not_run) = run.not_run.filter(|not_run| *not_run > 0) {
                span class="count" { b { (not_run) } " not run" }
            }
        }
        p class="looks" {
            @for (look, count) in looks { span { (count) " " (look.words()) } }
        }
        dl class="facts" {
            (fact("began", run.started.and_then(date)))
            (fact("took", run.started.zip(run.ended).map(|(began, ended)| took(ended.saturating_sub(began)))))
            (fact("accelerator", run.accel.clone()))
            (fact("QEMU", run.qemu.clone()))
            (fact("guests at a time", run.jobs.map(|jobs| jobs.to_string())))
            (fact("rig", run.rig.clone()))
        }
    }
}

fn fact(name: &str, value: Option<String>) -> Markup {
    template! { @if let Some(value) = value { div { dt { (name) } dd { (value) } } } }
}

/// The run's end, in the words of its exit status.
fn conclusion(view: &ReportView) -> (&'static str, &'static str) {
    match view.conclusion() {
        Some(Conclusion::AsExpected) => ("good", "All cells came to what was expected of them."),
        Some(Conclusion::SomeFailed) => ("bad", "At least one cell did not come to what was expected of it."),
        Some(Conclusion::RigFailed) => {
            ("dubious", "The rig, the host or the platform failed in some cells. No loader was shown wrong.")
        }
        Some(Conclusion::Interrupted) => ("dubious", "Interrupted. What had ended by then is here."),
        None => ("dubious", "The run has not ended, or was killed. What had ended by then is here."),
    }
}

/// Seconds since the epoch as a date.
fn date(seconds: u64) -> Option<String> {
    let date = DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)?;
    Some(date.format("%Y-%m-%d %H:%M UTC").to_string())
}

/// A duration in its two greatest units.
fn took(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// What the run was made with, and whatever else it has written down.
pub(super) fn foot(view: &ReportView) -> Markup {
    let RunView { made_with, more, .. } = &view.run;
    template! {
        footer {
            @if !made_with.artifacts.is_empty() || !more.is_empty() {
                details {
                    summary { "What the run was made with" }
                    dl class="facts" {
                        @for (name, version) in &made_with.artifacts { (fact(name, Some(version.clone()))) }
                        @for (name, value) in more { (fact(name, Some(value.to_string()))) }
                    }
                }
            }
        }
    }
}

/// What can be shown and hidden: verdicts, outcomes and loaders, where there are several.
pub(super) struct Filters {
    verdicts: Vec<Verdict>,
    looks: Vec<&'static str>,
    loaders: Vec<String>,
}

/// Classes of looks, with words.
const LOOKS: [(&str, &str); 5] = [
    ("captured", "captured"),
    ("flawed", "vmcore absent or wrong"),
    ("refused", "refused"),
    ("dead", "hung, reset or failed"),
    ("silent", "no statement"),
];

impl Filters {
    pub(super) fn of(view: &ReportView) -> Self {
        let seen: BTreeSet<&str> =
            view.trials.iter().map(|trial| Look::of(&trial.result.outcome).class()).collect();
        Self {
            verdicts: VERDICTS
                .into_iter()
                .filter(|verdict| view.trials.iter().any(|trial| trial.result.verdict == *verdict))
                .collect(),
            looks: LOOKS.into_iter().map(|(class, _)| class).filter(|class| seen.contains(class)).collect(),
            loaders: loaders(view),
        }
    }

    /// Rules of the style sheet: what is not chosen is dim in the matrix, and not in the lists.
    pub(super) fn rules(&self) -> Markup {
        let verdicts = self.verdicts.iter().map(|verdict| format!("v-{}", verdict_name(*verdict)));
        let looks = self.looks.iter().map(|class| format!("o-{class}"));
        let loaders = (0..self.loaders.len()).map(|index| format!("l-{index}"));
        let rule = |class: String| {
            format!(
                "body:has(#{class}:not(:checked)) :is(.cell.{class}){{display:none}}\
                 body:has(#{class}:not(:checked)) a.{class}{{opacity:.12}}"
            )
        };
        // Names of this program's own, nothing of a report.
        PreEscaped(verdicts.chain(looks).chain(loaders).map(rule).collect())
    }

    pub(super) fn choice(&self) -> Markup {
        let looks = LOOKS.into_iter().filter(|(class, _)| self.looks.contains(class));
        template! {
            form class="choice" autocomplete="off" aria-label="What is shown" {
                (group("Verdict", self.verdicts.iter().map(|verdict| {
                    (format!("v-{}", verdict_name(*verdict)), verdict_name(*verdict).to_owned())
                })))
                (group("Outcome", looks.map(|(class, words)| (format!("o-{class}"), words.to_owned()))))
                (group("Loader", self.loaders.iter().enumerate().map(|(index, loader)| {
                    (format!("l-{index}"), loader.clone())
                })))
            }
        }
    }
}

/// The names of all loaders, sorted.
pub(super) fn loaders(view: &ReportView) -> Vec<String> {
    let names: BTreeSet<String> =
        view.trials.iter().map(|trial| trial.result.cell.loader.to_string()).collect();
    names.into_iter().collect()
}

/// Nothing to choose where there is but one.
fn group(name: &str, choices: impl Iterator<Item = (String, String)>) -> Markup {
    let choices: Vec<(String, String)> = choices.collect();
    template! {
        @if choices.len() > 1 {
            fieldset {
                legend { (name) }
                @for (id, words) in choices {
                    label { input type="checkbox" id=(id) checked; " " (words) }
                }
            }
        }
    }
}
