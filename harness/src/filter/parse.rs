//! Text to filter: a recursive descent over characters. An error knows its place and shows it with a caret.

use super::number::Relation;
use super::{Axis, Expr, Test};
use regex::Regex;
use std::fmt;

/// Deepest nesting of parentheses and negations. No rule needs more, and the descent must not exhaust the stack.
const MAX_DEPTH: usize = 64;

/// The word that selects every cell.
pub(super) const EVERYTHING: &str = "all";

/// Characters that end a word.
const OPERATORS: &str = "&|!()=~\"";

/// Characters that end an axis's name beside [`OPERATORS`]. Values may have them: `x86_64->i386` is one.
const COMPARISONS: &str = "<>";

/// What is wrong with an expression, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    text: String,
    /// Byte range of the place in `text`; empty for its end.
    place: std::ops::Range<usize>,
    what: String,
}

impl FilterError {
    /// What is wrong, without the place.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Column of the place in the expression, in characters from 1.
    pub fn column(&self) -> usize {
        self.text[..self.place.start].chars().count() + 1
    }
}

impl fmt::Display for FilterError {
    /// What is wrong, then the expression, then carets under the place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.text[self.place.clone()].chars().count().max(1);
        // A line break or a tab in the expression would move the carets away from their place.
        let shown = self.text.replace(char::is_whitespace, " ");
        write!(
            f,
            "{}\n  {shown}\n  {:>indent$}",
            self.what,
            "^".repeat(width),
            indent = self.column() - 1 + width
        )
    }
}

impl std::error::Error for FilterError {}

pub(super) fn parse(text: &str) -> Result<Expr, FilterError> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let expr = parser.any()?;
    match parser.peek() {
        None => Ok(expr),
        Some(')') => Err(parser.error_here("this parenthesis was never opened".to_owned())),
        Some(_) => Err(parser.error_here("expected & or | between two tests".to_owned())),
    }
}

