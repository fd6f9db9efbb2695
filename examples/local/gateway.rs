//! Stands in for API Gateway: turns HTTP requests into events of payload format 2.0, and responses
//! into HTTP.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::{Router, routing::any};
use gaia_api_keys::api::Api;
use gaia_api_keys::authorizer::{Authorizer, AuthorizerResponse};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tracing::Instrument;

use crate::page;

/// API Gateway's limit for a request's payload.
const MAX_PAYLOAD: usize = 10 * 1024 * 1024;

/// Why the demo route denies a key.
const DENIAL_REASON: HeaderName = HeaderName::from_static("x-denial-reason");

/// Characters of a key ID.
const KEY_ID_LENGTH: usize = 31;

/// The functions' timeout.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The functions behind the gateway.
pub struct Functions {
    /// Serves all paths except the demo's.
    pub api: Api,
    /// In front of the demo route; with simple responses.
    pub authorizer: Authorizer,
}

/// `/demo` and all paths below it are a protected API, `/docs` is a page, and all other paths go to
/// the management API.
///
/// With `shown`, each request is one short line on standard output.
pub fn router(functions: Functions, shown: bool) -> Router {
    let router = page::router()
        .route("/demo", any(demo))
        .route("/demo/{*rest}", any(demo))
        .fallback(any(manage))
        .layer(middleware::from_fn(keep_other_sites_out))
        .layer(DefaultBodyLimit::max(MAX_PAYLOAD))
        .with_state(Arc::new(functions));
    if shown {
        router.layer(middleware::from_fn(show))
    } else {
        router
    }
}

/// What is shown of a request to the API or the demo route, beside its method, route and status.
#[derive(Clone, Default)]
struct Note {
    key_id: Option<String>,
    /// Why a key is denied, or what else is wrong.
    reason: Option<String>,
}

