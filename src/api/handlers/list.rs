use lambda_http::http::HeaderValue;
use lambda_http::http::header::LINK;

use crate::api::Api;
use crate::api::key_list::KeyList;
use crate::api::key_view::KeyView;
use crate::api::request::ApiRequest;
use crate::api::response::{Response, json};
use crate::error::Error;
use crate::store::QueryBudget;

/// `GET …/api_keys?after=…&details=…&limit=…`: the keys and their configs, oldest first.
pub(super) async fn list(api: &Api, request: ApiRequest<'_>) -> Result<Response, Error> {
    let limit = request.limit()?;
    let mut after = request.after()?;
    let details = request.details()?;
    let mut list = KeyList::default();
    let mut queries = QueryBudget::default();
    loop {
        // One more than is shown, to know whether there is another page.
        let wanted = limit.map(|limit| {
            let left = limit.saturating_sub(list.count()).saturating_add(1);
            i32::try_from(left).unwrap_or(i32::MAX)
        });
        let page = api
            .store
            .page(after.as_deref(), wanted, details, &mut queries)
            .await?;
        for item in &page.items {
            let key = KeyView::new(&api.keyring, api.disclosure, item);
            if limit == Some(list.count()) || !list.push(&key, page.last_used.as_ref())? {
                return page_with_next(list, limit, details);
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(json(200, list.into_body()?));
        }
        // The next page begins after a key, so this one needs one.
        if !queries.allows_keys(details) && list.count() > 0 {
            return page_with_next(list, limit, details);
        }
    }
}

/// A page of the list that isn't the last one.
fn page_with_next(list: KeyList, limit: Option<usize>, details: bool) -> Result<Response, Error> {
    // SigV4 signs parameters sorted by name, and curl doesn't sort them.
    let details = if details { "&details=true" } else { "" };
    let limit = limit
        .map(|limit| format!("&limit={limit}"))
        .unwrap_or_default();
    let link = format!("<?after={}{details}{limit}>; rel=\"next\"", list.last());
    let link = HeaderValue::try_from(link).map_err(|error| Error::Internal(error.into()))?;
    let mut response = json(200, list.into_body()?);
    response.headers_mut().insert(LINK, link);
    Ok(response)
}
