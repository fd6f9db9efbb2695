//! Configs: they come back unchanged, and every mistake is reported with its place.

use keys::config::FIELDS;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::support::{API_KEYS, App, Call};

/// JSON texts: white space, escapes and spellings of numbers included, field names unlike the ones
/// with a meaning.
fn json_text() -> impl Strategy<Value = String> {
    let space = prop_oneof![4 => Just(String::new()), 1 => "[ \t\r\n]{1,3}"];
    let string = prop_oneof![
        any::<String>().prop_map(|text| Value::from(text).to_string()),
        "(\\\\u00[4-7][0-9a-f]|\\\\n|\\\\/|x){0,5}".prop_map(|text| format!("\"{text}\"")),
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        "-?(0|[1-9][0-9]{0,29})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        string,
    ];
    leaf.prop_recursive(6, 40, 6, move |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..6), space.clone()).prop_map(
                |(elements, space)| format!(
                    "[{space}{}{space}]",
                    elements.join(&format!("{space},{space}"))
                )
            ),
            object(inner, space.clone()),
        ]
    })
}

fn object(
    value: impl Strategy<Value = String>,
    space: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    (
        prop::collection::btree_map("x[^\"\\\\\u{0}-\u{1f}]{0,8}", value, 0..6),
        space,
    )
        .prop_map(|(fields, space)| {
            let fields = fields
                .into_iter()
                .map(|(name, value)| format!("\"{name}\"{space}:{space}{value}"));
            format!(
                "{{{space}{}{space}}}",
                fields.collect::<Vec<_>>().join(&format!("{space},{space}"))
            )
        })
}

#[test]
fn configs_come_back_unchanged() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let app = runtime.block_on(App::new());
    let config = object(json_text(), Just(" ".to_owned()))
        .prop_filter("longer than a config", |text| text.len() <= 4096);
    let mut runner = TestRunner::new(Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&config, |config| {
        let mut call = Call::new("POST", API_KEYS);
        call.body = Some(format!(" {{\"config\" :\n{config} , \"beside\":[]}}").into_bytes());
        let (created, listed) = runtime.block_on(async {
            let created = app.send(call).await;
            let listed = app.send(Call::new("GET", API_KEYS)).await;
            app.delete(&created.api_key()).await;
            (created, listed)
        });
        prop_assert_eq!(created.status, 200);
        let expected = format!(
            "[{{\"api_key\":\"{}\",\"config\":{config}}}]",
            created.api_key()
        );
        prop_assert_eq!(listed.body, expected);
        Ok(())
    });
    outcome.expect("every config came back");
}

#[tokio::test]
async fn fields_with_a_meaning() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let accepted = [
        json!({ "permissions": null, "enabled": null, "expires_at": null, "allowed_ips": null }),
        json!({ "permissions": "write", "enabled": false, "expires_at": "1985-04-12T23:20:50.52Z" }),
        json!({ "expires_at": "2030-01-01t00:00:00z" }),
        json!({ "expires_at": "1996-12-19T16:39:57-08:00" }),
        json!({ "expires_at": "9999-12-31T23:59:59.999999999999Z" }),
        json!({ "allowed_ips": ["192.0.2.1", "10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "::1", "::ffff:10.0.0.0/104", "::/0"] }),
        // Nested, the same names mean nothing.
        json!({ "x": { "enabled": 1, "expiresAt": 2, "allowed_ip": 3 } }),
    ];
    for config in accepted {
        let response = app.update(&key, config.clone()).await;
        assert_eq!(response.status, 200, "{config}: {response:?}");
        assert_eq!(app.list().await[0]["config"], config);
    }
}

#[tokio::test]
async fn values_without_a_meaning() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let times = [
        "",
        "tomorrow",
        "2030-01-01",
        "2030-01-01T00:00:00",
        "2030-02-30T00:00:00Z",
        "2030-01-31_12:00:00Z",
        "2030-01-31 12:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "0000-01-01T00:00:00+00:01",
    ];
    let mut details = Vec::new();
    for (name, values) in [
        ("expires_at", json!(times)),
        ("expires_at", json!([7, true, [], {}])),
        ("enabled", json!(["true", 0, 1, "", [], {}])),
        (
            "permissions",
            json!(["", "admin", "Read", 7, true, [], {}, ["read"]]),
        ),
        (
            "allowed_ips",
            json!(["10.0.0.1", 7, true, { "0": "10.0.0.1" }]),
        ),
        ("allowed_ips", json!([[]])),
    ] {
        let mut rejections = Vec::new();
        for value in values.as_array().expect("a list") {
            rejections.push(rejected(&app, &key, json!({ name: value })).await);
        }
        rejections.dedup();
        details.push(json!([values, rejections]));
    }
    insta::assert_json_snapshot!(details);
}

#[tokio::test]
async fn invalid_addresses() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let texts = [
        "",
        "localhost",
        "10.0.0",
        "10.0.0.1/33",
        "10.0.0.1/8",
        "010.0.0.1",
        "10.0.0.1 ",
        "10.0.0.0/255.0.0.0",
        "fe80::1%eth0",
        "::/129",
        "010.0.0.0/8",
        "10.0.0.0/08",
        "10.0.0.0/+8",
        "10.0.0.0/ 8",
        "10.0.0.0/-0",
        "10.0.0.0/",
        "/8",
        "10.0.0.0/8/8",
        "2001:db8::/032",
        "::ffff:010.0.0.0/104",
    ];
    let texts = texts.map(|text| (json!(text), "value_error.ipvanynetwork"));
    let others =
        [json!(7), json!(null), json!(["10.0.0.1"])].map(|other| (other, "type_error.str"));
    for (address, kind) in texts.into_iter().chain(others) {
        let detail = rejected(&app, &key, json!({ "allowed_ips": ["10.0.0.1", address] })).await;
        let found = (&detail["loc"], &detail["type"]);
        assert_eq!(
            found,
            (&json!(["body", "config", "allowed_ips", 1]), &json!(kind)),
            "{address}"
        );
    }
}

