//! How serde reads and writes settings: as the text of the command line. What is read may be a whole number, too, and where
//! there can be several, a list.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::{self, Display};
use core::str::FromStr;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

/// What says that there is none, where there could be one.
const NONE: &str = "none";

/// One setting, or none if it is left out.
pub mod one {
    use super::{Deserializer, Display, FromStr, parse, texts};
    use serde::Serializer;

    /// Writes it as text.
    ///
    /// # Errors
    ///
    /// Those of the format.
    pub fn serialize<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    /// Reads it from text or a whole number.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
        texts(from, false)?.first().map(|text| parse(text)).transpose()
    }
}

/// One setting, or none if it is left out, or the word `none`.
pub mod one_or_none {
    pub use super::one::serialize;
    use super::{Deserializer, Display, FromStr, NONE, parse, texts};

    /// Reads it from text or a whole number.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
        texts(from, false)?.first().filter(|text| *text != NONE).map(|text| parse(text)).transpose()
    }
}

/// Any number of settings, as a list, or one by itself.
pub mod several {
    use super::{Deserializer, Display, FromStr, Vec, parse, texts};
    use serde::Serializer;

    /// Writes a list of texts.
    ///
    /// # Errors
    ///
    /// Those of the format.
    pub fn serialize<T: Display, S: Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(super::ToString::to_string))
    }

    /// Reads them from texts or whole numbers.
    ///
    /// # Errors
    ///
    /// What is wrong with one of the texts.
    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
        texts(from, true)?.iter().map(|text| parse(text)).collect()
    }
}

/// Any number of settings, as a list, or one by itself, or the word `none`.
pub mod several_or_none {
    pub use super::several::serialize;
    use super::{Deserializer, Display, FromStr, NONE, Vec, parse, texts};

    /// Reads them from texts or whole numbers.
    ///
    /// # Errors
    ///
    /// What is wrong with one of the texts.
    pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
        let texts = texts(from, true)?;
        if texts == [NONE] { Ok(Vec::new()) } else { texts.iter().map(|text| parse(text)).collect() }
    }
}

fn parse<T: FromStr<Err: Display>, E: de::Error>(text: &str) -> Result<T, E> {
    text.parse().map_err(E::custom)
}

fn texts<'de, D: Deserializer<'de>>(from: D, takes_list: bool) -> Result<Vec<String>, D::Error> {
    from.deserialize_any(Texts { takes_list })
}

/// Takes a string or a whole number, or a list of these.
struct Texts {
    takes_list: bool,
}

impl<'de> Visitor<'de> for Texts {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.takes_list {
            "a string, a whole number, or a list of these"
        } else {
            "a string or a whole number"
        })
    }

    fn visit_str<E>(self, text: &str) -> Result<Vec<String>, E> {
        Ok(vec![text.to_string()])
    }

    fn visit_i64<E>(self, number: i64) -> Result<Vec<String>, E> {
        Ok(vec![number.to_string()])
    }

    fn visit_u64<E>(self, number: u64) -> Result<Vec<String>, E> {
        Ok(vec![number.to_string()])
    }

    /// Left out.
    fn visit_unit<E>(self) -> Result<Vec<String>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        if !self.takes_list {
            return Err(de::Error::invalid_type(de::Unexpected::Seq, &self));
        }
        let mut texts = Vec::new();
        while let Some(Text(text)) = list.next_element()? {
            texts.push(text);
        }
        if texts.is_empty() { Err(de::Error::invalid_length(0, &"one or more")) } else { Ok(texts) }
    }
}

/// An element of a list.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let [text] = texts(from, false)?.try_into().map_err(|_| de::Error::custom("an element is missing"))?;
        Ok(Self(text))
    }
}
