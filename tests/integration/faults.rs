//! Every operation through every fault: a table, which docs/reliability.md holds.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Value, json};

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

const FAULTS: [(Fault, &str); 10] = [
    (Fault::Throttled, "throttled"),
    (Fault::ServerError, "500"),
    (Fault::Dropped, "connection reset"),
    (Fault::DoneThenDropped, "applied, then reset"),
    (Fault::DoneThenServerError, "applied, then 500"),
    (Fault::HalfAnswered, "applied, half a response"),
    (Fault::Silent, "no response"),
    (Fault::DoneThenSilent, "applied, no response"),
    (Fault::Slow, "late response"),
    (Fault::Late, "reset, applied much later"),
];

/// What a caller got: a status, and for the authorizer the one that its gateway would answer.
struct Outcome {
    status: u64,
    /// Whether a key was said to be good.
    opened: bool,
}

async fn ask(protected: &Protected, operation: &str, key: &str) -> Outcome {
    if operation == "authorize" {
        let visit = Visit::new(key, "GET", "/x");
        let answer = protected.answer(Shape::Http2, visit.event(Shape::Http2)).await;
        let opened = answer.as_ref().is_ok_and(|answer| lets_in(answer, &visit));
        return Outcome { status: if answer.is_ok() { 200 } else { 500 }, opened };
    }
    let body = json!({ "config": { "permissions": "write" } });
    let mut call = match operation {
        "create" | "create, Idempotency-Key" => Call::new("POST", API_KEYS).json(&body),
        "rotate, Idempotency-Key" => {
            Call::new("POST", &format!("{API_KEYS}{key}/rotate")).json(&json!({ "grace_seconds": 3600 }))
        }
        "get" => Call::new("GET", &format!("{API_KEYS}{key}")),
        "update" => Call::new("PUT", &format!("{API_KEYS}{key}")).json(&body),
        "delete" => Call::new("DELETE", &format!("{API_KEYS}delete/{key}")),
        "list" => Call::new("GET", API_KEYS),
        _ => Call::new("POST", &format!("{API_KEYS}verify")).json(&json!({ "api_key": key, "permission": "read" })),
    };
    if operation.ends_with("Idempotency-Key") {
        call.headers["Idempotency-Key"] = "once".into();
    }
    let answer = protected.app.send(call).await;
    let opened = answer.body.contains(r#""valid":true"#);
    Outcome { status: answer.status, opened }
}

/// One cell: the answer through one fault, and through one that stays for all attempts, with that of the second try. A change of
/// a key reads first; the table has its write, and its read does as well as any other.
async fn cell(operation: &str, fault: Fault) -> String {
    // The write comes after so many reads.
    let reads = match operation {
        "update" | "delete" => 1,
        "rotate, Idempotency-Key" => 2,
        _ => return through(operation, fault, 0).await,
    };
    let read = through(operation, fault, reads - 1).await;
    let expected = match (fault, operation) {
        (Fault::Slow, "delete") => "200; 200, then 404",
        (Fault::Slow, _) => "200; 200, then 200",
        _ => "200; 503, then 200",
    };
    assert_eq!(read, expected, "the read of {operation}, {fault:?}");
    through(operation, fault, reads).await
}

/// The same of the request that comes after `sound` others.
async fn through(operation: &str, fault: Fault, sound: usize) -> String {
    let mut answers = Vec::new();
    for lasting in [false, true] {
        let protected = Protected::new(&[]).await;
        let app = &protected.app;
        let key = app.create(json!({ "permissions": "read" })).await.api_key();
        let before = app.table.items();
        let faults = [fault].repeat(if lasting { 3 } else { 1 });
        app.table.proxy.plan(&[[Fault::None].repeat(sound), faults].concat());
        let began = Instant::now();
        let outcome = ask(&protected, operation, &key).await;
        assert!(began.elapsed() < Duration::from_secs(8), "{operation}, {fault:?}: {:?}", began.elapsed());
        let (after, failed) = (app.table.items(), outcome.status != 200);
        assert!(!(failed && outcome.opened), "{operation}, {fault:?}: an answer that is none opened something");

        // Acknowledged: it is there. Not acknowledged: it is there whole, or not at all.
        let is_key = |item: &&Value| item["service"]["S"] == "demo";
        let keys = |items: &[Value]| items.iter().filter(is_key).count();
        let whole = |item: &Value| {
            item["root_key_id"]["S"] == "053bcb62"
                && item["config"]["S"].as_str().is_some_and(|text| {
                    text.starts_with(r#"{"permissions":"read""#) || text == r#"{"permissions":"write"}"#
                })
        };
        assert!(after.iter().filter(is_key).all(whole), "{operation}, {fault:?}: {after:?}");
        match operation {
            "create" | "create, Idempotency-Key" | "rotate, Idempotency-Key" => {
                let made = keys(&after) - keys(&before);
                assert!(if failed { made <= 1 } else { made == 1 }, "{operation}, {fault:?}: {made} keys made");
            }
            "update" => assert!(failed || after[0]["config"]["S"] == r#"{"permissions":"write"}"#, "{fault:?}"),
            "delete" => assert!(failed || after.is_empty(), "{fault:?}"),
            // A check may record that it was.
            _ => assert_eq!(after.iter().filter(is_key).collect::<Vec<_>>(), before.iter().collect::<Vec<_>>()),
        }
        if !lasting {
            assert!(
                !failed,
                "{operation}, {fault:?}: one fault is healed unseen; asked {:?}",
                app.table.proxy.requests()
            );
            answers.push(outcome.status.to_string());
            undone_by_no_late_attempt(app).await;
            continue;
        }
        app.table.proxy.always(Fault::None);
        let again = ask(&protected, operation, &key).await;
        let gone = operation == "delete" && again.status == 404;
        assert!(again.status == 200 || gone, "{operation}, {fault:?}: the second try got {}", again.status);
        assert!(!gone || app.table.items().is_empty());
        if operation.ends_with("Idempotency-Key") {
            assert_eq!(keys(&app.table.items()), 2, "{fault:?}: one key a claim");
        }
        answers.push(format!("{}, then {}", outcome.status, again.status));
        undone_by_no_late_attempt(app).await;
    }
    answers.join("; ")
}

/// What is acknowledged by now, and another change after it, stay when late attempts are carried out. Only a create that
/// nobody was told of, and that has no `Idempotency-Key`, may still come.
async fn undone_by_no_late_attempt(app: &App) {
    let keys = |list: &[Value]| -> Vec<Value> { list.iter().map(|entry| entry["api_key"].clone()).collect() };
    let before = keys(&app.list().await);
    for key in &before {
        let key = key.as_str().expect("a key");
        assert_eq!(app.update(key, json!({ "permissions": "write", "enabled": false })).await.status, 200);
    }
    let late = app.table.proxy.deliver().await;
    let after = app.list().await;
    let disabled = |key: &Value| after.iter().any(|e| e["api_key"] == *key && e["config"]["enabled"] == false);
    assert!(before.iter().all(disabled), "{late} late attempts: {after:?}");
    assert!(after.len() <= before.len() + usize::from(late == 3), "{late} late attempts: {after:?}");
}

#[tokio::test]
async fn every_operation_through_every_fault() {
    let cells =
        FAULTS.iter().flat_map(|(fault, _)| OPERATIONS.iter().map(|operation| Box::pin(cell(operation, *fault))));
    // A few at a time: waiting costs nothing, but a machine that is out of breath makes faults of its own.
    let cells: Vec<_> = futures_util::stream::iter(cells).buffered(16).collect().await;
    let mut table = format!("| Fault | {} |\n|---|{}\n", OPERATIONS.join(" | "), "---|".repeat(OPERATIONS.len()));
    for ((_, name), row) in FAULTS.iter().zip(cells.chunks(OPERATIONS.len())) {
        table.push_str(&format!("| {name} | {} |\n", row.join(" | ")));
    }
    println!("{table}");
    let document = include_str!("../../docs/reliability.md");
    assert!(document.contains(&table), "docs/reliability.md holds another table than\n{table}");
    assert_eq!(document.matches("| throttled |").count(), 1, "docs/reliability.md holds two tables");
}
