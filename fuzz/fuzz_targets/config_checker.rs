//! A config is kept verbatim, is read again to the same, and serde_json agrees on what it says.
#![no_main]

use std::collections::HashMap;

use keys::config::{ConfigErrors, FIELDS, KeyConfig, MAX_CONFIG};
use keys::json;
use keys::permission::Permission;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;
use time::OffsetDateTime;

/// Whoever sent the config is told where it is wrong.
fn check(errors: &ConfigErrors) {
    assert!(!errors.0.is_empty());
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let config = match KeyConfig::parse(text) {
        Ok(config) => config,
        Err(errors) => return check(&errors),
    };
    let kept = config.as_str();
    assert_eq!(kept, text.trim_matches([' ', '\t', '\n', '\r']));
    assert!(kept.len() <= MAX_CONFIG && kept.starts_with('{') && kept.ends_with('}'));

    let again = KeyConfig::parse(kept).expect("what was accepted is accepted");
    // With all fields, the text included.
    assert_eq!(format!("{again:?}"), format!("{config:?}"));

    // A second opinion: every name once, every value JSON.
    let fields: HashMap<String, &RawValue> = serde_json::from_str(kept).expect("an object");
    let in_order = json::fields(json::parse(kept).expect("JSON")).expect("an object");
    assert_eq!(fields.len(), in_order.len(), "a field named twice");
    let says = |name: &str| fields.get(name).map_or("null", |value| value.get());
    let value = |name: &str| serde_json::from_str::<Value>(says(name));
    match serde_json::from_str::<Value>(kept) {
        Ok(whole) => assert!(whole.is_object()),
        Err(error) => {
            let error = error.to_string();
            assert!(
                error.contains("out of range") || error.contains("recursion limit"),
                "{error}"
            );
        }
    }
    assert_eq!(config.enabled, says("enabled") != "false");
    assert_eq!(config.expires_at.is_none(), says("expires_at") == "null");
    let permission = value("permissions").expect("a word");
    assert_eq!(
        config.permissions.map(Permission::as_str),
        permission.as_str()
    );
    let routes = value("routes").expect("a list");
    assert_eq!(config.routes.len(), routes.as_array().map_or(0, Vec::len));
    assert!(config.permissions.is_none() || config.routes.is_empty());
    let ranges = value("allowed_ips").expect("a list");
    assert_eq!(
        config.allowed_ips.as_ref().map(Vec::len),
        ranges.as_array().map(Vec::len)
    );

    // What may be written can be read, and no name in it is but for its spelling one that has a
    // meaning.
    match KeyConfig::parse_new(text) {
        Ok(new) => {
            assert_eq!(new.as_str(), kept);
            assert!(new.allowed_ips.is_none_or(|ranges| !ranges.is_empty()));
            for (name, value) in &fields {
                let plain = |name: &str| -> String {
                    name.to_lowercase()
                        .chars()
                        .filter(char::is_ascii_alphanumeric)
                        .collect()
                };
                let meant = FIELDS.iter().any(|field| field.name == name) || value.get() == "null";
                let known = FIELDS.iter().any(|field| plain(field.name) == plain(name));
                // Other characters between the letters count as letters.
                let other = name.contains(|c: char| {
                    !c.is_ascii_alphanumeric() && !['_', '-', '.', ' '].contains(&c)
                });
                assert!(meant || !known || other, "{name} opens a key");
            }
            if let Some(expires_at) = new.expires_at {
                assert!(
                    expires_at >= OffsetDateTime::UNIX_EPOCH && !says("expires_at").contains(":60")
                );
            }
        }
        Err(errors) => check(&errors),
    }
});
