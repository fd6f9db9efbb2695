//! One function an endpoint.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use crate::access::{self, Source};
use crate::api::Api;
use crate::error::{Detail, Error};
use crate::event::{ProxyEvent, ProxyResponse};
use crate::json;
use crate::key::{ApiKey, KeyId};
use crate::key_config::{KeyConfig, Permission};
use crate::settings::KeyDisclosure;
use crate::store::{Change, Item};

/// Bytes of a list as Lambda counts them, in the envelope in which the body's quotes are escaped: its limit of 6 MB
/// less some room for the headers.
const MAX_LIST: usize = 5_500_000;

/// A request past the door.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub event: &'a ProxyEvent,
    pub caller: &'a str,
}

/// `{"api_key": …, "result": …}`
#[derive(Serialize)]
struct Outcome<'a> {
    api_key: &'a str,
    result: &'static str,
}

/// `GET …/api_keys?limit=…&after=…`: the keys and their configs, oldest first.
pub(crate) async fn list(api: &Api, request: Request<'_>) -> Result<ProxyResponse, Error> {
    let limit = limit(request.event.query("limit"))?;
    let mut after = after(request.event.query("after"))?;
    let mut list = List::default();
    loop {
        // One more than is shown tells whether there are more.
        let wanted = limit.map(|limit| i32::try_from(limit - list.count + 1).unwrap_or(i32::MAX));
        let page = api.store.page(after.as_deref(), wanted).await?;
        for item in &page.items {
            if limit == Some(list.count) || !list.push(api, item)? {
                let limit = limit.map(|limit| format!("limit={limit}&")).unwrap_or_default();
                let link = format!("<?{limit}after={}>; rel=\"next\"", list.last);
                return Ok(list.into_response().with_header("Link", link));
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(list.into_response());
        }
    }
}

/// `POST …/api_keys`: a new key.
pub(crate) async fn create(api: &Api, request: Request<'_>) -> Result<ProxyResponse, Error> {
    let config = config(request.event)?;
    let (key, keyring) = api.keyring.mint();
    api.store.create(key.id(), keyring.as_str(), &change(&config, request, &now())).await?;
    audit(request, "create", key.id(), None, Some(&config));
    outcome(key.expose(), "created")
}

/// `PUT …/api_keys/{api_key}`: another config for a key.
pub(crate) async fn update(api: &Api, request: Request<'_>, api_key: &str) -> Result<ProxyResponse, Error> {
    let config = config(request.event)?;
    let key = api.keyring.parse_key_or_id(api_key).ok_or(Error::KeyNotFound)?;
    let before = api.store.update(&key, &change(&config, request, &now())).await?.ok_or(Error::KeyNotFound)?;
    audit(request, "update", key.id, before.config.as_deref(), Some(&config));
    outcome(api_key, "updated")
}

/// `DELETE …/api_keys/delete/{api_key}`: the end of a key.
pub(crate) async fn delete(api: &Api, request: Request<'_>, api_key: &str) -> Result<ProxyResponse, Error> {
    let key = api.keyring.parse_key_or_id(api_key).ok_or(Error::KeyNotFound)?;
    let before = api.store.delete(&key).await?.ok_or(Error::KeyNotFound)?;
    audit(request, "delete", key.id, before.config.as_deref(), None);
    outcome(api_key, "deleted")
}

/// `POST …/api_keys/verify`: may this key do this, from there, now?
pub(crate) async fn verify(api: &Api, request: Request<'_>) -> Result<ProxyResponse, Error> {
    let body = body(request.event)?;
    // The body holds a key, so that a syntax error must not repeat its text.
    let question = members(&body).map_err(without_text).and_then(Question::parse)?;
    let found = api.store.find(&api.keyring, &question.api_key).await?;
    let body = match access::decide(&found, question.permission, question.source, OffsetDateTime::now_utc()) {
        Ok((id, config)) => format!(r#"{{"valid":true,"key_id":"{id}","config":{}}}"#, config.as_str()),
        Err(reason) => {
            let key_id = found.key_id().map(|id| id.to_string());
            tracing::info!(reason = reason.as_str(), key_id, actor = request.caller, "denied");
            format!(r#"{{"valid":false,"reason":"{}"}}"#, reason.as_str())
        }
    };
    Ok(ProxyResponse::json(200, body))
}

/// The body of a verify: `{"api_key": …, "permission"?: …, "source_ip"?: …}`.
struct Question {
    api_key: String,
    permission: Option<Permission>,
    source: Source,
}

impl Question {
    fn parse(members: Vec<(String, &RawValue)>) -> Result<Self, Error> {
        let mut details = Vec::new();
        let member = |name: &str| members.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
        let optional = |name: &str| member(name).filter(|value| value.get() != "null");
        let api_key = match member("api_key") {
            None => Err(Detail::new(["body", "api_key"], "field required", "value_error.missing")),
            Some(value) if value.get() == "null" => {
                Err(Detail::new(["body", "api_key"], "none is not an allowed value", "type_error.none.not_allowed"))
            }
            Some(value) => json::string(value)
                .ok_or_else(|| Detail::new(["body", "api_key"], "str type expected", "type_error.str")),
        };
        let permission = optional("permission").map(|value| {
            let permission = json::string(value).and_then(|word| Permission::parse(&word));
            permission.ok_or_else(|| Permission::detail(vec!["body".into(), "permission".into()]))
        });
        let source = optional("source_ip").map(|value| {
            let address = json::string(value).and_then(|text| text.parse().ok());
            let msg = "value is not a valid IPv4 or IPv6 address";
            address.ok_or_else(|| Detail::new(["body", "source_ip"], msg, "value_error.ipvanyaddress"))
        });
        let mut valid = |detail| details.push(detail);
        let api_key = api_key.map_err(&mut valid).ok();
        let permission = permission.and_then(|permission| permission.map_err(&mut valid).ok());
        let source =
            source.and_then(|address| address.map_err(&mut valid).ok()).map_or(Source::Unsaid, Source::Address);
        match api_key {
            Some(api_key) if details.is_empty() => Ok(Self { api_key, permission, source }),
            _ => Err(Error::Invalid(details)),
        }
    }
}

fn without_text(error: Error) -> Error {
    match error {
        Error::Invalid(details) => {
            Error::Invalid(details.into_iter().map(|detail| Detail { ctx: None, ..detail }).collect())
        }
        other => other,
    }
}

fn outcome(api_key: &str, result: &'static str) -> Result<ProxyResponse, Error> {
    let body = serde_json::to_string(&Outcome { api_key, result }).map_err(|error| Error::Internal(error.into()))?;
    Ok(ProxyResponse::json(200, body))
}

fn change<'a>(config: &'a KeyConfig, request: Request<'a>, at: &'a str) -> Change<'a> {
    Change { config, caller: request.caller, at }
}

/// Now as RFC 3339, always with milliseconds, so that the texts sort as the times do.
fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let (year, month, day) = now.to_calendar_date();
    let (hour, minute, second, millisecond) = now.to_hms_milli();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z", u8::from(month))
}

