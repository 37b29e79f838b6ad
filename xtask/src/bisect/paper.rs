//! The report of a hunt, in Markdown, to be pasted into a bug report. Pure but for the consoles that it quotes.

use super::compare::partings;
use super::log::Step;
use super::memory::Observation;
use super::tester::{CellFinding, Tested};
use crate::table::one_line;
use std::fmt::Write as _;

/// Lines of a console's end that are shown.
const CONSOLE_LINES: usize = 12;

/// Whether the culprit and what comes before it were good and bad once more. Of what is said of the two, the last in this order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Confirmed {
    NotTried,
    Yes,
    /// They could not be tested once more, which says nothing against the verdicts.
    Open,
    No,
    /// A verdict did not stand, and the search goes on.
    Corrected,
}

/// What came of the bad end without the culprit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reverted {
    NotTried,
    /// The culprit is the bad end itself.
    IsTheEnd,
    DoesNotApply,
    Mends,
    StillBad,
    Untestable(String),
}

/// All that the report says.
#[derive(Clone, Debug)]
pub(crate) struct Paper {
    pub(crate) culprit: Culprit,
    pub(crate) criteria: String,
    pub(crate) reverted: Reverted,
    /// The probability that a verdict on the way is wrong.
    pub(crate) error: f64,
    /// How often a good run looks bad, and a bad one good.
    pub(crate) rates: (f64, f64),
    pub(crate) seconds: f64,
    pub(crate) steps: Vec<Step>,
    /// What comes before the culprit, or the good end.
    pub(crate) good: Tested,
    /// The culprit, or the bad end.
    pub(crate) bad: Tested,
    pub(crate) command: String,
    pub(crate) step_command: String,
    pub(crate) is_git: bool,
}

/// What was found, and what is known of it as soon as it was tested once more.
#[derive(Clone, Debug)]
pub(crate) struct Culprit {
    /// The first bad revision, as far as it is known.
    pub(crate) found: String,
    pub(crate) subject: String,
    /// Revisions before it that could not be tested and may be it instead, each with its subject and the reason.
    pub(crate) among: Vec<(String, String, String)>,
    pub(crate) confirmed: Confirmed,
}

/// What was found, in a sentence.
pub(crate) fn sentence(culprit: &Culprit) -> String {
    let Culprit { found, subject, among, confirmed } = culprit;
    if !among.is_empty() {
        let names: Vec<&str> = among.iter().map(|(name, _, _)| name.as_str()).collect();
        let these = if names.len() == 1 { "it" } else { "them" };
        return format!(
            "the first bad one is {found} ({subject}) or one of those before it that cannot be tested: {}; nothing can be said between {these}",
            names.join(", ")
        );
    }
    let sure = match confirmed {
        Confirmed::Yes => "",
        Confirmed::No | Confirmed::Corrected => {
            "; tested once more, it and what comes before it did NOT differ: do not trust this"
        }
        Confirmed::Open => "; that could not be tested once more",
        Confirmed::NotTried => "; nothing comes before it that it could be held against",
    };
    format!("the first bad one is {found} ({subject}){sure}")
}

/// The report.
pub(crate) fn write(paper: &Paper) -> String {
    let mut text = format!("# {}\n\n", one_line(&sentence(&paper.culprit)));
    let revert = match &paper.reverted {
        Reverted::NotTried => None,
        Reverted::IsTheEnd => Some("not tried, it is the bad end itself".to_owned()),
        Reverted::DoesNotApply => Some("does not apply to the bad end".to_owned()),
        Reverted::Mends => Some("the bad end without it is good".to_owned()),
        Reverted::StillBad => {
            Some("the bad end without it is still bad: something else is wrong there as well".to_owned())
        }
        Reverted::Untestable(why) => {
            Some(format!("the bad end without it cannot be tested: {}", one_line(why)))
        }
    };
    let verify = match paper.culprit.confirmed {
        Confirmed::Yes => "good before it and bad with it, tested once more",
        Confirmed::No | Confirmed::Corrected => "NOT confirmed when tested once more",
        Confirmed::Open => "could not be tested once more, which says nothing against it",
        Confirmed::NotTried => "not tried",
    };
    // Writing to a string cannot fail.
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "- {name}: {value}");
    };
    line("verify", verify);
    if let Some(revert) = revert {
        line("revert", &revert);
    }
    line("judged by", &paper.criteria);
    line("probability that a verdict on the way is wrong", &format!("{:.1e}", paper.error));
    let (alarm, miss) = paper.rates;
    line(
        "flakes",
        &format!(
            "{:.1} % of good runs look bad, {:.1} % of bad ones look good, as far as was seen",
            100.0 * alarm,
            100.0 * miss
        ),
    );
    line("took", &format!("{:.0} s, {} steps", paper.seconds, paper.steps.len()));
    for (name, subject, why) in &paper.culprit.among {
        line(&format!("cannot be tested: {name} ({subject})"), why);
    }
    text.push('\n');
    for (good, bad) in paper.good.cells.iter().zip(&paper.bad.cells) {
        beside(&mut text, good, bad);
    }
    text.push_str(
        "## Steps\n\n| revision | verdict | wrong with probability | runs | seconds | to build | subject |\n",
    );
    text.push_str("| --- | --- | ---: | ---: | ---: | ---: | --- |\n");
    for step in &paper.steps {
        let error = step.error.map(|error| format!("{error:.1e}")).unwrap_or_default();
        let why = if step.error.is_none() { format!(" — {}", step.words) } else { String::new() };
        let _ = writeln!(
            text,
            "| {} | {} | {error} | {} | {:.0} | {:.0} | {} |",
            step.revision,
            step.mark.name(),
            step.runs,
            step.seconds,
            step.building,
            cell(&format!("{}{why}", step.subject))
        );
    }
    text.push_str("\n## To see it oneself\n\n```sh\n");
    let _ = writeln!(text, "{}", paper.command);
    if paper.is_git {
        let _ = writeln!(
            text,
            "git checkout --detach {0} && {1}     # bad\ngit checkout --detach {0}^ && {1}    # good",
            paper.culprit.found, paper.step_command
        );
        text.push_str("```\n\n`DIR` is what `cargo xtask bisect install DIR` wrote.\n");
    } else {
        text.push_str("```\n");
    }
    text
}

