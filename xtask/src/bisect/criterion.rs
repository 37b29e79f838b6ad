//! What counts as good and as bad: a small language over outcomes, and the side that one observation is on. Pure.

mod parse;

use harness::outcome::{Outcome, OutcomeKind, Verdict, VmcoreState};
use regex::Regex;
use std::borrow::Cow;

/// What one run of a cell showed, as criteria see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    /// What became of it.
    pub(crate) outcome: &'a Outcome,
    /// Beside the cell's own expectation.
    pub(crate) verdict: Verdict,
    /// The outcome in words.
    pub(crate) words: &'a str,
    /// Everything on the console of both kernels; none where nobody asked for it.
    pub(crate) console: Option<&'a str>,
}

/// A condition on an observation, as `--good` and `--bad` take it.
#[derive(Clone, Debug)]
pub(crate) struct Criterion {
    text: String,
    expr: Expr,
}

#[derive(Clone, Debug)]
enum Expr {
    Any(Vec<Expr>),
    All(Vec<Expr>),
    Not(Box<Expr>),
    Kind(OutcomeKind),
    /// As the cell expects it, or not.
    Pass(bool),
    Vmcore(VmcoreWord),
    Matches(Text, Regex),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum VmcoreWord {
    Verified,
    Wrong,
    Absent,
}

/// What a regular expression is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Console,
    Words,
}

/// Every kind, to be named.
const KINDS: [OutcomeKind; 11] = [
    OutcomeKind::Captured,
    OutcomeKind::Refused,
    OutcomeKind::LoadFailed,
    OutcomeKind::Hung,
    OutcomeKind::CapturePanicked,
    OutcomeKind::StoppedByPurgatory,
    OutcomeKind::Reset,
    OutcomeKind::NotPanicked,
    OutcomeKind::Unreserved,
    OutcomeKind::NoFirstKernel,
    OutcomeKind::RigError,
];

impl std::fmt::Display for Criterion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Criterion {
    /// Whether it reads the console, which then must be there.
    pub(crate) fn reads_console(&self) -> bool {
        self.expr.any(&|expr| matches!(expr, Expr::Matches(Text::Console, _)))
    }

    fn holds(&self, shown: &Shown<'_>) -> bool {
        self.expr.holds(shown)
    }

    fn names(&self, kind: OutcomeKind) -> bool {
        self.expr.any(&|expr| matches!(expr, Expr::Kind(named) if *named == kind))
    }
}

impl Expr {
    fn any(&self, wanted: &dyn Fn(&Self) -> bool) -> bool {
        wanted(self)
            || match self {
                Self::Any(parts) | Self::All(parts) => parts.iter().any(|part| part.any(wanted)),
                Self::Not(part) => part.any(wanted),
                Self::Kind(_) | Self::Pass(_) | Self::Vmcore(_) | Self::Matches(..) => false,
            }
    }

    fn holds(&self, shown: &Shown<'_>) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.holds(shown)),
            Self::All(parts) => parts.iter().all(|part| part.holds(shown)),
            Self::Not(part) => !part.holds(shown),
            Self::Kind(kind) => shown.outcome.kind() == *kind,
            Self::Pass(pass) => {
                let as_expected = match shown.verdict {
                    Verdict::Pass | Verdict::Flaky => Some(true),
                    Verdict::Fail => Some(false),
                    Verdict::Skipped | Verdict::Error => None,
                };
                as_expected == Some(*pass)
            }
            Self::Vmcore(word) => match shown.outcome {
                Outcome::Captured { vmcore, .. } => {
                    *word
                        == match vmcore {
                            VmcoreState::Verified => VmcoreWord::Verified,
                            VmcoreState::Wrong { .. } => VmcoreWord::Wrong,
                            VmcoreState::Absent { .. } => VmcoreWord::Absent,
                        }
                }
                _ => false,
            },
            Self::Matches(Text::Console, regex) => shown.console.is_some_and(|text| regex.is_match(text)),
            Self::Matches(Text::Words, regex) => {
                regex.is_match(shown.words) || regex.is_match(&said(shown.outcome))
            }
        }
    }
}

/// The whole text of an outcome, of which its words have one line.
fn said(outcome: &Outcome) -> Cow<'_, str> {
    match outcome {
        Outcome::Refused { message, .. } => message.into(),
        Outcome::LoadFailed { stderr, .. } => stderr.into(),
        _ => "".into(),
    }
}

/// The side that an observation is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Good,
    Bad,
    /// It says nothing: the rig or the host failed, the region was not to be had, the first kernel did not boot, or it is neither.
    Neither,
}

/// What is good and what is bad. Without either, the cell's own expectation says it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Criteria {
    pub(crate) good: Option<Criterion>,
    pub(crate) bad: Option<Criterion>,
}

impl Criteria {
    /// Whether consoles are needed.
    pub(crate) fn read_console(&self) -> bool {
        [&self.good, &self.bad].into_iter().flatten().any(Criterion::reads_console)
    }

    /// Whether what is expected of the cell matters.
    pub(crate) const fn by_expectation(&self) -> bool {
        self.good.is_none() && self.bad.is_none()
    }

