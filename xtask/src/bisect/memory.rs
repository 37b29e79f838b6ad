//! What earlier runs showed, kept by the content of what was tested: the same program in the same cell need not be run again.
//!
//! Observations are kept, not verdicts, so that they can be judged by other criteria or with another confidence. A cell has a folder,
//! named by all that took part but the thing under test; a thing under test has a file in it, named by its content.

use super::confidence::Counts;
use super::criterion::{Criteria, Shown, Side};
use anyhow::Context;
use harness::outcome::{Outcome, Verdict};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What one run of a cell showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Observation {
    pub(crate) outcome: Outcome,
    /// Beside the cell's own expectation.
    pub(crate) verdict: Verdict,
    pub(crate) words: String,
    /// From the start of QEMU to its end.
    pub(crate) seconds: f64,
    /// Absolute path of the folder of its evidence.
    pub(crate) evidence: PathBuf,
}

impl Observation {
    /// The side it is on; none where its console is needed and gone, so that nothing can be said any more.
    pub(crate) fn side(&self, criteria: &Criteria) -> Option<Side> {
        let console = match criteria.read_console() {
            true => Some(std::fs::read(self.evidence.join("console.log")).ok()?),
            false => None,
        };
        let console = console.as_deref().map(String::from_utf8_lossy);
        let Self { outcome, verdict, words, .. } = self;
        Some(criteria.side(&Shown { outcome, verdict: *verdict, words, console: console.as_deref() }))
    }
}

/// Which way the observations point.
pub(crate) fn count(observations: &[Observation], criteria: &Criteria) -> Counts {
    let mut counts = Counts::default();
    for observation in observations {
        match observation.side(criteria) {
            Some(Side::Good) => counts.good += 1,
            Some(Side::Bad) => counts.bad += 1,
            Some(Side::Neither) | None => {}
        }
    }
    counts
}

/// What is tested, in a cell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Of all that takes part but what is tested.
    pub(crate) cell: String,
    /// Of what is tested.
    pub(crate) content: String,
}

/// A name for some content: the first half of its SHA-256, in hex digits.
pub(crate) fn digest_of(content: &serde_json::Value) -> String {
    // Values of serde_json have their keys in order, so that the same content has the same text.
    hex(&Sha256::digest(content.to_string().as_bytes())[..16])
}

