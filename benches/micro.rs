//! `cargo bench --bench micro`: the parts of a request, one at a time, without a process or a
//! network around them.

#![allow(clippy::expect_used, clippy::string_slice, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Duration;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use criterion::{Criterion, criterion_group, criterion_main};
use gaia_api_keys::api::Api;
use gaia_api_keys::api::router;
use gaia_api_keys::settings::Settings;
use gaia_api_keys::store::Store;
use keys::config::KeyConfig;
use keys::keyring::{Keyring, RootKey};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::json;
use serde_json::value::RawValue;
use ulid::Ulid;

const ROOT_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const CONFIG: &str = r#"{"permissions":"write","enabled":true,"expires_at":"2030-01-31T12:00:00Z",
    "allowed_ips":["192.0.2.0/24","2001:db8::/32"],"note":"orders to billing"}"#;
/// Keys of the list.
const KEYS: u32 = 1000;

fn keyring() -> Keyring {
    Keyring::new("demo", &RootKey::from_hex(ROOT_KEY).unwrap(), None)
}

fn keys(criterion: &mut Criterion) {
    let keyring = keyring();
    let key = keyring
        .create(Ulid::generate().into())
        .0
        .expose()
        .to_owned();
    let forged = format!(
        "{}{}",
        &key[..57],
        if key.ends_with('0') { '1' } else { '0' }
    );
    criterion.bench_function("create an API key", |b| {
        b.iter(|| keyring.create(Ulid::generate().into()).0.expose().len())
    });
    criterion.bench_function("check an API key", |b| {
        b.iter(|| keyring.parse_key(black_box(&key)).unwrap())
    });
    criterion.bench_function("deny a forged key", |b| {
        b.iter(|| assert!(keyring.parse_key(black_box(&forged)).is_none()))
    });
    let path = format!("/live/es/api/v1/credentials/api_keys/delete/{key}");
    criterion.bench_function("route", |b| {
        b.iter(|| router::route("DELETE", black_box(&path), Some("live")).unwrap())
    });
    criterion.bench_function("validate a config", |b| {
        b.iter(|| KeyConfig::parse(black_box(CONFIG)).unwrap())
    });
}

fn list(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let client = client(page());
    let store = Store::new(client.clone(), "keys".into(), "demo".into(), false);
    let environment = |name: &str| match name {
        "ROOT_KEY" => Some(ROOT_KEY.to_owned()),
        "SERVICE_NAME" => Some("demo".to_owned()),
        "ALLOW_ANONYMOUS" => Some("true".to_owned()),
        "TABLE_NAME" => Some("any".to_owned()),
        _ => None,
    };
    let api = Api::new(
        &Settings::from_lookup(environment).unwrap(),
        store,
        keyring(),
    );
    let event = json!({
        "version": "2.0",
        "rawPath": "/es/api/v1/credentials/api_keys",
        "requestContext": { "http": { "method": "GET" }, "stage": "$default" },
    });
    let event = RawValue::from_string(event.to_string()).unwrap();
    let list = async || {
        let invocation = LambdaEvent::new(event.clone(), Context::default());
        serde_json::to_string(&api.handle(invocation, Duration::from_secs(10)).await).unwrap()
    };
    assert_eq!(
        runtime.block_on(list()).matches("gaia_").count(),
        KEYS as usize
    );
    criterion.bench_function("read a page of 1,000 keys with the SDK", |b| {
        b.iter(|| {
            runtime
                .block_on(client.query().table_name("keys").send())
                .unwrap()
        })
    });
    criterion.bench_function("read a page of 1,000 keys and write it as a list", |b| {
        b.iter(|| runtime.block_on(list()))
    });
}

/// DynamoDB's response to a Query.
fn page() -> String {
    let item = |number: u32| {
        json!({
            "id": {"S": format!("01ARZ3NDEKTSV4RRFF{number:08}")},
            "config": {"S": r#"{"permissions":"read"}"#},
            "root_key_id": {"S": "053bcb62"},
        })
    };
    json!({ "Count": KEYS, "Items": (0..KEYS).map(item).collect::<Vec<_>>() }).to_string()
}

/// A client whose every request gets the same response at once.
fn client(response: String) -> aws_sdk_dynamodb::Client {
    let connector = SharedHttpConnector::new(Canned(response));
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::from_keys("AKID", "secret", None))
        .http_client(http_client_fn(move |_, _| connector.clone()));
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

#[derive(Debug)]
struct Canned(String);

impl HttpConnector for Canned {
    fn call(&self, _request: HttpRequest) -> HttpConnectorFuture {
        let body = SdkBody::from(self.0.as_str());
        HttpConnectorFuture::ready(Ok(HttpResponse::new(
            200.try_into().expect("a status"),
            body,
        )))
    }
}

criterion_group!(benches, keys, list);
criterion_main!(benches);
