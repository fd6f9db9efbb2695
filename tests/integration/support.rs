//! The service over an embedded DynamoDB, driven by API Gateway's events, with a proxy in between
//! that counts and fails.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use dynoxide::Database;
use gaia_api_keys::api::Api;
use gaia_api_keys::authorizer::Authorizer;
use gaia_api_keys::error::Cause;
use gaia_api_keys::settings::Settings;
use gaia_api_keys::{aws, startup};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::database::{self, TABLE_NAME};
use crate::proxy::Proxy;

pub const API_KEYS: &str = "/es/api/v1/credentials/api_keys/";
pub const ROOT_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// The time that an invocation has.
pub const TIMEOUT: Duration = Duration::from_secs(10);
pub const CALLER: &str = "arn:aws:iam::123456789012:user/alice";

/// The two payload formats of API Gateway, with the stage in the ways it may show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Format {
    Http,
    HttpNamedStage,
    Rest,
    RestStageInPath,
}

pub const FORMATS: [Format; 4] = [
    Format::Http,
    Format::HttpNamedStage,
    Format::Rest,
    Format::RestStageInPath,
];

/// A request before it is an event.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub query: Value,
    pub headers: Value,
    pub body: Option<Vec<u8>>,
    pub base64: bool,
}

impl Call {
    pub fn new(method: &str, path: &str) -> Self {
        let headers = json!({ "host": "api.example.com" });
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: Value::Null,
            headers,
            ..Self::default()
        }
    }

    pub fn json(mut self, body: &Value) -> Self {
        self.headers["Content-Type"] = "application/json".into();
        self.body = Some(body.to_string().into_bytes());
        self
    }

    pub fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.query[name] = value.to_string().into();
        self
    }

    /// The event of the call in a format, from `CALLER`.
    pub fn event(&self, format: Format) -> Value {
        let text = self
            .body
            .as_ref()
            .map(|body| String::from_utf8(body.clone()));
        let (body, base64) = match (text, &self.body) {
            (Some(Ok(text)), _) if !self.base64 => (Some(text), false),
            (_, Some(bytes)) => (Some(base64_simd::STANDARD.encode_to_string(bytes)), true),
            _ => (None, false),
        };
        let (stage, path) = match format {
            Format::Http => ("$default", self.path.clone()),
            Format::HttpNamedStage | Format::RestStageInPath => {
                ("live", format!("/live{}", self.path))
            }
            Format::Rest => ("live", self.path.clone()),
        };
        match format {
            Format::Http | Format::HttpNamedStage => json!({
                "version": "2.0",
                "routeKey": "$default",
                "rawPath": path,
                "rawQueryString": query_string(&self.query),
                "headers": self.headers,
                "queryStringParameters": self.query,
                "requestContext": {
                    "accountId": "123456789012",
                    "apiId": "api",
                    "authorizer": { "iam": { "accountId": "123456789012", "userArn": CALLER } },
                    "http": { "method": self.method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1" },
                    "requestId": "request-id",
                    "stage": stage,
                    "timeEpoch": 0,
                },
                "body": body,
                "isBase64Encoded": base64,
            }),
            Format::Rest | Format::RestStageInPath => json!({
                "resource": "/{proxy+}",
                "path": path,
                "httpMethod": self.method,
                "headers": self.headers,
                "multiValueHeaders": {},
                "queryStringParameters": self.query,
                "multiValueQueryStringParameters": null,
                "pathParameters": null,
                "stageVariables": null,
                "requestContext": {
                    "accountId": "123456789012",
                    "apiId": "api",
                    "authorizer": null,
                    "httpMethod": self.method,
                    "identity": { "sourceIp": "192.0.2.1", "userArn": CALLER },
                    "path": path,
                    "requestId": "request-id",
                    "stage": stage,
                },
                "body": body,
                "isBase64Encoded": base64,
            }),
        }
    }
}

fn query_string(query: &Value) -> String {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let pairs = query
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name, text(value)));
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// Values of every JSON type, two of which serde_json's tree can't hold. `{}` and `[]` aside, each
/// has contents.
pub const ODD_VALUES: [&str; 11] = [
    "null",
    "true",
    "7",
    "-1.5",
    "1e999",
    r#""text""#,
    r#""\ud800""#,
    "[]",
    r#"["a", null, 7]"#,
    "{}",
    r#"{"a": {"\udc00": [7]}}"#,
];

/// The text of an event with another JSON text at `pointer`, where the event must have something.
pub fn with_json(event: &Value, pointer: &str, json: &str) -> String {
    const MARK: &str = "a mark that nothing else holds";
    let mut event = event.clone();
    *event
        .pointer_mut(pointer)
        .unwrap_or_else(|| panic!("nothing at {pointer}")) = MARK.into();
    event.to_string().replace(&format!("\"{MARK}\""), json)
}