/// The whole SHA-256 of a file, in hex digits.
pub(crate) fn digest_of_file(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    std::io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hex(&hasher.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The folder with all of it.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    folder: PathBuf,
}

impl Memory {
    pub(crate) const fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn file(&self, key: &Key) -> PathBuf {
        self.folder.join(&key.cell).join(format!("{}.jsonl", key.content))
    }

    /// All that is known of this.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub(crate) fn of(&self, key: &Key) -> anyhow::Result<Vec<Observation>> {
        read(&self.file(key))
    }

    /// What is known of the same cell with other contents.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub(crate) fn others(&self, key: &Key) -> anyhow::Result<Vec<(String, Vec<Observation>)>> {
        let folder = self.folder.join(&key.cell);
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(anyhow::Error::new(error).context(format!("cannot read {}", folder.display())));
            }
        };
        let mut others = Vec::new();
        for entry in entries {
            let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
            let content = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if content != key.content && path.extension().is_some_and(|extension| extension == "jsonl") {
                others.push((content, read(&path)?));
            }
        }
        others.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(others)
    }

    /// Adds what a run showed.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn add(&self, key: &Key, observation: &Observation) -> anyhow::Result<()> {
        append_line(&self.file(key), &serde_json::to_string(observation)?)
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<Observation>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(anyhow::Error::new(error).context(format!("cannot read {}", path.display())));
        }
    };
    // A line that a killed run left unfinished, in the middle of a letter maybe, or that another version wrote, says nothing.
    Ok(String::from_utf8_lossy(&bytes).lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Adds a line to a file that others may add to at the same time, and that a run may have left without a line's end.
///
/// # Errors
/// It cannot be written; then nothing of it is there.
pub(crate) fn append_line(path: &Path, line: &str) -> anyhow::Result<()> {
    let append = || {
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
        let mut file = File::options().read(true).append(true).create(true).open(path)?;
        file.lock()?;
        let whole = std::fs::read(path)?;
        let begin = if whole.last().is_none_or(|last| *last == b'\n') { "" } else { "\n" };
        // One write: whoever reads meanwhile sees all of it or nothing.
        let text = format!("{begin}{line}\n");
        all_or_nothing(&mut file, |file| file.write_all(text.as_bytes()).and_then(|()| file.sync_data()))
    };
    append().with_context(|| format!("cannot write {}", path.display()))
}

/// Lets a file be added to, and takes back what came of that where it fails: a full disk takes a part of a line.
fn all_or_nothing(
    file: &mut File,
    write: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let before = file.metadata()?.len();
    let written = write(file);
    if written.is_err() {
        // If that cannot be done either, readers know half a line when they see it.
        let _ = file.set_len(before);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness::outcome::VmcoreState;

    fn observation(verdict: Verdict) -> Observation {
        Observation {
            outcome: Outcome::captured(VmcoreState::Verified),
            verdict,
            words: "words".into(),
            seconds: 1.5,
            evidence: "/nowhere".into(),
        }
    }

    fn key(cell: &str, content: &str) -> Key {
        Key { cell: cell.into(), content: content.into() }
    }

    /// Bug: what one program showed is taken for what another did, or is lost; a line that was cut off takes the next with it.
    #[test]
    fn observations_come_back_under_their_own_name() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::at(folder.path().to_owned());
        let key_a = key("cell", "a");
        assert!(memory.of(&key_a).unwrap().is_empty() && memory.others(&key_a).unwrap().is_empty());
        memory.add(&key_a, &observation(Verdict::Pass)).unwrap();
        std::fs::OpenOptions::new()
            .append(true)
            .open(memory.file(&key_a))
            .unwrap()
            .write_all(b"{\"outcome\":\"\xc3")
            .unwrap();
        assert_eq!(memory.of(&key_a).unwrap(), [observation(Verdict::Pass)]);
        memory.add(&key_a, &observation(Verdict::Fail)).unwrap();
        memory.add(&key("cell", "b"), &observation(Verdict::Fail)).unwrap();
        memory.add(&key("other", "a"), &observation(Verdict::Fail)).unwrap();
        let seen = memory.of(&key_a).unwrap();
        assert_eq!(seen, [observation(Verdict::Pass), observation(Verdict::Fail)]);
        assert_eq!(count(&seen, &Criteria::default()), Counts { good: 1, bad: 1 });
        let others = memory.others(&key_a).unwrap();
        assert_eq!(others, [("b".to_owned(), vec![observation(Verdict::Fail)])]);
    }

    /// Bug: a full disk leaves half a line, and the next is written behind it.
    #[test]
    fn what_cannot_be_written_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        append_line(&path, "a").unwrap();
        let mut file = File::options().append(true).open(&path).unwrap();
        let error = all_or_nothing(&mut file, |file| {
            file.write_all(b"half of")?;
            Err(ErrorKind::StorageFull.into())
        });
        assert_eq!(error.unwrap_err().kind(), ErrorKind::StorageFull);
        append_line(&path, "b").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nb\n");
    }

    /// Bug: a criterion on the console judges a run whose console is gone, as if it had been empty.
    #[test]
    fn a_console_that_is_gone_says_nothing() {
        let criteria = Criteria { bad: Some("console~x".parse().unwrap()), good: None };
        assert_eq!(observation(Verdict::Pass).side(&criteria), None);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("console.log"), b"\xff x").unwrap();
        let there = Observation { evidence: folder.path().to_owned(), ..observation(Verdict::Pass) };
        assert_eq!(there.side(&criteria), Some(Side::Bad));
    }
}
