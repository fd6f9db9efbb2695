//! One request in both event formats, its body as text and as base64: one response.
#![no_main]

use std::sync::LazyLock;

use gaia_api_keys::api::Api;
use gaia_api_keys::api::router::{API_KEYS, ENDPOINTS, Endpoint};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use serde_json::{Value, json};

static API: LazyLock<Api> = LazyLock::new(gaia_api_keys_fuzz::service::api);
static KEY: LazyLock<String> = LazyLock::new(gaia_api_keys_fuzz::key);

#[derive(Arbitrary, Debug)]
struct Request {
    endpoint: u8,
    tail: Option<String>,
    content_type: Option<String>,
    idempotency_key: Option<String>,
    limit: Option<String>,
    after: Option<String>,
    details: Option<String>,
    config_in_body: bool,
    body: String,
}

impl Request {
    fn endpoint(&self) -> (Endpoint, &'static str, &'static str) {
        ENDPOINTS[usize::from(self.endpoint) % ENDPOINTS.len()]
    }

    fn line(&self) -> (&'static str, String) {
        let (_, method, below) = self.endpoint();
        let by_id = usize::from(self.endpoint) / ENDPOINTS.len() % 2 == 1;
        let name = if by_id { &KEY[..31] } else { &KEY };
        let below = below.replace("{api_key}", name);
        let tail = self.tail.as_deref().unwrap_or_default();
        (method, format!("{API_KEYS}{below}{tail}"))
    }

    fn body(&self) -> String {
        match self.endpoint().0 {
            _ if !self.config_in_body => self.body.clone(),
            Endpoint::Verify => format!(r#"{{"api_key":"{}",{}"#, *KEY, self.body),
            Endpoint::Rotate => format!(r#"{{"grace_seconds":60,{}"#, self.body),
            _ => format!(r#"{{"config":{}}}"#, self.body),
        }
    }

    fn event(&self, old: bool, base64: bool) -> Value {
        let (method, path) = self.line();
        let headers: serde_json::Map<_, _> = [
            ("Content-Type", &self.content_type),
            ("Idempotency-Key", &self.idempotency_key),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))))
        .collect();
        let query: Vec<_> = [
            ("limit", &self.limit),
            ("after", &self.after),
            ("details", &self.details),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
        .collect();
        let body = self.body();
        let body = if base64 {
            base64_simd::STANDARD.encode_to_string(body)
        } else {
            body
        };
        let mut event = json!({ "headers": headers, "body": body, "isBase64Encoded": base64 });
        if old {
            event["path"] = path.into();
            event["httpMethod"] = method.into();
            event["queryStringParameters"] = query
                .into_iter()
                .map(|(name, value)| (name.to_owned(), json!(value)))
                .collect();
            event["requestContext"] = json!({ "stage": "prod", "httpMethod": method, "identity": { "userArn": "arn:fuzz" } });
        } else {
            event["version"] = "2.0".into();
            event["rawPath"] = path.into();
            let query = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(query)
                .finish();
            event["rawQueryString"] = query.into();
            event["requestContext"] = json!({
                "stage": "$default",
                "authorizer": { "iam": { "userArn": "arn:fuzz" } },
                "http": { "method": method },
            });
        }
        event
    }
}

fuzz_target!(|request: Request| {
    gaia_api_keys_fuzz::service::set_config(r#"{"permissions":"write"}"#);
    let responses =
        [(true, false), (false, false), (true, true), (false, true)].map(|(old, base64)| {
            let payload =
                RawValue::from_string(request.event(old, base64).to_string()).expect("JSON");
            let response = gaia_api_keys_fuzz::service::invoke(&API, payload);
            let written = gaia_api_keys_fuzz::service::written();
            let mut body: Value = serde_json::from_str(&response.body).unwrap_or_default();
            if let (Some(written), Endpoint::Create | Endpoint::Update) =
                (&written, request.endpoint().0)
            {
                assert!(request.body().contains(written), "{written} was not sent");
            }
            if body["result"] == "created" || body["result"] == "rotated" {
                // A new key each time, and another second.
                body["api_key"] = Value::Null;
                body["rotated_from_expires_at"] = Value::Null;
            }
            (response.status, response.headers, body, written)
        });
    assert!(
        responses.iter().all(|response| *response == responses[0]),
        "{responses:#?}"
    );
});
