//! Each function calls exactly the AWS actions of `tests/template/actions.json`, which the
//! template's tests compare with the roles.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::events;
use crate::kms;
use crate::support::{API_KEYS, App, Call, Format, TIMEOUT, Table};

fn declared(function: &str) -> BTreeSet<String> {
    let actions: Value =
        serde_json::from_str(include_str!("../template/actions.json")).expect("JSON");
    actions[function]
        .as_array()
        .expect("a list")
        .iter()
        .map(|action| action.as_str().expect("text").to_owned())
        .collect()
}

async fn called(table: &Table, kms: &kms::Requests) -> BTreeSet<String> {
    let actions = |(operation, body): (String, String)| match operation.as_str() {
        // IAM asks for the actions of the parts.
        "TransactWriteItems" => {
            let parts = [
                ("\"Put\"", "dynamodb:PutItem"),
                ("\"Update\"", "dynamodb:UpdateItem"),
            ];
            parts
                .into_iter()
                .filter(|(part, _)| body.contains(part))
                .map(|(_, action)| action.to_owned())
                .collect()
        }
        other => vec![format!("dynamodb:{other}")],
    };
    let dynamodb = table
        .proxy
        .operations_and_bodies()
        .into_iter()
        .flat_map(actions);
    // The stand-in for KMS accepts nothing else.
    dynamodb
        .chain((!kms.lock().expect("a lock").is_empty()).then(|| "kms:GenerateMac".to_owned()))
        .collect()
}

#[tokio::test]
async fn each_function_calls_exactly_what_its_role_allows() {
    let response = json!({ "Mac": kms::MAC, "KeyId": kms::KEY_ID });
    let (endpoint, asked) = kms::kms(StatusCode::OK, response.clone()).await;
    let table = Table::new().await;
    let settings = [
        ("ROOT_KEY", ""),
        ("KMS_KEY_ID", kms::KEY_ID),
        ("AWS_ENDPOINT_URL_KMS", endpoint.as_str()),
    ];
    let app = App {
        api: table.api(&settings).await.expect("a start"),
        table,
    };
    let mut once = Call::new("POST", API_KEYS).json(&json!({ "config": {} }));
    once.headers["idempotency-key"] = "a".into();
    assert_eq!(
        (
            app.send(once.clone()).await.status,
            app.send(once).await.status
        ),
        (200, 200)
    );
    for (name, event) in events::requests() {
        let key = app.create(json!({ "permissions": "read" })).await.api_key();
        let response = app.send_event(events::with_key(&event, &key)).await;
        assert_eq!(response.status, 200, "{name}: {response:?}");
    }
    assert_eq!(called(&app.table, &asked).await, declared("api"));

    let (endpoint, asked) = kms::kms(StatusCode::OK, response).await;
    let key = app.create(json!({ "permissions": "read" })).await.api_key();
    app.table.proxy.requests();
    let settings = [
        ("ROOT_KEY", ""),
        ("KMS_KEY_ID", kms::KEY_ID),
        ("AWS_ENDPOINT_URL_KMS", endpoint.as_str()),
    ];
    let authorizer = app.table.authorizer(&settings).await.expect("a start");
    let mut event = Call::new("GET", "/x").event(Format::Http);
    event["routeArn"] =
        "arn:aws:execute-api:eu-central-1:123456789012:abcdefghij/live/GET/x".into();
    event["headers"]["authorization"] = format!("Search {key}").into();
    let response = authorizer
        .handle(
            &RawValue::from_string(event.to_string()).expect("JSON"),
            TIMEOUT,
        )
        .await
        .expect("a response");
    assert_eq!(
        serde_json::to_value(response).expect("JSON")["policyDocument"]["Statement"][0]["Effect"],
        "Allow"
    );
    assert_eq!(called(&app.table, &asked).await, declared("authorizer"));
}
