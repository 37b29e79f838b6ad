//! `cargo xtask history`, and what `e2e --record` and `report --since` have in common with it.

use crate::cli::{E2eArgs, HistoryAction, HistoryArgs, HistoryFolder, KernelArg, KernelSide, LoaderArg};
use crate::exit::{Exit, Failure, OrFail};
use crate::repo::Repo;
use crate::{Host, output, tools};
use harness::history::{Added, CellNight, History, Night, Recorder, Revision, RunFacts, night_of, summary};
use harness::outcome::Verdict;
use harness::report::{read_results, verdict_name};
use harness::scenario::Coverage;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn run(args: &HistoryArgs, host: &Host) -> Result<Exit, Failure> {
    let folder = folder(&args.folder, &host.repo);
    match &args.action {
        HistoryAction::Add { report, host: machine, revision } => {
            let report = report.clone().unwrap_or_else(|| host.repo.default_report());
            let revision = revision.clone().map(|commit| Revision { commit, changed: false });
            let recorder = Recorder { host: machine.clone(), selection: None, revision };
            record(&folder, &report, recorder)?;
        }
        HistoryAction::List => {
            let history = read(&folder)?;
            for night in &history.nights {
                let mark = if night.is_good() { "good" } else { "" };
                output::line(format_args!("{}  {mark:<4}  {}", night.header.id, summary(night)));
            }
            if !history.earlier.is_empty() {
                let count = history.earlier.len();
                output::note(format_args!(
                    "not listed: {count} earlier records of runs that went on and were recorded again"
                ));
            }
            if history.nights.is_empty() {
                let folder = folder.display();
                output::note(format_args!("no night in {folder}; e2e --record, or history add, records one"));
            }
        }
        HistoryAction::Show { night } => {
            let history = read(&folder)?;
            show(history.named(night).or_input()?);
        }
        HistoryAction::Prune { keep } => {
            let removed = read(&folder)?.prune(*keep).or_rig()?;
            removed.iter().for_each(|id| output::line(format_args!("removed {id}")));
        }
    }
    Ok(Exit::AsExpected)
}

/// Where the history is.
pub(crate) fn folder(args: &HistoryFolder, repo: &Repo) -> PathBuf {
    args.history.clone().unwrap_or_else(|| repo.default_history())
}

/// Reads a history. What is no night is told; the others count.
pub(crate) fn read(folder: &Path) -> Result<History, Failure> {
    let history = History::read(folder).or_rig()?;
    history.unreadable.iter().for_each(|file| output::note(format_args!("warning: {file}")));
    Ok(history)
}

/// The night of a report.
pub(crate) fn night(report: &Path, recorder: Recorder) -> Result<Night, Failure> {
    let results = read_results(report).or_input()?;
    let run = RunFacts::read(report).or_input()?;
    let folder = std::path::absolute(report).or_rig()?;
    Ok(night_of(&run, &results, recorder, &folder))
}

/// Records the run of a report, and says so.
pub(crate) fn record(folder: &Path, report: &Path, recorder: Recorder) -> Result<(), Failure> {
    let night = night(report, recorder)?;
    let (file, added) = History::add(folder, &night).or_rig()?;
    let what = match added {
        Added::New => "Recorded",
        Added::There => "Was recorded",
        Added::Completed => "Completed",
    };
    output::line(format_args!("{what} {}", file.display()));
    Ok(())
}

/// Records a run that has ended so, where `e2e --record` asked for it, and gives the status to end with.
pub(crate) fn record_run(
    args: &E2eArgs,
    report: &Path,
    recorder: Option<Recorder>,
    exit: Exit,
    repo: &Repo,
) -> Result<Exit, Failure> {
    let Some(recorder) = recorder else { return Ok(exit) };
    let folder = folder(&HistoryFolder { history: args.history.clone() }, repo);
    match record(&folder, report, recorder) {
        Err(failure) if exit != Exit::AsExpected => {
            // What the cells came to is worth more than that it could not be recorded.
            output::note(format_args!("error: {failure}"));
            Ok(exit)
        }
        recorded => recorded.map(|()| exit),
    }
}

/// What `e2e --record` knows beside the report. To be asked before the run: by its end the work tree may be another.
pub(crate) fn recorder(args: &E2eArgs, repo: &Repo) -> Recorder {
    // Programs that come ready-made were built from nobody knows what.
    let revision = if args.programs.is_none() { revision(repo.root()) } else { None };
    Recorder { host: host_name(), selection: selection(args), revision }
}

