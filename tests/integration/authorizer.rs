//! The authorizer: four formats in, policies and simple responses out, and what a gateway makes of
//! them.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::protected::{API, Protected, SHAPES, Shape, Visit, lets_in, like};
use crate::proxy::Fault;
use crate::support::{API_KEYS, Call, ODD_VALUES, pointers, with_json};

#[tokio::test]
async fn the_sample_events_get_documented_responses() {
    let protected = Protected::new(&[]).await;
    crate::database::put_sample(&protected.app.table.database).expect("the sample key");
    for (name, stage) in [
        ("rest-token", "live"),
        ("rest-request", "live"),
        ("http-1.0", "$default"),
        ("http-2.0", "$default"),
    ] {
        let path = format!(
            "{}/events/authorizer/{name}.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let event: Value =
            serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("JSON");
        let policy = protected
            .response(Shape::RestToken, event.clone())
            .await
            .expect("a response");
        let simple = protected
            .response(Shape::Simple, event)
            .await
            .expect("a response");
        let context = &policy["context"];
        if name == "http-2.0" {
            let expected = json!({ "isAuthorized": true, "context": context });
            assert_eq!(simple, expected);
        } else {
            assert_eq!(simple, policy, "{name}");
        }
        let stage_arn = format!("arn:aws:execute-api:eu-central-1:123456789012:abcdefghij/{stage}");
        let text = policy.to_string().replace(&stage_arn, "[stage]");
        let policy: Value = serde_json::from_str(&text).expect("JSON");
        insta::assert_json_snapshot!("the_policy_of_the_sample_events", policy);
    }
}

/// The whole response to some configs that are allowed, and to some that are denied.
#[tokio::test]
async fn policies_and_denials() {
    let protected = Protected::new(&[("READ_ROUTES", "POST /search/*")]).await;
    let key = protected.app.create(json!({})).await.api_key();
    let mut responses = Vec::new();
    for (config, method) in [
        (json!({ "permissions": "read" }), "GET"),
        (json!({ "permissions": "write" }), "GET"),
        (
            json!({ "permissions": "read", "expires_at": "2999-01-01T00:00:00Z",
                "allowed_ips": ["192.0.2.0/24", "::/0"] }),
            "GET",
        ),
        (json!({ "routes": ["GET /x", "POST /items/*"] }), "GET"),
        (json!({}), "GET"),
        (json!({ "permissions": "read" }), "DELETE"),
        (json!({ "routes": ["GET /x"] }), "POST"),
        (json!({ "permissions": "read", "enabled": false }), "GET"),
        (
            json!({ "permissions": "read", "expires_at": "2020-01-01T00:00:00Z" }),
            "GET",
        ),
        (
            json!({ "permissions": "read", "allowed_ips": ["203.0.113.1"] }),
            "GET",
        ),
    ] {
        let updated = protected.app.update(&key, config.clone()).await;
        assert_eq!(updated.status, 200, "{updated:?}");
        let visit = Visit::new(&key, method, "/x");
        let response = protected
            .response(Shape::RestRequest, visit.event(Shape::RestRequest))
            .await
            .expect("a response");
        responses.push(json!([config, format!("{method} /x"), response]));
    }
    let text = Value::from(responses)
        .to_string()
        .replace(&key[..31], "[key ID]");
    insta::assert_json_snapshot!(serde_json::from_str::<Value>(&text).expect("JSON"));
}

#[tokio::test]
async fn a_key_grants_what_its_config_says_and_nothing_once_it_is_deleted() {
    let protected = Protected::new(&[("READ_ROUTES", "POST /search/*")]).await;
    let key = protected
        .app
        .create(json!({ "permissions": "read" }))
        .await
        .api_key();
    let visit = |method: &str, path: &str| Visit::new(&key, method, path);
    let everywhere = async |visit: Visit, expected: bool| {
        for shape in SHAPES {
            assert_eq!(
                protected.allows(shape, &visit).await,
                expected,
                "{shape:?} {visit:?}"
            );
        }
    };
    everywhere(visit("GET", "/x"), true).await;
    everywhere(visit("POST", "/search/x"), true).await;
    everywhere(visit("POST", "/x"), false).await;
    everywhere(visit("DELETE", "/search/x"), false).await;
    protected
        .app
        .update(&key, json!({ "permissions": "write" }))
        .await;
    everywhere(visit("DELETE", "/x"), true).await;
    protected.app.update(&key, json!({})).await;
    everywhere(visit("GET", "/x"), false).await;
    protected
        .app
        .update(&key, json!({ "permissions": "write", "enabled": false }))
        .await;
    everywhere(visit("GET", "/x"), false).await;
    protected
        .app
        .update(
            &key,
            json!({ "permissions": "write", "expires_at": "2026-01-01T00:00:00Z" }),
        )
        .await;
    everywhere(visit("GET", "/x"), false).await;
    protected
        .app
        .update(
            &key,
            json!({ "permissions": "write", "allowed_ips": ["192.0.2.0/24"] }),
        )
        .await;
    everywhere(visit("GET", "/x"), true).await;
    everywhere(
        Visit {
            source_ip: "192.0.3.1".to_owned(),
            ..visit("GET", "/x")
        },
        false,
    )
    .await;
    everywhere(
        Visit {
            source_ip: "::ffff:192.0.2.9".to_owned(),
            ..visit("GET", "/x")
        },
        false,
    )
    .await;
    protected.app.delete(&key).await;
    everywhere(visit("GET", "/x"), false).await;
}

#[tokio::test]
async fn one_request_for_a_key_and_none_for_garbage() {
    let protected = Protected::new(&[]).await;
    let key = protected
        .app
        .create(json!({ "permissions": "write" }))
        .await
        .api_key();
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
            let visit = Visit {
                header: header.clone(),
                ..Visit::new("", "GET", "/x")
            };
            let response = protected
                .response(shape, visit.event(shape))
                .await
                .expect("a response, not an error");
            assert!(!lets_in(&response, &visit), "{shape:?} {header}");
            assert_eq!(
                response["context"],
                json!({ "service": "demo", "reason": "invalid" }),
                "{shape:?} {header}"
            );
        }
        assert!(protected.app.table.proxy.requests().is_empty());
        for scheme in ["Search", "search", "BEARER", "Search  "] {
            let visit = Visit {
                header: format!("{scheme} {key}"),
                ..Visit::new("", "GET", "/x")
            };
            assert!(protected.allows(shape, &visit).await, "{shape:?} {scheme}");
            // Each of the two authorizers records the first use of the hour.
            let first = scheme == "Search" && matches!(shape, Shape::RestToken | Shape::Simple);
            let expected: &[&str] = if first {
                &["GetItem", "PutItem"]
            } else {
                &["GetItem"]
            };
            assert_eq!(protected.app.table.proxy.requests(), expected);
        }
    }
}

