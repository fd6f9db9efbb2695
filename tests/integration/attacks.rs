//! What attackers of the service found, under the names of the issue that lists it. Each fails without its fix.

use axum::http::StatusCode;
use gaia_api_keys::start;
use serde_json::{Value, json};

use crate::kms::{self, KEY_ID, MAC};
use crate::lambda::Lambda;
use crate::proxy::Fault;
use crate::support::{API_KEYS, Answer, App, Call, Format, Table};

/// Stands in a config, and must stand in no log.
const MARKER: &str = "a-text-that-only-the-config-holds";
const KMS_ANSWER: &str =
    r#"{"Mac":"y1vhfTWaG98Z35/sW4OiQzSS65pzHlEd0kdGjiIFXig=","MacAlgorithm":"HMAC_SHA_256","KeyId":"k"}"#;

/// Whether any eight characters of a secret in a row stand in a text.
fn shows(text: &str, secret: &str) -> bool {
    secret.as_bytes().windows(8).any(|part| text.contains(std::str::from_utf8(part).expect("ASCII")))
}

// A. Secrets

#[tokio::test]
async fn a1_no_cut_answer_of_kms_is_repeated() {
    let table = Table::new().await;
    for length in 0..KMS_ANSWER.len() {
        let (endpoint, _) = kms::kms(StatusCode::OK, &KMS_ANSWER[..length]).await;
        let settings = [("MASTER_KEY", ""), ("KMS_KEY_ID", KEY_ID), ("AWS_ENDPOINT_URL_KMS", &endpoint)];
        let error = start::api(&table.settings(&settings)).await.expect_err("no start").to_string();
        assert!(error.starts_with("KMS_KEY_ID") && !shows(&error, MAC), "{length}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_whatever_kms_answers_no_mac_is_logged() {
    let table = Table::new().await;
    let cut = &KMS_ANSWER[..KMS_ANSWER.len() - 1];
    let number = KMS_ANSWER.replace(r#""HMAC_SHA_256""#, "7");
    let answers = [
        (StatusCode::OK, cut.to_owned()),
        (StatusCode::OK, number),
        (StatusCode::OK, KMS_ANSWER.replace("\"k\"", "[]")),
        (StatusCode::OK, KMS_ANSWER.replace("Xig=", "Xig=!")),
        (StatusCode::OK, format!("{KMS_ANSWER}{KMS_ANSWER}")),
        (StatusCode::OK, format!("\"{MAC}\"")),
        (StatusCode::OK, MAC.to_owned()),
        (StatusCode::OK, json!({ "Mac": [MAC] }).to_string()),
        (StatusCode::OK, json!({ "Mac": { "x": MAC } }).to_string()),
        (StatusCode::OK, json!({ "Mac": format!("{MAC}{MAC}") }).to_string()),
        (StatusCode::FOUND, KMS_ANSWER.to_owned()),
        (StatusCode::BAD_REQUEST, KMS_ANSWER.to_owned()),
        (StatusCode::BAD_REQUEST, json!({ "__type": 7, "Mac": MAC }).to_string()),
        (StatusCode::BAD_REQUEST, json!({ "__type": "DisabledException", "message": { "Mac": MAC } }).to_string()),
        (StatusCode::FORBIDDEN, format!("<html>{MAC}</html>")),
        (StatusCode::INTERNAL_SERVER_ERROR, json!({ "__type": "KMSInternalException", "Mac": MAC }).to_string()),
    ];
    for (status, body) in answers {
        let (endpoint, _) = kms::kms(status, &body).await;
        let loud = [("AWS_LAMBDA_LOG_LEVEL", "TRACE"), ("RUST_LOG", "trace")];
        let settings = [("MASTER_KEY", ""), ("KMS_KEY_ID", KEY_ID), ("AWS_ENDPOINT_URL_KMS", &endpoint)];
        let mut lambda = Lambda::start(table.environment(&[&loud[..], &settings].concat())).await;
        lambda.ended().await;
        let printed = lambda.printed();
        assert!(printed.contains("KMS_KEY_ID") && !shows(&printed, MAC), "{status} {body}: {printed}");
    }
}

/// One request of each endpoint and a check, with a key that exists.
fn requests(key: &str) -> Vec<Call> {
    let body = json!({ "config": { "x": MARKER } });
    let mut once = Call::new("POST", API_KEYS).json(&body);
    once.headers["idempotency-key"] = "a".into();
    vec![
        Call::new("POST", API_KEYS).json(&body),
        once,
        Call::new("PUT", &format!("{API_KEYS}{key}")).json(&body),
        Call::new("DELETE", &format!("{API_KEYS}delete/{key}")),
        Call::new("GET", API_KEYS),
        Call::new("POST", &format!("{API_KEYS}verify")).json(&json!({ "api_key": key })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_whatever_the_table_answers_no_config_and_no_key_is_logged() {
    const ANSWERS: [(u16, &str); 11] = [
        (
            200,
            r#"{"Items":[{"id":{"S":"01ARZ3NDEKTSV4RRFFQ69G5FAV"},"config":{"S":"{\"x\":\"a-text-that-only-the-config-holds\"}"}"#,
        ),
        (200, r#"{"Items":[{"config":{"S":7,"x":"a-text-that-only-the-config-holds"}}],"Item":7}"#),
        (200, r#"{"Item":{"config":{"S":"a-text-that-only-the-config-holds"}},"Items":{}"#),
        (200, r#"{"Item":{"config":{"X":"a-text-that-only-the-config-holds"}}}"#),
        (200, r#"{"Item":{"config":"a-text-that-only-the-config-holds"}}"#),
        (200, r#"{"Item":{"config":{"S":"a-text-that-only-the-config-holds"},"keyring":{"S":"77a2b332"}}}"#),
        (200, r#"a-text-that-only-the-config-holds"#),
        (
            400,
            r#"{"__type":"x#ConditionalCheckFailedException","Item":{"config":{"S":"a-text-that-only-the-config-holds"}}"#,
        ),
        (400, r#"{"__type":"x#ValidationException","message":["a-text-that-only-the-config-holds"]}"#),
        (
            400,
            r#"{"__type":"x#TransactionCanceledException","CancellationReasons":[{"Code":"ValidationError","Item":{"config":{"S":"a-text-that-only-the-config-holds"}}}]}"#,
        ),
        (500, r#"{"Item":{"config":{"S":"a-text-that-only-the-config-holds"}}}"#),
    ];
    let table = Table::new().await;
    let loud = [("AWS_LAMBDA_LOG_LEVEL", "TRACE"), ("RUST_LOG", "trace")];
    let api = Lambda::start(table.environment(&loud)).await;
    let authorizer = Lambda::start(table.environment(&[&loud[..], &[("FUNCTION", "authorizer")]].concat())).await;
    let create = Call::new("POST", API_KEYS).json(&json!({ "config": { "x": MARKER } }));
    let key = api.call(create, Format::Http).await.api_key();
    let token = json!({
        "type": "TOKEN", "authorizationToken": format!("Search {key}"), "methodArn": "arn:aws:execute-api:r:1:a/s/GET/x",
    });
    let mut failed = 0;
    for (status, body) in ANSWERS {
        assert!(body.contains(MARKER));
        for call in requests(&key) {
            // The first answer alone, for some of them are asked for again.
            table.proxy.plan(&[Fault::Answer(status, body)]);
            failed += usize::from(api.call(call, Format::Http).await.status >= 500);
        }
        table.proxy.plan(&[Fault::Answer(status, body)]);
        // An answer of the table that says nothing of the key is a denial, any other an error.
        drop(authorizer.invoke(&token).await);
    }
    assert!(failed > 30, "{failed} requests failed");
    let printed = api.printed() + &authorizer.printed();
    assert!(printed.contains("request failed"), "{printed}");
    assert!(!printed.contains(MARKER), "{printed}");
    assert!(!shows(&printed, &key[32..]), "{printed}");
}

// C. Changes that don't stay, and records that aren't true

async fn enable(app: &App, key: &str, enabled: bool) -> Answer {
    app.update(key, json!({ "permissions": "read", "enabled": enabled })).await
}

#[tokio::test]
async fn c6_a_late_create_brings_no_deleted_key_back() {
    let app = App::new().await;
    for late in [1, 2] {
        for header in [None, Some("once")] {
            let mut call = Call::new("POST", API_KEYS).json(&json!({ "config": { "permissions": "read" } }));
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
async fn c6_a_late_create_that_failed_makes_no_second_key() {
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

#[tokio::test]
async fn c6_a_late_update_enables_no_disabled_key() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    for (late, status) in [(1, 200), (2, 200), (3, 503)] {
        app.table.proxy.plan(&[&[Fault::None][..], &[Fault::Late].repeat(late)].concat());
        assert_eq!(enable(&app, &key, true).await.status, status);
        assert_eq!(enable(&app, &key, false).await.status, 200);
        assert_eq!(app.table.proxy.deliver().await, late);
        assert_eq!(app.list().await[0]["config"]["enabled"], false, "{late} late attempts");
    }
}

#[tokio::test]
async fn c6_a_late_delete_takes_no_updated_key_away() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    app.table.proxy.plan(&[Fault::None, Fault::Late, Fault::Late, Fault::Late]);
    assert_eq!(app.delete(&key).await.status, 503);
    assert_eq!(enable(&app, &key, true).await.status, 200);
    assert_eq!(app.table.proxy.deliver().await, 3);
    assert_eq!(app.list().await.len(), 1, "what was acknowledged last stays");
    app.table.proxy.plan(&[Fault::None, Fault::Late]);
    assert_eq!(app.delete(&key).await.status, 200);
    assert_eq!(app.table.proxy.deliver().await, 1);
    assert!(app.list().await.is_empty());
}

/// Another change between an attempt whose answer was lost and the next one.
#[tokio::test]
async fn c6_a_change_of_somebody_else_after_a_lost_answer() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let replaced = async |change_id: &str| {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let mut item = app.table.items().remove(0);
        item["change_id"]["S"] = change_id.into();
        app.table.put(item);
    };
    app.table.proxy.plan(&[Fault::None, Fault::DoneThenDropped, Fault::Slow]);
    let (answer, ()) = tokio::join!(enable(&app, &key, true), replaced("other"));
    assert_eq!(answer.status, 503, "whether it was carried out can't be known");
    app.table.proxy.plan(&[Fault::None, Fault::Dropped, Fault::Slow]);
    let (answer, ()) = tokio::join!(app.delete(&key), replaced("another"));
    assert_eq!((answer.status, app.table.items().len()), (200, 0), "a delete reads again");
}

#[tokio::test]
async fn c6_a_transaction_in_progress_is_waited_for_with_one_token() {
    const IN_PROGRESS: Fault = Fault::Answer(400, r#"{"__type":"x#TransactionInProgressException","Message":"m"}"#);
    const CONFLICT: Fault = Fault::Answer(
        400,
        r#"{"__type":"x#TransactionCanceledException","CancellationReasons":[{"Code":"TransactionConflict"},{"Code":"None"}]}"#,
    );
    let app = App::new().await;
    for faults in [[IN_PROGRESS; 4], [CONFLICT; 4]] {
        app.table.proxy.plan(&faults);
        assert_eq!(app.create(json!({})).await.status, 200);
        let requests = app.table.proxy.operations_and_bodies();
        let token = |body: &str| serde_json::from_str::<Value>(body).expect("JSON")["ClientRequestToken"].clone();
        let tokens: Vec<_> = requests.iter().map(|(_, body)| token(body)).collect();
        assert!(tokens.len() == 5 && tokens[0].is_string() && tokens.iter().all(|token| *token == tokens[0]));
        app.table.proxy.always(faults[0]);
        assert_eq!(app.create(json!({})).await.status, 503);
        app.table.proxy.always(Fault::None);
        app.table.proxy.requests();
    }
    assert_eq!(app.list().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn c7_the_audit_log_says_what_happened() {
    let table = Table::new().await;
    let api = Lambda::start(table.environment(&[])).await;
    let create = Call::new("POST", API_KEYS).json(&json!({ "config": { "permissions": "read" } }));
    let key = api.call(create, Format::Http).await.api_key();
    let update = Call::new("PUT", &format!("{API_KEYS}{key}")).json(&json!({ "config": { "permissions": "write" } }));
    let delete = || Call::new("DELETE", &format!("{API_KEYS}delete/{key}"));
    table.proxy.plan(&[Fault::None, Fault::DoneThenDropped]);
    assert_eq!(api.call(update, Format::Http).await.status, 200);
    table.proxy.plan(&[Fault::None, Fault::DoneThenServerError]);
    assert_eq!(api.call(delete(), Format::Http).await.status, 200);
    for fault in [Fault::ServerError, Fault::Dropped] {
        table.proxy.plan(&[fault]);
        assert_eq!(api.call(delete(), Format::Http).await.status, 404, "what was never there isn't deleted");
    }
    let printed = api.printed();
    let audits: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|line: &Value| line["message"] == "audit")
        .collect();
    let told: Vec<_> = audits.iter().map(|line| (&line["action"], &line["permissions_before"])).collect();
    let text = Value::from;
    assert_eq!(
        told,
        [(&text("create"), &Value::Null), (&text("update"), &text("read")), (&text("delete"), &text("write"))],
        "{printed}"
    );
}

#[tokio::test]
async fn c8_a_conflict_with_a_transaction_passes() {
    const CONFLICT: Fault = Fault::Answer(400, r#"{"__type":"x#TransactionConflictException","message":"m"}"#);
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    for answer in [
        {
            app.table.proxy.plan(&[Fault::None, CONFLICT]);
            app.update(&key, json!({})).await
        },
        {
            app.table.proxy.plan(&[Fault::None, CONFLICT]);
            app.delete(&key).await
        },
    ] {
        assert_eq!(answer.status, 503, "{answer:?}");
    }
}
