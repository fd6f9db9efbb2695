//! A client that signs its requests. docs/clients.md names the variables.

use std::error::Error;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::Value;

pub mod verify;

/// A client's result. No error holds a secret: the address, which may hold a key, is left out.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A client of the management API.
pub struct Client {
    http: reqwest::Client,
    api: String,
    region: String,
    credentials: Credentials,
}

/// What the service responded.
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
    /// How often the request was repeated.
    pub repeated: usize,
}

impl Client {
    /// Reads the variables. `timeout` is for one attempt. In AWS, use aws-config's credentials,
    /// which renew themselves.
    pub fn from_env(timeout: Duration) -> Result<Self> {
        let var = |name| std::env::var(name).map_err(|_| format!("set {name}"));
        let token = var("AWS_SESSION_TOKEN")
            .ok()
            .filter(|token| !token.is_empty());
        let credentials = Credentials::from_keys(
            var("AWS_ACCESS_KEY_ID")?,
            var("AWS_SECRET_ACCESS_KEY")?,
            token,
        );
        // Fails if the program has installed a provider already, which then counts.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().timeout(timeout).build()?;
        Ok(Self {
            http,
            api: var("API")?,
            region: var("AWS_REGION")?,
            credentials,
        })
    }

    /// Sends a request, and sends it again after a 429, a 503 or a lost connection, after each of
    /// the `pauses`. So creates and rotations need an Idempotency-Key.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        body: &str,
        headers: &[(&'static str, &str)],
        pauses: &[Duration],
    ) -> Result<Response> {
        let mut repeated = 0;
        loop {
            let sent = self.attempt(method, path, body, headers).await;
            let passes = match &sent {
                Ok((status, ..)) => [429, 503].contains(&status.as_u16()),
                Err(error) => error.is::<reqwest::Error>(),
            };
            match pauses.get(repeated).filter(|_| passes) {
                Some(pause) => tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await,
                None => {
                    return sent.map(|(status, headers, body)| Response {
                        status,
                        headers,
                        body,
                        repeated,
                    });
                }
            }
            repeated += 1;
        }
    }

    async fn attempt(
        &self,
        method: &str,
        path: &str,
        body: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(StatusCode, HeaderMap, String)> {
        let mut request = self.signed(method, &format!("{}{path}", self.api), body)?;
        for &(name, value) in headers
            .iter()
            .chain(&[("content-type", "application/json")])
        {
            request.headers_mut().insert(name, value.parse()?);
        }
        let response = self
            .http
            .execute(request.try_into()?)
            .await
            .map_err(reqwest::Error::without_url)?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok((
            status,
            headers,
            response.text().await.map_err(reqwest::Error::without_url)?,
        ))
    }

    fn signed(&self, method: &str, url: &str, body: &str) -> Result<Request<String>> {
        let identity = self.credentials.clone().into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("execute-api")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let to_sign = SignableRequest::new(
            method,
            url,
            [].into_iter(),
            SignableBody::Bytes(body.as_bytes()),
        )?;
        let (instructions, _) = sign(to_sign, &parameters)?.into_parts();
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .body(body.to_owned())?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

/// The text of a field.
pub fn text(value: &Value, field: &str) -> Result<String> {
    Ok(value[field]
        .as_str()
        .ok_or_else(|| format!("the response has no {field}"))?
        .to_owned())
}
