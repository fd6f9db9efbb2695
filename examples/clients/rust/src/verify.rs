//! Checks the API keys of a service's callers, as fastapi_verify.py does; `src/bin/axum_verify.rs` makes a tower layer of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::Instant;

use crate::Client;

/// A revoked key works for `FRESH` more, and for `STALE` while verify fails. `FRESH` also counts on ThrottleRate: it must be at
/// least the number of different requests (key, method, path, address) in `FRESH`, divided by its seconds.
const FRESH: Duration = Duration::from_secs(5);
const STALE: Duration = Duration::from_secs(60);
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(500)];
const MAX_RESULTS: usize = 10_000;

/// verify's last response to one request body (`Null`: none yet), and until when it counts.
struct Checked {
    response: Value,
    fresh: Instant,
    stale: Instant,
}

pub struct Verify {
    client: Client,
    /// By SHA-256 of the request body, so that no key stays in memory. The inner lock: one verify at a time for all that wait.
    results: Mutex<HashMap<[u8; 32], Arc<tokio::sync::Mutex<Checked>>>>,
}

impl Verify {
    pub fn new(client: Client) -> Self {
        Self { client, results: Mutex::default() }
    }

    /// The request with verify's response, `{"key_id": …, "config": …}`, as an extension; otherwise 401, 403 or, if nobody
    /// can say, 503. `source_ip` is the connection's address: behind a proxy, take what the proxy says.
    pub async fn check(self: Arc<Self>, mut request: Request) -> Result<Request, Response> {
        let key = api_key(request.headers()).ok_or_else(unauthorized)?;
        // Always with the route: without it, a key that grants nothing is valid. The path as axum matches it.
        let mut body = json!({ "api_key": key, "route": format!("{} {}", request.method(), request.uri().path()) });
        if let Some(ConnectInfo(address)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
            body["source_ip"] = address.ip().to_string().into();
        }
        let response = self.current(&body.to_string()).await.ok_or_else(|| {
            let message = "API keys can't be checked at the moment";
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], message).into_response()
        })?;
        if response["valid"] == true {
            request.extensions_mut().insert(response);
            return Ok(request);
        }
        eprintln!("denied {}: {}", &key[..31], response["reason"]);
        match response["reason"].as_str() {
            Some("permission" | "route" | "source_ip") => {
                Err((StatusCode::FORBIDDEN, "API key doesn't allow this request").into_response())
            }
            _ => Err(unauthorized()), // the caller doesn't learn whether the key ever existed
        }
    }

    async fn current(&self, body: &str) -> Option<Value> {
        let result = {
            let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
            if results.len() >= MAX_RESULTS {
                results.clear();
            }
            let none = || Checked { response: Value::Null, fresh: Instant::now(), stale: Instant::now() };
            results.entry(Sha256::digest(body).into()).or_insert_with(|| Arc::new(none().into())).clone()
        };
        let mut result = result.lock().await;
        let now = Instant::now();
        if now >= result.fresh {
            if let Some(response) = self.ask(body).await {
                let left = seconds_left(&response["config"]["expires_at"]);
                *result = Checked { response: response.clone(), fresh: now + FRESH.min(left), stale: now + STALE.min(left) };
                return Some(response);
            }
            result.fresh = Instant::now() + Duration::from_secs(1); // a throttled service gets a second without this request
        }
        (Instant::now() < result.stale).then(|| result.response.clone())
    }

    /// verify's response, or `None` if there is none. It changes nothing, so it may be repeated.
    async fn ask(&self, body: &str) -> Option<Value> {
        let problem = match self.client.send("POST", "/verify", body, &[], &PAUSES).await {
            Ok(response) if response.status == 200 => return serde_json::from_str(&response.body).ok(),
            // A path that no key can grant.
            Ok(response) if response.status == 422 => return Some(json!({ "valid": false, "reason": "route" })),
            Ok(response) => response.status.to_string(),
            Err(error) => error.to_string(),
        };
        eprintln!("verify failed: {problem}");
        None
    }
}

/// The key, if there is one header with what may be one: garbage costs no request.
fn api_key(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
    let known = ["search", "bearer"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    let key = key.trim_start_matches(' ');
    let whole = key.len() == 58 && key.starts_with("gaia_") && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (known && whole).then(|| key.to_owned())
}

fn unauthorized() -> Response {
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Search")], "API key missing or invalid").into_response()
}

/// Until `expires_at`. A time that can't be read leaves nothing: verify is asked each time.
fn seconds_left(expires_at: &Value) -> Duration {
    let Some(text) = expires_at.as_str() else { return STALE };
    OffsetDateTime::parse(text, &Rfc3339).map_or(Duration::ZERO, |end| {
        (end - OffsetDateTime::now_utc()).try_into().unwrap_or(Duration::ZERO)
    })
}