/// One line a change: who did what to which key, and from where.
fn audit(request: Request<'_>, action: &str, key_id: KeyId, before: Option<&str>, after: Option<&KeyConfig>) {
    let permissions =
        |config: Option<&KeyConfig>| config.and_then(|config| config.permissions).map_or("none", |p| p.as_str());
    let before = before.and_then(|text| KeyConfig::parse(text).ok());
    tracing::info!(
        action,
        %key_id,
        actor = request.caller,
        source_ip = request.event.source_ip().unwrap_or_default(),
        api_request_id = request.event.request_id().unwrap_or_default(),
        permissions_before = permissions(before.as_ref()),
        permissions = permissions(after),
        "audit"
    );
}

/// The body's text; FastAPI looks for one first, then at the Content-Type, and only then reads it.
fn body(event: &ProxyEvent) -> Result<Cow<'_, str>, Error> {
    if event.body_len() == 0 {
        return Err(missing(&["body"]));
    }
    if !event.header("content-type").is_none_or(is_json) {
        return Err(not_an_object().into());
    }
    event.body()
}

/// The members of the object in a body.
fn members(body: &str) -> Result<Vec<(String, &RawValue)>, Error> {
    let body = body.strip_prefix('\u{feff}').unwrap_or(body);
    let value = json::parse(body).map_err(|fault| fault.detail(body, vec!["body".into()]))?;
    match value.get() {
        "null" => Err(missing(&["body"])),
        // pydantic makes an empty object of these two.
        "[]" | "\"\"" => Ok(Vec::new()),
        _ => Ok(json::members(value).ok_or_else(not_an_object)?),
    }
}

