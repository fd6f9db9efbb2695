//! The authorizer's events in four formats. Only the fields that are used are read, and garbage in
//! them is no key.

use keys::access::Source;
use keys::api_key;
use serde_json::value::RawValue;

use crate::error::Cause;
use crate::event::{Object, text};

/// An event of a REST API (TOKEN or REQUEST) or an HTTP API (payload format 1.0 or 2.0). It holds a
/// key, so it has no `Debug`. Sources:
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-input.html>,
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html>
pub(super) struct AuthorizerEvent<'a> {
    /// In a TOKEN event, what its identity source holds, if that is text.
    token: Option<Option<String>>,
    /// 2.0 only.
    route_arn: Option<String>,
    /// All but 2.0.
    method_arn: Option<String>,
    /// The request's own method. `None` in a TOKEN event: its ARN names the method, unless the
    /// route is `ANY`.
    pub method: Option<String>,
    /// The caller's address, as the gateway saw it. `None` in a TOKEN event.
    pub source_ip: Option<String>,
    /// API Gateway's ID of the request.
    pub request_id: Option<String>,
    headers: Object<'a>,
    /// REQUEST and 1.0 only.
    multi_value_headers: Object<'a>,
}

impl<'a> AuthorizerEvent<'a> {
    /// Reads a payload. Errors: it isn't an object.
    pub(super) fn read(payload: &'a RawValue) -> Result<Self, Cause> {
        let event = Object::read(payload).ok_or("the payload is not an authorizer's event")?;
        let context = event.object("requestContext");
        // 2.0 has the first, REQUEST and 1.0 have the second.
        let (http, identity) = (context.object("http"), context.object("identity"));
        let is_token = event.text("type").as_deref() == Some("TOKEN");
        Ok(Self {
            // 1.0 has all identity sources here, joined, which isn't used.
            token: is_token.then(|| event.text("authorizationToken")),
            route_arn: event.text("routeArn"),
            method_arn: event.text("methodArn"),
            method: http.text("method").or_else(|| event.text("httpMethod")),
            source_ip: http.source_ip().or_else(|| identity.source_ip()),
            request_id: context.text("requestId"),
            headers: event.object("headers"),
            multi_value_headers: event.object("multiValueHeaders"),
        })
    }

    /// The ARN of the request's stage, method and path. `None` if there is none, or it isn't one.
    pub(super) fn arn(&self) -> Option<MethodArn<'_>> {
        MethodArn::parse(self.route_arn.as_deref().or(self.method_arn.as_deref())?)
    }

    /// Whether it is an event of an HTTP API with payload format 2.0.
    pub(super) fn is_format_2(&self) -> bool {
        self.route_arn.is_some()
    }

    /// What should be a key: the value of `key_header`, without the scheme if that is
    /// `authorization`.
    pub(super) fn key(&self, key_header: &str) -> Option<String> {
        let value = match &self.token {
            Some(token) => token.clone()?,
            None => self.header(key_header)?,
        };
        if key_header == "authorization" {
            api_key::without_scheme(&value).map(str::to_owned)
        } else {
            Some(value)
        }
    }

    /// The header's value. `None` if it is missing, isn't text, or is present more than once,
    /// readable or not.
    fn header(&self, name: &str) -> Option<String> {
        let named =
            |(key, value): (&str, &'a RawValue)| key.eq_ignore_ascii_case(name).then_some(value);
        let lists = self.multi_value_headers.iter().filter_map(named);
        let mut values: Vec<&RawValue> = lists
            .flat_map(|list| serde_json::from_str(list.get()).unwrap_or_else(|_| vec![list]))
            .collect();
        if values.is_empty() {
            values = self.headers.iter().filter_map(named).collect();
        }
        if let [value] = values.as_slice() {
            text(value)
        } else {
            None
        }
    }

    /// The request's source. A TOKEN event doesn't name the address, but the gateway checks the
    /// policy's conditions.
    pub(super) fn source(&self) -> Source {
        match self.token {
            Some(_) => Source::CheckedLater,
            None => Source::parse(self.source_ip.as_deref()),
        }
    }
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
    /// Reads an ARN. A missing part is empty. Returns `None` if it has no slash or doesn't begin
    /// with `arn:`.
    pub fn parse(arn: &'a str) -> Option<Self> {
        let (api, rest) = arn.split_once('/')?;
        let stage_len = rest.find('/').unwrap_or(rest.len());
        let (stage, below) = arn.split_at_checked(api.len() + 1 + stage_len)?;
        let below = below.strip_prefix('/').unwrap_or(below);
        let (method, path) = below.split_at_checked(below.find('/').unwrap_or(below.len()))?;
        api.starts_with("arn:").then_some(Self {
            stage,
            method,
            path,
        })
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