#[tokio::test]
async fn several_values_of_the_header_are_denied_and_its_name_matches_in_any_case() {
    let protected = Protected::new(&[]).await;
    let key = protected
        .app
        .create(json!({ "permissions": "write" }))
        .await
        .api_key();
    let visit = Visit::new(&key, "GET", "/x");
    let with = |headers: Value, all: Value| {
        let mut event = visit.event(Shape::RestRequest);
        event["headers"] = headers;
        event["multiValueHeaders"] = all;
        event
    };
    let good = visit.header.as_str();
    let cases = [
        (
            with(
                json!({ "AUTHORIZATION": good }),
                json!({ "AUTHORIZATION": [good] }),
            ),
            true,
        ),
        (with(json!({ "authorization": good }), Value::Null), true),
        (with(json!({ "authorization": good }), json!({})), true),
        (
            with(
                json!({ "Authorization": good }),
                json!({ "Authorization": [good, good] }),
            ),
            false,
        ),
        (
            with(
                json!({ "Authorization": good }),
                json!({ "Authorization": ["Search x", good] }),
            ),
            false,
        ),
        (
            with(
                json!({ "Authorization": good, "authorization": good }),
                json!({ "Authorization": [good], "authorization": [good] }),
            ),
            false,
        ),
        (
            with(
                json!({ "Authorization": good, "authorization": "x" }),
                Value::Null,
            ),
            false,
        ),
        (
            with(
                json!({ "X-Authorization": good }),
                json!({ "X-Authorization": [good] }),
            ),
            false,
        ),
        (with(Value::Null, Value::Null), false),
    ];
    for (event, expected) in cases {
        let response = protected
            .response(Shape::RestRequest, event.clone())
            .await
            .expect("a response");
        assert_eq!(lets_in(&response, &visit), expected, "{event}");
    }
}

