//! The attacks that issue 11 reports, by its points. Each of them once succeeded.

use serde_json::{Value, json};

use crate::lambda::Lambda;
use crate::protected::{Protected, SHAPES, Shape, Visit, lets_in};
use crate::support::{API_KEYS, App, CALLER, Call, FORMATS, Format, Table};

fn verify(question: &Value) -> Call {
    Call::new("POST", &format!("{API_KEYS}verify")).json(question)
}

fn with_body(method: &str, path: &str, body: String) -> Call {
    Call { body: Some(body.into_bytes()), ..Call::new(method, path) }
}

// B. Wrong allows

#[tokio::test]
async fn point_2_verify_answers_a_typo_with_yes() {
    let app = App::new().await;
    let key = app.create(json!({ "permissions": "read" })).await.api_key();
    for name in ["permissions", "Permission", "permission ", "perm", "sourceIp", "allowed_ips", "key", ""] {
        let answer = app.send(verify(&json!({ "api_key": key, name: "write" }))).await;
        let extra = json!({ "loc": ["body", name], "msg": "extra fields not permitted", "type": "value_error.extra" });
        assert_eq!((answer.status, answer.json()), (422, json!({ "detail": [extra] })), "{name}");
    }
}

#[tokio::test]
async fn point_3_a_wrong_address_with_a_wrong_method_gets_an_allow_policy() {
    let protected = Protected::new(&[]).await;
    let config = json!({ "permissions": "read", "allowed_ips": ["192.0.2.0/24"] });
    let key = protected.app.create(config).await.api_key();
    for shape in [Shape::RestRequest, Shape::Http1, Shape::Http2, Shape::Simple] {
        for method in ["GET", "POST", "DELETE"] {
            let visit = Visit { source_ip: "203.0.113.9".to_owned(), ..Visit::new(&key, method, "/x") };
            let answer = protected.answer(shape, visit.event(shape)).await.expect("an answer");
            assert_eq!(answer["context"]["reason"], "source_ip", "{shape:?} {method}");
            if shape != Shape::Simple {
                assert_eq!(answer["policyDocument"]["Statement"][0]["Effect"], "Deny", "{shape:?} {method}");
            }
        }
    }
}

#[tokio::test]
async fn point_4_misspelled_restrictions_open_keys() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let before = app.table.items();
    for (name, value, meant) in [
        ("alowed_ips", json!(["192.0.2.1"]), "allowed_ips"),
        ("allow_ips", json!(["192.0.2.1"]), "allowed_ips"),
        ("expires", json!("2020-01-01T00:00:00Z"), "expires_at"),
        ("expiration", json!("2020-01-01T00:00:00Z"), "expires_at"),
        ("expires_at ", json!("2020-01-01T00:00:00Z"), "expires_at"),
        ("enable", json!(false), "enabled"),
        ("disabled", json!(true), "enabled"),
        ("permission", json!("read"), "permissions"),
    ] {
        let config = json!({ "permissions": "write", name: value });
        let detail = json!({
            "loc": ["body", "config", name],
            "msg": format!("unknown field; did you mean '{meant}'?"),
            "type": "value_error.misspelled",
        });
        for answer in [app.create(config.clone()).await, app.update(&key, config).await] {
            assert_eq!((answer.status, answer.json()), (422, json!({ "detail": [detail] })), "{name}");
        }
    }
    assert_eq!(app.table.items(), before);
}

#[tokio::test]
async fn point_4_addresses_with_leading_zeros() {
    let app = App::new().await;
    for text in ["010.0.0.0/8", "10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/ 8", "10.0.0.0/8/8", "2001:db8::/032"] {
        let answer = app.create(json!({ "permissions": "write", "allowed_ips": [text] })).await;
        assert_eq!(answer.status, 422, "{text}");
        assert_eq!(answer.json()["detail"][0]["loc"], json!(["body", "config", "allowed_ips", 0]), "{text}");
    }
    assert!(app.table.items().is_empty());
}

