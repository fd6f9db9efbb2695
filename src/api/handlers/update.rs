use super::{ChangedKey, now, ok};
use crate::api::Api;
use crate::api::audit::Audit;
use crate::api::precondition::Precondition;
use crate::api::request::ApiRequest;
use crate::api::response::Response;
use crate::error::Error;
use crate::store::{Author, Item};

/// `PUT …/api_keys/{api_key}`: replaces a key's config.
pub(super) async fn update(api: &Api, request: ApiRequest<'_>) -> Result<Response, Error> {
    let (config, rejections) = request.changed_config()?;
    let precondition = Precondition::parse(request.http.headers())?;
    let replacement = |item: &Item| {
        rejections.check(&config, item.config.text().unwrap_or_default())?;
        Ok(config.clone())
    };
    let stored = api.stored(request.api_key).await;
    if let Err(Error::KeyNotFound) = stored {
        // A key that doesn't exist has no names to keep, and a 422 comes before a 404: imports
        // check configs that way.
        replacement(&Item::default())?;
    }
    let (key, item) = stored?;
    // A 422 comes before a 412.
    replacement(&item)?;
    let if_changed = precondition.check(&item)?;
    let author = Author {
        caller: request.caller,
        at: &now(),
    };
    let update = api
        .store
        .update(key.id, item, if_changed, author, replacement);
    let (before, config) = update.await?;
    Audit {
        before: before.readable_config().ok().as_ref(),
        after: Some(&config),
        ..Audit::new("update", key.id)
    }
    .log(request);
    api.store.limit_usage(key.id, Some(&config)).await;
    ok(&ChangedKey {
        api_key: request.api_key,
        result: "updated",
    })
}
