//! The time line of an attempt: how long each phase took, and in which it ended.

use super::{percent, template};
use crate::evidence::Timed;
use crate::phase::Phase;
use crate::report::view::AttemptView;
use maud::Markup;

/// Share of the line from which on a phase has room for its name.
const ROOM_FOR_NAME: f64 = 0.2;

/// A phase on the line.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    phase: Phase,
    /// The last phase that it may have come to: what follows was not seen to begin where a kernel is silent.
    last: Phase,
    from_ms: u64,
    to_ms: u64,
}

/// Phases that took no time that could be seen are left out, but for the last, in which it ended.
fn spans(phases: &[Timed<Phase>], last_ms: u64) -> Vec<Span> {
    let ends = phases.iter().skip(1).map(|phase| (phase.ms, Some(phase.what))).chain([(last_ms, None)]);
    let all = phases.iter().zip(ends).enumerate();
    let shown = all.filter(|(index, (begin, (end, _)))| *end > begin.ms || index + 1 == phases.len());
    shown
        .map(|(_, (begin, (end, next)))| Span {
            phase: begin.what,
            last: next.map_or(begin.what, |next| before(next).max(begin.what)),
            from_ms: begin.ms,
            to_ms: end.max(begin.ms),
        })
        .collect()
}

/// The phase before this one.
fn before(phase: Phase) -> Phase {
    Phase::ALL.into_iter().rfind(|earlier| *earlier < phase).unwrap_or(phase)
}

impl Span {
    /// What it is of, in words.
    fn in_words(&self) -> String {
        let (first, last) = (self.phase.in_words(), self.last.in_words());
        if self.phase == self.last { first.to_owned() } else { format!("{first} to {last}") }
    }
}

/// The line with its key. `shared`: what is before the order was done by a boot that several cells began from.
pub(super) fn timeline(view: &AttemptView, shared: bool) -> Markup {
    let spans = spans(&view.phases, view.last_ms);
    let whole = spans.last().map_or(0, |span| span.to_ms).max(1) as f64;
    let borrowed = |span: &Span| if shared && span.phase < Phase::Loading { " shared" } else { "" };
    let class = |span: &Span| format!("{}{}", class(span.phase), borrowed(span));
    let width = |span: &Span| (span.to_ms - span.from_ms) as f64 / whole;
    template! {
        @if !spans.is_empty() {
            figure class="time" {
                svg height="20" role="img" aria-label="Time line of the phases" {
                    @for span in &spans {
                        @let from = span.from_ms as f64 / whole;
                        rect class=(class(span)) x=(percent(from)) width=(percent(width(span))) height="20" {}
                        @if width(span) > ROOM_FOR_NAME {
                            text class={ "c in" (borrowed(span)) } x=(percent(from + width(span) / 2.0)) y="14" { (short(span.phase)) }
                        }
                    }
                }
                ul class="key" {
                    @for span in &spans {
                        li { i class=(class(span)) {} (span.in_words()) " " (seconds(span.to_ms - span.from_ms)) }
                    }
                    @if shared { li class="aside" { "pale: in a boot that this cell shares with others" } }
                }
            }
        }
    }
}

fn seconds(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        _ => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
    }
}

/// The kernel that a phase is of: the first one, neither (from the trigger to the capture kernel), or the capture kernel.
const fn class(phase: Phase) -> &'static str {
    match phase {
        Phase::Firmware => "t-firmware",
        Phase::FirstKernel => "t-first",
        Phase::Ready => "t-wait",
        Phase::Loading | Phase::Armed => "t-load",
        Phase::Panicking => "t-panic",
        Phase::Purgatory => "t-jump",
        Phase::Decompression => "t-unpack",
        Phase::Capture => "t-capture",
        Phase::Reading => "t-read",
        Phase::Done => "t-wait",
    }
}

/// A phase in a word or two, for where there is little room.
const fn short(phase: Phase) -> &'static str {
    match phase {
        Phase::Firmware => "firmware",
        Phase::FirstKernel => "first kernel",
        Phase::Ready => "ready",
        Phase::Loading => "load",
        Phase::Armed => "trigger",
        Phase::Panicking => "panic",
        Phase::Purgatory => "purgatory",
        Phase::Decompression => "unpack",
        Phase::Capture => "capture",
        Phase::Reading => "vmcore",
        Phase::Done => "end",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: the seconds of a decompression that said nothing are shown as those of the panic before it.
    #[test]
    fn phases_that_were_not_seen_to_begin_are_named() {
        let phases = [(0, Phase::Panicking), (4000, Phase::Capture)];
        let phases: Vec<_> = phases.into_iter().map(|(ms, what)| Timed { ms, what }).collect();
        let words: Vec<String> = spans(&phases, 5000).iter().map(Span::in_words).collect();
        assert_eq!(words, ["panic to decompression of the capture kernel", "boot of the capture kernel"]);
    }

    /// Bug: the phase in which a guest died is not shown because it had no successor, or the parts do not join.
    #[test]
    fn the_last_phase_is_shown_and_the_parts_join() {
        let phases =
            [(0, Phase::Firmware), (100, Phase::FirstKernel), (100, Phase::Ready), (900, Phase::Loading)];
        let phases: Vec<_> = phases.into_iter().map(|(ms, what)| Timed { ms, what }).collect();
        let shown = spans(&phases, 900);
        let names: Vec<Phase> = shown.iter().map(|span| span.phase).collect();
        assert_eq!(names, [Phase::Firmware, Phase::Ready, Phase::Loading]);
        assert!(shown.iter().all(|span| span.phase == span.last), "{shown:?}");
        assert!(shown.windows(2).all(|pair| pair[0].to_ms == pair[1].from_ms));
        // Evidence whose times run backwards is drawn somehow.
        assert_eq!(spans(&phases, 0).last().unwrap().to_ms, 900);
        assert_eq!(spans(&[], 5), []);
        assert_eq!([seconds(0), seconds(999), seconds(1099)], ["0 ms", "999 ms", "1.0 s"]);
    }
}
