//! One function per endpoint.

use std::sync::{Mutex, PoisonError};

use ::time::OffsetDateTime;
use lambda_http::http::HeaderValue;
use lambda_http::http::header::LINK;
use serde::Serialize;
use ulid::Generator;

use crate::api::key_list::KeyList;
use crate::api::request::ApiRequest;
use crate::api::response::{Response, json};
use crate::error::{Detail, Error};
use crate::keys::access;
use crate::keys::api_key::KeyId;
use crate::keys::config::KeyConfig;
use crate::keys::keyring::Keyring;
use crate::keys::time;
use crate::settings::KeyDisclosure;
use crate::store::{Change, Store};

/// What the endpoints work on: the table, and the keyring that its keys are derived from.
#[derive(Debug)]
pub(super) struct Keys {
    store: Store,
    keyring: Keyring,
    disclosure: KeyDisclosure,
    ids: Mutex<Generator>,
}

impl Keys {
    pub fn new(store: Store, keyring: Keyring, disclosure: KeyDisclosure) -> Self {
        Self { store, keyring, disclosure, ids: Mutex::new(Generator::new()) }
    }

    /// An ID for a new key. Those of one process ascend, even within a millisecond.
    fn new_id(&self) -> KeyId {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let ulid = match ids.generate() {
            Ok(ulid) => ulid,
            Err(overflow) => overflow.commit_overflow_increment(),
        };
        ulid.into()
    }
}

/// `{"api_key": …, "result": …}`
#[derive(Serialize)]
struct Outcome<'a> {
    api_key: &'a str,
    result: &'static str,
}

/// `GET …/api_keys?limit=…&after=…`: the keys and their configs, oldest first.
pub(super) async fn list(keys: &Keys, request: ApiRequest<'_>) -> Result<Response, Error> {
    let (limit, mut after) = (request.limit()?, request.after()?);
    let mut list = KeyList::default();
    loop {
        // One more than is shown tells whether there are more.
        let wanted =
            limit.map(|limit| i32::try_from(limit.saturating_sub(list.count())).unwrap_or(i32::MAX).saturating_add(1));
        let page = keys.store.page(after.as_deref(), wanted).await?;
        for item in &page.items {
            if limit == Some(list.count()) || !list.push(&keys.keyring, keys.disclosure, item)? {
                // Sorted by name, as SigV4 signs it and curl doesn't.
                let limit = limit.map(|limit| format!("&limit={limit}")).unwrap_or_default();
                let link = format!("<?after={}{limit}>; rel=\"next\"", list.last());
                let mut response = json(200, list.into_body());
                let link = HeaderValue::try_from(link).map_err(|error| Error::Internal(error.into()))?;
                response.headers_mut().insert(LINK, link);
                return Ok(response);
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(json(200, list.into_body()));
        }
    }
}

/// `POST …/api_keys`: a new key; with an `Idempotency-Key`, the one that it made before.
pub(super) async fn create(keys: &Keys, request: ApiRequest<'_>) -> Result<Response, Error> {
    let config = request.config()?;
    let token = request.idempotency_token("create")?;
    let (key, root_key) = keys.keyring.create(keys.new_id());
    let (now, id) = (now(), key.id());
    let change = Change { config: &config, caller: request.caller, at: &now };
    let record = keys.store.create(id, root_key, &change, token.as_ref()).await?;
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
    let still_there = keys.store.get(record.key_id).await?.is_some();
    let key = keys.keyring.key(record.key_id, &record.root_key).filter(|_| still_there).ok_or(Error::KeyGone)?;
    // The first attempt may have stopped before it could log, so the retry is logged as well.
    audit(request, "retry", record.key_id, None, Some(&config));
    outcome(key.expose(), "created")
}

/// `PUT …/api_keys/{api_key}`: another config for a key.
pub(super) async fn update(keys: &Keys, request: ApiRequest<'_>, api_key: &str) -> Result<Response, Error> {
    let config = request.config()?;
    let key = keys.keyring.parse_key_or_id(api_key).ok_or(Error::KeyNotFound)?;
    let change = Change { config: &config, caller: request.caller, at: &now() };
    let before = keys.store.update(&key, &change).await?;
    audit(request, "update", key.id, before.as_deref(), Some(&config));
    outcome(api_key, "updated")
}

/// `DELETE …/api_keys/delete/{api_key}`: the end of a key.
pub(super) async fn delete(keys: &Keys, request: ApiRequest<'_>, api_key: &str) -> Result<Response, Error> {
    let key = keys.keyring.parse_key_or_id(api_key).ok_or(Error::KeyNotFound)?;
    let before = keys.store.delete(&key).await?;
    audit(request, "delete", key.id, before.as_deref(), None);
    outcome(api_key, "deleted")
}

/// `POST …/api_keys/verify`: may this key do this, from there, now?
pub(super) async fn verify(keys: &Keys, request: ApiRequest<'_>) -> Result<Response, Error> {
    let question = request.question()?;
    let found = keys.store.find(&keys.keyring, &question.api_key).await?;
    let body = match access::decide(&found, question.permission, question.source, OffsetDateTime::now_utc()) {
        Ok((id, config)) => format!(r#"{{"valid":true,"key_id":"{id}","config":{}}}"#, config.as_str()),
        Err(reason) => {
            let key_id = found.key_id().map(|id| id.to_string());
            tracing::info!(
                reason = reason.as_str(),
                key_id,
                client_ip = question.source.address().map(|address| address.to_string()),
                actor = request.caller,
                source_ip = request.source_ip(),
                api_request_id = request.request_id(),
                "denied"
            );
            format!(r#"{{"valid":false,"reason":"{}"}}"#, reason.as_str())
        }
    };
    Ok(json(200, body))
}

fn outcome(api_key: &str, result: &'static str) -> Result<Response, Error> {
    let body = serde_json::to_string(&Outcome { api_key, result }).map_err(|error| Error::Internal(error.into()))?;
    Ok(json(200, body))
}

/// The time of a change.
fn now() -> String {
    time::milliseconds(OffsetDateTime::now_utc())
}

/// One line a change: who did what to which key, and from where. docs/operations.md has its members.
fn audit(request: ApiRequest<'_>, action: &str, key_id: KeyId, before: Option<&str>, after: Option<&KeyConfig>) {
    let permissions = |config: Option<&KeyConfig>| config?.permissions.map(|permission| permission.as_str());
    let before = before.and_then(|text| KeyConfig::parse(text).ok());
    tracing::info!(
        action,
        %key_id,
        actor = request.caller,
        source_ip = request.source_ip(),
        api_request_id = request.request_id(),
        permissions_before = permissions(before.as_ref()),
        permissions = permissions(after),
        enabled = after.map(|config| config.enabled),
        expires_at = after.and_then(KeyConfig::expires_at_seconds),
        allowed_ips = after.map(|config| config.allowed_ips_texts().join(" ")).filter(|ips| !ips.is_empty()),
        "audit"
    );
}
