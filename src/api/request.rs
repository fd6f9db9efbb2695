//! Reads and checks the body, headers and query parameters of a request, in FastAPI's order.

use std::net::IpAddr;

use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};
use time::{Duration, OffsetDateTime};

use crate::error::{Detail, Error};
use crate::keys::access::Source;
use crate::keys::api_key::{self, KeyId};
use crate::keys::config::{self, FIELDS, KeyConfig, MAX_CONFIG, Rejections};
use crate::keys::json::{self, Fields};
use crate::keys::permission::Permission;
use crate::keys::route::Route;
use crate::store::IdempotencyToken;

/// A request whose caller is authenticated and whose size is checked.
#[derive(Clone, Copy)]
pub(super) struct ApiRequest<'a> {
    /// As lambda_http read it.
    pub http: &'a Request,
    /// The caller's IAM ARN or JWT subject: `actor` in the log.
    pub caller: &'a str,
}

/// The body of a rotation: `{"grace_seconds": …, "expires_at"?: …}`.
pub(super) struct RotationBody {
    /// For how long the old key keeps working.
    pub grace: Duration,
    /// The new key's `expires_at`, as JSON: a string or `null`. `None` if the body doesn't have it.
    pub expires_at: Option<String>,
    /// The same as a time. `None` if it is absent or null.
    pub end: Option<OffsetDateTime>,
}

/// The longest grace period, in seconds: a year.
const MAX_GRACE: i64 = 31_536_000;

/// The body of a verify: `{"api_key": …, "permission"?: …, "route"?: …, "source_ip"?: …}`.
pub(super) struct Question {
    pub api_key: String,
    pub permission: Option<Permission>,
    /// `METHOD /path`, checked.
    pub route: Option<String>,
    pub source: Source,
}

impl<'a> ApiRequest<'a> {
    /// The config of a new key, checked.
    pub fn new_config(&self) -> Result<KeyConfig, Error> {
        self.config(KeyConfig::parse_new)
    }

    /// The config of an update, checked as far as that doesn't depend on the stored config.
    pub fn changed_config(&self) -> Result<(KeyConfig, Rejections), Error> {
        self.config(KeyConfig::parse_changed)
    }

    /// The body's `config`, as `parse` reads it.
    fn config<T>(&self, parse: impl Fn(&str) -> Result<T, Error>) -> Result<T, Error> {
        let body = self.body(not_an_object)?;
        if has_long_config(body) {
            return Err(Error::TooLarge("config exceeds 4096 bytes"));
        }
        let fields = fields(body)?;
        let config = match fields.iter().find(|(name, _)| name == "config").map(|(_, config)| config.get()) {
            None => return Err(missing(&["body", "config"]).into()),
            Some("null") => return Err(null(&["body", "config"]).into()),
            Some(config) => parse(config),
        };
        let misplaced = misplaced(&fields);
        match config {
            Ok(config) if misplaced.is_empty() => Ok(config),
            Ok(_) => Err(misplaced.into()),
            Err(Error::Invalid(mut details)) => {
                details.extend(misplaced);
                Err(details.into())
            }
            Err(other) => Err(other),
        }
    }

