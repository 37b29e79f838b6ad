//! Where to look next, and when there is nothing left to look at. Pure: what lies between is told from outside, by git or by a list.

use std::collections::BTreeSet;

/// What is known of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Good,
    Bad,
    Skip,
}

impl Mark {
    /// As git names it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Skip => "skip",
        }
    }
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Test this one.
    Test(String),
    /// The bad one is the first bad one.
    Found,
    /// All between cannot be tested: the first bad one is among these or the bad one itself.
    Bracketed(Vec<String>),
}

/// Decides over the revisions that lie between what is known good and what is known bad, neither of them among these: those first that
/// halve the rest best. `streak` is how many could not be tested since the last verdict: where one does not build its neighbours seldom
/// do, so that with each the next one is taken from further away.
pub(crate) fn next(between: &[String], skipped: &BTreeSet<String>, streak: usize) -> Next {
    if between.is_empty() {
        return Next::Found;
    }
    let open: Vec<&String> = between.iter().filter(|revision| !skipped.contains(*revision)).collect();
    match open.get(open.len() * streak / (2 * (streak + 1))) {
        Some(revision) => Next::Test((*revision).clone()),
        None => Next::Bracketed(between.to_vec()),
    }
}

/// How many verdicts are still to come, about: each halves what is left.
pub(crate) fn steps_left(between: usize) -> u32 {
    (between + 1).next_power_of_two().trailing_zeros()
}

/// The items of a line strictly between two of its places, those in the middle first.
pub(crate) fn between(line: &[String], good: usize, bad: usize) -> Vec<String> {
    let (low, high) = (good.min(bad), good.max(bad));
    let mut places: Vec<usize> = (low + 1..high).collect();
    // Twice the distance from the middle, which may lie between two places.
    places.sort_by_key(|place| (2 * place).abs_diff(low + high));
    places.into_iter().map(|place| line[place].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(length: usize) -> Vec<String> {
        (0..length).map(|place| format!("r{place:02}")).collect()
    }

    /// Bisects a line whose first bad item is at `culprit`, with items that cannot be tested. The end, and the number of tests.
    fn bisect(length: usize, culprit: usize, broken: &BTreeSet<String>) -> (Next, usize, String) {
        let line = line(length);
        let (mut good, mut bad, mut tests) = (0, length - 1, 0);
        loop {
            let next = next(&between(&line, good, bad), broken, 0);
            let Next::Test(revision) = next else { return (next, tests, line[bad].clone()) };
            tests += 1;
            let place = line.iter().position(|item| *item == revision).unwrap();
            if place >= culprit { bad = place } else { good = place }
        }
    }

    /// Bug: another item than the first bad one is found, or with more tests than halving needs.
    #[test]
    fn the_first_bad_one_is_found_by_halving() {
        for length in 2..40 {
            for culprit in 1..length {
                let (end, tests, bad) = bisect(length, culprit, &BTreeSet::new());
                assert_eq!((end, bad), (Next::Found, format!("r{culprit:02}")));
                assert!(tests <= steps_left(length - 2) as usize, "{length} {culprit}: {tests}");
            }
        }
    }

    /// Bug: what cannot be tested is called the culprit, or hides a culprit that can be told, or is tested for ever.
    #[test]
    fn what_cannot_be_tested_is_a_bracket_and_no_more() {
        for culprit in 1..20 {
            for first_broken in 1..18 {
                let broken: BTreeSet<String> =
                    [first_broken, first_broken + 1].map(|place| format!("r{place:02}")).into();
                let (end, _, bad) = bisect(20, culprit, &broken);
                let hidden = (first_broken..first_broken + 3).contains(&culprit);
                match end {
                    Next::Found => {
                        assert!(!hidden && bad == format!("r{culprit:02}"), "{culprit} {first_broken}")
                    }
                    Next::Bracketed(among) => {
                        assert!(
                            hidden && among.iter().all(|item| broken.contains(item)),
                            "{culprit} {first_broken}"
                        );
                    }
                    Next::Test(_) => unreachable!(),
                }
            }
        }
    }

    /// Bug: one after the other of a long stretch that does not build is tried.
    #[test]
    fn a_broken_stretch_is_left() {
        let between: Vec<String> = line(101);
        let skipped = |count: usize| between[..count].iter().cloned().collect::<BTreeSet<_>>();
        let picked = |count: usize| match next(&between, &skipped(count), count) {
            Next::Test(revision) => between.iter().position(|item| *item == revision).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!((picked(0), picked(1)), (0, 26));
        assert!(picked(2) > 30 && picked(5) > 40);
        assert!(matches!(next(&between, &skipped(101), 101), Next::Bracketed(all) if all.len() == 101));
    }

    /// Bug: the time left is told for a line of another length.
    #[test]
    fn steps_that_are_left() {
        assert_eq!([0, 1, 2, 3, 7, 8, 18].map(steps_left), [0, 1, 2, 2, 3, 4, 5]);
    }
}
