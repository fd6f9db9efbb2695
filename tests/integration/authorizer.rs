//! The authorizer: four formats in, policies and simple responses out, and what a gateway makes of them.

use gaia_api_keys::authorizer::Authorizer;
use gaia_api_keys::start;
use ipnet::IpNet;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::events::SAMPLE_KEY;
use crate::proxy::Fault;
use crate::support::{API_KEYS, App, Call, Format};

const API: &str = "arn:aws:execute-api:eu-central-1:123456789012:abcdefghij/live";

/// The formats of an authorizer's event.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    RestToken,
    RestRequest,
    Http1,
    Http2,
    /// 2.0, in a deployment that asks for simple responses.
    Simple,
}

const SHAPES: [Shape; 5] = [Shape::RestToken, Shape::RestRequest, Shape::Http1, Shape::Http2, Shape::Simple];

/// A request to a protected API.
#[derive(Clone, Debug)]
struct Visit {
    header: String,
    method: String,
    path: String,
    source_ip: String,
}

impl Visit {
    fn new(key: &str, method: &str, path: &str) -> Self {
        let text = str::to_owned;
        Self { header: format!("Search {key}"), method: text(method), path: text(path), source_ip: text("192.0.2.1") }
    }

    fn arn(&self) -> String {
        format!("{API}/{}{}", self.method, self.path)
    }

    fn event(&self, shape: Shape) -> Value {
        let identity = json!({ "sourceIp": self.source_ip });
        let http = json!({ "method": self.method, "path": format!("/live{}", self.path), "sourceIp": self.source_ip });
        match shape {
            Shape::RestToken => json!({ "type": "TOKEN", "authorizationToken": self.header, "methodArn": self.arn() }),
            Shape::RestRequest | Shape::Http1 => json!({
                "version": "1.0",
                "type": "REQUEST",
                "methodArn": self.arn(),
                // HTTP APIs put all identity sources here, which is no TOKEN.
                "authorizationToken": "something, else",
                "httpMethod": self.method,
                "headers": { "Authorization": self.header },
                "multiValueHeaders": { "Authorization": [self.header] },
                "requestContext": { "identity": identity },
            }),
            Shape::Http2 | Shape::Simple => json!({
                "version": "2.0",
                "type": "REQUEST",
                "routeArn": self.arn(),
                "identitySource": [self.header],
                "headers": { "authorization": self.header },
                "requestContext": { "http": http },
            }),
        }
    }
}

/// An API with an authorizer of each kind on the same table.
struct Protected {
    app: App,
    policies: Authorizer,
    simple: Authorizer,
}

impl Protected {
    async fn new(changes: &[(&str, &str)]) -> Self {
        let app = App::new().await;
        let policies = start::authorizer(&app.table.settings(changes)).await.expect("a start");
        let changes: Vec<_> = changes.iter().copied().chain([("SIMPLE_RESPONSES", "true")]).collect();
        let simple = start::authorizer(&app.table.settings(&changes)).await.expect("a start");
        app.table.proxy.requests();
        Self { app, policies, simple }
    }

    async fn answer(&self, shape: Shape, event: Value) -> Result<Value, String> {
        let authorizer = if shape == Shape::Simple { &self.simple } else { &self.policies };
        let answer = authorizer.handle(serde_json::from_value(event).expect("an event")).await;
        let answer = serde_json::to_value(answer.map_err(|error| error.to_string())?).expect("JSON");
        assert!(answer.to_string().len() <= 8000, "{}", answer.to_string().len());
        Ok(answer)
    }

    /// Whether the gateway lets the visit in.
    async fn opens(&self, shape: Shape, visit: &Visit) -> bool {
        let answer = self.answer(shape, visit.event(shape)).await.expect("an answer");
        lets_in(&answer, visit)
    }