    /// The body of a verify. It holds a key, so a syntax error must not repeat its text.
    pub fn question(&self) -> Result<Question, Error> {
        let body = self.body(wrong_content_type)?;
        let fields = fields(body).map_err(|error| match error {
            Error::Invalid(details) => {
                details.into_iter().map(|detail| Detail { ctx: None, ..detail }).collect::<Vec<_>>().into()
            }
            other => other,
        })?;
        let mut details = Vec::new();
        let mut valid = |detail| details.push(detail);
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
        let optional = |name: &str| field(name).filter(|value| value.get() != "null");

        let api_key = match field("api_key") {
            None => Err(missing(&["body", "api_key"])),
            Some(value) if value.get() == "null" => Err(null(&["body", "api_key"])),
            Some(value) => json::string(value)
                .ok_or_else(|| Detail::new(["body", "api_key"], "str type expected", "type_error.str")),
        };
        let api_key = api_key.map_err(&mut valid).unwrap_or_default();
        let api_key = api_key::without_scheme(&api_key).unwrap_or(&api_key).to_owned();
        let permission = optional("permission").map(|value| {
            let permission = json::string(value).and_then(|word| Permission::parse(&word));
            permission.ok_or_else(|| Permission::detail(vec!["body".into(), "permission".into()]))
        });
        let permission = permission.and_then(|permission| permission.map_err(&mut valid).ok());
        let route = optional("route").map(|value| {
            let route = json::string(value).filter(|text| Route::parse(text).is_some());
            let msg = "must be a method, a space and a path that begins with a slash";
            route.ok_or_else(|| Detail::new(["body", "route"], msg, "value_error.route"))
        });
        let route = route.and_then(|route| route.map_err(&mut valid).ok());
        let address = optional("source_ip").map(|value| {
            let address = json::string(value).and_then(|text| text.parse::<IpAddr>().ok());
            let msg = "value is not a valid IPv4 or IPv6 address";
            address.ok_or_else(|| Detail::new(["body", "source_ip"], msg, "value_error.ipvanyaddress"))
        });
        let address = address.and_then(|address| address.map_err(&mut valid).ok());
        // A server with one socket for both families writes an IPv4 client's address as IPv4-mapped.
        let source = address.map_or(Source::Unknown, |address| Source::Address(address.to_canonical()));
        // To ignore a mistyped field would be to respond "valid" to a question that nobody checked.
        details.extend(extra_fields(&fields, &["api_key", "permission", "route", "source_ip"]));
        if details.is_empty() { Ok(Question { api_key, permission, route, source }) } else { Err(details.into()) }
    }

    /// The body of a rotation.
    pub fn rotation(&self) -> Result<RotationBody, Error> {
        let fields = fields(self.body(wrong_content_type)?)?;
        let mut details = Vec::new();
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| *value);

