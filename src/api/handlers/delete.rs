use super::{ChangedKey, ok};
use crate::api::Api;
use crate::api::audit::Audit;
use crate::api::precondition::Precondition;
use crate::api::request::ApiRequest;
use crate::api::response::Response;
use crate::error::Error;

/// `DELETE …/api_keys/delete/{api_key}`: deletes a key.
pub(super) async fn delete(api: &Api, request: ApiRequest<'_>) -> Result<Response, Error> {
    let precondition = Precondition::parse(request.http.headers())?;
    let (key, item) = api.stored(request.api_key).await?;
    let if_changed = precondition.check(&item)?;
    let before = api.store.delete(key.id, item, if_changed).await?;
    let before = before.and_then(|item| item.readable_config().ok());
    Audit {
        before: before.as_ref(),
        ..Audit::new("delete", key.id)
    }
    .log(request);
    api.store.limit_usage(key.id, None).await;
    ok(&ChangedKey {
        api_key: request.api_key,
        result: "deleted",
    })
}