/// Other programs can't read a leap second, and those that send a time before 1970 (Go's zero time)
/// mean "never".
#[tokio::test]
async fn an_expiry_that_other_programs_misunderstand_is_not_written() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let leap = [
        "2016-12-31T23:59:60Z",
        "2030-06-30T23:59:60.5Z",
        "2016-12-31t15:59:60-08:00",
    ];
    let early = [
        "0001-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999Z",
        "1970-01-01T00:00:00+00:01",
    ];
    for (times, msg) in [
        (
            &leap[..],
            "must not be a leap second (:60), which few programs read",
        ),
        (
            &early[..],
            "must be in 1970 or later; for no expiry, use null",
        ),
    ] {
        for time in times {
            let detail = rejected(&app, &key, json!({ "expires_at": time })).await;
            let loc = ["body", "config", "expires_at"];
            assert_eq!(
                detail,
                json!({ "loc": loc, "msg": msg, "type": "value_error.datetime" }),
                "{time}"
            );

            let body = json!({ "grace_seconds": 0, "expires_at": time });
            let response = app
                .send(Call::new("POST", &format!("{API_KEYS}{key}/rotate")).json(&body))
                .await;
            let detail = json!({ "loc": ["body", "expires_at"], "msg": msg, "type": "value_error.datetime" });
            assert_eq!(
                (response.status, response.json()),
                (422, json!({ "detail": [detail] })),
                "{time}"
            );
        }
    }
    for time in [
        "1970-01-01T00:00:00Z",
        "1969-12-31T23:30:00-00:30",
        "2016-12-31T23:59:59.9Z",
    ] {
        assert_eq!(
            app.update(&key, json!({ "expires_at": time })).await.status,
            200,
            "{time}"
        );
    }

    // Rules for writing don't make a stored key unreadable, and don't keep it from being disabled.
    let item = app.table.items().remove(0);
    for (time, reason) in [
        ("0001-01-01T00:00:00Z", json!("expired")),
        ("2998-12-31T23:59:60Z", Value::Null),
    ] {
        let stored = |config: &Value| {
            let mut item = item.clone();
            item["config"]["S"] = config.to_string().into();
            app.table.put(item);
        };
        stored(&json!({ "expires_at": time }));
        let verify =
            Call::new("POST", &format!("{API_KEYS}verify")).json(&json!({ "api_key": key }));
        let response = app.send(verify).await;
        assert_eq!(
            (response.status, &response.json()["reason"]),
            (200, &reason),
            "{time}"
        );
        let response = app
            .update(&key, json!({ "expires_at": time, "enabled": false }))
            .await;
        assert_eq!(response.status, 200, "{response:?}");
        stored(&json!({ "expires_at": "2030-01-01T00:00:00Z" }));
        assert_eq!(
            app.update(&key, json!({ "expires_at": time })).await.status,
            422,
            "{time}: a new value"
        );
    }
}

