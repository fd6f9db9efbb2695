//! Failures of DynamoDB, and the callers' responses.

use serde_json::{Value, json};

use crate::events::changes;
use crate::lambda::Lambda;
use crate::protected::{Protected, SHAPES, Visit};
use crate::proxy::{Fault, QUICK};
use crate::support::{API_KEYS, App, Call, Format, Response, Table};

#[tokio::test]
async fn throttled_or_unreachable_is_503_and_later_is_fine() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    for fault in [Fault::Throttled, Fault::ServerError, Fault::Dropped] {
        app.table.proxy.always(fault);
        let responses = [
            app.create(json!({})).await,
            app.update(&key, json!({ "permissions": "read" })).await,
            app.delete(&key).await,
            app.send(Call::new("GET", API_KEYS)).await,
        ];
        for response in responses {
            assert_eq!(
                (response.status, response.json()),
                (503, json!({ "detail": "Service Unavailable" })),
                "{fault:?}"
            );
            assert_eq!(response.headers["Retry-After"], "1");
        }
    }
    app.table.proxy.always(Fault::None);
    assert_eq!(app.list().await, [json!({ "api_key": key, "config": {} })]);
}

#[tokio::test]
async fn anything_else_is_500_and_hides_its_cause() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    app.table.proxy.always(Fault::Denied);
    for response in [
        app.create(json!({})).await,
        app.delete(&key).await,
        app.send(Call::new("GET", API_KEYS)).await,
    ] {
        assert_eq!(
            (response.status, response.json()),
            (500, json!({ "detail": "Internal Server Error" }))
        );
    }
    assert_eq!(app.table.proxy.requests().len(), 4, "a retry wouldn't help");
}

#[tokio::test]
async fn one_fault_is_retried_transparently_and_no_retry_lies() {
    for fault in QUICK {
        for repeated in [1, 2] {
            let app = App::new().await;
            let plan = || app.table.proxy.plan(&[fault].repeat(repeated));
            // An update and a delete read first.
            let plan_write = || {
                app.table
                    .proxy
                    .plan(&[&[Fault::None][..], &[fault].repeat(repeated)].concat())
            };
            plan();
            let created = app
                .create(json!({ "permissions": "read", "expires_at": "2030-01-01T00:00:00Z" }))
                .await;
            assert_eq!(
                created.status, 200,
                "create, {fault:?} {repeated}: {created:?}"
            );
            assert_eq!(app.table.items().len(), 1, "one key, not two");
            let key = created.api_key();
            plan_write();
            assert_eq!(
                app.update(&key, json!({ "permissions": "write" }))
                    .await
                    .status,
                200,
                "update, {fault:?}"
            );
            plan();
            assert_eq!(
                app.list().await,
                [json!({ "api_key": key, "config": { "permissions": "write" } })]
            );
            plan_write();
            assert_eq!(
                app.delete(&key).await.status,
                200,
                "delete, {fault:?} {repeated}"
            );
            assert!(app.table.items().is_empty());
        }
    }
}

/// The SDK stops retrying once too many requests have failed. One client's failures must not count
/// for another.
#[tokio::test]
async fn each_client_has_a_retry_quota_of_its_own() {
    let (troubled, other) = (App::new().await, App::new().await);
    troubled.table.proxy.always(Fault::Dropped);
    let failed = futures_util::future::join_all((0..60).map(|_| troubled.create(json!({})))).await;
    assert!(failed.iter().all(|response| response.status == 503));
    troubled.table.proxy.requests();
    assert_eq!(troubled.create(json!({})).await.status, 503);
    assert_eq!(
        troubled.table.proxy.requests().len(),
        1,
        "its quota is used up"
    );
    other.table.proxy.plan(&[Fault::Dropped]);
    assert_eq!(other.create(json!({})).await.status, 200);
}

#[tokio::test]
async fn a_deleted_key_is_404_even_after_throttling() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    app.delete(&key).await;
    app.table.proxy.plan(&[Fault::Throttled]);
    assert_eq!(app.delete(&key).await.status, 404);
    app.table.proxy.plan(&[Fault::Throttled]);
    assert_eq!(app.update(&key, json!({})).await.status, 404);
}

#[tokio::test]
async fn a_silent_table_ends_each_attempt_after_its_timeout() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    app.table.proxy.plan(&[Fault::None, Fault::DoneThenSilent]);
    assert_eq!(app.delete(&key).await.status, 200);
    app.table.proxy.always(Fault::Silent);
    let start = tokio::time::Instant::now();
    assert_eq!(app.create(json!({})).await.status, 503);
    assert!(start.elapsed().as_secs() < 8, "{:?}", start.elapsed());
}

