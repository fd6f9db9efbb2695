//! API Gateway's proxy events and responses, in the two formats that matter: 1.0 (REST APIs) and 2.0 (HTTP APIs).
//!
//! Only the members that this service reads are taken, so that nothing else a caller sends can fail to parse.
//! (lambda_http, which would be the obvious choice, panics where a caller's query holds `<` or `"`, and rejects
//! events in which a header holds a control character: either is a 500 that a caller can cause.)

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A request as API Gateway hands it to a function. It holds keys, and so has no `Debug`.
/// Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyEvent {
    /// 2.0 only: with the stage in front, unless that is `$default`.
    raw_path: Option<String>,
    /// 1.0 only: mostly without the stage.
    path: Option<String>,
    /// 1.0 only.
    http_method: Option<String>,
    /// In 2.0 the values of a repeated header are joined by commas; in 1.0 this is its last one.
    headers: Option<HashMap<String, String>>,
    /// Decoded by the gateway. In 2.0 the values of a repeated parameter are joined by commas.
    query_string_parameters: Option<HashMap<String, String>>,
    body: Option<String>,
    is_base64_encoded: bool,
    request_context: RequestContext,
}

/// What API Gateway says of a request, to functions and to authorizers alike.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RequestContext {
    request_id: Option<String>,
    stage: Option<String>,
    authorizer: Option<Authorizer>,
    /// 2.0 only.
    http: Http,
    /// 1.0 only.
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
    user_arn: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Authorizer {
    /// 2.0 with AWS_IAM.
    iam: Option<IamAuthorizer>,
    /// 2.0 with a JWT authorizer.
    jwt: Option<JwtAuthorizer>,
    /// 1.0 with a Cognito or a JWT authorizer.
    claims: Option<Claims>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IamAuthorizer {
    user_arn: Option<String>,
}

#[derive(Debug, Deserialize)]
struct JwtAuthorizer {
    claims: Option<Claims>,
}

#[derive(Debug, Deserialize)]
struct Claims {
    sub: Option<String>,
}

impl RequestContext {
    /// The method, in 2.0.
    pub fn method(&self) -> Option<&str> {
        self.http.method.as_deref()
    }

    /// The address that the request came from, as the gateway saw it.
    pub fn source_ip(&self) -> Option<&str> {
        self.http.source_ip.as_deref().or(self.identity.source_ip.as_deref())
    }

    /// API Gateway's id of the request.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }
}

impl ProxyEvent {
    /// The method, or nothing where the event has none.
    pub fn method(&self) -> &str {
        self.request_context.method().or(self.http_method.as_deref()).unwrap_or_default()
    }

    /// The path as the gateway handed it over. It isn't decoded: a second spelling would be one that an IAM policy for
    /// the first doesn't see.
    pub fn path(&self) -> &str {
        self.raw_path.as_deref().or(self.path.as_deref()).unwrap_or_default()
    }

    /// The stage, unless it is the one that stands in no path.
    pub fn stage(&self) -> Option<&str> {
        self.request_context.stage.as_deref().filter(|stage| *stage != "$default")
    }

    /// A header's value; names count in any case. Where one comes in two spellings, it is that which sorts first.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.headers.iter().flatten().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.min().map(|(_, value)| value.as_str())
    }

    /// A query parameter's value, decoded.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query_string_parameters.as_ref()?.get(name).map(String::as_str)
    }

    /// The body as text.
    pub fn body(&self) -> Result<Cow<'_, str>, Error> {
        let body = self.body.as_deref().unwrap_or_default();
        if !self.is_base64_encoded {
            return Ok(Cow::Borrowed(body));
        }
        let bytes = base64_simd::STANDARD.decode_to_vec(body).map_err(|_| Error::UndecodableBody)?;
        String::from_utf8(bytes).map(Cow::Owned).map_err(|_| Error::UndecodableBody)
    }

    /// The body's length in bytes, without decoding it.
    pub fn body_len(&self) -> usize {
        let body = self.body.as_deref().unwrap_or_default();
        if self.is_base64_encoded { body.trim_end_matches('=').len() * 3 / 4 } else { body.len() }
    }

    /// Who calls: the IAM principal's ARN or the JWT's subject, which stand in four places.
    pub fn caller(&self) -> Option<&str> {
        let context = &self.request_context;
        let authorizer = context.authorizer.as_ref();
        let iam = || authorizer?.iam.as_ref()?.user_arn.as_deref();
        let jwt = || authorizer?.jwt.as_ref()?.claims.as_ref()?.sub.as_deref();
        let claims = || authorizer?.claims.as_ref()?.sub.as_deref();
        let identity = || context.identity.user_arn.as_deref();
        [iam(), jwt(), identity(), claims()].into_iter().flatten().find(|caller| !caller.is_empty())
    }

    /// The address that the request came from, as the gateway saw it.
    pub fn source_ip(&self) -> Option<&str> {
        self.request_context.source_ip()
    }

    /// API Gateway's id of the request.
    pub fn request_id(&self) -> Option<&str> {
        self.request_context.request_id()
    }
}

/// A response as API Gateway takes it, in both formats alike. It holds keys, and so has no `Debug`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyResponse {
    /// The HTTP status code.
    pub status_code: u16,
    /// The headers, one value each.
    pub headers: HashMap<&'static str, Cow<'static, str>>,
    /// The body, always JSON text.
    pub body: String,
    /// Always false: the body is text.
    pub is_base64_encoded: bool,
}

impl ProxyResponse {
    /// A JSON response that nobody may keep: lists hold credentials.
    pub fn json(status_code: u16, body: String) -> Self {
        let headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")];
        let headers = headers.map(|(name, value)| (name, Cow::Borrowed(value))).into();
        Self { status_code, headers, body, is_base64_encoded: false }
    }

    /// The same with one header more.
    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.insert(name, value.into());
        self
    }
}

/// GAIA's `{"detail": …}`, which says nothing of a [`crate::error::Cause`].
impl From<Error> for ProxyResponse {
    fn from(error: Error) -> Self {
        let body = match &error {
            Error::Invalid(details) => serde_json::json!({ "detail": details }),
            other => serde_json::json!({ "detail": other.to_string() }),
        };
        let response = Self::json(error.status(), body.to_string());
        match error {
            // RFC 9110 asks for it; these are the two ways that the template and the README set up.
            Error::NotAuthenticated => response.with_header("WWW-Authenticate", "AWS4-HMAC-SHA256, Bearer"),
            Error::MethodNotAllowed(methods) => response.with_header("Allow", methods),
            Error::Unavailable(_) => response.with_header("Retry-After", "1"),
            _ => response,
        }
    }
}
