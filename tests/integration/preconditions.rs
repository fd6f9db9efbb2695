//! `ETag` and `If-Match`: a change applies to the key as its caller read it, or not at all.

use std::time::Duration;

use serde_json::{Value, json};

use crate::events::changes;
use crate::lambda::Lambda;
use crate::proxy::Fault;
use crate::support::{API_KEYS, App, Call, Format, Response, Table};

/// Another transaction works on the item: DynamoDB's response to a plain write, and to a
/// transaction.
const CONFLICT: Fault = Fault::Response(
    400,
    r#"{"__type":"x#TransactionConflictException","message":"m"}"#,
);
const CANCELLED: Fault = Fault::Response(
    400,
    r#"{"__type":"x#TransactionCanceledException","CancellationReasons":[{"Code":"None"},{"Code":"TransactionConflict"}]}"#,
);

async fn get(app: &App, key: &str) -> Response {
    app.send(Call::new("GET", &format!("{API_KEYS}{key}")))
        .await
}

async fn etag(app: &App, key: &str) -> String {
    get(app, key).await.headers["Etag"]
        .as_str()
        .expect("an ETag")
        .to_owned()
}

fn update(key: &str, config: &Value) -> Call {
    Call::new("PUT", &format!("{API_KEYS}{key}")).json(&json!({ "config": config }))
}

fn delete(key: &str) -> Call {
    Call::new("DELETE", &format!("{API_KEYS}delete/{key}"))
}

fn rotate(key: &str) -> Call {
    Call::new("POST", &format!("{API_KEYS}{key}/rotate")).json(&json!({ "grace_seconds": 60 }))
}

fn if_match(mut call: Call, tags: &str) -> Call {
    call.headers["If-Match"] = tags.into();
    call
}

fn assert_failed(response: &Response) {
    let expected = json!({ "detail": "API key was changed meanwhile" });
    assert_eq!(
        (response.status, response.json()),
        (412, expected),
        "{response:?}"
    );
}

#[tokio::test]
async fn a_key_has_an_etag_that_each_change_replaces() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let mut seen = Vec::new();
    for change in [
        None,
        Some(update(&key, &json!({}))),
        Some(update(&key, &json!({}))),
        Some(rotate(&key)),
    ] {
        if let Some(change) = change {
            assert_eq!(app.send(change).await.status, 200);
        }
        let response = get(&app, &key).await;
        let change_id = app.table.items()[0]["change_id"]["S"]
            .as_str()
            .expect("a text")
            .to_owned();
        assert_eq!(response.headers["Etag"], format!("\"{change_id}\""));
        assert_eq!(response.json()["etag"], response.headers["Etag"]);
        let listed = app
            .send(Call::new("GET", API_KEYS).query("details", true))
            .await;
        assert_eq!(listed.json()[0]["etag"], response.headers["Etag"]);
        assert!(!seen.contains(&change_id), "an ETag came twice");
        seen.push(change_id);
    }
    assert_eq!(
        app.list().await[0].get("etag"),
        None,
        "a list without details is GAIA's"
    );
}

