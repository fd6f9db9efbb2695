//! Both functions as a whole, over a table that responds to every request at once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use gaia_api_keys::api::Api;
use gaia_api_keys::authorizer::Authorizer;
use gaia_api_keys::settings::Settings;
use gaia_api_keys::store::Store;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::{ROOT_KEY, ULID, key_id, keyring};

/// The deployment's `READ_ROUTES`.
pub const READ_ROUTES: &str = "POST /es/api/v1/search/*,PUT /a*b";

/// The time left of an invocation: plenty, so that no outcome depends on it.
pub const TIME_LEFT: Duration = Duration::from_secs(60);

thread_local! {
    /// The config that the table returns for every key.
    static CONFIG: RefCell<String> = const { RefCell::new(String::new()) };
    /// The config that the last write put into the table.
    static WRITTEN: RefCell<Option<String>> = const { RefCell::new(None) };
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
}

/// The management API.
pub fn api() -> Api {
    Api::new(&settings(), store(), keyring())
}

/// The authorizer.
pub fn authorizer() -> Authorizer {
    Authorizer::new(&settings(), store(), keyring())
}

/// Sets what the table gives back as the config of every key.
pub fn set_config(text: &str) {
    CONFIG.with_borrow_mut(|config| text.clone_into(config));
}

/// Takes the config that the last write put into the table.
pub fn written() -> Option<String> {
    WRITTEN.take()
}

/// Runs a future to its end.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

fn settings() -> Settings {
    Settings::from_lookup(|name| {
        let value = match name {
            "TABLE_NAME" => "keys",
            "SERVICE_NAME" => "demo",
            "ROOT_KEY" => ROOT_KEY,
            "READ_ROUTES" => READ_ROUTES,
            _ => return None,
        };
        Some(value.to_owned())
    })
    .expect("settings")
}

fn store() -> Store {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("fuzz", "fuzz", None, None, "fuzz"))
        .retry_config(aws_sdk_dynamodb::config::retry::RetryConfig::disabled())
        .timeout_config(aws_sdk_dynamodb::config::timeout::TimeoutConfig::disabled())
        .stalled_stream_protection(
            aws_sdk_dynamodb::config::StalledStreamProtectionConfig::disabled(),
        )
        .http_client(http_client_fn(|_, _| {
            SharedHttpConnector::new(Table {
                root_key_id: root_key_id(),
            })
        }))
        .build();
    Store::new(
        aws_sdk_dynamodb::Client::from_conf(config),
        "keys".to_owned(),
        "demo".to_owned(),
        true,
    )
}

fn root_key_id() -> String {
    keyring().create(key_id()).1.as_str().to_owned()
}

/// A table that holds every key of this service, each with the same config, and one item that
/// someone else wrote.
#[derive(Debug)]
struct Table {
    root_key_id: String,
}

impl Table {
    fn respond(&self, operation: &str, request: &Value) -> Value {
        let item = |id: &str| {
            let config = CONFIG.with_borrow(String::clone);
            json!({
                "service": { "S": "demo" },
                "id": { "S": id },
                "config": { "S": config },
                "root_key_id": { "S": self.root_key_id },
            })
        };
        let ours = request["Key"]["service"]["S"] == "demo";
        let id = request["Key"]["id"]["S"].as_str().unwrap_or(ULID);
        let in_transaction = &request["TransactItems"][0]["Put"]["Item"];
        let changes = &request["ExpressionAttributeValues"];
        for place in [
            &request["Item"]["config"],
            &changes[":config"],
            &in_transaction["config"],
        ] {
            if let Some(config) = place["S"].as_str() {
                WRITTEN.set(Some(config.to_owned()));
            }
        }
        match operation {
            "GetItem" if ours => json!({ "Item": item(id) }),
            "Query" if changes[":service"]["S"] == "demo" => {
                let after = changes[":after"]["S"].as_str().unwrap_or_default();
                let foreign = json!({ "service": { "S": "demo" }, "id": { "S": "foreign" } });
                let mut items = vec![item(ULID), foreign];
                items.retain(|item| item["id"]["S"].as_str() > Some(after));
                json!({ "Items": items })
            }
            "Query" => json!({ "Items": [] }),
            _ => json!({}),
        }
    }
}

impl HttpConnector for Table {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let operation = request
            .headers()
            .get("x-amz-target")
            .and_then(|target| target.rsplit('.').next());
        let body =
            serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap_or_default();
        let body = self
            .respond(operation.unwrap_or_default(), &body)
            .to_string();
        let mut response =
            HttpResponse::new(200u16.try_into().expect("a status"), SdkBody::from(body));
        response
            .headers_mut()
            .insert("content-type", "application/x-amz-json-1.0");
        HttpConnectorFuture::ready(Ok(response))
    }
}

/// A response of the management API.
#[derive(Debug)]
pub struct Response {
    /// The HTTP status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The JSON text.
    pub body: String,
}

/// One invocation of the management API, whose response is checked for what holds for all of them.
pub fn invoke(api: &Api, payload: Box<RawValue>) -> Response {
    let event = LambdaEvent::new(payload, Context::default());
    let response = serde_json::to_value(run(api.handle(event, TIME_LEFT))).expect("JSON");
    let status = response["statusCode"]
        .as_u64()
        .and_then(|status| status.try_into().ok())
        .expect("a status");
    // Format 1.0 has a list of values for each header.
    let (single, lists) = (
        response["headers"].as_object(),
        response["multiValueHeaders"].as_object(),
    );
    let single = single.into_iter().flatten();
    let headers = single.chain(
        lists
            .into_iter()
            .flatten()
            .map(|(name, values)| (name, &values[0])),
    );
    let headers = headers
        .map(|(name, value)| (name.clone(), value.as_str().expect("a string").to_owned()))
        .collect();
    let response = Response {
        status,
        headers,
        body: response["body"].as_str().expect("a body").to_owned(),
    };
    let header = |name: &str| response.headers.get(name).map(String::as_str);
    assert_eq!(header("cache-control"), Some("no-store"));
    assert_eq!(header("content-type"), Some("application/json"));
    check(response.status, &response.body);
    response
}

/// Checks what holds for every response of the management API: no 5xx, and a body that is JSON.
pub fn check(status: u16, body: &str) {
    assert!(
        [200, 400, 401, 404, 405, 409, 413, 422].contains(&status),
        "{status}: {body}"
    );
    assert!(
        serde_json::from_str::<&RawValue>(body).is_ok(),
        "no JSON: {body}"
    );
}
