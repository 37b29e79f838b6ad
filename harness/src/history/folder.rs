//! The history's folder: adds, reads and prunes nights. The rim of the history.

use super::night::{Night, NightId, NotANight};
use crate::report::new_file;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How the file of a night ends.
const ENDING: &str = "jsonl";

/// A history cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A system call failed.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What was found.
        source: io::Error,
    },
    /// The nights that it has do not tell which one is meant.
    #[error("no night of {folder} is named {name:?}; `history list` shows them")]
    Unknown {
        /// The history.
        folder: PathBuf,
        /// What was asked for.
        name: String,
    },
    /// More than one night is.
    #[error("{name:?} is the beginning of {count} nights' names; give more of it")]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// How many begin so.
        count: usize,
    },
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HistoryError {
    move |source| HistoryError::Io { what, path: path.to_owned(), source }
}

/// What adding a night did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is new.
    New,
    /// The same night was there; its file was left as it was.
    There,
    /// It was there without its end, and has it now.
    Completed,
}

/// A file among the nights that is none.
#[derive(Debug, thiserror::Error)]
#[error("{path} is left out: {why}")]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

/// The nights of a folder, oldest first.
#[derive(Debug, Default)]
pub struct History {
    folder: PathBuf,
    /// The nights.
    pub nights: Vec<Night>,
    /// What is none, to be told; the others count all the same.
    pub unreadable: Vec<Unreadable>,
}

impl History {
    /// Reads the history in `folder`. One that is not there is empty.
    pub fn read(folder: &Path) -> Result<Self, HistoryError> {
        let mut history = Self { folder: folder.to_owned(), ..Self::default() };
        let nights = nights_folder(folder);
        let entries = match std::fs::read_dir(&nights) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(history),
            entries => entries.map_err(io_error("read", &nights))?,
        };
        for entry in entries {
            let path = entry.map_err(io_error("read", &nights))?.path();
            // What is being written has another name until it is whole.
            if path.extension().is_none_or(|ending| ending != ENDING) {
                continue;
            }
            match read_night(&path) {
                Ok(night) => history.nights.push(night),
                Err(why) => history.unreadable.push(Unreadable { path, why }),
            }
        }
        history.nights.sort_by(|a, b| (a.header.began, &a.header.id).cmp(&(b.header.began, &b.header.id)));
        history.unreadable.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(history)
    }

    /// Adds a night to the history in `folder`, and gives its file. The folder is made where there is none.
    pub fn add(folder: &Path, night: &Night) -> Result<(PathBuf, Added), HistoryError> {
        let nights = nights_folder(folder);
        std::fs::create_dir_all(&nights).map_err(io_error("create", &nights))?;
        let path = file(folder, &night.header.id);
        let added = match read_night(&path) {
            Ok(earlier) if earlier.end.is_some() || night.end.is_none() => return Ok((path, Added::There)),
            Ok(_) => Added::Completed,
            Err(_) => Added::New,
        };
        let write = || {
            let text = night.to_text()?;
            let mut file = new_file(&nights)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_data()?;
            file.persist(&path).map_err(|error| error.error)
        };
        write().map_err(io_error("write", &path))?;
        Ok((path, added))
    }

    /// The night with this name, or whose name alone begins so.
    pub fn named(&self, name: &str) -> Result<&Night, HistoryError> {
        let is = |night: &&Night| night.header.id.as_str() == name;
        if let Some(night) = self.nights.iter().find(is) {
            return Ok(night);
        }
        let begins = |night: &&Night| night.header.id.as_str().starts_with(name) && !name.is_empty();
        let found: Vec<&Night> = self.nights.iter().filter(begins).collect();
        match found[..] {
            [night] => Ok(night),
            [] => Err(HistoryError::Unknown { folder: self.folder.clone(), name: name.to_owned() }),
            _ => Err(HistoryError::Ambiguous { name: name.to_owned(), count: found.len() }),
        }
    }

    /// Removes the oldest nights until `keep` are left, and gives their names. The last good night of each kind of run stays in any case:
    /// `--since good` must not lose what it compares with.
    pub fn prune(&mut self, keep: usize) -> Result<Vec<NightId>, HistoryError> {
        let mut removed = Vec::new();
        let many = self.nights.len().saturating_sub(keep);
        let old: Vec<NightId> = self.nights.iter().take(many).map(|night| night.header.id.clone()).collect();
        for id in old {
            let Some(at) = self.nights.iter().position(|night| night.header.id == id) else { continue };
            let (before, rest) = self.nights.split_at(at + 1);
            let Some(night) = before.last() else { continue };
            if night.is_good() && !rest.iter().any(|later| later.is_good() && later.is_like(night)) {
                continue;
            }
            let path = file(&self.folder, &id);
            std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
            self.nights.remove(at);
            removed.push(id);
        }
        Ok(removed)
    }
}

