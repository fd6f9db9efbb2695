//! One function an endpoint.

use serde::Serialize;
use time::OffsetDateTime;

use crate::api::Api;
use crate::api::event::ProxyResponse;
use crate::api::key_list::List;
use crate::api::request::Request;
use crate::error::{Detail, Error};
use crate::keys::access;
use crate::keys::api_key::KeyId;
use crate::keys::config::KeyConfig;
use crate::keys::rfc3339;
use crate::store::Change;

/// `{"api_key": …, "result": …}`
#[derive(Serialize)]
struct Outcome<'a> {
    api_key: &'a str,
    result: &'static str,
}

/// `GET …/api_keys?limit=…&after=…`: the keys and their configs, oldest first.
pub(crate) async fn list(api: &Api, request: Request<'_>) -> Result<ProxyResponse, Error> {
    let (limit, mut after) = (request.limit()?, request.after()?);
    let mut list = List::default();
    loop {
        // One more than is shown tells whether there are more.
        let wanted =
            limit.map(|limit| i32::try_from(limit.saturating_sub(list.count())).unwrap_or(i32::MAX).saturating_add(1));
        let page = api.store.page(after.as_deref(), wanted).await?;
        for item in &page.items {
            if limit == Some(list.count()) || !list.push(&api.keyring, api.key_disclosure, item)? {
                // Sorted by name, as SigV4 signs it and curl doesn't.
                let limit = limit.map(|limit| format!("&limit={limit}")).unwrap_or_default();
                let link = format!("<?after={}{limit}>; rel=\"next\"", list.last());
                return Ok(list.into_response().with_header("Link", link));
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(list.into_response());
        }
    }
}

/// `POST …/api_keys`: a new key; with an `Idempotency-Key`, the one that it made before.
pub(crate) async fn create(api: &Api, request: Request<'_>) -> Result<ProxyResponse, Error> {
    let config = request.config()?;
    let token = request.idempotency_token("create")?;
    let (key, master) = api.keyring.mint();
    let (now, id) = (now(), key.id());
    let change = Change { config: &config, caller: request.caller, at: &now };
    let record = api.store.create(id, master, &change, token.as_ref()).await?;
    let Some((record, token)) = record.zip(token) else {
        audit(request, "create", id, None, Some(&config));
        return outcome(key.expose(), "created");
    };
    if !record.is_of(&token) {
        return Err(Detail::new(
            ["header", "idempotency-key"],
            "already used with another body",
            "value_error.idempotency_key",
        )
        .into());
    }
    let still_there = api.store.get(record.key_id).await?.is_some();
    let key = api.keyring.key(record.key_id, &record.master).filter(|_| still_there).ok_or(Error::KeyGone)?;
    // The one who made it may have died before it could say so.
    audit(request, "replay", record.key_id, None, Some(&config));
    outcome(key.expose(), "created")
}

/// `PUT …/api_keys/{api_key}`: another config for a key.
pub(crate) async fn update(api: &Api, request: Request<'_>, api_key: &str) -> Result<ProxyResponse, Error> {
    let config = request.config()?;
    let key = api.keyring.parse_key_or_id(api_key).ok_or(Error::KeyNotFound)?;
    let change = Change { config: &config, caller: request.caller, at: &now() };
    let before = api.store.update(&key, &change).await?;
    audit(request, "update", key.id, before.as_deref(), Some(&config));
    outcome(api_key, "updated")
}

/// `DELETE …/api_keys/delete/{api_key}`: the end of a key.
pub(crate) async fn delete(api: &Api, request: Request<'_>, api_key: &str) -> Result<ProxyResponse, Error> {
    let key = api.keyring.parse_key_or_id(api_key).ok_or(Error::KeyNotFound)?;
    let before = api.store.delete(&key).await?;
    audit(request, "delete", key.id, before.as_deref(), None);
    outcome(api_key, "deleted")
}

/// `POST …/api_keys/verify`: may this key do this, from there, now?
pub(crate) async fn verify(api: &Api, request: Request<'_>) -> Result<ProxyResponse, Error> {
    let question = request.question()?;
    let found = api.store.find(&api.keyring, &question.api_key).await?;
    let body = match access::decide(&found, question.permission, question.source, OffsetDateTime::now_utc()) {
        Ok((id, config)) => format!(r#"{{"valid":true,"key_id":"{id}","config":{}}}"#, config.as_str()),
        Err(reason) => {
            let key_id = found.key_id().map(|id| id.to_string());
            tracing::info!(
                reason = reason.as_str(),
                key_id,
                client_ip = question.source.address().map(|address| address.to_string()),
                actor = request.caller,
                source_ip = request.event.source_ip(),
                api_request_id = request.event.request_id(),
                "denied"
            );
            format!(r#"{{"valid":false,"reason":"{}"}}"#, reason.as_str())
        }
    };
    Ok(ProxyResponse::json(200, body))
}

fn outcome(api_key: &str, result: &'static str) -> Result<ProxyResponse, Error> {
    let body = serde_json::to_string(&Outcome { api_key, result }).map_err(|error| Error::Internal(error.into()))?;
    Ok(ProxyResponse::json(200, body))
}

/// The time of a change.
fn now() -> String {
    rfc3339::milliseconds(OffsetDateTime::now_utc())
}

/// One line a change: who did what to which key, and from where. docs/operations.md has its members.
fn audit(request: Request<'_>, action: &str, key_id: KeyId, before: Option<&str>, after: Option<&KeyConfig>) {
    let permissions = |config: Option<&KeyConfig>| config?.permissions.map(|permission| permission.as_str());
    let before = before.and_then(|text| KeyConfig::parse(text).ok());
    tracing::info!(
        action,
        %key_id,
        actor = request.caller,
        source_ip = request.event.source_ip(),
        api_request_id = request.event.request_id(),
        permissions_before = permissions(before.as_ref()),
        permissions = permissions(after),
        enabled = after.map(|config| config.enabled),
        expires_at = after.and_then(KeyConfig::expires_at_seconds),
        allowed_ips = after.map(|config| config.allowed_ips_texts().join(" ")).filter(|ips| !ips.is_empty()),
        "audit"
    );
}
