//! Keys for single routes: valid configs, and the agreement of every format, verify and the code.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::protected::{API, Protected, SHAPES, Shape, Visit, lets_in};
use crate::support::{API_KEYS, App, Call};

#[tokio::test]
async fn what_routes_may_be() {
    let app = App::new().await;
    let many: Vec<_> = (0..21).map(|number| format!("GET /{number}")).collect();
    // 20 routes of 142 characters are 7,000 bytes with 208 each; one more character doesn't fit.
    let fits = |longer: usize| -> Vec<_> {
        (0..20)
            .map(|number| {
                format!(
                    "GET /{}",
                    "a".repeat(if number == 0 { 137 + longer } else { 137 })
                )
            })
            .collect()
    };
    for (routes, index, kind) in [
        (json!("GET /x"), None, "type_error.list"),
        (json!([]), None, "value_error.list.min_items"),
        (json!(many), None, "value_error.list.max_items"),
        (json!([7]), Some(0), "type_error.str"),
        (json!(["GET /x", "* /x"]), Some(1), "value_error.route"),
        (json!(["get /x"]), Some(0), "value_error.route"),
        (json!(["TRACE /x"]), Some(0), "value_error.route"),
        (json!(["GET x"]), Some(0), "value_error.route"),
        (json!(["GET  /x"]), Some(0), "value_error.route"),
        (json!(["GET /x?y"]), Some(0), "value_error.route"),
        (
            json!(["GET /${aws:username}"]),
            Some(0),
            "value_error.route",
        ),
        (json!(["GET /a/../b"]), Some(0), "value_error.route"),
        (json!(["GET /é"]), Some(0), "value_error.route"),
        (
            json!([format!("GET /{}", "a".repeat(400))]),
            Some(0),
            "value_error.route",
        ),
        (json!(fits(1)), None, "value_error.policy_size"),
    ] {
        let response = app.create(json!({ "routes": routes })).await;
        let mut loc = vec![json!("body"), json!("config"), json!("routes")];
        loc.extend(index.map(|index: usize| json!(index)));
        let detail = &response.json()["detail"][0];
        assert_eq!(
            (response.status, &detail["loc"], &detail["type"]),
            (422, &Value::from(loc), &json!(kind)),
            "{routes}"
        );
    }
    let both = app
        .create(json!({ "routes": ["GET /x"], "permissions": "read" }))
        .await;
    assert_eq!(
        (both.status, &both.json()["detail"][0]["type"]),
        (422, &json!("value_error.exclusive"))
    );
    assert!(app.list().await.is_empty());
    for config in [
        json!({ "routes": fits(0) }),
        json!({ "routes": ["GET /items/*", "POST /search"], "permissions": null }),
        json!({ "routes": null, "permissions": "read" }),
    ] {
        assert_eq!(app.create(config.clone()).await.status, 200, "{config}");
    }
}

#[tokio::test]
async fn a_key_with_routes_grants_exactly_these() {
    let protected = Protected::new(&[("READ_ROUTES", "POST /read")]).await;
    let key = protected
        .app
        .create(json!({ "routes": ["GET /items/*", "POST /search"] }))
        .await
        .api_key();
    for (method, path, allows) in [
        ("GET", "/items/7", true),
        ("GET", "/items/", true),
        ("POST", "/search", true),
        ("GET", "/items", false),
        ("HEAD", "/items/7", false),
        ("GET", "/search", false),
        ("POST", "/items/7", false),
        ("POST", "/search/x", false),
        ("POST", "/read", false),
        ("GET", "/items/../admin", false),
    ] {
        for shape in SHAPES {
            assert_eq!(
                protected
                    .allows(shape, &Visit::new(&key, method, path))
                    .await,
                allows,
                "{shape:?} {method} {path}"
            );
        }
        let question = json!({ "api_key": key, "route": format!("{method} {path}") });
        let response = protected
            .app
            .send(Call::new("POST", &format!("{API_KEYS}verify")).json(&question))
            .await
            .json();
        assert_eq!(response["valid"], allows, "{question}");
        assert!(allows || response["reason"] == "route", "{response}");
    }
    for (question, reason) in [
        (json!({ "api_key": key }), Value::Null),
        (
            json!({ "api_key": key, "permission": "read" }),
            json!("permission"),
        ),
        (
            json!({ "api_key": key, "permission": "read", "route": "GET /items/7" }),
            json!("permission"),
        ),
    ] {
        let response = protected
            .app
            .send(Call::new("POST", &format!("{API_KEYS}verify")).json(&question))
            .await
            .json();
        assert_eq!(response["reason"], reason, "{question}");
    }
    // verify with a route asks for what the route needs.
    let reader = protected
        .app
        .create(json!({ "permissions": "read" }))
        .await
        .api_key();
    for (route, valid) in [("GET /x", true), ("POST /x", false)] {
        let question = json!({ "api_key": reader, "route": route });
        let response = protected
            .app
            .send(Call::new("POST", &format!("{API_KEYS}verify")).json(&question))
            .await
            .json();
        assert_eq!(response["valid"], valid, "{route}");
    }
    for wrong in [
        "",
        "GET",
        "GET x",
        "get /x",
        " /x",
        "GET /a?x=/items/7",
        "GET /items/#",
    ] {
        let question = json!({ "api_key": reader, "route": wrong });
        let response = protected
            .app
            .send(Call::new("POST", &format!("{API_KEYS}verify")).json(&question))
            .await;
        assert_eq!(
            (response.status, &response.json()["detail"][0]["type"]),
            (422, &json!("value_error.route")),
            "{wrong}"
        );
    }
}

