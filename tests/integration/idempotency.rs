//! `Idempotency-Key`: one request of one caller creates one key, however often it is sent.

use serde_json::{Value, json};

use crate::proxy::QUICK;
use crate::support::{API_KEYS, App, Call, Format, Response};

fn call(header: &str, body: &Value) -> Call {
    let mut call = Call::new("POST", API_KEYS).json(body);
    call.headers["Idempotency-Key"] = header.into();
    call
}

fn read() -> Value {
    json!({ "config": { "permissions": "read" } })
}

/// The items of keys, and those of `Idempotency-Key`s.
fn items(app: &App) -> (Vec<Value>, Vec<Value>) {
    app.table.items().into_iter().partition(|item| item["service"]["S"] == "demo")
}

async fn send(app: &App, header: &str) -> Response {
    app.send(call(header, &read())).await
}

#[tokio::test]
async fn the_same_request_creates_one_key_and_gets_the_same_response() {
    let app = App::new().await;
    let first = send(&app, "a").await;
    assert_eq!(app.table.proxy.requests(), ["TransactWriteItems"]);
    let second = send(&app, "a").await;
    assert_eq!((first.status, &first.body), (200, &second.body));
    assert_eq!(app.table.proxy.requests(), ["TransactWriteItems", "GetItem"]);
    let rest = app.send_event(call("a", &read()).event(Format::Rest)).await;
    assert_eq!(rest.body, first.body, "in either format");
    assert_ne!(send(&app, "b").await.api_key(), first.api_key());

    // An update in between doesn't change that.
    app.update(&first.api_key(), json!({ "permissions": "write" })).await;
    assert_eq!(send(&app, "a").await.body, first.body);
    let (keys, tokens) = items(&app);
    assert_eq!((keys.len(), tokens.len()), (2, 2));
    let stored = Value::from(tokens).to_string();
    assert!(
        stored.contains("demo#idem") && !stored.contains(&first.api_key()[32..]) && !stored.contains("alice"),
        "{stored}"
    );
    assert_eq!(app.list().await.len(), 2, "the list has only keys");
}

#[tokio::test]
async fn another_caller_is_another_request() {
    let app = App::new().await;
    let mine = send(&app, "a").await.api_key();
    let mut event = call("a", &read()).event(Format::Http);
    event["requestContext"]["authorizer"]["iam"]["userArn"] = "arn:aws:iam::123456789012:user/bob".into();
    assert_ne!(app.send_event(event).await.api_key(), mine);
}

#[tokio::test]
async fn another_body_is_422_and_a_deleted_key_409() {
    let app = App::new().await;
    let key = send(&app, "a").await.api_key();
    let response = app.send(call("a", &json!({ "config": {} }))).await;
    let detail = &response.json()["detail"][0];
    assert_eq!((response.status, &detail["loc"]), (422, &json!(["header", "idempotency-key"])));
    app.delete(&key).await;
    let response = send(&app, "a").await;
    assert_eq!(
        (response.status, response.json()),
        (409, json!({ "detail": "The key created with this Idempotency-Key has been deleted" }))
    );
    assert!(items(&app).0.is_empty());
    for wrong in ["", "é", "a\tb", &"a".repeat(256)] {
        let response = send(&app, wrong).await;
        assert_eq!(
            (response.status, &response.json()["detail"][0]["loc"]),
            (422, &json!(["header", "idempotency-key"])),
            "{wrong}"
        );
    }
    let mut invalid = call("c", &json!({ "config": { "permissions": "admin" } }));
    assert_eq!(app.send(invalid.clone()).await.status, 422);
    invalid.body = Some(read().to_string().into_bytes());
    assert_eq!(app.send(invalid).await.status, 200, "a rejected request leaves the Idempotency-Key free");
}

#[tokio::test]
async fn after_a_day_it_is_another_request_whether_ttl_cleaned_up_or_not() {
    let app = App::new().await;
    let key = send(&app, "a").await.api_key();
    let age = |seconds: i64| {
        let mut token = items(&app).1.remove(0);
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        token["created_at"]["N"] = (now - seconds).to_string().into();
        app.table.put(token);
    };
    age(86_390);
    assert_eq!(send(&app, "a").await.api_key(), key);
    age(86_401);
    let other = send(&app, "a").await.api_key();
    assert_ne!(other, key);
    assert_eq!(send(&app, "a").await.api_key(), other);
}

#[tokio::test]
async fn parallel_requests_create_one_key() {
    let app = App::new().await;
    let responses = futures_util::future::join_all((0..50).map(|_| send(&app, "a"))).await;
    let mut keys: Vec<_> = responses.iter().map(Response::api_key).collect();
    keys.dedup();
    assert_eq!((keys.len(), items(&app).0.len()), (1, 1));
}

#[tokio::test]
async fn through_throttling_and_lost_responses() {
    for fault in QUICK {
        let app = App::new().await;
        // First the retry is transparent. Then the first request fails for good, and the caller's repetition recovers.
        app.table.proxy.plan(&[fault]);
        let key = send(&app, "a").await.api_key();
        app.table.proxy.plan(&[fault]);
        assert_eq!(send(&app, "a").await.api_key(), key, "{fault:?}");
        app.table.proxy.plan(&[fault; 3]);
        let lost = send(&app, "b").await;
        let repeated = send(&app, "b").await;
        assert_eq!((lost.status, repeated.status), (503, 200), "{fault:?}");
        assert_eq!(items(&app).0.len(), 2, "{fault:?}: one key per Idempotency-Key");
    }
}
