//! Line and column of any node of a YAML document.
//!
//! serde_yaml tells places in errors only. So a node's place is found by reading the document once more with a reader that
//! follows a path and fails on purpose at its end: the place is then the YAML reader's own, and can never disagree with it.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Line and column, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// The way from the document's root to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodePath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// The value of a key.
    Key(String),
    /// A key itself.
    KeyItself(String),
    /// An item of a list.
    Item(usize),
}

impl NodePath {
    /// The value of `key` in the mapping here.
    pub(super) fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// The key itself, in the mapping here.
    pub(super) fn key_itself(&self, key: &str) -> Self {
        self.with(Step::KeyItself(key.to_owned()))
    }

    /// The item of that number, from 0, in the list here.
    pub(super) fn item(&self, number: usize) -> Self {
        self.with(Step::Item(number))
    }

    fn with(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }
}

/// The place of a node; none where the document has no such node.
pub(super) fn locate(text: &str, path: &NodePath) -> Option<Place> {
    match (Probe { rest: &path.0 }).deserialize(serde_yaml::Deserializer::from_str(text)) {
        Ok(()) => None,
        Err(error) => place_of(&error),
    }
}

/// The place that an error of the YAML reader tells.
pub(super) fn place_of(error: &serde_yaml::Error) -> Option<Place> {
    error.location().map(|location| Place { line: location.line(), column: location.column() })
}

/// Fails on purpose where the path ends.
#[derive(Clone, Copy)]
struct Probe<'p> {
    rest: &'p [Step],
}

impl Probe<'_> {
    fn here<E: Error>(self) -> Result<(), E> {
        if self.rest.is_empty() { Err(E::custom("the place that was looked for")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Probe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Probe<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.here()?;
        let (wanted, rest) = match self.rest {
            [Step::Key(key), rest @ ..] => (Some(key), rest),
            [Step::KeyItself(key), ..] => {
                while map.next_key_seed(KeyProbe { wanted: key })?.is_some() {
                    map.next_value::<IgnoredAny>()?;
                }
                return Ok(());
            }
            [Step::Item(_), ..] | [] => (None, self.rest),
        };
        while let Some(key) = map.next_key::<serde_yaml::Value>()? {
            if key.as_str().is_some_and(|key| Some(key) == wanted.map(String::as_str)) {
                map.next_value_seed(Probe { rest })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.here()?;
        let mut number = 0;
        loop {
            let step = match self.rest {
                [Step::Item(wanted), rest @ ..] if *wanted == number => {
                    seq.next_element_seed(Probe { rest })?.is_some()
                }
                _ => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !step {
                return Ok(());
            }
            number += 1;
        }
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.here()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.here()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.here()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.here()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.here()
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.here()
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.here()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Fails on purpose at a key.
struct KeyProbe<'p> {
    wanted: &'p str,
}

impl<'de> DeserializeSeed<'de> for KeyProbe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyProbe<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<(), E> {
        if key == self.wanted { Err(E::custom("the key that was looked for")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_node_is_found() {
        // A wrong place sends people to the wrong line, which is worse than none.
        let text = "\
a: 1
list:
  - x: [p, 'q']
    # a comment, and a blank line

  - {y: yes, z: 2.5}
deep: {one: {two: [~, true]}}
";
        let root = NodePath::default();
        let list = root.key("list");
        let cases = [
            (root.key("a"), (1, 4)),
            (root.key_itself("deep"), (7, 1)),
            (list.clone(), (3, 3)),
            (list.item(0), (3, 5)),
            (list.item(0).key("x"), (3, 8)),
            (list.item(0).key("x").item(1), (3, 12)),
            (list.item(1), (6, 5)),
            (list.item(1).key_itself("z"), (6, 14)),
            (list.item(1).key("z"), (6, 17)),
            (root.key("deep").key("one").key("two").item(1), (7, 23)),
        ];
        for (path, (line, column)) in cases {
            assert_eq!(locate(text, &path), Some(Place { line, column }), "{path:?}");
        }
        assert_eq!(locate(text, &root.key("b")), None);
        assert_eq!(locate(text, &list.item(2)), None);
    }
}
