//! The log of a hunt: what `git bisect log` would print, with one line of our own in front of each mark. It is the state as well: a hunt
//! goes on from it after an interruption, and a person may take lines out of it and replay the rest.

use super::memory;
use super::search::Mark;
use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Begins the first line, which says how the hunt was started.
const HEADER: &str = "# kdump-rig bisect run ";
/// Begins the line in front of a mark, which has what is known beyond it.
const DETAIL: &str = "# step ";

/// Begins the line behind the first.
const START: &str = "git bisect start";

/// How a hunt was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    /// The words behind `bisect run`.
    pub(crate) words: Vec<String>,
    /// The folder in which they were given.
    pub(crate) folder: PathBuf,
    /// What the names of the ends stood for then; none before that is known.
    pub(crate) ends: Option<(String, String)>,
}

/// A verdict on one revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) revision: String,
    pub(crate) subject: String,
    pub(crate) mark: Mark,
    /// The probability that it is wrong; none for what could not be tested.
    pub(crate) error: Option<f64>,
    /// What was seen, or why it could not be tested.
    pub(crate) words: String,
    pub(crate) runs: u32,
    /// All of it.
    pub(crate) seconds: f64,
    /// Those of them until there was something to run.
    #[serde(default)]
    pub(crate) building: f64,
}

impl Serialize for Mark {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        mark(&name).ok_or_else(|| serde::de::Error::custom(format!("{name:?} is no mark")))
    }
}

fn mark(name: &str) -> Option<Mark> {
    [Mark::Good, Mark::Bad, Mark::Skip].into_iter().find(|mark| mark.name() == name)
}

/// Begins a log.
///
/// # Errors
/// It cannot be written.
pub(crate) fn begin(path: &Path, started: &Started) -> anyhow::Result<()> {
    // As git takes them: the bad one first.
    let ends = started.ends.as_ref().map(|(good, bad)| format!(" {bad} {good}")).unwrap_or_default();
    let text = format!("{HEADER}{}\n{START}{ends}", serde_json::to_string(started)?);
    memory::append_line(path, &text).inspect_err(|_| {
        // An empty log would be that of the last hunt, and nothing could be gone on with.
        let _ = std::fs::remove_file(path);
    })
}

/// Adds a step.
///
/// # Errors
/// It cannot be written.
pub(crate) fn add(path: &Path, step: &Step) -> anyhow::Result<()> {
    let Step { revision, subject, mark, .. } = step;
    let name = mark.name();
    let subject = subject.replace(['\n', '\r'], " ");
    memory::append_line(
        path,
        &format!(
            "{DETAIL}{}\n# {name}: [{revision}] {subject}\n{}",
            serde_json::to_string(step)?,
            mark_line(step)
        ),
    )
}

fn mark_line(step: &Step) -> String {
    format!("git bisect {} {}", step.mark.name(), step.revision)
}

/// Takes a step that did not stand out of a log, and puts another in its place: git, to which the log may be replayed, lets nobody say of
/// a commit that it is both good and bad. The old log stays until the new one is whole.
///
/// # Errors
/// It cannot be read or written.
pub(crate) fn correct(path: &Path, step: &Step) -> anyhow::Result<()> {
    let (started, steps) = read(path)?;
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", new.display()));
        }
        _ => {}
    }
    begin(&new, &started)?;
    for kept in steps.iter().filter(|kept| kept.revision != step.revision).chain([step]) {
        add(&new, kept)?;
    }
    std::fs::rename(&new, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads a log.
///
/// # Errors
/// It cannot be read, or a line of it is not of a log.
pub(crate) fn read(path: &Path) -> anyhow::Result<(Started, Vec<Step>)> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    // It may have been cut off in the middle of a letter.
    parse(&String::from_utf8_lossy(&bytes))
        .with_context(|| format!("{} is no log of `bisect run`", path.display()))
}

