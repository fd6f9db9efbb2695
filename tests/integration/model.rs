//! Arbitrary sequences of everything, against a model in memory.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use gaia_api_keys::api::Api;
use gaia_api_keys::authorizer::Authorizer;
use gaia_api_keys::startup;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::database::TABLE_NAME;
use crate::protected::{Shape, Visit, lets_in};
use crate::proxy::{Fault, Proxy};
use crate::support::{
    API_KEYS, Call, Environment, FORMATS, Format, ROOT_KEY, Response, TIMEOUT, Table, invoke, sdk, settings,
};

/// One step of a client; numbers choose among the keys that it created.
#[derive(Clone, Debug)]
enum Step {
    Create(Value),
    CreateOnce(u8, Value),
    Update(usize, bool, Value),
    Delete(usize, bool),
    Rotate(usize, bool),
    List(Option<usize>),
    Verify(usize, &'static str, &'static str),
    Authorize(usize, &'static str, &'static str),
    /// The next requests to the table lose their connection, and are carried out later.
    Delay(usize),
    /// The delayed requests are carried out.
    Deliver,
}

const ADDRESSES: [&str; 3] = ["192.0.2.1", "198.51.100.1", "2001:db8::1"];

fn config() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!({}),
        json!({ "permissions": "read" }),
        json!({ "permissions": "write", "team": "search" }),
        json!({ "permissions": "write", "enabled": false }),
        json!({ "permissions": "read", "expires_at": "2020-01-01T00:00:00Z" }),
        json!({ "permissions": "write", "allowed_ips": ["192.0.2.0/24"], "expires_at": "2999-01-01T00:00:00Z" }),
    ])
}

fn step() -> impl Strategy<Value = Step> {
    let method = prop::sample::select(vec!["GET", "POST"]);
    let address = prop::sample::select(ADDRESSES.to_vec());
    let permission = prop::sample::select(vec!["read", "write"]);
    prop_oneof![
        3 => config().prop_map(Step::Create),
        1 => (0u8..3, config()).prop_map(|(header, config)| Step::CreateOnce(header, config)),
        2 => (any::<usize>(), any::<bool>(), config()).prop_map(|(key, by_id, config)| Step::Update(key, by_id, config)),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(key, by_id)| Step::Delete(key, by_id)),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(key, by_id)| Step::Rotate(key, by_id)),
        1 => prop::option::of(1usize..4).prop_map(Step::List),
        2 => (any::<usize>(), permission, address.clone()).prop_map(|(key, permission, ip)| Step::Verify(key, permission, ip)),
        2 => (any::<usize>(), method, address).prop_map(|(key, method, ip)| Step::Authorize(key, method, ip)),
        1 => (1usize..3).prop_map(Step::Delay),
        1 => Just(Step::Deliver),
    ]
}

/// The state that a client expects: its keys in order of creation, deleted ones without a config, and its `Idempotency-Key`s.
#[derive(Default)]
struct Model {
    keys: Vec<(String, Option<Value>)>,
    tokens: Vec<(u8, Value, usize)>,
    /// The latest successor of each rotated key.
    successors: HashMap<usize, usize>,
}

impl Model {
    fn pick(&self, number: usize) -> Option<usize> {
        (!self.keys.is_empty()).then(|| number % self.keys.len())
    }

    fn allows(&self, key: usize, permission: &str, ip: &str) -> bool {
        let Some(config) = &self.keys[key].1 else { return false };
        config["enabled"] != false
            && config["expires_at"] != "2020-01-01T00:00:00Z"
            && (config["permissions"] == "write" || config["permissions"] == permission)
            && (config["allowed_ips"].is_null() || ip.starts_with("192.0.2."))
    }
}

/// A client: its own instance of both functions, on a table that others use too.
struct Client {
    api: Api,
    authorizer: Authorizer,
    proxy: Proxy,
    name: String,
    model: Model,
    /// Whether no other client creates keys.
    alone: bool,
    steps: usize,
}

impl Client {
    async fn new(environment: &Environment, proxy: Proxy, name: &str, alone: bool) -> Self {
        let (settings, sdk) = (settings(environment), sdk(environment).await);
        let api = startup::api(&settings, &sdk).await.expect("a start");
        let authorizer = startup::authorizer(&settings, &sdk).await.expect("a start");
        Self { api, authorizer, proxy, name: name.to_owned(), model: Model::default(), alone, steps: 0 }
    }

