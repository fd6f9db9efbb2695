//! A wrong root key never starts: the item `root_keys` of `<service>#meta`, which names the root
//! keys that may be in use.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::lambda::Lambda;
use crate::protected::{Shape, Visit};
use crate::proxy::{Fault, QUICK};
use crate::support::{API_KEYS, App, Call, Format, ROOT_KEY, Response, Table};

const NEW: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";
/// The `root_key_id`s of `ROOT_KEY`, of [`NEW`] and of 32 bytes 0x11.
const OLD_ID: &str = "053bcb62";
const NEW_ID: &str = "3b4a29f4";
const THIRD_ID: &str = "67c7adf6";

const FUNCTIONS: [&str; 2] = ["api", "authorizer"];

/// The outcome of a start.
async fn start(table: &Table, function: &str, root_keys: &str) -> Result<(), String> {
    let settings = [("ROOT_KEY", root_keys)];
    let started = match function {
        "api" => table.api(&settings).await.map(drop),
        _ => table.authorizer(&settings).await.map(drop),
    };
    started.map_err(|error| error.to_string())
}

/// Checks that a function doesn't start, and returns why.
async fn fails(table: &Table, function: &str, root_keys: &str) -> String {
    start(table, function, root_keys)
        .await
        .expect_err("no start")
}

async fn starts(table: &Table, function: &str, root_keys: &str) {
    start(table, function, root_keys)
        .await
        .unwrap_or_else(|error| panic!("{function}: {error}"));
}

/// The item of a service.
fn item(table: &Table, service: &str) -> Option<Value> {
    let partition = format!("{service}#meta");
    let mut items = table
        .all_items()
        .into_iter()
        .filter(|item| item["service"]["S"] == *partition);
    let item = items.next();
    assert!(items.next().is_none(), "one item");
    item
}

/// The root keys that the item of `demo` names.
fn named(table: &Table) -> Vec<String> {
    let item = item(table, "demo").expect("an item");
    assert_eq!(item["id"]["S"], "root_keys");
    let mut ids: Vec<String> = serde_json::from_value(item["ids"]["SS"].clone()).expect("a set");
    ids.sort();
    ids
}

/// Replaces attributes of the item as an operator does.
fn edit(table: &Table, attributes: Value) {
    let mut item = json!({ "service": { "S": "demo#meta" }, "id": { "S": "root_keys" } });
    for (name, value) in attributes.as_object().expect("attributes") {
        item[name] = value.clone();
    }
    table.put(item);
}

fn in_seconds(seconds: i64) -> Value {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a time");
    let now = i64::try_from(now.as_secs()).expect("a time");
    json!({ "N": (now + seconds).to_string() })
}

/// A table whose root key has been `ROOT_KEY`.
async fn in_use() -> Table {
    let table = Table::new().await;
    starts(&table, "api", ROOT_KEY).await;
    assert_eq!(named(&table), [OLD_ID]);
    table.proxy.requests();
    table
}

#[tokio::test]
async fn the_first_start_on_an_empty_table_names_the_root_key() {
    let table = Table::new().await;
    starts(&table, "api", ROOT_KEY).await;
    let expected = json!({
        "service": { "S": "demo#meta" }, "id": { "S": "root_keys" }, "ids": { "SS": [OLD_ID] },
    });
    assert_eq!(table.all_items(), [expected]);
    let requests = table.proxy.operations_and_bodies();
    let operations: Vec<_> = requests
        .iter()
        .map(|(operation, _)| operation.as_str())
        .collect();
    assert_eq!(operations, ["GetItem", "UpdateItem"]);
    let read: Value = serde_json::from_str(&requests[0].1).expect("JSON");
    assert_eq!(read["ConsistentRead"], true);

    // No more than a read at each further start.
    for function in FUNCTIONS {
        starts(&table, function, ROOT_KEY).await;
        assert_eq!(table.proxy.requests(), ["GetItem"], "{function}");
    }
}