fn parse(text: &str) -> anyhow::Result<(Started, Vec<Step>)> {
    let first = text.lines().next().and_then(|line| line.strip_prefix(HEADER));
    let Some(header) = first else { bail!("its first line does not begin with {HEADER:?}") };
    let started = serde_json::from_str(header).context("its first line does not say how it was started")?;
    let mut steps: Vec<Step> = Vec::new();
    let mut detail: Option<Step> = None;
    for (number, line) in (1..).zip(text.lines()) {
        // A write that broke off within a mark, be it the last line or one that the next run wrote behind.
        let whole = match &detail {
            Some(step) => mark_line(step),
            None if number == 2 => START.to_owned(),
            None => String::new(),
        };
        if line.len() < whole.len() && whole.starts_with(line) {
            continue;
        }
        if let Some(json) = line.strip_prefix(DETAIL) {
            // One that was cut off by a killed run has no mark behind it either.
            detail = serde_json::from_str(json).ok();
        } else if let Some(words) = line.strip_prefix("git bisect ") {
            let mut words = words.split_whitespace();
            let (name, revision) = (words.next().unwrap_or_default(), words.next());
            match (mark(name), revision) {
                (Some(mark), Some(revision)) => {
                    let known = detail.take().filter(|step| step.revision == revision && step.mark == mark);
                    let step = known.unwrap_or_else(|| Step {
                        revision: revision.to_owned(),
                        subject: String::new(),
                        mark,
                        error: None,
                        words: "as the log says".to_owned(),
                        runs: 0,
                        seconds: 0.0,
                        building: 0.0,
                    });
                    // Who marks a revision again means the last word.
                    steps.retain(|earlier| earlier.revision != step.revision);
                    steps.push(step);
                }
                _ if name == "start" => {}
                _ => bail!("line {number} is no mark: {line:?}"),
            }
        } else if !line.starts_with('#') && !line.trim().is_empty() {
            bail!("line {number} is neither a comment nor a mark: {line:?}");
        }
    }
    Ok((started, steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(revision: &str, mark: Mark) -> Step {
        Step {
            revision: revision.into(),
            subject: "Loader: ä\nsubject".into(),
            mark,
            error: (mark != Mark::Skip).then_some(0.004),
            words: "hung".into(),
            runs: 2,
            seconds: 20.5,
            building: 18.0,
        }
    }

    /// Bug: a hunt that was killed in the middle of a line cannot go on, or goes on with a verdict that nobody gave.
    #[test]
    fn a_log_comes_back_as_far_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let started = Started {
            words: vec!["--good".into(), "a b".into()],
            folder: "/r".into(),
            ends: Some(("a0".into(), "d4".into())),
        };
        begin(&path, &started).unwrap();
        let steps = [step("a1", Mark::Good), step("b2", Mark::Bad), step("c3", Mark::Skip)];
        for step in &steps {
            add(&path, step).unwrap();
        }
        assert_eq!(read(&path).unwrap(), (started.clone(), steps.to_vec()));
        let whole = std::fs::read(&path).unwrap();
        // Without its whole first line it is nobody's log.
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap();
        for end in first..whole.len() {
            let cut = |what: &str, after: &[u8]| {
                let path = folder.path().join(what);
                std::fs::write(&path, after).unwrap();
                path
            };
            let path = cut("cut", &whole[..end]);
            let (_, found) = read(&path).unwrap_or_else(|error| panic!("cut at {end}: {error:#}"));
            assert_eq!(found, steps[..found.len()], "cut at {end}");
            // All that was written down whole is there.
            let written = whole[..end].split(|byte| *byte == b'\n').rev().skip(1);
            let written = written.filter(|line| steps.iter().any(|step| *line == mark_line(step).as_bytes()));
            assert!(found.len() >= written.count(), "cut at {end}");
            // And a hunt goes on behind it.
            let next = step("e5", Mark::Good);
            add(&path, &next).unwrap();
            let (_, gone_on) = read(&path).unwrap_or_else(|error| panic!("cut at {end}: {error:#}"));
            assert_eq!(gone_on, [&found[..], &[next]].concat(), "cut at {end}");
        }
    }

    /// Bug: a verdict that did not stand is still in the log, and a replay goes wrong by it.
    #[test]
    fn what_did_not_stand_is_taken_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        begin(&path, &Started { words: vec![], folder: "/r".into(), ends: None }).unwrap();
        add(&path, &step("a1", Mark::Bad)).unwrap();
        add(&path, &step("b2", Mark::Good)).unwrap();
        correct(&path, &step("a1", Mark::Good)).unwrap();
        assert_eq!(read(&path).unwrap().1, [step("b2", Mark::Good), step("a1", Mark::Good)]);
        assert!(!std::fs::read_to_string(&path).unwrap().contains("git bisect bad"));
    }

    /// Bug: a log that somebody corrected is replayed as it was, or a line that is no mark is passed over in silence.
    #[test]
    fn a_corrected_log_is_what_counts() {
        let header = format!("{HEADER}{}\n", r#"{"words":[],"folder":"/","ends":null}"#);
        let (_, steps) =
            parse(&format!("{header}git bisect start\ngit bisect good a1\n# note\ngit bisect bad a1\n"))
                .unwrap();
        assert_eq!(
            steps.iter().map(|step| (step.revision.as_str(), step.mark)).collect::<Vec<_>>(),
            [("a1", Mark::Bad)]
        );
        assert!(parse("git bisect good a1\n").is_err());
        assert!(parse(&format!("{header}git bisect god a1\n")).unwrap_err().to_string().contains("line 2"));
        assert!(
            parse(&format!("{header}good a1\n\n")).is_err() && parse(&format!("{header}good a1")).is_err()
        );
    }
}
