//! The guard before lambda_http 1.3, which panics on some events: a query with a character that a URI may not hold, odd `Host`
//! and `X-Forwarded-Proto` headers, a path without a slash in front, broken base64, a long URI. A panic is a failed
//! invocation: a 500 and an alarm that any caller could cause.

use form_urlencoded::{Serializer, parse};
use lambda_http::aws_lambda_events::query_map::QueryMap;
use lambda_http::http::HeaderMap;
use lambda_http::http::header::HOST;
use lambda_http::request::LambdaRequest;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The longest URI of the `http` crate, in bytes.
const MAX_URI: usize = 65_534;

/// Reads an event of API Gateway in payload format 1.0 or 2.0, so that lambda_http turns it into a request without a panic.
/// Returns `None` if it isn't such an event. Encodes the query of format 2.0 anew; lambda_http itself encodes that of 1.0.
/// Decodes a body in base64 if it is text.
/// Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
pub(super) fn read(payload: &RawValue) -> Option<LambdaRequest> {
    let mut request: LambdaRequest = serde_json::from_str(payload.get()).ok()?;
    let (path, stage, query) = match &mut request {
        LambdaRequest::ApiGatewayV1(event) => {
            drop_unread(&mut event.headers);
            drop_unread(&mut event.multi_value_headers);
            event.request_context.domain_name = None;
            decode(&mut event.body, &mut event.is_base64_encoded)?;
            let claims = claims(payload).unwrap_or_default();
            for (name, value) in [("sub", claims.sub.map(Value::from)), ("iss", claims.iss)] {
                if let Some(value) = value {
                    event.request_context.authorizer.fields.insert(name.to_owned(), value);
                }
            }
            let parameters = [&event.query_string_parameters, &event.multi_value_query_string_parameters];
            let query = parameters.into_iter().flat_map(QueryMap::iter);
            let query = query.map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
            (&event.path, &event.request_context.stage, query)
        }
        LambdaRequest::ApiGatewayV2(event) => {
            drop_unread(&mut event.headers);
            event.request_context.domain_name = None;
            let query = parse(event.raw_query_string.as_deref().unwrap_or_default().as_bytes());
            let query = Serializer::new(String::new()).extend_pairs(query).finish();
            let length = query.len();
            event.raw_query_string = Some(query);
            decode(&mut event.body, &mut event.is_base64_encoded)?;
            (&event.raw_path, &event.request_context.stage, length)
        }
        _ => return None,
    };
    let path = path.as_deref()?;
    // Each byte of a path, and of a query in format 1.0, may become three.
    let length = 3 * (path.len() + stage.as_ref().map_or(0, String::len)) + query + 2;
    (path.starts_with('/') && length <= MAX_URI).then_some(request)
}

/// An event without content, in the format of one that can't be read, so that the same gateway understands the response.
pub(super) fn empty(payload: &RawValue) -> LambdaRequest {
    #[derive(Deserialize)]
    struct Version {
        version: Option<String>,
    }
    let version = serde_json::from_str::<Version>(payload.get()).ok().and_then(|event| event.version);
    match version.as_deref() {
        Some("2.0") => LambdaRequest::ApiGatewayV2(Default::default()),
        _ => LambdaRequest::ApiGatewayV1(Default::default()),
    }
}

/// Drops the headers from which lambda_http would build a URL. Nothing reads them.
fn drop_unread(headers: &mut HeaderMap) {
    headers.remove(HOST);
    headers.remove("x-forwarded-proto");
}

/// Decodes a body. One that isn't UTF-8 stays base64, in the spelling that every decoder takes. Returns `None` if it is
/// broken.
fn decode(body: &mut Option<String>, is_base64: &mut bool) -> Option<()> {
    let Some(text) = body.as_mut().filter(|_| *is_base64) else { return Some(()) };
    match String::from_utf8(base64_simd::STANDARD.decode_to_vec(text.as_bytes()).ok()?) {
        Ok(decoded) => {
            *text = decoded;
            *is_base64 = false;
        }
        Err(error) => *text = base64_simd::STANDARD.encode_to_string(error.as_bytes()),
    }
    Some(())
}

/// What is read of a JWT's claims.
#[derive(Default, Deserialize)]
struct Claims {
    sub: Option<String>,
    iss: Option<Value>,
}

/// The claims of a JWT in format 1.0, such as a Cognito authorizer's. lambda_http leaves them out.
fn claims(payload: &RawValue) -> Option<Claims> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Event {
        request_context: Context,
    }
    #[derive(Deserialize)]
    struct Context {
        authorizer: Option<Authorizer>,
    }
    #[derive(Deserialize)]
    struct Authorizer {
        claims: Option<Claims>,
    }
    serde_json::from_str::<Event>(payload.get()).ok()?.request_context.authorizer?.claims
}
