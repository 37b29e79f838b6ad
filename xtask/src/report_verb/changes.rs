//! `cargo xtask report --since`: what changed since earlier nights, and the exit status that follows it.

use crate::cli::{ChangesArgs, ChangesFormat, FailOn, SinceArg};
use crate::exit::{Exit, Failure, OrFail};
use crate::{Host, history_verb, output};
use anyhow::anyhow;
use harness::history::{Changes, Night, Recorder, Since, before, compare, html, markdown, text};
use harness::outcome::Verdict;
use harness::report::write_file;
use std::path::{Path, PathBuf};

pub(super) fn run(report: Option<&PathBuf>, args: &ChangesArgs, host: &Host) -> Result<Exit, Failure> {
    let folder = history_verb::folder(&args.folder, &host.repo);
    let history = history_verb::read(&folder)?;
    let now = match &args.night {
        Some(name) if name == "last" => history.nights.last().cloned().ok_or_else(|| {
            Failure::Input(anyhow!("no night in {}; e2e --record records one", folder.display()))
        })?,
        Some(name) => history.named(name).or_input()?.clone(),
        None => {
            let report = report.cloned().unwrap_or_else(|| host.repo.default_report());
            let night = history_verb::night(&report, Recorder::default())?;
            // Whoever recorded it knew more of it than the report says.
            let recorded = history.records().find(|recorded| recorded.header.id == night.header.id);
            recorded.cloned().unwrap_or(night)
        }
    };
    let before = before(&now, &history.nights);
    let mut all = Vec::new();
    for since in args.since() {
        let (since, named) = match since {
            SinceArg::Last => (Since::Last, None),
            SinceArg::Good => (Since::Good, None),
            SinceArg::Night(name) => {
                let night = history.named(&name).or_input()?;
                (Since::Named(night.header.id.clone()), Some(night))
            }
        };
        let changes = compare(&now, &before, &since, named);
        // The last night is often the last good one, too.
        if !all.iter().any(|told: &Changes| told.base == changes.base) {
            all.push(changes);
        }
    }
    let nights: Vec<&Night> = history.records().collect();
    let told = match args.format.unwrap_or_default() {
        ChangesFormat::Text => text(&now, &nights, &all),
        ChangesFormat::Markdown => markdown(&now, &nights, &all),
        ChangesFormat::Html => html(&now, &nights, &before, &all),
    };
    tell(&told, args.out.as_deref())?;
    Ok(exit(args.fail_on, &now, all.first()))
}

fn tell(text: &str, out: Option<&Path>) -> Result<(), Failure> {
    match out {
        None => output::line(text.trim_end()),
        Some(file) => {
            write_file(file, text.as_bytes()).or_rig()?;
            output::line(file.display());
        }
    }
    Ok(())
}

/// The status that was asked for: of what is new, or of all that is not as expected.
fn exit(fail_on: Option<FailOn>, now: &Night, changes: Option<&Changes>) -> Exit {
    let any = || {
        let worst = [Verdict::Fail, Verdict::Error];
        worst.into_iter().find(|verdict| now.count(*verdict) > 0)
    };
    let broken = match fail_on {
        None => return Exit::AsExpected,
        Some(FailOn::New) => changes.and_then(Changes::newly_broken),
        Some(FailOn::Any) => any(),
    };
    match broken {
        Some(Verdict::Fail) => Exit::NotAsExpected,
        Some(_) => Exit::RigFailed,
        // Of what was not run nobody can say that nothing broke.
        None if !now.is_complete() => Exit::RigFailed,
        None => Exit::AsExpected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A night's file with these verdicts of a cell, or of none, and its end.
    fn night(day: u32, verdict: Option<&str>, end: &str) -> Night {
        let head = format!(
            r#"{{"kind":"night","format":1,"id":"1970010{day}-x","began":{},"time":"","host":null,"accel":"tcg","jobs":2,"suites":["s"],"selection":null,"qemu":null,"versions":{{}},"revision":null}}"#,
            day * 86_400
        );
        let cell = |verdict| {
            format!(
                r#"{{"kind":"cell","id":"a","suite":"s","expected":"","outcome":"captured","words":"","verdict":"{verdict}","seconds":{{}},"shared":false,"attempts":1,"runs":1,"passed":1,"evidence":"","versions":null}}"#
            ) + "\n"
        };
        let cells = verdict.map(cell);
        let count = usize::from(cells.is_some());
        let end = format!(r#"{{"kind":"end","ended":{},"counts":{{}},"cells":{count},{end}}}"#, day * 86_400);
        Night::parse(&format!("{head}\n{}{end}\n", cells.unwrap_or_default())).unwrap()
    }

    const WHOLE: &str = r#""not_run":0,"interrupted":false"#;
    const HALF: &str = r#""not_run":0,"interrupted":true"#;

    /// Bug: a nightly job that is green although something broke, or red for what was broken before; or the rig's trouble, or a run
    /// that somebody interrupted, that ends as a loader's fault or as none at all.
    #[test]
    fn the_status_follows_what_was_asked_for() {
        let status = |was: Option<&str>, is: &str, end: &str, fail_on| {
            let (was, now) = (night(1, was, WHOLE), night(2, Some(is), end));
            exit(fail_on, &now, Some(&compare(&now, &[&was], &Since::Last, None))).status()
        };
        let (new, any) = (Some(FailOn::New), Some(FailOn::Any));
        for (was, is, end, wanted) in [
            (Some("pass"), "pass", WHOLE, [0, 0, 0]),
            (Some("pass"), "fail", WHOLE, [0, 1, 1]),
            (Some("fail"), "fail", WHOLE, [0, 0, 1]),
            (None, "fail", WHOLE, [0, 1, 1]),
            (Some("fail"), "pass", WHOLE, [0, 0, 0]),
            (Some("pass"), "error", WHOLE, [0, 3, 3]),
            (Some("error"), "error", WHOLE, [0, 0, 3]),
            (Some("pass"), "flaky", WHOLE, [0, 0, 0]),
            (Some("pass"), "pass", HALF, [0, 3, 3]),
            (Some("pass"), "fail", HALF, [0, 1, 1]),
        ] {
            let got = [None, new, any].map(|fail_on| status(was, is, end, fail_on));
            assert_eq!(got, wanted, "{was:?} {is} {end}");
        }
    }
}
