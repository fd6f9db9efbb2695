//! No secret in any output, trace or error body, at the most verbose level.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::events::SAMPLE_KEY;
use crate::kms::{self, KEY_ID, MAC};
use crate::lambda::Lambda;
use crate::protected::{Shape, Visit};
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

    let printed = (entries(&api.printed()), entries(&authorizer.printed()));
    insta::assert_json_snapshot!(printed, { ".**.key_id" => insta::dynamic_redaction(move |id, _| {
        assert_eq!(id.as_str(), Some(&key[..31]));
        "[key ID]"
    })});
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

/// Text of a config; it must not appear in any log.
const MARKER: &str = "a-text-that-only-the-config-holds";
const KMS_RESPONSE: &str = r#"{"Mac":"y1vhfTWaG98Z35/sW4OiQzSS65pzHlEd0kdGjiIFXig=","MacAlgorithm":"HMAC_SHA_256","KeyId":"k"}"#;

/// Whether eight consecutive characters of a secret appear in a text.
fn shows(text: &str, secret: &str) -> bool {
    secret
        .as_bytes()
        .windows(8)
        .any(|part| text.contains(std::str::from_utf8(part).expect("ASCII")))
}

#[tokio::test]
async fn an_error_at_start_repeats_no_part_of_a_truncated_kms_response() {
    let table = Table::new().await;
    for length in 0..KMS_RESPONSE.len() {
        let (endpoint, _) = kms::kms(StatusCode::OK, &KMS_RESPONSE[..length]).await;
        let settings = [
            ("ROOT_KEY", ""),
            ("KMS_KEY_ID", KEY_ID),
            ("AWS_ENDPOINT_URL_KMS", &endpoint),
        ];
        let error = table
            .api(&settings)
            .await
            .expect_err("no start")
            .to_string();
        assert!(
            error.starts_with("KMS_KEY_ID") && !shows(&error, MAC),
            "{length}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kms_response_puts_its_mac_into_the_log() {
    let table = Table::new().await;
    let cut = &KMS_RESPONSE[..KMS_RESPONSE.len() - 1];
    let number = KMS_RESPONSE.replace(r#""HMAC_SHA_256""#, "7");
    let responses = [
        (StatusCode::OK, cut.to_owned()),
        (StatusCode::OK, number),
        (StatusCode::OK, KMS_RESPONSE.replace("\"k\"", "[]")),
        (StatusCode::OK, KMS_RESPONSE.replace("Xig=", "Xig=!")),
        (StatusCode::OK, format!("{KMS_RESPONSE}{KMS_RESPONSE}")),
        (StatusCode::OK, format!("\"{MAC}\"")),
        (StatusCode::OK, MAC.to_owned()),
        (StatusCode::OK, json!({ "Mac": [MAC] }).to_string()),
        (StatusCode::OK, json!({ "Mac": { "x": MAC } }).to_string()),
        (
            StatusCode::OK,
            json!({ "Mac": format!("{MAC}{MAC}") }).to_string(),
        ),
        (StatusCode::FOUND, KMS_RESPONSE.to_owned()),
        (StatusCode::BAD_REQUEST, KMS_RESPONSE.to_owned()),
        (
            StatusCode::BAD_REQUEST,
            json!({ "__type": 7, "Mac": MAC }).to_string(),
        ),
        (
            StatusCode::BAD_REQUEST,
            json!({ "__type": "DisabledException", "message": { "Mac": MAC } }).to_string(),
        ),
        (StatusCode::FORBIDDEN, format!("<html>{MAC}</html>")),
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            json!({ "__type": "KMSInternalException", "Mac": MAC }).to_string(),
        ),
    ];
    for (status, body) in responses {
        let (endpoint, _) = kms::kms(status, &body).await;
        let loud = [("AWS_LAMBDA_LOG_LEVEL", "TRACE"), ("RUST_LOG", "trace")];
        let settings = [
            ("ROOT_KEY", ""),
            ("KMS_KEY_ID", KEY_ID),
            ("AWS_ENDPOINT_URL_KMS", &endpoint),
        ];
        let mut lambda = Lambda::start(table.environment(&[&loud[..], &settings].concat())).await;
        lambda.ended().await;
        let printed = lambda.printed();
        assert!(
            printed.contains("KMS_KEY_ID") && !shows(&printed, MAC),
            "{status} {body}: {printed}"
        );
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
async fn no_table_response_puts_a_config_or_key_into_the_log() {
    const RESPONSES: [(u16, &str); 11] = [
        (
            200,
            r#"{"Items":[{"id":{"S":"01ARZ3NDEKTSV4RRFFQ69G5FAV"},"config":{"S":"{\"x\":\"a-text-that-only-the-config-holds\"}"}"#,
        ),
        (
            200,
            r#"{"Items":[{"config":{"S":7,"x":"a-text-that-only-the-config-holds"}}],"Item":7}"#,
        ),
        (
            200,
            r#"{"Item":{"config":{"S":"a-text-that-only-the-config-holds"}},"Items":{}"#,
        ),
        (
            200,
            r#"{"Item":{"config":{"X":"a-text-that-only-the-config-holds"}}}"#,
        ),
        (
            200,
            r#"{"Item":{"config":"a-text-that-only-the-config-holds"}}"#,
        ),
        (
            200,
            r#"{"Item":{"config":{"S":"a-text-that-only-the-config-holds"},"root_key_id":{"S":"053bcb62"}}}"#,
        ),
        (200, r#"a-text-that-only-the-config-holds"#),
        (
            400,
            r#"{"__type":"x#ConditionalCheckFailedException","Item":{"config":{"S":"a-text-that-only-the-config-holds"}}"#,
        ),
        (
            400,
            r#"{"__type":"x#ValidationException","message":["a-text-that-only-the-config-holds"]}"#,
        ),
        (
            400,
            r#"{"__type":"x#TransactionCanceledException","CancellationReasons":[{"Code":"ValidationError","Item":{"config":{"S":"a-text-that-only-the-config-holds"}}}]}"#,
        ),
        (
            500,
            r#"{"Item":{"config":{"S":"a-text-that-only-the-config-holds"}}}"#,
        ),
    ];
    let table = Table::new().await;
    let loud = [("AWS_LAMBDA_LOG_LEVEL", "TRACE"), ("RUST_LOG", "trace")];
    let api = Lambda::start(table.environment(&loud)).await;
    let authorizer =
        Lambda::start(table.environment(&[&loud[..], &[("FUNCTION", "authorizer")]].concat()))
            .await;
    let create = Call::new("POST", API_KEYS).json(&json!({ "config": { "x": MARKER } }));
    let key = api.call(create, Format::Http).await.api_key();
    let token = json!({
        "type": "TOKEN", "authorizationToken": format!("Search {key}"), "methodArn": "arn:aws:execute-api:r:1:a/s/GET/x",
    });
    let mut failed = 0;
    for (status, body) in RESPONSES {
        assert!(body.contains(MARKER));
        for call in requests(&key) {
            // Only the first response, because some requests are retried.
            table.proxy.plan(&[Fault::Response(status, body)]);
            failed += usize::from(api.call(call, Format::Http).await.status >= 500);
        }
        table.proxy.plan(&[Fault::Response(status, body)]);
        // A response without the key's item is a denial; any other is an error.
        drop(authorizer.invoke(&token).await);
    }
    assert!(failed > 30, "{failed} requests failed");
    let printed = api.printed() + &authorizer.printed();
    assert!(printed.contains("request failed"), "{printed}");
    assert!(!printed.contains(MARKER), "{printed}");
    assert!(!shows(&printed, &key[32..]), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_names_the_request_its_caller_and_the_address() {
    let table = Table::new().await;
    let api = Lambda::start(table.environment(&[])).await;
    let authorizer = Lambda::start(table.environment(&[("FUNCTION", "authorizer")])).await;
    let denied = |function: &Lambda| -> Vec<Value> {
        let printed = function.printed();
        let entries = printed
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        entries
            .filter(|entry| entry["message"] == "denied")
            .collect()
    };
    for format in FORMATS {
        api.call(
            Call::new("POST", &format!("{API_KEYS}verify"))
                .json(&json!({ "api_key": "x", "source_ip": "203.0.113.9" })),
            format,
        )
        .await;
    }
    for entry in denied(&api) {
        assert_eq!(
            (
                &entry["source_ip"],
                &entry["api_request_id"],
                &entry["actor"]
            ),
            (&json!("192.0.2.1"), &json!("request-id"), &json!(CALLER)),
            "as in audit entries"
        );
        assert_eq!(entry["client_ip"], "203.0.113.9", "what was asked about");
    }
    assert_eq!(denied(&api).len(), FORMATS.len());
    for shape in [Shape::RestRequest, Shape::Http1, Shape::Http2] {
        let mut event = Visit::new("x", "GET", "/x").event(shape);
        event["requestContext"]["requestId"] = format!("{shape:?}").into();
        authorizer.invoke(&event).await.expect("a response");
    }
    let found: Vec<_> = denied(&authorizer)
        .into_iter()
        .map(|entry| (entry["source_ip"].clone(), entry["api_request_id"].clone()))
        .collect();
    let expected = ["RestRequest", "Http1", "Http2"].map(|id| (json!("192.0.2.1"), json!(id)));
    assert_eq!(found, expected);
}
