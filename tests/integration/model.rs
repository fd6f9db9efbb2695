//! Arbitrary sequences of everything, against a model in memory.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gaia_api_keys::api::Api;
use gaia_api_keys::authorizer::Authorizer;
use gaia_api_keys::startup;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::database::TABLE_NAME;
use crate::protected::{Shape, Visit, lets_in};
use crate::proxy::{Fault, Held, Proxy};
use crate::support::{
    API_KEYS, Call, Environment, FORMATS, Format, ROOT_KEY, Response, TIMEOUT, Table, invoke, sdk,
    settings,
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

/// The state that a client expects: its keys in order of creation, deleted ones without a config,
/// and its `Idempotency-Key`s.
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
        let Some(config) = &self.keys[key].1 else {
            return false;
        };
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
        Self {
            api,
            authorizer,
            proxy,
            name: name.to_owned(),
            model: Model::default(),
            alone,
            steps: 0,
        }
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
                let response = self
                    .send(Call::new("POST", API_KEYS).json(&json!({ "config": config })))
                    .await;
                self.model
                    .keys
                    .push((response.api_key(), Some(config.clone())));
            }
            Step::CreateOnce(header, config) => self.create_once(*header, config).await,
            Step::Update(number, by_id, config) => {
                let Some(index) = self.model.pick(*number) else {
                    return;
                };
                let name = self.name_of(index, *by_id);
                let response = self
                    .send(
                        Call::new("PUT", &format!("{API_KEYS}{name}"))
                            .json(&json!({ "config": config })),
                    )
                    .await;
                let there = self.model.keys[index].1.is_some();
                assert_eq!(response.status, if there { 200 } else { 404 });
                self.model.keys[index].1 = there.then(|| config.clone());
            }
            Step::Delete(number, by_id) => {
                let Some(index) = self.model.pick(*number) else {
                    return;
                };
                let name = self.name_of(index, *by_id);
                let response = self
                    .send(Call::new("DELETE", &format!("{API_KEYS}delete/{name}")))
                    .await;
                assert_eq!(
                    response.status,
                    if self.model.keys[index].1.take().is_some() {
                        200
                    } else {
                        404
                    }
                );
            }
            Step::Rotate(number, by_id) => {
                let Some(index) = self.model.pick(*number) else {
                    return;
                };
                self.rotate(index, *by_id).await;
            }
            Step::List(limit) => self.list(*limit).await,
            Step::Verify(number, permission, ip) => {
                let Some(index) = self.model.pick(*number) else {
                    return;
                };
                let question = json!({ "api_key": self.model.keys[index].0, "permission": permission, "source_ip": ip });
                let response = self
                    .send(Call::new("POST", &format!("{API_KEYS}verify")).json(&question))
                    .await;
                assert_eq!(
                    response.json()["valid"],
                    self.model.allows(index, permission, ip),
                    "{question}"
                );
            }
            Step::Authorize(number, method, ip) => {
                let Some(index) = self.model.pick(*number) else {
                    return;
                };
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
            self.model
                .tokens
                .push((header, config.clone(), self.model.keys.len()));
            self.model
                .keys
                .push((response.api_key(), Some(config.clone())));
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
        let Some(mut config) = config else {
            return assert_eq!(response.status, 404);
        };
        let successor = self
            .model
            .successors
            .get(&index)
            .is_some_and(|key| self.model.keys[*key].1.is_some());
        if config["expires_at"] == "2020-01-01T00:00:00Z" {
            return assert_eq!(response.status, 422, "{response:?}"); // The new key's, too.
        }
        if successor || config["enabled"] == false {
            return assert_eq!(response.status, 409, "{response:?}");
        }
        self.model.successors.insert(index, self.model.keys.len());
        self.model
            .keys
            .push((response.api_key(), Some(config.clone())));
        config["expires_at"] = response.json()["rotated_from_expires_at"].clone();
        self.model.keys[index].1 = Some(config);
    }

    async fn authorize(&self, index: usize, method: &str, ip: &str) {
        let visit = Visit {
            source_ip: ip.to_owned(),
            ..Visit::new(&self.model.keys[index].0, method, "/x")
        };
        let permission = if method == "GET" { "read" } else { "write" };
        for shape in [Shape::RestToken, Shape::RestRequest, Shape::Http2] {
            let event = RawValue::from_string(visit.event(shape).to_string()).expect("JSON");
            let response = self
                .authorizer
                .handle(&event, TIMEOUT)
                .await
                .expect("a response");
            let response = serde_json::to_value(response).expect("JSON");
            assert_eq!(
                lets_in(&response, &visit),
                self.model.allows(index, permission, ip),
                "{shape:?} {visit:?}"
            );
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
            let Some(link) = response.headers["Link"].as_str() else {
                break;
            };
            let after = link
                .split("after=")
                .nth(1)
                .and_then(|rest| rest.split(['&', '>']).next())
                .expect("an ID");
            call = call.query("after", after);
        }
        assert!(listed.is_sorted_by(|a, b| a["api_key"].as_str() < b["api_key"].as_str()));
        let mine = |entry: &&Value| {
            self.alone
                || self
                    .model
                    .keys
                    .iter()
                    .any(|(key, _)| entry["api_key"] == key.as_str())
        };
        let found: Vec<_> = listed.iter().filter(mine).cloned().collect();
        let expected = self.model.keys.iter().filter_map(|(key, config)| {
            Some(json!({ "api_key": key, "config": config.as_ref()? }))
        });
        assert_eq!(found, expected.collect::<Vec<_>>());
    }

    fn name_of(&self, index: usize, by_id: bool) -> String {
        let key = &self.model.keys[index].0;
        if by_id {
            key[..31].to_owned()
        } else {
            key.clone()
        }
    }
}

