//! The guard before lambda_http 1.3. Its own reading of an event rejects types that gateways and
//! emulators send in fields that nobody reads (a JWT's claim that is a number), and it panics on
//! some values: a query with a character that a URI may not hold, odd `Host` and
//! `X-Forwarded-Proto` headers, a path without a slash in front, broken base64, a long URI. A panic
//! is a failed invocation: a 500 and an alarm that any caller could cause. So the guard fills
//! lambda_http's events itself, with what the service reads and nothing else.

use std::collections::HashMap;

use form_urlencoded::{Serializer, parse};
use lambda_http::aws_lambda_events::apigw::{
    ApiGatewayProxyRequest, ApiGatewayRequestAuthorizer, ApiGatewayRequestAuthorizerIamDescription,
    ApiGatewayRequestAuthorizerJwtDescription, ApiGatewayV2httpRequest,
};
use lambda_http::aws_lambda_events::query_map::QueryMap;
use lambda_http::http::header::{HOST, IF_MATCH};
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, Method};
use lambda_http::request::LambdaRequest;
use serde_json::value::RawValue;

use crate::event::{Object, text};

/// The longest URI of the `http` crate, in bytes.
const MAX_URI: usize = 65_534;

/// What stands for the value of a header or query parameter that isn't text. Every check rejects
/// it, and where nothing reads it, it does no harm.
const UNREADABLE: &str = "\u{fffd}";

/// Reads an event of API Gateway in payload format 1.0 or 2.0, so that lambda_http turns it into a
/// request without a panic. Returns `None` if it isn't such an event, or its method, path, query or
/// body can't be read.
/// Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
pub(super) fn read(payload: &RawValue) -> Option<LambdaRequest> {
    let event = Object::read(payload)?;
    if is_authorizers(&event) {
        tracing::warn!(
            "received an authorizer's event; a Lambda authorizer needs FUNCTION=authorizer"
        );
        return None;
    }
    let context = Object::read(event.get("requestContext")?)?;
    match context.get("http") {
        Some(http) => {
            format_2(&event, &context, &Object::read(http)?).map(LambdaRequest::ApiGatewayV2)
        }
        None => format_1(&event, &context).map(LambdaRequest::ApiGatewayV1),
    }
}

/// An event without content, in the format of one that can't be read, so that the same gateway
/// understands the response.
pub(super) fn empty(payload: &RawValue) -> LambdaRequest {
    match Object::read(payload)
        .and_then(|event| event.text("version"))
        .as_deref()
    {
        Some("2.0") => LambdaRequest::ApiGatewayV2(Default::default()),
        _ => LambdaRequest::ApiGatewayV1(Default::default()),
    }
}

/// Whether a gateway asks for a decision. A request to the management API never names an ARN here.
fn is_authorizers(event: &Object<'_>) -> bool {
    event.get("methodArn").or(event.get("routeArn")).is_some()
}

fn format_1(event: &Object<'_>, context: &Object<'_>) -> Option<ApiGatewayProxyRequest> {
    let (path, stage) = (event.text("path")?, context.text("stage"));
    let (identity, authorizer) = (context.object("identity"), context.object("authorizer"));
    let mut request = ApiGatewayProxyRequest::default();
    request.http_method = method(event.get("httpMethod"))?;
    request.headers = headers(event.get("headers"))?;
    request.multi_value_headers = headers(event.get("multiValueHeaders"))?;
    // lambda_http lets the last line win over all lines.
    if request.multi_value_headers.contains_key(IF_MATCH) {
        request.headers.remove(IF_MATCH);
    }
    request.query_string_parameters = query(event.get("queryStringParameters"))?;
    request.multi_value_query_string_parameters =
        query(event.get("multiValueQueryStringParameters"))?;
    (request.body, request.is_base64_encoded) = body(event)?;
    request.request_context.request_id = context.text("requestId");
    request.request_context.identity.source_ip = identity.source_ip();
    request.request_context.identity.user_arn = identity.text("userArn");
    // A Lambda authorizer's context, then the claims of a Cognito authorizer's token.
    let claims = authorizer.object("claims");
    let fields = authorizer
        .texts()
        .chain(claims.texts())
        .map(|(name, text)| (name, text.into()));
    request.request_context.authorizer.fields = fields.collect();

    // lambda_http encodes this query itself: each byte may become three.
    let parameters = [
        &request.query_string_parameters,
        &request.multi_value_query_string_parameters,
    ];
    let pairs = parameters.into_iter().flat_map(QueryMap::iter);
    let query_length = pairs
        .map(|(name, value)| 3 * (name.len() + value.len()) + 2)
        .sum();
    if !is_uri(&path, stage.as_deref(), query_length) {
        return None;
    }
    (request.path, request.request_context.stage) = (Some(path), stage);
    Some(request)
}

