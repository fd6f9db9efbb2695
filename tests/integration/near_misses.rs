//! Names of fields that are probably meant to be others: rejected when they are written, never when
//! they are read.

use std::collections::BTreeMap;

use keys::config::FIELDS;
use serde_json::{Map, Value, json};

use crate::config::rejected;
use crate::support::{API_KEYS, App, Call};

/// Names of fields in real configs that mean something else.
const ORDINARY: &str = include_str!("../near-misses/ordinary.txt");

/// Names that probably mean a field, below a line with that field.
const RESTRICTIVE: &str = include_str!("../near-misses/restrictive.txt");

/// Names in [`RESTRICTIVE`] that are accepted: they may as well describe the key's owner or the API
/// behind it.
const ACCEPTED: [&str; 10] = [
    "access_level",
    "activated",
    "active",
    "allowed_ipv4s",
    "allowed_methods",
    "api_gateway_key",
    "auto_expire",
    "no_longer_valid_after",
    "rights",
    "valid",
];

/// Spellings that no list of words has.
const SPELLINGS: [(&str, &str); 8] = [
    (" permissions", "permissions"),
    ("routes ", "routes"),
    ("rout-es", "routes"),
    ("\u{a0}enabled", "enabled"),
    ("enabled\u{200b}", "enabled"),
    ("EXPIRES AT", "expires_at"),
    ("expires\n.at", "expires_at"),
    ("allowed\tip", "allowed_ips"),
];

fn restrictive() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut sections = BTreeMap::<_, Vec<_>>::new();
    let mut field = "";
    for line in RESTRICTIVE.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(name) => field = name,
            None => sections.entry(field).or_default().push(line),
        }
    }
    sections
}

/// A config with all these fields.
fn config(names: &[&str], value: &Value) -> Value {
    names
        .iter()
        .map(|name| ((*name).to_owned(), value.clone()))
        .collect::<Map<_, _>>()
        .into()
}

/// The 422 for such a config, whose names serde_json sorts.
fn details(names: &[&str], meant: &str) -> Value {
    let mut names = names.to_vec();
    names.sort_unstable();
    json!({ "detail": names.iter().map(|name| detail(name, meant)).collect::<Vec<_>>() })
}

/// One entry of the 422.
fn detail(name: &str, meant: &str) -> Value {
    json!({
        "loc": ["body", "config", name],
        "msg": format!("unknown field; did you mean '{meant}'?"),
        "type": "value_error.misspelled",
    })
}

#[tokio::test]
async fn ordinary_names_are_accepted() {
    let app = App::new().await;
    let names: Vec<_> = ORDINARY.lines().collect();
    assert_eq!(names.len(), 697);
    for names in names.chunks(100) {
        let response = app.create(config(names, &json!(1))).await;
        assert_eq!(response.status, 200, "{response:?}");
    }
    let nested = json!({ "x": { "Enabled": 1, "expires": 2, "allowed_ip": 3 } });
    assert_eq!(app.create(nested).await.status, 200);
}

#[tokio::test]
async fn near_misses_are_rejected_with_the_field_meant() {
    let app = App::new().await;
    let (sections, mut accepted) = (restrictive(), Vec::new());
    let fields: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
    assert!(
        sections.keys().all(|name| fields.contains(name)),
        "{fields:?}"
    );
    assert!(sections.values().map(Vec::len).sum::<usize>() >= 267);
    for (meant, names) in sections {
        let (pass, fail): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| ACCEPTED.contains(name));
        let response = app.create(config(&fail, &json!(1))).await;
        assert_eq!(
            (response.status, response.json()),
            (422, details(&fail, meant)),
            "{meant}"
        );
        let response = app.create(config(&pass, &json!(1))).await;
        assert_eq!(response.status, 200, "{response:?}");
        accepted.extend(pass);
    }
    accepted.sort_unstable();
    assert_eq!(accepted, ACCEPTED);
    for field in FIELDS.iter().filter(|field| !field.synonyms.is_empty()) {
        let names: Vec<_> = field.synonyms.split_whitespace().collect();
        let response = app.create(config(&names, &json!(1))).await;
        assert_eq!(
            (response.status, response.json()),
            (422, details(&names, field.name)),
            "{}",
            field.name
        );
    }
    let key = app.create(json!({})).await.api_key();
    for (name, meant) in SPELLINGS {
        assert_eq!(
            rejected(&app, &key, json!({ name: false })).await,
            detail(name, meant)
        );
    }
}