/// Who writes `permissions` beside `config` would get a key that grants nothing, and `enabled` a
/// key that stays valid.
#[tokio::test]
async fn a_field_with_a_meaning_beside_config_is_rejected() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let before = app.table.items();
    let calls = || {
        [
            Call::new("POST", API_KEYS),
            Call::new("PUT", &format!("{API_KEYS}{key}")),
        ]
    };
    let detail = |name: &str| {
        let msg = "belongs inside config, not beside it";
        json!({ "loc": ["body", name], "msg": msg, "type": "value_error.misplaced" })
    };
    for field in &FIELDS {
        for call in calls() {
            let response = app
                .send(call.json(&json!({ "config": {}, field.name: "read" })))
                .await;
            assert_eq!(
                (response.status, response.json()),
                (422, json!({ "detail": [detail(field.name)] }))
            );
        }
    }
    // With the mistakes in the config; before the 404.
    for call in [
        Call::new("POST", API_KEYS),
        Call::new("PUT", &format!("{API_KEYS}nosuchkey")),
    ] {
        let response = app
            .send(call.json(&json!({ "routes": 1, "config": { "enabled": 1 }, "enabled": true })))
            .await;
        let places: Vec<_> = response.json()["detail"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|detail| detail["loc"].clone())
            .collect();
        let expected = json!([
            ["body", "config", "enabled"],
            ["body", "enabled"],
            ["body", "routes"]
        ]);
        assert_eq!((response.status, Value::from(places)), (422, expected));
    }
    assert_eq!(app.table.items(), before);
    // Null counts as absent, and other names are ignored, as GAIA does.
    let ignored = json!({ "config": { "x": 1 }, "permissions": null, "Permissions": "write", "perms": 1, "expiry": 1 });
    for call in calls() {
        assert_eq!(app.send(call.json(&ignored)).await.status, 200);
    }
    assert!(
        app.list()
            .await
            .iter()
            .all(|key| key["config"] == json!({ "x": 1 }))
    );
    // Without config it is GAIA's response alone.
    let response = app
        .send(Call::new("POST", API_KEYS).json(&json!({ "permissions": "read" })))
        .await;
    let missing = json!({ "loc": ["body", "config"], "msg": "field required", "type": "value_error.missing" });
    assert_eq!(
        (response.status, response.json()),
        (422, json!({ "detail": [missing] }))
    );
}

/// The only entry of the 422 for a config; nothing of the config may be stored.
pub async fn rejected(app: &App, key: &str, config: Value) -> Value {
    let before = app.table.items();
    let (created, updated) = (
        app.create(config.clone()).await,
        app.update(key, config.clone()).await,
    );
    assert_eq!((created.status, updated.status), (422, 422), "{config}");
    assert_eq!(created.json(), updated.json());
    assert_eq!(app.table.items(), before);
    let details = created.json()["detail"].clone();
    assert_eq!(
        details.as_array().map(Vec::len),
        Some(1),
        "{config}: {details}"
    );
    details[0].clone()
}

#[tokio::test]
async fn all_mistakes_are_reported_at_once_in_the_order_of_the_fields() {
    let app = App::new().await;
    let config = json!({ "Enabled": 1, "allowed_ips": [1, "x"], "enabled": 2, "expires_at": 3, "permissions": 4 });
    insta::assert_json_snapshot!(app.create(config).await.json());
}

