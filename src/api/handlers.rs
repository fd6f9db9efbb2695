//! One function per endpoint.

use std::sync::{Mutex, PoisonError};

use ::time::OffsetDateTime;
use lambda_http::http::HeaderValue;
use lambda_http::http::header::LINK;
use serde::Serialize;
use serde_json::value::RawValue;
use ulid::Generator;

use crate::api::key_list::{KeyList, Shown};
use crate::api::request::{ApiRequest, RotationBody};
use crate::api::response::{Response, json};
use crate::error::{Detail, Error};
use crate::keys::access::{self, Asked};
use crate::keys::api_key::{ApiKey, KeyId};
use crate::keys::config::KeyConfig;
use crate::keys::keyring::{Keyring, NamedKey};
use crate::keys::route::{Route, RoutePattern};
use crate::keys::time;
use crate::settings::{KeyDisclosure, Settings};
use crate::store::{
    Change, IdempotencyRecord, IdempotencyToken, Item, QueryBudget, Rotated, Rotation, Store, WholeItem,
};

/// State shared by the endpoints: the table, the keyring that its keys are derived from, and settings.
#[derive(Debug)]
pub(super) struct Keys {
    store: Store,
    keyring: Keyring,
    disclosure: KeyDisclosure,
    read_routes: Vec<RoutePattern>,
    ids: Mutex<Generator>,
}

impl Keys {
    pub fn new(settings: &Settings, store: Store, keyring: Keyring) -> Self {
        let (disclosure, read_routes) = (settings.key_disclosure, settings.read_routes.clone());
        Self { store, keyring, disclosure, read_routes, ids: Mutex::new(Generator::new()) }
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

/// `{"api_key": …, "result": "rotated", "rotated_from": …, "rotated_from_expires_at": …}`
#[derive(Serialize)]
struct RotatedKey<'a> {
    api_key: &'a str,
    result: &'static str,
    rotated_from: String,
    rotated_from_expires_at: &'a str,
}

impl<'a> RotatedKey<'a> {
    fn new(api_key: &'a str, rotated_from: KeyId, rotated_from_expires_at: &'a str) -> Self {
        Self { api_key, result: "rotated", rotated_from: rotated_from.to_string(), rotated_from_expires_at }
    }
}

/// `{"valid": true, "key_id": …, "config": {…}}`
#[derive(Serialize)]
struct Valid<'a> {
    valid: bool,
    key_id: &'a str,
    config: &'a RawValue,
}

/// `{"valid": false, "reason": …}`
#[derive(Serialize)]
struct NotValid {
    valid: bool,
    reason: &'static str,
}