        let place = ["body", "grace_seconds"];
        let grace = field("grace_seconds").map(|value| (value.get(), value.get().parse::<i64>()));
        let bound = |msg: String, kind, limit: i64| Detail {
            ctx: Some(serde_json::json!({ "limit_value": limit })),
            ..Detail::new(place, msg, kind)
        };
        let grace = match grace {
            None => Err(missing(&place)),
            Some(("null", _)) => Err(null(&place)),
            Some((_, Err(_))) => Err(Detail::new(place, "value is not a valid integer", "type_error.integer")),
            Some((_, Ok(..0))) => {
                Err(bound("ensure this value is greater than or equal to 0".into(), "value_error.number.not_ge", 0))
            }
            Some((_, Ok(seconds))) if seconds > MAX_GRACE => {
                let msg = format!("ensure this value is less than or equal to {MAX_GRACE}");
                Err(bound(msg, "value_error.number.not_le", MAX_GRACE))
            }
            Some((_, Ok(seconds))) => Ok(Duration::seconds(seconds)),
        };
        let grace = grace.map_err(|detail| details.push(detail)).unwrap_or_default();
        let expires_at = field("expires_at");
        let place = || vec!["body".into(), "expires_at".into()];
        let end = expires_at.map(|value| config::parse_new_expiry(value, place()));
        let end = end.and_then(|end| end.map_err(|detail| details.push(detail)).ok()).flatten();
        details.extend(extra_fields(&fields, &["grace_seconds", "expires_at"]));
        if details.is_empty() {
            Ok(RotationBody { grace, expires_at: expires_at.map(|value| value.get().to_owned()), end })
        } else {
            Err(details.into())
        }
    }

    /// The query's `details`. Default: false.
    pub fn details(&self) -> Result<bool, Error> {
        // The words that pydantic takes for a boolean.
        match self.query("details").map(|text| text.to_lowercase()).as_deref() {
            None | Some("false" | "0" | "off" | "f" | "n" | "no") => Ok(false),
            Some("true" | "1" | "on" | "t" | "y" | "yes") => Ok(true),
            Some(_) => {
                let msg = "value could not be parsed to a boolean";
                Err(Detail::new(["query", "details"], msg, "type_error.bool").into())
            }
        }
    }

    /// The query's `limit`: at least 1.
    pub fn limit(&self) -> Result<Option<usize>, Error> {
        let Some(text) = self.query("limit") else { return Ok(None) };
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

    /// The query's `after` as a ULID: an ID, with or without `gaia_`.
    pub fn after(&self) -> Result<Option<String>, Error> {
        let Some(text) = self.query("after") else { return Ok(None) };
        let id = KeyId::parse(&text).or_else(|| KeyId::from_ulid(&text));
        let id =
            id.ok_or_else(|| Detail::new(["query", "after"], "value is not the ID of a key", "value_error.key_id"))?;
        Ok(Some(id.ulid()))
    }

    /// The header `Idempotency-Key` as a token of this operation, caller and body.
    pub fn idempotency_token(&self, operation: &str) -> Result<Option<IdempotencyToken>, Error> {
        let Some(header) = self.header("idempotency-key") else { return Ok(None) };
        if header.is_empty() || header.len() > 255 || !header.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
            let msg = "must be 1 to 255 ASCII characters, none of them a control character";
            return Err(Detail::new(["header", "idempotency-key"], msg, "value_error.idempotency_key").into());
        }
        let body = self.body(wrong_content_type)?;
        Ok(Some(IdempotencyToken::new(operation, self.caller, issuer(self.http), header, body)))
    }

    /// The body's text. Like FastAPI, checks first that there is one, then the Content-Type, then the encoding.
    /// `wrong_content_type` is the entry of the 422 for another Content-Type than JSON.
    fn body(&self, wrong_content_type: fn() -> Detail) -> Result<&'a str, Error> {
        if self.http.body().is_empty() {
            return Err(missing(&["body"]).into());
        }
        if !self.header("content-type").is_none_or(is_json) {
            return Err(wrong_content_type().into());
        }
        std::str::from_utf8(self.http.body()).map_err(|_| Error::UndecodableBody)
    }

    /// A query parameter, decoded. Of several, the last counts, as in FastAPI.
    fn query(&self, name: &str) -> Option<String> {
        let parameters = form_urlencoded::parse(self.http.uri().query()?.as_bytes());
        parameters.filter(|(key, _)| key == name).last().map(|(_, value)| value.into_owned())
    }

    /// A header's value. One that isn't UTF-8 becomes a character that no check accepts.
    fn header(&self, name: &str) -> Option<&'a str> {
        Some(std::str::from_utf8(self.http.headers().get(name)?.as_bytes()).unwrap_or("\u{fffd}"))
    }

    /// The caller's address, as the gateway saw it.
    pub fn source_ip(&self) -> Option<&'a str> {
        match self.http.request_context_ref()? {
            RequestContext::ApiGatewayV1(context) => context.identity.source_ip.as_deref(),
            RequestContext::ApiGatewayV2(context) => context.http.source_ip.as_deref(),
            _ => None,
        }
    }

    /// API Gateway's ID of the request.
    pub fn request_id(&self) -> Option<&'a str> {
        request_id(self.http)
    }
}

/// The caller: the IAM principal's ARN or the JWT's subject. Each format has its own place for either.
pub(super) fn caller(request: &Request) -> Option<&str> {
    let caller = match request.request_context_ref()? {
        RequestContext::ApiGatewayV1(context) => {
            let subject = || context.authorizer.fields.get("sub")?.as_str();
            context.identity.user_arn.as_deref().filter(|arn| !arn.is_empty()).or_else(subject)
        }
        RequestContext::ApiGatewayV2(context) => {
            let authorizer = context.authorizer.as_ref()?;
            let arn = authorizer.iam.as_ref().and_then(|iam| iam.user_arn.as_deref());
            let subject = || authorizer.jwt.as_ref()?.claims.get("sub").map(String::as_str);
            arn.filter(|arn| !arn.is_empty()).or_else(subject)
        }
        _ => None,
    };
    caller.filter(|caller| !caller.is_empty())
}

