//! A key with its details, and when it was last used.

use serde_json::{Value, json};

use crate::events;
use crate::protected::{Protected, SHAPES, Shape, Visit};
use crate::proxy::Fault;
use crate::support::{API_KEYS, App, CALLER, Call, Response};

async fn get(app: &App, key: &str) -> Response {
    app.send(Call::new("GET", &format!("{API_KEYS}{key}")))
        .await
}

async fn verify(app: &App, key: &str) {
    let question = Call::new("POST", &format!("{API_KEYS}verify")).json(&json!({ "api_key": key }));
    assert_eq!(app.send(question).await.json()["valid"], true);
}

#[tokio::test]
async fn one_key_with_all_its_details() {
    let app = App::new().await;
    let key = app.create(json!({ "permissions": "read" })).await.api_key();
    app.table.proxy.requests();
    let response = get(&app, &key).await;
    assert_eq!(app.table.proxy.requests(), ["GetItem", "GetItem"]);
    let created_at = response.json()["created_at"].clone();
    let expected = json!({
        "api_key": key, "config": { "permissions": "read" }, "created_at": created_at, "created_by": CALLER,
        "updated_at": null, "updated_by": null, "last_used_at": null, "rotated_from": null, "rotated_to": null,
        "root_key_id": "053bcb62", "etag": response.headers["Etag"],
    });
    assert_eq!((response.status, response.json()), (200, expected));
    let names: Vec<_> = response
        .body
        .match_indices("\":")
        .map(|(at, _)| response.body[..at].rsplit('"').next().expect("a name"))
        .collect();
    let order = "api_key config permissions created_at created_by updated_at updated_by last_used_at rotated_from rotated_to root_key_id etag";
    assert_eq!(
        names
            .into_iter()
            .filter(|name| order.split(' ').any(|known| known == *name))
            .collect::<Vec<_>>()
            .join(" "),
        order
    );
    app.update(&key, json!({})).await;
    let changed = get(&app, &key[..31]).await.json();
    assert_eq!(
        (&changed["updated_by"], &changed["api_key"]),
        (&json!(CALLER), &json!(key))
    );
    let forged = format!("{}0", &key[..57]);
    for wrong in [
        "nosuchkey",
        if forged == key { "x" } else { &forged },
        "gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    ] {
        assert_eq!(
            (get(&app, wrong).await.status, get(&app, wrong).await.json()),
            (404, json!({ "detail": "API key not found" }))
        );
    }
    let ids = App {
        api: app
            .table
            .api(&[("KEY_DISCLOSURE", "id")])
            .await
            .expect("a start"),
        table: app.table,
    };
    assert_eq!(get(&ids, &key).await.json()["api_key"], key[..31]);
    let listed = ids
        .send(Call::new("GET", API_KEYS).query("details", "true"))
        .await
        .json();
    assert_eq!(listed[0]["api_key"], key[..31]);
}

#[tokio::test]
async fn a_list_with_details_is_the_list_with_more() {
    let app = App::new().await;
    let mut keys = Vec::new();
    for number in 0..5 {
        keys.push(app.create(json!({ "n": number })).await.api_key());
    }
    for key in [&keys[0], &keys[3]] {
        verify(&app, key).await;
    }
    app.table.proxy.requests();
    let (mut pages, mut call) = (
        Vec::new(),
        Call::new("GET", API_KEYS)
            .query("details", "YES")
            .query("limit", 2),
    );
    loop {
        let response = app.send(call.clone()).await;
        assert_eq!(app.table.proxy.requests(), ["Query", "Query"]);
        pages.extend(response.json().as_array().expect("a list").clone());
        let Some(link) = response.headers["Link"].as_str() else {
            break;
        };
        let after = link
            .strip_prefix("<?after=")
            .and_then(|rest| rest.strip_suffix("&details=true&limit=2>; rel=\"next\""));
        call = call
            .query("after", after.expect("an id"))
            .query("details", "true");
    }
    for (entry, key) in pages.iter().zip(&keys) {
        assert_eq!(entry, &get(&app, key).await.json());
        assert_eq!(
            entry["last_used_at"].is_string(),
            [&keys[0], &keys[3]].contains(&key)
        );
    }
    assert_eq!(pages.len(), 5);
    app.table.proxy.requests();
    for plain in ["false", "0", "no"] {
        let response = app
            .send(Call::new("GET", API_KEYS).query("details", plain))
            .await;
        assert_eq!(response.json(), Value::from(app.list().await));
    }
    for wrong in ["", "2", "maybe"] {
        let response = app
            .send(Call::new("GET", API_KEYS).query("details", wrong))
            .await;
        let expected = json!({ "loc": ["query", "details"], "msg": "value could not be parsed to a boolean", "type": "type_error.bool" });
        assert_eq!(
            (response.status, response.json()["detail"][0].clone()),
            (422, expected)
        );
    }
}

