//! Where the built binary finds credentials, Region and endpoints: aws-config's promises that this
//! crate could break.

use std::io::Write;
use std::time::Duration;

use axum::routing::get;
use gaia_api_keys::aws;
use serde_json::json;

use crate::lambda::Lambda;
use crate::support::{API_KEYS, Call, Environment, Format, Table};

/// The environment of a function on a table, without some variables.
fn environment(table: &Table, changes: &[(&str, &str)], without: &[&str]) -> Environment {
    let mut environment = table.environment(changes);
    environment.retain(|(name, _)| !without.contains(&name.as_str()));
    environment
}

/// A list through the binary, and with which access key ID and Region the request to DynamoDB was
/// signed.
async fn signer(table: &Table, environment: Environment) -> (String, String) {
    let lambda = Lambda::start(environment).await;
    let response = lambda.call(Call::new("GET", API_KEYS), Format::Http).await;
    assert_eq!(response.status, 200, "{}", lambda.printed());
    assert!(table.proxy.requests().contains(&"Query".to_owned()));
    table.proxy.signer().expect("a signature")
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("a write");
    file
}

const KEYS: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_gives_credentials_and_region() {
    let table = Table::new().await;
    let config = file("[default]\nregion = us-east-1\n[profile keys]\nregion = eu-west-3\n");
    let credentials = file(
        "[default]\naws_access_key_id = AKIDDEFAULT\naws_secret_access_key = secret\n\
         [keys]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = secret\n",
    );
    let files = [
        ("AWS_PROFILE", "keys"),
        ("AWS_CONFIG_FILE", config.path().to_str().expect("UTF-8")),
        (
            "AWS_SHARED_CREDENTIALS_FILE",
            credentials.path().to_str().expect("UTF-8"),
        ),
    ];
    let without = [KEYS[0], KEYS[1], "AWS_REGION"];
    let signed = signer(&table, environment(&table, &files, &without)).await;
    assert_eq!(signed, ("AKIDPROFILE".to_owned(), "eu-west-3".to_owned()));
    // Variables win over the profile.
    let signed = signer(&table, table.environment(&files)).await;
    assert_eq!(signed, ("AKID".to_owned(), "eu-central-1".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_gives_credentials() {
    let table = Table::new().await;
    let credentials = json!({
        "AccessKeyId": "AKIDCONTAINER",
        "SecretAccessKey": "secret",
        "Token": "token",
        "Expiration": "2999-12-31T23:59:59Z",
    })
    .to_string();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let uri = format!(
        "http://{}/credentials",
        listener.local_addr().expect("an address")
    );
    let router = axum::Router::new().route("/credentials", get(async move || credentials));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let changes = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str())];
    let signed = signer(&table, environment(&table, &changes, &KEYS)).await;
    assert_eq!(
        signed,
        ("AKIDCONTAINER".to_owned(), "eu-central-1".to_owned())
    );
}

/// CloudTrail shows the header, and AWS's statistics aren't worth their part of a check.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_the_service_and_carries_no_statistics() {
    let table = Table::new().await;
    signer(&table, table.environment(&[])).await;
    let name = concat!("gaia-api-keys/", env!("CARGO_PKG_VERSION"));
    assert_eq!(table.proxy.header("user-agent").as_deref(), Some(name));
    for statistics in [
        "x-amz-user-agent",
        "amz-sdk-invocation-id",
        "amz-sdk-request",
    ] {
        assert_eq!(table.proxy.header(statistics), None, "{statistics}");
    }
}

/// A template can't leave a variable out, and the SDK would take an empty one for an endpoint.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_endpoint_counts_as_unset() {
    let table = Table::new().await;
    let endpoint = format!("http://{}", table.address());
    for changes in [
        [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ENDPOINT_URL_DYNAMODB", ""),
        ],
        [
            ("AWS_ENDPOINT_URL", ""),
            ("AWS_ENDPOINT_URL_DYNAMODB", endpoint.as_str()),
        ],
    ] {
        signer(&table, table.environment(&changes)).await;
    }
    for (set, expected) in [("", None), (endpoint.as_str(), Some(endpoint.as_str()))] {
        let region = aws_config::Region::new("eu-central-1");
        let loader = aws::loader(region, None).expect("a loader");
        let loaded = aws::load(loader.endpoint_url(set)).await;
        assert_eq!(loaded.endpoint_url(), expected);
    }
}

/// The default chain would also ask instance metadata, which Lambda doesn't have, and wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_region_the_start_fails_at_once() {
    let table = Table::new().await;
    let metadata = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let uri = format!("http://{}", metadata.local_addr().expect("an address"));
    let metadata_at = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", uri.as_str());
    for environment in [
        table.environment(&[metadata_at, ("AWS_REGION", "")]),
        environment(&table, &[metadata_at], &["AWS_REGION"]),
    ] {
        let mut lambda = Lambda::start(environment).await;
        let status = lambda.ended().await;
        let printed = lambda.printed();
        assert_eq!(
            (status.code(), printed.lines().count()),
            (Some(1), 1),
            "{printed}"
        );
        assert!(
            printed.contains("start failed") && printed.contains("AWS_REGION"),
            "{printed}"
        );
        assert!(table.proxy.requests().is_empty());
    }
    let asked = tokio::time::timeout(Duration::from_millis(10), metadata.accept()).await;
    assert!(asked.is_err(), "instance metadata was asked");
}
