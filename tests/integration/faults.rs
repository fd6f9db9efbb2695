//! Every operation under every fault between the function and DynamoDB.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::events;
use crate::protected::{Protected, Shape, Visit, lets_in};
use crate::proxy::Fault;
use crate::support::{API_KEYS, App, Call};

const OPERATIONS: [&str; 9] = [
    "create",
    "create, Idempotency-Key",
    "rotate, Idempotency-Key",
    "update",
    "delete",
    "get",
    "list",
    "verify",
    "authorize",
];

/// Those, and the endpoints that aren't among them, by the names of their sample events.
fn operations() -> Vec<String> {
    let mut operations: Vec<_> = OPERATIONS.map(str::to_owned).into();
    let named = |name: &str| {
        OPERATIONS
            .iter()
            .any(|operation| operation.split(',').next() == Some(name))
    };
    let names = events::requests().into_iter().map(|(name, _)| name);
    operations.extend(names.filter(|name| !named(name) && name != "list-details"));
    operations
}

const FAULTS: [Fault; 10] = [
    Fault::Throttled,
    Fault::ServerError,
    Fault::Dropped,
    Fault::DoneThenDropped,
    Fault::DoneThenServerError,
    Fault::HalfResponse,
    Fault::Silent,
    Fault::DoneThenSilent,
    Fault::Slow,
    Fault::Late,
];

/// What a caller gets: a status, and for the authorizer the one that its gateway would respond
/// with.
struct Outcome {
    status: u64,
    /// Whether a key was allowed or valid.
    allowed: bool,
}

