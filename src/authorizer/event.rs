//! The authorizer's events in four formats. Only the fields that are used are read.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::Cause;
use crate::keys::access::Source;
use crate::keys::api_key;

/// An event of a REST API (TOKEN or REQUEST) or an HTTP API (payload format 1.0 or 2.0). It holds a key, so it has no `Debug`.
/// Sources: <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-input.html>,
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html>
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizerEvent {
    /// `TOKEN` or `REQUEST`
    #[serde(rename = "type")]
    kind: Option<String>,
    /// In a TOKEN event, the header that is the identity source. In 1.0 all identity sources, joined, which isn't used.
    authorization_token: Option<String>,
    /// All but 2.0.
    method_arn: Option<String>,
    /// 2.0 only.
    route_arn: Option<String>,
    /// REQUEST and 1.0 only.
    http_method: Option<String>,
    headers: Option<HashMap<String, String>>,
    /// REQUEST and 1.0 only.
    multi_value_headers: Option<HashMap<String, Vec<String>>>,
    request_context: RequestContext,
}

impl AuthorizerEvent {
    /// Reads a payload. Errors: it isn't such an event. Serde's own error would repeat the text of a header.
    pub fn read(payload: &RawValue) -> Result<Self, Cause> {
        serde_json::from_str(payload.get()).map_err(|_| "the payload is not an authorizer's event".into())
    }

    /// The request's own method. `None` in a TOKEN event: its ARN names the method, unless the route is `ANY`.
    pub(super) fn method(&self) -> Option<&str> {
        self.request_context.http.method.as_deref().or(self.http_method.as_deref())
    }

    /// The ARN of the request's stage, method and path. `None` if there is none, or it isn't one.
    pub(super) fn arn(&self) -> Option<MethodArn<'_>> {
        MethodArn::parse(self.route_arn.as_deref().or(self.method_arn.as_deref())?)
    }

    /// Whether it is an event of an HTTP API with payload format 2.0.
    pub(super) fn is_format_2(&self) -> bool {
        self.route_arn.is_some()
    }

    /// The caller's address, as the gateway saw it.
    pub(super) fn source_ip(&self) -> Option<&str> {
        let context = &self.request_context;
        context.http.source_ip.as_deref().or(context.identity.source_ip.as_deref())
    }

    /// API Gateway's ID of the request.
    pub(super) fn request_id(&self) -> Option<&str> {
        self.request_context.request_id.as_deref()
    }

    /// What should be a key: the value of `key_header`, without the scheme if that is `authorization`.
    pub(super) fn key(&self, key_header: &str) -> Option<&str> {
        let value = match self.is_token() {
            true => self.authorization_token.as_deref()?,
            false => self.header(key_header)?,
        };
        if key_header == "authorization" { api_key::without_scheme(value) } else { Some(value) }
    }

    /// The header's value. `None` if it is missing or present more than once.
    fn header(&self, name: &str) -> Option<&str> {
        let all = self.multi_value_headers.iter().flatten().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let mut values: Vec<_> = all.flat_map(|(_, values)| values).collect();
        if values.is_empty() {
            let single = self.headers.iter().flatten().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            values = single.map(|(_, value)| value).collect();
        }
        if let [value] = values.as_slice() { Some(value) } else { None }
    }

    fn is_token(&self) -> bool {
        self.kind.as_deref() == Some("TOKEN")
    }

    /// The request's source. A TOKEN event doesn't name the address, but the gateway checks the policy's conditions.
    pub(super) fn source(&self) -> Source {
        if self.is_token() {
            return Source::CheckedLater;
        }
        Source::parse(self.source_ip())
    }
}

/// What API Gateway knows about a request.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RequestContext {
    request_id: Option<String>,
    /// 2.0 only.
    http: Http,
    /// REQUEST and 1.0 only.
    identity: Identity,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Http {
    method: Option<String>,
    source_ip: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Identity {
    source_ip: Option<String>,
}

/// `arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/PATH`, in its parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MethodArn<'a> {
    /// Everything up to and including the stage.
    pub stage: &'a str,
    /// The method, or what the route has in its place (`ANY`, `$default`).
    pub method: &'a str,
    /// The path without the stage, beginning with a slash.
    pub path: &'a str,
}

impl<'a> MethodArn<'a> {
    /// Reads an ARN. A missing part is empty. Returns `None` if it has no slash or doesn't begin with `arn:`.
    pub fn parse(arn: &'a str) -> Option<Self> {
        let (api, rest) = arn.split_once('/')?;
        let stage_len = rest.find('/').unwrap_or(rest.len());
        let (stage, below) = arn.split_at_checked(api.len() + 1 + stage_len)?;
        let below = below.strip_prefix('/').unwrap_or(below);
        let (method, path) = below.split_at_checked(below.find('/').unwrap_or(below.len()))?;
        api.starts_with("arn:").then_some(Self { stage, method, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGE: &str = "arn:aws:execute-api:eu-central-1:123456789012:abcdefghij/live";

    #[test]
    fn arns_of_every_route() {
        let parse = |below: &str| {
            let arn = format!("{STAGE}{below}");
            let arn = MethodArn::parse(&arn).unwrap();
            assert_eq!(arn.stage, STAGE);
            (arn.method.to_owned(), arn.path.to_owned())
        };
        let text = |method: &str, path: &str| (method.to_owned(), path.to_owned());
        assert_eq!(parse("/GET/a/b"), text("GET", "/a/b"));
        assert_eq!(parse("/GET/"), text("GET", "/"));
        assert_eq!(parse("/$default"), text("$default", ""));
        assert_eq!(parse(""), text("", ""));
        for wrong in ["", "arn:aws:execute-api:r:a:api", "x/y/z"] {
            assert_eq!(MethodArn::parse(wrong), None);
        }
    }
}