/// The issuer of the caller's JWT. Only together with it is a subject one caller.
fn issuer(request: &Request) -> Option<&str> {
    match request.request_context_ref()? {
        RequestContext::ApiGatewayV1(context) => context.authorizer.fields.get("iss")?.as_str(),
        RequestContext::ApiGatewayV2(context) => {
            context.authorizer.as_ref()?.jwt.as_ref()?.claims.get("iss").map(String::as_str)
        }
        _ => None,
    }
}

/// API Gateway's ID of a request.
pub(super) fn request_id(request: &Request) -> Option<&str> {
    match request.request_context_ref()? {
        RequestContext::ApiGatewayV1(context) => context.request_id.as_deref(),
        RequestContext::ApiGatewayV2(context) => context.request_id.as_deref(),
        _ => None,
    }
}

/// The stage, unless it is `$default`, which is in no path.
pub(super) fn stage(request: &Request) -> Option<&str> {
    let stage = match request.request_context_ref()? {
        RequestContext::ApiGatewayV1(context) => context.stage.as_deref(),
        RequestContext::ApiGatewayV2(context) => context.stage.as_deref(),
        _ => None,
    };
    stage.filter(|stage| *stage != "$default")
}

/// One detail for each field that the body may not have, sorted by name, as pydantic 1 reports them.
fn extra_fields(fields: &Fields<'_>, known: &[&str]) -> Vec<Detail> {
    let mut unknown: Vec<_> =
        fields.iter().map(|(name, _)| name.as_str()).filter(|name| !known.contains(name)).collect();
    unknown.sort_unstable();
    let extra = |name| Detail::new(["body", name], "extra fields not permitted", "value_error.extra");
    unknown.into_iter().map(extra).collect()
}

/// Whether a config in the body is too long. Checked before [`fields`] checks the whole body in depth.
fn has_long_config(body: &str) -> bool {
    let fields = serde_json::from_str(without_mark(body)).ok().and_then(json::fields).unwrap_or_default();
    fields.iter().any(|(name, value)| name == "config" && value.get().len() > MAX_CONFIG)
}

/// The fields of the object in a body.
fn fields(body: &str) -> Result<Fields<'_>, Error> {
    let body = without_mark(body);
    let value = json::parse(body).map_err(|fault| fault.detail(body, vec!["body".into()]))?;
    match value.get() {
        "null" => Err(missing(&["body"]).into()),
        _ => Ok(json::fields(value).ok_or_else(not_an_object)?),
    }
}

/// The body without a byte order mark in front.
fn without_mark(body: &str) -> &str {
    body.strip_prefix('\u{feff}').unwrap_or(body)
}

/// Whether a Content-Type is JSON's: `application/json` or `application/…+json`. An empty one counts as JSON.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let subtype = essence.strip_prefix("application/").filter(|subtype| !subtype.contains('/'));
    content_type.trim().is_empty() || subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// One detail for each field with a meaning that stands beside `config`, where it would have none. Null counts as absent, and
/// GAIA ignores other names.
fn misplaced(fields: &Fields<'_>) -> Vec<Detail> {
    let known = |name: &str| FIELDS.iter().any(|field| field.name == name);
    let misplaced = fields.iter().filter(|(name, value)| known(name) && value.get() != "null");
    let detail =
        |name: &str| Detail::new(["body", name], "belongs inside config, not beside it", "value_error.misplaced");
    misplaced.map(|(name, _)| detail(name)).collect()
}

/// GAIA's entry also for a Content-Type that isn't JSON's.
fn not_an_object() -> Detail {
    Detail::new(["body"], "value is not a valid dict", "type_error.dict")
}

fn wrong_content_type() -> Detail {
    let msg = "must be application/json or application/...+json";
    Detail::new(["header", "content-type"], msg, "value_error.content_type")
}

fn missing(place: &[&str]) -> Detail {
    Detail::new(place.iter().copied(), "field required", "value_error.missing")
}

fn null(place: &[&str]) -> Detail {
    Detail::new(place.iter().copied(), "none is not an allowed value", "type_error.none.not_allowed")
}
