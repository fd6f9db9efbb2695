//! Reads and checks the body, headers and query parameters of a request, in FastAPI's order.

use keys::api_key::KeyId;
use keys::config::{ConfigErrors, FIELDS, KeyConfig, MAX_CONFIG, Rejections};
use keys::json::{self, Fields};
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};
use serde::Deserialize;

use crate::api::invalid;
use crate::error::{Detail, Error};
use crate::store::IdempotencyToken;

/// A request whose caller is authenticated and whose size is checked.
#[derive(Clone, Copy)]
pub(super) struct ApiRequest<'a> {
    /// As lambda_http read it.
    pub http: &'a Request,
    /// The caller's IAM ARN or JWT subject: `actor` in the log.
    pub caller: &'a str,
    /// What the path has in place of `{api_key}`; empty if it has no such place.
    pub api_key: &'a str,
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
    fn config<T>(&self, parse: impl Fn(&str) -> Result<T, ConfigErrors>) -> Result<T, Error> {
        let body = without_mark(self.body(not_an_object)?);
        let value = json::syntax(body).map_err(|fault| invalid::fault(fault, body))?;
        let fields = json::fields(value);
        let configs = fields.iter().flatten().filter(|(name, _)| name == "config");
        if configs
            .clone()
            .any(|(_, config)| config.get().len() > MAX_CONFIG)
        {
            return Err(invalid::config_too_long());
        }
        json::check(body).map_err(|fault| invalid::fault(fault, body))?;
        let fields = match value.get() {
            "null" => return Err(missing(&["body"]).into()),
            _ => fields.ok_or_else(not_an_object)?,
        };
        let config = match fields.iter().find(|(name, _)| name == "config") {
            None => return Err(missing(&["body", "config"]).into()),
            Some((_, config)) if config.get() == "null" => {
                return Err(null(&["body", "config"]).into());
            }
            Some((_, config)) => parse(config.get()).map_err(Error::from),
        };
        match (config, misplaced(&fields)) {
            (Err(Error::Invalid(details)), misplaced) => Err(details
                .into_iter()
                .chain(misplaced)
                .collect::<Vec<_>>()
                .into()),
            (Ok(_), misplaced) if !misplaced.is_empty() => Err(misplaced.into()),
            (config, _) => config,
        }
    }

    /// The body of an endpoint of our own. It may hold a key, so no error repeats its text.
    pub fn typed<T: Deserialize<'a>>(&self) -> Result<T, Error> {
        let body = without_mark(self.body(wrong_content_type)?);
        let value = json::parse(body).map_err(|fault| Detail {
            ctx: None,
            ..invalid::fault(fault, body)
        })?;
        match value.get().as_bytes() {
            b"null" => Err(missing(&["body"]).into()),
            // serde would take a list for the fields in order.
            [b'{', ..] => {
                let mut deserializer = serde_json::Deserializer::from_str(value.get());
                serde_path_to_error::deserialize(&mut deserializer)
                    .map_err(|error| invalid::typed(&error).into())
            }
            _ => Err(not_an_object().into()),
        }
    }

    /// The query's `details`. Default: false.
    pub fn details(&self) -> Result<bool, Error> {
        // The words that pydantic takes for a boolean.
        match self
            .query("details")
            .map(|text| text.to_lowercase())
            .as_deref()
        {
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
        let Some(text) = self.query("limit") else {
            return Ok(None);
        };
        let place = ["query", "limit"];
        match text.trim().parse::<i64>() {
            Ok(limit @ 1..) => Ok(Some(usize::try_from(limit).unwrap_or(usize::MAX))),
            Ok(_) => {
                let detail = Detail::new(
                    place,
                    "ensure this value is greater than or equal to 1",
                    "value_error.number.not_ge",
                );
                Err(Detail {
                    ctx: Some(serde_json::json!({ "limit_value": 1 })),
                    ..detail
                }
                .into())
            }
            Err(_) => {
                Err(Detail::new(place, "value is not a valid integer", "type_error.integer").into())
            }
        }
    }

    /// The query's `after` as a ULID: an ID, with or without `gaia_`.
    pub fn after(&self) -> Result<Option<String>, Error> {
        let Some(text) = self.query("after") else {
            return Ok(None);
        };
        let id = KeyId::parse(&text).or_else(|| KeyId::from_ulid(&text));
        let id = id.ok_or_else(|| {
            Detail::new(
                ["query", "after"],
                "value is not the ID of a key",
                "value_error.key_id",
            )
        })?;
        Ok(Some(id.ulid()))
    }

    /// The header `Idempotency-Key` as a token of this operation, caller and body.
    pub fn idempotency_token(&self, operation: &str) -> Result<Option<IdempotencyToken>, Error> {
        let Some(header) = self.header("idempotency-key") else {
            return Ok(None);
        };
        if header.is_empty()
            || header.len() > 255
            || !header.chars().all(|c| c.is_ascii_graphic() || c == ' ')
        {
            let msg = "must be 1 to 255 ASCII characters, none of them a control character";
            return Err(Detail::new(
                ["header", "idempotency-key"],
                msg,
                "value_error.idempotency_key",
            )
            .into());
        }
        let body = self.body(wrong_content_type)?;
        Ok(Some(IdempotencyToken::new(
            operation,
            self.caller,
            issuer(self.http),
            header,
            body,
        )))
    }

    /// The body's text. Like FastAPI, checks first that there is one, then the Content-Type, then
    /// the encoding. `wrong_content_type` is the entry of the 422 for another Content-Type than
    /// JSON.
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
        parameters
            .filter(|(key, _)| key == name)
            .last()
            .map(|(_, value)| value.into_owned())
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

/// The caller: the IAM principal's ARN or the JWT's subject. Each format has its own place for
/// either.
pub(super) fn caller(request: &Request) -> Option<&str> {
    let caller = match request.request_context_ref()? {
        RequestContext::ApiGatewayV1(context) => {
            let subject = || context.authorizer.fields.get("sub")?.as_str();
            context
                .identity
                .user_arn
                .as_deref()
                .filter(|arn| !arn.is_empty())
                .or_else(subject)
        }
        RequestContext::ApiGatewayV2(context) => {
            let authorizer = context.authorizer.as_ref()?;
            let arn = authorizer
                .iam
                .as_ref()
                .and_then(|iam| iam.user_arn.as_deref());
            let subject = || {
                authorizer
                    .jwt
                    .as_ref()?
                    .claims
                    .get("sub")
                    .map(String::as_str)
            };
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
        RequestContext::ApiGatewayV2(context) => context
            .authorizer
            .as_ref()?
            .jwt
            .as_ref()?
            .claims
            .get("iss")
            .map(String::as_str),
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

/// The body without a byte order mark in front.
fn without_mark(body: &str) -> &str {
    body.strip_prefix('\u{feff}').unwrap_or(body)
}

/// Whether a Content-Type is JSON's: `application/json` or `application/…+json`. An empty one
/// counts as JSON.
fn is_json(content_type: &str) -> bool {
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let subtype = essence
        .strip_prefix("application/")
        .filter(|subtype| !subtype.contains('/'));
    content_type.trim().is_empty()
        || subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// One detail for each field with a meaning that stands beside `config`, where it would have none.
/// Null counts as absent, and GAIA ignores other names.
fn misplaced(fields: &Fields<'_>) -> Vec<Detail> {
    let known = |name: &str| FIELDS.iter().any(|field| field.name == name);
    let misplaced = fields
        .iter()
        .filter(|(name, value)| known(name) && value.get() != "null");
    let detail = |name: &str| {
        Detail::new(
            ["body", name],
            "belongs inside config, not beside it",
            "value_error.misplaced",
        )
    };
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
    Detail::new(
        place.iter().copied(),
        "field required",
        "value_error.missing",
    )
}

fn null(place: &[&str]) -> Detail {
    Detail::new(
        place.iter().copied(),
        "none is not an allowed value",
        "type_error.none.not_allowed",
    )
}