#[tokio::test]
async fn point_4_an_empty_list_of_addresses_opens_a_key_to_everyone() {
    let protected = Protected::new(&[]).await;
    let config = json!({ "permissions": "write", "allowed_ips": [] });
    let answer = protected.app.create(config.clone()).await;
    let detail = json!({
        "loc": ["body", "config", "allowed_ips"],
        "msg": "ensure this value has at least 1 items",
        "type": "value_error.list.min_items",
        "ctx": { "limit_value": 1 },
    });
    assert_eq!((answer.status, answer.json()), (422, json!({ "detail": [detail] })));

    // Where the table holds such a config all the same, nobody gets in.
    let key = protected.app.create(json!({})).await.api_key();
    let mut item = protected.app.table.items().remove(0);
    item["config"]["S"] = config.to_string().into();
    protected.app.table.put(item);
    for shape in SHAPES {
        let visit = Visit::new(&key, "GET", "/x");
        let answer = protected.answer(shape, visit.event(shape)).await.expect("an answer");
        assert!(!lets_in(&answer, &visit), "{shape:?} {answer}");
        assert_eq!(answer["context"]["reason"], "source_ip", "{shape:?}");
    }
    assert!(!protected.verifies(&key, "read", "192.0.2.1").await);
}

/// What a gateway remembers from one request must not let in what the code denies.
#[tokio::test]
async fn point_4_a_policy_matches_ipv4_mapped_addresses_that_the_code_denies() {
    let protected = Protected::new(&[]).await;
    let key = protected.app.create(json!({ "permissions": "write" })).await.api_key();
    for ranges in [json!(["::/0"]), json!(["::/64", "::1"]), json!(["10.0.0.0/8", "::/0"]), json!(["10.0.0.0/8"])] {
        protected.app.update(&key, json!({ "permissions": "write", "allowed_ips": ranges })).await;
        for source_ip in ["::ffff:10.1.2.3", "::FFFF:a01:203", "0:0:0:0:0:ffff:10.1.2.3"] {
            let visit = Visit { source_ip: source_ip.to_owned(), ..Visit::new(&key, "GET", "/x") };
            for shape in SHAPES {
                assert!(!protected.opens(shape, &visit).await, "{shape:?} {source_ip} in {ranges}");
            }
            let remembered = Shape::RestToken;
            let policy = protected.answer(remembered, visit.event(remembered)).await.expect("an answer");
            assert_eq!(policy["policyDocument"]["Statement"][0]["Effect"], "Allow", "the policy is looked at");
        }
    }
}

#[tokio::test]
async fn point_5_one_path_has_several_spellings() {
    let app = App::new().await;
    let key = app.create(json!({ "permissions": "read" })).await.api_key();
    let (encoded, every_byte) =
        (key.replace('_', "%5F"), key.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>());
    let collection = "/es/api/v1/credentials/api_keys";
    let (not_found, no_key) = ("Not Found", "API key not found");
    let table = [
        ("GET", "/es/api/v1/credentials/api%5Fkeys/".to_owned(), 404, not_found),
        ("GET", "/es/api/v1/credentials/api%5fkeys".to_owned(), 404, not_found),
        ("GET", "/%65s/api/v1/credentials/api_keys/".to_owned(), 404, not_found),
        ("GET", "/es%2Fapi%2Fv1%2Fcredentials%2Fapi_keys%2F".to_owned(), 404, not_found),
        ("POST", format!("{collection}/%76erify"), 405, "Method Not Allowed"),
        ("PUT", format!("{collection}/{encoded}"), 404, no_key),
        ("PUT", format!("{collection}/{every_byte}"), 404, no_key),
        ("PUT", format!("{collection}/a%2Fb"), 404, no_key),
        ("PUT", format!("{collection}/delete%2F{key}"), 404, no_key),
        ("DELETE", format!("{collection}/delete%2F{key}"), 405, "Method Not Allowed"),
        ("DELETE", format!("{collection}/%64elete/{key}"), 404, not_found),
        ("DELETE", format!("{collection}/delete/{encoded}"), 404, no_key),
    ];
    let before = app.table.items();
    for (method, path, status, detail) in table {
        for format in FORMATS {
            let call = Call::new(method, &path).json(&json!({ "config": {}, "api_key": key }));
            let answer = app.send_event(call.event(format)).await;
            let expected = (status, json!({ "detail": detail }));
            assert_eq!((answer.status, answer.json()), expected, "{method} {path} {format:?}");
        }
    }
    assert_eq!(app.table.items(), before);
}

// C. Records

