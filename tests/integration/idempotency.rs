//! `Idempotency-Key`: one request of one caller creates one key, however often it is sent.

use serde_json::{Value, json};

use keys::keyring::{Keyring, RootKey};

use crate::lambda::Lambda;
use crate::proxy::{Fault, QUICK};
use crate::support::{API_KEYS, App, Call, Format, ROOT_KEY, Response, Table};

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
    app.table
        .items()
        .into_iter()
        .partition(|item| item["service"]["S"] == "demo")
}

/// Writes the MAC that the service would have written into the item of an `Idempotency-Key`.
fn sign(item: &mut Value) {
    let keyring = Keyring::new(
        "demo",
        &RootKey::from_hex(ROOT_KEY).expect("a root key"),
        None,
    );
    let text = |name: &str| item[name]["S"].as_str().unwrap_or_default();
    let created_at = item["created_at"]["N"].as_str().expect("a number");
    let parts = [
        text("id"),
        text("key_id"),
        text("root_key_id"),
        text("body"),
        created_at,
        text("expires_at"),
    ];
    let mac = keyring
        .record_mac(text("root_key_id"), &parts)
        .expect("a configured root key");
    item["mac"] = json!({ "S": hex::encode(mac) });
}

/// A create and a rotation, each with an `Idempotency-Key`, on a table of their own; and another
/// key, which the caller never saw.
async fn recorded() -> (App, [Call; 2], String) {
    let app = App::new().await;
    let foreign = app
        .create(json!({ "permissions": "write" }))
        .await
        .api_key();
    let old = app.create(json!({})).await.api_key();
    let mut rotate = Call::new("POST", &format!("{API_KEYS}{}/rotate", &old[..31]))
        .json(&json!({ "grace_seconds": 60 }));
    rotate.headers["Idempotency-Key"] = "a".into();
    let calls = [call("a", &read()), rotate];
    for call in &calls {
        assert_eq!(app.send(call.clone()).await.status, 200);
    }
    (app, calls, foreign)
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
    assert_eq!(
        app.table.proxy.requests(),
        ["TransactWriteItems", "GetItem"]
    );
    let rest = app.send_event(call("a", &read()).event(Format::Rest)).await;
    assert_eq!(rest.body, first.body, "in either format");
    assert_ne!(send(&app, "b").await.api_key(), first.api_key());

    // An update in between doesn't change that.
    app.update(&first.api_key(), json!({ "permissions": "write" }))
        .await;
    assert_eq!(send(&app, "a").await.body, first.body);
    let (keys, tokens) = items(&app);
    assert_eq!((keys.len(), tokens.len()), (2, 2));
    let stored = Value::from(tokens).to_string();
    assert!(
        stored.contains("demo#idem")
            && !stored.contains(&first.api_key()[32..])
            && !stored.contains("alice"),
        "{stored}"
    );
    assert_eq!(app.list().await.len(), 2, "the list has only keys");
}

#[tokio::test]
async fn another_caller_is_another_request() {
    let app = App::new().await;
    let mine = send(&app, "a").await.api_key();
    let mut event = call("a", &read()).event(Format::Http);
    event["requestContext"]["authorizer"]["iam"]["userArn"] =
        "arn:aws:iam::123456789012:user/bob".into();
    assert_ne!(app.send_event(event).await.api_key(), mine);
}

