//! JSON with one meaning: every member name once, every string valid Unicode, nesting bounded; values kept as text.
//!
//! Values are never turned into numbers or maps, so that what is kept is what was sent, 30-digit integers included.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::{Detail, Loc};

/// Levels of objects and lists; deeper text is refused, since every check of a level is a call.
const MAX_DEPTH: usize = 128;

/// Why a text is not JSON with one meaning.
#[derive(Debug)]
pub enum Fault {
    /// Not JSON at all: what, and how many bytes into the text.
    Syntax(String, usize),
    /// An object names a member twice: the member's place, outermost first.
    Duplicate(Vec<Loc>),
    /// Too many levels.
    TooDeep,
}

impl Fault {
    /// The entry of a 422 for a fault in `text`, which stands at `place`; a syntax error's is FastAPI's.
    pub fn detail(self, text: &str, mut place: Vec<Loc>) -> Detail {
        match self {
            Self::Syntax(msg, offset) => {
                let before = text.get(..offset).unwrap_or(text);
                let line = before.rsplit('\n').next().unwrap_or(before);
                let (pos, lineno, colno) =
                    (before.chars().count(), before.matches('\n').count() + 1, line.chars().count() + 1);
                place.push(Loc::Index(pos));
                let ctx = serde_json::json!({ "msg": msg, "doc": text, "pos": pos, "lineno": lineno, "colno": colno });
                let msg = format!("{msg}: line {lineno} column {colno} (char {pos})");
                Detail { ctx: Some(ctx), ..Detail::new(place, msg, "value_error.jsondecode") }
            }
            Self::Duplicate(steps) => {
                place.extend(steps);
                Detail::new(place, "duplicate member name", "value_error.duplicate")
            }
            Self::TooDeep => Detail::new(place, format!("nested deeper than {MAX_DEPTH} levels"), "value_error.depth"),
        }
    }
}

/// Checks a whole text; gives back the value in it without the white space around. Errors: the first fault in it.
pub fn parse(text: &str) -> Result<&RawValue, Fault> {
    let syntax = |error: serde_json::Error| Fault::Syntax(message(&error), offset(text, &error));
    let value: &RawValue = serde_json::from_str(text).map_err(syntax)?;
    check(value, 0).map_err(|fault| match fault {
        // Below the top, positions count from the value that was looked at.
        Fault::Syntax(message, at) => Fault::Syntax(message, at.saturating_sub(text.as_ptr() as usize)),
        Fault::Duplicate(mut place) => {
            place.reverse();
            Fault::Duplicate(place)
        }
        Fault::TooDeep => Fault::TooDeep,
    })?;
    Ok(value)
}

/// An object's members in order, or none if the value is not an object.
pub fn members(value: &RawValue) -> Option<Vec<(String, &RawValue)>> {
    serde_json::from_str::<Members>(value.get()).ok().map(|members| members.0)
}

/// A list's elements in order, or none if the value is not a list.
pub fn elements(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

/// A string's text, or none if the value is not a string.
pub fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// Places come innermost first, positions as addresses: `parse` turns both round.
fn check(value: &RawValue, depth: usize) -> Result<(), Fault> {
    let text = value.get();
    let syntax =
        |error: serde_json::Error| Fault::Syntax(message(&error), text.as_ptr() as usize + offset(text, &error));
    let within = |step: Loc, fault| match fault {
        Fault::Duplicate(mut place) => {
            place.push(step);
            Fault::Duplicate(place)
        }
        other => other,
    };
    match text.as_bytes().first() {
        Some(b'{' | b'[') if depth == MAX_DEPTH => Err(Fault::TooDeep),
        Some(b'{') => {
            let Members(members) = serde_json::from_str(text).map_err(syntax)?;
            let mut names: Vec<_> = members.iter().map(|(name, _)| name).collect();
            names.sort_unstable();
            if let Some([name, _]) = names.array_windows().find(|[a, b]| a == b) {
                return Err(Fault::Duplicate(vec![Loc::Name((*name).clone())]));
            }
            members
                .into_iter()
                .try_for_each(|(name, value)| check(value, depth + 1).map_err(|fault| within(Loc::Name(name), fault)))
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(syntax)?;
            elements.into_iter().enumerate().try_for_each(|(index, value)| {
                check(value, depth + 1).map_err(|fault| within(Loc::Index(index), fault))
            })
        }
        // A lone surrogate is well-formed to the scanner, but no text.
        Some(b'"') => serde_json::from_str::<String>(text).map(drop).map_err(syntax),
        _ => Ok(()),
    }
}

/// All members of an object in order, a repeated one as often as it stands there.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// serde_json's sentence without the position, which counts in lines.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(message, _)| message.to_owned())
}

/// The byte at which serde_json stopped.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let lines_before = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
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
            (r#"{"x":[0,{"b":{"c":1,"d":2,"c":3}}]}"#, r#"["x",1,"b","c"]"#),
        ] {
            let Err(Fault::Duplicate(found)) = parse(text) else { panic!("{text}") };
            assert_eq!(serde_json::to_string(&found).unwrap(), place);
        }
        assert!(parse(r#"{"a":{"a":[{"a":1},{"a":1}]},"A":1}"#).is_ok());
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
        for (text, at) in
            [("{\"config\": {", 12), ("{\n \"a\": x}", 8), (r#"{"a": "\ud800"}"#, 13), ("", 0), ("{} {}", 3)]
        {
            let Err(Fault::Syntax(message, offset)) = parse(text) else { panic!("{text}") };
            assert!(offset.abs_diff(at) <= 1, "{text}: {message} at {offset}");
        }
    }

    #[test]
    fn what_python_takes_and_json_does_not() {
        for text in ["NaN", "[Infinity]", "{'a':1}", "[1,]", "01", "\u{feff}{}", "\"\u{1}\"", r#"{"\udc00":1}"#] {
            assert!(matches!(parse(text), Err(Fault::Syntax(..))), "{text}");
        }
        for text in ["1e400", "123456789012345678901234567890", "-0.0", r#""\ud83d\ude00""#, " [ ] "] {
            assert_eq!(parse(text).unwrap().get(), text.trim(), "{text}");
        }
    }
}
