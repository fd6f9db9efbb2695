//! A list of keys as it is written: the stored texts go out as they are, as much as one answer takes.

use serde_json::value::RawValue;

use crate::error::Error;
use crate::keys::api_key::KeyId;
use crate::keys::keyring::Keyring;
use crate::settings::KeyDisclosure;
use crate::store::Item;

/// Bytes of a list as Lambda counts them, in the envelope in which the body's quotes are escaped: its limit of 6 MB
/// less some room for the headers.
const MAX_LIST: usize = 5_500_000;

/// `[{"api_key": …, "config": {…}}, …]`, being written.
#[derive(Default)]
pub(super) struct KeyList {
    body: String,
    /// The body's length in the envelope.
    escaped: usize,
    count: usize,
    last: String,
}

impl KeyList {
    /// How many keys are in it. What stands in the table under an id that is none is no key, though it is shown.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The id of the last key in it.
    pub fn last(&self) -> String {
        format!("gaia_{}", self.last)
    }

    /// Writes one key, or says that it would be too much. An item that someone else wrote is shown by its id, with the
    /// config `null`, and reported: neither hidden nor in the way of the others. Since no page can begin behind an id
    /// that is none, what stands there always goes into this page, or into the log alone once half the page is full.
    pub fn push(&mut self, keyring: &Keyring, disclosure: KeyDisclosure, item: &Item) -> Result<bool, Error> {
        let id = KeyId::from_ulid(&item.id);
        let config = item.config.as_deref().filter(|config| is_object(config));
        if id.is_none() || config.is_none() || item.root_key.is_none() {
            tracing::error!(id = item.id, "an item of the table is not one that this service wrote");
        }
        let key = id.zip(item.root_key.as_deref()).and_then(|(id, root_key)| keyring.key(id, root_key));
        let key = key.filter(|_| disclosure == KeyDisclosure::Full);
        let start = self.body.len();
        let body = &mut self.body;
        body.push_str(if start == 0 { "[" } else { "," });
        match &key {
            // Nothing in a key needs an escape.
            Some(key) => body.extend([r#"{"api_key":""#, key.expose(), r#"","config":"#]),
            None => {
                let shown = serde_json::to_string(&format!("gaia_{}", item.id));
                let shown = shown.map_err(|error| Error::Internal(error.into()))?;
                body.extend([r#"{"api_key":"#, &shown, r#","config":"#]);
            }
        }
        body.extend([config.unwrap_or("null"), "}"]);
        let doubled = |byte: &u8| matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t');
        let entry = body.as_bytes().get(start..).unwrap_or_default();
        let escaped = entry.len() + entry.iter().filter(|byte| doubled(byte)).count();
        if self.escaped + escaped > if id.is_some() { MAX_LIST } else { MAX_LIST / 2 } {
            body.truncate(start);
            return Ok(id.is_none());
        }
        self.escaped += escaped;
        if id.is_some() {
            self.count += 1;
            self.last.clone_from(&item.id);
        }
        Ok(true)
    }

    /// The whole list as a response's body.
    pub fn into_body(mut self) -> String {
        if self.body.is_empty() {
            self.body.push('[');
        }
        self.body.push(']');
        self.body
    }
}

fn is_object(text: &str) -> bool {
    text.starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::keyring::RootKey;

    /// The numbers that README.md gives for one page.
    #[test]
    fn how_many_keys_fit_one_answer() {
        let keyring = Keyring::new("demo", &RootKey::from_bytes([0; 32]), None);
        let fit = |config: String| {
            let (key, root_key) = keyring.create(ulid::Ulid::generate().into());
            let item = Item {
                id: key.id().ulid(),
                config: Some(config),
                root_key: Some(root_key.as_str().to_owned()),
                change_id: None,
            };
            let mut list = KeyList::default();
            while list.push(&keyring, KeyDisclosure::Full, &item).unwrap() {}
            list.count()
        };
        let readme = include_str!("../../README.md");
        assert!(
            readme.contains("about 47,000 keys with\n  `{\"permissions\": \"read\"}`, 1,300 with configs of 4 KiB")
        );
        assert_eq!(fit(r#"{"permissions": "read"}"#.to_owned()) / 1000, 47);
        assert_eq!(fit(format!(r#"{{"x":"{}"}}"#, "a".repeat(4088))) / 100, 13);
    }
}
