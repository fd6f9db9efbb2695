//! Rotation in one request: exactly one new key, and an expiry for the old one.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::protected::{Protected, SHAPES, Visit};
use crate::proxy::Fault;
use crate::support::{API_KEYS, App, CALLER, Call, Response};

fn call(key: &str, body: &Value) -> Call {
    Call::new("POST", &format!("{API_KEYS}{key}/rotate")).json(body)
}

async fn rotate(app: &App, key: &str, body: Value) -> Response {
    app.send(call(key, &body)).await
}

async fn get(app: &App, key: &str) -> Value {
    app.send(Call::new("GET", &format!("{API_KEYS}{key}")))
        .await
        .json()
}

fn configs(app: &App) -> Vec<String> {
    let keys = app
        .table
        .items()
        .into_iter()
        .filter(|item| item["service"]["S"] == "demo");
    keys.map(|item| item["config"]["S"].as_str().expect("a config").to_owned())
        .collect()
}

#[tokio::test]
async fn the_new_key_has_the_same_config_and_the_old_one_an_expiry() {
    let app = App::new().await;
    let text = r#"{ "team":"é" , "n": 1.0,"permissions": "read" }"#;
    let mut create = Call::new("POST", API_KEYS);
    create.body = Some(format!(r#"{{"config":{text}}}"#).into_bytes());
    let old = app.send(create).await.api_key();
    app.table.proxy.requests();
    let began = OffsetDateTime::now_utc().unix_timestamp();
    let response = rotate(&app, &old, json!({ "grace_seconds": 3600 })).await;
    // The last one keeps the old key's usage no longer than the key.
    assert_eq!(
        app.table.proxy.requests(),
        ["GetItem", "TransactWriteItems", "UpdateItem"]
    );
    let new = response.api_key();
    let body = response.json();
    let end = body["rotated_from_expires_at"].as_str().expect("a time");
    let seconds = OffsetDateTime::parse(end, &Rfc3339)
        .expect("RFC 3339")
        .unix_timestamp()
        - began;
    assert!((3599..=3610).contains(&seconds), "{seconds}");
    assert_eq!(
        (response.status, &body),
        (
            200,
            &json!({ "api_key": new, "result": "rotated", "rotated_from": old[..31], "rotated_from_expires_at": end })
        )
    );
    assert!(
        response.body.starts_with(r#"{"api_key":"gaia_"#)
            && new.len() == 58
            && new[..31] > old[..31]
    );
    assert_eq!(
        configs(&app),
        [
            format!(r#"{{ "team":"é" , "n": 1.0,"permissions": "read" ,"expires_at":"{end}"}}"#),
            text.to_owned()
        ]
    );

    let (from, to) = (get(&app, &old).await, get(&app, &new[..31]).await);
    assert_eq!(
        (&from["rotated_to"], &from["rotated_from"]),
        (&json!(new[..31]), &Value::Null)
    );
    assert_eq!(
        (&to["rotated_from"], &to["rotated_to"]),
        (&json!(old[..31]), &Value::Null)
    );
    assert_eq!(
        (&from["updated_by"], &to["created_by"], &to["updated_by"]),
        (&json!(CALLER), &json!(CALLER), &Value::Null)
    );
    let ttl = app.table.items()[0]["ttl"]["N"]
        .as_str()
        .and_then(|ttl| ttl.parse::<i64>().ok())
        .expect("a ttl");
    assert!((seconds + began + 30 * 86_400 - ttl).abs() < 2);
}

#[tokio::test]
async fn both_keys_work_in_the_grace_period_and_the_old_one_is_denied_after_it() {
    let protected = Protected::new(&[]).await;
    let app = &protected.app;
    let old = app.create(json!({ "permissions": "read" })).await.api_key();
    let new = rotate(app, &old, json!({ "grace_seconds": 2 }))
        .await
        .api_key();
    for (key, allows) in [(&old, true), (&new, true)] {
        for shape in SHAPES {
            assert_eq!(
                protected.allows(shape, &Visit::new(key, "GET", "/x")).await,
                allows
            );
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    assert!(
        !protected.verifies(&old, "read", "192.0.2.1").await
            && protected.verifies(&new, "read", "192.0.2.1").await
    );
    let newer = rotate(app, &new, json!({ "grace_seconds": 0 }))
        .await
        .api_key();
    assert!(
        !protected.verifies(&new, "read", "192.0.2.1").await
            && protected.verifies(&newer, "read", "192.0.2.1").await
    );
}

#[tokio::test]
async fn a_lifetime_is_never_an_accident() {
    let app = App::new().await;
    let bounded = json!({ "permissions": "read", "expires_at": "2999-01-01T00:00:00Z", "x": 1 });
    let key = app.create(bounded).await.api_key();
    let response = rotate(&app, &key, json!({ "grace_seconds": 60 })).await;
    let detail = &response.json()["detail"][0];
    assert_eq!(
        (response.status, &detail["loc"], &detail["type"]),
        (
            422,
            &json!(["body", "expires_at"]),
            &json!("value_error.missing")
        )
    );
    assert_eq!(configs(&app).len(), 1);

    let unbounded = rotate(
        &app,
        &key,
        json!({ "grace_seconds": 60, "expires_at": null }),
    )
    .await
    .api_key();
    assert_eq!(
        configs(&app)[1],
        r#"{"expires_at":null,"permissions":"read","x":1}"#
    );
    let again = rotate(
        &app,
        &unbounded,
        json!({ "grace_seconds": 0, "expires_at": "2998-01-01T00:00:00Z" }),
    )
    .await;
    assert_eq!(
        configs(&app)[2],
        r#"{"expires_at":"2998-01-01T00:00:00Z","permissions":"read","x":1}"#
    );
    // An earlier expiry stays.
    let soon = (OffsetDateTime::now_utc() + time::Duration::seconds(30))
        .format(&Rfc3339)
        .expect("a time");
    app.update(&again.api_key(), json!({ "expires_at": soon }))
        .await;
    rotate(
        &app,
        &again.api_key(),
        json!({ "grace_seconds": 60, "expires_at": null }),
    )
    .await;
    assert_eq!(configs(&app)[2], json!({ "expires_at": soon }).to_string());
    let bare = app.create(json!({})).await.api_key();
    rotate(
        &app,
        &bare,
        json!({ "grace_seconds": 0, "expires_at": "2998-01-01T00:00:00+01:00" }),
    )
    .await;
    assert_eq!(
        configs(&app).last().expect("a config"),
        r#"{"expires_at":"2998-01-01T00:00:00+01:00"}"#
    );
}

#[tokio::test]
async fn invalid_bodies() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let mut responses = Vec::new();
    for body in [
        json!({}),
        json!({ "grace_seconds": null }),
        json!({ "grace_seconds": -1 }),
        json!({ "grace_seconds": 31_536_001 }),
        json!({ "grace_seconds": 1.5 }),
        json!({ "grace_seconds": "1" }),
        json!({ "grace_seconds": true }),
        json!({ "grace_seconds": 1, "expires_at": "tomorrow" }),
        json!({ "grace_seconds": 1, "grace": 1 }),
        json!({ "grace_seconds": 1, "config": {} }),
    ] {
        let response = rotate(&app, &key, body.clone()).await;
        responses.push(json!([body, response.status, response.json()]));
    }
    insta::assert_json_snapshot!(responses);
    assert_eq!(app.table.items().len(), 1);
    assert_eq!(
        rotate(&app, &key, json!({ "grace_seconds": 31_536_000 }))
            .await
            .status,
        200
    );
    let long = app.create(json!({ "x": "a".repeat(4088) })).await.api_key();
    let response = rotate(&app, &long, json!({ "grace_seconds": 1 })).await;
    assert_eq!(
        (response.status, &response.json()["detail"][0]["type"]),
        (422, &json!("value_error.config_size"))
    );
}

#[tokio::test]
async fn keys_that_can_t_be_rotated() {
    let app = App::new().await;
    let body = || json!({ "grace_seconds": 60, "expires_at": null });
    for (config, why) in [
        (json!({ "enabled": false }), "API key is denied: disabled"),
        (
            json!({ "expires_at": "2020-01-01T00:00:00Z" }),
            "API key is denied: expired",
        ),
    ] {
        let key = app.create(config).await.api_key();
        let response = rotate(&app, &key, body()).await;
        assert_eq!(
            (response.status, response.json()),
            (409, json!({ "detail": why }))
        );
    }
    let key = app.create(json!({})).await.api_key();
    let new = rotate(&app, &key, body()).await.api_key();
    let response = rotate(&app, &key[..31], body()).await;
    assert_eq!(response.status, 409);
    assert!(
        response.json()["detail"]
            .as_str()
            .expect("a text")
            .contains(&new[..31]),
        "{response:?}"
    );
    // Once the successor is deleted, the key can be rotated again.
    app.delete(&new).await;
    let newer = rotate(
        &app,
        &key,
        json!({ "grace_seconds": 5, "expires_at": null }),
    )
    .await;
    assert_eq!(newer.status, 200);
    app.delete(&key).await;
    let forged = format!("{}0", &key[..57]);
    for missing in [
        key.as_str(),
        &key[..31],
        "nosuchkey",
        "verify",
        if forged == key { "x" } else { &forged },
    ] {
        assert_eq!(rotate(&app, missing, body()).await.status, 404, "{missing}");
    }
    let wrong = app
        .send(Call::new("GET", &format!("{API_KEYS}{key}/rotate")))
        .await;
    assert_eq!(
        (wrong.status, &wrong.headers["Allow"]),
        (405, &json!("POST"))
    );
}

#[tokio::test]
async fn the_same_request_rotates_once_and_gets_the_same_response() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let once = |body: &Value| {
        let mut call = call(&key, body);
        call.headers["Idempotency-Key"] = "once".into();
        call
    };
    let body = json!({ "grace_seconds": 60 });
    let first = app.send(once(&body)).await;
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    assert_eq!(
        app.send(once(&body)).await.body,
        first.body,
        "the time of the end included"
    );
    let other = app.send(once(&json!({ "grace_seconds": 61 }))).await;
    assert_eq!(
        (other.status, &other.json()["detail"][0]["type"]),
        (422, &json!("value_error.idempotency_key"))
    );

    // Another key is another operation, and a create is another one still.
    let second = app.create(json!({})).await.api_key();
    let mut another = call(&second, &body);
    another.headers["Idempotency-Key"] = "once".into();
    assert_eq!(app.send(another).await.json()["rotated_from"], second[..31]);

    // It is looked up before the 404 and the 409.
    app.update(&key, json!({ "enabled": false })).await;
    assert_eq!(app.send(once(&body)).await.body, first.body);
    app.delete(&key).await;
    assert_eq!(app.send(once(&body)).await.body, first.body);

    // The other root key signs meanwhile.
    let root_keys = format!("{},{}", "1".repeat(64), crate::support::ROOT_KEY);
    let app = App {
        api: app
            .table
            .api(&[("ROOT_KEY", &root_keys)])
            .await
            .expect("a start"),
        table: app.table,
    };
    assert_eq!(app.send(once(&body)).await.body, first.body);
    app.delete(&first.api_key()).await;
    assert_eq!(app.send(once(&body)).await.status, 409);
}

#[tokio::test]
async fn two_hundred_rotations_at_once_create_one_new_key() {
    let app = App::new().await;
    let key = app.create(json!({ "permissions": "read" })).await.api_key();
    let responses = futures_util::future::join_all(
        (0..200).map(|_| rotate(&app, &key, json!({ "grace_seconds": 60 }))),
    )
    .await;
    let statuses: Vec<_> = responses.iter().map(|response| response.status).collect();
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        1,
        "{statuses:?}"
    );
    assert!(
        statuses
            .iter()
            .all(|status| [200, 409, 503].contains(status)),
        "{statuses:?}"
    );
    assert_eq!(configs(&app).len(), 2);
    assert_eq!(app.list().await.len(), 2);
}

/// A change between the read and the write, and attempts that arrive late.
#[tokio::test]
async fn what_changes_meanwhile_is_read_again_and_late_attempts_undo_nothing() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    app.table.proxy.plan(&[Fault::None, Fault::Slow]);
    let update = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        app.update(&key, json!({ "team": "x" })).await
    };
    let (rotated, updated) =
        tokio::join!(rotate(&app, &key, json!({ "grace_seconds": 60 })), update);
    assert_eq!((rotated.status, updated.status), (200, 200));
    assert_eq!(
        configs(&app)[1],
        r#"{"team":"x"}"#,
        "the new key has the config that was acknowledged"
    );

    let new = rotated.api_key();
    app.table
        .proxy
        .plan(&[Fault::None, Fault::Late, Fault::Late]);
    let newer = rotate(&app, &new, json!({ "grace_seconds": 60 }))
        .await
        .api_key();
    app.delete(&newer).await;
    app.update(&new, json!({ "enabled": false })).await;
    assert_eq!(app.table.proxy.deliver().await, 2);
    assert_eq!(get(&app, &new).await["config"], json!({ "enabled": false }));
    assert_eq!(app.list().await.len(), 2, "the deleted one stays deleted");
}

/// Somebody edits the item by hand, and leaves its `change_id` as it is.
#[tokio::test]
async fn what_is_edited_by_hand_meanwhile_stays() {
    let edited = async |edit: fn(&mut Value)| {
        let app = App::new().await;
        let key = app.create(json!({ "permissions": "read" })).await.api_key();
        app.update(&key, json!({ "permissions": "read" })).await;
        app.table.proxy.plan(&[Fault::None, Fault::Slow]);
        let by_hand = async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            let mut item = app.table.items().remove(0);
            edit(&mut item);
            app.table.put(item);
        };
        let (response, ()) =
            tokio::join!(rotate(&app, &key, json!({ "grace_seconds": 60 })), by_hand);
        (response, app.table.items())
    };
    let (response, items) = edited(|item| {
        item["note"] = json!({ "S": "x" });
        item["created_by"] = json!({ "S": "y" });
    })
    .await;
    assert_eq!((response.status, items.len()), (200, 2), "{response:?}");
    assert_eq!(
        (&items[0]["note"], &items[0]["created_by"]),
        (&json!({ "S": "x" }), &json!({ "S": "y" }))
    );
    assert!(
        items[0]["config"]["S"]
            .as_str()
            .is_some_and(|text| text.contains("expires_at"))
    );
    assert_eq!(items[0]["rotated_to"]["S"], items[1]["id"]["S"]);

    let (response, items) = edited(|item| {
        drop(
            item.as_object_mut()
                .and_then(|item| item.remove("created_by")),
        )
    })
    .await;
    assert_eq!((response.status, items[0].get("created_by")), (200, None));

    let (response, items) =
        edited(|item| item["config"]["S"] = r#"{"enabled":false}"#.into()).await;
    assert_eq!(
        (response.status, response.json()),
        (409, json!({ "detail": "API key is denied: disabled" }))
    );
    assert_eq!(
        (items.len(), &items[0]["config"]["S"]),
        (1, &json!(r#"{"enabled":false}"#))
    );
}

/// The second request looks the `Idempotency-Key` up before the first one is carried out, and reads
/// the key after it.
#[tokio::test]
async fn the_same_request_twice_at_once_gets_one_response() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let once = || {
        let mut call = call(&key, &json!({ "grace_seconds": 60 }));
        call.headers["Idempotency-Key"] = "once".into();
        call
    };
    app.table.proxy.plan(&[Fault::None, Fault::Slow]);
    let first = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        app.send(once()).await
    };
    let (second, first) = tokio::join!(app.send(once()), first);
    assert_eq!((first.status, second.status), (200, 200), "{second:?}");
    assert_eq!(first.body, second.body);
    let many = futures_util::future::join_all((0..20).map(|_| app.send(once()))).await;
    assert!(many.iter().all(|response| response.body == first.body));
    assert_eq!(configs(&app).len(), 2);
}

/// No endless loop.
#[tokio::test]
async fn an_unreadable_idempotency_record_ends_the_rotation() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let mut once = call(&key, &json!({ "grace_seconds": 60, "expires_at": null }));
    once.headers["Idempotency-Key"] = "once".into();
    let new = app.send(once.clone()).await.api_key();
    app.delete(&new).await;
    let mut item = app
        .table
        .items()
        .into_iter()
        .find(|item| item["service"]["S"] == "demo#idem")
        .expect("an item");
    item["key_id"]["S"] = "garbage".into();
    app.table.put(item);
    app.table.proxy.requests();
    assert_eq!(app.send(once).await.status, 500);
    assert_eq!(app.table.proxy.requests(), ["GetItem"]);
}

