//! Usage plan keys: which responses name one to API Gateway, and which one.

use serde_json::{Value, json};

use crate::lambda::Lambda;
use crate::protected::{Protected, SHAPES, Shape, Visit};
use crate::support::{API_KEYS, Call, Format, Table};

const OWN: &str = "usage-plan-key-of-reports";
const DEFAULT: &str = "usage-plan-key-of-everybody-else";

/// Only REST APIs have usage plans.
fn has_usage_plans(shape: Shape) -> bool {
    matches!(shape, Shape::RestToken | Shape::RestRequest)
}

impl Protected {
    /// What the response to a key's visit has as `usageIdentifierKey`: null if it has none.
    async fn usage_plan_key(&self, shape: Shape, visit: &Visit) -> Value {
        let response = self.response(shape, visit.event(shape)).await;
        response.expect("a response")["usageIdentifierKey"].clone()
    }
}

#[tokio::test]
async fn an_allow_for_a_rest_api_names_the_key_s_usage_plan_key_else_the_default() {
    let with_default = Protected::new(&[("DEFAULT_USAGE_PLAN_KEY", DEFAULT)]).await;
    let without = Protected::new(&[]).await;
    for (protected, default) in [(&with_default, json!(DEFAULT)), (&without, Value::Null)] {
        for (config, expected) in [
            (
                json!({ "permissions": "read", "usage_plan_key": OWN }),
                json!(OWN),
            ),
            (
                json!({ "routes": ["GET /x"], "usage_plan_key": OWN }),
                json!(OWN),
            ),
            (
                json!({ "permissions": "read", "usage_plan_key": null }),
                default.clone(),
            ),
            (json!({ "routes": ["GET /x"] }), default),
        ] {
            let key = protected.app.create(config.clone()).await.api_key();
            for shape in SHAPES {
                // A gateway may cache the policy of a request that it denies, for one that it allows.
                for method in ["GET", "POST"] {
                    let visit = Visit::new(&key, method, "/x");
                    let found = protected.usage_plan_key(shape, &visit).await;
                    let expected = if has_usage_plans(shape) {
                        expected.clone()
                    } else {
                        Value::Null
                    };
                    assert_eq!(found, expected, "{shape:?} {method} {config}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_denial_names_no_usage_plan_key() {
    let protected = Protected::new(&[("DEFAULT_USAGE_PLAN_KEY", DEFAULT)]).await;
    let mut keys = vec!["garbage".to_owned()];
    for config in [
        json!({ "permissions": "read", "usage_plan_key": OWN, "enabled": false }),
        json!({ "permissions": "read", "usage_plan_key": OWN, "expires_at": "2026-01-01T00:00:00Z" }),
        json!({ "permissions": "read", "usage_plan_key": OWN, "allowed_ips": ["198.51.100.1"] }),
        json!({ "usage_plan_key": OWN }),
    ] {
        keys.push(protected.app.create(config).await.api_key());
    }
    let deleted = protected.app.create(json!({ "usage_plan_key": OWN })).await;
    protected.app.delete(&deleted.api_key()).await;
    keys.push(deleted.api_key());
    for key in keys {
        for shape in SHAPES {
            // A TOKEN event has no address: the policy's condition denies it.
            let mut visit = Visit::new(&key, "GET", "/x");
            visit.source_ip = "192.0.2.1".to_owned();
            let response = protected.response(shape, visit.event(shape)).await;
            let response = response.expect("a response");
            let denied = response["context"]["reason"] != Value::Null;
            let found = &response["usageIdentifierKey"];
            assert_eq!(
                found.is_null(),
                denied || !has_usage_plans(shape),
                "{shape:?} {response}"
            );
            assert!(denied || shape == Shape::RestToken, "{response}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_keys_of_a_rotation_are_metered_as_one() {
    let table = Table::new().await;
    let api = Lambda::start(table.environment(&[])).await;
    let environment = [
        ("FUNCTION", "authorizer"),
        ("DEFAULT_USAGE_PLAN_KEY", DEFAULT),
    ];
    let authorizer = Lambda::start(table.environment(&environment)).await;
    let simple = [&environment[..], &[("SIMPLE_RESPONSES", "true")]].concat();
    let simple = Lambda::start(table.environment(&simple)).await;
    let body = json!({ "config": { "permissions": "read", "usage_plan_key": OWN } });
    let create = Call::new("POST", API_KEYS).json(&body);
    let old = api.call(create, Format::Rest).await.api_key();
    let rotate = Call::new("POST", &format!("{API_KEYS}{old}/rotate"));
    let rotate = rotate.json(&json!({ "grace_seconds": 3600 }));
    let new = api.call(rotate, Format::Rest).await.api_key();
    let body = json!({ "config": { "permissions": "read" } });
    let create = Call::new("POST", API_KEYS).json(&body);
    let other = api.call(create, Format::Rest).await.api_key();
    for (key, expected) in [(old, OWN), (new, OWN), (other, DEFAULT)] {
        for shape in SHAPES {
            let function = if shape == Shape::Simple {
                &simple
            } else {
                &authorizer
            };
            let event = Visit::new(&key, "GET", "/x").event(shape);
            let response = function.invoke(&event).await.expect("a response");
            let found = response.get("usageIdentifierKey").and_then(Value::as_str);
            assert_eq!(
                found,
                has_usage_plans(shape).then_some(expected),
                "{shape:?} {response}"
            );
        }
    }
}

#[tokio::test]
async fn the_longest_policy_fits_beside_the_longest_usage_plan_key() {
    let protected = Protected::new(&[]).await;
    // Their sum is what a config may have at most.
    let routes = vec![format!("GET /{}", "a".repeat(136)); 20];
    let config = json!({
        "routes": routes,
        "allowed_ips": ["::/0", "2001:db8::"],
        "expires_at": "9999-12-31T23:59:59Z",
        "usage_plan_key": "~".repeat(128),
    });
    let mut longer = config.clone();
    longer["routes"][0] = format!("GET /{}", "a".repeat(137)).into();
    assert_eq!(protected.app.create(longer).await.status, 422);
    let key = protected.app.create(config).await.api_key();
    let mut visit = Visit::new(&key, "GET", &format!("/{}", "a".repeat(136)));
    visit.source_ip = "2001:db8::".to_owned();
    let mut event = visit.event(Shape::RestRequest);
    // The longest ARN of a stage, and a name of a service that is 60 characters longer than this one.
    let (stage, service) = (format!("arn:{}", "x".repeat(199)), 60);
    event["methodArn"] = format!("{stage}/x/GET{}", visit.path).into();
    let response = protected.response(Shape::RestRequest, event).await;
    let response = response.expect("a response");
    assert_eq!(response["usageIdentifierKey"], "~".repeat(128));
    let length = response.to_string().len() + service;
    assert!((7_800..=8_000).contains(&length), "{length}");
}
