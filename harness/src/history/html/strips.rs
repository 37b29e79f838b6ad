//! A cell night by night: a mark a night, as in a report's matrix, oldest to the left. Pure.

use crate::cell::CellId;
use crate::history::night::{CellNight, Night};
use crate::history::words::day;
use crate::report::verdict_name;
use maud::{Markup, html as template};

/// Nights that a strip shows, the last ones.
pub(super) const MOST_NIGHTS: usize = 30;

/// Height of a cell's times in pixels.
const TIMES_HEIGHT: f64 = 28.0;
/// Pixels from one night's time to the next one's.
const STEP: f64 = 9.0;

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

    /// Its times, a bar a night; the highest is its longest.
    pub(super) fn times(&self, cell: &CellId) -> Markup {
        let times: Vec<Option<f64>> =
            self.nights.iter().map(|night| night.cells.get(cell).and_then(CellNight::total)).collect();
        let longest = times.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
        let width = format!("{:.0}", times.len() as f64 * STEP);
        template! {
            svg class="times" style={ "width:" (width) "px" } height=(TIMES_HEIGHT) role="img" aria-label="Its time, night by night" {
                @for (at, (night, seconds)) in self.nights.iter().zip(&times).enumerate() {
                    @if let Some(seconds) = seconds { (bar(seconds / longest * TIMES_HEIGHT, at, night, *seconds)) }
                }
            }
        }
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

/// Its time in a night as a bar. One without is of a night in which it has none.
fn bar(height: f64, at: usize, night: &Night, seconds: f64) -> Markup {
    let (x, y) = (at as f64 * STEP, TIMES_HEIGHT - height);
    template! {
        g {
            title { (day(&night.header.id)) ": " (format!("{seconds:.1} s")) }
            rect class="b-time" x=(format!("{x:.0}")) y=(format!("{y:.1}")) width=(format!("{:.0}", STEP - 2.0)) height=(format!("{height:.1}")) {}
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
