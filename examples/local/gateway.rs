//! What API Gateway does: HTTP requests become events of payload format 2.0, and responses HTTP again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use axum::{Router, routing::any};
use gaia_api_keys::api::Api;
use gaia_api_keys::event::ProxyResponse;
use serde_json::{Value, json};
use tracing::Instrument;

/// API Gateway's own limit of a request's payload.
const MAX_PAYLOAD: usize = 10 * 1024 * 1024;

/// Every request goes to the management API.
pub fn router(api: Arc<Api>) -> Router {
    Router::new().fallback(any(handle)).layer(DefaultBodyLimit::max(MAX_PAYLOAD)).with_state(api)
}

async fn handle(
    State(api): State<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let event = event(&method, &uri, &headers, &body, peer);
    let request_id = event.pointer("/requestContext/requestId").and_then(Value::as_str).unwrap_or_default().to_owned();
    match serde_json::from_value(event) {
        Ok(event) => respond(api.handle(event).instrument(tracing::info_span!("invoke", requestId = request_id)).await),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// The event of a request.
/// Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
fn event(method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes, peer: SocketAddr) -> Value {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let mut joined: HashMap<&str, String> = HashMap::new();
    for (name, value) in headers {
        join(joined.entry(name.as_str()).or_default(), &String::from_utf8_lossy(value.as_bytes()));
    }
    let query = uri.query().unwrap_or_default();
    let mut parameters: HashMap<String, String> = HashMap::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        join(parameters.entry(name.into_owned()).or_default(), &value);
    }
    let (body, is_base64_encoded) = match std::str::from_utf8(body) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (base64_simd::STANDARD.encode_to_string(body), true),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": uri.path(),
        "rawQueryString": query,
        "headers": joined,
        "queryStringParameters": parameters,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "local",
            "domainName": joined.get("host"),
            "http": {
                "method": method.as_str(),
                "path": uri.path(),
                "protocol": "HTTP/1.1",
                "sourceIp": peer.ip().to_string(),
                "userAgent": joined.get("user-agent"),
            },
            "requestId": format!("local-{}", COUNT.fetch_add(1, Ordering::Relaxed)),
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": now,
        },
        "body": body,
        "isBase64Encoded": is_base64_encoded,
    })
}

/// Repeated headers and parameters are joined by commas.
fn join(values: &mut String, value: &str) {
    if !values.is_empty() {
        values.push(',');
    }
    values.push_str(value);
}

fn respond(response: ProxyResponse) -> Response<Body> {
    let mut builder = Response::builder().status(response.status_code);
    for (name, value) in response.headers {
        builder = builder.header(name, value.as_ref());
    }
    builder
        .body(Body::from(response.body))
        .unwrap_or_else(|error| plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}