/// This machine's name; none where it has none.
pub(crate) fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// What chooses among the suites' cells, as words of a command line: nights are compared with those alone that agree in it.
fn selection(args: &E2eArgs) -> Option<String> {
    let mut words = Vec::new();
    words.extend(args.filter.as_ref().map(|filter| format!("-E '{filter}'")));
    words.extend(args.partition.as_ref().map(|partition| format!("--partition {partition}")));
    words.extend(args.coverage.map(|coverage| format!("--coverage {}", Coverage::from(coverage).name())));
    for loader in &args.loader {
        words.push(match loader {
            LoaderArg::InTree => "--loader in-tree".to_owned(),
            LoaderArg::KexecTools(version) => format!("--loader kexec-tools@{version}"),
            LoaderArg::Path(path) => format!("--loader {}", path.display()),
        });
    }
    words.extend(args.kernel.iter().flat_map(|kernels| &kernels.0).map(|KernelArg { side, path }| {
        let side = match side {
            KernelSide::First => "first",
            KernelSide::Capture => "capture",
        };
        format!("--kernel {side}={}", path.display())
    }));
    (!words.is_empty()).then(|| words.join(" "))
}

/// The commit of the work tree; none where there is no git, or no repository.
fn revision(root: &Path) -> Option<Revision> {
    let git = tools::find(tools::GIT.program)?;
    let said = |arguments: &[&str]| {
        let ended = Command::new(&git).arg("-C").arg(root).args(arguments).output().ok()?;
        ended.status.success().then(|| String::from_utf8_lossy(&ended.stdout).trim().to_owned())
    };
    let commit = said(&["rev-parse", "HEAD"])?;
    let changed = !said(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(Revision { commit, changed })
}

fn show(night: &Night) {
    output::line(format_args!("{}\n  {}", night.header.id, summary(night)));
    if let Some(revision) = &night.header.revision {
        output::line(format_args!("  revision {revision}"));
    }
    for (name, version) in &night.header.versions {
        output::line(format_args!("  {name} {version}"));
    }
    let mut cells: Vec<&CellNight> = night.cells.values().collect();
    // What is not as expected last, where a terminal ends.
    cells.sort_by_key(|cell| (is_bad(cell.verdict), &cell.id));
    for cell in cells {
        let seconds = cell.total().map_or_else(String::new, |seconds| format!("{seconds:.1}s"));
        let verdict = verdict_name(cell.verdict).to_uppercase();
        output::line(format_args!("  {verdict:<7} {seconds:>8}  {}  {}", cell.id, cell.words));
        for why in cell.why.iter().filter(|_| is_bad(cell.verdict)) {
            output::line(format_args!("                     why {why}"));
        }
    }
}

const fn is_bad(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Fail | Verdict::Error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{CommandLine, Verb};
    use clap::Parser;

    fn e2e(words: &str) -> E2eArgs {
        let words = ["xtask", "e2e"].into_iter().chain(words.split_whitespace());
        match CommandLine::try_parse_from(words).unwrap().verb {
            Verb::E2e(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    /// Bug: a run that was to be recorded is not, or into another history; or a cell that failed is hidden by a history that cannot be written.
    #[test]
    fn a_run_is_recorded_where_it_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let (report, history) = (folder.path().join("r"), folder.path().join("h"));
        std::fs::create_dir(&report).unwrap();
        std::fs::write(report.join("results.jsonl"), "").unwrap();
        let args = e2e(&format!("smoke --record --history {}", history.display()));
        let record = |recorder, exit| super::record_run(&args, &report, recorder, exit, &Repo::find());
        let status = |recorded: Result<Exit, Failure>| recorded.unwrap_or_else(|failure| failure.exit());
        let recorder = || Some(Recorder { host: Some("rig1".into()), ..Recorder::default() });
        // There is no run.json yet.
        assert_eq!(status(record(None, Exit::AsExpected)), Exit::AsExpected);
        assert_eq!(status(record(recorder(), Exit::NotAsExpected)), Exit::NotAsExpected);
        assert_eq!(status(record(recorder(), Exit::AsExpected)), Exit::BadInput);
        std::fs::write(report.join("run.json"), r#"{"started":7,"ended":9}"#).unwrap();
        assert_eq!(status(record(recorder(), Exit::NotAsExpected)), Exit::NotAsExpected);
        let nights = History::read(&history).unwrap().nights;
        assert_eq!((nights.len(), nights[0].header.host.as_deref()), (1, Some("rig1")));
    }

    /// Bug: a night of other cells of the same suite is the last night of this one, so that cells vanish and are new by turns; or one that
    /// only runs them in another way is not.
    #[test]
    fn what_chooses_cells_tells_nights_apart() {
        for (words, selection) in [
            ("smoke -j 2 --retries 1 --record", None),
            ("smoke --coverage full", Some("--coverage full")),
            ("smoke --coverage pairwise", Some("--coverage pairwise")),
            (
                "smoke -E a=b --partition 1/2 --coverage full --loader in-tree --kernel first=/k",
                Some("-E 'a=b' --partition 1/2 --coverage full --loader in-tree --kernel first=/k"),
            ),
        ] {
            assert_eq!(super::selection(&e2e(words)).as_deref(), selection, "{words}");
        }
    }
}