fn run(
    runtime: &Runtime,
    cases: u32,
    clients: usize,
    upstream: SocketAddr,
    environment: impl Fn(usize, &str) -> Environment,
) {
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let (sequences, operations) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let steps = prop::collection::vec(prop::collection::vec(step(), 1..25), clients);
    let outcome = runner.run(&steps, |steps| {
        let (case, environment) = (sequences.fetch_add(1, Ordering::Relaxed), &environment);
        operations.fetch_add(steps.iter().map(Vec::len).sum(), Ordering::Relaxed);
        let clients = steps.iter().enumerate().map(|(number, steps)| async move {
            // A proxy of its own, so that no request is delayed for another client.
            let proxy = Proxy::start(upstream).await;
            let environment = environment(case, &format!("http://{}", proxy.address));
            let mut client = Client::new(
                &environment,
                proxy,
                &format!("client-{number}"),
                clients == 1,
            )
            .await;
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
    println!(
        "{} operations in {cases} sequences of {clients} clients",
        operations.into_inner()
    );
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A service of its own for each sequence, in one table.
fn on_embedded(cases: u32, clients: usize) {
    let runtime = runtime();
    let table = runtime.block_on(Table::new());
    run(
        &runtime,
        cases,
        clients,
        table.address(),
        |case, endpoint| {
            table.environment(&[
                ("SERVICE_NAME", &format!("service-{case}")),
                ("AWS_ENDPOINT_URL_DYNAMODB", endpoint),
            ])
        },
    );
}

#[test]
fn one_client() {
    on_embedded(60, 1);
}

#[test]
fn several_clients_at_once() {
    on_embedded(20, 4);
}

/// `TEST_DYNAMODB_ENDPOINT` names a DynamoDB that runs, such as Amazon's DynamoDB Local;
/// `TEST_CASES` how many sequences.
#[test]
#[ignore = "needs a running DynamoDB; .ci/run starts Amazon's"]
fn against_a_running_dynamodb() {
    let endpoint = std::env::var("TEST_DYNAMODB_ENDPOINT").expect("TEST_DYNAMODB_ENDPOINT");
    let cases = std::env::var("TEST_CASES").map_or(30, |cases| cases.parse().expect("a number"));
    let upstream = endpoint
        .strip_prefix("http://")
        .and_then(|address| address.parse().ok())
        .expect("an address");
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
        variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    };
    for clients in [1, 4] {
        let run_id = ulid::Ulid::generate();
        run(&runtime(), cases, clients, upstream, |case, endpoint| {
            environment(&format!("{run_id}-{case}"), endpoint)
        });
    }
}

/// What a writer wants of a key. It changes one field, or rotates, or deletes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Aim {
    Describe,
    Disable,
    Restrict,
    Rotate,
    Delete,
}

impl Aim {
    /// Whether a key that was read is like that.
    fn holds(self, key: &Value) -> bool {
        let config = &key["config"];
        match self {
            Self::Describe => config["team"] == "search",
            Self::Disable => config["enabled"] == false,
            Self::Restrict => config["allowed_ips"] == json!(["192.0.2.1"]),
            Self::Rotate => key["rotated_to"].is_string() && config["expires_at"].is_string(),
            Self::Delete => key["config"].is_null(),
        }
    }

    /// The request that makes a key like that, if it is still as it was read.
    fn call(self, id: &str, key: &Value) -> Call {
        let mut config = key["config"].clone();
        match self {
            Self::Describe => config["team"] = "search".into(),
            Self::Disable => config["enabled"] = false.into(),
            Self::Restrict => config["allowed_ips"] = json!(["192.0.2.1"]),
            Self::Rotate | Self::Delete => {}
        }
        let mut call = match self {
            Self::Rotate => Call::new("POST", &format!("{API_KEYS}{id}/rotate"))
                .json(&json!({ "grace_seconds": 0 })),
            Self::Delete => Call::new("DELETE", &format!("{API_KEYS}delete/{id}")),
            _ => Call::new("PUT", &format!("{API_KEYS}{id}")).json(&json!({ "config": config })),
        };
        if self == Self::Rotate {
            call.headers["Idempotency-Key"] = id.into();
        }
        call.headers["If-Match"] = key["etag"].clone();
        call
    }
}

/// What goes wrong with a writer's first change.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mishap {
    Nothing,
    /// DynamoDB's response to the service, or the request to it, is lost.
    AtTable(Fault),
    /// The service's response is lost: the writer sends the same request again.
    AtClient,
}

const MISHAPS: [Mishap; 4] = [
    Mishap::Nothing,
    Mishap::AtTable(Fault::DoneThenDropped),
    Mishap::AtTable(Fault::Late),
    Mishap::AtClient,
];

/// Reads, changes and writes back, as gaia-keys does: after a 412 it reads again and, unless its
/// change is there, applies it to what is there now. Returns whether the change was acknowledged,
/// or is there; otherwise the key is gone.
async fn achieve(api: &Api, id: &str, aim: Aim, mishap: Mishap) -> bool {
    let send = async |call: &Call| {
        Response::from_lambda(invoke(api, &call.event(Format::Http), TIMEOUT).await)
    };
    let mut lost = mishap == Mishap::AtClient;
    for _ in 0..10 {
        let read = send(&Call::new("GET", &format!("{API_KEYS}{id}"))).await;
        if read.status == 404 {
            return aim == Aim::Delete;
        }
        if read.status != 200 {
            continue;
        }
        if aim.holds(&read.json()) {
            return true;
        }
        let call = aim.call(id, &read.json());
        let mut response = send(&call).await;
        if std::mem::take(&mut lost) {
            response = send(&call).await;
        }
        match response.status {
            200 => return true,
            404 => return aim == Aim::Delete,
            412 | 503 => {}
            other => panic!("{aim:?}: {other} {response:?}"),
        }
    }
    panic!("{aim:?} was never carried out");
}

/// The decisions of one run, each one of several options. The next run takes another option in the
/// last one that has one.
#[derive(Default)]
struct Decisions {
    taken: Vec<(usize, usize)>,
    next: usize,
}

impl Decisions {
    fn take(&mut self, options: usize) -> usize {
        if self.next == self.taken.len() {
            self.taken.push((0, options));
        }
        self.next += 1;
        assert_eq!(
            self.taken[self.next - 1].1,
            options,
            "a run isn't repeatable"
        );
        self.taken[self.next - 1].0
    }

    /// Returns false after the last run.
    fn advance(&mut self) -> bool {
        self.next = 0;
        while self
            .taken
            .pop_if(|(option, options)| *option + 1 == *options)
            .is_some()
        {}
        self.taken
            .last_mut()
            .map(|(option, _)| *option += 1)
            .is_some()
    }
}

/// A writer's own instance of the service.
struct Instance {
    api: Arc<Api>,
    proxy: Proxy,
    held: mpsc::UnboundedReceiver<Held>,
}

impl Instance {
    async fn new(table: &Table) -> Self {
        let proxy = Proxy::start(table.address()).await;
        let endpoint = format!("http://{}", proxy.address);
        let api = table
            .api(&[("AWS_ENDPOINT_URL_DYNAMODB", &endpoint)])
            .await
            .expect("a start");
        let held = proxy.hold();
        Self {
            api: Arc::new(api),
            proxy,
            held,
        }
    }
}

/// A writer at work, one request to the table at a time.
struct Writer<'a> {
    instance: &'a mut Instance,
    work: JoinHandle<bool>,
    waits: Option<Held>,
    mishap: Mishap,
    achieved: Option<bool>,
}

impl<'a> Writer<'a> {
    fn new(instance: &'a mut Instance, id: &str, aim: Aim, mishap: Mishap) -> Self {
        let (api, id) = (Arc::clone(&instance.api), id.to_owned());
        let work = tokio::spawn(async move { achieve(&api, &id, aim, mishap).await });
        Self {
            instance,
            work,
            waits: None,
            mishap,
            achieved: None,
        }
    }

    /// Until it has ended or waits for the table. Reads of usage change nothing, so they don't
    /// wait.
    async fn settle(&mut self) {
        while self.waits.is_none() && self.achieved.is_none() {
            tokio::select! {
                Some(held) = self.instance.held.recv() => {
                    if held.body.contains("#use") { held.release(Fault::None) } else { self.waits = Some(held) }
                }
                achieved = &mut self.work => self.achieved = Some(achieved.expect("no panic")),
            }
        }
    }

    async fn go(&mut self) {
        let held = self.waits.take().expect("a request");
        let fault = match self.mishap {
            Mishap::AtTable(fault) if held.operation != "GetItem" => {
                self.mishap = Mishap::Nothing;
                fault
            }
            _ => Fault::None,
        };
        held.release(fault);
        self.settle().await;
    }
}

/// All interleavings of a writer who describes a key with one who revokes it, at the requests to
/// the table. Returns their number.
async fn interleave(table: &Table, item: &Value, revoke: Aim, mishaps: [Mishap; 2]) -> usize {
    let mut instances = [Instance::new(table).await, Instance::new(table).await];
    let mut decisions = Decisions::default();
    let mut runs = 0;
    loop {
        runs += 1;
        let ulid = ulid::Ulid::generate().to_string();
        let mut item = item.clone();
        item["id"]["S"] = ulid.clone().into();
        table.put(item);
        let id = &format!("gaia_{ulid}");
        let [first, second] = &mut instances;
        let mut writers = [
            Writer::new(first, id, Aim::Describe, mishaps[0]),
            Writer::new(second, id, revoke, mishaps[1]),
        ];
        for writer in &mut writers {
            writer.settle().await;
        }
        let mut after_a_read_of_the_second = false;
        loop {
            let reads = |writer: &Writer| {
                writer
                    .waits
                    .as_ref()
                    .is_some_and(|held| held.operation == "GetItem")
            };
            let number = match [writers[0].waits.is_some(), writers[1].waits.is_some()] {
                [false, false] => break,
                [true, false] => 0,
                [false, true] => 1,
                // Two reads in the other order are the same.
                [true, true] if after_a_read_of_the_second && reads(&writers[0]) => 1,
                [true, true] => decisions.take(2),
            };
            after_a_read_of_the_second = number == 1 && reads(&writers[1]);
            writers[number].go().await;
        }
        let achieved = writers.map(|writer| writer.achieved.expect("an end"));
        let run = format!("{revoke:?}, {mishaps:?}, {:?}", decisions.taken);
        for late in [false, true] {
            let key = stored(table, &ulid);
            assert!(
                achieved[1] && revoke.holds(&key),
                "a revocation was undone: {run}, late {late}: {key}"
            );
            let described = achieved[0] && Aim::Describe.holds(&key);
            assert!(
                described || revoke == Aim::Delete,
                "a change was lost: {run}, late {late}: {key}"
            );
            for instance in &instances {
                instance.proxy.deliver().await;
            }
        }
        if !decisions.advance() {
            return runs;
        }
    }
}

/// A key as `GET` shows it, as far as an [`Aim`] says something of it.
fn stored(table: &Table, ulid: &str) -> Value {
    let item = table.item(ulid).unwrap_or_default();
    let config = item["config"]["S"]
        .as_str()
        .map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
    json!({ "config": config, "rotated_to": item["rotated_to"]["S"] })
}

/// Two writers who send `If-Match`, one of whom loses a response: after an acknowledged revocation,
/// no update that began before it restores the key.
#[tokio::test]
async fn no_interleaving_of_two_writers_undoes_a_revocation() {
    let table = &Table::new().await;
    let api = table.api(&[]).await.expect("a start");
    let create = Call::new("POST", API_KEYS).json(&json!({ "config": { "permissions": "read" } }));
    invoke(&api, &create.event(Format::Http), TIMEOUT).await;
    let item = &table.items()[0];
    let mishaps = MISHAPS
        .iter()
        .flat_map(|mishap| [[*mishap, Mishap::Nothing], [Mishap::Nothing, *mishap]])
        .skip(1);
    let revocations = [Aim::Disable, Aim::Rotate, Aim::Delete];
    let cases = mishaps.flat_map(|mishaps| revocations.map(|revoke| (revoke, mishaps)));
    let cases = cases.chain([(Aim::Restrict, [Mishap::Nothing; 2])]);
    let mut runs = 0;
    for (revoke, mishaps) in cases {
        runs += interleave(table, item, revoke, mishaps).await;
    }
    println!("{runs} interleavings");
}
