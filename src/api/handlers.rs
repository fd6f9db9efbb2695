//! The endpoints: one file and one function for each.

use keys::keyring::NamedKey;
use keys::timestamp;
use serde::Serialize;
use time::OffsetDateTime;

use crate::api::Api;
use crate::api::request::ApiRequest;
use crate::api::response::{Response, json};
use crate::api::router::Endpoint;
use crate::error::Error;
use crate::store::Item;

mod create;
mod delete;
mod get;
mod list;
mod rotate;
mod update;
mod verify;

/// Hands a request to its endpoint.
pub(super) async fn handle(
    api: &Api,
    endpoint: Endpoint,
    request: ApiRequest<'_>,
) -> Result<Response, Error> {
    match endpoint {
        Endpoint::List => list::list(api, request).await,
        Endpoint::Create => create::create(api, request).await,
        Endpoint::Verify => verify::verify(api, request).await,
        Endpoint::Get => get::get(api, request).await,
        Endpoint::Update => update::update(api, request).await,
        Endpoint::Rotate => rotate::rotate(api, request).await,
        Endpoint::Delete => delete::delete(api, request).await,
    }
}

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
