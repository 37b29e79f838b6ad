//! A block a cell: a line that opens to the drawing, the time line, what was expected, and links to the evidence.

use super::matrix::{Row, loader_class};
use super::memory::memory;
use super::timeline::timeline;
use super::{address, anchor, facts, mark, template};
use crate::cell::LowMemory;
use crate::judge::{describe, describe_expectation, near_miss};
use crate::outcome::Verdict;
use crate::report::view::{AttemptView, ReportView, TrialView};
use crate::report::{AttemptRecord, CellResult, Look, verdict_name};
use maud::Markup;
use std::collections::BTreeMap;
use std::path::Path;

/// Files of an attempt's folder that people look into, in the order in which they do.
const FILES: [&str; 11] = [
    "console.log",
    "agent.jsonl",
    "orders.jsonl",
    "qmp.jsonl",
    "evidence.json",
    "registers.txt",
    "machine.txt",
    "cpu.log",
    "memory.kdump",
    "qemu.log",
    "repro.sh",
];

/// A report with more trials than this has drawings and details of those alone that were not as expected: a page of all the thousands
/// of a whole cross would have dozens of megabytes, which no phone opens.
const MOST_DRAWN: usize = 1500;

/// What was not as expected, a line each, to begin with.
pub(super) fn list(view: &ReportView) -> Markup {
    let shown = || view.trials.iter().enumerate().filter(|(_, trial)| !trial.is_as_expected());
    template! {
        @if shown().next().is_some() {
            section {
                h2 { "Not as expected" }
                ul class="list" {
                    @for (index, trial) in shown() {
                        @let result = &trial.result;
                        li {
                            (mark(Look::of(&result.outcome), result.verdict)) " "
                            a href={ "#" (anchor(index)) } { code { (result.trial()) } } " "
                            (sentence(trial).unwrap_or(&result.words))
                        }
                    }
                }
            }
        }
    }
}

/// Why it was not as expected, or how it hung.
fn sentence(trial: &TrialView) -> Option<&str> {
    trial.result.triage().map(|triage| triage.sentence.as_str())
}

/// What was not as expected, opened.
pub(super) fn unexpected(view: &ReportView, base: &Path) -> Markup {
    let loaders = facts::loaders(view);
    let shown: Vec<(usize, &TrialView)> =
        view.trials.iter().enumerate().filter(|(_, trial)| !trial.is_as_expected()).collect();
    template! {
        @if !shown.is_empty() {
            section {
                h2 { "Not as expected, in full" }
                @for (index, trial) in shown { (block(index, trial, &loaders, base, true, true)) }
            }
        }
    }
}

/// What was as expected, by the matrix's rows, folded.
pub(super) fn as_expected(view: &ReportView, base: &Path) -> Markup {
    let loaders = facts::loaders(view);
    let drawn = view.trials.len() <= MOST_DRAWN;
    let mut rows: BTreeMap<Row, Vec<(usize, &TrialView)>> = BTreeMap::new();
    for (index, trial) in view.trials.iter().enumerate().filter(|(_, trial)| trial.is_as_expected()) {
        rows.entry(Row::of(&trial.result.cell)).or_default().push((index, trial));
    }
    template! {
        @if !rows.is_empty() {
            section {
                h2 { "As expected" }
                @for (row, trials) in &rows {
                    details class="row" {
                        summary {
                            (row.label()) small { ", " (row.loader()) }
                            span class="marks" {
                                @for (_, trial) in trials { (mark(Look::of(&trial.result.outcome), trial.result.verdict)) }
                            }
                        }
                        @for (index, trial) in trials { (block(*index, trial, &loaders, base, false, drawn)) }
                    }
                }
            }
        }
    }
}

/// What was not run, and why.
pub(super) fn skipped(view: &ReportView) -> Markup {
    template! {
        @if !view.skipped.is_empty() {
            section {
                h2 { "Skipped" }
                ul class="skipped" {
                    @for skipped in &view.skipped { li { code { (skipped.id.0) } " " (skipped.why) } }
                }
            }
        }
    }
}

fn block(
    index: usize,
    trial: &TrialView,
    loaders: &[String],
    base: &Path,
    open: bool,
    drawn: bool,
) -> Markup {
    let result = &trial.result;
    let look = Look::of(&result.outcome);
    let class = format!(
        "cell v-{} o-{} {}",
        verdict_name(result.verdict),
        look.class(),
        loader_class(result, loaders)
    );
    let seconds: f64 = result.attempts.iter().map(|attempt| attempt.seconds).sum();
    template! {
        details class=(class) open[open] {
            summary {
                (mark(look, result.verdict)) " "
                @if result.verdict != Verdict::Pass { em { (verdict_name(result.verdict)) } " " }
                code { (result.trial()) } " "
                span class="what" { (look.words()) ", " (format!("{seconds:.1}")) " s" }
            }
            // The place to jump to lies inside, for browsers open what is folded around it.
            div id=(anchor(index)) { (body(trial, base, drawn)) }
        }
    }
}