/// Prints a line per request: time, method, route, status, key ID, reason. No secret: keys in paths
/// are shown as `{api_key}`.
async fn show(request: Request, next: Next) -> Response<Body> {
    let method = request.method().clone();
    // "gaia" is in every key, also one that is mistyped or encoded.
    let route = request
        .uri()
        .path()
        .split('/')
        .map(|segment| {
            if segment.to_ascii_lowercase().contains("gaia") {
                "{api_key}"
            } else {
                segment
            }
        })
        .collect::<Vec<_>>()
        .join("/");
    let response = next.run(request).await;
    if let Some(note) = response.extensions().get::<Note>() {
        let now = time::OffsetDateTime::now_utc();
        let (hour, minute, second) = now.to_hms();
        let mut line = format!(
            "{hour:02}:{minute:02}:{second:02} {method} {route} {}",
            response.status().as_u16()
        );
        for more in [&note.key_id, &note.reason].into_iter().flatten() {
            line.push(' ');
            line.extend(more.chars().filter(|c| !c.is_control()));
        }
        // println! would panic if nobody reads it any more.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
    response
}

/// Rejects what a page of another site makes a browser send here. Such a page is served under a
/// name that leads to this machine (DNS rebinding), or its origin isn't this service.
async fn keep_other_sites_out(request: Request, next: Next) -> Response<Body> {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    if !is_this_machine(host) {
        return message(
            StatusCode::FORBIDDEN,
            "Host: cargo local takes requests to localhost or an IP address only",
        );
    }
    let own = format!("http://{host}");
    if request
        .headers()
        .get_all(header::ORIGIN)
        .iter()
        .any(|origin| origin.as_bytes() != own.as_bytes())
    {
        return message(
            StatusCode::FORBIDDEN,
            "Origin: cargo local takes requests from its own page only",
        );
    }
    next.run(request).await
}

/// Whether a `Host` header can't be a name that somebody else registered.
fn is_this_machine(host: &str) -> bool {
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.parse::<u16>().is_ok())
        .map_or(host, |(name, _)| name);
    let ipv6 = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<Ipv4Addr>().is_ok()
        || ipv6.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

async fn manage(State(functions): State<Arc<Functions>>, Event(event): Event) -> Response<Body> {
    let request_id = event
        .pointer("/requestContext/requestId")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let path = event
        .pointer("/rawPath")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let payload = match RawValue::from_string(event.to_string()) {
        Ok(payload) => LambdaEvent::new(payload, Context::default()),
        Err(error) => return message(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    let span = tracing::info_span!("invoke", requestId = request_id);
    match serde_json::to_value(
        functions
            .api
            .handle(payload, TIMEOUT)
            .instrument(span)
            .await,
    ) {
        Ok(response) => {
            let body = response.get("body").and_then(Value::as_str);
            let note = note(&path, body.unwrap_or_default());
            let mut response = respond(&response);
            response.extensions_mut().insert(note);
            response
        }
        Err(error) => message(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// The key that a request to the API names, or its response does, and what the response complains
/// of.
fn note(path: &str, body: &str) -> Note {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |pointer| body.pointer(pointer).and_then(Value::as_str);
    let named = path
        .split('/')
        .find(|segment| segment.starts_with("gaia_"))
        .or_else(|| text("/api_key"))
        .or_else(|| text("/key_id"));
    let reason = text("/reason")
        .or_else(|| text("/detail"))
        .or_else(|| text("/detail/0/msg"));
    Note {
        key_id: named.map(|key| key.chars().take(KEY_ID_LENGTH).collect()),
        reason: reason.map(str::to_owned),
    }
}

/// A route behind the authorizer, with API Gateway's own responses to requests that it rejects.
async fn demo(State(functions): State<Arc<Functions>>, Event(mut event): Event) -> Response<Body> {
    if event
        .pointer("/headers/authorization")
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        return message(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    let text = |pointer: &str| {
        event
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (method, path) = (text("/requestContext/http/method"), text("/rawPath"));
    let arn = format!("arn:aws:execute-api:local:000000000000:local/$default/{method}{path}");
    if let Some(event) = event.as_object_mut() {
        event.insert("type".to_owned(), "REQUEST".into());
        event.insert("routeArn".to_owned(), arn.into());
    }
    let payload = match RawValue::from_string(event.to_string()) {
        Ok(payload) => payload,
        Err(error) => return message(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    let (allowed, context) = match functions.authorizer.handle(&payload, TIMEOUT).await {
        Ok(AuthorizerResponse::Simple {
            is_authorized,
            context,
        }) => (is_authorized, json!(context)),
        Ok(AuthorizerResponse::Policy { .. }) | Err(_) => {
            return message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
        }
    };
    let text = |name| context.get(name).and_then(Value::as_str).map(str::to_owned);
    let note = Note {
        key_id: text("key_id"),
        reason: text("reason"),
    };
    let mut response = if allowed {
        let body = json!({ "you": format!("may {method} {path}"), "authorizer": context });
        json_response(StatusCode::OK, body.to_string())
    } else {
        message(StatusCode::FORBIDDEN, "Forbidden")
    };
    // A deployed API keeps the reason to itself (docs/protect-an-api.md). Here it helps.
    if let Some(reason) = note.reason.as_deref().and_then(|r| r.parse().ok()) {
        response.headers_mut().insert(DENIAL_REASON, reason);
    }
    response.extensions_mut().insert(note);
    response
}

/// A request as an event.
struct Event(Value);

impl<S: Send + Sync> FromRequest<S> for Event {
    type Rejection = Response<Body>;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let peer = request
            .extensions()
            .get::<ConnectInfo<SocketAddr>>()
            .map(|info| info.0);
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts.clone(), body);
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|_| message(StatusCode::PAYLOAD_TOO_LARGE, "Request Too Long"))?;
        Ok(Self(event(
            &parts.method,
            &parts.uri,
            &parts.headers,
            &body,
            peer,
        )))
    }
}

/// The event of a request.
/// Source: <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
fn event(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &Bytes,
    peer: Option<SocketAddr>,
) -> Value {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let mut joined: HashMap<&str, String> = HashMap::new();
    for (name, value) in headers {
        join(
            joined.entry(name.as_str()).or_default(),
            &String::from_utf8_lossy(value.as_bytes()),
        );
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
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_millis() as u64);
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
                "sourceIp": peer.map(|peer| peer.ip().to_string()),
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

/// A function's response as HTTP.
fn respond(response: &Value) -> Response<Body> {
    let mut builder =
        Response::builder().status(response["statusCode"].as_u64().unwrap_or_default() as u16);
    for (name, value) in response["headers"].as_object().into_iter().flatten() {
        builder = builder.header(name, value.as_str().unwrap_or_default());
    }
    let body = response["body"].as_str().unwrap_or_default().to_owned();
    builder
        .body(Body::from(body))
        .unwrap_or_else(|error| message(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()))
}

/// The gateway's own response.
fn message(status: StatusCode, text: &str) -> Response<Body> {
    json_response(status, json!({ "message": text }).to_string())
}

fn json_response(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