#[tokio::test]
async fn a_change_applies_to_the_key_as_it_was_read() {
    for change in changes() {
        for tags in [
            "{}",
            "W/{}",
            "\"other\", {}",
            " ,\t{} , W/\"other\",",
            "*",
            "\"a,b\",{}",
            "\"\", {}",
            "\"é\", {}",
        ] {
            let app = App::new().await;
            let key = app.create(json!({})).await.api_key();
            let tags = tags.replace("{}", &etag(&app, &key).await);
            let response = app.send(if_match(change.call(&key), &tags)).await;
            assert_eq!(response.status, 200, "{tags}: {response:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_key_that_was_changed_meanwhile_writes_nothing() {
    let table = Table::new().await;
    let api = Lambda::start(table.environment(&[])).await;
    let create = Call::new("POST", API_KEYS).json(&json!({ "config": {} }));
    let key = api.call(create, Format::Http).await.api_key();
    let read = api
        .call(Call::new("GET", &format!("{API_KEYS}{key}")), Format::Http)
        .await;
    let seen = read.headers["Etag"].as_str().expect("an ETag").to_owned();
    assert_eq!(
        api.call(update(&key, &json!({ "enabled": false })), Format::Http)
            .await
            .status,
        200
    );
    let (before, audits) = (table.items(), api.printed().matches("audit").count());
    for tags in [
        &seen,
        &format!("W/{seen}"),
        "\"\"",
        "\"*\"",
        "\"a\", \"b\"",
        &seen.to_lowercase(),
    ] {
        for change in changes().map(|change| change.call(&key)) {
            for format in [Format::Http, Format::Rest] {
                table.proxy.requests();
                assert_failed(&api.call(if_match(change.clone(), tags), format).await);
                assert_eq!(table.proxy.requests(), ["GetItem"]);
            }
        }
    }
    assert_eq!(table.items(), before);
    assert_eq!(
        api.printed().matches("audit").count(),
        audits,
        "{}",
        api.printed()
    );
    assert!(
        !api.printed().contains("request failed"),
        "{}",
        api.printed()
    );
}

#[tokio::test]
async fn any_other_if_match_is_a_422_and_never_ignored() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let before = app.table.items();
    let etag = etag(&app, &key).await;
    let bare = etag.trim_matches('"');
    let unclosed = format!("\"{bare}");
    let two = format!("{etag} {etag}");
    let star = format!("*, {etag}");
    let lower = format!("w/{etag}");
    app.table.proxy.requests();
    for wrong in [
        "",
        " ",
        ",",
        bare,
        &unclosed,
        &two,
        &star,
        "* *",
        "*,*",
        &lower,
        "W/",
        "W/*",
        "\"a b\"",
        "\"a\";\"b\"",
        "''",
    ] {
        for change in changes().map(|change| change.call(&key)) {
            let response = app.send(if_match(change, wrong)).await;
            let detail = json!({
                "loc": ["header", "if-match"],
                "msg": "must be * or a list of ETags, each in double quotes",
                "type": "value_error.if_match",
            });
            assert_eq!(
                (response.status, response.json()),
                (422, json!({ "detail": [detail] })),
                "{wrong:?}"
            );
        }
    }
    assert!(app.table.proxy.requests().is_empty());
    assert_eq!(app.table.items(), before);
}

/// A REST API sends each header twice: its last line, and all lines.
#[tokio::test]
async fn several_lines_of_if_match_are_one_list() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let with = |lines: &[&str]| {
        let mut event = update(&key, &json!({})).event(Format::Rest);
        event["headers"]["If-Match"] = lines[lines.len() - 1].into();
        event["multiValueHeaders"] = json!({ "If-Match": lines });
        event
    };
    for (place, status) in [(0, 200), (1, 200), (2, 412)] {
        let etag = etag(&app, &key).await;
        let mut lines = ["\"other\"", "W/\"another\""];
        if let Some(line) = lines.get_mut(place) {
            *line = &etag;
        }
        assert_eq!(
            app.send_event(with(&lines)).await.status,
            status,
            "{lines:?}"
        );
    }
    assert_eq!(
        app.send_event(with(&["*"])).await.status,
        200,
        "one line isn't two"
    );
    for lines in [["x", "\"a\""], ["\"a\"", "x"], ["*", "\"a\""]] {
        assert_eq!(app.send_event(with(&lines)).await.status, 422, "{lines:?}");
    }
}

#[tokio::test]
async fn the_order_of_answers() {
    let app = App::new().await;
    let key = app.create(json!({ "enabled": false })).await.api_key();
    let long = update(&key, &json!({ "x": "a".repeat(4096) }));
    let gone = app.create(json!({})).await.api_key();
    app.delete(&gone).await;
    let nobody = |call: Call| {
        let mut event = call.event(Format::Http);
        event["requestContext"]["authorizer"] = Value::Null;
        event
    };
    assert_eq!(
        app.send_event(nobody(if_match(delete(&key), "x")))
            .await
            .status,
        401
    );
    assert_eq!(
        app.send(if_match(
            Call::new("PATCH", &format!("{API_KEYS}{key}")),
            "x"
        ))
        .await
        .status,
        405
    );
    assert_eq!(
        app.send(if_match(Call::new("PUT", "/x"), "x")).await.status,
        404
    );
    assert_eq!(app.send(if_match(long.clone(), "x")).await.status, 413);
    assert_eq!(app.send(if_match(long, "\"x\"")).await.status, 413);
    let near_miss = update(&key, &json!({ "expiry": 1 }));
    assert_eq!(app.send(if_match(near_miss, "\"x\"")).await.status, 422);
    for missing in [gone.as_str(), &gone[..31], "nosuchkey"] {
        for change in changes().map(|change| change.call(missing)) {
            assert_eq!(app.send(if_match(change.clone(), "x")).await.status, 422);
            for tags in ["*", "\"x\""] {
                assert_eq!(
                    app.send(if_match(change.clone(), tags)).await.status,
                    404,
                    "{tags}"
                );
            }
        }
    }
    assert_failed(&app.send(if_match(rotate(&key), "\"x\"")).await);
    let conflict = app
        .send(if_match(rotate(&key), &etag(&app, &key).await))
        .await;
    assert_eq!(
        (conflict.status, conflict.json()),
        (409, json!({ "detail": "API key is denied: disabled" }))
    );
}

#[tokio::test]
async fn the_same_idempotency_key_gets_the_same_response_whatever_if_match_says() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let once = |tags: &str| {
        let mut call = if_match(rotate(&key), tags);
        call.headers["Idempotency-Key"] = "once".into();
        call
    };
    let seen = etag(&app, &key).await;
    assert_failed(&app.send(once("\"other\"")).await);
    let first = app.send(once(&seen)).await;
    assert_eq!(
        first.status, 200,
        "a 412 leaves the Idempotency-Key free: {first:?}"
    );
    for tags in [&seen, "\"other\"", "*"] {
        assert_eq!(app.send(once(tags)).await.body, first.body, "{tags}");
    }
    assert_failed(&app.send(if_match(rotate(&key), &seen)).await);

    // The second request looks the record up before the first one is carried out, and reads the key
    // before or after it.
    for slow in [[Fault::None, Fault::Slow], [Fault::None, Fault::None]] {
        let key = app.create(json!({})).await.api_key();
        let seen = etag(&app, &key).await;
        let once = || {
            let mut call = if_match(rotate(&key), &seen);
            call.headers["Idempotency-Key"] = "twice".into();
            call
        };
        app.table.proxy.plan(&[&slow[..], &[Fault::Slow]].concat());
        let later = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            app.send(once()).await
        };
        let (first, second) = tokio::join!(app.send(once()), later);
        assert_eq!(
            (first.status, &first.body),
            (200, &second.body),
            "{second:?}"
        );
    }
}

