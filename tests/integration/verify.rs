//! The verify endpoint: its questions, and its answers.

use serde_json::{Value, json};

use crate::support::{API_KEYS, App, Call, Format};

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