#[tokio::test]
async fn an_authorizer_that_starts_before_the_api_names_nothing() {
    let table = Table::new().await;
    starts(&table, "authorizer", ROOT_KEY).await;
    assert_eq!(table.proxy.requests(), ["GetItem"]);
    assert!(table.all_items().is_empty());
    starts(&table, "api", ROOT_KEY).await;
    starts(&table, "authorizer", ROOT_KEY).await;
    assert_eq!(named(&table), [OLD_ID]);
}

#[tokio::test]
async fn a_table_with_keys_and_no_item_is_adopted() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let keys = app.table.items();
    let adopted = Table::new().await;
    for item in &keys {
        adopted.put(item.clone());
    }
    starts(&adopted, "authorizer", ROOT_KEY).await;
    let api = adopted
        .api(&[("ROOT_KEY", ROOT_KEY)])
        .await
        .expect("a start");
    assert_eq!(
        (named(&adopted), adopted.items()),
        (vec![OLD_ID.into()], keys)
    );
    let app = App {
        api,
        table: adopted,
    };
    assert_eq!(app.list().await, [json!({ "api_key": key, "config": {} })]);
    fails(&app.table, "api", NEW).await;
}

/// As it is when `KmsKeyId` is cleared or mistyped.
#[tokio::test]
async fn another_root_key_does_not_start_and_both_are_named() {
    let table = in_use().await;
    let before = table.all_items();
    let third = "1".repeat(64);
    for function in FUNCTIONS {
        for (root_keys, configured) in [
            (NEW.to_owned(), NEW_ID.to_owned()),
            (format!("{NEW},{third}"), format!("{NEW_ID}, {THIRD_ID}")),
        ] {
            assert_eq!(
                fails(&table, function, &root_keys).await,
                format!(
                    "item root_keys of demo#meta names none of the configured root keys (configured: {configured}; named: {OLD_ID})"
                )
            );
        }
        starts(&table, function, ROOT_KEY).await;
    }
    assert_eq!(table.all_items(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_ends_with_one_entry_that_names_both() {
    let table = in_use().await;
    let before = table.all_items();
    for function in FUNCTIONS {
        let environment = table.environment(&[("ROOT_KEY", NEW), ("FUNCTION", function)]);
        let mut lambda = Lambda::start(environment).await;
        assert_eq!(lambda.ended().await.code(), Some(1));
        let entry: Value = serde_json::from_str(&lambda.printed()).expect("one entry");
        assert_eq!(
            (&entry["level"], &entry["message"]),
            (&json!("ERROR"), &json!("start failed"))
        );
        let error = entry["error"].as_str().expect("an error");
        assert!(error.contains(OLD_ID) && error.contains(NEW_ID), "{error}");
    }
    assert_eq!(table.all_items(), before);
}

/// In a canary deployment, instances of the old and the new version start at the same time.
#[tokio::test]
async fn both_versions_of_each_step_of_a_replacement_start_and_roll_back() {
    let table = in_use().await;
    let (both_old, both_new) = (format!("{ROOT_KEY},{NEW}"), format!("{NEW},{ROOT_KEY}"));
    let both = || vec![OLD_ID.to_owned(), NEW_ID.to_owned()];
    let all_start = async |root_keys: &[&str]| {
        for root_keys in root_keys {
            for function in FUNCTIONS {
                starts(&table, function, root_keys).await;
            }
        }
    };
    // 1. The secondary signs nothing, so it isn't named.
    all_start(&[&both_old, ROOT_KEY, &both_old]).await;
    assert_eq!(named(&table), [OLD_ID]);
    // 2. The authorizer of the new version may be first.
    starts(&table, "authorizer", &both_new).await;
    assert_eq!(named(&table), [OLD_ID]);
    all_start(&[&both_new, &both_old, &both_new]).await;
    assert_eq!(named(&table), both());
    // 3. The new root key alone, a rollback to step 2, and back to the start.
    all_start(&[NEW, &both_new, NEW, &both_old, ROOT_KEY]).await;
    assert_eq!(named(&table), both());
}

#[tokio::test]
async fn a_new_root_key_alone_does_not_start_before_it_was_the_primary() {
    let table = in_use().await;
    let both_old = format!("{ROOT_KEY},{NEW}");
    for function in FUNCTIONS {
        starts(&table, function, &both_old).await;
        fails(&table, function, NEW).await;
    }
    assert_eq!(named(&table), [OLD_ID]);
}

#[tokio::test]
async fn a_retired_root_key_that_comes_back_does_not_start_alone() {
    let table = in_use().await;
    edit(&table, json!({ "ids": { "SS": [NEW_ID] } }));
    for function in FUNCTIONS {
        let error = fails(&table, function, ROOT_KEY).await;
        assert!(error.contains(OLD_ID) && error.contains(NEW_ID), "{error}");
        starts(&table, function, NEW).await;
    }
    assert_eq!(named(&table), [NEW_ID]);
    // Who goes back to it on purpose configures both.
    starts(&table, "api", &format!("{ROOT_KEY},{NEW}")).await;
    assert_eq!(named(&table), [OLD_ID, NEW_ID]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_theft_another_root_key_starts_until_the_time_that_an_operator_set() {
    for function in FUNCTIONS {
        let table = in_use().await;
        for over in [0, -1, -3600] {
            edit(
                &table,
                json!({ "ids": { "SS": [OLD_ID] }, "accept_any_until": in_seconds(over) }),
            );
            fails(&table, function, NEW).await;
        }
        edit(
            &table,
            json!({ "ids": { "SS": [OLD_ID] }, "accept_any_until": in_seconds(3600) }),
        );
        let before = item(&table, "demo").expect("an item");
        let lambda = Lambda::start(table.environment(&[
            ("ROOT_KEY", NEW),
            ("FUNCTION", function),
            ("KEY_HEADER", "x-api-key"),
        ]))
        .await;
        serves(&lambda, function).await;
        let printed = lambda.printed();
        let entry: Value =
            serde_json::from_str(printed.lines().next().expect("an entry")).expect("JSON");
        let [level, message, configured, ids] =
            ["level", "message", "configured", "named"].map(|name| entry[name].clone());
        assert_eq!(
            [level, message, configured, ids],
            ["WARN", "unnamed root keys accepted", NEW_ID, OLD_ID]
        );
        let after = item(&table, "demo").expect("an item");
        assert_eq!(after["accept_any_until"], before["accept_any_until"]);
        if function == "api" {
            // From now on both functions start without it.
            assert_eq!(named(&table), [OLD_ID, NEW_ID]);
            edit(&table, json!({ "ids": { "SS": [OLD_ID, NEW_ID] } }));
            for function in FUNCTIONS {
                starts(&table, function, NEW).await;
            }
        } else {
            assert_eq!(named(&table), [OLD_ID]);
        }
    }
}

/// The function handles a request.
async fn serves(lambda: &Lambda, function: &str) {
    if function == "api" {
        let list = lambda.call(Call::new("GET", API_KEYS), Format::Http).await;
        assert_eq!(list.status, 200, "{}", lambda.printed());
    } else {
        let event = Visit::new("unknown", "GET", "/x").event(Shape::Http1);
        let response = lambda.invoke(&event).await.expect("a response");
        assert_eq!(
            response["policyDocument"]["Statement"][0]["Effect"],
            "Deny",
            "{}",
            lambda.printed()
        );
    }
}

#[tokio::test]
async fn an_item_that_can_t_be_read_stops_the_start_and_is_kept() {
    let named_here = json!({ "SS": [OLD_ID] });
    let far = in_seconds(3600);
    for attributes in [
        json!({ "ids": { "S": OLD_ID } }),
        json!({ "ids": { "L": [{ "S": OLD_ID }] } }),
        json!({ "ids": { "NS": ["5"] } }),
        json!({ "ids": { "NULL": true }, "accept_any_until": far }),
        json!({ "ids": named_here, "accept_any_until": { "S": "2030-01-01T00:00:00Z" } }),
        json!({ "ids": named_here, "accept_any_until": { "N": "0.5" } }),
        json!({ "ids": named_here, "accept_any_until": { "BOOL": true } }),
    ] {
        let table = Table::new().await;
        edit(&table, attributes);
        let before = table.all_items();
        for function in FUNCTIONS {
            assert_eq!(
                fails(&table, function, ROOT_KEY).await,
                format!(
                    "item root_keys of demo#meta can't be read: ids or accept_any_until has another type (configured: {OLD_ID})"
                )
            );
        }
        assert_eq!(table.all_items(), before);
    }
}

/// DynamoDB removes a set with its last element.
#[tokio::test]
async fn an_item_without_root_keys_names_none() {
    let table = Table::new().await;
    edit(&table, json!({}));
    for function in FUNCTIONS {
        let error = fails(&table, function, ROOT_KEY).await;
        assert!(error.ends_with("named: none)"), "{error}");
    }
    edit(&table, json!({ "accept_any_until": in_seconds(3600) }));
    for function in FUNCTIONS {
        starts(&table, function, ROOT_KEY).await;
    }
    assert_eq!(named(&table), [OLD_ID]);
}

#[tokio::test]
async fn an_item_of_another_request_stops_the_start() {
    let table = in_use().await;
    let mut other = item(&table, "demo").expect("an item");
    other["service"]["S"] = "other#meta".into();
    let body = json!({ "Item": other }).to_string();
    let fault = Fault::Response(200, Box::leak(body.into_boxed_str()));
    for function in FUNCTIONS {
        table.proxy.plan(&[fault]);
        let error = fails(&table, function, ROOT_KEY).await;
        assert!(error.contains("another item"), "{error}");
    }
}

#[tokio::test]
async fn a_start_without_access_fails_and_names_the_configured_root_keys() {
    let table = in_use().await;
    let before = table.all_items();
    for function in FUNCTIONS {
        table.proxy.plan(&[Fault::Denied]);
        let error = fails(&table, function, &format!("{ROOT_KEY},{NEW}")).await;
        assert!(
            error.starts_with(
                "item root_keys of demo#meta can't be read: HTTP 400: AccessDeniedException"
            ) && error.ends_with(&format!("(configured: {OLD_ID}, {NEW_ID})")),
            "{error}"
        );
    }
    assert_eq!(table.all_items(), before);
}

/// An outage of DynamoDB must not keep functions from starting. They then change nothing.
#[tokio::test]
async fn a_start_goes_on_if_dynamodb_is_throttled_or_out_of_reach() {
    const LIMIT: Fault = Fault::Response(
        400,
        r#"{"__type":"x#RequestLimitExceeded","message":"injected"}"#,
    );
    let faults = [
        Fault::Throttled,
        LIMIT,
        Fault::ServerError,
        Fault::Dropped,
        Fault::HalfResponse,
        Fault::Silent,
    ];
    let mut all = Vec::new();
    for fault in faults {
        for function in FUNCTIONS {
            all.extend([ROOT_KEY, NEW].map(|root_keys| async move {
                let table = in_use().await;
                let before = table.all_items();
                table.proxy.always(fault);
                let began = Instant::now();
                starts(&table, function, root_keys).await;
                assert!(began.elapsed() < Duration::from_secs(8), "{fault:?}");
                let operations = table.proxy.requests();
                assert!(operations.iter().all(|operation| operation == "GetItem"));
                assert_eq!(table.all_items(), before, "{fault:?}");
            }));
        }
    }
    futures_util::future::join_all(all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_could_not_read_the_item_says_so_and_serves() {
    let table = in_use().await;
    for function in FUNCTIONS {
        table.proxy.plan(&[Fault::Throttled; 3]);
        let environment = [("FUNCTION", function), ("KEY_HEADER", "x-api-key")];
        let lambda = Lambda::start(table.environment(&environment)).await;
        serves(&lambda, function).await;
        let printed = lambda.printed();
        let entry: Value =
            serde_json::from_str(printed.lines().next().expect("an entry")).expect("JSON");
        assert_eq!(
            (&entry["level"], &entry["message"], &entry["configured"]),
            (
                &json!("WARN"),
                &json!("root keys not checked"),
                &json!(OLD_ID)
            )
        );
        assert!(
            entry["error"]
                .as_str()
                .is_some_and(|error| error.contains("ProvisionedThroughputExceededException")),
            "{printed}"
        );
    }
}

#[tokio::test]
async fn a_lost_response_to_the_write_adds_the_root_key_once() {
    for fault in QUICK {
        let table = Table::new().await;
        table.proxy.plan(&[Fault::None, fault]);
        starts(&table, "api", ROOT_KEY).await;
        assert_eq!(named(&table), [OLD_ID], "{fault:?}");
    }
}

/// Nobody must sign with a root key that isn't named.
#[tokio::test]
async fn a_start_fails_within_two_seconds_if_its_root_key_can_t_be_added() {
    let faults = [
        (Fault::Denied, "AccessDeniedException", 0),
        (
            Fault::Throttled,
            "ProvisionedThroughputExceededException",
            0,
        ),
        (Fault::Silent, "no response within 2 s", 0),
        // It was added all the same, and the next start finds it.
        (Fault::DoneThenSilent, "no response within 2 s", 1),
    ];
    let starts = faults.map(|(fault, reason, items)| async move {
        let table = Table::new().await;
        table
            .proxy
            .plan(&[&[Fault::None][..], &[fault; 3]].concat());
        let began = Instant::now();
        let error = fails(&table, "api", ROOT_KEY).await;
        assert!(began.elapsed() < Duration::from_secs(3), "{fault:?}");
        assert!(
            error.starts_with(&format!(
                "item root_keys of demo#meta: root key {OLD_ID} can't be added: "
            )) && error.contains(reason),
            "{error}"
        );
        assert_eq!(table.all_items().len(), items, "{fault:?}");
        table.proxy.plan(&[]);
        starts(&table, "api", ROOT_KEY).await;
        assert_eq!(named(&table), [OLD_ID]);
    });
    futures_util::future::join_all(starts).await;
}

#[tokio::test]
async fn a_late_write_undoes_nothing() {
    let table = in_use().await;
    table.proxy.plan(&[Fault::None, Fault::Late]);
    starts(&table, "api", &format!("{NEW},{ROOT_KEY}")).await;
    edit(&table, json!({ "ids": { "SS": [NEW_ID, THIRD_ID] } }));
    assert_eq!(table.proxy.deliver().await, 1);
    assert_eq!(named(&table), [NEW_ID, THIRD_ID]);
}

#[tokio::test]
async fn two_services_in_one_table_have_an_item_each() {
    let table = in_use().await;
    let before = item(&table, "demo");
    let other = [("SERVICE_NAME", "other"), ("ROOT_KEY", NEW)];
    table.authorizer(&other).await.expect("a start");
    table.api(&other).await.expect("a start");
    assert_eq!(item(&table, "demo"), before);
    assert_eq!(
        item(&table, "other").expect("an item")["ids"],
        json!({ "SS": [NEW_ID] })
    );
    for function in FUNCTIONS {
        fails(&table, function, NEW).await;
    }
    let wrong = [("SERVICE_NAME", "other"), ("ROOT_KEY", ROOT_KEY)];
    table.api(&wrong).await.expect_err("no start");
    table.authorizer(&wrong).await.expect_err("no start");
}

/// The item isn't a key: no endpoint shows or changes it.
#[tokio::test]
async fn no_endpoint_reaches_the_item() {
    let app = App::new().await;
    let before = item(&app.table, "demo").expect("an item");
    assert!(app.list().await.is_empty());
    for path in ["root_keys", "gaia_root_keys", "demo%23meta"] {
        let response: Response = app
            .send(Call::new("GET", &format!("{API_KEYS}{path}")))
            .await;
        assert_eq!(response.status, 404);
        assert_eq!(app.delete(path).await.status, 404);
    }
    assert_eq!(item(&app.table, "demo"), Some(before));
}