#[tokio::test]
async fn another_header_holds_the_key_alone_and_authorization_is_ignored() {
    let protected = Protected::new(&[("KEY_HEADER", "X-API-Key")]).await;
    let key = protected
        .app
        .create(json!({ "permissions": "write" }))
        .await
        .api_key();
    for shape in SHAPES {
        let visit = Visit {
            header: key.clone(),
            ..Visit::new("", "GET", "/x")
        };
        let mut event = visit.event(shape);
        assert_eq!(
            protected.allows(shape, &visit).await,
            shape == Shape::RestToken,
            "in Authorization"
        );
        event["headers"] = json!({ "x-api-key": key, "authorization": "Basic x" });
        event["multiValueHeaders"] = Value::Null;
        let response = protected.response(shape, event).await.expect("a response");
        assert!(lets_in(&response, &visit), "{shape:?}");
    }
}

#[tokio::test]
async fn without_a_response_from_the_table_it_is_an_error() {
    let protected = Protected::new(&[]).await;
    let key = protected
        .app
        .create(json!({ "permissions": "write" }))
        .await
        .api_key();
    for fault in [
        Fault::Throttled,
        Fault::ServerError,
        Fault::Dropped,
        Fault::Denied,
        Fault::HalfResponse,
    ] {
        protected.app.table.proxy.always(fault);
        for shape in SHAPES {
            let response = protected
                .response(shape, Visit::new(&key, "GET", "/x").event(shape))
                .await;
            assert_eq!(
                response,
                Err("key verification failed: see the previous log entry".to_owned()),
                "{fault:?} {shape:?}"
            );
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
            json!({ "service": { "S": "demo" }, "id": { "S": id }, "root_key_id": { "S": "053bcb62" }, "config": config }),
        );
        let response = protected
            .response(
                Shape::Http2,
                Visit::new(&key, "GET", "/x").event(Shape::Http2),
            )
            .await;
        assert!(response.is_err(), "an unreadable config grants nothing");
    }
    for event in [
        json!({}),
        json!({ "type": "TOKEN" }),
        json!({ "type": "TOKEN", "methodArn": "x" }),
    ] {
        assert!(protected.response(Shape::RestToken, event).await.is_err());
    }
}

#[tokio::test]
async fn a_key_whose_item_names_another_root_key_is_not_found() {
    let root_keys = format!("{},{}", "1".repeat(64), crate::support::ROOT_KEY);
    let protected = Protected::new(&[("ROOT_KEY", &root_keys)]).await;
    let key = protected
        .app
        .create(json!({ "permissions": "write" }))
        .await
        .api_key();
    let visit = Visit::new(&key, "GET", "/x");
    assert!(
        protected.allows(Shape::Http2, &visit).await,
        "under the root key that its item names"
    );
    let mut item = protected.app.table.items().remove(0);
    item["root_key_id"]["S"] = "00000000".into();
    protected.app.table.put(item);
    let response = protected
        .response(Shape::Http2, visit.event(Shape::Http2))
        .await
        .expect("a response");
    assert_eq!(
        (lets_in(&response, &visit), &response["context"]["reason"]),
        (false, &json!("not_found"))
    );
}