/// A broken proxy, or a connection without TLS, may hand out the response to another request.
#[tokio::test]
async fn a_response_to_another_request_decides_nothing() {
    let protected = Protected::new(&[]).await;
    let app = &protected.app;
    let (disabled, key) = (
        json!({ "permissions": "write", "enabled": false }),
        json!({ "permissions": "write" }),
    );
    let earlier = app.create(key.clone()).await.api_key();
    let asked = app.create(disabled).await.api_key();
    let later = app.create(key).await.api_key();
    for used in [&earlier, &later] {
        assert!(protected.verifies(used, "write", "192.0.2.1").await);
    }
    let once = |mut call: Call| {
        call.headers["Idempotency-Key"] = "once".into();
        call
    };
    let create = once(Call::new("POST", API_KEYS).json(&json!({ "config": {} })));
    assert_eq!(app.send(create.clone()).await.status, 200);

    let items = app.table.items();
    let item = |partition: &str, key: &str| {
        items
            .iter()
            .find(|item| item["service"]["S"] == partition && item["id"]["S"] == key[5..31])
            .cloned()
    };
    let moved = |item: Option<Value>, service: &str| {
        let mut item = item.expect("an item");
        item["service"]["S"] = service.into();
        item["id"]["S"] = asked[5..31].into();
        item
    };
    // Another key's item, one of another service, and one of another partition.
    let others = [
        item("demo", &later).expect("an item"),
        moved(item("demo", &later), "other"),
        moved(item("demo#use", &later), "demo#use"),
    ];
    let response = |status: u16, body: Value| {
        Fault::Response(status, Box::leak(body.to_string().into_boxed_str()))
    };
    let condition_failed = "x#ConditionalCheckFailedException";
    let on_key = |method: &str, path: &str| Call::new(method, &format!("{API_KEYS}{path}"));
    let list = || Call::new("GET", API_KEYS).query("after", &earlier[..31]);
    let body = json!({ "config": {} });
    let get = on_key("GET", &asked);
    let verify = on_key("POST", "verify").json(&json!({ "api_key": asked }));
    let update = on_key("PUT", &asked).json(&body);
    let delete = on_key("DELETE", &format!("delete/{asked}"));
    let rotate = on_key("POST", &format!("{asked}/rotate")).json(&json!({ "grace_seconds": 60 }));
    let earlier_usage = json!({ "Items": [item("demo#use", &earlier)], "Count": 1 });

    let mut cases = Vec::new();
    for other in others {
        let [got, failed] = [
            json!({ "Item": other }),
            json!({ "__type": condition_failed, "Item": other }),
        ];
        cases.extend(
            [&get, &verify, &update, &delete, &rotate]
                .map(|call| (call.clone(), 0, response(200, got.clone()))),
        );
        cases.extend(
            [&update, &delete].map(|call| (call.clone(), 1, response(400, failed.clone()))),
        );
        // The record of the Idempotency-Key, and the key that it names.
        cases.push((once(rotate.clone()), 0, response(200, got.clone())));
        cases.push((create.clone(), 1, response(200, got.clone())));
        // When the key was used.
        if other["service"]["S"] != "demo#use" {
            cases.push((get.clone(), 1, response(200, got)));
        }
    }
    let record = json!({ "Code": "ConditionalCheckFailed", "Item": item("demo", &later) });
    let cancelled = json!({ "__type": "x#TransactionCanceledException", "CancellationReasons": [{ "Code": "None" }, record] });
    cases.push((create.clone(), 0, response(400, cancelled)));
    for service in ["demo", "other"] {
        let mut other =
            item("demo", if service == "demo" { &earlier } else { &later }).expect("an item");
        other["service"]["S"] = service.into();
        cases.push((
            list(),
            0,
            response(200, json!({ "Items": [other], "Count": 1 })),
        ));
    }
    cases.push((
        get,
        1,
        response(200, json!({ "Item": item("demo#use", &later) })),
    ));
    cases.push((
        list().query("details", true),
        1,
        response(200, earlier_usage),
    ));
    // A response to a read of one item, or to a write, has no list.
    for other in [json!({ "Item": item("demo", &later) }), json!({})] {
        cases.push((list(), 0, response(200, other.clone())));
        cases.push((list().query("details", true), 1, response(200, other)));
    }
    for (call, sound, fault) in cases {
        app.table
            .proxy
            .plan(&[[Fault::None].repeat(sound), vec![fault]].concat());
        let response = app.send(call.clone()).await;
        assert_eq!(
            response.json(),
            json!({ "detail": "Internal Server Error" }),
            "{call:?}, {fault:?}"
        );
        if let Fault::Response(200, _) = fault
            && call.path.ends_with("verify")
        {
            for shape in SHAPES {
                app.table.proxy.plan(&[fault]);
                let visit = Visit::new(&asked, "GET", "/x");
                assert!(
                    protected.response(shape, visit.event(shape)).await.is_err(),
                    "{shape:?}"
                );
            }
        }
    }
    assert_eq!(app.table.items(), items);
}