/// What one cell showed on both sides.
fn beside(text: &mut String, good: &CellFinding, bad: &CellFinding) {
    let side = |cell: &CellFinding, seen: Option<&Observation>| match seen {
        Some(seen) => (
            one_line(&seen.words),
            format!("`sh {}/repro.sh`", seen.evidence.display()),
            console(seen),
            cell.counts,
        ),
        None => (String::new(), String::new(), Vec::new(), cell.counts),
    };
    let (good_words, good_repro, good_console, good_counts) = side(good, good.good.as_ref());
    let (bad_words, bad_repro, bad_console, bad_counts) = side(bad, bad.bad.as_ref());
    let _ = writeln!(text, "## {}\n\n| | before | with it |\n| --- | --- | --- |", good.id);
    let runs = |counts: super::confidence::Counts| format!("{} good, {} bad", counts.good, counts.bad);
    for (name, good, bad) in [
        ("runs", runs(good_counts), runs(bad_counts)),
        ("outcome", good_words, bad_words),
        ("again", good_repro, bad_repro),
    ] {
        let _ = writeln!(text, "| {name} | {} | {} |", cell(&good), cell(&bad));
    }
    let (of_good, of_bad): (Vec<_>, Vec<_>) = (good.seen.iter().collect(), bad.seen.iter().collect());
    for (section, good, bad) in partings(&of_good, &of_bad) {
        let _ = writeln!(
            text,
            "| {section}, where they part | {} | {} |",
            cell(&one_line(&good)),
            cell(&one_line(&bad))
        );
    }
    for (name, lines) in [("before", good_console), ("with it", bad_console)] {
        let _ = writeln!(text, "\nThe console's end, {name}:\n\n```text\n{}\n```", lines.join("\n"));
    }
    text.push('\n');
}

/// A text in a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// The last lines of an observation's console.
fn console(seen: &Observation) -> Vec<String> {
    let bytes = std::fs::read(seen.evidence.join("console.log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let clean =
        |line: &str| line.chars().filter(|c| !c.is_control()).collect::<String>().replace("```", "'''");
    let lines: Vec<String> = text.lines().map(clean).filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(CONSOLE_LINES)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bisect::search::Mark;
    use crate::bisect::tester::Tested;

    fn paper(among: &[&str], confirmed: Confirmed) -> Paper {
        let step = Step {
            revision: "aaa".into(),
            subject: "a | b".into(),
            mark: Mark::Skip,
            error: None,
            words: "does not build".into(),
            runs: 0,
            seconds: 3.0,
            building: 2.0,
        };
        Paper {
            culprit: Culprit {
                found: "ccc".into(),
                subject: "Loader: change".into(),
                among: among
                    .iter()
                    .map(|name| ((*name).to_owned(), "subject".into(), "does not build: error".into()))
                    .collect(),
                confirmed,
            },
            criteria: "good is what the cell expects".into(),
            reverted: Reverted::Mends,
            error: 0.02,
            rates: (0.003, 0.1),
            seconds: 60.0,
            steps: vec![step],
            good: Tested::untestable(String::new()),
            bad: Tested::untestable(String::new()),
            command: "cargo xtask bisect run".into(),
            step_command: "DIR/kdump-bisect step x".into(),
            is_git: true,
        }
    }

    /// Bug: a culprit is named although others may be it, or although it was not bad a second time.
    #[test]
    fn doubts_are_in_the_first_sentence() {
        assert_eq!(
            sentence(&paper(&[], Confirmed::Yes).culprit),
            "the first bad one is ccc (Loader: change)"
        );
        let told = |confirmed| sentence(&paper(&[], confirmed).culprit);
        assert!(told(Confirmed::No).contains("do not trust this"));
        assert!(told(Confirmed::Open).ends_with("; that could not be tested once more"));
        let told = sentence(&paper(&["bbb", "aaa"], Confirmed::NotTried).culprit);
        assert!(told.contains("ccc") && told.contains("cannot be tested: bbb, aaa"), "{told}");
    }

    /// Bug: a subject with a bar breaks the table, or the commands to see it oneself are not there.
    #[test]
    fn the_report_can_be_pasted() {
        let text = write(&paper(&["bbb"], Confirmed::NotTried));
        assert!(text.contains("| aaa | skip |  | 0 | 3 | 2 | a \\| b — does not build |"), "{text}");
        assert!(text.contains("git checkout --detach ccc^ && DIR/kdump-bisect step x"), "{text}");
        assert!(text.contains("cannot be tested: bbb (subject): does not build: error"), "{text}");
    }
}