    /// Whether the verify endpoint says so too.
    async fn verifies(&self, key: &str, permission: &str, source_ip: &str) -> bool {
        let question = json!({ "api_key": key, "permission": permission, "source_ip": source_ip });
        let answer = self.app.send(Call::new("POST", &format!("{API_KEYS}verify")).json(&question)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["valid"].as_bool().expect("a boolean")
    }
}

/// What API Gateway does with an answer, its own or one from its cache.
fn lets_in(answer: &Value, visit: &Visit) -> bool {
    if let Some(authorized) = answer["isAuthorized"].as_bool() {
        return authorized;
    }
    let statements = answer["policyDocument"]["Statement"].as_array().expect("statements");
    let applies = |effect: &str| {
        statements.iter().any(|statement| {
            assert_eq!(statement["Action"], "execute-api:Invoke");
            let mut resources = statement["Resource"].as_array().expect("resources").iter();
            statement["Effect"] == effect
                && resources.any(|resource| like(resource.as_str().expect("text").as_bytes(), visit.arn().as_bytes()))
                && statement["Condition"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .all(|(operator, keys)| holds(operator, keys, visit))
        })
    };
    applies("Allow") && !applies("Deny")
}

/// IAM's wildcards.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skipped| like(rest, &text[skipped..])),
        Some((first, rest)) => text.split_first().is_some_and(|(other, text)| first == other && like(rest, text)),
    }
}

fn holds(operator: &str, keys: &Value, visit: &Visit) -> bool {
    match operator {
        "DateLessThan" => {
            let time = keys["aws:CurrentTime"].as_str().expect("a time");
            OffsetDateTime::now_utc() < OffsetDateTime::parse(time, &Rfc3339).expect("RFC 3339")
        }
        "IpAddress" => {
            let address: std::net::IpAddr = visit.source_ip.parse().expect("an address");
            let ranges = keys["aws:SourceIp"].as_array().expect("a list");
            assert!(!ranges.is_empty());
            ranges.iter().map(|range| range.as_str().expect("text")).any(|range| {
                let range = range.parse::<IpNet>().or_else(|_| range.parse::<std::net::IpAddr>().map(IpNet::from));
                range.expect("a range").contains(&address.to_canonical())
            })
        }
        other => panic!("an operator that nobody emits: {other}"),
    }
}

#[tokio::test]
async fn the_sample_events_get_documented_answers() {
    let protected = Protected::new(&[]).await;
    crate::database::put_sample(&protected.app.table.database).expect("the sample key");
    for (name, stage) in
        [("rest-token", "live"), ("rest-request", "live"), ("http-1.0", "$default"), ("http-2.0", "$default")]
    {
        let path = format!("{}/events/authorizer/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let event: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON");
        let api = format!("arn:aws:execute-api:eu-central-1:123456789012:abcdefghij/{stage}");
        let context = json!({
            "key_id": SAMPLE_KEY[..31],
            "service": "demo",
            "permissions": "read",
            "config": r#"{"permissions": "read"}"#,
        });
        let policy = json!({
            "principalId": SAMPLE_KEY[..31],
            "policyDocument": {
                "Version": "2012-10-17",
                "Statement": [{
                    "Action": "execute-api:Invoke",
                    "Effect": "Allow",
                    "Resource": [format!("{api}/GET/*"), format!("{api}/HEAD/*"), format!("{api}/OPTIONS/*")],
                }],
            },
            "context": context,
        });
        assert_eq!(protected.answer(Shape::RestToken, event.clone()).await.expect("an answer"), policy, "{name}");
        let simple = protected.answer(Shape::Simple, event).await.expect("an answer");
        let expected = if name == "http-2.0" { json!({ "isAuthorized": true, "context": context }) } else { policy };
        assert_eq!(simple, expected, "{name}");
    }
}

#[tokio::test]
async fn a_key_opens_what_its_config_says_and_nothing_once_it_is_gone() {
    let protected = Protected::new(&[("READ_ROUTES", "POST /search/*")]).await;
    let key = protected.app.create(json!({ "permissions": "read" })).await.api_key();
    let visit = |method: &str, path: &str| Visit::new(&key, method, path);
    let everywhere = async |visit: Visit, expected: bool| {
        for shape in SHAPES {
            assert_eq!(protected.opens(shape, &visit).await, expected, "{shape:?} {visit:?}");
        }
    };
    everywhere(visit("GET", "/x"), true).await;
    everywhere(visit("POST", "/search/x"), true).await;
    everywhere(visit("POST", "/x"), false).await;
    everywhere(visit("DELETE", "/search/x"), false).await;
    protected.app.update(&key, json!({ "permissions": "write" })).await;
    everywhere(visit("DELETE", "/x"), true).await;
    protected.app.update(&key, json!({})).await;
    everywhere(visit("GET", "/x"), false).await;
    protected.app.update(&key, json!({ "permissions": "write", "enabled": false })).await;
    everywhere(visit("GET", "/x"), false).await;
    protected.app.update(&key, json!({ "permissions": "write", "expires_at": "2026-01-01T00:00:00Z" })).await;
    everywhere(visit("GET", "/x"), false).await;
    protected.app.update(&key, json!({ "permissions": "write", "allowed_ips": ["192.0.2.0/24"] })).await;
    everywhere(visit("GET", "/x"), true).await;
    everywhere(Visit { source_ip: "192.0.3.1".to_owned(), ..visit("GET", "/x") }, false).await;
    everywhere(Visit { source_ip: "::ffff:192.0.2.9".to_owned(), ..visit("GET", "/x") }, true).await;
    protected.app.delete(&key).await;
    everywhere(visit("GET", "/x"), false).await;
}

