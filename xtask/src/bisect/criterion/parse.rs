//! Text to criterion: a recursive descent. Pure.

use super::{Criterion, Expr, KINDS, Text, VmcoreWord};
use harness::outcome::OutcomeKind;
use regex::Regex;
use std::str::FromStr;

impl FromStr for Criterion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parser = Parser { rest: text, depth: 0 };
        let expr = parser.any()?;
        parser.blanks();
        match parser.rest {
            "" => Ok(Self { text: text.trim().to_owned(), expr }),
            rest => Err(format!("expected & or | in front of {rest:?}")),
        }
    }
}

/// Deepest nesting of parentheses and negations: the descent must not exhaust the stack.
const MAX_DEPTH: usize = 32;

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn takes(&mut self, sign: &str) -> bool {
        self.blanks();
        self.rest.strip_prefix(sign).inspect(|rest| self.rest = rest).is_some()
    }

    fn any(&mut self) -> Result<Expr, String> {
        let mut parts = vec![self.all()?];
        while self.takes("|") || self.takes(",") {
            parts.push(self.all()?);
        }
        Ok(Expr::Any(parts))
    }

    fn all(&mut self) -> Result<Expr, String> {
        let mut parts = vec![self.one()?];
        while self.takes("&") {
            parts.push(self.one()?);
        }
        Ok(Expr::All(parts))
    }

    fn one(&mut self) -> Result<Expr, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} parentheses and negations in each other"));
        }
        let expr = if self.takes("!") {
            Expr::Not(Box::new(self.one()?))
        } else if self.takes("(") {
            let inner = self.any()?;
            if !self.takes(")") {
                return Err("a parenthesis is not closed".to_owned());
            }
            inner
        } else {
            self.atom()?
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn atom(&mut self) -> Result<Expr, String> {
        self.blanks();
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "pass" => return Ok(Expr::Pass(true)),
            "fail" => return Ok(Expr::Pass(false)),
            "console" | "words" => {
                let text = if word == "console" { Text::Console } else { Text::Words };
                if !self.takes("~") {
                    return Err(format!("expected {word}~\"REGEX\""));
                }
                return self.regex().map(|regex| Expr::Matches(text, regex));
            }
            "vmcore" => {
                let found = [
                    ("verified", VmcoreWord::Verified),
                    ("wrong", VmcoreWord::Wrong),
                    ("absent", VmcoreWord::Absent),
                ];
                let equals = self.takes("=");
                let found = found.iter().find(|(name, _)| equals && self.takes(name));
                return found
                    .map(|(_, word)| Expr::Vmcore(*word))
                    .ok_or_else(|| "expected vmcore=verified, vmcore=wrong or vmcore=absent".to_owned());
            }
            _ => {}
        }
        KINDS.into_iter().find(|kind| kind.name() == word).map(Expr::Kind).ok_or_else(|| {
            let found = if word.is_empty() { self.rest } else { word };
            format!(
                "{found:?} is no outcome; expected {}, pass, fail, vmcore=…, words~\"REGEX\" or console~\"REGEX\"",
                KINDS.map(OutcomeKind::name).join(", ")
            )
        })
    }

    /// A regular expression in double quotes, in which `\"` is a quote, or a bare word.
    fn regex(&mut self) -> Result<Regex, String> {
        self.blanks();
        let source = if let Some(inside) = self.rest.strip_prefix('"') {
            let mut source = String::new();
            let mut characters = inside.char_indices();
            loop {
                match characters.next() {
                    None => return Err("a quote is not closed".to_owned()),
                    Some((at, '"')) => {
                        self.rest = &inside[at + 1..];
                        break source;
                    }
                    Some((_, '\\')) => match characters.next() {
                        Some((_, '"')) => source.push('"'),
                        Some((_, other)) => source.extend(['\\', other]),
                        None => return Err("a quote is not closed".to_owned()),
                    },
                    Some((_, other)) => source.push(other),
                }
            }
        } else {
            let end =
                self.rest.find(|c: char| c.is_whitespace() || "&|,()".contains(c)).unwrap_or(self.rest.len());
            let (bare, rest) = self.rest.split_at(end);
            self.rest = rest;
            bare.to_owned()
        };
        if source.is_empty() {
            return Err("an empty regular expression matches everything".to_owned());
        }
        Regex::new(&source).map_err(|error| error.to_string())
    }
}
