//! The verify endpoint: its questions, and its answers.

use serde_json::{Value, json};

use crate::support::{API_KEYS, Answer, App, Call, Format};

async fn ask(app: &App, question: Value) -> Answer {
    app.send(Call::new("POST", &format!("{API_KEYS}verify")).json(&question)).await
}

#[tokio::test]
async fn questions_that_are_none() {
    let app = App::new().await;
    for (question, places) in [
        (json!({}), json!([["body", "api_key"]])),
        (json!({ "api_key": null }), json!([["body", "api_key"]])),
        (
            json!({ "api_key": 7, "permission": "admin", "source_ip": "x" }),
            json!([["body", "api_key"], ["body", "permission"], ["body", "source_ip"]]),
        ),
        (json!({ "api_key": "x", "source_ip": "10.0.0.0/8" }), json!([["body", "source_ip"]])),
        (json!({ "api_key": "x", "sourceIp": "10.0.0.1", "a": null }), json!([["body", "a"], ["body", "sourceIp"]])),
        (
            json!({ "permission": "x", "key": "x" }),
            json!([["body", "api_key"], ["body", "permission"], ["body", "key"]]),
        ),
        (json!(""), json!([["body", "api_key"]])),
        (json!([]), json!([["body", "api_key"]])),
        (json!([1]), json!([["body"]])),
    ] {
        let answer = ask(&app, question.clone()).await;
        let found: Vec<_> =
            answer.json()["detail"].as_array().expect("a list").iter().map(|detail| detail["loc"].clone()).collect();
        assert_eq!((answer.status, Value::from(found)), (422, places), "{question}");
    }
    let key = app.create(json!({})).await.api_key();
    let mut broken = Call::new("POST", &format!("{API_KEYS}verify"));
    broken.body = Some(format!("{{\"api_key\": \"{key}\"").into_bytes());
    let answer = app.send(broken).await;
    assert_eq!(answer.status, 422);
    assert!(!answer.body.contains(&key[32..]), "{}", answer.body);
}

#[tokio::test]
async fn what_a_question_is_answered() {
    let app = App::new().await;
    let key = app.create(json!({ "permissions": "read" })).await.api_key();
    let id = &key[..31];
    let no = |reason: &str| json!({ "valid": false, "reason": reason });
    let known = json!({ "valid": true, "key_id": id, "config": { "permissions": "read" } });
    app.table.proxy.requests();
    assert_eq!(ask(&app, json!({ "api_key": key })).await.json(), known);
    assert_eq!(app.table.proxy.requests(), ["GetItem", "PutItem"], "the first use of the hour is recorded");
    let more = json!({ "api_key": key, "permission": null, "source_ip": null });
    assert_eq!(ask(&app, more).await.json(), known);
    assert_eq!(ask(&app, json!({ "api_key": key, "permission": "write" })).await.json(), no("permission"));
    app.table.proxy.requests();
    for text in ["", "x", id] {
        assert_eq!(ask(&app, json!({ "api_key": text })).await.json(), no("invalid"));
    }
    assert!(app.table.proxy.requests().is_empty());
    app.update(&key, json!({ "allowed_ips": ["192.0.2.1"] })).await;
    assert_eq!(ask(&app, json!({ "api_key": key })).await.json(), no("source_ip"));
    for source_ip in ["192.0.2.1", "::ffff:c000:201", "::ffff:192.0.2.1"] {
        let answer = ask(&app, json!({ "api_key": key, "source_ip": source_ip })).await;
        assert_eq!(answer.json()["valid"], true, "{source_ip}: as a server writes it that takes both families");
    }
    app.update(&key, json!({ "allowed_ips": ["::/0"] })).await;
    assert_eq!(ask(&app, json!({ "api_key": key, "source_ip": "::ffff:192.0.2.1" })).await.json(), no("source_ip"));
    app.delete(&key).await;
    assert_eq!(ask(&app, json!({ "api_key": key })).await.json(), no("not_found"));
}

#[tokio::test]
async fn who_asks_must_be_known_and_other_methods_mean_something_else() {
    let app = App::new().await;
    // As a key's path, `verify` is a key that doesn't exist.
    assert_eq!(app.update("verify", json!({})).await.status, 404);
    assert_eq!(app.send(Call::new("GET", &format!("{API_KEYS}verify"))).await.status, 404);
    assert_eq!(app.send(Call::new("PATCH", &format!("{API_KEYS}verify"))).await.status, 405);
    let question = Call::new("POST", &format!("{API_KEYS}verify")).json(&json!({ "api_key": "x" }));
    let mut anonymous = question.event(Format::Http);
    anonymous["requestContext"]["authorizer"] = Value::Null;
    assert_eq!(app.send_event(anonymous).await.status, 401);
}