/// Another transaction, or another Region, works on the same item. None of these was carried out.
const CONFLICTS: [Fault; 2] = [
    Fault::Response(
        400,
        r#"{"__type":"x#TransactionConflictException","message":"m"}"#,
    ),
    Fault::Response(
        400,
        r#"{"__type":"x#ReplicatedWriteConflictException","message":"m"}"#,
    ),
];
const CANCELLED: Fault = Fault::Response(
    400,
    r#"{"__type":"x#TransactionCanceledException","CancellationReasons":[{"Code":"None"},{"Code":"TransactionConflict"}]}"#,
);

#[tokio::test(flavor = "multi_thread")]
async fn a_change_waits_for_a_transaction_on_the_same_key() {
    let table = Table::new().await;
    let api = Lambda::start(table.environment(&[])).await;
    for change in changes() {
        for conflict in CONFLICTS {
            for count in [1, 4] {
                let create = Call::new("POST", API_KEYS).json(&json!({ "config": {} }));
                let key = api.call(create, Format::Http).await.api_key();
                let transaction = change.write == "TransactWriteItems";
                let conflict = if transaction { CANCELLED } else { conflict };
                table.proxy.requests();
                table
                    .proxy
                    .plan(&[&[Fault::None][..], &[conflict].repeat(count)].concat());
                let write = change.write;
                let response = api.call(change.call(&key), Format::Http).await;
                assert_eq!(response.status, 200, "{write}, {conflict:?}: {response:?}");
                let expected = [
                    &["GetItem"],
                    &*[write].repeat(count),
                    &change.operations[1..],
                ];
                assert_eq!(table.proxy.requests(), expected.concat());
            }
        }
    }
    assert!(!api.printed().contains("ERROR"), "{}", api.printed());
}

#[tokio::test]
async fn a_change_ends_after_five_attempts() {
    const CHANGED_IN_TRANSACTION: Fault = Fault::Response(
        400,
        r#"{"__type":"x#TransactionCanceledException","CancellationReasons":[{"Code":"None"},{"Code":"ConditionalCheckFailed"}]}"#,
    );
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let before = app.table.items();
    let mut item = before[0].clone();
    item["change_id"] = json!({ "S": "other" });
    let body = json!({ "__type": "x#ConditionalCheckFailedException", "Item": item }).to_string();
    let changed = Fault::Response(400, Box::leak(body.into_boxed_str()));
    let after_a_read = |fault| [&[Fault::None][..], &[fault; 9]].concat();
    for (write, faults, reads) in [
        ("UpdateItem", after_a_read(changed), 1),
        ("UpdateItem", after_a_read(CONFLICTS[0]), 1),
        ("DeleteItem", after_a_read(changed), 1),
        ("DeleteItem", after_a_read(CONFLICTS[0]), 1),
        (
            "TransactWriteItems",
            [Fault::None, CHANGED_IN_TRANSACTION].repeat(9),
            5,
        ),
        ("TransactWriteItems", after_a_read(CANCELLED), 1),
        (
            "TransactWriteItems",
            [Fault::None, CANCELLED, CHANGED_IN_TRANSACTION].repeat(9),
            3,
        ),
    ] {
        let change = changes().find(|change| change.write == write);
        let change = change.expect("a change").call(&key);
        app.table.proxy.requests();
        app.table.proxy.plan(&faults);
        let began = tokio::time::Instant::now();
        let response: Response = app.send(change).await;
        assert_eq!(
            (response.status, &response.headers["Retry-After"]),
            (503, &json!("1")),
            "{write}, {faults:?}"
        );
        let requests = app.table.proxy.requests();
        let writes = requests
            .iter()
            .filter(|operation| *operation == write)
            .count();
        assert_eq!((writes, requests.len()), (5, 5 + reads), "{faults:?}");
        let pauses = began.elapsed().as_millis();
        assert!(
            (300..3_000).contains(&pauses),
            "{write}: {pauses} ms in all"
        );
        assert_eq!(app.table.items(), before);
    }
}