fn format_2(
    event: &Object<'_>,
    context: &Object<'_>,
    http: &Object<'_>,
) -> Option<ApiGatewayV2httpRequest> {
    let (path, stage) = (event.text("rawPath")?, context.text("stage"));
    let authorizer = context.object("authorizer");
    let mut request = ApiGatewayV2httpRequest::default();
    request.headers = headers(event.get("headers"))?;
    (request.body, request.is_base64_encoded) = body(event)?;
    request.request_context.http.method = method(http.get("method"))?;
    request.request_context.http.source_ip = http.source_ip();
    request.request_context.request_id = context.text("requestId");
    let mut iam = ApiGatewayRequestAuthorizerIamDescription::default();
    iam.user_arn = authorizer.object("iam").text("userArn");
    let mut jwt = ApiGatewayRequestAuthorizerJwtDescription::default();
    jwt.claims = authorizer.object("jwt").object("claims").texts().collect();
    let mut identified = ApiGatewayRequestAuthorizer::default();
    (identified.iam, identified.jwt) = (Some(iam), Some(jwt));
    request.request_context.authorizer = Some(identified);

    // Encoded anew, because lambda_http takes this query as it is.
    let raw_query = event
        .get("rawQueryString")
        .map_or(Some(String::new()), text)?;
    let query = Serializer::new(String::new())
        .extend_pairs(parse(raw_query.as_bytes()))
        .finish();
    if !is_uri(&path, stage.as_deref(), query.len()) {
        return None;
    }
    (request.raw_path, request.request_context.stage) = (Some(path), stage);
    request.raw_query_string = Some(query);
    Some(request)
}

/// Whether lambda_http can make a URI of these. Each byte of a path may become three.
fn is_uri(path: &str, stage: Option<&str>, query_length: usize) -> bool {
    let length = 3 * (path.len() + stage.map_or(0, str::len)) + query_length + 2;
    path.starts_with('/') && length <= MAX_URI
}

fn method(value: Option<&RawValue>) -> Option<Method> {
    Method::from_bytes(text(value?)?.as_bytes()).ok()
}

/// The headers that can be headers, without those from which lambda_http would build a URL. Returns
/// `None` if it is no object.
fn headers(value: Option<&RawValue>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let Some(value) = value else {
        return Some(headers);
    };
    for (name, value) in Object::read(value)?.iter() {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            continue;
        };
        if name == HOST || name == "x-forwarded-proto" {
            continue;
        }
        for value in values(value) {
            let value = HeaderValue::from_str(&value)
                .or_else(|_| HeaderValue::from_str(UNREADABLE))
                .ok()?;
            headers.append(&name, value);
        }
    }
    Some(headers)
}

/// The query parameters of format 1.0. Returns `None` if it is no object. A parameter without a
/// value would be a panic.
fn query(value: Option<&RawValue>) -> Option<QueryMap> {
    let Some(value) = value else {
        return Some(QueryMap::default());
    };
    let parameters = Object::read(value)?;
    let parameters = parameters
        .iter()
        .map(|(name, value)| (name.to_owned(), values(value)));
    let with_values: HashMap<_, _> = parameters
        .filter(|(_, values)| !values.is_empty())
        .collect();
    Some(with_values.into())
}

/// The values of one header or query parameter: a text, or a list of them. `null` is none.
fn values(value: &RawValue) -> Vec<String> {
    if value.get() == "null" {
        return Vec::new();
    }
    let list = || serde_json::from_str(value.get()).ok();
    text(value)
        .map(|text| vec![text])
        .or_else(list)
        .unwrap_or_else(|| vec![UNREADABLE.to_owned()])
}

/// The body, and whether it is base64. It is decoded if it holds text; otherwise it stays base64,
/// in the spelling that every decoder takes. Returns `None` if either can't be read.
fn body(event: &Object<'_>) -> Option<(Option<String>, bool)> {
    let is_base64 = event
        .get("isBase64Encoded")
        .map_or(Some(false), |value| serde_json::from_str(value.get()).ok())?;
    let Some(body) = event.get("body") else {
        return Some((None, false));
    };
    let body = text(body)?;
    if !is_base64 {
        return Some((Some(body), false));
    }
    Some(
        match String::from_utf8(base64_simd::STANDARD.decode_to_vec(body.as_bytes()).ok()?) {
            Ok(decoded) => (Some(decoded), false),
            Err(error) => (
                Some(base64_simd::STANDARD.encode_to_string(error.as_bytes())),
                true,
            ),
        },
    )
}
