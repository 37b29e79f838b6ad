//! A cell night by night: a mark a night, as in a report's matrix, oldest to the left. Pure.

use crate::cell::CellId;
use crate::history::night::{CellNight, Night};
use crate::history::words::day;
use crate::report::verdict_name;
use maud::{Markup, html as template};

/// Nights that a strip shows, the last ones.
pub(super) const MOST_NIGHTS: usize = 30;

/// The nights that strips are of.
pub(super) struct Strips<'a> {
    nights: Vec<&'a Night>,
}

impl<'a> Strips<'a> {
    /// Up to `now`.
    pub(super) fn of(now: &'a Night, before: &[&'a Night]) -> Self {
        let earlier = before.get(before.len().saturating_sub(MOST_NIGHTS - 1)..).unwrap_or(before);
        Self { nights: earlier.iter().copied().chain([now]).collect() }
    }

    /// That of a cell.
    pub(super) fn strip(&self, cell: &CellId) -> Markup {
        template! {
            span class="strip" {
                @for night in &self.nights { (mark(night, night.cells.get(cell))) }
            }
        }
    }
}

/// What a cell came to in a night.
fn mark(night: &Night, cell: Option<&CellNight>) -> Markup {
    let when = day(&night.header.id);
    let look = cell.and_then(|cell| Some((cell, cell.outcome?)));
    template! {
        @match (look, cell) {
            (Some((cell, look)), _) => {
                b class={ "m " (look.class()) " v-" (verdict_name(cell.verdict)) }
                    title={ (when) ": " (verdict_name(cell.verdict)) ", " (cell.words) } { (look.glyph()) }
            },
            (None, Some(cell)) => { b class="m none" title={ (when) ": skipped, " (cell.words) } { "-" } },
            (None, None) => { b class="m none" title={ (when) ": not there" } { "·" } },
        }
    }
}
