//! The SDK's HTTP client: HTTP/1.1 over TLS by ring, on hyper, which Lambda's runtime uses too.
//!
//! The SDK's own client costs 1 % of a start, 2 % of a check and 1.1 MB more. It always offers
//! HTTP/2, and then a connection that has gone silent stays in its pool, so that each later request
//! fails. benches/README.md has the numbers.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lambda_http::http::{HeaderValue, header};
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::Cause;

/// A connection idle for longer isn't used again: DynamoDB may have closed it while the function
/// was frozen.
const POOL_IDLE: Duration = Duration::from_secs(50);

/// How long the other side may take to accept a connection. The attempt's own timeout covers the
/// TLS handshake.
const CONNECT: Duration = Duration::from_secs(1);

/// What CloudTrail records as the caller's program. A signature doesn't cover it.
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("gaia-api-keys/", env!("CARGO_PKG_VERSION")));

/// Creates one connection pool for all of the SDK's clients, which trusts the certificates in
/// `roots` (PEM). Errors: there are none, or one is invalid.
pub fn client(roots: &[u8]) -> Result<SharedHttpClient, Cause> {
    let mut trusted = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots) {
        trusted.add(root?)?;
    }
    if trusted.is_empty() {
        return Err("no certificates found".into());
    }
    let mut crypto = rustls::crypto::ring::default_provider();
    // Preferred: most processors have instructions for its SHA-256, and few for SHA-384.
    crypto
        .cipher_suites
        .sort_by_key(|suite| *suite != TLS13_AES_128_GCM_SHA256);
    let tls = ClientConfig::builder_with_provider(Arc::new(crypto))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let mut tcp = TcpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    let pool = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        .build(https);
    let connector = SharedHttpConnector::new(Http(pool));
    Ok(http_client_fn(move |_, _| connector.clone()))
}

#[derive(Debug)]
struct Http(Client<HttpsConnector<TcpConnector>, SdkBody>);

impl HttpConnector for Http {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
        let response = self.0.request(request);
        HttpConnectorFuture::new(async move {
            // Any reason for a missing response (no connection, a closed one) is worth another
            // attempt.
            let response = response
                .await
                .map_err(|error| ConnectorError::io(error.into()))?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}
