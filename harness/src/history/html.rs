//! What changed, as a page with pictures of the trend that needs nothing but itself. Pure.
//!
//! It has the look of a report's page. Every text goes through the templates' escaping, and the page through [`page`] at the end.

mod strips;
mod trend;

use super::compare::{Change, Changes, Kind};
use super::night::Night;
use super::words::{counts, heading, outcome, overview, since, speed, summary, with};
use crate::outcome::Verdict;
use crate::report::{page, verdict_name};
use maud::{Markup, PreEscaped, html as template};
use strips::Strips;

/// What this page has beside the style sheet of reports.
const TREND_STYLE: &str = include_str!("html/trend.css");
/// Cells of a kind that are shown without unfolding.
const OPEN_ROWS: usize = 40;

/// What changed up to this night, beside each night that it is compared with. `history` has those nights; `before` are the ones of the same
/// kind before it, oldest first, which the pictures show.
pub fn html(now: &Night, history: &[&Night], before: &[&Night], all: &[Changes]) -> String {
    let strips = Strips::of(now, before);
    let title = format!("kdump-rig: night {}", now.header.id);
    let body = template! {
        header { (head(now)) }
        main {
            (trend::pictures(now, before))
            @for changes in all { (section(changes, history, &strips)) }
        }
        (foot(now))
    };
    page(&title, &PreEscaped(TREND_STYLE), &body)
}

fn head(now: &Night) -> Markup {
    let (class, words) = if !now.is_complete() {
        ("dubious", "The run did not get to its end.")
    } else if now.is_good() {
        ("good", "All cells came to what was expected of them.")
    } else if now.count(Verdict::Fail) > 0 {
        ("bad", "At least one cell did not come to what was expected of it.")
    } else {
        ("dubious", "The rig, the host or the platform failed in some cells. No loader was shown wrong.")
    };
    let verdicts = [Verdict::Fail, Verdict::Error, Verdict::Flaky, Verdict::Pass, Verdict::Skipped];
    template! {
        h1 { "kdump-rig" span { " night " (now.header.id) } }
        p class={ "end " (class) } { (words) }
        p class="counts" {
            @for verdict in verdicts.into_iter().filter(|verdict| now.count(*verdict) > 0) {
                span class={ "count v-" (verdict_name(verdict)) } { b { (now.count(verdict)) } " " (verdict_name(verdict)) }
            }
        }
        p class="looks" { (summary(now)) }
    }
}

/// What changed since one night.
fn section(changes: &Changes, history: &[&Night], strips: &Strips<'_>) -> Markup {
    let base = changes.base.as_ref().and_then(|id| history.iter().find(|night| night.header.id == *id));
    template! {
        section {
            h2 { "Since " (changes.what) }
            p class="caption" {
                @match base {
                    Some(base) => { code { (base.header.id) } ": " (counts(base)) },
                    None => "There is none; whatever fails counts as new.",
                }
            }
            p class="sentence" { (overview(changes)) }
            @if let Some(speed) = speed(changes) { p class="aside" { "Host: " (speed) "." } }
            @if !changes.with.is_empty() {
                details { summary { (changes.with.len()) " of what both were made with differ" }
                    ul { @for with in &changes.with { li { code { (with) } } } }
                }
            }
            @for kind in Kind::ALL { (of_kind(changes, kind, strips)) }
        }
    }
}

fn of_kind(changes: &Changes, kind: Kind, strips: &Strips<'_>) -> Markup {
    let cells: Vec<&Change> = changes.of(kind).collect();
    let bad = matches!(kind, Kind::NewlyFailing | Kind::NewlyErring);
    template! {
        @if !cells.is_empty() {
            details class={ "changed" @if bad { " bad" } } open[cells.len() <= OPEN_ROWS || bad] {
                summary { b { (heading(kind, cells.len())) } }
                table class="changes" {
                    @for change in cells {
                        tr {
                            td {
                                @match kind {
                                    Kind::Slower | Kind::Faster => (strips.times(&change.cell)),
                                    _ => (strips.strip(&change.cell)),
                                }
                            }
                            td {
                                code { (change.cell) } br;
                                (outcome(change))
                                @for more in [since(change), with(change)].into_iter().flatten() { span class="what" { "; " (more) } }
                                @if let Some(why) = &change.why { p class="why" { (why) } }
                                @if let Some(evidence) = &change.evidence { p class="files" { "evidence " code { (evidence) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn foot(now: &Night) -> Markup {
    let header = &now.header;
    template! {
        footer {
            details {
                summary { "What the run was made with" }
                dl class="facts" {
                    @if let Some(revision) = &header.revision { div { dt { "revision" } dd { (revision) } } }
                    @if let Some(qemu) = &header.qemu { div { dt { "QEMU" } dd { (qemu) } } }
                    @for (name, version) in &header.versions { div { dt { (name) } dd { (version) } } }
                }
            }
        }
    }
}