#[tokio::test(flavor = "multi_thread")]
async fn point_9_a_denial_can_t_be_traced() {
    let table = Table::new().await;
    let api = Lambda::start(table.environment(&[])).await;
    let authorizer = Lambda::start(table.environment(&[("FUNCTION", "authorizer")])).await;
    let denied = |function: &Lambda| -> Vec<Value> {
        let printed = function.printed();
        let entries = printed.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        entries.filter(|entry| entry["message"] == "denied").collect()
    };
    for format in FORMATS {
        api.call(verify(&json!({ "api_key": "x", "source_ip": "203.0.113.9" })), format).await;
    }
    for entry in denied(&api) {
        assert_eq!(
            (&entry["source_ip"], &entry["api_request_id"], &entry["actor"]),
            (&json!("192.0.2.1"), &json!("request-id"), &json!(CALLER)),
            "as in audit entries"
        );
        assert_eq!(entry["client_ip"], "203.0.113.9", "what was asked about");
    }
    assert_eq!(denied(&api).len(), FORMATS.len());
    for shape in [Shape::RestRequest, Shape::Http1, Shape::Http2] {
        let mut event = Visit::new("x", "GET", "/x").event(shape);
        event["requestContext"]["requestId"] = format!("{shape:?}").into();
        authorizer.invoke(&event).await.expect("an answer");
    }
    let found: Vec<_> = denied(&authorizer)
        .into_iter()
        .map(|entry| (entry["source_ip"].clone(), entry["api_request_id"].clone()))
        .collect();
    let expected = ["RestRequest", "Http1", "Http2"].map(|id| (json!("192.0.2.1"), json!(id)));
    assert_eq!(found, expected);
}

// F. Small things

#[tokio::test]
async fn point_16_the_link_is_sorted_as_sigv4_signs_it() {
    let app = App::new().await;
    let keys = [app.create(json!({})).await.api_key(), app.create(json!({})).await.api_key()];
    let answer = app.send(Call::new("GET", API_KEYS).query("limit", 1)).await;
    assert_eq!(answer.headers["Link"], format!("<?after={}&limit=1>; rel=\"next\"", &keys[0][..31]));
}

/// A body that is checked costs time, so the size comes first: what else is wrong with it is not looked for.
#[tokio::test]
async fn point_18_a_config_too_long_is_checked_in_depth() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let filler = "a".repeat(4096);
    for config in [
        format!(r#"{{"x":1,"x":2,"y":"{filler}"}}"#),
        format!(r#"{{"x":{}1{},"y":"{filler}"}}"#, "[".repeat(200), "]".repeat(200)),
        format!(r#"{{"x":"\ud800","y":"{filler}"}}"#),
        format!(r#"["{filler}"]"#),
    ] {
        for (method, path) in [("POST", API_KEYS.to_owned()), ("PUT", format!("{API_KEYS}{key}"))] {
            let answer = app.send(with_body(method, &path, format!(r#"{{"config":{config}}}"#))).await;
            assert_eq!((answer.status, answer.json()), (413, json!({ "detail": "config exceeds 4096 bytes" })));
        }
    }
    // Two of them: the first one counts as much as the last one.
    let body = format!(r#"{{"config":"{filler}","config":{{}}}}"#);
    assert_eq!(app.send(with_body("POST", API_KEYS, body)).await.status, 413);
}

/// Beside the config and to verify, up to 64 KiB are looked at, however deep they are nested: each byte a few times.
#[tokio::test]
async fn point_18_a_deep_body_is_slow() {
    let app = App::new().await;
    let text = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"config":{{}},"x":{open}"{}"{close}}}"#, "a".repeat(65_000))
    };
    let time = async |depth: usize| {
        let mut times = Vec::new();
        for _ in 0..5 {
            let event =
                serde_json::from_value(with_body("PUT", &format!("{API_KEYS}x"), text(depth)).event(Format::Http));
            let began = std::time::Instant::now();
            app.api.handle(event.expect("an event"), crate::support::TIMEOUT).await;
            times.push(began.elapsed());
        }
        times.into_iter().min().expect("a time")
    };
    let (flat, deep) = (time(1).await, time(120).await);
    eprintln!("64 KiB, 1 level: {flat:?}; 120 levels: {deep:?}");
    assert!(deep < flat * 10, "64 KiB, 1 level: {flat:?}; 120 levels: {deep:?}");
}
