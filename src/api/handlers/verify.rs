use std::net::IpAddr;

use keys::access::{self, AccessRequest, Source};
use keys::api_key::without_scheme;
use keys::permission::Permission;
use keys::route::Route;
use keys::timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::ok;
use crate::api::Api;
use crate::api::invalid::rejected;
use crate::api::request::ApiRequest;
use crate::api::response::Response;
use crate::error::Error;

/// `{"api_key": …, "permission"?: …, "route"?: …, "source_ip"?: …}`. To ignore a mistyped field
/// would be to respond "valid" without a check.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifyRequest {
    api_key: String,
    #[serde(default, deserialize_with = "permission")]
    permission: Option<Permission>,
    #[serde(default, deserialize_with = "route")]
    route: Option<String>,
    #[serde(default, deserialize_with = "source_ip")]
    source_ip: Option<IpAddr>,
}

/// `{"valid": true, "key_id": …, "valid_until"?: …, "config": {…}}`
#[derive(Serialize)]
struct Valid<'a> {
    valid: bool,
    key_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<String>,
    config: &'a RawValue,
}

/// `{"valid": false, "reason": …}`
#[derive(Serialize)]
struct NotValid {
    valid: bool,
    reason: &'static str,
}

/// `POST …/api_keys/verify`: decides whether a key is valid now, for a permission or route, from an
/// address.
pub(super) async fn verify(api: &Api, request: ApiRequest<'_>) -> Result<Response, Error> {
    let body: VerifyRequest = request.typed()?;
    let api_key = without_scheme(&body.api_key).unwrap_or(&body.api_key);
    let source = match body.source_ip {
        // A server with one socket for both families writes an IPv4 client's address as
        // IPv4-mapped.
        Some(address) => Source::Address(address.to_canonical()),
        None => Source::Unknown,
    };
    let access = AccessRequest {
        permission: body.permission,
        route: body.route.as_deref().and_then(Route::parse),
    };
    let now = OffsetDateTime::now_utc();
    let lookup = api.store.find(&api.keyring, api_key).await?;
    match access::decide(&lookup, access, &api.read_routes, source, now) {
        Ok(allowed) => {
            api.store.record_use(allowed, now).await;
            ok(&Valid {
                valid: true,
                key_id: &allowed.key_id.to_string(),
                valid_until: allowed.until.map(timestamp::milliseconds),
                config: allowed.config.as_raw(),
            })
        }
        Err(denial) => {
            tracing::info!(
                reason = denial.as_str(),
                key_id = lookup.key_id().map(|id| id.to_string()),
                client_ip = source.address().map(|address| address.to_string()),
                actor = request.caller,
                source_ip = request.source_ip(),
                api_request_id = request.request_id(),
                "denied"
            );
            ok(&NotValid {
                valid: false,
                reason: denial.as_str(),
            })
        }
    }
}

// Errors of our own: serde's would repeat the value, which may be a key in the wrong field.

fn permission<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Permission>, D::Error> {
    let wrong = || {
        rejected(
            "type_error.enum",
            "value is not a valid enumeration member; permitted: 'read', 'write'",
        )
    };
    text(deserializer)?
        .map(|word| Permission::parse(&word).ok_or_else(wrong))
        .transpose()
}

fn route<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match text(deserializer)? {
        Some(route) if Route::parse(&route).is_none() => Err(rejected(
            "value_error.route",
            "must be a method, a space and a path that begins with a slash",
        )),
        route => Ok(route),
    }
}

fn source_ip<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    let wrong = |_| {
        rejected(
            "value_error.ipvanyaddress",
            "value is not a valid IPv4 or IPv6 address",
        )
    };
    text(deserializer)?
        .map(|address| address.parse().map_err(wrong))
        .transpose()
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}