#[tokio::test]
async fn one_request_for_a_key_and_none_for_garbage() {
    let protected = Protected::new(&[]).await;
    let key = protected.app.create(json!({ "permissions": "write" })).await.api_key();
    protected.app.table.proxy.requests();
    let last = if key.ends_with('0') { '1' } else { '0' };
    let forged = format!("{}{last}", &key[..57]);
    let huge = "x".repeat(10 * 1024);
    let headers = [
        String::new(),
        key.clone(),
        format!("Basic {key}"),
        format!("Search{key}"),
        format!("Search {forged}"),
        format!("Search {key},Search {key}"),
        format!("Search {key} "),
        format!("Search {}", &key[..31]),
        format!("Search {}", key.to_lowercase()),
        format!("Search {huge}"),
        huge,
        "Search ".to_owned(),
        "\u{0}é".to_owned(),
    ];
    for shape in SHAPES {
        for header in &headers {
            let visit = Visit { header: header.clone(), ..Visit::new("", "GET", "/x") };
            let answer = protected.answer(shape, visit.event(shape)).await.expect("an answer, not an error");
            assert!(!lets_in(&answer, &visit), "{shape:?} {header}");
            assert_eq!(answer["context"], json!({ "service": "demo", "reason": "malformed" }), "{shape:?} {header}");
        }
        assert!(protected.app.table.proxy.requests().is_empty());
        for scheme in ["Search", "search", "BEARER", "Search  "] {
            let visit = Visit { header: format!("{scheme} {key}"), ..Visit::new("", "GET", "/x") };
            assert!(protected.opens(shape, &visit).await, "{shape:?} {scheme}");
            assert_eq!(protected.app.table.proxy.requests(), ["GetItem"]);
        }
    }
}

#[tokio::test]
async fn several_values_of_the_header_are_refused_and_names_count_in_any_case() {
    let protected = Protected::new(&[]).await;
    let key = protected.app.create(json!({ "permissions": "write" })).await.api_key();
    let visit = Visit::new(&key, "GET", "/x");
    let with = |headers: Value, all: Value| {
        let mut event = visit.event(Shape::RestRequest);
        event["headers"] = headers;
        event["multiValueHeaders"] = all;
        event
    };
    let good = visit.header.as_str();
    let cases = [
        (with(json!({ "AUTHORIZATION": good }), json!({ "AUTHORIZATION": [good] })), true),
        (with(json!({ "authorization": good }), Value::Null), true),
        (with(json!({ "authorization": good }), json!({})), true),
        (with(json!({ "Authorization": good }), json!({ "Authorization": [good, good] })), false),
        (with(json!({ "Authorization": good }), json!({ "Authorization": ["Search x", good] })), false),
        (
            with(
                json!({ "Authorization": good, "authorization": good }),
                json!({ "Authorization": [good], "authorization": [good] }),
            ),
            false,
        ),
        (with(json!({ "Authorization": good, "authorization": "x" }), Value::Null), false),
        (with(json!({ "X-Authorization": good }), json!({ "X-Authorization": [good] })), false),
        (with(Value::Null, Value::Null), false),
    ];
    for (event, expected) in cases {
        let answer = protected.answer(Shape::RestRequest, event.clone()).await.expect("an answer");
        assert_eq!(lets_in(&answer, &visit), expected, "{event}");
    }
}

