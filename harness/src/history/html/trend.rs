//! Pictures of the nights: how many cells passed and failed, and how long they took. Pure.

use super::strips::MOST_NIGHTS;
use crate::history::night::Night;
use crate::history::words::{counts, day, duration};
use crate::outcome::Verdict;
use maud::{Markup, html as template};

/// Nights that a picture shows, the last ones.
const MOST_SHOWN: usize = 2 * MOST_NIGHTS;
/// Height of a picture in pixels.
const HEIGHT: f64 = 110.0;
/// The part of a night's room that its bar fills.
const FILLED: f64 = 0.8;
/// A bar is no wider than this, in percent, so that two nights are not two walls.
const WIDEST: f64 = 6.0;
/// Verdicts from the foot of a bar upwards, with their class in the style sheet.
const STACK: [(Verdict, &str); 5] = [
    (Verdict::Fail, "b-fail"),
    (Verdict::Error, "b-error"),
    (Verdict::Flaky, "b-flaky"),
    (Verdict::Pass, "b-pass"),
    (Verdict::Skipped, "b-skipped"),
];

/// A part of a bar, in pixels from the top.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Part {
    class: &'static str,
    y: f64,
    height: f64,
}

/// Both pictures.
pub(super) fn pictures(now: &Night, before: &[&Night]) -> Markup {
    let earlier = before.get(before.len().saturating_sub(MOST_SHOWN - 1)..).unwrap_or(before);
    let nights: Vec<&Night> = earlier.iter().copied().chain([now]).collect();
    let most = nights.iter().map(|night| night.cells.len()).max().unwrap_or(0);
    let longest = nights.iter().filter_map(|night| night.took()).max().unwrap_or(0);
    let stacks = nights.iter().map(|night| stack(night, most)).collect();
    let times = nights.iter().map(|night| time(night, longest)).collect();
    template! {
        section {
            h2 { "Night by night" }
            p class="caption" { "Cells by verdict; red: not as expected. The highest bar is " (most) " cells." }
            (picture(&nights, stacks, "Cells by verdict, night by night"))
            p class="caption" { "Time from the begin of a run to its end. The highest bar is " (duration(longest)) "." }
            (picture(&nights, times, "Duration of each night"))
            ul class="key" {
                @for (class, words) in [("b-pass", "passed"), ("b-flaky", "flaky"), ("b-error", "in error"), ("b-fail", "failed"), ("b-skipped", "skipped"), ("b-time", "time"), ("b-part", "of a run that is not whole")] {
                    li { i class=(class) {} (words) }
                }
            }
        }
    }
}

fn picture(nights: &[&Night], bars: Vec<Vec<Part>>, what: &str) -> Markup {
    let room = 100.0 / nights.len().max(1) as f64;
    let width = (room * FILLED).min(WIDEST);
    let ends = nights.first().zip(nights.last());
    template! {
        figure class="trend" {
            svg height=(HEIGHT) role="img" aria-label=(what) {
                @for (at, (night, parts)) in nights.iter().zip(&bars).enumerate() {
                    g {
                        title { (night.header.time) ": " (counts(night)) }
                        @for part in parts {
                            rect class=(part.class) x=(format!("{:.2}%", at as f64 * room)) width=(format!("{width:.2}%"))
                                y=(format!("{:.1}", part.y)) height=(format!("{:.1}", part.height)) {}
                        }
                    }
                }
                line class="foot" x1="0" x2="100%" y1=(HEIGHT) y2=(HEIGHT) {}
            }
            @if let Some((first, last)) = ends {
                p class="ends" { span { (day(&first.header.id)) } span { (day(&last.header.id)) } }
            }
        }
    }
}

/// The bar of a night's cells.
fn stack(night: &Night, most: usize) -> Vec<Part> {
    let scale = HEIGHT / most.max(1) as f64;
    let mut top = HEIGHT;
    let mut parts = Vec::new();
    for (verdict, class) in STACK {
        let count = night.count(verdict);
        if count > 0 {
            // One failure of a thousand cells is seen, too.
            let height = (count as f64 * scale).max(if verdict == Verdict::Fail { 3.0 } else { 1.0 });
            top = (top - height).max(0.0);
            parts.push(Part { class, y: top, height });
        }
    }
    parts
}

/// The bar of a night's time; none of one that never ended.
fn time(night: &Night, longest: u64) -> Vec<Part> {
    let class = if night.is_complete() { "b-time" } else { "b-part" };
    let height = |took: u64| (took as f64 / longest.max(1) as f64 * HEIGHT).max(1.0);
    night.took().map(height).map(|height| Part { class, y: HEIGHT - height, height }).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::samples::{cell, night};

    /// Bug: one failure among a thousand cells is no pixel high; or a bar reaches out of its picture.
    #[test]
    fn a_failure_is_seen_in_any_crowd() {
        let many = (0..1000).map(|at| cell(&format!("c{at}"), Verdict::Pass, 1.0));
        let night = night(1, many.chain([cell("x", Verdict::Fail, 1.0)]));
        let parts = stack(&night, 1001);
        assert_eq!(parts.iter().map(|part| part.class).collect::<Vec<_>>(), ["b-fail", "b-pass"]);
        assert!(parts[0].height >= 3.0 && parts.iter().all(|part| part.y >= 0.0), "{parts:?}");
        assert_eq!(time(&night, 1200), [Part { class: "b-time", y: HEIGHT / 2.0, height: HEIGHT / 2.0 }]);
        assert_eq!(time(&Night { end: None, ..night }, 1200), []);
        assert_eq!(stack(&super::super::super::samples::night(1, []), 0), []);
    }
}
