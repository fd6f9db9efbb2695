//! Attributes of a key's item that a change depends on, as they were read.

use aws_sdk_dynamodb::types::AttributeValue;
use sha2::{Digest, Sha256};

use super::Attributes;

/// An attribute as it was read. The service writes a text, but whoever writes an item by hand may
/// leave any type: a key must be revocable all the same. `None` if the item doesn't have it.
#[derive(Clone, Debug, Default)]
pub struct Attribute(pub(crate) Option<AttributeValue>);

impl Attribute {
    /// The text. `None` if it isn't one.
    pub fn text(&self) -> Option<&str> {
        self.0.as_ref()?.as_s().ok().map(String::as_str)
    }

    /// The condition that the attribute of this name is as it was read. Adds its value to
    /// `values`.
    pub(super) fn unchanged(&self, name: &str, values: &mut Attributes) -> String {
        let Some(read) = &self.0 else {
            return format!("attribute_not_exists({name})");
        };
        values.insert(format!(":read_{name}"), read.clone());
        format!("{name} = :read_{name}")
    }

    /// What an ETag says of it: the text, if it has only ASCII letters, digits and `-`, otherwise
    /// 32 hexadecimal digits of SHA-256 over the attribute, and over nothing if there is none.
    pub fn tag(&self) -> String {
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        match &self.0 {
            Some(AttributeValue::S(text)) if plain(text) => text.clone(),
            other => {
                let bytes = other.as_ref().map(encoded).unwrap_or_default();
                let digest = hex::encode(Sha256::digest(bytes));
                digest.chars().take(32).collect()
            }
        }
    }
}

/// A value as bytes: its type, then each part with its length before it. Sets and maps are sorted,
/// since DynamoDB returns them in any order.
fn encoded(value: &AttributeValue) -> Vec<u8> {
    let texts = |texts: &[String]| texts.iter().map(|text| text.clone().into_bytes()).collect();
    let (kind, parts): (&str, Vec<Vec<u8>>) = match value {
        AttributeValue::S(text) => ("S", vec![text.clone().into_bytes()]),
        AttributeValue::N(number) => ("N", vec![number.clone().into_bytes()]),
        AttributeValue::B(bytes) => ("B", vec![bytes.as_ref().to_vec()]),
        AttributeValue::Bool(value) => ("BOOL", vec![vec![u8::from(*value)]]),
        AttributeValue::Null(_) => ("NULL", Vec::new()),
        AttributeValue::Ss(set) => ("SS", sorted(texts(set))),
        AttributeValue::Ns(set) => ("NS", sorted(texts(set))),
        AttributeValue::Bs(set) => (
            "BS",
            sorted(set.iter().map(|bytes| bytes.as_ref().to_vec()).collect()),
        ),
        AttributeValue::L(values) => ("L", values.iter().map(encoded).collect()),
        AttributeValue::M(fields) => {
            let field = |(name, value): (&String, _)| {
                [part(name.as_bytes()), part(&encoded(value))].concat()
            };
            ("M", sorted(fields.iter().map(field).collect()))
        }
        // A type that DynamoDB didn't have when the SDK was released.
        _ => ("", Vec::new()),
    };
    let parts = parts.iter().map(|bytes| part(bytes));
    std::iter::once(part(kind.as_bytes()))
        .chain(parts)
        .collect::<Vec<_>>()
        .concat()
}

fn part(bytes: &[u8]) -> Vec<u8> {
    [&bytes.len().to_be_bytes()[..], bytes].concat()
}

fn sorted(mut parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    parts.sort_unstable();
    parts
}