    async fn send(&mut self, call: Call) -> Response {
        self.steps += 1;
        let format = FORMATS[self.steps % FORMATS.len()];
        let mut event = call.event(format);
        let identity = if matches!(format, Format::Http | Format::HttpNamedStage) {
            "/requestContext/authorizer/iam/userArn"
        } else {
            "/requestContext/identity/userArn"
        };
        *event.pointer_mut(identity).expect("a caller") = self.name.as_str().into();
        Response::from_lambda(invoke(&self.api, &event, TIMEOUT).await)
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Create(config) => {
                let response = self.send(Call::new("POST", API_KEYS).json(&json!({ "config": config }))).await;
                self.model.keys.push((response.api_key(), Some(config.clone())));
            }
            Step::CreateOnce(header, config) => self.create_once(*header, config).await,
            Step::Update(number, by_id, config) => {
                let Some(index) = self.model.pick(*number) else { return };
                let name = self.name_of(index, *by_id);
                let response =
                    self.send(Call::new("PUT", &format!("{API_KEYS}{name}")).json(&json!({ "config": config }))).await;
                let there = self.model.keys[index].1.is_some();
                assert_eq!(response.status, if there { 200 } else { 404 });
                self.model.keys[index].1 = there.then(|| config.clone());
            }
            Step::Delete(number, by_id) => {
                let Some(index) = self.model.pick(*number) else { return };
                let name = self.name_of(index, *by_id);
                let response = self.send(Call::new("DELETE", &format!("{API_KEYS}delete/{name}"))).await;
                assert_eq!(response.status, if self.model.keys[index].1.take().is_some() { 200 } else { 404 });
            }
            Step::Rotate(number, by_id) => {
                let Some(index) = self.model.pick(*number) else { return };
                self.rotate(index, *by_id).await;
            }
            Step::List(limit) => self.list(*limit).await,
            Step::Verify(number, permission, ip) => {
                let Some(index) = self.model.pick(*number) else { return };
                let question =
                    json!({ "api_key": self.model.keys[index].0, "permission": permission, "source_ip": ip });
                let response = self.send(Call::new("POST", &format!("{API_KEYS}verify")).json(&question)).await;
                assert_eq!(response.json()["valid"], self.model.allows(index, permission, ip), "{question}");
            }
            Step::Authorize(number, method, ip) => {
                let Some(index) = self.model.pick(*number) else { return };
                self.authorize(index, method, ip).await;
            }
            Step::Delay(requests) => self.proxy.plan(&[Fault::Late].repeat(*requests)),
            Step::Deliver => {
                self.proxy.deliver().await;
            }
        }
    }

    async fn create_once(&mut self, header: u8, config: &Value) {
        let mut call = Call::new("POST", API_KEYS).json(&json!({ "config": config }));
        call.headers["idempotency-key"] = header.to_string().into();
        let response = self.send(call).await;
        let Some((_, body, key)) = self.model.tokens.iter().find(|claim| claim.0 == header) else {
            self.model.tokens.push((header, config.clone(), self.model.keys.len()));
            self.model.keys.push((response.api_key(), Some(config.clone())));
            return;
        };
        match (body == config, &self.model.keys[*key]) {
            (false, _) => assert_eq!(response.status, 422),
            (true, (_, None)) => assert_eq!(response.status, 409),
            (true, (key, Some(_))) => assert_eq!(&response.api_key(), key),
        }
    }

    async fn rotate(&mut self, index: usize, by_id: bool) {
        let config = self.model.keys[index].1.clone();
        let body = json!({ "grace_seconds": 3600, "expires_at": config.as_ref().map(|config| &config["expires_at"]) });
        let path = format!("{API_KEYS}{}/rotate", self.name_of(index, by_id));
        let response = self.send(Call::new("POST", &path).json(&body)).await;
        let Some(mut config) = config else { return assert_eq!(response.status, 404) };
        let successor = self.model.successors.get(&index).is_some_and(|key| self.model.keys[*key].1.is_some());
        if config["expires_at"] == "2020-01-01T00:00:00Z" {
            return assert_eq!(response.status, 422, "{response:?}"); // The new key's, too.
        }
        if successor || config["enabled"] == false {
            return assert_eq!(response.status, 409, "{response:?}");
        }
        self.model.successors.insert(index, self.model.keys.len());
        self.model.keys.push((response.api_key(), Some(config.clone())));
        config["expires_at"] = response.json()["rotated_from_expires_at"].clone();
        self.model.keys[index].1 = Some(config);
    }

    async fn authorize(&self, index: usize, method: &str, ip: &str) {
        let visit = Visit { source_ip: ip.to_owned(), ..Visit::new(&self.model.keys[index].0, method, "/x") };
        let permission = if method == "GET" { "read" } else { "write" };
        for shape in [Shape::RestToken, Shape::RestRequest, Shape::Http2] {
            let event = serde_json::from_value(visit.event(shape)).expect("an event");
            let response = self.authorizer.handle(event, TIMEOUT).await.expect("a response");
            let response = serde_json::to_value(response).expect("JSON");
            assert_eq!(lets_in(&response, &visit), self.model.allows(index, permission, ip), "{shape:?} {visit:?}");
        }
    }

    /// All pages: complete and in order. Keys of other clients may be among them.
    async fn list(&mut self, limit: Option<usize>) {
        let mut listed = Vec::new();
        let mut call = Call::new("GET", API_KEYS);
        if let Some(limit) = limit {
            call = call.query("limit", limit);
        }
        loop {
            let response = self.send(call.clone()).await;
            listed.extend(response.json().as_array().expect("a list").iter().cloned());
            let Some(link) = response.headers["Link"].as_str() else { break };
            let after = link.split("after=").nth(1).and_then(|rest| rest.split(['&', '>']).next()).expect("an ID");
            call = call.query("after", after);
        }
        assert!(listed.is_sorted_by(|a, b| a["api_key"].as_str() < b["api_key"].as_str()));
        let mine =
            |entry: &&Value| self.alone || self.model.keys.iter().any(|(key, _)| entry["api_key"] == key.as_str());
        let found: Vec<_> = listed.iter().filter(mine).cloned().collect();
        let expected = self
            .model
            .keys
            .iter()
            .filter_map(|(key, config)| Some(json!({ "api_key": key, "config": config.as_ref()? })));
        assert_eq!(found, expected.collect::<Vec<_>>());
    }

    fn name_of(&self, index: usize, by_id: bool) -> String {
        let key = &self.model.keys[index].0;
        if by_id { key[..31].to_owned() } else { key.clone() }
    }
}

