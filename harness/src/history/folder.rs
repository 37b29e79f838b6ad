//! The history's folder: adds, reads and prunes nights. The rim of the history.

use super::night::{Night, NightId, NotANight};
use crate::report::new_file;
use std::cmp::Reverse;
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
    /// The nights: one of each run.
    pub nights: Vec<Night>,
    /// Records of runs that went on and were recorded again, with more of their cells. They count nowhere, for a run is one night: else half
    /// a night would be the last one before its own other half.
    pub earlier: Vec<Night>,
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
        (history.nights, history.earlier) = one_of_each_run(history.nights);
        history.unreadable.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(history)
    }

    /// Adds a night to the history in `folder`, and gives its file. The folder is made where there is none. An earlier record of the same run
    /// stays, for what is written is never changed; [`Self::read`] takes one of them.
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

    /// All records, also those that another of the same run stands for.
    pub fn records(&self) -> impl Iterator<Item = &Night> {
        self.nights.iter().chain(&self.earlier)
    }

    /// The night with this name, or whose name alone begins so. An earlier record of a run is meant where no night is.
    pub fn named(&self, name: &str) -> Result<&Night, HistoryError> {
        let is = |night: &&Night| night.header.id.as_str() == name;
        if let Some(night) = self.records().find(is) {
            return Ok(night);
        }
        let begins = |night: &&Night| night.header.id.as_str().starts_with(name) && !name.is_empty();
        let mut found: Vec<&Night> = self.nights.iter().filter(begins).collect();
        if found.is_empty() {
            found.extend(self.earlier.iter().filter(begins));
        }
        match found[..] {
            [night] => Ok(night),
            [] => Err(HistoryError::Unknown { folder: self.folder.clone(), name: name.to_owned() }),
            _ => Err(HistoryError::Ambiguous { name: name.to_owned(), count: found.len() }),
        }
    }

    /// Removes the oldest nights until `keep` are left, and gives their names. The last good night of each kind of run stays in any case:
    /// `--since good` must not lose what it compares with. With a night go the earlier records of its run.
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
            // These first: without the night that stands for them they would be nights again.
            let with_it = self.earlier.iter().filter(|earlier| earlier.is_of_the_run_of(night));
            let ids: Vec<NightId> =
                with_it.map(|earlier| earlier.header.id.clone()).chain([id.clone()]).collect();
            for id in ids {
                let path = file(&self.folder, &id);
                std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
                self.earlier.retain(|earlier| earlier.header.id != id);
                removed.push(id);
            }
            self.nights.remove(at);
        }
        Ok(removed)
    }
}

/// The nights in their order, one of each run, and the other records. Of the records of a run that counts which has most of it.
fn one_of_each_run(mut records: Vec<Night>) -> (Vec<Night>, Vec<Night>) {
    let rank = |night: &Night| (night.header.began, Reverse(night.wholeness()), night.header.id.clone());
    records.sort_by_cached_key(rank);
    let (mut nights, mut earlier): (Vec<Night>, Vec<Night>) = Default::default();
    for record in records {
        let mut of_the_moment =
            nights.iter().rev().take_while(|night| night.header.began == record.header.began);
        match of_the_moment.any(|night| night.is_of_the_run_of(&record)) {
            true => earlier.push(record),
            false => nights.push(record),
        }
    }
    nights.sort_by(|a, b| (a.header.began, &a.header.id).cmp(&(b.header.began, &b.header.id)));
    (nights, earlier)
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
    use crate::history::Header;
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

    /// Bug: a run that was interrupted, recorded, resumed and recorded again is two nights; or the half of it is the one that counts, because
    /// its name sorts last; or runs of two machines at the same second are one.
    #[test]
    fn a_run_is_one_night_however_often_it_is_recorded() {
        let named = |name: &str, night: Night| {
            let id = NightId::try_from(name.to_owned()).unwrap();
            Night { header: Header { id, ..night.header.clone() }, ..night }
        };
        let half = |day| {
            let mut half = night(day, [cell("a", Verdict::Pass, 1.0)]);
            half.end.iter_mut().for_each(|end| (end.ended, end.interrupted) = (end.ended - 300, true));
            half
        };
        let both = |day| night(day, [cell("a", Verdict::Pass, 1.0), cell("b", Verdict::Fail, 1.0)]);
        let mut elsewhere = named("1-c", both(1));
        elsewhere.header.host = Some("rig2".into());
        let mut unnamed = named("2-c", half(2));
        unnamed.header.host = None;
        // An error that was run again: as many cells, and a later end.
        let erred = named("3-b", half(3));
        let mended = named("3-a", night(3, [cell("a", Verdict::Pass, 1.0)]));
        let folder = tempfile::tempdir().unwrap();
        for record in [
            &named("1-b", half(1)),
            &named("1-a", both(1)),
            &elsewhere,
            &named("2-a", half(2)),
            &named("2-b", both(2)),
            &unnamed,
            &erred,
            &mended,
        ] {
            assert_eq!(History::add(folder.path(), record).unwrap().1, Added::New);
        }
        let names = |nights: &[Night]| -> Vec<String> {
            nights.iter().map(|night| night.header.id.to_string()).collect()
        };
        let mut history = History::read(folder.path()).unwrap();
        assert_eq!(names(&history.nights), ["1-a", "1-c", "2-b", "3-a"]);
        assert_eq!(names(&history.earlier), ["1-b", "2-a", "2-c", "3-b"]);
        // The line of a log that names the first record still leads to it.
        assert_eq!(history.named("2-a").unwrap().cells.len(), 1);
        assert_eq!(history.named("2").unwrap().cells.len(), 2);
        let removed: Vec<String> = history.prune(2).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(removed, ["1-b", "1-a", "1-c"]);
        let history = History::read(folder.path()).unwrap();
        assert_eq!(names(&history.nights), ["2-b", "3-a"], "what went with its night is none");
        assert_eq!(history.earlier.len(), 3);
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
