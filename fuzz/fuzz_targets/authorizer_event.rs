//! A line with the key's config, then an authorizer's event: garbage is denied, and only a valid
//! key is allowed anything.
#![no_main]

use std::sync::LazyLock;

use gaia_api_keys::authorizer::{Authorizer, MethodArn};
use gaia_api_keys_fuzz::service::TIME_LEFT;
use keys::access::{self, AccessRequest, Denial, Lookup, Source};
use keys::config::KeyConfig;
use keys::permission::Permission;
use keys::route::{Route, RoutePattern};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;
use time::OffsetDateTime;

static AUTHORIZER: LazyLock<Authorizer> = LazyLock::new(gaia_api_keys_fuzz::service::authorizer);
static KEY: LazyLock<String> = LazyLock::new(gaia_api_keys_fuzz::key);
static READ_ROUTES: LazyLock<Vec<RoutePattern>> = LazyLock::new(|| {
    gaia_api_keys_fuzz::service::READ_ROUTES
        .split(',')
        .map(|route| RoutePattern::parse_read(route).expect("a route"))
        .collect()
});

/// Until when a key with this config is allowed, whatever is asked of it.
fn decided(config: KeyConfig) -> Result<Option<OffsetDateTime>, Denial> {
    let lookup = Lookup::Key(gaia_api_keys_fuzz::key_id(), Box::new(config));
    let request = AccessRequest::default();
    let now = OffsetDateTime::now_utc();
    access::decide(&lookup, request, &[], Source::CheckedLater, now).map(|allowed| allowed.until)
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let (config, text) = text.split_once('\n').unwrap_or(("{}", text));
    let Ok(payload) = serde_json::from_str::<&RawValue>(text) else {
        return;
    };
    gaia_api_keys_fuzz::service::set_config(config);
    let response = gaia_api_keys_fuzz::service::run(AUTHORIZER.handle(payload, TIME_LEFT));

    // serde_json's tree rejects a lone surrogate and 1e999, which the authorizer takes for garbage.
    let Ok(event) = serde_json::from_str::<Value>(text) else {
        return;
    };
    if !event.is_object() {
        return;
    }
    let string = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let Some(arn) = string("/routeArn")
        .or(string("/methodArn"))
        .and_then(MethodArn::parse)
    else {
        assert!(response.is_err(), "allowed or denied without an ARN");
        return;
    };
    assert!(
        arn.stage.starts_with("arn:") && (arn.path.is_empty() || arn.path.starts_with('/')),
        "{arn:?}"
    );
    let required = |method| {
        Route {
            method,
            path: Some(arn.path),
        }
        .required(&READ_ROUTES)
    };
    assert_eq!(required("GET"), Permission::Read);
    let post = required("POST");
    assert!(post == Permission::Write || arn.path.starts_with("/es/api/v1/search/"));

    let config = KeyConfig::parse(config);
    let Ok(response) = response else {
        assert!(config.is_err(), "the key could have been checked");
        return;
    };
    let written = serde_json::to_string(&response).expect("JSON");
    let response: Value = serde_json::from_str(&written).expect("JSON");
    if arn.stage.len() <= 200
        && arn
            .stage
            .bytes()
            .all(|c| matches!(c, b' '..=b'~') && c != b'"' && c != b'\\')
    {
        assert!(written.len() <= 8192, "{} bytes", written.len());
    }
    let statement = &response["policyDocument"]["Statement"][0];
    if statement["Effect"] == "Deny" {
        let in_force = config.is_ok_and(|config| {
            let grants = config.permissions.is_some() || !config.routes.is_empty();
            grants && decided(config).is_ok()
        });
        let shown = string("/authorizationToken") == Some(&format!("Search {}", *KEY));
        assert!(
            !(in_force && shown && string("/type") == Some("TOKEN")),
            "a key was denied"
        );
        assert_eq!(response["principalId"], "denied");
        return;
    }

    // Allowed: so the key is in the event, its config is valid now, and the policy says no more
    // than it.
    assert_eq!(statement["Effect"], "Allow");
    assert_eq!(
        response["principalId"],
        format!("gaia_{}", gaia_api_keys_fuzz::ULID)
    );
    assert!(event.to_string().contains(&**KEY), "allowed without a key");
    let config = config.expect("a config");
    let until = decided(config.clone()).expect("an allowed key");
    assert_eq!(
        statement["Condition"]["IpAddress"].is_object(),
        config.allowed_ips.is_some()
    );
    assert_eq!(
        statement["Condition"]["DateLessThan"].is_object(),
        until.is_some()
    );
    let granted = statement["Resource"].as_array().expect("resources");
    assert!(
        granted
            .iter()
            .all(|one| one.as_str().is_some_and(|one| one.starts_with(arn.stage)))
    );
    let all = format!("{}/*", arn.stage);
    assert_eq!(
        granted.contains(&all.into()),
        config.permissions == Some(Permission::Write)
    );
    if config.permissions.is_none() {
        assert_eq!(granted.len(), config.routes.len());
        assert_eq!(
            response["policyDocument"]["Statement"][1]["Effect"], "Deny",
            "paths with '..'"
        );
    }
    // The dictionary holds the key, so it may appear in fields that the response repeats.
    if !config.as_str().contains(&**KEY) && !arn.stage.contains(&**KEY) {
        assert!(!written.contains(&**KEY), "the response holds the key");
    }
});