/// The pointers of everything in a JSON value, itself aside.
pub fn pointers(value: &Value) -> Vec<String> {
    let below = |name: &str, value: &Value| {
        let name = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        let deeper = pointers(value)
            .into_iter()
            .map(|pointer| format!("{name}{pointer}"));
        std::iter::once(name.clone())
            .chain(deeper.collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| below(name, value))
            .collect(),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .flat_map(|(index, value)| below(&index.to_string(), value))
            .collect(),
        _ => Vec::new(),
    }
}

/// A header's name as RFC 9110 spells it: the `http` crate writes all of them in lower case.
fn canonical(name: &str) -> String {
    let capital = |word: &str| {
        if word == "www" {
            "WWW".to_owned()
        } else {
            word[..1].to_uppercase() + &word[1..]
        }
    };
    name.split('-').map(capital).collect::<Vec<_>>().join("-")
}

/// A response as the gateway would see it.
#[derive(Debug)]
pub struct Response {
    pub status: u64,
    pub headers: Value,
    pub body: String,
}

impl Response {
    pub fn from_lambda(response: Value) -> Self {
        let body = response["body"].as_str().expect("a body").to_owned();
        assert_eq!(response["isBase64Encoded"], false);
        // In format 1.0 each header has a list of values.
        let (single, lists) = (
            response["headers"].as_object(),
            response["multiValueHeaders"].as_object(),
        );
        let last = |list: &Value| {
            list.as_array()
                .and_then(|values| values.last())
                .expect("a value")
                .clone()
        };
        let lists = lists
            .into_iter()
            .flatten()
            .map(|(name, list)| (name, last(list)));
        let headers = single
            .into_iter()
            .flatten()
            .map(|(name, value)| (name, value.clone()))
            .chain(lists);
        let headers = headers
            .map(|(name, value)| (canonical(name), value))
            .collect();
        Self {
            status: response["statusCode"].as_u64().expect("a status"),
            headers,
            body,
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The key that the response names.
    pub fn api_key(&self) -> String {
        self.json()["api_key"]
            .as_str()
            .unwrap_or_else(|| panic!("no key: {self:?}"))
            .to_owned()
    }
}

/// Lets tokio's time pass with the work of this test's runtime, in place of the machine's clock: a
/// millisecond for so many rounds of its event loop, in each of which everything that is ready runs
/// and sockets are read. So nothing waits for a pause or a timeout, and none comes early on a busy
/// machine. Tests with other threads or processes have the machine's clock, and so has the service
/// where it asks for the date.
fn own_clock() {
    const ROUNDS_PER_MILLISECOND: u32 = 20;
    thread_local! {
        static OWN: Cell<bool> = const { Cell::new(false) };
    }
    let alone = Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread;
    if !alone || OWN.replace(true) {
        return;
    }
    tokio::time::pause();
    tokio::spawn(async {
        loop {
            for _ in 0..ROUNDS_PER_MILLISECOND {
                tokio::task::yield_now().await;
            }
            tokio::time::advance(Duration::from_millis(1)).await;
        }
    });
}

/// The table on an embedded DynamoDB of its own, behind the proxy.
pub struct Table {
    pub database: Database,
    pub proxy: Proxy,
}

impl Table {
    pub async fn new() -> Self {
        own_clock();
        let (database, _) = database::open(":memory:").expect("a database");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(database::serve(
            listener,
            database.clone(),
            std::future::pending(),
        ));
        Self {
            database,
            proxy: Proxy::start(address).await,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.proxy.address
    }

    /// The environment of a function on this table; `changes` win.
    pub fn environment(&self, changes: &[(&str, &str)]) -> Environment {
        let endpoint = format!("http://{}", self.address());
        let base = [
            ("TABLE_NAME", TABLE_NAME),
            ("SERVICE_NAME", "demo"),
            ("ROOT_KEY", ROOT_KEY),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_ENDPOINT_URL_DYNAMODB", &endpoint),
        ];
        let unchanged = base
            .iter()
            .filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        changes
            .iter()
            .chain(unchanged)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// The management API on this table; `changes` win over its environment. Errors: it can't
    /// start.
    pub async fn api(&self, changes: &[(&str, &str)]) -> Result<Api, Cause> {
        let environment = self.environment(changes);
        startup::api(&settings(&environment), &sdk(&environment).await).await
    }

    /// The authorizer on this table, likewise.
    pub async fn authorizer(&self, changes: &[(&str, &str)]) -> Result<Authorizer, Cause> {
        let environment = self.environment(changes);
        startup::authorizer(&settings(&environment), &sdk(&environment).await).await
    }

    /// All items but those of `#meta`, by ID, as DynamoDB writes them.
    pub fn items(&self) -> Vec<Value> {
        let of_meta = |item: &Value| {
            item["service"]["S"]
                .as_str()
                .expect("a service")
                .ends_with("#meta")
        };
        self.all_items()
            .into_iter()
            .filter(|item| !of_meta(item))
            .collect()
    }

    /// All items, by ID, as DynamoDB writes them.
    pub fn all_items(&self) -> Vec<Value> {
        let request =
            serde_json::from_value(json!({ "TableName": TABLE_NAME })).expect("a request");
        let response = self.database.scan(request).expect("a scan");
        let mut items = serde_json::to_value(response.items.unwrap_or_default()).expect("items");
        let items = items.as_array_mut().expect("a list");
        items.sort_by_key(|item| item["id"]["S"].as_str().expect("an id").to_owned());
        items.clone()
    }

    /// The item of a key with this ULID, if there is one.
    pub fn item(&self, ulid: &str) -> Option<Value> {
        let key = json!({ "service": { "S": "demo" }, "id": { "S": ulid } });
        let request = serde_json::from_value(json!({ "TableName": TABLE_NAME, "Key": key }))
            .expect("a request");
        let response = self.database.get_item(request).expect("a get");
        response
            .item
            .map(|item| serde_json::to_value(item).expect("an item"))
    }

    pub fn put(&self, item: Value) {
        let request = serde_json::from_value(json!({ "TableName": TABLE_NAME, "Item": item }))
            .expect("a request");
        self.database.put_item(request).expect("a put");
    }
}

pub type Environment = Vec<(String, String)>;

fn find(environment: &Environment, name: &str) -> Option<String> {
    environment
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.clone())
}

/// The settings of an environment that isn't the process's own.
pub fn settings(environment: &Environment) -> Settings {
    Settings::from_lookup(|name| find(environment, name)).expect("settings")
}

/// The SDK's configuration, likewise.
pub async fn sdk(environment: &Environment) -> SdkConfig {
    #[derive(Debug)]
    struct Endpoints(Environment);
    impl LoadServiceConfig for Endpoints {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            find(
                &self.0,
                &format!("{}_{}", key.env(), key.service_id().to_uppercase()),
            )
        }
    }
    let value = |name| find(environment, name).expect(name);
    let credentials = Credentials::new(
        value("AWS_ACCESS_KEY_ID"),
        value("AWS_SECRET_ACCESS_KEY"),
        None,
        None,
        "test",
    );
    let loader = aws::loader(Region::new(value("AWS_REGION")), None).expect("a loader");
    aws::load(loader.credentials_provider(credentials))
        .await
        .into_builder()
        .service_config(Endpoints(environment.clone()))
        .build()
}

/// One invocation of the API.
pub async fn invoke(api: &Api, event: &Value, time_left: Duration) -> Value {
    invoke_text(api, event.to_string(), time_left).await
}

/// One invocation with an event that serde_json's tree can't hold.
pub async fn invoke_text(api: &Api, event: String, time_left: Duration) -> Value {
    let payload = RawValue::from_string(event).expect("JSON");
    serde_json::to_value(
        api.handle(LambdaEvent::new(payload, Context::default()), time_left)
            .await,
    )
    .expect("JSON")
}

/// The management API on a table of its own.
pub struct App {
    pub api: Api,
    pub table: Table,
}

impl App {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(changes: &[(&str, &str)]) -> Self {
        let table = Table::new().await;
        let api = table.api(changes).await.expect("a start");
        table.proxy.requests();
        Self { api, table }
    }

    pub async fn send_event(&self, event: Value) -> Response {
        let response = Response::from_lambda(invoke(&self.api, &event, TIMEOUT).await);
        assert_eq!(response.headers["Content-Type"], "application/json");
        assert_eq!(response.headers["Cache-Control"], "no-store");
        response
    }

    pub async fn send(&self, call: Call) -> Response {
        self.send_event(call.event(Format::Http)).await
    }

    pub async fn create(&self, config: Value) -> Response {
        self.send(Call::new("POST", API_KEYS).json(&json!({ "config": config })))
            .await
    }

    pub async fn update(&self, api_key: &str, config: Value) -> Response {
        self.send(
            Call::new("PUT", &format!("{API_KEYS}{api_key}")).json(&json!({ "config": config })),
        )
        .await
    }

    pub async fn delete(&self, api_key: &str) -> Response {
        self.send(Call::new("DELETE", &format!("{API_KEYS}delete/{api_key}")))
            .await
    }

    pub async fn list(&self) -> Vec<Value> {
        let response = self.send(Call::new("GET", API_KEYS)).await;
        assert_eq!(
            (response.status, &response.headers["Link"]),
            (200, &Value::Null),
            "{response:?}"
        );
        response.json().as_array().expect("a list").clone()
    }
}