fn nights_folder(folder: &Path) -> PathBuf {
    folder.join("nights")
}

fn file(folder: &Path, id: &NightId) -> PathBuf {
    nights_folder(folder).join(format!("{id}.{ENDING}"))
}

/// A night by its file, which must have its name: else it could neither be found nor removed by it.
fn read_night(path: &Path) -> Result<Night, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let night = Night::parse(&text).map_err(|error: NotANight| error.to_string())?;
    match path.file_stem().is_some_and(|stem| stem == night.header.id.as_str()) {
        true => Ok(night),
        false => Err(format!("it holds the night {}, whose name it must have", night.header.id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::samples::{cell, night};
    use crate::outcome::Verdict;

    fn ids(history: &History) -> Vec<u64> {
        history.nights.iter().map(|night| night.header.began / 86_400).collect()
    }

    /// Bug: nights come in the order of the folder; or a temporary or damaged file among them takes the whole history away, or
    /// passes unseen.
    #[test]
    fn nights_come_in_their_order_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert!(History::read(folder.path()).unwrap().nights.is_empty());
        for day in [3, 1, 2] {
            let (_, added) =
                History::add(folder.path(), &night(day, [cell("a", Verdict::Pass, 1.0)])).unwrap();
            assert_eq!(added, Added::New);
        }
        let nights = folder.path().join("nights");
        std::fs::write(nights.join(".tmpABC"), "half").unwrap();
        std::fs::write(nights.join("bad.jsonl"), "{}\n").unwrap();
        let one = night(1, [cell("a", Verdict::Pass, 1.0)]);
        std::fs::write(nights.join("other.jsonl"), one.to_text().unwrap()).unwrap();
        let history = History::read(folder.path()).unwrap();
        assert_eq!((ids(&history), history.unreadable.len()), (vec![1, 2, 3], 2));
        let why: Vec<String> = history.unreadable.iter().map(ToString::to_string).collect();
        assert!(why[0].contains("bad.jsonl is left out: line 1") && why[1].contains("must have"), "{why:?}");
        assert_eq!(history.named(one.header.id.as_str()).unwrap(), &one);
        assert!(matches!(history.named("none"), Err(HistoryError::Unknown { .. })));
        let prefix = &one.header.id.as_str()[..3];
        assert!(matches!(history.named(prefix), Err(HistoryError::Ambiguous { count: 3, .. })));
    }

    /// Bug: recording again rewrites what somebody has annotated or diffed; or a night that was recorded while its run went on never
    /// gets its end.
    #[test]
    fn a_night_is_added_once() {
        let folder = tempfile::tempdir().unwrap();
        let whole = night(1, [cell("a", Verdict::Pass, 1.0)]);
        let half = Night { end: None, ..whole.clone() };
        let mut add = |night| History::add(folder.path(), night).unwrap().1;
        assert_eq!(
            [&half, &half, &whole, &whole, &half].map(&mut add),
            [Added::New, Added::There, Added::Completed, Added::There, Added::There]
        );
        assert_eq!(History::read(folder.path()).unwrap().nights, [whole]);
    }

    /// Bug: pruning takes the new nights, or the only good one.
    #[test]
    fn the_oldest_go_and_the_last_good_stays() {
        let folder = tempfile::tempdir().unwrap();
        for (day, verdict) in [(1, Verdict::Pass), (2, Verdict::Pass), (3, Verdict::Fail), (4, Verdict::Fail)]
        {
            History::add(folder.path(), &night(day, [cell("a", verdict, 1.0)])).unwrap();
        }
        let mut history = History::read(folder.path()).unwrap();
        assert_eq!(history.prune(9).unwrap(), []);
        assert_eq!(history.prune(1).unwrap().len(), 2);
        assert_eq!(ids(&history), [2, 4]);
        assert_eq!(ids(&History::read(folder.path()).unwrap()), [2, 4]);
    }
}