/// `GET …/api_keys?after=…&details=…&limit=…`: the keys and their configs, oldest first.
pub(super) async fn list(keys: &Keys, request: ApiRequest<'_>) -> Result<Response, Error> {
    let (limit, mut after, details) = (request.limit()?, request.after()?, request.details()?);
    let mut list = KeyList::default();
    let mut queries = QueryBudget::default();
    loop {
        // One more than is shown, to know whether there is another page.
        let wanted =
            limit.map(|limit| i32::try_from(limit.saturating_sub(list.count())).unwrap_or(i32::MAX).saturating_add(1));
        let page = keys.store.page(after.as_deref(), wanted, details, &mut queries).await?;
        for item in &page.items {
            let shown = Shown::new(&keys.keyring, keys.disclosure, item);
            if limit == Some(list.count()) || !list.push(&shown, page.last_used.as_ref())? {
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
    let limit = limit.map(|limit| format!("&limit={limit}")).unwrap_or_default();
    let link = format!("<?after={}{details}{limit}>; rel=\"next\"", list.last());
    let link = HeaderValue::try_from(link).map_err(|error| Error::Internal(error.into()))?;
    let mut response = json(200, list.into_body()?);
    response.headers_mut().insert(LINK, link);
    Ok(response)
}

/// `GET …/api_keys/{api_key}`: one key with its details.
pub(super) async fn get(keys: &Keys, api_key: &str) -> Result<Response, Error> {
    let key = keys.keyring.parse_key_or_id(api_key).ok_or(Error::KeyNotFound)?;
    let item = keys.store.detailed(&key).await?;
    let last_used = keys.store.last_used(key.id).await?;
    let mut body = Vec::new();
    Shown::new(&keys.keyring, keys.disclosure, &item).write(&mut body, Some(last_used.as_deref()))?;
    Ok(json(200, String::from_utf8(body).map_err(|error| Error::Internal(error.into()))?))
}

/// `POST …/api_keys`: creates an API key, or returns the one that the same `Idempotency-Key` created before.
pub(super) async fn create(keys: &Keys, request: ApiRequest<'_>) -> Result<Response, Error> {
    let config = request.new_config()?;
    let token = request.idempotency_token("create")?;
    let (key, root_key) = keys.keyring.create(keys.new_id());
    let (now, id) = (now(), key.id());
    let change = Change { config: &config, caller: request.caller, at: &now };
    let record = keys.store.create(&keys.keyring, id, root_key, &change, token.as_ref()).await?;
    let Some((record, token)) = record.zip(token) else {
        audit(request, "create", id, None, Some(&config));
        return respond(&Outcome { api_key: key.expose(), result: "created" });
    };
    let (key, _) = created_earlier(keys, &record, &token).await?;
    // The first attempt may have stopped before it could log, so the retry is logged as well.
    audit(request, "retry", record.key_id, None, Some(&config));
    respond(&Outcome { api_key: key.expose(), result: "created" })
}

/// The key that an `Idempotency-Key` created earlier, and its config as it is now.
async fn created_earlier(
    keys: &Keys,
    record: &IdempotencyRecord,
    token: &IdempotencyToken,
) -> Result<(ApiKey, Option<KeyConfig>), Error> {
    if !record.is_of(token) {
        let msg = "Idempotency-Key was already used with a different request body";
        return Err(Detail::new(["header", "idempotency-key"], msg, "value_error.idempotency_key").into());
    }
    let Some(item) = keys.store.get(record.key_id).await? else {
        return Err(Error::Conflict("The key created with this Idempotency-Key has been deleted".into()));
    };
    let Some(key) = keys.keyring.key(record.key_id, &record.root_key) else {
        let why = "The key created with this Idempotency-Key belongs to a root key that is no longer configured";
        return Err(Error::Conflict(why.into()));
    };
    Ok((key, item.config.as_deref().and_then(|text| KeyConfig::parse(text).ok())))
}

/// `POST …/api_keys/{api_key}/rotate`: creates an API key with the same config, and sets the old one's expiry.
pub(super) async fn rotate(keys: &Keys, request: ApiRequest<'_>, api_key: &str) -> Result<Response, Error> {
    let body = request.rotation()?;
    let key = keys.keyring.parse_key_or_id(api_key).ok_or(Error::KeyNotFound)?;
    let token = request.idempotency_token(&format!("rotate {}", key.id))?;
    if let Some(response) = rotated_earlier(keys, request, key.id, token.as_ref()).await? {
        return Ok(response);
    }
    let (new_key, root_key) = keys.keyring.create(keys.new_id());
    loop {
        let now = OffsetDateTime::now_utc();
        let prepared = match prepare_rotation(keys, &key, &body, now).await {
            // The same request may have been carried out since its item was looked up.
            Err(error) if error.status() < 500 => {
                return rotated_earlier(keys, request, key.id, token.as_ref()).await?.ok_or(error);
            }
            prepared => prepared?,
        };
        let expires_at = prepared.old_config.expires_at_seconds().unwrap_or_default();
        let rotation = Rotation {
            old: &prepared.old,
            old_config: &prepared.old_config,
            expires_at: &expires_at,
            id: new_key.id(),
            root_key,
            change: Change { config: &prepared.new_config, caller: request.caller, at: &time::milliseconds(now) },
        };
        match keys.store.rotate(&keys.keyring, &rotation, token.as_ref()).await? {
            Rotated::Changed => {}
            Rotated::Earlier => {
                let response = rotated_earlier(keys, request, key.id, token.as_ref()).await?;
                return response.ok_or_else(|| Error::Unavailable("a rotation's item is gone".into()));
            }
            Rotated::Done => {
                let (action, rotated_to, expires_at) = ("rotate", Some(new_key.id()), Some(expires_at.as_str()));
                let audit = Audit { action, key_id: key.id, rotated_to, expires_at };
                audit.log(request, Some(&prepared.config), Some(&prepared.new_config));
                keys.store.limit_usage(key.id, Some(&prepared.old_config)).await;
                return respond(&RotatedKey::new(new_key.expose(), key.id, expires_at.unwrap_or_default()));
            }
        }
    }
}

/// A rotation that has passed every check.
struct PreparedRotation {
    old: WholeItem,
    /// The old key's config until now.
    config: KeyConfig,
    old_config: KeyConfig,
    new_config: KeyConfig,
}

async fn prepare_rotation(
    keys: &Keys,
    key: &NamedKey,
    body: &RotationBody,
    now: OffsetDateTime,
) -> Result<PreparedRotation, Error> {
    if body.end.is_some_and(|end| end <= now) {
        return Err(Detail::new(["body", "expires_at"], "must be later than now", "value_error.datetime").into());
    }
    let old = keys.store.whole(key).await?;
    let Some(Ok(config)) = old.item.config.as_deref().map(KeyConfig::parse) else {
        return Err(Error::Internal(format!("stored config of {} is invalid", key.id).into()));
    };
    ensure_rotatable(keys, &old.item, &config, now).await?;
    let (new_config, old_config) = rotated_configs(&config, body, now)?;
    Ok(PreparedRotation { old, config, old_config, new_config })
}

/// The configs after a rotation: the new key's, and the old key's.
fn rotated_configs(
    config: &KeyConfig,
    body: &RotationBody,
    now: OffsetDateTime,
) -> Result<(KeyConfig, KeyConfig), Error> {
    let too_long = |error| match error {
        Error::TooLarge(_) => {
            let msg = "config would exceed 4096 bytes with expires_at";
            Detail::new(["body"], msg, "value_error.config_size").into()
        }
        other => other,
    };
    if config.expires_at.is_some() && body.expires_at.is_none() {
        // The caller must choose: no expiry and a default lifetime would both be surprises.
        let msg = "the key has an expires_at: give the new key's, a time or null";
        return Err(Detail::new(["body", "expires_at"], msg, "value_error.missing").into());
    }
    let new = match &body.expires_at {
        None => KeyConfig::parse(config.as_str())?,
        Some(expires_at) => config.with_expires_at(expires_at).map_err(too_long)?,
    };
    let end = now + body.grace;
    let old = match config.expires_at {
        Some(earlier) if earlier <= end => KeyConfig::parse(config.as_str())?,
        _ => config.with_expires_at(&format!("\"{}\"", time::seconds(end))).map_err(too_long)?,
    };
    Ok((new, old))
}

/// Checks that a key can be rotated. Errors: 409, which says why not.
async fn ensure_rotatable(keys: &Keys, old: &Item, config: &KeyConfig, now: OffsetDateTime) -> Result<(), Error> {
    if let Some(successor) = old.details.rotated_to.as_deref().and_then(KeyId::from_ulid)
        && keys.store.get(successor).await?.is_some()
    {
        let why = format!("API key was rotated to {successor} already: delete that key to rotate this one again");
        return Err(Error::Conflict(why.into()));
    }
    match config {
        KeyConfig { enabled: false, .. } => Err(Error::Conflict("API key is disabled".into())),
        KeyConfig { expires_at: Some(end), .. } if *end <= now => Err(Error::Conflict("API key has expired".into())),
        _ => Ok(()),
    }
}

/// The response to a rotation that the same `Idempotency-Key` carried out before, if it did.
async fn rotated_earlier(
    keys: &Keys,
    request: ApiRequest<'_>,
    id: KeyId,
    token: Option<&IdempotencyToken>,
) -> Result<Option<Response>, Error> {
    let Some(token) = token else { return Ok(None) };
    let Some(record) = keys.store.recorded(&keys.keyring, token).await? else { return Ok(None) };
    let (new_key, new_config) = created_earlier(keys, &record, token).await?;
    let expires_at = record.expires_at.as_deref();
    let audit = Audit { action: "retry", key_id: id, rotated_to: Some(record.key_id), expires_at };
    audit.log(request, None, new_config.as_ref());
    respond(&RotatedKey::new(new_key.expose(), id, expires_at.unwrap_or_default())).map(Some)
}

/// `PUT …/api_keys/{api_key}`: replaces a key's config.
pub(super) async fn update(keys: &Keys, request: ApiRequest<'_>, api_key: &str) -> Result<Response, Error> {
    let (config, rejections) = request.changed_config()?;
    let key = keys.keyring.parse_key_or_id(api_key).ok_or(Error::KeyNotFound)?;
    if !rejections.is_empty() {
        let stored = keys.store.detailed(&key).await?;
        rejections.check(&config, stored.config.as_deref().unwrap_or_default())?;
    }
    let change = Change { config: &config, caller: request.caller, at: &now() };
    let before = keys.store.update(&key, &change).await?;
    audit(request, "update", key.id, before.as_deref(), Some(&config));
    keys.store.limit_usage(key.id, Some(&config)).await;
    respond(&Outcome { api_key, result: "updated" })
}

/// `DELETE …/api_keys/delete/{api_key}`: deletes a key.
pub(super) async fn delete(keys: &Keys, request: ApiRequest<'_>, api_key: &str) -> Result<Response, Error> {
    let key = keys.keyring.parse_key_or_id(api_key).ok_or(Error::KeyNotFound)?;
    let before = keys.store.delete(&key).await?;
    audit(request, "delete", key.id, before.as_deref(), None);
    keys.store.limit_usage(key.id, None).await;
    respond(&Outcome { api_key, result: "deleted" })
}

/// `POST …/api_keys/verify`: decides whether a key is valid now, for a permission or route, from an address.
pub(super) async fn verify(keys: &Keys, request: ApiRequest<'_>) -> Result<Response, Error> {
    let question = request.question()?;
    let found = keys.store.find(&keys.keyring, &question.api_key).await?;
    let route = question.route.as_deref().and_then(Route::parse);
    let (asked, now) = (Asked { permission: question.permission, route }, OffsetDateTime::now_utc());
    match access::decide(&found, asked, &keys.read_routes, question.source, now) {
        Ok((id, config)) => {
            keys.store.record_use(id, config, now).await;
            respond(&Valid { valid: true, key_id: &id.to_string(), config: config.as_raw() })
        }
        Err(reason) => {
            tracing::info!(
                reason = reason.as_str(),
                key_id = found.key_id().map(|id| id.to_string()),
                client_ip = question.source.address().map(|address| address.to_string()),
                actor = request.caller,
                source_ip = request.source_ip(),
                api_request_id = request.request_id(),
                "denied"
            );
            respond(&NotValid { valid: false, reason: reason.as_str() })
        }
    }
}

fn respond(body: &impl Serialize) -> Result<Response, Error> {
    let body = serde_json::to_string(body).map_err(|error| Error::Internal(error.into()))?;
    Ok(json(200, body))
}

/// The time of a change.
fn now() -> String {
    time::milliseconds(OffsetDateTime::now_utc())
}

/// Writes one audit entry per change: who did what to which key, and from where. docs/log-entries.md lists its fields.
fn audit(
    request: ApiRequest<'_>,
    action: &'static str,
    key_id: KeyId,
    before: Option<&str>,
    after: Option<&KeyConfig>,
) {
    let before = before.and_then(|text| KeyConfig::parse(text).ok());
    Audit { action, key_id, rotated_to: None, expires_at: None }.log(request, before.as_ref(), after);
}

/// An audit entry.
struct Audit<'a> {
    action: &'static str,
    key_id: KeyId,
    /// Of a rotation: the new key.
    rotated_to: Option<KeyId>,
    /// Of a rotation: when the old key expires.
    expires_at: Option<&'a str>,
}

impl Audit<'_> {
    /// `before` is the config until now, `after` the one from now on; of a rotation, the new key's.
    fn log(&self, request: ApiRequest<'_>, before: Option<&KeyConfig>, after: Option<&KeyConfig>) {
        let permissions = |config: Option<&KeyConfig>| config?.permissions.map(|permission| permission.as_str());
        let routes = |config: &KeyConfig| config.routes.iter().map(RoutePattern::text).collect::<Vec<_>>().join(", ");
        tracing::info!(
            action = self.action,
            key_id = %self.key_id,
            actor = request.caller,
            source_ip = request.source_ip(),
            api_request_id = request.request_id(),
            rotated_to = self.rotated_to.map(|id| id.to_string()),
            old_expires_at = self.expires_at,
            permissions_before = permissions(before),
            permissions = permissions(after),
            routes = after.map(routes).filter(|routes| !routes.is_empty()),
            enabled = after.map(|config| config.enabled),
            expires_at = after.and_then(KeyConfig::expires_at_seconds),
            allowed_ips = after.map(|config| config.allowed_ips_texts().join(" ")).filter(|ips| !ips.is_empty()),
            "audit"
        );
    }
}
