//! No secret in any output, trace or error body, at the most verbose level.

use serde_json::{Value, json};

use crate::events::SAMPLE_KEY;
use crate::lambda::Lambda;
use crate::proxy::Fault;
use crate::support::{API_KEYS, App, CALLER, Call, FORMATS, Format, ROOT_KEY, Response, Table};

/// An event of a TOKEN authorizer.
fn token(header: &str) -> Value {
    json!({ "type": "TOKEN", "authorizationToken": header, "methodArn": "arn:aws:execute-api:r:1:a/s/GET/x" })
}

/// A row of tests/contract as a call; `{key}` in it becomes the key.
fn call(row: &str, key: &str) -> Call {
    let row: Value = serde_json::from_str(row).expect("a row");
    let path = row["path"].as_str().expect("a path").replace("{key}", key);
    let mut call = Call::new(
        row["method"].as_str().expect("a method"),
        path.split('?').next().unwrap_or_default(),
    );
    call.body = row["body"].as_str().map(|body| body.as_bytes().to_vec());
    call
}

/// Invalid requests that hold the key: in bodies that can't be read, and in unknown paths.
fn mistakes(key: &str) -> [Call; 2] {
    let mut broken = Call::new("POST", &format!("{API_KEYS}verify"));
    broken.body = Some(format!("{{\"api_key\":\"{key}\",").into_bytes());
    [
        broken,
        Call::new("PUT", &format!("{API_KEYS}{key}x")).json(&json!({ "config": {} })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_corpus_at_trace_level() {
    let table = Table::new().await;
    let loud = [
        ("AWS_LAMBDA_LOG_LEVEL", "TRACE"),
        ("RUST_LOG", "trace"),
        ("RUST_BACKTRACE", "full"),
    ];
    let api = Lambda::start(table.environment(&loud)).await;
    let authorizer =
        Lambda::start(table.environment(&[&loud[..], &[("FUNCTION", "authorizer")]].concat()))
            .await;
    let (mut secrets, mut errors) = (
        vec![ROOT_KEY.to_owned(), SAMPLE_KEY[32..].to_owned()],
        String::new(),
    );

    let corpus = concat!(
        include_str!("../contract/recorded.jsonl"),
        include_str!("../contract/derived.jsonl")
    );
    for (number, row) in corpus.lines().enumerate() {
        let create = Call::new("POST", API_KEYS).json(&json!({ "config": {} }));
        let key = api.call(create, Format::Http).await.api_key();
        secrets.push(key[32..].to_owned());
        for call in [call(row, &key)].into_iter().chain(mistakes(&key)) {
            match api.call(call, FORMATS[number % FORMATS.len()]).await {
                response @ Response { status: 200, .. } if response.body.contains("created") => {
                    secrets.push(response.api_key()[32..].to_owned());
                }
                Response { status: 200, .. } => {}
                Response { headers, body, .. } => errors.push_str(&format!("{headers}{body}")),
            }
        }
        for header in [format!("Search {key}"), format!("Basic {key}"), key.clone()] {
            authorizer
                .invoke(&token(&header))
                .await
                .expect("a response");
        }
    }
    table.proxy.always(Fault::Denied);
    let delete = Call::new("DELETE", &format!("{API_KEYS}delete/{SAMPLE_KEY}"));
    errors.push_str(&api.call(delete, Format::Http).await.body);
    errors.push_str(
        &authorizer
            .invoke(&token(&format!("Search {SAMPLE_KEY}")))
            .await
            .expect_err("an error"),
    );

    assert!(secrets.len() > 250, "{}", secrets.len());
    let printed = api.printed() + &authorizer.printed();
    let something =
        printed.contains("\"level\":\"ERROR\"") && printed.matches("audit").count() > 250;
    assert!(something, "nothing was printed");
    for secret in secrets {
        assert!(!printed.contains(&secret), "{secret} was printed");
        assert!(!errors.contains(&secret), "{secret} is in an error");
    }
}

/// The entries of a log without the fields that differ each time.
fn entries(printed: &str) -> Vec<Value> {
    let own = |line: &str| {
        let mut entry: Value = serde_json::from_str(line).expect("JSON");
        let fields = entry.as_object_mut().expect("an object");
        let (timestamp, span) = (fields.remove("timestamp"), fields.remove("span"));
        assert!(timestamp.is_some_and(|time| time.is_string()));
        assert!(span.is_some_and(|span| span["requestId"].is_string()));
        fields.remove("target");
        entry
    };
    printed.lines().map(own).collect()
}

/// An audit entry: the fields that all of them have, and its own.
fn audit(action: &str, key_id: &str, mut own: Value) -> Value {
    let all = json!({
        "level": "INFO", "message": "audit", "action": action, "key_id": key_id, "actor": CALLER,
        "source_ip": "192.0.2.1", "api_request_id": "request-id",
    });
    own.as_object_mut()
        .expect("an object")
        .extend(all.as_object().expect("an object").clone());
    own
}

/// The audit and denied entries: their fields are an interface, which docs/log-entries.md
/// describes.
#[tokio::test(flavor = "multi_thread")]
async fn one_entry_per_change_and_one_per_denial() {
    let table = Table::new().await;
    let api = Lambda::start(table.environment(&[])).await;
    let authorizer = Lambda::start(table.environment(&[("FUNCTION", "authorizer")])).await;
    let create = Call::new("POST", API_KEYS).json(&json!({ "config": { "permissions": "read" } }));
    let key = api.call(create, Format::Http).await.api_key();
    let config = json!({
        "permissions": "write", "enabled": false, "expires_at": "2030-01-01T12:00:00.5+02:00",
        "allowed_ips": ["192.0.2.1", "10.0.0.0/8"],
    });
    let update = Call::new("PUT", &format!("{API_KEYS}{key}")).json(&json!({ "config": config }));
    api.call(update, Format::Rest).await;
    api.call(
        Call::new("POST", &format!("{API_KEYS}verify")).json(&json!({ "api_key": key })),
        Format::Http,
    )
    .await;
    authorizer
        .invoke(&token(&format!("Search {key}")))
        .await
        .expect("a response");
    authorizer.invoke(&token("x")).await.expect("a response");
    api.call(
        Call::new("DELETE", &format!("{API_KEYS}delete/{key}")),
        Format::Http,
    )
    .await;

    let (id, arn) = (&key[..31], "arn:aws:execute-api:r:1:a/s");
    let updated = json!({
        "permissions_before": "read", "permissions": "write", "enabled": false, "expires_at": "2030-01-01T10:00:00Z",
        "allowed_ips": "192.0.2.1 10.0.0.0/8",
    });
    assert_eq!(
        entries(&api.printed()),
        [
            audit(
                "create",
                id,
                json!({ "permissions": "read", "enabled": true })
            ),
            audit("update", id, updated),
            json!({
                "level": "INFO", "message": "denied", "reason": "disabled", "key_id": id, "actor": CALLER,
                "source_ip": "192.0.2.1", "api_request_id": "request-id",
            }),
            audit("delete", id, json!({ "permissions_before": "write" })),
        ]
    );
    assert_eq!(
        entries(&authorizer.printed()),
        [
            json!({ "level": "INFO", "message": "denied", "reason": "disabled", "key_id": id, "api": arn }),
            json!({ "level": "INFO", "message": "denied", "reason": "invalid", "api": arn }),
        ]
    );
}

/// `permissions_before` is what the write depended on. A delete that finds nothing after a lost
/// response may follow changes that it never saw.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_entry_says_only_what_is_known() {
    let table = Table::new().await;
    let api = Lambda::start(table.environment(&[])).await;
    let create = Call::new("POST", API_KEYS).json(&json!({ "config": { "permissions": "read" } }));
    let key = api.call(create.clone(), Format::Http).await.api_key();
    let update = Call::new("PUT", &format!("{API_KEYS}{key}"))
        .json(&json!({ "config": { "permissions": "write" } }));
    let delete = |key: &str| Call::new("DELETE", &format!("{API_KEYS}delete/{key}"));
    table.proxy.plan(&[Fault::None, Fault::DoneThenDropped]);
    assert_eq!(api.call(update, Format::Http).await.status, 200);
    table.proxy.plan(&[Fault::None, Fault::DoneThenServerError]);
    assert_eq!(api.call(delete(&key), Format::Http).await.status, 200);
    for fault in [Fault::ServerError, Fault::Dropped] {
        table.proxy.plan(&[fault]);
        assert_eq!(
            api.call(delete(&key), Format::Http).await.status,
            404,
            "what doesn't exist can't be deleted"
        );
    }
    let second = api.call(create, Format::Http).await.api_key();
    assert_eq!(api.call(delete(&second), Format::Http).await.status, 200);
    let audits: Vec<_> = entries(&api.printed())
        .into_iter()
        .filter(|entry| entry["message"] == "audit")
        .collect();
    let logged: Vec<_> = audits
        .iter()
        .map(|entry| json!([entry["action"], entry["permissions_before"]]))
        .collect();
    let expected = [
        json!(["create", null]),
        json!(["update", "read"]),
        json!(["delete", null]),
        json!(["create", null]),
        json!(["delete", "read"]),
    ];
    assert_eq!(logged, expected, "{audits:?}");
}

/// Lambda's levels. An empty or unknown one counts as INFO.
#[tokio::test(flavor = "multi_thread")]
async fn the_level_decides_what_is_printed() {
    let table = Table::new().await;
    for (level, audited) in [
        ("DEBUG", true),
        ("INFO", true),
        ("", true),
        ("x", true),
        ("WARN", false),
        ("FATAL", false),
    ] {
        let api = Lambda::start(table.environment(&[("AWS_LAMBDA_LOG_LEVEL", level)])).await;
        let create = Call::new("POST", API_KEYS).json(&json!({ "config": {} }));
        assert_eq!(api.call(create, Format::Http).await.status, 200);
        assert_eq!(api.printed().contains("audit"), audited, "{level}");
    }
}

/// No gateway sends these, but a principal with `lambda:InvokeFunction` can. The runtime would log
/// serde's error, which repeats the text.
#[tokio::test(flavor = "multi_thread")]
async fn an_authorizer_event_of_another_shape_is_not_repeated() {
    let table = Table::new().await;
    let authorizer = Lambda::start(table.environment(&[("FUNCTION", "authorizer")])).await;
    let header = format!("Search {SAMPLE_KEY}");
    for event in [
        json!({ "type": "REQUEST", "methodArn": "arn:x", "multiValueHeaders": { "Authorization": header } }),
        json!({ "type": "REQUEST", "headers": header }),
        json!({ "authorizationToken": [header] }),
        json!(header),
    ] {
        let error = authorizer.invoke(&event).await.expect_err("an error");
        assert!(!error.contains(&SAMPLE_KEY[32..]), "{error}");
    }
    let printed = authorizer.printed();
    assert!(
        printed.contains("not an authorizer's event") && !printed.contains(&SAMPLE_KEY[32..]),
        "{printed}"
    );
}

/// A key in the wrong field of a body, in each place and inside each JSON type.
#[tokio::test]
async fn no_422_repeats_a_value_of_a_body() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let secret = &key[32..];
    let bodies = [
        ("verify".to_owned(), json!({ "api_key": "x" })),
        (
            format!("{}/rotate", &key[..31]),
            json!({ "grace_seconds": 1 }),
        ),
    ];
    let fields = [
        "api_key",
        "permission",
        "route",
        "source_ip",
        "grace_seconds",
        "expires_at",
    ];
    let mut rejected = 0;
    for (path, valid) in &bodies {
        for field in fields {
            for value in [json!(key), json!([key]), json!({ "x": key })] {
                let mut body = valid.clone();
                body[field] = value;
                let call = Call::new("POST", &format!("{API_KEYS}{path}")).json(&body);
                let response = app.send(call).await;
                assert!(
                    response.status == 200 || !response.body.contains(secret),
                    "{body}: {response:?}"
                );
                rejected += usize::from(response.status == 422);
            }
        }
    }
    assert_eq!(rejected, 35, "all but a key as verify's api_key");
}