#[tokio::test]
async fn another_header_holds_the_bare_key_and_authorization_nothing() {
    let protected = Protected::new(&[("KEY_HEADER", "X-API-Key")]).await;
    let key = protected.app.create(json!({ "permissions": "write" })).await.api_key();
    for shape in SHAPES {
        let visit = Visit { header: key.clone(), ..Visit::new("", "GET", "/x") };
        let mut event = visit.event(shape);
        assert_eq!(protected.opens(shape, &visit).await, shape == Shape::RestToken, "in Authorization");
        event["headers"] = json!({ "x-api-key": key, "authorization": "Basic x" });
        event["multiValueHeaders"] = Value::Null;
        let answer = protected.answer(shape, event).await.expect("an answer");
        assert!(lets_in(&answer, &visit), "{shape:?}");
    }
}

#[tokio::test]
async fn without_an_answer_of_the_table_it_is_an_error() {
    let protected = Protected::new(&[]).await;
    let key = protected.app.create(json!({ "permissions": "write" })).await.api_key();
    for fault in [Fault::Throttled, Fault::ServerError, Fault::Dropped, Fault::Denied, Fault::HalfAnswered] {
        protected.app.table.proxy.always(fault);
        for shape in SHAPES {
            let answer = protected.answer(shape, Visit::new(&key, "GET", "/x").event(shape)).await;
            assert_eq!(answer, Err("the key could not be checked".to_owned()), "{fault:?} {shape:?}");
        }
    }
    protected.app.table.proxy.always(Fault::None);
    let (id, table) = (&key[5..31], &protected.app.table);
    for config in [
        json!({ "S": "{\"permissions\":\"write\"" }),
        json!({ "S": "{\"permissions\":\"admin\"}" }),
        json!({ "N": "1" }),
    ] {
        table.put(
            json!({ "service": { "S": "demo" }, "id": { "S": id }, "keyring": { "S": "77a2b332" }, "config": config }),
        );
        let answer = protected.answer(Shape::Http2, Visit::new(&key, "GET", "/x").event(Shape::Http2)).await;
        assert!(answer.is_err(), "a config that nobody can read opens nothing");
    }
    for event in [json!({}), json!({ "type": "TOKEN" }), json!({ "type": "TOKEN", "methodArn": "x" })] {
        assert!(protected.answer(Shape::RestToken, event).await.is_err());
    }
}

#[tokio::test]
async fn a_key_whose_item_names_another_master_is_unknown() {
    let masters = format!("{},{}", "1".repeat(64), crate::support::MASTER_KEY);
    let protected = Protected::new(&[("MASTER_KEY", &masters)]).await;
    let key = protected.app.create(json!({ "permissions": "write" })).await.api_key();
    let visit = Visit::new(&key, "GET", "/x");
    assert!(protected.opens(Shape::Http2, &visit).await, "of the old master, which is still accepted");
    let mut item = protected.app.table.items().remove(0);
    item["keyring"]["S"] = "00000000".into();
    protected.app.table.put(item);
    let answer = protected.answer(Shape::Http2, visit.event(Shape::Http2)).await.expect("an answer");
    assert_eq!((lets_in(&answer, &visit), &answer["context"]["reason"]), (false, &json!("unknown")));
}