/// The config after somebody else's change.
const MEANWHILE: &str = r#"{"team":"x"}"#;

/// Somebody else's change between the read and the write: by the service, or by hand, which may
/// leave the `change_id` as it is.
async fn changed_meanwhile(app: &App, change: Call, faults: &[Fault], by_hand: bool) -> Response {
    app.table.proxy.plan(&[&[Fault::None], faults].concat());
    let other = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut item = app.table.items().remove(0);
        if !by_hand {
            item["change_id"]["S"] = ulid::Ulid::generate().to_string().into();
        }
        item["config"]["S"] = MEANWHILE.into();
        app.table.put(item);
    };
    let (response, ()) = tokio::join!(app.send(change), other);
    response
}

#[tokio::test]
async fn with_if_match_a_changed_key_is_never_read_again() {
    for change in changes() {
        for (faults, status) in [
            (&[Fault::Slow][..], 412),
            (&[CONFLICT, CONFLICT, CONFLICT, Fault::Slow], 412),
            (&[Fault::Dropped, Fault::Slow], 503),
            (&[Fault::ServerError, CONFLICT, Fault::Slow], 503),
        ] {
            for (any, by_hand) in [(false, false), (false, true), (true, false)] {
                let app = App::new().await;
                let key = app.create(json!({})).await.api_key();
                let tags = if any {
                    "*".to_owned()
                } else {
                    etag(&app, &key).await
                };
                let write = change.write;
                let change = if_match(change.call(&key), &tags);
                let transaction = write == "TransactWriteItems";
                let conflict = |fault: &Fault| {
                    if transaction && *fault == CONFLICT {
                        CANCELLED
                    } else {
                        *fault
                    }
                };
                let faults: Vec<_> = faults.iter().map(conflict).collect();
                let response = changed_meanwhile(&app, change, &faults, by_hand).await;
                // DynamoDB remembers a transaction: none of its attempts is in doubt.
                let expected = if transaction { 412 } else { status };
                assert_eq!(
                    response.status, expected,
                    "{write}, {faults:?}: {response:?}"
                );
                let items = app.table.items();
                assert_eq!(
                    (items.len(), &items[0]["config"]["S"]),
                    (1, &json!(MEANWHILE))
                );
            }
        }
    }
}

