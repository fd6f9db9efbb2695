//! JSON with one meaning: no duplicate field names, every string valid Unicode, bounded depth.
//!
//! Values are kept as text and never become numbers or maps, so what is stored is what was sent,
//! 30-digit integers included.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The most levels of objects and lists: many programs that read a config later recurse.
pub const MAX_DEPTH: usize = 128;

/// One step of a place in a JSON text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Step {
    /// A field's name.
    Name(String),
    /// A position in a list.
    Index(usize),
}

impl From<&str> for Step {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Index(index) => write!(f, "{index}"),
        }
    }
}

/// Why a text is not JSON with one meaning.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Not JSON: the message, and the position in bytes.
    Syntax(String, usize),
    /// An object has a field twice: the field's place, outermost first.
    Duplicate(Vec<Step>),
    /// More than [`MAX_DEPTH`] levels.
    TooDeep,
}

/// Checks a whole text. Returns the value in it, without the white space around. Errors: the first
/// fault.
pub fn parse(text: &str) -> Result<&RawValue, Fault> {
    let value = syntax(text)?;
    check(text)?;
    Ok(value)
}

/// Reads a text that is well-formed JSON, which may still have more than one meaning: see
/// [`check`].
pub fn syntax(text: &str) -> Result<&RawValue, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::Syntax(message(&error), offset(text, &error)))
}

/// An object's fields: names and values.
pub type Fields<'a> = Vec<(String, &'a RawValue)>;

/// An object's fields in order. Returns `None` if the value is not an object.
pub fn fields(value: &RawValue) -> Option<Fields<'_>> {
    serde_json::from_str::<InOrder>(value.get())
        .ok()
        .map(|fields| fields.0)
}

/// A list's elements in order. Returns `None` if the value is not a list.
pub fn elements(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

/// A string's text. Returns `None` if the value is not a string.
pub fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// An object or a list that isn't closed yet.
enum Open {
    /// The names so far, and the name whose value comes next.
    Object {
        names: HashSet<String>,
        name: Option<String>,
    },
    /// The position of the element that comes next.
    List { index: usize },
}

impl Open {
    fn step(&self) -> Option<Step> {
        match self {
            Self::Object { name, .. } => name.clone().map(Step::Name),
            Self::List { index } => Some(Step::Index(*index)),
        }
    }
}

/// Checks a well-formed text in one pass. A parser of `RawValue`s that calls itself for each level
/// would read the innermost one as often as it is deep.
pub fn check(text: &str) -> Result<(), Fault> {
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at) {
        let mut len = 1;
        match byte {
            b'{' | b'[' if open.len() == MAX_DEPTH => return Err(Fault::TooDeep),
            b'{' => open.push(Open::Object {
                names: HashSet::new(),
                name: None,
            }),
            b'[' => open.push(Open::List { index: 0 }),
            b'}' | b']' => drop(open.pop()),
            b',' => match open.last_mut() {
                Some(Open::Object { name, .. }) => *name = None,
                Some(Open::List { index }) => *index += 1,
                None => {}
            },
            b'"' => {
                let literal = string_literal(text.get(at..).unwrap_or_default());
                len = literal.len();
                // serde_json's scanner takes a lone surrogate for well-formed, but it isn't valid
                // Unicode.
                let string: String = serde_json::from_str(literal).map_err(|error| {
                    Fault::Syntax(message(&error), at + offset(literal, &error))
                })?;
                if let Some(Open::Object {
                    names,
                    name: name @ None,
                }) = open.last_mut()
                {
                    *name = Some(string.clone());
                    if !names.insert(string) {
                        return Err(Fault::Duplicate(
                            open.iter().filter_map(Open::step).collect(),
                        ));
                    }
                }
            }
            _ => {}
        }
        at += len;
    }
    Ok(())
}

/// The string at the beginning of a text, with its quotes.
fn string_literal(text: &str) -> &str {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        end
    });
    end.and_then(|end| text.get(..end + 2)).unwrap_or(text)
}

/// All fields of an object in order, duplicates included.
struct InOrder<'a>(Fields<'a>);

impl<'de> Deserialize<'de> for InOrder<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = InOrder<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(InOrder(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// serde_json's message without its position, which counts lines.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ")
        .map_or(text.clone(), |(message, _)| message.to_owned())
}

/// The byte at which serde_json stopped.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let lines_before = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum::<usize>();
    (lines_before + error.column().saturating_sub(1)).min(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_found_at_any_depth_and_spelling() {
        for (text, place) in [
            (r#"{"a":1,"a":1}"#, r#"["a"]"#),
            (r#"{"a":1,"\u0061":2}"#, r#"["a"]"#),
            (
                r#"{"x":[0,{"b":{"c":1,"d":2,"c":3}}]}"#,
                r#"["x",1,"b","c"]"#,
            ),
            (
                r#"[{"a":"a","b":["a",{}, "}"]},[],{"\\":1,"\"":{"a":1},"\\":3}]"#,
                r#"[2,"\\"]"#,
            ),
        ] {
            let Err(Fault::Duplicate(found)) = parse(text) else {
                panic!("{text}")
            };
            assert_eq!(serde_json::to_string(&found).unwrap(), place);
        }
        assert!(parse(r#"{"a":{"a":[{"a":1},{"a":1}]},"A":1}"#).is_ok());
        assert!(parse(r#"{"a":"b","b":"a","c":["a","a"],"\"":",\"a\":","\\\"":"\\"}"#).is_ok());
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert!(matches!(parse(&nested(MAX_DEPTH + 1)), Err(Fault::TooDeep)));
        assert!(matches!(parse(&nested(30_000)), Err(Fault::TooDeep)));
    }

    #[test]
    fn syntax_errors_say_where() {
        for (text, at) in [
            ("{\"config\": {", 12),
            ("{\n \"a\": x}", 8),
            (r#"{"a": "\ud800"}"#, 13),
            ("", 0),
            ("{} {}", 3),
        ] {
            let Err(Fault::Syntax(message, offset)) = parse(text) else {
                panic!("{text}")
            };
            assert!(offset.abs_diff(at) <= 1, "{text}: {message} at {offset}");
        }
    }

    #[test]
    fn what_python_takes_and_json_does_not() {
        for text in [
            "NaN",
            "[Infinity]",
            "{'a':1}",
            "[1,]",
            "01",
            "\u{feff}{}",
            "\"\u{1}\"",
            r#"{"\udc00":1}"#,
        ] {
            assert!(matches!(parse(text), Err(Fault::Syntax(..))), "{text}");
        }
        for text in [
            "1e400",
            "123456789012345678901234567890",
            "-0.0",
            r#""\ud83d\ude00""#,
            " [ ] ",
        ] {
            assert_eq!(parse(text).unwrap().get(), text.trim(), "{text}");
        }
    }
}
