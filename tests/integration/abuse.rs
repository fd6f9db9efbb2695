//! More than anyone should send, and tables larger than anyone should have.

use serde_json::{Value, json};

use crate::support::{API_KEYS, App, Call, Format, Response, invoke};

#[tokio::test]
async fn large_bodies_are_rejected_before_anything_else() {
    let app = App::new().await;
    for len in [70 * 1024, 6 * 1024 * 1024] {
        for base64 in [false, true] {
            let call = Call {
                base64,
                ..Call::new("POST", API_KEYS).json(&json!({ "config": { "x": "a".repeat(len) } }))
            };
            let response = app.send(call).await;
            assert_eq!(
                (response.status, response.json()),
                (413, json!({ "detail": "body exceeds 65536 bytes" })),
                "{len}"
            );
        }
    }
    assert!(app.table.proxy.requests().is_empty());
}

#[tokio::test]
async fn ten_thousand_fields() {
    let app = App::new().await;
    let fields: Vec<_> = (0..10_000)
        .map(|number| format!("\"{number:x}\""))
        .collect();
    let body = |fields: &[String]| {
        format!(
            r#"{{"config":{{}},{}}}"#,
            fields
                .iter()
                .map(|name| format!("{name}:0"))
                .collect::<Vec<_>>()
                .join(",")
        )
    };
    let send = async |body: String| {
        let mut call = Call::new("POST", API_KEYS);
        call.body = Some(body.into_bytes());
        app.send(call).await
    };
    assert_eq!(send(body(&fields[..7_000])).await.status, 200);
    let mut twice = fields[..7_000].to_vec();
    twice.push(fields[0].clone());
    assert_eq!(
        send(body(&twice)).await.json()["detail"][0]["loc"],
        json!(["body", "0"])
    );
    assert_eq!(send(body(&fields)).await.status, 413);
}

#[tokio::test]
async fn forty_thousand_keys_listed_while_others_are_written() {
    let app = App::new().await;
    let key = |number: u64| ulid::Ulid::from_parts(number, 0).to_string();
    for number in 0..40_000 {
        app.table.put(json!({
            "service": { "S": "demo" }, "id": { "S": key(number) },
            "config": { "S": r#"{"permissions":"read"}"# }, "root_key_id": { "S": "053bcb62" },
        }));
    }
    let (mut listed, mut after) = (Vec::new(), None);
    while listed.len() < 40_000 {
        let mut call = Call::new("GET", API_KEYS).query("limit", 10_000);
        if let Some(after) = &after {
            call = call.query("after", after);
        }
        let (response, created) = tokio::join!(
            app.send_event(call.event(Format::Rest)),
            app.create(json!({}))
        );
        assert_eq!((response.status, created.status), (200, 200));
        let page: Vec<Value> = serde_json::from_str(&response.body).expect("a list");
        assert_eq!(page.len(), 10_000);
        after = page
            .last()
            .map(|entry| entry["api_key"].as_str().expect("a key")[..31].to_owned());
        listed.extend(
            page.into_iter()
                .map(|entry| entry["api_key"].as_str().expect("a key")[5..31].to_owned()),
        );
    }
    assert!(
        listed
            .iter()
            .eq((0..40_000).map(key).collect::<Vec<_>>().iter()),
        "each once, in order"
    );
}

#[tokio::test]
async fn an_invocation_without_time_left_responds_in_time() {
    let app = App::new().await;
    app.table.proxy.always(crate::proxy::Fault::Silent);
    let event = Call::new("GET", API_KEYS).event(Format::Http);
    let began = tokio::time::Instant::now();
    let response = invoke(&app.api, &event, std::time::Duration::from_millis(200)).await;
    let response = Response::from_lambda(response);
    assert_eq!(
        (response.status, &response.headers["Retry-After"]),
        (503, &json!("1"))
    );
    assert!(began.elapsed().as_millis() < 300);
}