async fn ask(protected: &Protected, operation: &str, key: &str) -> Outcome {
    if operation == "authorize" {
        let visit = Visit::new(key, "GET", "/x");
        let response = protected
            .response(Shape::Http2, visit.event(Shape::Http2))
            .await;
        let allowed = response
            .as_ref()
            .is_ok_and(|response| lets_in(response, &visit));
        return Outcome {
            status: if response.is_ok() { 200 } else { 500 },
            allowed,
        };
    }
    if !OPERATIONS.contains(&operation) {
        let mut requests = events::requests().into_iter();
        let (_, event) = requests
            .find(|(name, _)| name == operation)
            .expect("an event");
        let response = protected.app.send_event(events::with_key(&event, key));
        return Outcome {
            status: response.await.status,
            allowed: false,
        };
    }
    let body = json!({ "config": { "permissions": "write" } });
    let mut call = match operation {
        "create" | "create, Idempotency-Key" => Call::new("POST", API_KEYS).json(&body),
        "rotate, Idempotency-Key" => Call::new("POST", &format!("{API_KEYS}{key}/rotate"))
            .json(&json!({ "grace_seconds": 3600 })),
        "get" => Call::new("GET", &format!("{API_KEYS}{key}")),
        "update" => Call::new("PUT", &format!("{API_KEYS}{key}")).json(&body),
        "delete" => Call::new("DELETE", &format!("{API_KEYS}delete/{key}")),
        "list" => Call::new("GET", API_KEYS),
        _ => Call::new("POST", &format!("{API_KEYS}verify"))
            .json(&json!({ "api_key": key, "permission": "read" })),
    };
    if operation.ends_with("Idempotency-Key") {
        call.headers["Idempotency-Key"] = "once".into();
    }
    let response = protected.app.send(call).await;
    let allowed = response.body.contains(r#""valid":true"#);
    Outcome {
        status: response.status,
        allowed,
    }
}

/// The status if only the first attempt meets the fault; if all attempts meet it, the status and
/// that of the caller's next try. A change of a key reads first: these are its write's, and its
/// read is like any other.
async fn case(operation: &str, fault: Fault) -> [u64; 3] {
    // How many reads come before the write.
    let reads = match operation {
        "update" | "delete" => 1,
        "rotate, Idempotency-Key" => 2,
        _ => return through(operation, fault, 0).await,
    };
    let read = through(operation, fault, reads - 1).await;
    let expected = match (fault, operation) {
        (Fault::Slow, "delete") => [200, 200, 404],
        (Fault::Slow, _) => [200, 200, 200],
        _ => [200, 503, 200],
    };
    assert_eq!(read, expected, "the read of {operation}, {fault:?}");
    through(operation, fault, reads).await
}

/// The same, if the fault meets the request to DynamoDB that follows `sound` requests without one.
async fn through(operation: &str, fault: Fault, sound: usize) -> [u64; 3] {
    let mut statuses = [0; 3];
    for lasting in [false, true] {
        let protected = Protected::new(&[]).await;
        let app = &protected.app;
        let key = app.create(json!({ "permissions": "read" })).await.api_key();
        let before = app.table.items();
        let faults = [fault].repeat(if lasting { 3 } else { 1 });
        app.table
            .proxy
            .plan(&[[Fault::None].repeat(sound), faults].concat());
        let began = Instant::now();
        let outcome = ask(&protected, operation, &key).await;
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "{operation}, {fault:?}: {:?}",
            began.elapsed()
        );
        let (after, failed) = (app.table.items(), outcome.status != 200);
        assert!(
            !(failed && outcome.allowed),
            "{operation}, {fault:?}: an error was treated as an allow"
        );

        // An acknowledged write is there. One that isn't acknowledged is there completely or not at
        // all.
        let is_key = |item: &&Value| item["service"]["S"] == "demo";
        let keys = |items: &[Value]| items.iter().filter(is_key).count();
        // What another endpoint makes of a config isn't known here.
        let known = OPERATIONS.contains(&operation);
        let whole = |item: &Value| {
            item["root_key_id"]["S"] == "053bcb62"
                && item["config"]["S"].as_str().is_some_and(|text| {
                    !known
                        || text.starts_with(r#"{"permissions":"read""#)
                        || text == r#"{"permissions":"write"}"#
                })
        };
        assert!(
            after.iter().filter(is_key).all(whole),
            "{operation}, {fault:?}: {after:?}"
        );
        match operation {
            "create" | "create, Idempotency-Key" | "rotate, Idempotency-Key" => {
                let created = keys(&after) - keys(&before);
                assert!(
                    if failed { created <= 1 } else { created == 1 },
                    "{operation}, {fault:?}: {created} keys created"
                );
            }
            "update" => assert!(
                failed || after[0]["config"]["S"] == r#"{"permissions":"write"}"#,
                "{fault:?}"
            ),
            "delete" => assert!(failed || after.is_empty(), "{fault:?}"),
            // A check may record the key's use.
            "get" | "list" | "verify" | "authorize" => assert_eq!(
                after.iter().filter(is_key).collect::<Vec<_>>(),
                before.iter().collect::<Vec<_>>()
            ),
            _ => {}
        }
        if !lasting {
            assert!(
                !failed,
                "{operation}, {fault:?}: one fault is retried transparently; requests: {:?}",
                app.table.proxy.requests()
            );
            statuses[0] = outcome.status;
            undone_by_no_late_attempt(app).await;
            continue;
        }
        app.table.proxy.always(Fault::None);
        let again = ask(&protected, operation, &key).await;
        let gone = operation == "delete" && again.status == 404;
        assert!(
            again.status == 200 || gone,
            "{operation}, {fault:?}: the second try got {}",
            again.status
        );
        assert!(!gone || app.table.items().is_empty());
        if operation.ends_with("Idempotency-Key") {
            assert_eq!(
                keys(&app.table.items()),
                2,
                "{fault:?}: one key per Idempotency-Key"
            );
        }
        statuses[1..].copy_from_slice(&[outcome.status, again.status]);
        undone_by_no_late_attempt(app).await;
    }
    statuses
}

/// What is acknowledged by now, and another change after it, stay when late attempts are carried
/// out. Only a create without `Idempotency-Key` that wasn't acknowledged may still appear.
async fn undone_by_no_late_attempt(app: &App) {
    let keys = |list: &[Value]| -> Vec<Value> {
        list.iter().map(|entry| entry["api_key"].clone()).collect()
    };
    let before = keys(&app.list().await);
    for key in &before {
        let key = key.as_str().expect("a key");
        assert_eq!(
            app.update(key, json!({ "permissions": "write", "enabled": false }))
                .await
                .status,
            200
        );
    }
    let late = app.table.proxy.deliver().await;
    let after = app.list().await;
    let disabled = |key: &Value| {
        after
            .iter()
            .any(|e| e["api_key"] == *key && e["config"]["enabled"] == false)
    };
    assert!(
        before.iter().all(disabled),
        "{late} late attempts: {after:?}"
    );
    assert!(
        after.len() <= before.len() + usize::from(late == 3),
        "{late} late attempts: {after:?}"
    );
}

/// Whether DynamoDB carries a request out that meets the fault.
fn applies(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::DoneThenDropped
            | Fault::DoneThenServerError
            | Fault::HalfResponse
            | Fault::DoneThenSilent
            | Fault::Slow
    )
}

#[tokio::test]
async fn every_operation_under_every_fault() {
    let operations = operations();
    for fault in FAULTS {
        for operation in &operations {
            let failed = match operation.as_str() {
                _ if fault == Fault::Slow => 200,
                "authorize" => 500,
                _ => 503,
            };
            // The next try finds that the key is gone.
            let again = if operation == "delete" && applies(fault) {
                404
            } else {
                200
            };
            assert_eq!(
                case(operation, fault).await,
                [200, failed, again],
                "{operation}, {fault:?}"
            );
        }
    }
}
