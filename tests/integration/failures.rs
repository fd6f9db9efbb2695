//! Failures of DynamoDB, and the callers' responses.

use serde_json::json;

use crate::proxy::{Fault, QUICK};
use crate::support::{API_KEYS, App, Call};

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
    for response in [app.create(json!({})).await, app.delete(&key).await, app.send(Call::new("GET", API_KEYS)).await] {
        assert_eq!((response.status, response.json()), (500, json!({ "detail": "Internal Server Error" })));
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
            let plan_write = || app.table.proxy.plan(&[&[Fault::None][..], &[fault].repeat(repeated)].concat());
            plan();
            let created = app.create(json!({ "permissions": "read", "expires_at": "2030-01-01T00:00:00Z" })).await;
            assert_eq!(created.status, 200, "create, {fault:?} {repeated}: {created:?}");
            assert_eq!(app.table.items().len(), 1, "one key, not two");
            let key = created.api_key();
            plan_write();
            assert_eq!(app.update(&key, json!({ "permissions": "write" })).await.status, 200, "update, {fault:?}");
            plan();
            assert_eq!(app.list().await, [json!({ "api_key": key, "config": { "permissions": "write" } })]);
            plan_write();
            assert_eq!(app.delete(&key).await.status, 200, "delete, {fault:?} {repeated}");
            assert!(app.table.items().is_empty());
        }
    }
}

/// The SDK stops retrying once too many requests have failed. One client's failures must not count for another.
#[tokio::test]
async fn each_client_has_a_retry_quota_of_its_own() {
    let (troubled, other) = (App::new().await, App::new().await);
    troubled.table.proxy.always(Fault::Dropped);
    let failed = futures_util::future::join_all((0..60).map(|_| troubled.create(json!({})))).await;
    assert!(failed.iter().all(|response| response.status == 503));
    troubled.table.proxy.requests();
    assert_eq!(troubled.create(json!({})).await.status, 503);
    assert_eq!(troubled.table.proxy.requests().len(), 1, "its quota is used up");
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
    let start = std::time::Instant::now();
    assert_eq!(app.create(json!({})).await.status, 503);
    assert!(start.elapsed().as_secs() < 8, "{:?}", start.elapsed());
}
