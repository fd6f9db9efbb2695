//! Any bytes as the event of the management API: what can be read as an event is answered, by no 5xx and no panic, and
//! what it writes is a config that reads back.
#![no_main]

use std::sync::LazyLock;

use gaia_api_keys::api::Api;
use gaia_api_keys::api::event::ProxyEvent;
use gaia_api_keys::keys::config::KeyConfig;
use gaia_api_keys_fuzz::TIME_LEFT;
use libfuzzer_sys::fuzz_target;

static API: LazyLock<Api> = LazyLock::new(gaia_api_keys_fuzz::api);

fuzz_target!(|data: &[u8]| {
    let Ok(event) = serde_json::from_slice::<ProxyEvent>(data) else { return };
    let has_caller = event.caller().is_some();
    if let Ok(body) = event.body() {
        assert!(body.len().abs_diff(event.body_len()) <= 2, "{} is not about {}", event.body_len(), body.len());
    }
    gaia_api_keys_fuzz::set_config(r#"{"permissions":"read","allowed_ips":["10.0.0.0/8"]}"#);
    let response = gaia_api_keys_fuzz::run(API.handle(event, TIME_LEFT));
    gaia_api_keys_fuzz::check(&response);
    assert_eq!(response.status_code == 401, !has_caller);
    match gaia_api_keys_fuzz::written() {
        Some(config) => {
            assert_eq!(response.status_code, 200);
            assert_eq!(KeyConfig::parse_new(&config).expect("what is stored may be stored").as_str(), config);
        }
        None => assert!(response.status_code != 200 || !response.body.contains(r#""result":"created""#)),
    }
});
