//! A key as responses show it: with its config alone, or with all that is known of it.

use keys::api_key::{ApiKey, KeyId};
use keys::keyring::Keyring;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::api::precondition::etag;
use crate::error::Error;
use crate::settings::KeyDisclosure;
use crate::store::Item;

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
    etag: String,
}

/// What is shown of an item, and how.
pub(super) struct KeyView<'a> {
    /// The item.
    pub item: &'a Item,
    /// `None` if the item's ID isn't one.
    pub id: Option<KeyId>,
    /// `None` if the deployment shows only IDs, or the root key is no longer configured.
    key: Option<ApiKey>,
    config: Option<&'a RawValue>,
}

impl<'a> KeyView<'a> {
    /// An item that someone else wrote is shown by its ID, with the config `null`, and reported: it
    /// must neither be hidden nor keep the others from being shown.
    pub fn new(keyring: &Keyring, disclosure: KeyDisclosure, item: &'a Item) -> Self {
        let id = KeyId::from_ulid(&item.id);
        let object = |text: &'a str| {
            serde_json::from_str(text)
                .ok()
                .filter(|_| text.starts_with('{'))
        };
        let config: Option<&RawValue> = item.config.text().and_then(object);
        if id.is_none() || config.is_none() || item.root_key.is_none() {
            tracing::error!(
                id = item.id,
                "table item has missing or invalid attributes (listed with config null)"
            );
        }
        let key = id
            .zip(item.root_key.as_deref())
            .and_then(|(id, root_key)| keyring.key(id, root_key));
        Self {
            item,
            id,
            key: key.filter(|_| disclosure == KeyDisclosure::Full),
            config,
        }
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
            let listed = ListedKey {
                api_key,
                config: self.config,
            };
            return serde_json::to_writer(body, &listed)
                .map_err(|error| Error::Internal(error.into()));
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
            etag: etag(self.item),
        };
        serde_json::to_writer(body, &detailed).map_err(|error| Error::Internal(error.into()))
    }
}
