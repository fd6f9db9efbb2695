//! Any JSON as an event of the management API: the response to it is no 5xx, and nothing panics.
//! Without a caller nothing is done, and a config that is written can be read again.
#![no_main]

use std::sync::LazyLock;

use gaia_api_keys::api::Api;
use keys::config::KeyConfig;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;

static API: LazyLock<Api> = LazyLock::new(gaia_api_keys_fuzz::service::api);

/// Where an event names its caller: twice in each format, and once more for Cognito.
const CALLERS: [&str; 5] = [
    "/requestContext/identity/userArn",
    "/requestContext/authorizer/sub",
    "/requestContext/authorizer/claims/sub",
    "/requestContext/authorizer/iam/userArn",
    "/requestContext/authorizer/jwt/claims/sub",
];

fuzz_target!(|data: &[u8]| {
    let Ok(payload) = serde_json::from_slice::<Box<RawValue>>(data) else {
        return;
    };
    let event = serde_json::from_str::<Value>(payload.get());
    gaia_api_keys_fuzz::service::set_config(
        r#"{"permissions":"read","allowed_ips":["10.0.0.0/8"]}"#,
    );
    let response = gaia_api_keys_fuzz::service::invoke(&API, payload);
    let written = gaia_api_keys_fuzz::service::written();
    // A lone surrogate or 1e999 in a field that nobody reads is no mistake, but serde_json's tree
    // doesn't take it.
    if let Ok(event) = event {
        let names_caller = |place: &&str| {
            event
                .pointer(place)
                .and_then(Value::as_str)
                .is_some_and(|it| !it.is_empty())
        };
        if !CALLERS.iter().any(names_caller) {
            assert!([400, 401].contains(&response.status), "{response:?}");
        }
    }
    match written {
        Some(config) => {
            assert_eq!(response.status, 200);
            assert_eq!(
                KeyConfig::parse_new(&config)
                    .expect("what is stored may be stored")
                    .as_str(),
                config
            );
        }
        None => assert!(!response.body.contains(r#""result":"created""#)),
    }
});
