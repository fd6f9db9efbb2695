//! The service over an embedded DynamoDB, driven by API Gateway's events, with a proxy in between that counts and fails.

use std::net::SocketAddr;
use std::time::Duration;

use dynoxide::Database;
use gaia_api_keys::api::Api;
use gaia_api_keys::settings::Settings;
use gaia_api_keys::startup;
use serde_json::{Value, json};

use crate::database::{self, TABLE_NAME};
use crate::proxy::Proxy;

pub const API_KEYS: &str = "/es/api/v1/credentials/api_keys/";
pub const MASTER_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// What an invocation has.
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

pub const FORMATS: [Format; 4] = [Format::Http, Format::HttpNamedStage, Format::Rest, Format::RestStageInPath];

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
        Self { method: method.to_owned(), path: path.to_owned(), query: Value::Null, headers, ..Self::default() }
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
        let text = self.body.as_ref().map(|body| String::from_utf8(body.clone()));
        let (body, base64) = match (text, &self.body) {
            (Some(Ok(text)), _) if !self.base64 => (Some(text), false),
            (_, Some(bytes)) => (Some(base64_simd::STANDARD.encode_to_string(bytes)), true),
            _ => (None, false),
        };
        let (stage, path) = match format {
            Format::Http => ("$default", self.path.clone()),
            Format::HttpNamedStage | Format::RestStageInPath => ("live", format!("/live{}", self.path)),
            Format::Rest => ("live", self.path.clone()),
        };
        match format {
            Format::Http | Format::HttpNamedStage => json!({
                "version": "2.0",
                "routeKey": "$default",
                "rawPath": path,
                "rawQueryString": "",
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

/// A response as the gateway would see it.
#[derive(Debug)]
pub struct Answer {
    pub status: u64,
    pub headers: Value,
    pub body: String,
}

impl Answer {
    pub fn from_lambda(response: Value) -> Self {
        let body = response["body"].as_str().expect("a body").to_owned();
        assert_eq!(response["isBase64Encoded"], false);
        Self { status: response["statusCode"].as_u64().expect("a status"), headers: response["headers"].clone(), body }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The key that the response names.
    pub fn api_key(&self) -> String {
        self.json()["api_key"].as_str().unwrap_or_else(|| panic!("no key: {self:?}")).to_owned()
    }
}

/// The table on an embedded DynamoDB of its own, behind the proxy.
pub struct Table {
    pub database: Database,
    pub proxy: Proxy,
}

impl Table {
    pub async fn new() -> Self {
        let (database, _) = database::open(":memory:").expect("a database");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(database::serve(listener, database.clone(), std::future::pending()));
        Self { database, proxy: Proxy::start(address).await }
    }

    pub fn address(&self) -> SocketAddr {
        self.proxy.address
    }

    /// The environment of a function on this table; `changes` win.
    pub fn environment(&self, changes: &[(&str, &str)]) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.address());
        let base = [
            ("TABLE_NAME", TABLE_NAME),
            ("SERVICE_NAME", "demo"),
            ("MASTER_KEY", MASTER_KEY),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_ENDPOINT_URL_DYNAMODB", &endpoint),
        ];
        let unchanged = base.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        changes.iter().chain(unchanged).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    pub fn settings(&self, changes: &[(&str, &str)]) -> Settings {
        let environment = self.environment(changes);
        let lookup = |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        Settings::from_lookup(lookup).expect("settings")
    }

    /// All items, in the order of the table, as DynamoDB writes them.
    pub fn items(&self) -> Vec<Value> {
        let request = serde_json::from_value(json!({ "TableName": TABLE_NAME })).expect("a request");
        let response = self.database.scan(request).expect("a scan");
        let mut items = serde_json::to_value(response.items.unwrap_or_default()).expect("items");
        let items = items.as_array_mut().expect("a list");
        items.sort_by_key(|item| item["id"]["S"].as_str().expect("an id").to_owned());
        items.clone()
    }

    pub fn put(&self, item: Value) {
        let request = serde_json::from_value(json!({ "TableName": TABLE_NAME, "Item": item })).expect("a request");
        self.database.put_item(request).expect("a put");
    }
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
        let api = startup::api(&table.settings(changes)).await.expect("a start");
        table.proxy.requests();
        Self { api, table }
    }

    pub async fn send_event(&self, event: Value) -> Answer {
        let event = serde_json::from_value(event).expect("an event");
        let answer = Answer::from_lambda(serde_json::to_value(self.api.handle(event, TIMEOUT).await).expect("JSON"));
        assert_eq!(answer.headers["Content-Type"], "application/json");
        assert_eq!(answer.headers["Cache-Control"], "no-store");
        answer
    }

    pub async fn send(&self, call: Call) -> Answer {
        self.send_event(call.event(Format::Http)).await
    }

    pub async fn create(&self, config: Value) -> Answer {
        self.send(Call::new("POST", API_KEYS).json(&json!({ "config": config }))).await
    }

    pub async fn update(&self, api_key: &str, config: Value) -> Answer {
        self.send(Call::new("PUT", &format!("{API_KEYS}{api_key}")).json(&json!({ "config": config }))).await
    }

    pub async fn delete(&self, api_key: &str) -> Answer {
        self.send(Call::new("DELETE", &format!("{API_KEYS}delete/{api_key}"))).await
    }

    pub async fn list(&self) -> Vec<Value> {
        let answer = self.send(Call::new("GET", API_KEYS)).await;
        assert_eq!((answer.status, &answer.headers["Link"]), (200, &Value::Null), "{answer:?}");
        answer.json().as_array().expect("a list").clone()
    }
}
