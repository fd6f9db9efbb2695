//! The verify endpoint: its requests and its responses.

use serde_json::{Value, json};

use crate::support::{API_KEYS, App, Call, Format, Response};

async fn ask(app: &App, question: Value) -> Response {
    app.send(Call::new("POST", &format!("{API_KEYS}verify")).json(&question))
        .await
}

#[tokio::test]
async fn invalid_questions() {
    let app = App::new().await;
    let mut responses = Vec::new();
    for question in [
        json!({}),
        json!({ "api_key": null }),
        json!({ "api_key": 7 }),
        json!({ "api_key": "x", "permission": "admin" }),
        json!({ "api_key": "x", "permission": 7 }),
        json!({ "api_key": "x", "source_ip": "x" }),
        json!({ "api_key": "x", "source_ip": "10.0.0.0/8" }),
        json!({ "api_key": "x", "zone": null }),
        json!(""),
        json!([]),
        json!(["x"]),
        Value::Null,
    ] {
        let response = ask(&app, question.clone()).await;
        responses.push(json!([question, response.status, response.json()]));
    }
    insta::assert_json_snapshot!(responses);
    // A key in the wrong field isn't repeated.
    for field in ["permission", "route", "source_ip"] {
        let response = ask(&app, json!({ "api_key": "x", field: "a-secret" })).await;
        assert!(!response.body.contains("a-secret"), "{}", response.body);
    }
    let key = app.create(json!({})).await.api_key();
    let mut broken = Call::new("POST", &format!("{API_KEYS}verify"));
    broken.body = Some(format!("{{\"api_key\": \"{key}\"").into_bytes());
    let response = app.send(broken).await;
    assert_eq!(response.status, 422);
    assert!(!response.body.contains(&key[32..]), "{}", response.body);
}

#[tokio::test]
async fn the_response_to_each_question() {
    let app = App::new().await;
    let key = app.create(json!({ "permissions": "read" })).await.api_key();
    let id = &key[..31];
    let no = |reason: &str| json!({ "valid": false, "reason": reason });
    let known = json!({ "valid": true, "key_id": id, "config": { "permissions": "read" } });
    app.table.proxy.requests();
    assert_eq!(ask(&app, json!({ "api_key": key })).await.json(), known);
    assert_eq!(
        app.table.proxy.requests(),
        ["GetItem", "PutItem"],
        "the first use of the hour is recorded"
    );
    let more = json!({ "api_key": key, "permission": null, "source_ip": null });
    assert_eq!(ask(&app, more).await.json(), known);
    assert_eq!(
        ask(&app, json!({ "api_key": key, "permission": "write" }))
            .await
            .json(),
        no("permission")
    );
    app.table.proxy.requests();
    for text in ["", "x", id] {
        assert_eq!(
            ask(&app, json!({ "api_key": text })).await.json(),
            no("invalid")
        );
    }
    assert!(app.table.proxy.requests().is_empty());
    app.update(&key, json!({ "allowed_ips": ["192.0.2.1"] }))
        .await;
    assert_eq!(
        ask(&app, json!({ "api_key": key })).await.json(),
        no("source_ip")
    );
    for source_ip in ["192.0.2.1", "::ffff:c000:201", "::ffff:192.0.2.1"] {
        let response = ask(&app, json!({ "api_key": key, "source_ip": source_ip })).await;
        assert_eq!(
            response.json()["valid"],
            true,
            "{source_ip}: an IPv4 client on a socket for both families"
        );
    }
    app.update(&key, json!({ "allowed_ips": ["::/0"] })).await;
    assert_eq!(
        ask(
            &app,
            json!({ "api_key": key, "source_ip": "::ffff:192.0.2.1" })
        )
        .await
        .json(),
        no("source_ip")
    );
    app.delete(&key).await;
    assert_eq!(
        ask(&app, json!({ "api_key": key })).await.json(),
        no("not_found")
    );
}

/// Clients that keep results need the end of the decision, and know no rule of ours.
#[tokio::test]
async fn a_response_says_when_the_key_ends() {
    let app = App::new().await;
    for (expires_at, valid_until) in [
        (
            json!("2999-01-31t14:00:00.9999+02:00"),
            "2999-01-31T12:00:00.999Z",
        ),
        (json!("9999-12-31T23:59:59Z"), "9999-12-31T23:59:59.000Z"),
    ] {
        let config = json!({ "expires_at": expires_at });
        let key = app.create(config.clone()).await.api_key();
        assert_eq!(
            ask(&app, json!({ "api_key": key })).await.json(),
            json!({ "valid": true, "key_id": key[..31], "valid_until": valid_until, "config": config })
        );
    }
}

/// Backends pass on the header `Authorization` as they got it.
#[tokio::test]
async fn a_known_scheme_in_front_of_the_key_is_ignored() {
    let app = App::new().await;
    let key = app.create(json!({ "permissions": "read" })).await.api_key();
    for scheme in ["Search ", "Bearer ", "search ", "BEARER   "] {
        let response = ask(&app, json!({ "api_key": format!("{scheme}{key}") }))
            .await
            .json();
        assert_eq!(
            (&response["valid"], &response["key_id"]),
            (&json!(true), &json!(key[..31])),
            "{scheme}"
        );
    }
    for text in [
        "Basic {}",
        "Search{}",
        "Search",
        "Search ",
        " {}",
        "{} ",
        "Search Bearer {}",
        "Search\t{}",
        "Bearer {} ",
    ] {
        let response = ask(&app, json!({ "api_key": text.replace("{}", &key) })).await;
        assert_eq!(
            (response.status, &response.json()["reason"]),
            (200, &json!("invalid")),
            "{text}"
        );
    }
}

#[tokio::test]
async fn the_caller_needs_an_identity_and_verify_is_no_key() {
    let app = App::new().await;
    for method in ["GET", "PUT", "PATCH", "DELETE", "HEAD"] {
        for slash in ["", "/"] {
            let call = Call::new(method, &format!("{API_KEYS}verify{slash}"))
                .json(&json!({ "config": {} }));
            let response = app.send(call).await;
            assert_eq!(
                (response.status, &response.headers["Allow"]),
                (405, &json!("POST")),
                "{method}"
            );
        }
    }
    let question = Call::new("POST", &format!("{API_KEYS}verify")).json(&json!({ "api_key": "x" }));
    let mut anonymous = question.event(Format::Http);
    anonymous["requestContext"]["authorizer"] = Value::Null;
    assert_eq!(app.send_event(anonymous).await.status, 401);
}

#[tokio::test]
async fn an_unknown_field_is_rejected() {
    let app = App::new().await;
    let key = app.create(json!({ "permissions": "read" })).await.api_key();
    for name in [
        "permissions",
        "Permission",
        "permission ",
        "perm",
        "sourceIp",
        "allowed_ips",
        "key",
        "a`b",
        "",
    ] {
        let response = ask(&app, json!({ "api_key": key, name: "write" })).await;
        let extra = json!({ "loc": ["body", name], "msg": "extra fields not permitted", "type": "value_error.extra" });
        assert_eq!(
            (response.status, response.json()),
            (422, json!({ "detail": [extra] })),
            "{name}"
        );
    }
}