#[tokio::test]
async fn the_longest_configs_fit() {
    let routes = ["POST", "PUT", "PATCH", "DELETE"]
        .map(|method| format!("{method} /{}", "a".repeat(148)))
        .join(", ");
    let usage_plan_key = "~".repeat(128);
    let protected = Protected::new(&[
        ("READ_ROUTES", &routes),
        ("DEFAULT_USAGE_PLAN_KEY", &usage_plan_key),
    ])
    .await;
    let fill = |entry: &str, others: &str| {
        let mut config = format!(
            r#"{{"permissions":"read","expires_at":"9999-12-31T23:59:59Z"{others},"allowed_ips":["::1""#
        );
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
            let visit = Visit {
                source_ip: "::1".to_owned(),
                ..Visit::new(&key, "GET", "/x")
            };
            let response = protected
                .response(shape, visit.event(shape))
                .await
                .expect("a response");
            assert!(lets_in(&response, &visit), "{shape:?} {config}");
            let context = &response["context"];
            assert!(
                context["config"] == config.as_str() || context["config_omitted"] == true,
                "{context}"
            );
            let metered = response["usageIdentifierKey"] == usage_plan_key.as_str();
            let is_rest = matches!(shape, Shape::RestToken | Shape::RestRequest);
            assert_eq!(metered, is_rest, "{shape:?}");
        }
    }
}

/// One of a few configs: what matters is how two of them differ.
fn configs() -> impl Strategy<Value = Value> {
    let field = |name: &'static str, values: Vec<Value>| {
        prop::sample::select(values).prop_map(move |value| (name, value))
    };
    (
        field(
            "permissions",
            vec![Value::Null, json!("read"), json!("write"), json!("write")],
        ),
        field(
            "enabled",
            vec![Value::Null, json!(true), json!(true), json!(false)],
        ),
        field(
            "expires_at",
            vec![
                Value::Null,
                json!("2020-01-01T00:00:00Z"),
                json!("2999-01-01T00:00:00+01:00"),
            ],
        ),
        field(
            "allowed_ips",
            vec![
                Value::Null,
                json!(["192.0.2.0/24"]),
                json!(["::ffff:192.0.2.1", "2001:db8::/64"]),
            ],
        ),
    )
        .prop_map(|(a, b, c, d)| {
            Value::Object(
                [a, b, c, d]
                    .map(|(name, value)| (name.to_owned(), value))
                    .into_iter()
                    .collect(),
            )
        })
}

fn visits() -> impl Strategy<Value = (&'static str, &'static str, &'static str)> {
    let methods = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"];
    let paths = ["/", "/x", "/search/x", "/search", "/a/b/c"];
    let addresses = [
        "192.0.2.1",
        "192.0.2.77",
        "198.51.100.1",
        "2001:db8::5",
        "::1",
    ];
    (
        prop::sample::select(methods.to_vec()),
        prop::sample::select(paths.to_vec()),
        prop::sample::select(addresses.to_vec()),
    )
}