/// The body's `config`, checked.
fn config(event: &ProxyEvent) -> Result<KeyConfig, Error> {
    let body = body(event)?;
    match members(&body)?.into_iter().find(|(name, _)| name == "config").map(|(_, config)| config.get()) {
        None => Err(missing(&["body", "config"])),
        Some("null") => {
            Err(Detail::new(["body", "config"], "none is not an allowed value", "type_error.none.not_allowed").into())
        }
        Some(config) => KeyConfig::parse(config),
    }
}

fn not_an_object() -> Detail {
    Detail::new(["body"], "value is not a valid dict", "type_error.dict")
}

fn missing(place: &[&str]) -> Error {
    Detail::new(place.iter().copied(), "field required", "value_error.missing").into()
}

/// Whether a Content-Type is JSON's: `application/json` or `application/…+json`; an empty one says nothing.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let subtype = essence.strip_prefix("application/").filter(|subtype| !subtype.contains('/'));
    content_type.trim().is_empty() || subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

fn limit(text: Option<&str>) -> Result<Option<usize>, Error> {
    let Some(text) = text else { return Ok(None) };
    let place = ["query", "limit"];
    match text.trim().parse::<i64>() {
        Ok(limit @ 1..) => Ok(Some(usize::try_from(limit).unwrap_or(usize::MAX))),
        Ok(_) => {
            let detail =
                Detail::new(place, "ensure this value is greater than or equal to 1", "value_error.number.not_ge");
            Err(Detail { ctx: Some(serde_json::json!({ "limit_value": 1 })), ..detail }.into())
        }
        Err(_) => Err(Detail::new(place, "value is not a valid integer", "type_error.integer").into()),
    }
}

/// An id, with or without `gaia_`, as a ULID.
fn after(text: Option<&str>) -> Result<Option<String>, Error> {
    let Some(text) = text else { return Ok(None) };
    let id = KeyId::parse(text).or_else(|| KeyId::from_ulid(text));
    let id = id.ok_or_else(|| Detail::new(["query", "after"], "value is not the id of a key", "value_error.key_id"))?;
    Ok(Some(id.ulid()))
}

/// A list being written: the stored texts go out as they are.
#[derive(Default)]
struct List {
    body: String,
    /// The body's length in the envelope.
    escaped: usize,
    count: usize,
    /// The id of the last key written.
    last: String,
}

impl List {
    /// Writes one key, or says that it would be too much.
    fn push(&mut self, api: &Api, item: &Item) -> Result<bool, Error> {
        let id = KeyId::from_ulid(&item.id);
        let config = item.config.as_deref().filter(|config| is_object(config));
        if id.is_none() || config.is_none() || item.keyring.is_none() {
            tracing::error!(id = item.id, "an item of the table is not one that this service wrote");
        }
        let key = id.zip(item.keyring.as_deref()).and_then(|(id, master)| api.keyring.key(id, master));
        let key = key.filter(|_| api.key_disclosure == KeyDisclosure::Full);
        let shown = key.as_ref().map_or_else(|| format!("gaia_{}", item.id), |key| ApiKey::expose(key).to_owned());
        let shown = serde_json::to_string(&shown).map_err(|error| Error::Internal(error.into()))?;
        let entry = format!("{{\"api_key\":{shown},\"config\":{}}}", config.unwrap_or("null"));
        let escaped =
            entry.len() + entry.bytes().filter(|byte| matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t')).count();
        if self.escaped + escaped > MAX_LIST {
            return Ok(false);
        }
        self.body.push(if self.count == 0 { '[' } else { ',' });
        self.body.push_str(&entry);
        self.escaped += escaped + 1;
        self.count += 1;
        self.last = format!("gaia_{}", item.id);
        Ok(true)
    }

    fn into_response(mut self) -> ProxyResponse {
        if self.count == 0 {
            self.body.push('[');
        }
        self.body.push(']');
        ProxyResponse::json(200, self.body)
    }
}

fn is_object(text: &str) -> bool {
    text.starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok()
}