/// A rotation to a key that is dead already would leave two dead keys.
#[tokio::test]
async fn the_new_key_expires_later_than_now() {
    let app = App::new().await;
    let key = app.create(json!({ "x": 1 })).await.api_key();
    let before = app.table.items();
    let from_now = |seconds| {
        let end = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
        end.format(&Rfc3339).expect("a time")
    };
    let detail = |response: Response| (response.status, response.json()["detail"][0].clone());
    let expected = json!({
        "loc": ["body", "expires_at"], "msg": "must be later than now", "type": "value_error.datetime",
    });
    for end in [
        "2020-01-01T00:00:00Z".to_owned(),
        "1970-01-01T00:00:00Z".to_owned(),
        from_now(0),
        from_now(-1),
    ] {
        for grace in [0, 3600] {
            let response = rotate(
                &app,
                &key,
                json!({ "grace_seconds": grace, "expires_at": end }),
            )
            .await;
            assert_eq!(detail(response), (422, expected.clone()), "{end}");
        }
    }
    assert_eq!(app.table.items(), before);

    // It comes before the key's own 404 and 409.
    let disabled = app.create(json!({ "enabled": false })).await.api_key();
    let missing = app.create(json!({})).await.api_key();
    app.delete(&missing).await;
    for key in [&disabled, &missing] {
        let response = rotate(
            &app,
            key,
            json!({ "grace_seconds": 0, "expires_at": from_now(0) }),
        )
        .await;
        assert_eq!(detail(response), (422, expected.clone()));
    }

    // The same request gets the same response, even when that time has come.
    let mut once = call(
        &key,
        &json!({ "grace_seconds": 0, "expires_at": from_now(2) }),
    );
    once.headers["Idempotency-Key"] = "once".into();
    let first = app.send(once.clone()).await;
    assert_eq!(first.status, 200, "{first:?}");
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    assert_eq!(app.send(once).await.body, first.body);
}