#[test]
fn all_formats_and_the_verify_endpoint_agree_and_no_cached_response_grants_more() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let protected = runtime.block_on(Protected::new(&[("READ_ROUTES", "POST /search/*")]));
    let key = runtime.block_on(protected.app.create(json!({}))).api_key();
    let visit = |(method, path, source_ip): (&str, &str, &str)| Visit {
        source_ip: source_ip.to_owned(),
        ..Visit::new(&key, method, path)
    };
    let mut runner = TestRunner::new(Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(
        &(configs(), visits(), visits()),
        |(config, first, second)| {
            runtime.block_on(async {
                let update = protected.app.update(&key, config.clone()).await;
                prop_assert_eq!(update.status, 200);
                let (first, second) = (visit(first), visit(second));
                let needed = |visit: &Visit| match (visit.method.as_str(), visit.path.as_str()) {
                    ("GET" | "HEAD" | "OPTIONS", _) | ("POST", "/search/x") => "read",
                    _ => "write",
                };
                let expected = protected
                    .verifies(&key, needed(&second), &second.source_ip)
                    .await;
                for shape in SHAPES {
                    prop_assert_eq!(
                        protected.allows(shape, &second).await,
                        expected,
                        "{:?} {} {:?}",
                        shape,
                        config,
                        second
                    );
                    // The gateway caches by the header; simple responses by header, method, path
                    // and address, which is one visit.
                    if shape != Shape::Simple {
                        let cached = protected
                            .response(shape, first.event(shape))
                            .await
                            .expect("a response");
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
        },
    );
    outcome.expect("no disagreement");
}

/// Ranges and addresses around the IPv4-mapped ones, in the spellings that a config or a gateway
/// may use.
fn address() -> impl Strategy<Value = std::net::IpAddr> {
    let v6 = |bits: u128| std::net::IpAddr::from(bits.to_be_bytes());
    prop_oneof![
        any::<u32>().prop_map(|bits| std::net::IpAddr::from(bits.to_be_bytes())),
        (
            prop::sample::select(vec![0xffff_u128, 0xfffe, 0xfffd, 0x8000, 0]),
            any::<u32>()
        )
            .prop_map(move |(group, bits)| v6(group << 32 | u128::from(bits))),
        any::<u128>().prop_map(v6),
        (0_u128..4).prop_map(v6),
    ]
}

fn range() -> impl Strategy<Value = String> {
    (address(), 0_u8..=128).prop_map(|(address, prefix)| {
        let prefix = prefix.min(if address.is_ipv4() { 32 } else { 128 });
        ipnet::IpNet::new(address, prefix)
            .expect("a range")
            .trunc()
            .to_string()
    })
}

/// The code's decision for an address, and IAM's evaluation of the policy's conditions for the same
/// address as text.
#[test]
fn the_code_and_the_policy_agree_on_every_address() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let protected = runtime.block_on(Protected::new(&[]));
    let key = runtime
        .block_on(protected.app.create(json!({ "permissions": "write" })))
        .api_key();
    let mut runner = TestRunner::new(Config {
        cases: 400,
        failure_persistence: None,
        ..Config::default()
    });
    let (ranges, addresses) = (
        prop::collection::vec(range(), 1..4),
        prop::collection::vec(address(), 8),
    );
    let allowed = std::cell::Cell::new(0);
    let outcome = runner.run(
        &(ranges, addresses, any::<prop::sample::Index>()),
        |(ranges, addresses, index)| {
            runtime.block_on(async {
                let update = protected
                    .app
                    .update(
                        &key,
                        json!({ "permissions": "write", "allowed_ips": ranges }),
                    )
                    .await;
                prop_assert_eq!(update.status, 200, "{:?}", ranges);
                let token = Visit::new(&key, "GET", "/x").event(Shape::RestToken);
                let policy = protected
                    .response(Shape::RestToken, token)
                    .await
                    .expect("a response");
                // The first address of a range is in it, unless it is one of those that a wider
                // range doesn't mean.
                let first = index
                    .get(&ranges)
                    .split('/')
                    .next()
                    .and_then(|first| first.parse().ok());
                for address in addresses.into_iter().chain(first) {
                    let visit = Visit {
                        source_ip: address.to_string(),
                        ..Visit::new(&key, "GET", "/x")
                    };
                    let response = protected
                        .response(Shape::Http2, visit.event(Shape::Http2))
                        .await
                        .expect("a response");
                    let decided = response["policyDocument"]["Statement"][0]["Effect"] == "Allow";
                    prop_assert_eq!(
                        decided,
                        lets_in(&policy, &visit),
                        "{} in {:?}: {}",
                        address,
                        ranges,
                        policy
                    );
                    prop_assert!(
                        !decided || protected.verifies(&key, "read", &visit.source_ip).await
                    );
                    allowed.set(allowed.get() + usize::from(decided));
                }
                Ok(())
            })
        },
    );
    outcome.expect("no disagreement");
    assert!(allowed.get() > 200, "{} were allowed", allowed.get());
}

/// Routes that name no method or no path: whatever the gateway writes into the ARN, a read key's
/// cached policy must not cover a request that writes.
#[tokio::test]
async fn a_read_key_s_cached_policy_allows_no_write_on_routes_without_a_method() {
    let protected = Protected::new(&[("READ_ROUTES", "POST /search/*")]).await;
    let key = protected
        .app
        .create(json!({ "permissions": "read" }))
        .await
        .api_key();
    for route in [
        "ANY/x",
        "ANY/search/x",
        "*/x",
        "$default",
        "*/$default",
        "$default/x",
        "",
        "ANY/{proxy+}",
    ] {
        for shape in SHAPES {
            let mut event = Visit::new(&key, "GET", "/x").event(shape);
            for name in ["methodArn", "routeArn"] {
                if event.get(name).is_some() {
                    event[name] = format!("{API}/{route}").into();
                }
            }
            let response = protected.response(shape, event).await.expect("a response");
            let Some(policy) = response["policyDocument"]["Statement"][0]["Resource"].as_array()
            else {
                continue;
            };
            let arn = format!("{API}/{route}");
            let covered = policy
                .iter()
                .any(|resource| like(resource.as_str().expect("text").as_bytes(), arn.as_bytes()));
            assert!(
                !covered || response["policyDocument"]["Statement"][0]["Effect"] == "Deny",
                "{shape:?} {route}: {response}"
            );
        }
        // A simple response goes by the request's own method, and a read route needs an ARN that
        // names it.
        for (method, expected) in [("GET", true), ("POST", false)] {
            let mut event = Visit::new(&key, method, "/search/x").event(Shape::Simple);
            event["routeArn"] = format!("{API}/{route}").into();
            let response = protected
                .response(Shape::Simple, event)
                .await
                .expect("a response");
            assert_eq!(response["isAuthorized"], expected, "{route} {method}");
        }
    }
}

#[tokio::test]
async fn a_source_address_may_come_with_a_port_but_a_list_is_unknown() {
    let protected = Protected::new(&[]).await;
    let config = json!({ "permissions": "read", "allowed_ips": ["10.1.15.242", "2001:db8::/64"] });
    let key = protected.app.create(config).await.api_key();
    for (source_ip, expected) in [
        ("10.1.15.242", true),
        ("10.1.15.242:39870", true),
        ("10.1.15.242:0", true),
        ("2001:db8::1", true),
        ("[2001:db8::1]", true),
        ("[2001:db8::1]:443", true),
        ("[2001:DB8:0:0::1]:443", true),
        ("10.1.15.243:39870", false),
        ("[2001:db9::1]:443", false),
        ("[::ffff:10.1.15.242]:443", false),
        ("10.1.15.242:", false),
        ("10.1.15.242:99999", false),
        ("10.1.15.242:+1", false),
        ("10.1.15.242 :1", false),
        (":443", false),
        ("[10.1.15.242]", false),
        ("[10.1.15.242]:443", false),
        ("[[2001:db8::1]]", false),
        ("[2001:db8::1", false),
        ("2001:db8::1]", false),
        ("[2001:db8::1%1]:443", false),
        ("10.1.15.242, 10.1.15.242", false),
        ("10.1.15.242,10.1.15.242:443", false),
        ("10.1.15.242:443:443", false),
        ("", false),
    ] {
        for shape in [
            Shape::RestRequest,
            Shape::Http1,
            Shape::Http2,
            Shape::Simple,
        ] {
            let visit = Visit {
                source_ip: source_ip.to_owned(),
                ..Visit::new(&key, "GET", "/x")
            };
            let response = protected
                .response(shape, visit.event(shape))
                .await
                .expect("a response");
            let reason = if expected {
                Value::Null
            } else {
                "source_ip".into()
            };
            assert_eq!(
                response["context"]["reason"], reason,
                "{shape:?} {source_ip}"
            );
        }
        let question = json!({ "api_key": key, "source_ip": source_ip });
        let verify = Call::new("POST", &format!("{API_KEYS}verify")).json(&question);
        let status = if source_ip.parse::<std::net::IpAddr>().is_ok() {
            200
        } else {
            422
        };
        assert_eq!(
            protected.app.send(verify).await.status,
            status,
            "verify is strict: {source_ip}"
        );
    }
}

/// An event of a gateway names an API. Whatever else is in it, a failed invocation would be an
/// alarm that any caller could cause.
#[tokio::test]
async fn garbage_in_an_event_that_names_an_api_is_a_denial() {
    let protected = Protected::new(&[]).await;
    let key = protected
        .app
        .create(json!({ "permissions": "write" }))
        .await
        .api_key();
    protected.app.table.proxy.requests();
    let visit = Visit::new(&key, "GET", "/x");
    let mut denials = 0;
    for shape in SHAPES {
        let mut event = visit.event(shape);
        event["x"] = json!({ "nobody": ["reads this"] });
        for pointer in pointers(&event) {
            let names_api = pointer.ends_with("Arn");
            // The key is in each of these.
            let holds_key = match shape {
                Shape::RestToken => ["/type", "/authorizationToken"].contains(&pointer.as_str()),
                _ => pointer.to_ascii_lowercase().contains("headers"),
            };
            for odd in ODD_VALUES {
                let response = protected
                    .response_to_text(shape, with_json(&event, &pointer, odd))
                    .await;
                if names_api {
                    assert!(
                        response.is_err(),
                        "{shape:?} {pointer} is {odd}: {response:?}"
                    );
                    continue;
                }
                let response = response
                    .unwrap_or_else(|error| panic!("{shape:?} {pointer} is {odd}: {error}"));
                let denied = response["context"]["reason"] == "invalid";
                assert_eq!(
                    denied,
                    !lets_in(&response, &visit),
                    "{shape:?} {pointer} is {odd}: {response}"
                );
                // Without lists of values, the single ones count.
                let no_list = pointer == "/multiValueHeaders"
                    || pointer.ends_with("/Authorization") && odd == "[]";
                let unused = event.get("multiValueHeaders").is_some()
                    && (no_list || pointer.starts_with("/headers"));
                assert_eq!(denied, holds_key && !unused, "{shape:?} {pointer} is {odd}");
                denials += u32::from(denied);
            }
        }
    }
    assert!(denials > 50, "{denials}");
    for text in ["null", "7", "[]", r#""text""#, "{}", r#"{"methodArn":7}"#] {
        let error = protected
            .response_to_text(Shape::Http2, text.to_owned())
            .await
            .expect_err("no API");
        assert!(
            error.contains("authorizer's event") || error.contains("ARN"),
            "{error}"
        );
    }
}

/// Each value counts, readable or not: a key beside garbage is ambiguous. An empty list is no
/// value.
#[tokio::test]
async fn a_key_beside_an_unreadable_value_of_its_header_is_denied() {
    let protected = Protected::new(&[]).await;
    let key = protected
        .app
        .create(json!({ "permissions": "write" }))
        .await
        .api_key();
    let visit = Visit::new(&key, "GET", "/x");
    for odd in ODD_VALUES.into_iter().filter(|odd| *odd != "[]") {
        let mut event = visit.event(Shape::RestRequest);
        event["multiValueHeaders"]["Authorization"] = json!([visit.header, "another"]);
        let response = protected.response_to_text(
            Shape::RestRequest,
            with_json(&event, "/multiValueHeaders/Authorization/1", odd),
        );
        assert!(
            !lets_in(&response.await.expect("a response"), &visit),
            "{odd}"
        );
        for name in ["headers", "multiValueHeaders"] {
            let mut event = visit.event(Shape::RestRequest);
            event["multiValueHeaders"] = json!({});
            event[name] = json!({ "Authorization": visit.header, "AUTHORIZATION": "another" });
            let response = protected.response_to_text(
                Shape::RestRequest,
                with_json(&event, &format!("/{name}/AUTHORIZATION"), odd),
            );
            assert!(
                !lets_in(&response.await.expect("a response"), &visit),
                "{name} {odd}"
            );
        }
    }
}

#[tokio::test]
async fn a_wrong_address_gets_a_deny_policy_whatever_the_method() {
    let protected = Protected::new(&[]).await;
    let config = json!({ "permissions": "read", "allowed_ips": ["192.0.2.0/24"] });
    let key = protected.app.create(config).await.api_key();
    for shape in [
        Shape::RestRequest,
        Shape::Http1,
        Shape::Http2,
        Shape::Simple,
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let visit = Visit {
                source_ip: "203.0.113.9".to_owned(),
                ..Visit::new(&key, method, "/x")
            };
            let response = protected
                .response(shape, visit.event(shape))
                .await
                .expect("a response");
            assert_eq!(
                response["context"]["reason"], "source_ip",
                "{shape:?} {method}"
            );
            if shape != Shape::Simple {
                assert_eq!(
                    response["policyDocument"]["Statement"][0]["Effect"], "Deny",
                    "{shape:?} {method}"
                );
            }
        }
    }
}

/// It can't be written, but a table may hold one.
#[tokio::test]
async fn an_empty_list_of_addresses_that_is_stored_denies_everyone() {
    let protected = Protected::new(&[]).await;
    let config = json!({ "permissions": "write", "allowed_ips": [] });
    let key = protected.app.create(json!({})).await.api_key();
    let mut item = protected.app.table.items().remove(0);
    item["config"]["S"] = config.to_string().into();
    protected.app.table.put(item);
    for shape in SHAPES {
        let visit = Visit::new(&key, "GET", "/x");
        let response = protected
            .response(shape, visit.event(shape))
            .await
            .expect("a response");
        assert!(!lets_in(&response, &visit), "{shape:?} {response}");
        assert_eq!(response["context"]["reason"], "source_ip", "{shape:?}");
    }
    assert!(!protected.verifies(&key, "read", "192.0.2.1").await);
}

/// A policy that a gateway cached for one request must not allow another that the code denies.
#[tokio::test]
async fn a_cached_policy_denies_every_spelling_of_an_ipv4_mapped_address() {
    let protected = Protected::new(&[]).await;
    let key = protected
        .app
        .create(json!({ "permissions": "write" }))
        .await
        .api_key();
    for ranges in [
        json!(["::/0"]),
        json!(["::/64", "::1"]),
        json!(["10.0.0.0/8", "::/0"]),
        json!(["10.0.0.0/8"]),
    ] {
        protected
            .app
            .update(
                &key,
                json!({ "permissions": "write", "allowed_ips": ranges }),
            )
            .await;
        for source_ip in [
            "::ffff:10.1.2.3",
            "::FFFF:a01:203",
            "0:0:0:0:0:ffff:10.1.2.3",
        ] {
            let visit = Visit {
                source_ip: source_ip.to_owned(),
                ..Visit::new(&key, "GET", "/x")
            };
            for shape in SHAPES {
                assert!(
                    !protected.allows(shape, &visit).await,
                    "{shape:?} {source_ip} in {ranges}"
                );
            }
            let cached = Shape::RestToken;
            let policy = protected
                .response(cached, visit.event(cached))
                .await
                .expect("a response");
            assert_eq!(
                policy["policyDocument"]["Statement"][0]["Effect"], "Allow",
                "the policy's conditions decide"
            );
        }
    }
}
