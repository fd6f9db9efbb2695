use keys::config::KeyConfig;

use super::{ChangedKey, now, ok};
use crate::api::Api;
use crate::api::audit::Audit;
use crate::api::precondition::Precondition;
use crate::api::request::ApiRequest;
use crate::api::response::Response;
use crate::error::Error;
use crate::store::Change;

/// `PUT …/api_keys/{api_key}`: replaces a key's config.
pub(super) async fn update(api: &Api, request: ApiRequest<'_>) -> Result<Response, Error> {
    let (config, rejections) = request.changed_config()?;
    let precondition = Precondition::parse(request.http.headers())?;
    let stored = api.stored(request.api_key).await;
    if let Err(Error::KeyNotFound) = stored {
        // A key that doesn't exist has no names to keep, and a 422 comes before a 404: imports
        // check configs that way.
        rejections.check(&config, "")?;
        return Err(Error::KeyNotFound);
    }
    let (key, item) = stored?;
    rejections.check(&config, item.config.as_deref().unwrap_or_default())?;
    let if_changed = precondition.check(&item)?;
    let change = Change {
        config: &config,
        caller: request.caller,
        at: &now(),
    };
    let before = api.store.update(key.id, item, &change, if_changed).await?;
    let before = before
        .as_deref()
        .and_then(|text| KeyConfig::parse(text).ok());
    Audit {
        before: before.as_ref(),
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
