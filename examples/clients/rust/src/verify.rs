//! Checks the API keys of a service's callers, as fastapi_verify.py does; axum_verify.rs makes a
//! tower layer of it.

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

/// A revoked key works for `FRESH` more, and for `STALE` while verify fails. ThrottleRate must be
/// at least the number of different requests (key, method, path, address) in `FRESH`, per second.
const FRESH: Duration = Duration::from_secs(5);
const STALE: Duration = Duration::from_secs(60);
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(500)];
const MAX_RESULTS: usize = 10_000;

/// verify's last response to one request body, and until when it counts.
#[derive(Default)]
struct Checked {
    response: Value,
    fresh: Option<Instant>,
    stale: Option<Instant>,
}

pub struct Verify {
    client: Client,
    /// By SHA-256 of the request body, so that no key stays in memory. The inner lock lets one
    /// verify go out at a time, however many requests wait for it.
    results: Mutex<HashMap<[u8; 32], Arc<tokio::sync::Mutex<Checked>>>>,
}

impl Verify {
    pub fn new(client: Client) -> Self {
        let results = Mutex::default();
        Self { client, results }
    }

    /// The request with verify's response, `{"key_id": …, "valid_until"?: …, "config": …}`, as an
    /// extension; otherwise 401, 403 or, if nobody can say, 503. Behind a proxy, take `source_ip`
    /// from what that says.
    pub async fn check(self: Arc<Self>, mut request: Request) -> Result<Request, Response> {
        let key = api_key(request.headers()).ok_or_else(unauthorized)?;
        // Always with the route: without it, a key that grants nothing is valid.
        let route = format!("{} {}", request.method(), request.uri().path());
        let mut body = json!({ "api_key": key, "route": route });
        if let Some(ConnectInfo(address)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
            body["source_ip"] = address.ip().to_string().into();
        }
        let Some(response) = self.current(&body.to_string()).await else {
            let (status, headers) = (
                StatusCode::SERVICE_UNAVAILABLE,
                [(header::RETRY_AFTER, "1")],
            );
            return Err((status, headers, "API keys can't be checked now").into_response());
        };
        if response["valid"] == true {
            request.extensions_mut().insert(response);
            return Ok(request);
        }
        eprintln!("denied {}: {}", &key[..31], response["reason"]);
        match response["reason"].as_str() {
            Some("permission" | "route" | "source_ip") => {
                Err((StatusCode::FORBIDDEN, "API key doesn't allow this").into_response())
            }
            _ => Err(unauthorized()), // the caller doesn't learn whether the key ever existed
        }
    }

    async fn current(&self, body: &str) -> Option<Value> {
        let checked = {
            let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
            if results.len() >= MAX_RESULTS {
                results.clear();
            }
            Arc::clone(results.entry(Sha256::digest(body).into()).or_default())
        };
        let mut checked = checked.lock().await;
        let now = Instant::now();
        if checked.fresh <= Some(now) {
            if let Some(response) = self.ask(body).await {
                let left = time_left(&response["valid_until"]);
                checked.fresh = Some(now + FRESH.min(left));
                checked.stale = Some(now + STALE.min(left));
                checked.response = response.clone();
                return Some(response);
            }
            // A throttled service gets a second without this request.
            checked.fresh = Some(Instant::now() + Duration::from_secs(1));
        }
        (checked.stale > Some(Instant::now())).then(|| checked.response.clone())
    }

    /// verify's response, or `None` if there is none. It changes nothing, so it may be repeated.
    async fn ask(&self, body: &str) -> Option<Value> {
        let sent = self.client.send("POST", "/verify", body, &[], &PAUSES);
        let problem = match sent.await {
            Ok(found) if found.status == 200 => return serde_json::from_str(&found.body).ok(),
            // A path that no key can grant.
            Ok(found) if found.status == 422 => return Some(json!({ "reason": "route" })),
            Ok(found) => found.status.to_string(),
            Err(error) => error.to_string(),
        };
        eprintln!("verify failed: {problem}");
        None
    }
}

/// The key, if there is one header with what may be one: garbage costs no request.
fn api_key(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
    let known = ["search", "bearer"].contains(&scheme.to_ascii_lowercase().as_str());
    let key = key.trim_start();
    (known && key.len() == 58 && key.starts_with("gaia_")).then(|| key.to_owned())
}

fn unauthorized() -> Response {
    let headers = [(header::WWW_AUTHENTICATE, "Search")];
    (
        StatusCode::UNAUTHORIZED,
        headers,
        "API key missing or invalid",
    )
        .into_response()
}

/// How long a response may be kept: until its `valid_until`, if it has one. An end that can't be
/// read has passed: verify is asked each time.
fn time_left(valid_until: &Value) -> Duration {
    if valid_until.is_null() {
        return STALE;
    }
    let end = OffsetDateTime::parse(valid_until.as_str().unwrap_or_default(), &Rfc3339);
    end.map_or(Duration::ZERO, |end| {
        let left = end - OffsetDateTime::now_utc();
        left.try_into().unwrap_or_default() // negative
    })
}