/// Dumps of other products say `"revoked_at": null` of keys that work.
#[tokio::test]
async fn null_is_no_near_miss() {
    let app = App::new().await;
    for names in restrictive().values() {
        let response = app.create(config(names, &Value::Null)).await;
        assert_eq!(response.status, 200, "{response:?}");
    }
}

/// The rule may be extended, so it must not turn a stored key into a 500.
#[tokio::test]
async fn what_is_stored_is_read_without_looking_for_near_misses() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let item = app.table.items().remove(0);
    for names in restrictive().values() {
        let config = config(names, &json!(1));
        store(&app, item.clone(), &config);
        let call = Call::new("POST", &format!("{API_KEYS}verify")).json(&json!({ "api_key": key }));
        let response = app.send(call).await;
        assert_eq!(
            (response.status, &response.json()["config"]),
            (200, &config)
        );
        assert_eq!(app.list().await[0]["config"], config);
    }
    let rotate =
        Call::new("POST", &format!("{API_KEYS}{key}/rotate")).json(&json!({ "grace_seconds": 0 }));
    assert_eq!(app.send(rotate).await.status, 200);
}

fn store(app: &App, mut item: Value, config: &Value) {
    item["config"]["S"] = config.to_string().into();
    app.table.put(item);
}

/// A rule that has become stricter must not keep a key from being disabled.
#[tokio::test]
async fn an_update_may_keep_names_that_the_stored_config_has() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let item = app.table.items().remove(0);
    for names in restrictive().values() {
        let mut changed = config(names, &json!(1));
        store(&app, item.clone(), &changed);
        changed["enabled"] = false.into();
        let response = app.update(&key, changed.clone()).await;
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(app.list().await[0]["config"], changed);
    }
    store(
        &app,
        item.clone(),
        &json!({ "expiry": null, "revoked": true }),
    );
    let response = app
        .update(
            &key,
            json!({ "expiry": "2030-01-01", "Revoked": true, "perms": 1 }),
        )
        .await;
    let expected = [detail("Revoked", "enabled"), detail("perms", "permissions")];
    assert_eq!(
        (response.status, response.json()),
        (422, json!({ "detail": expected }))
    );
    assert_eq!(
        app.list().await[0]["config"],
        json!({ "expiry": null, "revoked": true }),
        "nothing was written"
    );
    // A config that can't be read has no names.
    for text in ["{", "[]", r#"{"perms":1,"perms":1}x"#] {
        let mut broken = item.clone();
        broken["config"]["S"] = text.into();
        app.table.put(broken);
        assert_eq!(
            app.update(&key, json!({ "perms": 1 })).await.status,
            422,
            "{text}"
        );
        assert_eq!(
            app.update(&key, json!({ "enabled": false })).await.status,
            200,
            "{text}"
        );
    }
}

/// A 422 comes before a 404, and no key has no names that may stay. `gaia-keys import --dry-run`
/// checks configs that way.
#[tokio::test]
async fn a_near_miss_in_an_update_of_no_key_is_a_422() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    app.delete(&key).await;
    for key in [key.as_str(), &key[..31], "nosuchkey"] {
        assert_eq!(
            app.update(key, json!({ "team": 1 })).await.status,
            404,
            "{key}"
        );
        let response = app.update(key, json!({ "perms": 1 })).await;
        let expected = json!({ "detail": [detail("perms", "permissions")] });
        assert_eq!((response.status, response.json()), (422, expected), "{key}");
        let response = app.update(key, json!({ "perms": 1, "enabled": 1 })).await;
        let places: Vec<_> = response.json()["detail"]
            .as_array()
            .expect("a list")
            .clone();
        assert_eq!((response.status, places.len()), (422, 1), "{places:?}");
        assert_eq!(places[0]["loc"], json!(["body", "config", "enabled"]));
    }
}
