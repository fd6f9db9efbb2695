//! The limit: what every start has to do, and nothing else. Two TLS connections side by side with a
//! request each, then a request per event. No SDK, no signatures, no checks.

use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use serde::de::IgnoredAny;

type Pool = Client<HttpsConnector<HttpConnector>, Full<&'static [u8]>>;

const GET_ITEM: &str =
    r#"{"TableName":"gaia-api-keys","Key":{"service":{"S":"demo"},"id":{"S":"none"}}}"#;

fn pool() -> Result<Pool, Error> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(std::env::var("AWS_CA_BUNDLE")?)? {
        roots.add(root?)?;
    }
    let mut crypto = rustls::crypto::ring::default_provider();
    crypto
        .cipher_suites
        .sort_by_key(|suite| *suite != TLS13_AES_128_GCM_SHA256);
    let tls = ClientConfig::builder_with_provider(Arc::new(crypto))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new()).build(https))
}

async fn send(pool: &Pool, endpoint: &str, target: &str, body: &'static str) -> Result<(), Error> {
    let request = hyper::Request::post(endpoint)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-date", "20300101T000000Z")
        .header("x-amz-target", target)
        .header("authorization", "AWS4-HMAC-SHA256 Credential=AKID/20300101/eu-central-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0")
        .body(Full::new(body.as_bytes()))?;
    let response = pool.request(request).await?;
    let (status, body) = (response.status(), response.into_body().collect().await?);
    if status != 200 {
        return Err(format!("{status}: {:?}", body.to_bytes()).into());
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (pool, kms) = (&pool()?, std::env::var("AWS_ENDPOINT_URL_KMS")?);
    let dynamodb = &std::env::var("AWS_ENDPOINT_URL_DYNAMODB")?;
    let get_item = || send(pool, dynamodb, "DynamoDB_20120810.GetItem", GET_ITEM);
    tokio::try_join!(
        send(pool, &kms, "TrentService.GenerateMac", "{}"),
        get_item()
    )?;
    let respond = async |_: LambdaEvent<IgnoredAny>| get_item().await.map(|()| "done");
    run(service_fn(respond)).await
}
