//! Night over night: what earlier runs came to, and what has changed since.
//!
//! ```text
//! DIR/nights/<id>.jsonl    one recorded run: a head, a line a cell, and an end
//! ```
//!
//! Why files, and no database. A night is written once and never changed, some hundred kilobytes; a year of nights is read in well under a
//! second, so an index would save nothing. A file that is written under a temporary name and renamed needs no lock, and there is
//! nothing that a crash, a full disk or two runs at a time could corrupt: at worst one night is missing. Histories of several machines are
//! merged by copying files, kept in a CI system's cache or in git, compared with diff and looked into with grep and jq. SQLite would bring C
//! code, a schema to migrate, and a file of which two copies cannot be joined.
//!
//! The pure core: [`Night`] and its text, [`night_of`] a report, [`compare`] with its judgement of [`noise`], and the renderings
//! [`text`], [`markdown`] and [`html`]. [`History`] and [`RunFacts::read`] are the rim.

mod collect;
mod compare;
mod folder;
mod html;
mod markdown;
mod night;
pub mod noise;
mod text;
mod words;

pub use collect::{Recorder, RunFacts, night_of};
pub use compare::{Change, Changes, FLAKY_NIGHTS, Kind, Since, before, compare};
pub use folder::{Added, History, HistoryError, Unreadable};
pub use html::html;
pub use markdown::markdown;
pub use night::{BadNightId, CellNight, End, Header, Night, NightId, NotANight, Revision};
pub use text::text;
pub use words::summary;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
