//! What a rig has left: results and evidence that must be whole, processes and files that must not be there.

use super::judge::{CellSeen, Observed};
use super::stand_in::MARK;
use anyhow::Context;
use harness::cell::{Cell, Loader};
use harness::classify::classify;
use harness::report::{AttemptRecord, CellResult, load_evidence, read_results};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long processes that were killed may take to vanish: a guest's memory is given back first.
const VANISHING: Duration = Duration::from_secs(5);

/// Files that every folder of evidence has.
const EVIDENCE: [&str; 6] =
    ["console.log", "agent.jsonl", "qmp.jsonl", "registers.txt", "evidence.json", "repro.sh"];

/// The pages of a report, for people and for CI systems.
const PAGES: [&str; 2] = ["report.html", "junit.xml"];

/// Whether a cell is the one that is faulted.
pub(super) fn is_faulted(cell: &Cell) -> bool {
    cell.first_cmdline.iter().any(|word| word == MARK) || cell.loader != Loader::InTree
}

/// Reads a report, if there is one: the cells' results, and all that is not whole.
pub(super) fn report(folder: &Path, observed: &mut Observed) {
    if !folder.exists() {
        return;
    }
    match std::fs::read_to_string(folder.join("results.jsonl")) {
        Ok(text) if !text.is_empty() && !text.ends_with('\n') => {
            observed.broken.push("results.jsonl ends with half a line".to_owned());
        }
        _ => {}
    }
    let results = match read_results(folder) {
        Ok(results) => results,
        Err(error) => return observed.broken.push(error.to_string()),
    };
    for result in &results.trials {
        let seen =
            CellSeen { verdict: result.verdict, outcome: result.outcome.kind(), words: result.words.clone() };
        match is_faulted(&result.cell) {
            true => observed.faulted.push(seen),
            false => observed.control.push(seen),
        }
        observed
            .broken
            .extend(result.attempts.iter().filter_map(|attempt| evidence(folder, result, attempt)));
    }
    let run = std::fs::read(folder.join("run.json")).map_err(|error| error.to_string());
    let run = run.and_then(|text| {
        serde_json::from_slice::<serde_json::Value>(&text).map_err(|error| error.to_string())
    });
    match run {
        Err(error) => observed.broken.push(format!("run.json: {error}")),
        // A run that was killed has no pages yet; one that ended, however, has both.
        Ok(run) if run.get("ended").is_some_and(|ended| !ended.is_null()) => {
            observed.broken.extend(PAGES.into_iter().filter_map(|name| page(folder, name, &results.trials)));
        }
        Ok(_) => {}
    }
}

/// What is not whole of a page: every trial must be on it.
fn page(folder: &Path, name: &str, trials: &[CellResult]) -> Option<String> {
    match std::fs::read_to_string(folder.join(name)) {
        Err(error) => Some(format!("{name}: {error}")),
        Ok(text) => {
            let missing = trials.iter().find(|result| !text.contains(&result.trial().to_string()))?;
            Some(format!("{name} says nothing of {}", missing.trial()))
        }
    }
}

/// What is not whole of an attempt's evidence. What it was judged by must be there, and give the same outcome again.
fn evidence(folder: &Path, result: &CellResult, attempt: &AttemptRecord) -> Option<String> {
    let folder = folder.join(&attempt.evidence);
    let missing: Vec<&str> = EVIDENCE.into_iter().filter(|name| !folder.join(name).is_file()).collect();
    if !missing.is_empty() {
        return Some(format!("the evidence of {} lacks {}", result.id, missing.join(", ")));
    }
    match load_evidence(&folder) {
        Err(error) => Some(format!("the evidence of {} cannot be read: {error}", result.id)),
        Ok(evidence) => {
            let again = classify(&result.cell, &evidence);
            (again != attempt.outcome)
                .then(|| format!("the saved evidence of {} gives another outcome: {again:?}", result.id))
        }
    }
}

/// The console of the faulted cell's last attempt, as its evidence has it.
///
/// # Errors
/// There is no such evidence.
pub(super) fn console_of_faulted(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let results = read_results(folder)?.trials;
    let faulted = results.iter().rfind(|result| is_faulted(&result.cell)).context("no result")?;
    Ok(load_evidence(&folder.join(&faulted.evidence))?.console)
}

/// Processes and files that are left of the rig whose TMPDIR this is.
pub(super) async fn left(temp: &Path) -> Vec<String> {
    let mut left = processes_left(temp).await;
    let entries = std::fs::read_dir(temp).into_iter().flatten().flatten();
    left.extend(entries.map(|entry| entry.path().display().to_string()));
    left
}

/// Processes that are left of it: a file may be left by whoever is killed, a process by nobody.
pub(super) async fn processes_left(temp: &Path) -> Vec<String> {
    let begun = Instant::now();
    while !processes(temp).is_empty() && begun.elapsed() < VANISHING {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut left = Vec::new();
    for process in processes(temp) {
        left.push(format!("process {process:?}"));
        // Told is enough; the campaign itself is to leave nothing.
        if let Some(pid) = Pid::from_raw(process.pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    left
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) command: Vec<String>,
}

/// The processes that have this TMPDIR in their environment: a rig, and all that it started.
pub(super) fn processes(temp: &Path) -> Vec<Process> {
    let wanted = format!("TMPDIR={}", temp.display());
    let has = |file: &Path| {
        let environment = std::fs::read(file).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|word| word == wanted.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())));
    // A zombie has no environment any more, and holds nothing.
    pids.filter(|(_, path)| has(&path.join("environ")))
        .map(|(pid, path)| {
            let command = std::fs::read(path.join("cmdline")).unwrap_or_default();
            let command =
                command.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
            Process { pid, command: command.collect() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a leak that is not seen: a process whose parent is gone, and a file.
    #[tokio::test]
    async fn what_is_left_is_seen() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(left(temp.path()).await, [""; 0]);
        std::fs::write(temp.path().join("socket"), "").unwrap();
        let mut child =
            std::process::Command::new("sleep").arg("600").env("TMPDIR", temp.path()).spawn().unwrap();
        assert_eq!(processes(temp.path())[0].command[..2], ["sleep", "600"]);
        let found = left(temp.path()).await;
        assert!(found.len() == 2 && found[0].starts_with("process"), "{found:?}");
        // It was killed, so that this returns.
        child.wait().unwrap();
        assert_eq!(left(temp.path()).await.len(), 1);
    }
}
