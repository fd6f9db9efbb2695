//! No secret in any output, trace or error body, at the most verbose level.

use serde_json::{Value, json};

use crate::lambda::Lambda;
use crate::proxy::Fault;
use crate::support::{API_KEYS, Answer, Call, FORMATS, Format, MASTER_KEY, Table};

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_corpus_at_trace_level() {
    let table = Table::new().await;
    let loud = [("AWS_LAMBDA_LOG_LEVEL", "TRACE"), ("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full")];
    let api = Lambda::start(table.environment(&loud)).await;
    let authorizer = Lambda::start(table.environment(&[&loud[..], &[("FUNCTION", "authorizer")]].concat())).await;
    let (mut secrets, mut refusals) = (vec![MASTER_KEY.to_owned()], String::new());

    let corpus = concat!(include_str!("../contract/recorded.jsonl"), include_str!("../contract/derived.jsonl"));
    for (number, row) in corpus.lines().enumerate() {
        let row: Value = serde_json::from_str(row).expect("a row");
        let created =
            api.call(Call::new("POST", API_KEYS).json(&json!({ "config": {} })), Format::Http).await.api_key();
        secrets.push(created[32..].to_owned());
        let path = row["path"].as_str().expect("a path").replace("{key}", &created);
        let mut call = Call::new(row["method"].as_str().expect("a method"), path.split('?').next().unwrap_or_default());
        call.body = row["body"].as_str().map(|body| body.as_bytes().to_vec());
        let mut answers = vec![api.call(call, FORMATS[number % FORMATS.len()]).await];
        // The key itself in questions that can't be read, and in headers that are none.
        let mut broken = Call::new("POST", &format!("{API_KEYS}verify"));
        broken.body = Some(format!("{{\"api_key\":\"{created}\",").into_bytes());
        answers.push(api.call(broken, Format::Http).await);
        answers.push(
            api.call(Call::new("PUT", &format!("{API_KEYS}{created}x")).json(&json!({ "config": {} })), Format::Rest)
                .await,
        );
        for answer in answers {
            match answer {
                Answer { status: 200, body, .. } if body.contains("created") => secrets.push(
                    serde_json::from_str::<Value>(&body).expect("JSON")["api_key"].as_str().expect("a key")[32..]
                        .to_owned(),
                ),
                Answer { status: 200, .. } => {}
                Answer { headers, body, .. } => refusals.push_str(&format!("{headers}{body}")),
            }
        }
        for header in [format!("Search {created}"), format!("Basic {created}"), created.clone()] {
            let event = json!({ "type": "TOKEN", "authorizationToken": header, "methodArn": "arn:aws:execute-api:r:1:a/s/GET/x" });
            authorizer.invoke(&event).await.expect("an answer");
        }
    }
    table.proxy.always(Fault::Denied);
    let created = secrets.last().expect("a secret").clone();
    let call =
        Call::new("DELETE", &format!("{API_KEYS}delete/gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV_22K4KK659SYTCHNBQB1Z55H2Z7"));
    refusals.push_str(&api.call(call, Format::Http).await.body);
    let token = json!({ "type": "TOKEN", "authorizationToken": format!("Search {created}"), "methodArn": "x" });
    refusals.push_str(&authorizer.invoke(&token).await.expect_err("an error"));
    secrets.push("22K4KK659SYTCHNBQB1Z55H2Z7".to_owned());

    assert!(secrets.len() > 250, "{}", secrets.len());
    let printed = api.printed() + &authorizer.printed();
    assert!(
        printed.contains("\"level\":\"ERROR\"") && printed.matches("audit").count() > 250,
        "something was printed at all"
    );
    for secret in secrets {
        assert!(!printed.contains(&secret), "{secret} was printed");
        assert!(!refusals.contains(&secret), "{secret} stands in an error");
    }
}

/// The audit and denial lines: their members are an interface, which docs/operations.md describes.
#[tokio::test(flavor = "multi_thread")]
async fn one_line_a_change_and_one_a_denial() {
    let table = Table::new().await;
    let api = Lambda::start(table.environment(&[])).await;
    let authorizer = Lambda::start(table.environment(&[("FUNCTION", "authorizer")])).await;
    let key = api
        .call(Call::new("POST", API_KEYS).json(&json!({ "config": { "permissions": "read" } })), Format::Http)
        .await
        .api_key();
    let update = Call::new("PUT", &format!("{API_KEYS}{key}"))
        .json(&json!({ "config": { "permissions": "write", "enabled": false, "expires_at": "2030-01-01T12:00:00.5+02:00", "allowed_ips": ["192.0.2.1", "10.0.0.0/8"] } }));
    api.call(update, Format::Rest).await;
    api.call(Call::new("POST", &format!("{API_KEYS}verify")).json(&json!({ "api_key": key })), Format::Http).await;
    authorizer.invoke(&json!({ "type": "TOKEN", "authorizationToken": format!("Search {key}"), "methodArn": "arn:aws:execute-api:r:1:a/s/GET/x" })).await.expect("an answer");
    authorizer
        .invoke(
            &json!({ "type": "TOKEN", "authorizationToken": "x", "methodArn": "arn:aws:execute-api:r:1:a/s/GET/x" }),
        )
        .await
        .expect("an answer");
    api.call(Call::new("DELETE", &format!("{API_KEYS}delete/{key}")), Format::Http).await;

    let lines = |printed: String| {
        let own = |line: &str| {
            let mut line: Value = serde_json::from_str(line).expect("JSON");
            let members = line.as_object_mut().expect("an object");
            let (timestamp, span) = (members.remove("timestamp"), members.remove("span"));
            assert!(timestamp.is_some_and(|time| time.is_string()));
            assert!(span.is_some_and(|span| span["requestId"].is_string()), "{line}");
            line.as_object_mut().expect("an object").remove("target");
            line
        };
        printed.lines().map(own).collect::<Vec<_>>()
    };
    let id = &key[..31];
    let change = |action: &str| {
        json!({
            "level": "INFO", "message": "audit", "action": action, "key_id": id, "actor": crate::support::CALLER,
            "source_ip": "192.0.2.1", "api_request_id": "request-id",
        })
    };
    let with = |mut line: Value, more: Value| {
        line.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        line
    };
    assert_eq!(
        lines(api.printed()),
        [
            with(change("create"), json!({ "permissions": "read", "enabled": true })),
            with(
                change("update"),
                json!({
                    "permissions_before": "read", "permissions": "write", "enabled": false, "expires_at": "2030-01-01T10:00:00Z",
                    "allowed_ips": "192.0.2.1 10.0.0.0/8",
                })
            ),
            json!({ "level": "INFO", "message": "denied", "reason": "disabled", "key_id": id, "actor": crate::support::CALLER }),
            with(change("delete"), json!({ "permissions_before": "write" })),
        ]
    );
    let api = "arn:aws:execute-api:r:1:a/s";
    assert_eq!(
        lines(authorizer.printed()),
        [
            json!({ "level": "INFO", "message": "denied", "reason": "disabled", "key_id": id, "api": api }),
            json!({ "level": "INFO", "message": "denied", "reason": "malformed", "api": api }),
        ]
    );
}