/// The value as it has to be written.
pub(super) fn quoted_if_needed(value: &str) -> String {
    let bare = !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || OPERATORS.contains(c));
    if bare { value.to_owned() } else { format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Expr, FilterError> {
        self.list('|', Self::all, Expr::Any)
    }

    fn all(&mut self) -> Result<Expr, FilterError> {
        self.list('&', Self::not, Expr::All)
    }

    fn list(
        &mut self,
        operator: char,
        part: fn(&mut Self) -> Result<Expr, FilterError>,
        join: fn(Vec<Expr>) -> Expr,
    ) -> Result<Expr, FilterError> {
        let first = part(self)?;
        let mut parts = vec![first];
        while self.take(operator) {
            parts.push(part(self)?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { join(parts) })
    }

    fn not(&mut self) -> Result<Expr, FilterError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error_here(format!("more than {MAX_DEPTH} levels of nesting")));
        }
        let expr = if self.take('!') {
            Expr::Not(Box::new(self.not()?))
        } else if self.peek() == Some('(') {
            let opened = self.at;
            self.take('(');
            let inner = self.any()?;
            if !self.take(')') {
                return Err(match self.peek() {
                    None => self.error(opened..opened + 1, "this parenthesis is never closed".to_owned()),
                    Some(_) => self.error_here("expected & or | between two tests, or )".to_owned()),
                });
            }
            inner
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn test(&mut self) -> Result<Expr, FilterError> {
        let Some(name) = self.word(COMPARISONS) else {
            return Err(self.error_here(format!("expected an axis; known: {}", axes())));
        };
        let named = &self.text[name.clone()];
        if named == EVERYTHING {
            return Ok(Expr::Everything);
        }
        let Some(axis) = Axis::by_name(named) else {
            return Err(self.error(name.clone(), format!("unknown axis `{named}`; known: {}", axes())));
        };
        if let Some(relation) = self.relation(axis)? {
            let (place, value) = self.value(axis)?;
            let than = axis.unit().and_then(|unit| unit.parse(&value));
            return match than {
                Some(than) => Ok(Expr::Test { axis, test: Test::Compares(relation, than) }),
                None => Err(self.error(place, never(axis, &value))),
            };
        }
        let negated = self.take('!');
        let matches = !negated && self.take('~');
        if !matches && !self.take('=') {
            let known = if axis.unit().is_some() { "=, !=, ~, <, <=, > or >=" } else { "=, != or ~" };
            return Err(self.error_here(format!("expected {known} after `{axis}`")));
        }
        let (place, value) = self.value(axis)?;
        let test = if matches {
            Test::Matches(Regex::new(&value).map_err(|error| {
                // The crate's own text has several lines and carets of its own; its last line is the reason.
                let reason = error.to_string();
                let reason =
                    reason.lines().next_back().unwrap_or("").trim_start_matches("error: ").to_owned();
                self.error(place, format!("not a regular expression: {reason}"))
            })?)
        } else {
            let Some(value) = axis.canonical(&value) else {
                return Err(self.error(place, never(axis, &value)));
            };
            if negated { Test::IsNot(value) } else { Test::Is(value) }
        };
        Ok(Expr::Test { axis, test })
    }

    /// Passes over a comparison if one comes next. The axis has to be one that has an order.
    fn relation(&mut self, axis: Axis) -> Result<Option<Relation>, FilterError> {
        let Some(symbol) = self.peek().filter(|c| COMPARISONS.contains(*c)) else {
            return Ok(None);
        };
        if axis.unit().is_none() {
            let ordered: Vec<&str> =
                Axis::ALL.into_iter().filter(|axis| axis.unit().is_some()).map(Axis::name).collect();
            return Err(self.error_here(format!(
                "`{axis}` has no order: use =, != or ~ (what can be compared is {})",
                ordered.join(", ")
            )));
        }
        self.take(symbol);
        let or_equal = self.take('=');
        Ok(Some(match (symbol, or_equal) {
            ('<', false) => Relation::Below,
            ('<', true) => Relation::AtMost,
            (_, false) => Relation::Above,
            (_, true) => Relation::AtLeast,
        }))
    }

    fn value(&mut self, axis: Axis) -> Result<(std::ops::Range<usize>, String), FilterError> {
        if self.peek() == Some('"') {
            return self.quoted();
        }
        match self.word("") {
            Some(place) => Ok((place.clone(), self.text[place].to_owned())),
            None => Err(self.error_here(format!("expected a value for `{axis}`: {}", axis.describe()))),
        }
    }

    fn quoted(&mut self) -> Result<(std::ops::Range<usize>, String), FilterError> {
        let start = self.at;
        let mut value = String::new();
        let mut escaped = false;
        for (offset, c) in self.text[start + 1..].char_indices() {
            match c {
                // Only these two are escapes, so that regular expressions keep their backslashes.
                '"' | '\\' if escaped => {
                    value.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    self.at = start + 1 + offset + 1;
                    return Ok((start..self.at, value));
                }
                _ => {
                    if std::mem::take(&mut escaped) {
                        value.push('\\');
                    }
                    value.push(c);
                }
            }
        }
        Err(self.error(start..start + 1, "this quote is never closed".to_owned()))
    }

    /// The next word, as its byte range. It ends at an operator, or at one of `further` characters.
    fn word(&mut self, further: &str) -> Option<std::ops::Range<usize>> {
        self.peek()?;
        let rest = &self.text[self.at..];
        let ends = |c: char| c.is_whitespace() || OPERATORS.contains(c) || further.contains(c);
        let length = rest.find(ends).unwrap_or(rest.len());
        let start = self.at;
        self.at += length;
        (length > 0).then_some(start..self.at)
    }

    /// The next character that is no blank; blanks before it are passed over.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    /// Passes over the operator if it comes next.
    fn take(&mut self, operator: char) -> bool {
        let is_next = self.peek() == Some(operator);
        if is_next {
            self.at += operator.len_utf8();
        }
        is_next
    }

    fn error_here(&mut self, what: String) -> FilterError {
        let width = self.peek().map_or(0, char::len_utf8);
        self.error(self.at..self.at + width, what)
    }

    fn error(&self, place: std::ops::Range<usize>, what: String) -> FilterError {
        FilterError { text: self.text.to_owned(), place, what }
    }
}

/// Says that no cell has this value.
fn never(axis: Axis, value: &str) -> String {
    match axis.unit() {
        Some(unit) => format!("`{axis}` is never {value:?}: it is {}", unit.describe()),
        None => format!("`{axis}` is never {value:?}: it is {}", axis.describe()),
    }
}

fn axes() -> String {
    Axis::ALL.map(Axis::name).join(", ")
}
