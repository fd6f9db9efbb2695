//! Attacks that once succeeded. Sections and numbers are those of the review that found them, which
//! isn't in the repository.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::kms::{self, KEY_ID, MAC};
use crate::lambda::Lambda;
use crate::protected::{Protected, SHAPES, Shape, Visit, lets_in};
use crate::proxy::Fault;
use crate::support::{API_KEYS, App, CALLER, Call, FORMATS, Format, Response, Table};

fn verify(question: &Value) -> Call {
    Call::new("POST", &format!("{API_KEYS}verify")).json(question)
}

fn with_body(method: &str, path: &str, body: String) -> Call {
    Call {
        body: Some(body.into_bytes()),
        ..Call::new(method, path)
    }
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

// A. Secrets

#[tokio::test]
async fn point_1_no_error_repeats_a_truncated_kms_response() {
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
async fn point_1_no_kms_response_puts_its_mac_into_the_log() {
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
async fn point_1_no_table_response_puts_a_config_or_key_into_the_log() {
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

// B. Wrong allows

#[tokio::test]
async fn point_2_verify_says_valid_to_a_typo() {
    let app = App::new().await;
    let key = app.create(json!({ "permissions": "read" })).await.api_key();
    for name in [
        "permissions",
        "Permission",
        "permission ",
        "perm",
        "sourceIp",
        "allowed_ips",
        "key",
        "",
    ] {
        let response = app
            .send(verify(&json!({ "api_key": key, name: "write" })))
            .await;
        let extra = json!({ "loc": ["body", name], "msg": "extra fields not permitted", "type": "value_error.extra" });
        assert_eq!(
            (response.status, response.json()),
            (422, json!({ "detail": [extra] })),
            "{name}"
        );
    }
}

#[tokio::test]
async fn point_3_a_wrong_address_with_a_wrong_method_gets_an_allow_policy() {
    let protected = Protected::new(&[]).await;
    let config = json!({ "permissions": "read", "allowed_ips": ["192.0.2.0/24"] });
    let key = protected.app.create(config).await.api_key();
    for shape in [
        Shape::RestRequest,
        Shape::Http1,
        Shape::Http2,
        Shape::Simple,
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let visit = Visit {
                source_ip: "203.0.113.9".to_owned(),
                ..Visit::new(&key, method, "/x")
            };
            let response = protected
                .response(shape, visit.event(shape))
                .await
                .expect("a response");
            assert_eq!(
                response["context"]["reason"], "source_ip",
                "{shape:?} {method}"
            );
            if shape != Shape::Simple {
                assert_eq!(
                    response["policyDocument"]["Statement"][0]["Effect"], "Deny",
                    "{shape:?} {method}"
                );
            }
        }
    }
}

#[tokio::test]
async fn point_4_misspelled_restrictions_restrict_nothing() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let before = app.table.items();
    for (name, value, meant) in [
        ("alowed_ips", json!(["192.0.2.1"]), "allowed_ips"),
        ("allow_ips", json!(["192.0.2.1"]), "allowed_ips"),
        ("expires", json!("2020-01-01T00:00:00Z"), "expires_at"),
        ("expiration", json!("2020-01-01T00:00:00Z"), "expires_at"),
        ("expires_at ", json!("2020-01-01T00:00:00Z"), "expires_at"),
        ("enable", json!(false), "enabled"),
        ("disabled", json!(true), "enabled"),
        ("permission", json!("read"), "permissions"),
    ] {
        let config = json!({ "permissions": "write", name: value });
        let detail = json!({
            "loc": ["body", "config", name],
            "msg": format!("unknown field; did you mean '{meant}'?"),
            "type": "value_error.misspelled",
        });
        for response in [
            app.create(config.clone()).await,
            app.update(&key, config).await,
        ] {
            assert_eq!(
                (response.status, response.json()),
                (422, json!({ "detail": [detail] })),
                "{name}"
            );
        }
    }
    assert_eq!(app.table.items(), before);
}

#[tokio::test]
async fn point_4_addresses_with_leading_zeros() {
    let app = App::new().await;
    for text in [
        "010.0.0.0/8",
        "10.0.0.0/08",
        "10.0.0.0/+8",
        "10.0.0.0/ 8",
        "10.0.0.0/8/8",
        "2001:db8::/032",
    ] {
        let response = app
            .create(json!({ "permissions": "write", "allowed_ips": [text] }))
            .await;
        assert_eq!(response.status, 422, "{text}");
        assert_eq!(
            response.json()["detail"][0]["loc"],
            json!(["body", "config", "allowed_ips", 0]),
            "{text}"
        );
    }
    assert!(app.table.items().is_empty());
}

#[tokio::test]
async fn point_4_an_empty_list_of_addresses_allows_everyone() {
    let protected = Protected::new(&[]).await;
    let config = json!({ "permissions": "write", "allowed_ips": [] });
    let response = protected.app.create(config.clone()).await;
    let detail = json!({
        "loc": ["body", "config", "allowed_ips"],
        "msg": "ensure this value has at least 1 items",
        "type": "value_error.list.min_items",
        "ctx": { "limit_value": 1 },
    });
    assert_eq!(
        (response.status, response.json()),
        (422, json!({ "detail": [detail] }))
    );

    // If the table holds such a config anyway, the key is denied.
    let key = protected.app.create(json!({})).await.api_key();
    let mut item = protected.app.table.items().remove(0);
    item["config"]["S"] = config.to_string().into();
    protected.app.table.put(item);
    for shape in SHAPES {
        let visit = Visit::new(&key, "GET", "/x");
        let response = protected
            .response(shape, visit.event(shape))
            .await
            .expect("a response");
        assert!(!lets_in(&response, &visit), "{shape:?} {response}");
        assert_eq!(response["context"]["reason"], "source_ip", "{shape:?}");
    }
    assert!(!protected.verifies(&key, "read", "192.0.2.1").await);
}

/// A policy that a gateway cached for one request must not allow another that the code denies.
#[tokio::test]
async fn point_4_a_policy_matches_ipv4_mapped_addresses_that_the_code_denies() {
    let protected = Protected::new(&[]).await;
    let key = protected
        .app
        .create(json!({ "permissions": "write" }))
        .await
        .api_key();
    for ranges in [
        json!(["::/0"]),
        json!(["::/64", "::1"]),
        json!(["10.0.0.0/8", "::/0"]),
        json!(["10.0.0.0/8"]),
    ] {
        protected
            .app
            .update(
                &key,
                json!({ "permissions": "write", "allowed_ips": ranges }),
            )
            .await;
        for source_ip in [
            "::ffff:10.1.2.3",
            "::FFFF:a01:203",
            "0:0:0:0:0:ffff:10.1.2.3",
        ] {
            let visit = Visit {
                source_ip: source_ip.to_owned(),
                ..Visit::new(&key, "GET", "/x")
            };
            for shape in SHAPES {
                assert!(
                    !protected.allows(shape, &visit).await,
                    "{shape:?} {source_ip} in {ranges}"
                );
            }
            let cached = Shape::RestToken;
            let policy = protected
                .response(cached, visit.event(cached))
                .await
                .expect("a response");
            assert_eq!(
                policy["policyDocument"]["Statement"][0]["Effect"], "Allow",
                "the policy's conditions decide"
            );
        }
    }
}

#[tokio::test]
async fn point_5_one_path_has_several_spellings() {
    let app = App::new().await;
    let key = app.create(json!({ "permissions": "read" })).await.api_key();
    let (encoded, every_byte) = (
        key.replace('_', "%5F"),
        key.bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect::<String>(),
    );
    let collection = "/es/api/v1/credentials/api_keys";
    let (not_found, no_key) = ("Not Found", "API key not found");
    let table = [
        (
            "GET",
            "/es/api/v1/credentials/api%5Fkeys/".to_owned(),
            404,
            not_found,
        ),
        (
            "GET",
            "/es/api/v1/credentials/api%5fkeys".to_owned(),
            404,
            not_found,
        ),
        (
            "GET",
            "/%65s/api/v1/credentials/api_keys/".to_owned(),
            404,
            not_found,
        ),
        (
            "GET",
            "/es%2Fapi%2Fv1%2Fcredentials%2Fapi_keys%2F".to_owned(),
            404,
            not_found,
        ),
        (
            "POST",
            format!("{collection}/%76erify"),
            405,
            "Method Not Allowed",
        ),
        ("PUT", format!("{collection}/{encoded}"), 404, no_key),
        ("PUT", format!("{collection}/{every_byte}"), 404, no_key),
        ("PUT", format!("{collection}/a%2Fb"), 404, no_key),
        ("PUT", format!("{collection}/delete%2F{key}"), 404, no_key),
        (
            "DELETE",
            format!("{collection}/delete%2F{key}"),
            405,
            "Method Not Allowed",
        ),
        (
            "DELETE",
            format!("{collection}/%64elete/{key}"),
            404,
            not_found,
        ),
        (
            "DELETE",
            format!("{collection}/delete/{encoded}"),
            404,
            no_key,
        ),
    ];
    let before = app.table.items();
    for (method, path, status, detail) in table {
        for format in FORMATS {
            let call = Call::new(method, &path).json(&json!({ "config": {}, "api_key": key }));
            let response = app.send_event(call.event(format)).await;
            let expected = (status, json!({ "detail": detail }));
            assert_eq!(
                (response.status, response.json()),
                expected,
                "{method} {path} {format:?}"
            );
        }
    }
    assert_eq!(app.table.items(), before);
}

// C. Changes that are lost, and audit entries that aren't true

async fn enable(app: &App, key: &str, enabled: bool) -> Response {
    app.update(key, json!({ "permissions": "read", "enabled": enabled }))
        .await
}

#[tokio::test]
async fn point_6_a_late_create_brings_no_deleted_key_back() {
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
async fn point_6_a_late_create_that_failed_makes_no_second_key() {
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
async fn point_6_a_late_update_enables_no_disabled_key() {
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
async fn point_6_a_late_delete_takes_no_updated_key_away() {
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
async fn point_6_someone_else_s_change_after_a_lost_response() {
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
async fn point_6_a_transaction_in_progress_is_waited_for_with_one_token() {
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

#[tokio::test(flavor = "multi_thread")]
async fn point_9_a_denial_can_t_be_traced() {
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
            verify(&json!({ "api_key": "x", "source_ip": "203.0.113.9" })),
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

// F. Small things

#[tokio::test]
async fn point_16_the_link_is_sorted_as_sigv4_signs_it() {
    let app = App::new().await;
    let keys = [
        app.create(json!({})).await.api_key(),
        app.create(json!({})).await.api_key(),
    ];
    let response = app.send(Call::new("GET", API_KEYS).query("limit", 1)).await;
    assert_eq!(
        response.headers["Link"],
        format!("<?after={}&limit=1>; rel=\"next\"", &keys[0][..31])
    );
}

/// Checking costs time, so the size is checked first, and nothing else of a config that is too
/// long.
#[tokio::test]
async fn point_18_a_config_too_long_is_checked_in_depth() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let filler = "a".repeat(4096);
    for config in [
        format!(r#"{{"x":1,"x":2,"y":"{filler}"}}"#),
        format!(
            r#"{{"x":{}1{},"y":"{filler}"}}"#,
            "[".repeat(200),
            "]".repeat(200)
        ),
        format!(r#"{{"x":"\ud800","y":"{filler}"}}"#),
        format!(r#"["{filler}"]"#),
    ] {
        for (method, path) in [
            ("POST", API_KEYS.to_owned()),
            ("PUT", format!("{API_KEYS}{key}")),
        ] {
            let response = app
                .send(with_body(
                    method,
                    &path,
                    format!(r#"{{"config":{config}}}"#),
                ))
                .await;
            assert_eq!(
                (response.status, response.json()),
                (413, json!({ "detail": "config exceeds 4096 bytes" }))
            );
        }
    }
    // Two configs: the first one counts as much as the last.
    let body = format!(r#"{{"config":"{filler}","config":{{}}}}"#);
    assert_eq!(
        app.send(with_body("POST", API_KEYS, body)).await.status,
        413
    );
}

/// Next to the config, up to 64 KiB are read, whatever their depth: each byte a few times.
#[tokio::test]
async fn point_18_a_deep_body_is_slow() {
    let app = App::new().await;
    let text = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(
            r#"{{"config":{{}},"x":{open}"{}"{close}}}"#,
            "a".repeat(65_000)
        )
    };
    let time = async |depth: usize| {
        let mut times = Vec::new();
        for _ in 0..5 {
            let event = with_body("PUT", &format!("{API_KEYS}x"), text(depth)).event(Format::Http);
            let began = std::time::Instant::now();
            crate::support::invoke(&app.api, &event, crate::support::TIMEOUT).await;
            times.push(began.elapsed());
        }
        times.into_iter().min().expect("a time")
    };
    let (flat, deep) = (time(1).await, time(120).await);
    eprintln!("64 KiB, 1 level: {flat:?}; 120 levels: {deep:?}");
    assert!(
        deep < flat * 10,
        "64 KiB, 1 level: {flat:?}; 120 levels: {deep:?}"
    );
}