fn run(cases: u32, clients: usize, upstream: SocketAddr, environment: impl Fn(usize, &str) -> Environment) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let (sequences, operations) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let steps = prop::collection::vec(prop::collection::vec(step(), 1..25), clients);
    let outcome = runner.run(&steps, |steps| {
        let (case, environment) = (sequences.fetch_add(1, Ordering::Relaxed), &environment);
        operations.fetch_add(steps.iter().map(Vec::len).sum(), Ordering::Relaxed);
        let clients = steps.iter().enumerate().map(|(number, steps)| async move {
            // A proxy of its own, so that no request is delayed for another client.
            let proxy = Proxy::start(upstream).await;
            let environment = environment(case, &format!("http://{}", proxy.address));
            let mut client = Client::new(&environment, proxy, &format!("client-{number}"), clients == 1).await;
            for step in steps {
                client.step(step).await;
            }
            client.proxy.deliver().await;
            client.list(None).await;
        });
        runtime.block_on(futures_util::future::join_all(clients));
        Ok(())
    });
    outcome.expect("the service does what the model does");
    println!("{} operations in {cases} sequences of {clients} clients", operations.into_inner());
}

/// A service of its own for each sequence, in one table.
fn on_embedded(cases: u32, clients: usize) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let table = runtime.block_on(Table::new());
    run(cases, clients, table.address(), |case, endpoint| {
        table.environment(&[("SERVICE_NAME", &format!("service-{case}")), ("AWS_ENDPOINT_URL_DYNAMODB", endpoint)])
    });
}

#[test]
fn one_client() {
    on_embedded(60, 1);
}

#[test]
fn several_clients_at_once() {
    on_embedded(20, 4);
}

/// `TEST_DYNAMODB_ENDPOINT` names a DynamoDB that runs, such as Amazon's DynamoDB Local; `TEST_CASES` how many sequences.
#[test]
#[ignore = "needs a running DynamoDB; .ci/run starts Amazon's"]
fn against_a_running_dynamodb() {
    let endpoint = std::env::var("TEST_DYNAMODB_ENDPOINT").expect("TEST_DYNAMODB_ENDPOINT");
    let cases = std::env::var("TEST_CASES").map_or(30, |cases| cases.parse().expect("a number"));
    let upstream = endpoint.strip_prefix("http://").and_then(|address| address.parse().ok()).expect("an address");
    let environment = |service: &str, endpoint: &str| {
        let variables = [
            ("TABLE_NAME", TABLE_NAME),
            ("SERVICE_NAME", service),
            ("ROOT_KEY", ROOT_KEY),
            ("AWS_REGION", "test"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_ENDPOINT_URL_DYNAMODB", endpoint),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    };
    for clients in [1, 4] {
        let run_id = ulid::Ulid::generate();
        run(cases, clients, upstream, |case, endpoint| environment(&format!("{run_id}-{case}"), endpoint));
    }
}