#[tokio::test]
async fn sizes_and_depths() {
    let app = App::new().await;
    let config = |len: usize| json!({ "x": "a".repeat(len - r#"{"x":""}"#.len()) });
    assert_eq!(app.create(config(4096)).await.status, 200);
    let response = app.create(config(4097)).await;
    assert_eq!(
        (response.status, response.json()),
        (413, json!({ "detail": "config exceeds 4096 bytes" }))
    );
    // Bytes, not characters.
    assert_eq!(
        app.create(json!({ "x": "é".repeat(2044) })).await.status,
        200
    );
    assert_eq!(
        app.create(json!({ "x": "é".repeat(2045) })).await.status,
        413
    );

    for (base64, len, status) in [
        (false, 65_536, 200),
        (false, 65_537, 413),
        (true, 65_536, 200),
        (true, 65_537, 413),
    ] {
        let filler = "a".repeat(len - r#"{"config":{},"x":""}"#.len());
        let call = Call {
            base64,
            ..Call::new("POST", API_KEYS).json(&json!({ "config": {}, "x": filler }))
        };
        assert_eq!(
            app.send(call).await.status,
            status,
            "{len} bytes, base64: {base64}"
        );
    }
    for (depth, status) in [(100, 200), (126, 200), (200, 422), (30_000, 422)] {
        let mut call = Call::new("POST", API_KEYS);
        call.body = Some(
            format!(
                r#"{{"config":{{}},"x":{}{}}}"#,
                "[".repeat(depth),
                "]".repeat(depth)
            )
            .into_bytes(),
        );
        assert_eq!(app.send(call).await.status, status, "{depth}");
    }
}

#[tokio::test]
async fn a_duplicate_field_is_rejected() {
    let app = App::new().await;
    for (body, place) in [
        (
            r#"{"config":{"enabled":false,"enabled":true}}"#,
            json!(["body", "config", "enabled"]),
        ),
        (
            r#"{"config":{"enabled":false,"\u0065nabled":true}}"#,
            json!(["body", "config", "enabled"]),
        ),
        (
            r#"{"config":{"x":[1,{"y":1,"y":1}]}}"#,
            json!(["body", "config", "x", 1, "y"]),
        ),
        (
            r#"{"config":{},"config":{"permissions":"write"}}"#,
            json!(["body", "config"]),
        ),
        (
            r#"{"config":{},"x":{"y":1,"y":2}}"#,
            json!(["body", "x", "y"]),
        ),
    ] {
        let mut call = Call::new("POST", API_KEYS);
        call.body = Some(body.as_bytes().to_vec());
        let response = app.send(call).await;
        let expected = json!({ "detail": [{ "loc": place, "msg": "duplicate field name", "type": "value_error.duplicate" }] });
        assert_eq!(
            (response.status, response.json()),
            (422, expected),
            "{body}"
        );
    }
    assert!(app.table.items().is_empty());
}

/// A list isn't an object without fields, so nothing is said about a field.
#[tokio::test]
async fn a_body_that_is_no_object_is_reported_as_that() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    for body in [json!([]), json!(""), json!([["config", {}]]), json!(7)] {
        for (method, below) in [
            ("POST", ""),
            ("PUT", key.as_str()),
            ("POST", "verify"),
            ("POST", &format!("{key}/rotate")),
        ] {
            let response = app
                .send(Call::new(method, &format!("{API_KEYS}{below}")).json(&body))
                .await;
            let detail = json!({ "loc": ["body"], "msg": "value is not a valid dict", "type": "type_error.dict" });
            assert_eq!(
                (response.status, response.json()),
                (422, json!({ "detail": [detail] })),
                "{method} {body}"
            );
        }
    }
}

/// GAIA's two bodies keep GAIA's response (tests/contract); this service's own name the header.
#[tokio::test]
async fn another_content_type_is_named() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    for (below, body) in [
        ("verify", json!({ "api_key": key })),
        (&format!("{key}/rotate"), json!({ "grace_seconds": 1 })),
    ] {
        for content_type in [
            "application/x-www-form-urlencoded",
            "text/plain",
            "text/json; charset=utf-8",
        ] {
            let mut call = Call::new("POST", &format!("{API_KEYS}{below}")).json(&body);
            call.headers["Content-Type"] = content_type.into();
            let response = app.send(call).await;
            let msg = "must be application/json or application/...+json";
            let detail = json!({ "loc": ["header", "content-type"], "msg": msg, "type": "value_error.content_type" });
            assert_eq!(
                (response.status, response.json()),
                (422, json!({ "detail": [detail] })),
                "{content_type}"
            );
        }
    }
    assert_eq!(app.list().await.len(), 1);
}

/// Checking costs time, so the size is checked first, and nothing else of a config that is too
/// long.
#[tokio::test]
async fn of_a_config_that_is_too_long_nothing_else_is_checked() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let filler = "a".repeat(4096);
    for config in [
        format!(r#"{{"x":1,"x":2,"y":"{filler}"}}"#),
        format!(
            r#"{{"x":{}1{},"y":"{filler}"}}"#,
            "[".repeat(200),
            "]".repeat(200)
        ),
        format!(r#"{{"x":"\ud800","y":"{filler}"}}"#),
        format!(r#"["{filler}"]"#),
    ] {
        for (method, path) in [
            ("POST", API_KEYS.to_owned()),
            ("PUT", format!("{API_KEYS}{key}")),
        ] {
            let response = app
                .send(with_body(
                    method,
                    &path,
                    format!(r#"{{"config":{config}}}"#),
                ))
                .await;
            assert_eq!(
                (response.status, response.json()),
                (413, json!({ "detail": "config exceeds 4096 bytes" }))
            );
        }
    }
    // Two configs: the first one counts as much as the last.
    let body = format!(r#"{{"config":"{filler}","config":{{}}}}"#);
    assert_eq!(
        app.send(with_body("POST", API_KEYS, body)).await.status,
        413
    );
}

fn with_body(method: &str, path: &str, body: String) -> Call {
    Call {
        body: Some(body.into_bytes()),
        ..Call::new(method, path)
    }
}