    /// The side of one observation. An outcome that is no statement on what is tested (rig trouble, no region, no first kernel) is on
    /// a side only where a criterion names it.
    pub(crate) fn side(&self, shown: &Shown<'_>) -> Side {
        let kind = shown.outcome.kind();
        let named = [&self.good, &self.bad].into_iter().flatten().any(|criterion| criterion.names(kind));
        let speaks = match kind {
            OutcomeKind::Unreserved | OutcomeKind::NoFirstKernel | OutcomeKind::RigError => named,
            _ => true,
        };
        if !speaks {
            return Side::Neither;
        }
        match (&self.good, &self.bad) {
            (None, None) => match shown.verdict {
                Verdict::Pass | Verdict::Flaky => Side::Good,
                Verdict::Fail => Side::Bad,
                Verdict::Skipped | Verdict::Error => Side::Neither,
            },
            (None, Some(bad)) => {
                if bad.holds(shown) {
                    Side::Bad
                } else {
                    Side::Good
                }
            }
            (Some(good), None) => {
                if good.holds(shown) {
                    Side::Good
                } else {
                    Side::Bad
                }
            }
            (Some(good), Some(bad)) => match (good.holds(shown), bad.holds(shown)) {
                (true, false) => Side::Good,
                (false, true) => Side::Bad,
                (true, true) | (false, false) => Side::Neither,
            },
        }
    }

    /// In words, for reports.
    pub(crate) fn in_words(&self) -> String {
        match (&self.good, &self.bad) {
            (None, None) => "good is what the cell expects".to_owned(),
            (None, Some(bad)) => format!("bad is `{bad}`, good is any other outcome"),
            (Some(good), None) => format!("good is `{good}`, bad is any other outcome"),
            (Some(good), Some(bad)) => format!("good is `{good}`, bad is `{bad}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness::outcome::{HangCause, HangProof, Refuser};
    use harness::phase::Phase;

    fn hung() -> Outcome {
        Outcome::Hung {
            at: Phase::ALL[0],
            proof: HangProof::Silence { seconds: 1 },
            cause: HangCause::Unknown,
        }
    }

    fn refused() -> Outcome {
        Outcome::Refused { by: Refuser::Loader, message: "first line\nlimit 0x37ffffff".into() }
    }

    fn criteria(good: &str, bad: &str) -> Criteria {
        let parse = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
        Criteria { good: parse(good), bad: parse(bad) }
    }

    fn side(criteria: &Criteria, outcome: &Outcome, verdict: Verdict) -> Side {
        let console = Some("Destination address too large\n -- System halted");
        criteria.side(&Shown { outcome, verdict, words: "some words", console })
    }

    /// Bug: a criterion that matches what it does not name, or not what it names, and so turns every verdict of a bisection.
    #[test]
    fn each_term_means_what_it_says() {
        let captured = Outcome::captured(VmcoreState::Wrong { why: "x".into() });
        for (text, outcome, expected) in [
            ("hung", hung(), true),
            ("hung", refused(), false),
            ("!hung", refused(), true),
            ("refused, hung", hung(), true),
            ("refused & words~\"0x37f{6}\"", refused(), true),
            ("refused & words~0x47", refused(), false),
            ("captured & vmcore=wrong", captured.clone(), true),
            ("vmcore = verified", captured, false),
            ("console~\"Destination address too large\"", hung(), true),
            ("console~\"say \\\"no\\\"\" | hung", hung(), true),
            ("!(hung | refused) | fail & hung", hung(), true),
            ("pass", hung(), false),
        ] {
            let bad = criteria("", text);
            let expected = if expected { Side::Bad } else { Side::Good };
            assert_eq!(side(&bad, &outcome, Verdict::Fail), expected, "{text}");
        }
    }

    /// Bug: trouble of the rig that is bad because it is not good, or that cannot be hunted though somebody names it.
    #[test]
    fn trouble_is_on_no_side_unless_it_is_named() {
        let trouble = Outcome::RigError { what: "QEMU died".into() };
        let unreserved = Outcome::Unreserved { why: "x".into() };
        for criteria in
            [criteria("", ""), criteria("captured", ""), criteria("", "hung"), criteria("", "!captured")]
        {
            assert_eq!(side(&criteria, &trouble, Verdict::Error), Side::Neither);
            assert_eq!(side(&criteria, &unreserved, Verdict::Error), Side::Neither);
        }
        assert_eq!(side(&criteria("", "unreserved"), &unreserved, Verdict::Error), Side::Bad);
        assert_eq!(side(&criteria("", "unreserved"), &trouble, Verdict::Error), Side::Neither);
    }

    /// Bug: an outcome that is neither of two named ones is taken for one of them.
    #[test]
    fn of_two_criteria_exactly_one_must_hold() {
        let both = criteria("refused", "hung");
        assert_eq!(side(&both, &hung(), Verdict::Fail), Side::Bad);
        assert_eq!(side(&both, &refused(), Verdict::Fail), Side::Good);
        assert_eq!(side(&both, &Outcome::captured(VmcoreState::Verified), Verdict::Pass), Side::Neither);
        assert_eq!(side(&criteria("hung", "fail"), &hung(), Verdict::Fail), Side::Neither);
        assert_eq!(side(&criteria("", ""), &hung(), Verdict::Pass), Side::Good);
    }

    /// Bug: a typo that selects nothing, so that every commit is good, or a parser that panics or never ends.
    #[test]
    fn what_is_no_criterion_is_refused() {
        for (text, told) in [
            ("", "is no outcome"),
            ("hang", "\"hang\" is no outcome; expected captured, refused"),
            ("hung refused", "expected & or |"),
            ("(hung", "not closed"),
            ("console~\"a", "not closed"),
            ("console", "console~\"REGEX\""),
            ("console~\"(\"", "regex parse error"),
            ("console~\"\"", "matches everything"),
            ("vmcore=fine", "vmcore=verified"),
            ("hung)", "in front of"),
        ] {
            let error = text.parse::<Criterion>().expect_err(text);
            assert!(error.contains(told), "{text:?}: {error}");
        }
        assert!("(".repeat(5000).parse::<Criterion>().is_err());
    }
}