#[tokio::test]
async fn the_longest_configs_fit() {
    let routes = format!("POST /{}, PUT /{}", "a".repeat(500), "b".repeat(500));
    let protected = Protected::new(&[("READ_ROUTES", &routes)]).await;
    let fill = |entry: &str, others: &str| {
        let mut config =
            format!(r#"{{"permissions":"read","expires_at":"9999-12-31T23:59:59Z"{others},"allowed_ips":["::1""#);
        while config.len() + entry.len() + 5 <= 4096 {
            config.push_str(&format!(",\"{entry}\""));
        }
        config + "]}"
    };
    let quotes = format!(r#","x":"{}""#, "\\\"".repeat(1900));
    for config in [
        fill("::1", ""),
        fill("::/0", ""),
        fill("10.0.0.0/8", ""),
        fill("255.255.255.255", ""),
        fill("::ffff:1.2.3.4", ""),
        fill("::1", &quotes),
    ] {
        assert!((3900..=4096).contains(&config.len()), "{}", config.len());
        let mut call = Call::new("POST", API_KEYS);
        call.body = Some(format!("{{\"config\":{config}}}").into_bytes());
        let key = protected.app.send(call).await.api_key();
        for shape in SHAPES {
            let visit = Visit { source_ip: "::1".to_owned(), ..Visit::new(&key, "GET", "/x") };
            let answer = protected.answer(shape, visit.event(shape)).await.expect("an answer");
            assert!(lets_in(&answer, &visit), "{shape:?} {config}");
            let context = &answer["context"];
            assert!(context["config"] == config.as_str() || context["config_omitted"] == true, "{context}");
        }
    }
}

/// A config that is one of a few, since what matters is how they differ.
fn configs() -> impl Strategy<Value = Value> {
    let member =
        |name: &'static str, values: Vec<Value>| prop::sample::select(values).prop_map(move |value| (name, value));
    (
        member("permissions", vec![Value::Null, json!("read"), json!("write"), json!("write")]),
        member("enabled", vec![Value::Null, json!(true), json!(true), json!(false)]),
        member("expires_at", vec![Value::Null, json!("2020-01-01T00:00:00Z"), json!("2999-01-01T00:00:00+01:00")]),
        member(
            "allowed_ips",
            vec![Value::Null, json!([]), json!(["192.0.2.0/24"]), json!(["::ffff:192.0.2.1", "2001:db8::/64"])],
        ),
    )
        .prop_map(|(a, b, c, d)| {
            Value::Object([a, b, c, d].map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
        })
}

fn visits() -> impl Strategy<Value = (&'static str, &'static str, &'static str)> {
    let methods = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"];
    let paths = ["/", "/x", "/search/x", "/search", "/a/b/c"];
    let addresses = ["192.0.2.1", "192.0.2.77", "198.51.100.1", "::ffff:192.0.2.1", "2001:db8::5", "::1"];
    (
        prop::sample::select(methods.to_vec()),
        prop::sample::select(paths.to_vec()),
        prop::sample::select(addresses.to_vec()),
    )
}

#[test]
fn all_formats_and_the_verify_endpoint_agree_and_no_cached_answer_opens_more() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let protected = runtime.block_on(Protected::new(&[("READ_ROUTES", "POST /search/*")]));
    let key = runtime.block_on(protected.app.create(json!({}))).api_key();
    let visit = |(method, path, source_ip): (&str, &str, &str)| Visit {
        source_ip: source_ip.to_owned(),
        ..Visit::new(&key, method, path)
    };
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&(configs(), visits(), visits()), |(config, first, second)| {
        runtime.block_on(async {
            let update = protected.app.update(&key, config.clone()).await;
            prop_assert_eq!(update.status, 200);
            let (first, second) = (visit(first), visit(second));
            let needed = |visit: &Visit| match (visit.method.as_str(), visit.path.as_str()) {
                ("GET" | "HEAD" | "OPTIONS", _) | ("POST", "/search/x") => "read",
                _ => "write",
            };
            let expected = protected.verifies(&key, needed(&second), &second.source_ip).await;
            for shape in SHAPES {
                prop_assert_eq!(protected.opens(shape, &second).await, expected, "{:?} {} {:?}", shape, config, second);
                // The gateway caches by the header; simple responses by header, method, path and address, which is one visit.
                if shape != Shape::Simple {
                    let cached = protected.answer(shape, first.event(shape)).await.expect("an answer");
                    prop_assert!(
                        !lets_in(&cached, &second) || expected,
                        "{:?} {} {:?} {:?}",
                        shape,
                        config,
                        first,
                        second
                    );
                }
            }
            Ok(())
        })
    });
    outcome.expect("no disagreement");
}

/// Routes that name no method or no path: whatever the gateway writes into the ARN, a read key's cached policy must not
/// cover a request that writes.
#[tokio::test]
async fn routes_without_a_method_are_not_opened_by_a_read_key_s_cached_policy() {
    let protected = Protected::new(&[("READ_ROUTES", "POST /search/*")]).await;
    let key = protected.app.create(json!({ "permissions": "read" })).await.api_key();
    for route in ["ANY/x", "ANY/search/x", "*/x", "$default", "*/$default", "$default/x", "", "ANY/{proxy+}"] {
        for shape in SHAPES {
            let mut event = Visit::new(&key, "GET", "/x").event(shape);
            for name in ["methodArn", "routeArn"] {
                if event.get(name).is_some() {
                    event[name] = format!("{API}/{route}").into();
                }
            }
            let answer = protected.answer(shape, event).await.expect("an answer");
            let Some(policy) = answer["policyDocument"]["Statement"][0]["Resource"].as_array() else { continue };
            let arn = format!("{API}/{route}");
            let covered =
                policy.iter().any(|resource| like(resource.as_str().expect("text").as_bytes(), arn.as_bytes()));
            assert!(
                !covered || answer["policyDocument"]["Statement"][0]["Effect"] == "Deny",
                "{shape:?} {route}: {answer}"
            );
        }
        // A simple response goes by the request's own method, and a read route needs an ARN that names it.
        for (method, expected) in [("GET", true), ("POST", false)] {
            let mut event = Visit::new(&key, method, "/search/x").event(Shape::Simple);
            event["routeArn"] = format!("{API}/{route}").into();
            let answer = protected.answer(Shape::Simple, event).await.expect("an answer");
            assert_eq!(answer["isAuthorized"], expected, "{route} {method}");
        }
    }
}

#[tokio::test]
async fn questions_that_are_none() {
    let app = App::new().await;
    let key = app.create(json!({ "permissions": "read" })).await.api_key();
    let ask = async |question: Value| app.send(Call::new("POST", &format!("{API_KEYS}verify")).json(&question)).await;
    for (question, places) in [
        (json!({}), json!([["body", "api_key"]])),
        (json!({ "api_key": null }), json!([["body", "api_key"]])),
        (
            json!({ "api_key": 7, "permission": "admin", "source_ip": "x" }),
            json!([["body", "api_key"], ["body", "permission"], ["body", "source_ip"]]),
        ),
        (json!({ "api_key": "x", "source_ip": "10.0.0.0/8" }), json!([["body", "source_ip"]])),
        (json!([]), json!([["body", "api_key"]])),
        (json!([1]), json!([["body"]])),
    ] {
        let answer = ask(question.clone()).await;
        let found: Vec<_> =
            answer.json()["detail"].as_array().expect("a list").iter().map(|detail| detail["loc"].clone()).collect();
        assert_eq!((answer.status, Value::from(found)), (422, places), "{question}");
    }
    let mut broken = Call::new("POST", &format!("{API_KEYS}verify"));
    broken.body = Some(format!("{{\"api_key\": \"{key}\"").into_bytes());
    let answer = app.send(broken).await;
    assert_eq!(answer.status, 422);
    assert!(!answer.body.contains(&key[32..]), "{}", answer.body);

    app.table.proxy.requests();
    let id = &key[..31];
    let known = json!({ "valid": true, "key_id": id, "config": { "permissions": "read" } });
    assert_eq!(ask(json!({ "api_key": key })).await.json(), known);
    assert_eq!(app.table.proxy.requests(), ["GetItem"]);
    assert_eq!(ask(json!({ "api_key": key, "permission": null, "source_ip": null, "other": 1 })).await.json(), known);
    assert_eq!(
        ask(json!({ "api_key": key, "permission": "write" })).await.json(),
        json!({ "valid": false, "reason": "permission" })
    );
    app.table.proxy.requests();
    for text in ["", "x", id] {
        assert_eq!(ask(json!({ "api_key": text })).await.json(), json!({ "valid": false, "reason": "malformed" }));
    }
    assert!(app.table.proxy.requests().is_empty());
    app.update(&key, json!({ "allowed_ips": ["192.0.2.1"] })).await;
    assert_eq!(ask(json!({ "api_key": key })).await.json(), json!({ "valid": false, "reason": "source_ip" }));
    assert_eq!(ask(json!({ "api_key": key, "source_ip": "::ffff:c000:201" })).await.json()["valid"], true);
    app.delete(&key).await;
    assert_eq!(ask(json!({ "api_key": key })).await.json(), json!({ "valid": false, "reason": "unknown" }));

    // As a key's path, `verify` is a key that doesn't exist.
    assert_eq!(app.update("verify", json!({})).await.status, 404);
    assert_eq!(app.send(Call::new("GET", &format!("{API_KEYS}verify"))).await.status, 405);
    let anonymous = {
        let mut event =
            Call::new("POST", &format!("{API_KEYS}verify")).json(&json!({ "api_key": "x" })).event(Format::Http);
        event["requestContext"]["authorizer"] = Value::Null;
        event
    };
    assert_eq!(app.send_event(anonymous).await.status, 401);
}
