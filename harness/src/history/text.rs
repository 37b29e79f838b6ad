//! What changed, for a terminal. Pure.

use super::compare::{Change, Changes, Kind};
use super::night::Night;
use super::words::{heading, outcome, overview, since, speed, summary, with};
use crate::report::visible::visible;

/// Cells of a kind that are listed by their ids; all that newly fail are.
const MOST_LISTED: usize = 20;

/// What changed up to this night, beside each night that it is compared with; what one comparison has told, the next ones only
/// count. `history` has those nights.
pub fn text(now: &Night, history: &[&Night], all: &[Changes]) -> String {
    let mut text = format!("{}\n  {}\n", now.header.id, summary(now));
    for (at, changes) in all.iter().enumerate() {
        let told = all.get(..at).unwrap_or_default();
        text.push_str(&one(history, changes, told));
    }
    // What a guest wrote must not act upon the terminal.
    visible(&text)
}

fn one(history: &[&Night], changes: &Changes, told: &[Changes]) -> String {
    let is_told =
        |change: &Change| told.iter().any(|told| told.of(change.kind).any(|it| it.cell == change.cell));
    let base = changes.base.as_ref();
    let base = base.and_then(|id| history.iter().find(|night| night.header.id == *id));
    let mut text = match base {
        Some(base) => format!("\nSince {}, {}\n  {}\n", changes.what, base.header.id, summary(base)),
        None => format!("\nSince {}: there is none; whatever fails counts as new\n", changes.what),
    };
    if !changes.with.is_empty() {
        text.push_str(&format!("  with {}\n", changes.with.join("\n       ")));
    }
    if let Some(speed) = speed(changes) {
        text.push_str(&format!("  {speed}\n"));
    }
    text.push_str(&format!("  {}\n", overview(changes)));
    for kind in Kind::ALL {
        let cells: Vec<_> = changes.of(kind).filter(|change| !is_told(change)).collect();
        if cells.is_empty() {
            continue;
        }
        text.push_str(&format!("  {}\n", heading(kind, cells.len())));
        let most = if kind == Kind::NewlyFailing { usize::MAX } else { MOST_LISTED };
        for change in cells.iter().take(most) {
            text.push_str(&format!("    {}\n", change.cell));
            let more = [
                Some(outcome(change)).filter(|words| !words.is_empty()),
                change.why.as_ref().map(|why| format!("why {why}")),
                since(change),
                with(change).map(|with| format!("with {with}")),
                change.evidence.as_ref().map(|evidence| format!("evidence {evidence}")),
            ];
            for line in more.into_iter().flatten() {
                text.push_str(&format!("        {}\n", line.replace(['\n', '\r'], " ")));
            }
        }
        if let Some(more) = cells.len().checked_sub(most).filter(|more| *more > 0) {
            text.push_str(&format!("    and {more} more\n"));
        }
    }
    text
}
