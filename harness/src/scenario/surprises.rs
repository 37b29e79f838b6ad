//! What YAML readers do not agree on: keys that come twice, and plain words that the one takes for text and the other for a
//! boolean, a number or a date (YAML 1.1's `no`, `0777`, `1:30`, `2026-01-31`). A scenario must mean the same to everybody,
//! so both are refused.

use super::position::{NodePath, Place, locate, place_of};
use super::problem::{At, Finding};
use regex::Regex;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeSet;
use std::fmt;

/// Looks through a whole document.
pub(super) fn find(text: &str) -> Result<(), Finding> {
    let tree: Tree = serde_yaml::from_str(text).map_err(|error| super::written::finding(&error))?;
    let mut words = Vec::new();
    tree.surprising_words(&NodePath::default(), &mut words);
    for (path, word, read_as) in words {
        let Some(place) = locate(text, &path) else {
            continue;
        };
        if is_plain(text, place) {
            let what = format!(
                "some YAML readers take {word} for {read_as}: write \"{word}\" in quotes if text is meant"
            );
            return Err(Finding { at: At::Place(place), what });
        }
    }
    Ok(())
}

/// Whether the scalar that begins here is written without quotes, and not as a block.
fn is_plain(text: &str, place: Place) -> bool {
    let line = text.lines().nth(place.line - 1).unwrap_or("");
    !line.chars().nth(place.column - 1).is_some_and(|c| "'\"|>".contains(c))
}

/// What a YAML 1.1 reader takes a plain text for (yaml.org/type: bool, int, float, timestamp).
fn read_as(word: &str) -> Option<&'static str> {
    const BOOLEANS: [&str; 6] = ["y", "yes", "n", "no", "on", "off"];
    // Compiled at each call: few words of a scenario begin like this, and a scenario is read once.
    let is = |pattern: &str| Regex::new(pattern).is_ok_and(|regex| regex.is_match(word));
    if BOOLEANS.contains(&word.to_ascii_lowercase().as_str()) {
        return Some("a boolean");
    }
    if !word.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c)) {
        return None;
    }
    if is(r"^[-+]?0[0-7_]+$") {
        Some("an octal number")
    } else if is(r"^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$") {
        Some("a number to the base of 60")
    } else if is(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?$") {
        Some("a number")
    } else if is(r"^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?$") {
        Some("a date")
    } else {
        None
    }
}

/// A document with all that matters here: its texts, and where they stand.
enum Tree {
    Text(String),
    Other,
    List(Vec<Tree>),
    Mapping(Vec<(String, Tree)>),
}

impl Tree {
    fn surprising_words<'t>(&'t self, at: &NodePath, found: &mut Vec<(NodePath, &'t str, &'static str)>) {
        match self {
            Self::Text(text) => found.extend(read_as(text).map(|kind| (at.clone(), text.as_str(), kind))),
            Self::Other => {}
            Self::List(items) => {
                for (number, item) in items.iter().enumerate() {
                    item.surprising_words(&at.item(number), found);
                }
            }
            Self::Mapping(entries) => {
                for (key, value) in entries {
                    found.extend(read_as(key).map(|kind| (at.key_itself(key), key.as_str(), kind)));
                    value.surprising_words(&at.key(key), found);
                }
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scenario")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut keys = BTreeSet::new();
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(NewKey { keys: &keys })? {
            keys.insert(key.clone());
            entries.push((key, map.next_value()?));
        }
        Ok(Tree::Mapping(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    /// A document without any content.
    fn visit_none<E: Error>(self) -> Result<Tree, E> {
        Err(E::custom("this file is empty; a suite is wanted"))
    }

    fn visit_unit<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Other)
    }
}

/// A key that its mapping does not have yet. Failing here, and not when the mapping ends, tells the second key's place.
struct NewKey<'k> {
    keys: &'k BTreeSet<String>,
}

impl<'de> DeserializeSeed<'de> for NewKey<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NewKey<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key that is text")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        if self.keys.contains(key) {
            return Err(E::custom(format_args!(
                "the key `{key}` stands here for the second time: keep one of the two"
            )));
        }
        Ok(key.to_owned())
    }
}

/// The place of an error of the YAML reader, or the file as a whole.
pub(super) fn at(error: &serde_yaml::Error) -> At {
    place_of(error).map_or(At::File, At::Place)
}