/// `ANY`, `$default` and `{proxy+}`: the gateway's ARN doesn't name the request's method.
#[tokio::test]
async fn where_the_gateway_names_no_method_it_is_a_denial() {
    let protected = Protected::new(&[]).await;
    let key = protected
        .app
        .create(json!({ "routes": ["GET /*", "POST /*"] }))
        .await
        .api_key();
    for shape in [
        Shape::RestRequest,
        Shape::Http1,
        Shape::Http2,
        Shape::Simple,
    ] {
        for below in ["ANY/items", "$default", "ANY/{proxy+}", "*/items"] {
            let visit = Visit::new(&key, "GET", "/items");
            let mut event = visit.event(shape);
            let arn = if event["routeArn"].is_string() {
                "routeArn"
            } else {
                "methodArn"
            };
            event[arn] = format!("{API}/{below}").into();
            let response = protected.response(shape, event).await.expect("a response");
            // The gateway evaluates the policy for that ARN.
            let (method, path) = below.split_at(below.find('/').unwrap_or(below.len()));
            let on_the_route = Visit {
                method: method.to_owned(),
                path: path.to_owned(),
                ..visit
            };
            assert!(!lets_in(&response, &on_the_route), "{shape:?} {below}");
        }
    }
}

/// For any routes and requests, verify, each format and a policy from the cache agree.
#[test]
fn verify_each_format_and_cached_policies_agree() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let protected = runtime.block_on(Protected::new(&[("READ_ROUTES", "POST /a*")]));
    let key = runtime.block_on(protected.app.create(json!({}))).api_key();
    let method = || prop::sample::select(vec!["GET", "HEAD", "POST", "DELETE"]);
    let path = |alphabet: &'static str| {
        prop::collection::vec(
            prop::sample::select(alphabet.chars().collect::<Vec<_>>()),
            0..6,
        )
        .prop_map(|rest| format!("/{}", rest.into_iter().collect::<String>()))
    };
    let route = (method(), path("ab/*.")).prop_map(|(method, path)| format!("{method} {path}"));
    let visits = || (method(), path("ab/.*"));
    let mut runner = TestRunner::new(Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(
        &(prop::collection::vec(route, 1..4), visits(), visits()),
        |(routes, first, second)| {
            runtime.block_on(async {
                if protected
                    .app
                    .update(&key, json!({ "routes": routes }))
                    .await
                    .status
                    != 200
                {
                    return; // A pattern with `..`.
                }
                let visit = |(method, path): &(&str, String)| Visit::new(&key, method, path);
                let mut expected = Vec::new();
                for (method, path) in [&first, &second] {
                    let question = json!({ "api_key": key, "route": format!("{method} {path}") });
                    let response = protected
                        .app
                        .send(Call::new("POST", &format!("{API_KEYS}verify")).json(&question))
                        .await;
                    expected.push(response.json()["valid"] == true);
                }
                for shape in SHAPES {
                    let response = protected
                        .response(shape, visit(&first).event(shape))
                        .await
                        .expect("a response");
                    assert_eq!(
                        lets_in(&response, &visit(&first)),
                        expected[0],
                        "{shape:?} {routes:?} {first:?}"
                    );
                    if shape != Shape::Simple {
                        assert_eq!(
                            lets_in(&response, &visit(&second)),
                            expected[1],
                            "cached {shape:?} {routes:?} {first:?} {second:?}"
                        );
                    }
                }
            });
            Ok(())
        },
    );
    outcome.expect("they agree");
}
