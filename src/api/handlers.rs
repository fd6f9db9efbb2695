//! The endpoints: one file and one function for each.

use keys::keyring::NamedKey;
use keys::timestamp;
use serde::Serialize;
use time::OffsetDateTime;

use crate::api::Api;
use crate::api::response::{Response, json};
use crate::error::Error;
use crate::store::Item;

mod create;
mod delete;
mod get;
mod list;
mod rotate;
mod update;
mod verify;

pub(super) use create::create;
pub(super) use delete::delete;
pub(super) use get::get;
pub(super) use list::list;
pub(super) use rotate::rotate;
pub(super) use update::update;
pub(super) use verify::verify;

/// `{"api_key": …, "result": …}`
#[derive(Serialize)]
struct ChangedKey<'a> {
    api_key: &'a str,
    result: &'static str,
}

/// A 200 with this body.
fn ok(body: &impl Serialize) -> Result<Response, Error> {
    let body = serde_json::to_string(body).map_err(|error| Error::Internal(error.into()))?;
    Ok(json(200, body))
}

/// The time of a change.
fn now() -> String {
    timestamp::milliseconds(OffsetDateTime::now_utc())
}

impl Api {
    /// The key in a path, which may be given by its ID alone. Errors: 404 if it isn't one of this
    /// service.
    fn named(&self, api_key: &str) -> Result<NamedKey, Error> {
        self.keyring
            .parse_key_or_id(api_key)
            .ok_or(Error::KeyNotFound)
    }

    /// The same with its item.
    async fn stored(&self, api_key: &str) -> Result<(NamedKey, Item), Error> {
        let key = self.named(api_key)?;
        let item = self.store.named(&key).await?;
        Ok((key, item))
    }
}