#[tokio::test]
async fn another_body_is_422_and_a_deleted_key_409() {
    let app = App::new().await;
    let key = send(&app, "a").await.api_key();
    let response = app.send(call("a", &json!({ "config": {} }))).await;
    let detail = &response.json()["detail"][0];
    assert_eq!(
        (response.status, &detail["loc"]),
        (422, &json!(["header", "idempotency-key"]))
    );
    app.delete(&key).await;
    let response = send(&app, "a").await;
    assert_eq!(
        (response.status, response.json()),
        (
            409,
            json!({ "detail": "The key created with this Idempotency-Key has been deleted" })
        )
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
    assert_eq!(
        app.send(invalid).await.status,
        200,
        "a rejected request leaves the Idempotency-Key free"
    );
}

#[tokio::test]
async fn after_a_day_it_is_another_request_whether_ttl_cleaned_up_or_not() {
    let app = App::new().await;
    let key = send(&app, "a").await.api_key();
    let age = |seconds: i64| {
        let mut token = items(&app).1.remove(0);
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        token["created_at"]["N"] = (now - seconds).to_string().into();
        sign(&mut token);
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
        // First the retry is transparent. Then the first request fails for good, and the caller's
        // repetition recovers.
        app.table.proxy.plan(&[fault]);
        let key = send(&app, "a").await.api_key();
        app.table.proxy.plan(&[fault]);
        assert_eq!(send(&app, "a").await.api_key(), key, "{fault:?}");
        app.table.proxy.plan(&[fault; 3]);
        let lost = send(&app, "b").await;
        let repeated = send(&app, "b").await;
        assert_eq!((lost.status, repeated.status), (503, 200), "{fault:?}");
        assert_eq!(
            items(&app).0.len(),
            2,
            "{fault:?}: one key per Idempotency-Key"
        );
    }
}

/// Whoever can write the table and create a key must not get somebody else's key.
#[tokio::test]
async fn a_forged_or_damaged_record_is_a_500_and_shows_no_key() {
    let (app, calls, foreign) = recorded().await;
    let records = items(&app).1;
    let rotation = |record: &Value| record.get("expires_at").is_some();
    for (number, call) in calls.iter().enumerate() {
        let record = records
            .iter()
            .find(|record| rotation(record) == (number == 1))
            .expect("a record")
            .clone();
        let other = records
            .iter()
            .find(|record| rotation(record) != (number == 1))
            .expect("a record");
        let mut forgeries = Vec::new();
        for name in [
            "key_id",
            "root_key_id",
            "body",
            "created_at",
            "expires_at",
            "mac",
        ] {
            // A record of a create has no expires_at.
            let there = record.get(name).is_some();
            let text = record[name]["S"].as_str().unwrap_or_default();
            let changed = match name {
                "key_id" => json!({ "S": foreign[5..31] }),
                "created_at" => {
                    let number: i64 = record[name]["N"]
                        .as_str()
                        .and_then(|text| text.parse().ok())
                        .expect("a number");
                    json!({ "N": (number - 1).to_string() })
                }
                // One that isn't configured is a 409 of its own.
                "root_key_id" => json!({ "S": "" }),
                "mac" => json!({ "S": other[name]["S"] }),
                _ => json!({ "S": format!("{text}0") }),
            };
            let types = [
                json!({ "NULL": true }),
                json!({ "S": "" }),
                json!({ "B": "AAAA" }),
                json!({ "L": [] }),
                changed,
            ];
            for value in types {
                let same_mac = name == "expires_at" && !there && value == json!({ "S": "" });
                let other_root_key = name == "root_key_id" && value["S"].is_string();
                if !same_mac && !other_root_key {
                    let mut forged = record.clone();
                    forged[name] = value;
                    forgeries.push(forged);
                }
            }
            if there {
                let mut forged = record.clone();
                forged.as_object_mut().expect("an object").remove(name);
                forgeries.push(forged);
            }
        }
        // Another request's record, whole.
        let mut moved = other.clone();
        moved["id"] = record["id"].clone();
        forgeries.push(moved);
        for forged in forgeries {
            app.table.put(forged.clone());
            let response = app.send(call.clone()).await;
            assert_eq!(
                response.json(),
                json!({ "detail": "Internal Server Error" }),
                "{forged}"
            );
            assert_eq!(response.status, 500, "{forged}");
        }
        app.table.put(record);
        assert_eq!(app.send(call.clone()).await.status, 200);
    }
    assert_eq!(items(&app).0.len(), 4, "nothing was created meanwhile");
}

/// Its MAC is right, but the response would say that the old key expires at no time.
#[tokio::test]
async fn a_rotation_s_record_without_the_old_key_s_expiry_is_a_500() {
    let (app, [_, rotate], _) = recorded().await;
    let mut record = items(&app)
        .1
        .into_iter()
        .find(|record| record.get("expires_at").is_some())
        .expect("a record");
    record
        .as_object_mut()
        .expect("an object")
        .remove("expires_at");
    sign(&mut record);
    app.table.put(record);
    assert_eq!(app.send(rotate).await.status, 500);
}

#[tokio::test]
async fn a_record_whose_root_key_is_not_configured_is_a_409() {
    let (app, calls, _) = recorded().await;
    // The root key is replaced: the other one was the primary meanwhile.
    let both = format!("{},{ROOT_KEY}", "1".repeat(64));
    app.table
        .api(&[("ROOT_KEY", &both)])
        .await
        .expect("a start");
    let app = App {
        api: app
            .table
            .api(&[("ROOT_KEY", &"1".repeat(64))])
            .await
            .expect("a start"),
        table: app.table,
    };
    for call in calls {
        let response = app.send(call).await;
        let detail = "The key created with this Idempotency-Key belongs to a root key that is no longer configured";
        assert_eq!(
            (response.status, response.json()),
            (409, json!({ "detail": detail }))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_a_damaged_record() {
    let table = Table::new().await;
    let api = Lambda::start(table.environment(&[])).await;
    assert_eq!(api.call(call("a", &read()), Format::Http).await.status, 200);
    let mut record = table
        .items()
        .into_iter()
        .find(|item| item["service"]["S"] == "demo#idem")
        .expect("a record");
    let id = record["id"]["S"].as_str().expect("an ID").to_owned();
    record.as_object_mut().expect("an object").remove("key_id");
    table.put(record);
    assert_eq!(api.call(call("a", &read()), Format::Http).await.status, 500);
    let printed = api.printed();
    assert!(
        printed.contains(&id) && printed.contains("demo#idem"),
        "{printed}"
    );
}

/// Two issuers may give the same `sub` to different people.
#[tokio::test]
async fn another_issuer_is_another_caller() {
    let app = App::new().await;
    let from = |format, issuer: &str| {
        let mut event = call("a", &read()).event(format);
        let claims = json!({ "sub": "u1", "iss": format!("https://{issuer}.example.com") });
        event["requestContext"]["identity"]["userArn"] = Value::Null;
        event["requestContext"]["authorizer"] = match format {
            Format::Http => json!({ "jwt": { "claims": claims, "scopes": null } }),
            _ => json!({ "claims": claims }),
        };
        event
    };
    let mut keys = Vec::new();
    for issuer in ["one", "two"] {
        let [http, rest] = [from(Format::Http, issuer), from(Format::Rest, issuer)];
        let key = app.send_event(http).await.api_key();
        assert_eq!(
            app.send_event(rest).await.api_key(),
            key,
            "the same caller in either format"
        );
        keys.push(key);
    }
    assert_ne!(keys[0], keys[1]);
    assert!(
        items(&app)
            .0
            .iter()
            .all(|item| item["created_by"]["S"] == "u1")
    );
}

#[tokio::test]
async fn a_late_create_that_failed_creates_no_second_key() {
    let app = App::new().await;
    let mut call = Call::new("POST", API_KEYS).json(&json!({ "config": {} }));
    call.headers["Idempotency-Key"] = "once".into();
    app.table.proxy.plan(&[Fault::Late; 3]);
    assert_eq!(app.send(call.clone()).await.status, 503);
    let key = app.send(call).await.api_key();
    assert_eq!(app.table.proxy.deliver().await, 3);
    assert_eq!(app.list().await, [json!({ "api_key": key, "config": {} })]);
    assert_eq!(app.delete(&key).await.status, 200);
    assert!(app.list().await.is_empty());
}