#[tokio::test]
async fn a_lost_response_to_a_change_with_if_match_is_noticed() {
    for change in changes() {
        for fault in [
            Fault::DoneThenDropped,
            Fault::DoneThenServerError,
            Fault::Dropped,
            CONFLICT,
        ] {
            let app = App::new().await;
            let key = app.create(json!({})).await.api_key();
            let write = change.write;
            let change = if_match(change.call(&key), &etag(&app, &key).await);
            let transaction = write == "TransactWriteItems";
            let fault = if transaction && fault == CONFLICT {
                CANCELLED
            } else {
                fault
            };
            app.table.proxy.plan(&[Fault::None, fault]);
            assert_eq!(app.send(change.clone()).await.status, 200, "{fault:?}");
            let again = app.send(change).await.status;
            assert_eq!(
                again,
                if write == "DeleteItem" { 404 } else { 412 },
                "the repeated request after {fault:?}"
            );
        }
    }
}

/// An update may keep a name that the rules for writing reject, if the key that it replaces has it.
#[tokio::test]
async fn an_update_is_checked_against_the_key_that_it_replaces() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let mut item = app.table.items().remove(0);
    item["config"]["S"] = r#"{"revoked":true}"#.into();
    app.table.put(item);
    let change = update(&key, &json!({ "revoked": true }));
    let response = changed_meanwhile(&app, change, &[Fault::Slow], true).await;
    assert_eq!(response.status, 422, "{response:?}");
    assert_eq!(
        app.table.items()[0]["config"]["S"],
        MEANWHILE,
        "nothing was written"
    );
}

/// Only an update replaces the whole config.
#[tokio::test]
async fn without_if_match_a_change_of_some_fields_keeps_what_others_changed_meanwhile() {
    for change in changes() {
        let app = App::new().await;
        let key = app.create(json!({})).await.api_key();
        let call = change.call(&key);
        let whole = call.body.as_deref().is_some_and(|body| {
            let body: Value = serde_json::from_slice(body).expect("JSON");
            body["config"].is_object()
        });
        let response = changed_meanwhile(&app, call, &[Fault::Slow], true).await;
        assert_eq!(response.status, 200, "{response:?}");
        for item in app.table.items() {
            let config = item["config"]["S"].as_str().expect("a config");
            assert_eq!(config.contains("team"), !whole, "{}: {config}", change.name);
        }
    }
}
