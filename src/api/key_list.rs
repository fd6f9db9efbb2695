//! Keys as responses show them: one with its details, or a list, as much of it as one response takes.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::error::Error;
use crate::keys::api_key::{ApiKey, KeyId};
use crate::keys::keyring::Keyring;
use crate::settings::KeyDisclosure;
use crate::store::Item;

/// The longest list, in bytes of the response as Lambda counts them, with the body's quotes escaped: Lambda's limit of 6 MB,
/// less a reserve for the headers.
const MAX_LIST: usize = 5_500_000;

/// `{"api_key": …, "config": {…}}`
#[derive(Serialize)]
struct ListedKey<'a> {
    api_key: &'a str,
    config: Option<&'a RawValue>,
}

/// The same with all that is known of the key; what has no value is `null`.
#[derive(Serialize)]
struct DetailedKey<'a> {
    api_key: &'a str,
    config: Option<&'a RawValue>,
    created_at: Option<&'a str>,
    created_by: Option<&'a str>,
    updated_at: Option<&'a str>,
    updated_by: Option<&'a str>,
    last_used_at: Option<&'a str>,
    rotated_from: Option<String>,
    rotated_to: Option<String>,
    root_key_id: Option<&'a str>,
}

/// What is shown of an item, and how.
pub(super) struct Shown<'a> {
    item: &'a Item,
    id: Option<KeyId>,
    /// `None` if the deployment shows only IDs, or the root key is no longer configured.
    key: Option<ApiKey>,
    config: Option<&'a RawValue>,
}

impl<'a> Shown<'a> {
    /// An item that someone else wrote is shown by its ID, with the config `null`, and reported: it must neither be hidden
    /// nor keep the others from being shown.
    pub fn new(keyring: &Keyring, disclosure: KeyDisclosure, item: &'a Item) -> Self {
        let id = KeyId::from_ulid(&item.id);
        let object = |text: &'a str| serde_json::from_str(text).ok().filter(|_| text.starts_with('{'));
        let config: Option<&RawValue> = item.config.as_deref().and_then(object);
        if id.is_none() || config.is_none() || item.root_key.is_none() {
            tracing::error!(id = item.id, "table item has missing or invalid attributes (listed with config null)");
        }
        let key = id.zip(item.root_key.as_deref()).and_then(|(id, root_key)| keyring.key(id, root_key));
        Self { item, id, key: key.filter(|_| disclosure == KeyDisclosure::Full), config }
    }

    /// Appends the key to `body` as JSON, with details if `last_used` is given.
    pub fn write(&self, body: &mut Vec<u8>, last_used: Option<Option<&str>>) -> Result<(), Error> {
        let id;
        let api_key = match &self.key {
            Some(key) => key.expose(),
            None => {
                id = format!("gaia_{}", self.item.id);
                &id
            }
        };
        let Some(last_used_at) = last_used else {
            let listed = ListedKey { api_key, config: self.config };
            return serde_json::to_writer(body, &listed).map_err(|error| Error::Internal(error.into()));
        };
        let details = &self.item.details;
        let key_id = |ulid: &Option<String>| ulid.as_ref().map(|ulid| format!("gaia_{ulid}"));
        let detailed = DetailedKey {
            api_key,
            config: self.config,
            created_at: details.created_at.as_deref(),
            created_by: details.created_by.as_deref(),
            updated_at: details.updated_at.as_deref(),
            updated_by: details.updated_by.as_deref(),
            last_used_at,
            rotated_from: key_id(&details.rotated_from),
            rotated_to: key_id(&details.rotated_to),
            root_key_id: self.item.root_key.as_deref(),
        };
        serde_json::to_writer(body, &detailed).map_err(|error| Error::Internal(error.into()))
    }
}

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

    /// Writes one key, or returns false if the page is full. A page can't start after a malformed ID, so such items always go
    /// into the current page; once they fill half of it, they are only logged. `usage` has the time of each key's last use,
    /// by ULID, if details are shown.
    pub fn push(&mut self, key: &Shown<'_>, usage: Option<&HashMap<String, String>>) -> Result<bool, Error> {
        let start = self.body.len();
        self.body.push(if start == 0 { b'[' } else { b',' });
        key.write(&mut self.body, usage.map(|usage| usage.get(&key.item.id).map(String::as_str)))?;
        let doubled = |byte: &u8| matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t');
        let entry = self.body.get(start..).unwrap_or_default();
        let escaped = entry.len() + entry.iter().filter(|byte| doubled(byte)).count();
        if self.escaped + escaped > if key.id.is_some() { MAX_LIST } else { MAX_LIST / 2 } {
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
    use super::*;
    use crate::keys::keyring::RootKey;

    /// The numbers that docs/api.md gives for keys with long configs. Of small ones, the store reads less than fit.
    #[test]
    fn how_many_keys_fit_one_response() {
        let keyring = Keyring::new("demo", &RootKey::from_bytes([0; 32]), None);
        let fit = |config: String| {
            let (key, root_key) = keyring.create(ulid::Ulid::generate().into());
            let item = Item {
                id: key.id().ulid(),
                config: Some(config),
                root_key: Some(root_key.as_str().to_owned()),
                ..Item::default()
            };
            let mut list = KeyList::default();
            let shown = Shown::new(&keyring, KeyDisclosure::Full, &item);
            while list.push(&shown, None).unwrap() {}
            list.count()
        };
        assert_eq!(fit(r#"{"permissions": "read"}"#.to_owned()) / 1000, 47);
        assert_eq!(fit(format!(r#"{{"x":"{}"}}"#, "a".repeat(4088))) / 100, 13);
    }
}
