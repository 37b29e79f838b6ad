//! What a scenario's texts and lists are: each literal parsed where it stands, so that its error is told with its place.

use crate::cell::Reservation;
use guest_protocol::{Arch, Circumstances};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

/// A text. Nothing else is taken for one: `5.10` is a number, and would lose its last digit on the way.
#[derive(Clone)]
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text (in quotes where YAML would read a number, a boolean or nothing)")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                if text.trim().is_empty() {
                    return Err(E::custom("this text is empty"));
                }
                Ok(Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

/// A name that becomes a part of cell ids.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(pub(super) String);

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_fit = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        let name = || Self(text.to_owned());
        is_fit.then(name).ok_or_else(|| {
            format!("{text:?} is no name: letters, digits, - and _ only, since it names folders")
        })
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Literal::deserialize(deserializer).map(|Literal(name)| name)
    }
}

/// A text that stands for a value.
#[derive(Clone)]
pub(super) struct Literal<T>(pub(super) T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Literal<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LiteralVisitor<T>(PhantomData<T>);
        impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for LiteralVisitor<T> {
            type Value = Literal<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text (a size needs its unit, such as 4G)")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Literal<T>, E> {
                text.parse().map(Literal).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(LiteralVisitor(PhantomData))
    }
}

/// A list with at least one item: an empty axis would make a block without any cell.
#[derive(Clone)]
pub(super) struct Filled<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Filled<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A visitor of its own, so that the error is raised inside the list and told with the list's place.
        struct ListVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
            type Value = Filled<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Filled<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                if items.is_empty() { Err(A::Error::custom("this list is empty")) } else { Ok(Filled(items)) }
            }
        }
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

/// The regions of a block: a list, or lists under names. A name is that of the limit which its regions try.
#[derive(Clone)]
pub(super) enum Regions {
    Plain(Filled<Literal<Region>>),
    ByLimit(Vec<(Name, Filled<Literal<Region>>)>),
}

impl<'de> Deserialize<'de> for Regions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RegionsVisitor;
        impl<'de> Visitor<'de> for RegionsVisitor {
            type Value = Regions;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list, or lists under the names of limits")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Regions, A::Error> {
                Filled::deserialize(SeqAccessDeserializer::new(seq)).map(Regions::Plain)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Regions, A::Error> {
                let mut lists = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    lists.push(entry);
                }
                if lists.is_empty() {
                    return Err(A::Error::custom("there is no region here"));
                }
                Ok(Regions::ByLimit(lists))
            }
        }
        deserializer.deserialize_any(RegionsVisitor)
    }
}

/// A reservation and the platform that holds it, written `256M@1968M on pc-4g`; or without one, where the block says on which.
#[derive(Clone)]
pub(super) struct Region {
    pub(super) reservation: Reservation,
    pub(super) platform: Option<String>,
}

impl FromStr for Region {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |reservation: &str| {
            reservation.parse().map_err(|error: crate::cell::LiteralError| error.to_string())
        };
        match text.split_whitespace().collect::<Vec<_>>().as_slice() {
            [reservation, "on", platform] => {
                Ok(Self { reservation: parse(reservation)?, platform: Some((*platform).to_owned()) })
            }
            // Anything else of one word is most likely a platform that was forgotten.
            [reservation] if parse(reservation).is_ok() => {
                Ok(Self { reservation: parse(reservation)?, platform: None })
            }
            _ => Err(format!(
                "{text:?} is no region: a reservation on a platform, such as \"256M@1968M on pc-4g\""
            )),
        }
    }
}

/// An architecture by its name.
#[derive(Clone, Copy)]
pub(super) struct ArchName(pub(super) Arch);

impl FromStr for ArchName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Arch::I386, Arch::X86_64]
            .into_iter()
            .find(|arch| arch.name() == text)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no architecture: i386 or x86_64"))
    }
}

/// Circumstances of a load by their name.
#[derive(Clone, Copy)]
pub(super) struct CircumstancesName(pub(super) Circumstances);

impl FromStr for CircumstancesName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Circumstances::by_name(text).map(Self).ok_or_else(|| {
            let known = Circumstances::ALL.map(Circumstances::name).join(", ");
            format!("{text:?} are no circumstances of a load: {known}")
        })
    }
}
