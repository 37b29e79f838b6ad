//! What is wrong with a scenario, told as `file:line:column: what`.

use super::position::{NodePath, Place, locate};
use std::fmt;

/// Most problems that are shown; one mistake in a matrix easily makes dozens.
const SHOWN: usize = 20;

/// Something that is wrong, before its place in the text is looked up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) at: At,
    pub(super) what: String,
}

/// Where something is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The YAML reader said so.
    Place(Place),
    /// A node of the document.
    Node(NodePath),
    /// Nowhere in particular.
    File,
}

/// Something that is wrong with a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named.
    pub file: String,
    /// Line and column, both from 1; columns count characters.
    pub place: Option<(usize, usize)>,
    /// What is wrong, and what to do about it.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

/// Everything that is wrong with a scenario; at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Problems of files as wholes.
    pub(super) fn of_file(file: &str, what: Vec<String>) -> Self {
        Self(what.into_iter().map(|what| Problem { file: file.to_owned(), place: None, what }).collect())
    }

    /// Looks up the place of each finding, and orders them by it. The same words about the same place are told once.
    pub(super) fn all(file: &str, text: &str, findings: Vec<Finding>) -> Self {
        let mut problems: Vec<Problem> = Vec::new();
        for Finding { at, what } in findings {
            let place = match at {
                At::Place(place) => Some(place),
                At::Node(path) => locate(text, &path),
                At::File => None,
            };
            let place = place.map(|place| (place.line, place.column));
            let problem = Problem { file: file.to_owned(), place, what };
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        problems.sort_by_key(|problem| problem.place);
        Self(problems)
    }

    /// The problems, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    /// One problem a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().take(SHOWN).enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        match self.0.len().checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "\nand {more} more problems of this file"),
        }
    }
}

impl std::error::Error for Problems {}
