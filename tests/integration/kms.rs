//! Root keys from KMS: a recorded exchange stands in for KMS here; CI repeats the exchange with
//! moto.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Router, routing::post};
use keys::keyring::{Keyring, RootKey};
use serde_json::{Value, json};

use crate::proxy::{Fault, Proxy};
use crate::support::Table;

pub const KEY_ID: &str =
    "arn:aws:kms:eu-central-1:123456789012:key/mrk-99b9a8c9b7bf4e87bb8e54605bd5b9de";
/// The MAC in the response of moto's KMS.
pub const MAC: &str = "y1vhfTWaG98Z35/sW4OiQzSS65pzHlEd0kdGjiIFXig=";

pub type Requests = Arc<Mutex<Vec<Value>>>;

/// A KMS that responds to everything with `status` and `body`.
pub async fn kms(status: StatusCode, body: impl ToString) -> (String, Requests) {
    let body = body.to_string();
    let requests = Requests::default();
    let respond = move |State(requests): State<Requests>, headers: HeaderMap, request: String| async move {
        assert_eq!(headers["x-amz-target"], "TrentService.GenerateMac");
        assert!(
            headers["authorization"]
                .to_str()
                .expect("text")
                .contains("/eu-central-1/kms/aws4_request")
        );
        requests
            .lock()
            .expect("a lock")
            .push(serde_json::from_str(&request).expect("JSON"));
        (status, body)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new()
        .route("/", post(respond))
        .with_state(requests.clone());
    tokio::spawn(axum::serve(listener, router).into_future());
    (endpoint, requests)
}

#[tokio::test]
async fn the_root_key_is_kms_s_mac_of_a_fixed_message() {
    let (endpoint, requests) = kms(
        StatusCode::OK,
        json!({ "Mac": MAC, "MacAlgorithm": "HMAC_SHA_256", "KeyId": KEY_ID }),
    )
    .await;
    let table = Table::new().await;
    let settings = [
        ("ROOT_KEY", ""),
        ("KMS_KEY_ID", KEY_ID),
        ("AWS_ENDPOINT_URL_KMS", &endpoint),
    ];
    let api = table.api(&settings).await.expect("a start");
    let message = base64_simd::STANDARD.encode_to_string(b"gaia-api-key/v1/root-key");
    let asked = json!({ "KeyId": KEY_ID, "MacAlgorithm": "HMAC_SHA_256", "Message": message });
    assert_eq!(*requests.lock().expect("a lock"), [asked], "once, at start");

    let app = crate::support::App { api, table };
    let key = app.create(json!({})).await.api_key();
    let mac: [u8; 32] = base64_simd::STANDARD
        .decode_to_vec(MAC)
        .expect("base64")
        .try_into()
        .expect("32 bytes");
    assert!(
        Keyring::new("demo", &RootKey::from_bytes(mac), None)
            .parse_key(&key)
            .is_some()
    );
    assert_eq!(requests.lock().expect("a lock").len(), 1);
}

#[tokio::test]
async fn two_kms_keys_are_two_root_keys() {
    let (endpoint, requests) = kms(StatusCode::OK, json!({ "Mac": MAC, "KeyId": KEY_ID })).await;
    let table = Table::new().await;
    let settings = [
        ("ROOT_KEY", ""),
        ("KMS_KEY_ID", "alias/new, alias/old"),
        ("AWS_ENDPOINT_URL_KMS", &endpoint),
    ];
    table.api(&settings).await.expect("a start");
    let asked: Vec<_> = requests
        .lock()
        .expect("a lock")
        .iter()
        .map(|request| request["KeyId"].clone())
        .collect();
    assert_eq!(asked, ["alias/new", "alias/old"]);
}

#[tokio::test]
async fn a_failing_kms_stops_the_start_and_is_named() {
    let table = Table::new().await;
    let failures = [
        (
            StatusCode::BAD_REQUEST,
            json!({ "__type": "DisabledException", "message": "key is disabled" }),
            "DisabledException",
        ),
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            json!({ "__type": "KMSInternalException" }),
            "KMSInternalException",
        ),
        (StatusCode::OK, json!({ "Mac": "AAAA" }), "32 bytes"),
        (StatusCode::OK, json!({}), "32 bytes"),
    ];
    for (status, body, reason) in failures {
        let (endpoint, _) = kms(status, body).await;
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
            error.starts_with("KMS_KEY_ID") && error.contains(reason) && !error.contains("AAAA"),
            "{error}"
        );
    }
}

/// One fault is retried transparently. One that lasts stops the start, within the ten seconds that
/// Lambda allows.
#[tokio::test]
async fn every_fault_at_start() {
    let (endpoint, _) = kms(StatusCode::OK, json!({ "Mac": MAC, "KeyId": KEY_ID })).await;
    let upstream = endpoint
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    let faults = [
        Fault::Throttled,
        Fault::ServerError,
        Fault::Dropped,
        Fault::DoneThenDropped,
        Fault::HalfResponse,
        Fault::DoneThenSilent,
        Fault::Silent,
        Fault::Slow,
    ];
    let starts = faults.map(|fault| async move {
        let table = Table::new().await;
        let proxy = Proxy::start(upstream).await;
        let endpoint = format!("http://{}", proxy.address);
        let settings = [
            ("ROOT_KEY", ""),
            ("KMS_KEY_ID", KEY_ID),
            ("AWS_ENDPOINT_URL_KMS", endpoint.as_str()),
        ];
        proxy.plan(&[fault]);
        table
            .api(&settings)
            .await
            .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        proxy.always(fault);
        let began = tokio::time::Instant::now();
        let outcome = table.api(&settings).await;
        assert!(
            began.elapsed().as_secs() < 10,
            "{fault:?}: {:?}",
            began.elapsed()
        );
        match outcome {
            Ok(_) => assert_eq!(fault, Fault::Slow),
            Err(error) => assert!(
                error.to_string().starts_with("KMS_KEY_ID"),
                "{fault:?}: {error}"
            ),
        }
    });
    futures_util::future::join_all(starts).await;
}

/// With a running KMS, named by `TEST_KMS_ENDPOINT` and `TEST_KMS_KEY_ID`.
#[tokio::test]
#[ignore = "needs a running KMS; .ci/run starts moto's"]
async fn against_a_running_kms() {
    let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let (endpoint, key_id) = (variable("TEST_KMS_ENDPOINT"), variable("TEST_KMS_KEY_ID"));
    let table = Table::new().await;
    let settings = [
        ("ROOT_KEY", ""),
        ("KMS_KEY_ID", key_id.as_str()),
        ("AWS_ENDPOINT_URL_KMS", &endpoint),
    ];
    let first = table.api(&settings).await.expect("a start");
    let second = table.api(&settings).await.expect("a start");
    let app = crate::support::App { api: first, table };
    let key = app.create(json!({})).await.api_key();
    let app = crate::support::App {
        api: second,
        table: app.table,
    };
    assert_eq!(
        app.delete(&key).await.status,
        200,
        "the same key ID gives the same root key"
    );
}