async fn enable(app: &App, key: &str, enabled: bool) -> Response {
    app.update(key, json!({ "permissions": "read", "enabled": enabled }))
        .await
}

#[tokio::test]
async fn a_late_create_brings_no_deleted_key_back() {
    let app = App::new().await;
    for late in [1, 2] {
        for header in [None, Some("once")] {
            let mut call =
                Call::new("POST", API_KEYS).json(&json!({ "config": { "permissions": "read" } }));
            if let Some(header) = header {
                call.headers["Idempotency-Key"] = format!("{header} {late}").into();
            }
            app.table.proxy.plan(&[Fault::Late].repeat(late));
            let key = app.send(call).await.api_key();
            assert_eq!(app.delete(&key).await.status, 200);
            assert_eq!(app.table.proxy.deliver().await, late);
            assert_eq!(app.list().await, [Value::Null; 0], "{header:?}");
        }
    }
}

#[tokio::test]
async fn a_late_update_enables_no_disabled_key() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    for (late, status) in [(1, 200), (2, 200), (3, 503)] {
        app.table
            .proxy
            .plan(&[&[Fault::None][..], &[Fault::Late].repeat(late)].concat());
        assert_eq!(enable(&app, &key, true).await.status, status);
        assert_eq!(enable(&app, &key, false).await.status, 200);
        assert_eq!(app.table.proxy.deliver().await, late);
        assert_eq!(
            app.list().await[0]["config"]["enabled"],
            false,
            "{late} late attempts"
        );
    }
}

#[tokio::test]
async fn a_late_delete_takes_no_updated_key_away() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    app.table
        .proxy
        .plan(&[Fault::None, Fault::Late, Fault::Late, Fault::Late]);
    assert_eq!(app.delete(&key).await.status, 503);
    assert_eq!(enable(&app, &key, true).await.status, 200);
    assert_eq!(app.table.proxy.deliver().await, 3);
    assert_eq!(
        app.list().await.len(),
        1,
        "what was acknowledged last stays"
    );
    app.table.proxy.plan(&[Fault::None, Fault::Late]);
    assert_eq!(app.delete(&key).await.status, 200);
    assert_eq!(app.table.proxy.deliver().await, 1);
    assert!(app.list().await.is_empty());
}

/// Another change between an attempt whose response was lost and the next attempt.
#[tokio::test]
async fn a_change_by_others_after_a_lost_response_is_noticed() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let replaced = async |change_id: &str| {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let mut item = app.table.items().remove(0);
        item["change_id"]["S"] = change_id.into();
        app.table.put(item);
    };
    app.table
        .proxy
        .plan(&[Fault::None, Fault::DoneThenDropped, Fault::Slow]);
    let (response, ()) = tokio::join!(enable(&app, &key, true), replaced("other"));
    assert_eq!(
        response.status, 503,
        "whether it was carried out can't be known"
    );
    app.table
        .proxy
        .plan(&[Fault::None, Fault::Dropped, Fault::Slow]);
    let (response, ()) = tokio::join!(app.delete(&key), replaced("another"));
    assert_eq!(
        (response.status, app.table.items().len()),
        (200, 0),
        "a delete reads again"
    );
}

#[tokio::test]
async fn a_create_waits_for_a_transaction_with_one_token() {
    const IN_PROGRESS: Fault = Fault::Response(
        400,
        r#"{"__type":"x#TransactionInProgressException","Message":"m"}"#,
    );
    const CONFLICT: Fault = Fault::Response(
        400,
        r#"{"__type":"x#TransactionCanceledException","CancellationReasons":[{"Code":"TransactionConflict"},{"Code":"None"}]}"#,
    );
    let app = App::new().await;
    for faults in [[IN_PROGRESS; 4], [CONFLICT; 4]] {
        app.table.proxy.plan(&faults);
        assert_eq!(app.create(json!({})).await.status, 200);
        let requests = app.table.proxy.operations_and_bodies();
        let token = |body: &str| {
            serde_json::from_str::<Value>(body).expect("JSON")["ClientRequestToken"].clone()
        };
        let tokens: Vec<_> = requests.iter().map(|(_, body)| token(body)).collect();
        assert!(
            tokens.len() == 5
                && tokens[0].is_string()
                && tokens.iter().all(|token| *token == tokens[0])
        );
        app.table.proxy.always(faults[0]);
        assert_eq!(app.create(json!({})).await.status, 503);
        app.table.proxy.always(Fault::None);
        app.table.proxy.requests();
    }
    assert_eq!(app.list().await.len(), 2);
}