/// `drawn`: with drawing, time line and all that the cell is beyond its id.
fn body(trial: &TrialView, base: &Path, drawn: bool) -> Markup {
    let result = &trial.result;
    let view = trial.deciding();
    let record = trial.deciding_at().and_then(|at| result.attempts.get(at));
    let shared =
        record.and_then(|record| record.boot.as_ref()).is_some_and(|boot| boot.saved_state.is_some());
    let differs = trial.misses().then(|| near_miss(&result.outcome, &result.expected)).flatten();
    template! {
        @if let Some(sentence) = sentence(trial) { p class="sentence" { (sentence) } }
        @if let Some(trouble) = view.and_then(|view| view.trouble.as_ref()) {
            p class="trouble" { "The evidence cannot be shown: " (trouble) }
        }
        dl class="facts wide" {
            @if trial.misses() || describe_expectation(&result.expected) != result.words {
                (fact("expected", &describe_expectation(&result.expected)))
                (fact("found", &result.words))
            } @else {
                (fact("as expected", &result.words))
            }
            @if let Some(differs) = differs { (fact("differs", &differs)) }
            @if let Some(last) = record.and_then(|record| record.last_phase.as_ref()).filter(|_| trial.misses()) {
                (fact("last phase", &last.to_string()))
            }
            @if let Some(verbose) = record.and_then(|record| record.verbose.as_ref()) {
                (fact("once more, verbosely", &format!("{}; {}", describe(&verbose.outcome), verbose.triage.sentence)))
            }
            @for note in record.into_iter().flat_map(|record| &record.notes) { (fact("note", note)) }
        }
        @if drawn {
            (memory(&result.cell, view.and_then(|view| view.machine.as_ref())))
            @if let Some(view) = view { (timeline(view, shared)) }
        }
        @if let Some(view) = view.filter(|view| !view.console.is_empty() && !trial.is_as_expected()) {
            p class="caption" { "The console's last lines" }
            pre tabindex="0" { (view.console.join("\n")) }
        }
        (attempts(trial, base))
        @if drawn { (axes(result)) }
    }
}

/// The folders of all attempts; of several what each came to.
fn attempts(trial: &TrialView, base: &Path) -> Markup {
    let all: Vec<(&AttemptRecord, &AttemptView)> =
        trial.result.attempts.iter().zip(&trial.attempts).collect();
    template! {
        @for (record, view) in &all {
            p class="files" {
                @if all.len() > 1 {
                    "attempt " (record.attempt) " " (mark(Look::of(&record.outcome), record.verdict)) " "
                    (describe(&record.outcome)) ": "
                }
                (files(record, view, base))
            }
        }
    }
}

fn files(record: &AttemptRecord, view: &AttemptView, base: &Path) -> Markup {
    let folder = record.evidence.display().to_string();
    let known = FILES.into_iter().filter(|name| view.files.iter().any(|file| file == name));
    template! {
        @if folder.is_empty() {
            "no evidence"
        } @else {
            a href=(address(base, &[&folder, ""])) { "evidence" }
            @for name in known { " " a href=(address(base, &[&folder, name])) { (name) } }
            @if let Some(verbose) = &record.verbose {
                " " a href=(address(base, &[&verbose.evidence.display().to_string(), ""])) { "a more verbose run" }
            }
        }
    }
}

/// What the cell is, beyond its id.
fn axes(result: &CellResult) -> Markup {
    let CellResult { cell, versions, accel, .. } = result;
    let platform = &cell.platform;
    let words = |words: &[String]| (!words.is_empty()).then(|| words.join(" "));
    template! {
        dl class="facts axes" {
            (fact("suite", &cell.suite))
            (fact("machine", &format!("{}, {}, {} x{}", platform.machine, platform.memory, platform.cpu, platform.cpus)))
            (fact("first kernel", &versions.first))
            (fact("capture kernel", &versions.capture))
            (fact("loader", &format!("{} {}", cell.loader, versions.loader)))
            @if let Some(firmware) = &versions.firmware { (fact("firmware", firmware)) }
            (fact("QEMU", &format!("{}, {accel}", versions.qemu)))
            @if let Some(args) = words(&cell.loader_args) { (fact("loader's arguments", &args)) }
            @if !cell.circumstances.is_none() { (fact("circumstances", cell.circumstances.name())) }
            @if let Some(words) = words(&cell.first_cmdline) { (fact("first command line", &words)) }
            @if let Some(words) = words(&cell.capture_cmdline) { (fact("capture command line", &words)) }
            @if let Some(reader) = &cell.reader { (fact("reader", &reader.to_string())) }
            @if let Some(segment) = cell.tamper.segment() { (fact("changed by the rig", segment)) }
            @if cell.low_memory == LowMemory::Planted { (fact("memory below 640 KiB", "planted")) }
        }
    }
}

fn fact(name: &str, value: &str) -> Markup {
    template! { div { dt { (name) } dd { (value) } } }
}
