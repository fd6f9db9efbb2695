//! The responses of a FastAPI 0.95 / pydantic 1.10 reference of GAIA's API: the recorded rows, and
//! rows derived since.

use serde_json::{Value, json};

use crate::support::{App, Call, FORMATS, Format};

fn rows(text: &'static str) -> impl Iterator<Item = Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a row"))
}

#[tokio::test]
async fn the_recorded_rows_in_every_format() {
    let mut count = 0;
    for row in rows(include_str!("../contract/recorded.jsonl")) {
        for format in FORMATS {
            agrees(&row, format, false).await;
            agrees(&row, format, true).await;
        }
        count += 1;
    }
    assert_eq!(count, 23);
}

#[tokio::test]
async fn the_derived_rows() {
    let mut count = 0;
    for row in rows(include_str!("../contract/derived.jsonl")) {
        agrees(&row, Format::Http, false).await;
        agrees(&row, Format::Rest, true).await;
        count += 1;
    }
    assert!(count > 200);
}

/// One row, on a table with one key in it.
async fn agrees(row: &Value, format: Format, base64: bool) {
    let name = format!("{} ({format:?}, base64: {base64})", row["name"]);
    let app = App::new().await;
    let key = app.create(json!({ "permissions": "read" })).await.api_key();
    let path = row["path"].as_str().expect("a path").replace("{key}", &key);
    let path = path
        .replace("{key%255F}", &key.replace('_', "%255F"))
        .replace("{key:lower}", &key.to_lowercase());
    // The gateway passes the query separately; the rows' queries have no meaning.
    let path = path.split('?').next().unwrap_or_default();
    let mut call = Call {
        base64,
        ..Call::new(row["method"].as_str().expect("a method"), path)
    };
    call.body = row["body"].as_str().map(|body| body.as_bytes().to_vec());
    if let Some(body) = row["body_base64"].as_str() {
        call.body = Some(base64_simd::STANDARD.decode_to_vec(body).expect("base64"));
    }
    for (header, value) in row["headers"].as_object().into_iter().flatten() {
        call.headers[header] = value.clone();
    }

    let response = app.send_event(call.event(format)).await;
    assert_eq!(response.status, row["status"], "{name}: {response:?}");
    if let Some(allow) = row["allow"].as_str() {
        assert_eq!(response.headers["Allow"], allow, "{name}");
    }
    let new = app
        .list()
        .await
        .into_iter()
        .map(|entry| entry["api_key"].clone())
        .find(|listed| *listed != key);
    let new = new.unwrap_or_default();
    let placed = |value: &Value| {
        let text = value
            .to_string()
            .replace("{key}", &key)
            .replace("{new}", new.as_str().unwrap_or("{new}"));
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    match row["response"]
        .pointer("/detail/0/type")
        .and_then(Value::as_str)
    {
        // The text and the position of a syntax error are the parser's own.
        Some("value_error.jsondecode") => {
            let detail = &response.json()["detail"][0];
            assert_eq!(
                (&detail["loc"][0], &detail["type"]),
                (&json!("body"), &json!("value_error.jsondecode")),
                "{name}"
            );
            assert_eq!(
                detail["ctx"]["doc"], row["response"]["detail"][0]["ctx"]["doc"],
                "{name}"
            );
            assert_eq!(
                response.json()["detail"].as_array().map(Vec::len),
                Some(1),
                "{name}"
            );
        }
        _ if row["response"].is_null() => {}
        _ => assert_eq!(response.json(), placed(&row["response"]), "{name}"),
    }
    let stored = app.table.items().into_iter().map(|item| {
        let config = item["config"]["S"].as_str().expect("a config").to_owned();
        json!({ "config": serde_json::from_str::<Value>(&config).expect("JSON") })
    });
    assert_eq!(
        Value::Array(stored.collect()),
        placed(&row["stored"]),
        "{name}"
    );
}
