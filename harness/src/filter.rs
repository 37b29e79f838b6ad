//! Filter expressions over the axes of a cell, such as `userspace=i386 & reservation=at & !loader=in-tree`: for `-E` on the
//! command line and for the rules of a scenario.
//!
//! ```text
//! or    = and { "|" and }          "&" binds tighter than "|", "!" tightest
//! and   = not { "&" not }
//! not   = "!" not | "(" or ")" | "all" | AXIS ("=" | "!=" | "~" | "<" | "<=" | ">" | ">=") VALUE
//! VALUE = a word without blanks and without any of & | ! ( ) = ~ " — or a text in double quotes, with \" and \\ inside
//! ```
//!
//! `=` compares whole values; where an axis has several (a reservation has its kind and its literal value) one of them has to
//! be equal. `~` is a regular expression that may match anywhere in the value. `<` and its like compare the axes that are
//! numbers; of a cell that has no such number (a region that the first kernel places has no known start) no comparison holds.
//! An unknown axis is an error, and so is a value that no cell can have, because a typo that silently selects nothing would
//! make `!` select everything.

mod axis;
mod number;
mod parse;

use crate::cell::Cell;
pub use axis::Axis;
use number::Relation;
pub use parse::FilterError;
use regex::Regex;
use std::fmt;

/// A parsed filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(Expr);

impl Filter {
    /// Whether the cell is selected.
    pub fn matches(&self, cell: &Cell) -> bool {
        self.0.matches(cell)
    }

    /// The axes that it asks for: of cells that do not differ in them it selects all or none. One may come several times.
    pub(crate) fn axes(&self) -> Vec<Axis> {
        self.0.axes()
    }
}

impl std::str::FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        parse::parse(text).map(Self)
    }
}

impl fmt::Display for Filter {
    /// An expression that parses to this filter again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A node of the expression. `All` and `Any` have two parts or more.
#[derive(Clone, Debug, PartialEq)]
enum Expr {
    Everything,
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    Test { axis: Axis, test: Test },
}

/// What is asked of an axis.
#[derive(Clone, Debug)]
enum Test {
    Is(String),
    IsNot(String),
    Matches(Regex),
    Compares(Relation, u64),
}

impl PartialEq for Test {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Is(a), Self::Is(b)) | (Self::IsNot(a), Self::IsNot(b)) => a == b,
            (Self::Matches(a), Self::Matches(b)) => a.as_str() == b.as_str(),
            (Self::Compares(a, than_a), Self::Compares(b, than_b)) => a == b && than_a == than_b,
            (Self::Is(_) | Self::IsNot(_) | Self::Matches(_) | Self::Compares(..), _) => false,
        }
    }
}

impl Expr {
    fn matches(&self, cell: &Cell) -> bool {
        match self {
            Self::Everything => true,
            Self::All(parts) => parts.iter().all(|part| part.matches(cell)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(cell)),
            Self::Not(part) => !part.matches(cell),
            Self::Test { axis, test } => match test {
                Test::Is(wanted) => axis.values(cell).iter().any(|value| value == wanted),
                Test::IsNot(wanted) => axis.values(cell).iter().all(|value| value != wanted),
                Test::Matches(regex) => axis.values(cell).iter().any(|value| regex.is_match(value)),
                Test::Compares(relation, than) => {
                    axis.number(cell).is_some_and(|number| relation.holds(number, *than))
                }
            },
        }
    }

    fn axes(&self) -> Vec<Axis> {
        match self {
            Self::Everything => Vec::new(),
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::axes).collect(),
            Self::Not(part) => part.axes(),
            Self::Test { axis, .. } => vec![*axis],
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |f: &mut fmt::Formatter<'_>, parts: &[Self], operator: &str| {
            for (number, part) in parts.iter().enumerate() {
                if number > 0 {
                    write!(f, " {operator} ")?;
                }
                match part {
                    Self::All(_) | Self::Any(_) => write!(f, "({part})")?,
                    Self::Everything | Self::Not(_) | Self::Test { .. } => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Self::Everything => f.write_str(parse::EVERYTHING),
            Self::All(parts) => join(f, parts, "&"),
            Self::Any(parts) => join(f, parts, "|"),
            Self::Not(part) => match part.as_ref() {
                Self::All(_) | Self::Any(_) => write!(f, "!({part})"),
                Self::Everything | Self::Not(_) | Self::Test { .. } => write!(f, "!{part}"),
            },
            Self::Test { axis, test } => {
                let (operator, value) = match test {
                    Test::Is(value) => ("=", value.clone()),
                    Test::IsNot(value) => ("!=", value.clone()),
                    Test::Matches(regex) => ("~", regex.as_str().to_owned()),
                    Test::Compares(relation, than) => (
                        relation.symbol(),
                        axis.unit().map_or_else(|| than.to_string(), |unit| unit.show(*than)),
                    ),
                };
                write!(f, "{axis}{operator}{}", parse::quoted_if_needed(&value))
            }
        }
    }
}

#[cfg(test)]
mod tests;