#[tokio::test]
async fn a_use_is_recorded_once_per_hour_and_instance() {
    let protected = Protected::new(&[]).await;
    let app = &protected.app;
    let requests = || app.table.proxy.requests();
    let key = app.create(json!({ "permissions": "read" })).await.api_key();
    requests();
    for shape in SHAPES {
        // Two authorizers, one of them for simple responses.
        let first = matches!(shape, Shape::RestToken | Shape::Simple);
        protected
            .allows(shape, &Visit::new(&key, "GET", "/x"))
            .await;
        let expected: &[&str] = if first {
            &["GetItem", "PutItem"]
        } else {
            &["GetItem"]
        };
        assert_eq!(requests(), expected, "{shape:?}");
    }
    let denied = app.create(json!({ "permissions": "read" })).await.api_key();
    requests();
    assert!(
        !protected
            .allows(Shape::Http2, &Visit::new(&denied, "POST", "/x"))
            .await
    );
    assert_eq!(requests(), ["GetItem"], "a denial is no use");
    let forged = format!(
        "{}{}",
        &key[..57],
        if key.ends_with('0') { '1' } else { '0' }
    );
    assert!(
        !protected
            .allows(Shape::Http2, &Visit::new(&forged, "GET", "/x"))
            .await
    );
    assert!(requests().is_empty());

    let used = app
        .table
        .items()
        .into_iter()
        .find(|item| item["service"]["S"] == "demo#use")
        .expect("a use");
    let at = get(app, &key).await.json()["last_used_at"]
        .as_str()
        .expect("a time")
        .to_owned();
    let now = time::OffsetDateTime::now_utc();
    assert!(
        at.ends_with(":00:00Z") && at.starts_with(&now.date().to_string()),
        "{at}"
    );
    assert_eq!(
        (&used["id"]["S"], &used["last_used_at"]["S"]),
        (&json!(key[5..31]), &json!(at))
    );
    let ttl: i64 = used["ttl"]["N"]
        .as_str()
        .and_then(|ttl| ttl.parse().ok())
        .expect("a ttl");
    assert!((now.unix_timestamp() + 400 * 86_400 - ttl) < 3_601);

    // A later hour that another instance recorded stays.
    let mut later = used;
    later["last_used_at"]["S"] = "2999-01-01T00:00:00Z".into();
    app.table.put(later);
    let other = App {
        api: app.table.api(&[]).await.expect("a start"),
        table: Protected::new(&[]).await.app.table,
    };
    verify(&other, &key).await;
    assert_eq!(
        get(app, &key).await.json()["last_used_at"],
        "2999-01-01T00:00:00Z"
    );
}

#[tokio::test]
async fn a_failing_usage_write_delays_one_check_and_denies_none() {
    for (fault, slow) in [
        (Fault::Silent, true),
        (Fault::Denied, false),
        (Fault::ServerError, false),
        (Fault::Dropped, false),
    ] {
        let app = App::new().await;
        let key = app.create(json!({})).await.api_key();
        app.table.proxy.requests();
        app.table.proxy.plan(&[Fault::None, fault]);
        let began = tokio::time::Instant::now();
        verify(&app, &key).await;
        assert_eq!(
            app.table.proxy.requests(),
            ["GetItem", "PutItem"],
            "{fault:?}: one attempt"
        );
        assert!(
            began.elapsed().as_millis() < 1_500 && (!slow || began.elapsed().as_millis() >= 200)
        );
        verify(&app, &key).await;
        assert_eq!(
            app.table.proxy.requests(),
            ["GetItem"],
            "{fault:?}: not tried again at once"
        );
    }
}

#[tokio::test]
async fn usage_can_be_turned_off() {
    let app = App::with(&[("TRACK_USAGE", "false")]).await;
    let key = app.create(json!({})).await.api_key();
    verify(&app, &key).await;
    assert_eq!(app.table.items().len(), 1);
    assert_eq!(get(&app, &key).await.json()["last_used_at"], Value::Null);
}

fn item(app: &App, partition: &str, id: &str) -> Option<Value> {
    app.table
        .items()
        .into_iter()
        .find(|item| item["service"]["S"] == partition && item["id"]["S"] == id[5..31])
}

fn ttl(item: Option<Value>) -> i64 {
    let item = item.expect("an item");
    item["ttl"]["N"]
        .as_str()
        .and_then(|ttl| ttl.parse().ok())
        .unwrap_or_else(|| panic!("no ttl: {item}"))
}

