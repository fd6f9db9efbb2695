//! A list of keys, as much of it as one response takes.

use std::collections::HashMap;

use crate::api::key_view::KeyView;
use crate::error::Error;

/// The longest list, in bytes of the response as Lambda counts them, with the body's quotes
/// escaped: Lambda's limit of 6 MB, less a reserve for the headers.
const MAX_LIST: usize = 5_500_000;

/// A list being written.
#[derive(Default)]
pub(super) struct KeyList {
    body: Vec<u8>,
    /// The body's length in the envelope.
    escaped: usize,
    count: usize,
    last: String,
}

impl KeyList {
    /// Number of keys written so far. Items with a malformed ID are written too, but not counted.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The ID of the last key in it.
    pub fn last(&self) -> String {
        format!("gaia_{}", self.last)
    }

    /// Writes one key, or returns false if the page is full. A page can't start after a malformed
    /// ID, so such items always go into the current page; once they fill half of it, they are only
    /// logged. `usage` has the time of each key's last use, by ULID, if details are shown.
    pub fn push(
        &mut self,
        key: &KeyView<'_>,
        usage: Option<&HashMap<String, String>>,
    ) -> Result<bool, Error> {
        let start = self.body.len();
        self.body.push(if start == 0 { b'[' } else { b',' });
        key.write(
            &mut self.body,
            usage.map(|usage| usage.get(&key.item.id).map(String::as_str)),
        )?;
        let doubled = |byte: &u8| matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t');
        let entry = self.body.get(start..).unwrap_or_default();
        let escaped = entry.len() + entry.iter().filter(|byte| doubled(byte)).count();
        if self.escaped + escaped
            > if key.id.is_some() {
                MAX_LIST
            } else {
                MAX_LIST / 2
            }
        {
            self.body.truncate(start);
            return Ok(key.id.is_none());
        }
        self.escaped += escaped;
        if key.id.is_some() {
            self.count += 1;
            self.last.clone_from(&key.item.id);
        }
        Ok(true)
    }

    /// The whole list as a response's body.
    pub fn into_body(mut self) -> Result<String, Error> {
        if self.body.is_empty() {
            self.body.push(b'[');
        }
        self.body.push(b']');
        String::from_utf8(self.body).map_err(|error| Error::Internal(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;
    use keys::keyring::{Keyring, RootKey};

    use super::*;
    use crate::settings::KeyDisclosure;
    use crate::store::Attribute;
    use crate::store::Item;

    /// Of small keys, the store reads less than fit.
    #[test]
    fn how_many_keys_fit_one_response() {
        let keyring = Keyring::new("demo", &RootKey::from_bytes([0; 32]), None);
        let fit = |config: String| {
            let (key, root_key) = keyring.create(ulid::Ulid::generate().into());
            let item = Item {
                id: key.id().ulid(),
                config: Attribute(Some(AttributeValue::S(config))),
                root_key: Some(root_key.as_str().to_owned()),
                ..Item::default()
            };
            let mut list = KeyList::default();
            let shown = KeyView::new(&keyring, KeyDisclosure::Full, &item);
            while list.push(&shown, None).unwrap() {}
            list.count()
        };
        assert_eq!(fit(r#"{"permissions": "read"}"#.to_owned()) / 1000, 47);
        assert_eq!(fit(format!(r#"{{"x":"{}"}}"#, "a".repeat(4088))) / 100, 13);
    }
}
