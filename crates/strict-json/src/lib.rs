//! JSON of foreign files and replies, in which an object must not have a key twice. serde_json's
//! own `Value` silently keeps the last one, and which was meant cannot be known. It takes one pass,
//! like serde_json.

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::error::Category;
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::fmt;

/// The part of a key that an error shows.
const MAX_SHOWN_CHARS: usize = 80;

/// A value, read so that a repeated key is an error.
///
/// ```
/// use strict_json::{StrictValue, problem};
///
/// let read = |text| serde_json::from_str::<StrictValue>(text);
/// assert_eq!(read(r#"[{"a": 1}, {"a": 2}]"#).unwrap().0[1]["a"], 2);
/// let twice = read(r#"{"a": {"b": 1, "b": 2}}"#).unwrap_err();
/// assert_eq!(problem(&twice), "has the key \"b\" twice at line 1 column 18; remove one of them");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct StrictValue(pub Value);

/// Reads a [`StrictValue`] of at most so many values: every list, object, text and number in it
/// counts as one. In memory a value may take seventy times its text. `None`: there are more; the
/// text is read to its end, but what is beyond the limit is not held.
///
/// ```
/// use serde::de::DeserializeSeed;
/// use strict_json::AtMost;
///
/// let read = |text| AtMost(3).deserialize(&mut serde_json::Deserializer::from_str(text)).unwrap();
/// assert_eq!(read("[1, 2]").unwrap()[1], 2);
/// assert_eq!(read(r#"{"a": [1, 2]}"#), None);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AtMost(pub usize);

impl AtMost {
    /// The value of a whole text.
    ///
    /// # Errors
    /// As of a [`StrictValue`].
    pub fn of_text(self, text: &str) -> serde_json::Result<Option<Value>> {
        let mut json = serde_json::Deserializer::from_str(text);
        let value = self.deserialize(&mut json)?;
        json.end().map(|()| value)
    }
}

/// What is wrong with a text that is no [`StrictValue`], and where. Where it is more than a slip in
/// the syntax, what to do, too.
///
/// ```
/// use strict_json::{StrictValue, problem, problem_in_line};
///
/// let half = serde_json::from_str::<StrictValue>(r#"["\ud800 "]"#).unwrap_err();
/// assert!(problem(&half).starts_with("has an unpaired surrogate at line 1 column 9 ("));
/// let slip = serde_json::from_str::<StrictValue>("[nope]").unwrap_err();
/// assert_eq!(problem_in_line(&slip), "is not JSON: expected ident at column 3");
/// ```
pub fn problem(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    described(error, &format!(" at line {line} column {column}"))
}

/// The same for a text that is one line of a file: its place is the column alone.
pub fn problem_in_line(error: &serde_json::Error) -> String {
    described(error, &format!(" at column {}", error.column()))
}

fn described(error: &serde_json::Error, place: &str) -> String {
    let what = without_place(error);
    match Fault::of(error, &what) {
        Fault::RepeatedKey => format!("{what}{place}; remove one of them"),
        Fault::HalfCharacter => format!(
            "has an unpaired surrogate{place} (an escape from \\ud800 to \\udfff is half a character); \
             write the whole character, or remove the half"
        ),
        Fault::NotUtf8 => format!("is not UTF-8 text{place}; convert the file to UTF-8"),
        Fault::TooLarge => format!("has a number out of range{place}"),
        Fault::TooDeep => format!("has more than 127 lists and objects in each other{place}"),
        Fault::Syntax => format!("is not JSON: {what}{place}"),
    }
}

/// Whether [`problem`] says what to do.
pub fn has_remedy(error: &serde_json::Error) -> bool {
    Fault::of(error, &without_place(error)) != Fault::Syntax
}

/// serde_json's message without ` at line 1 column 2`.
fn without_place(error: &serde_json::Error) -> String {
    let (text, line, column) = (error.to_string(), error.line(), error.column());
    let place = format!(" at line {line} column {column}");
    text.strip_suffix(&place).unwrap_or(&text).to_string()
}

#[derive(PartialEq)]
enum Fault {
    RepeatedKey,
    HalfCharacter,
    NotUtf8,
    TooLarge,
    TooDeep,
    Syntax,
}

impl Fault {
    /// `what`: serde_json's message, which alone tells these apart.
    fn of(error: &serde_json::Error, what: &str) -> Self {
        match what {
            _ if repeats_a_key(error) => Self::RepeatedKey,
            "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
                Self::HalfCharacter
            }
            "invalid unicode code point" => Self::NotUtf8,
            "number out of range" => Self::TooLarge,
            "recursion limit exceeded" => Self::TooDeep,
            _ => Self::Syntax,
        }
    }
}

/// Whether the text is JSON and has a key twice.
pub fn repeats_a_key(error: &serde_json::Error) -> bool {
    // a value accepts all other data
    error.classify() == Category::Data
}

impl<'de> Deserialize<'de> for StrictValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Counted(&Cell::new(usize::MAX)).deserialize(from).map(Self)
    }
}

impl<'de> DeserializeSeed<'de> for AtMost {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<Value>, D::Error> {
        let left = Cell::new(self.0.saturating_add(1));
        let value = Counted(&left).deserialize(from)?;
        Ok((left.get() > 0).then_some(value))
    }
}

/// Reads a value and counts down; at 0 nothing is held any more.
#[derive(Clone, Copy)]
struct Counted<'a>(&'a Cell<usize>);

impl Counted<'_> {
    fn is_full(self) -> bool {
        self.0.get() == 0
    }
}

impl<'de> DeserializeSeed<'de> for Counted<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.0.set(self.0.get().saturating_sub(1));
        match self.is_full() {
            true => IgnoredAny::deserialize(from).map(|_| Value::Null),
            false => from.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Counted<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            if self.is_full() {
                list = Vec::new();
            } else {
                list.push(item);
            }
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if self.is_full() {
                map = Map::new();
                fields.next_value::<IgnoredAny>()?;
                continue;
            }
            match map.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(fields.next_value_seed(self)?);
                }
                Entry::Occupied(place) => {
                    let shown: String = place.key().chars().take(MAX_SHOWN_CHARS).collect();
                    return Err(A::Error::custom(format!("has the key {shown:?} twice")));
                }
            }
        }
        Ok(Value::Object(map))
    }
}