/// Lists read usage, so usage must not outlive its key by a year.
#[tokio::test]
async fn usage_is_kept_no_longer_than_its_key() {
    const DAY: i64 = 86_400;
    let app = App::new().await;
    let in_days = |days: i64| {
        let time = time::OffsetDateTime::now_utc() + time::Duration::days(days);
        time.format(&time::format_description::well_known::Rfc3339)
            .expect("a text")
    };
    let used = async |config: Value| {
        let key = app.create(config).await.api_key();
        verify(&app, &key).await;
        key
    };
    let both = |key: &str| {
        (
            ttl(item(&app, "demo#use", key)),
            ttl(item(&app, "demo", key)),
        )
    };
    let now = time::OffsetDateTime::now_utc().unix_timestamp();

    let (usage, key) = both(&used(json!({ "expires_at": in_days(10) })).await);
    assert_eq!(usage, key, "at the use");
    let (usage, key) = both(&used(json!({ "expires_at": in_days(1000) })).await);
    assert!(usage < now + 401 * DAY && usage < key);

    let updated = used(json!({})).await;
    assert!(ttl(item(&app, "demo#use", &updated)) > now + 399 * DAY);
    let last_used_at = get(&app, &updated).await.json()["last_used_at"].clone();
    app.update(&updated, json!({ "expires_at": in_days(20) }))
        .await;
    assert_eq!(both(&updated).0, both(&updated).1, "after an update");
    app.update(&updated, json!({ "expires_at": in_days(900) }))
        .await;
    assert!(both(&updated).0 <= both(&updated).1);
    app.update(&updated, json!({ "expires_at": "2001-01-01T00:00:00Z" }))
        .await;
    assert_eq!(
        both(&updated).0,
        both(&updated).1,
        "after an expiry in the past"
    );
    assert_eq!(
        get(&app, &updated).await.json()["last_used_at"],
        last_used_at
    );

    let mut ended = Vec::new();
    for change in events::changes() {
        let key = used(json!({})).await;
        assert_eq!(app.send(change.call(&key)).await.status, 200);
        let usage = ttl(item(&app, "demo#use", &key));
        match item(&app, "demo", &key) {
            None => assert!((now + 30 * DAY..now + 30 * DAY + 60).contains(&usage)),
            Some(item) if item["ttl"].is_null() => continue,
            Some(item) => assert_eq!(usage, ttl(Some(item)), "{}", change.name),
        }
        ended.push(change.name);
    }
    assert!(ended.len() > 1, "{ended:?}");

    let unused = app.create(json!({})).await.api_key();
    app.update(&unused, json!({ "expires_at": in_days(20) }))
        .await;
    app.delete(&unused).await;
    assert_eq!(
        item(&app, "demo#use", &unused),
        None,
        "nothing is recorded of a key that was never used"
    );
}

#[tokio::test]
async fn a_change_whose_usage_write_fails_is_acknowledged() {
    for fault in [
        Fault::Silent,
        Fault::Denied,
        Fault::ServerError,
        Fault::Dropped,
    ] {
        let app = App::new().await;
        let key = app.create(json!({})).await.api_key();
        verify(&app, &key).await;
        app.table.proxy.requests();
        app.table.proxy.plan(&[Fault::None, Fault::None, fault]);
        let response = app
            .update(&key, json!({ "expires_at": "2030-01-01T00:00:00Z" }))
            .await;
        assert_eq!(response.status, 200, "{fault:?}");
        assert_eq!(
            app.table.proxy.requests(),
            ["GetItem", "UpdateItem", "UpdateItem"],
            "{fault:?}: one attempt"
        );
    }
    let untracked = App::with(&[("TRACK_USAGE", "false")]).await;
    let key = untracked.create(json!({})).await.api_key();
    untracked.table.proxy.requests();
    untracked
        .update(&key, json!({ "expires_at": "2030-01-01T00:00:00Z" }))
        .await;
    untracked.delete(&key).await;
    assert_eq!(
        untracked.table.proxy.requests(),
        ["GetItem", "UpdateItem", "GetItem", "DeleteItem"]
    );
}

/// A key whose usage can't be read must not look like one that was never used.
#[tokio::test]
async fn usage_that_can_not_be_read_is_a_500_where_it_is_shown() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    verify(&app, &key).await;
    let sound = item(&app, "demo#use", &key).expect("usage");
    for value in [
        None,
        Some(json!({ "N": "1" })),
        Some(json!({ "NULL": true })),
        Some(json!({ "L": [] })),
    ] {
        let mut broken = sound.clone();
        match &value {
            Some(value) => broken["last_used_at"] = value.clone(),
            None => drop(
                broken
                    .as_object_mut()
                    .expect("an object")
                    .remove("last_used_at"),
            ),
        }
        app.table.put(broken);
        assert_eq!(get(&app, &key).await.status, 500, "{value:?}");
        let list = Call::new("GET", API_KEYS);
        assert_eq!(
            app.send(list.clone().query("details", true)).await.status,
            500,
            "{value:?}"
        );
        assert_eq!(app.send(list).await.status, 200, "{value:?}");
        verify(&app, &key).await;
    }
}
