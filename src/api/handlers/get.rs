use lambda_http::http::HeaderValue;
use lambda_http::http::header::ETAG;

use crate::api::Api;
use crate::api::key_view::KeyView;
use crate::api::precondition::etag;
use crate::api::request::ApiRequest;
use crate::api::response::{Response, json};
use crate::error::Error;

/// `GET …/api_keys/{api_key}`: one key with its details.
pub(super) async fn get(api: &Api, request: ApiRequest<'_>) -> Result<Response, Error> {
    let key = api.named(request.api_key)?;
    let item = api.store.detailed(&key).await?;
    let last_used = api.store.last_used(key.id).await?;
    let mut body = Vec::new();
    KeyView::new(&api.keyring, api.disclosure, &item)
        .write(&mut body, Some(last_used.as_deref()))?;
    let body = String::from_utf8(body).map_err(|error| Error::Internal(error.into()))?;
    let etag = HeaderValue::try_from(etag(&item)).map_err(|error| Error::Internal(error.into()))?;
    let mut response = json(200, body);
    response.headers_mut().insert(ETAG, etag);
    Ok(response)
}
