//! What is stored and listed, who changed it, and how many requests to DynamoDB each endpoint
//! takes.

use serde_json::{Value, json};

use crate::events;
use crate::support::{API_KEYS, App, CALLER, Call, FORMATS, Format, TIMEOUT, invoke};

#[tokio::test]
async fn an_item_holds_no_secret_and_says_who_did_what_when() {
    let app = App::new().await;
    let key = app.create(json!({ "permissions": "read" })).await.api_key();
    let (id, secret) = (&key[5..31], &key[32..]);
    let item = app.table.items().remove(0);
    let now = item["created_at"]["S"].as_str().expect("a time").to_owned();
    assert!(now.starts_with("20") && now.ends_with('Z'), "{now}");
    let created = json!({
        "service": { "S": "demo" },
        "id": { "S": id },
        "config": { "S": r#"{"permissions":"read"}"# },
        "root_key_id": { "S": "053bcb62" },
        "created_at": { "S": now },
        "created_by": { "S": CALLER },
        "change_id": item["change_id"],
    });
    assert_eq!(item, created);
    assert_eq!(item["change_id"]["S"].as_str().map(str::len), Some(26));

    app.update(&key, json!({ "expires_at": "2030-01-01T00:00:00Z" }))
        .await;
    let item = app.table.items().remove(0);
    assert_ne!(item["change_id"], created["change_id"]);
    assert_eq!(
        item["ttl"],
        json!({ "N": (1_893_456_000 + 30 * 86_400).to_string() })
    );
    assert_eq!(item["updated_by"], json!({ "S": CALLER }));
    assert!(item["updated_at"]["S"].as_str() >= Some(now.as_str()));
    assert_eq!(
        (&item["created_at"], &item["root_key_id"]),
        (&created["created_at"], &created["root_key_id"])
    );
    app.update(&key, json!({})).await;
    assert_eq!(app.table.items()[0].get("ttl"), None);
    // DynamoDB ignores a ttl that is older than five years, so an item that expired long ago is
    // kept from now on.
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    app.update(&key, json!({ "expires_at": "1999-01-01T00:00:00Z" }))
        .await;
    let mut call = Call::new("POST", API_KEYS);
    call = call.json(&json!({ "config": { "expires_at": "1970-01-02T00:00:00Z" } }));
    app.send(call).await;
    for item in app.table.items() {
        let ttl: i64 = item["ttl"]["N"]
            .as_str()
            .and_then(|ttl| ttl.parse().ok())
            .expect("a ttl");
        assert!(
            (now + 30 * 86_400..now + 30 * 86_400 + 10).contains(&ttl),
            "{item}"
        );
    }
    assert!(!Value::from(app.table.items()).to_string().contains(secret));
}

#[tokio::test]
async fn what_each_endpoint_costs() {
    let app = App::new().await;
    let requests = || app.table.proxy.requests();
    let mut key = String::new();
    for (name, event) in events::requests() {
        key = app.create(json!({ "permissions": "read" })).await.api_key();
        requests();
        let response = app.send_event(events::with_key(&event, &key)).await;
        assert_eq!(response.status, 200, "{name}: {response:?}");
        assert_eq!(requests(), events::operations(&name), "{name}");
    }
    app.delete(&key).await;
    requests();
    app.delete(&key).await;
    assert_eq!(requests(), ["GetItem"]);

    // What can be rejected without the table costs no request to it.
    let forged = format!("{}0", &key[..57]);
    let other = format!("{}1", &key[..57]);
    for wrong in [
        if forged == key { &other } else { &forged },
        "nosuchkey",
        &key.to_lowercase(),
        "gaia_",
        &key[5..31],
    ] {
        assert_eq!(app.update(wrong, json!({})).await.status, 404, "{wrong}");
        assert_eq!(app.delete(wrong).await.status, 404, "{wrong}");
    }
    app.create(json!({ "permissions": "admin" })).await;
    app.send(Call::new("GET", API_KEYS).query("limit", 0)).await;
    app.send(Call::new("PATCH", API_KEYS)).await;
    assert!(requests().is_empty());
}

#[tokio::test]
async fn an_id_stands_for_its_key() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let id = &key[..31];
    let response = app.update(id, json!({ "permissions": "write" })).await;
    assert_eq!(
        (response.status, response.json()),
        (200, json!({ "api_key": id, "result": "updated" }))
    );
    assert_eq!(
        app.list().await,
        [json!({ "api_key": key, "config": { "permissions": "write" } })]
    );
    assert_eq!(
        app.delete(id).await.json(),
        json!({ "api_key": id, "result": "deleted" })
    );
    assert_eq!(app.delete(id).await.status, 404);
    assert_eq!(app.update(id, json!({})).await.status, 404);
}

#[tokio::test]
async fn a_deployment_may_list_ids() {
    let app = App::with(&[("KEY_DISCLOSURE", "id")]).await;
    let key = app.create(json!({})).await.api_key();
    assert_eq!(key.len(), 58, "the one time that the key is shown");
    assert_eq!(
        app.list().await,
        [json!({ "api_key": key[..31], "config": {} })]
    );
}

#[tokio::test]
async fn the_caller_is_in_one_of_four_places() {
    let app = App::new().await;
    let with = |format, pointer: &str, value: Value| {
        let mut event = Call::new("POST", API_KEYS)
            .json(&json!({ "config": {} }))
            .event(format);
        event["requestContext"]["authorizer"] = Value::Null;
        event["requestContext"]["identity"]["userArn"] = Value::Null;
        let mut place = &mut event["requestContext"];
        for step in pointer.split('/') {
            place = &mut place[step];
        }
        *place = value;
        event
    };
    let places = [
        (Format::Http, "authorizer/iam/userArn"),
        (Format::Http, "authorizer/jwt/claims/sub"),
        (Format::Rest, "identity/userArn"),
        (Format::Rest, "authorizer/claims/sub"),
    ];
    for (format, place) in places {
        let response = app.send_event(with(format, place, place.into())).await;
        assert_eq!(response.status, 200, "{place}: {response:?}");
        assert_eq!(
            app.table.items().last().expect("an item")["created_by"]["S"],
            place
        );
        for nobody in [Value::Null, "".into()] {
            if nobody.is_null() && place.contains("jwt") {
                continue; // Claims of a JWT are strings.
            }
            let response = app.send_event(with(format, place, nobody)).await;
            assert_eq!(
                (response.status, response.json()),
                (401, json!({ "detail": "Not authenticated" })),
                "{place}"
            );
            assert!(response.headers["WWW-Authenticate"].is_string());
        }
    }
    assert_eq!(app.table.items().len(), 4);
    let anonymous = App::with(&[("ALLOW_ANONYMOUS", "true")]).await;
    assert_eq!(
        anonymous
            .send_event(with(Format::Http, "authorizer/iam/userArn", Value::Null))
            .await
            .status,
        200
    );
    assert_eq!(anonymous.table.items()[0]["created_by"]["S"], "anonymous");
}

/// Follows the links from the first page on.
async fn pages(app: &App, mut call: Call) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    loop {
        let response = app.send(call.clone()).await;
        assert_eq!(response.status, 200, "{response:?}");
        pages.push(response.json().as_array().expect("a list").clone());
        let Some(link) = response.headers["Link"].as_str() else {
            return pages;
        };
        let query = link
            .strip_prefix("<?")
            .and_then(|rest| rest.strip_suffix(">; rel=\"next\""))
            .expect("a next link");
        call.query = Value::Null;
        for parameter in query.split('&') {
            let (name, value) = parameter.split_once('=').expect("a value");
            call = call.query(name, value);
        }
    }
}

#[tokio::test]
async fn pages_by_limit() {
    let app = App::new().await;
    let mut keys = Vec::new();
    for _ in 0..10 {
        keys.push(app.create(json!({})).await.api_key());
    }
    for limit in [1, 3, 5, 9, 10, 11, 1_000_000] {
        let pages = pages(&app, Call::new("GET", API_KEYS).query("limit", limit)).await;
        assert_eq!(
            pages.len(),
            10_usize.div_ceil(limit),
            "limit {limit}: no page is empty, no key twice"
        );
        let listed: Vec<_> = pages
            .concat()
            .into_iter()
            .map(|entry| entry["api_key"].as_str().expect("a key").to_owned())
            .collect();
        assert_eq!(listed, keys, "limit {limit}: oldest first");
    }
    // `after` may name a key that is gone, with or without the prefix.
    app.delete(&keys[4]).await;
    for after in [&keys[4][..31], &keys[4][5..31]] {
        let response = app
            .send(
                Call::new("GET", API_KEYS)
                    .query("after", after)
                    .query("limit", 1),
            )
            .await;
        assert_eq!(response.json()[0]["api_key"], keys[5]);
    }
    // What has to be encoded in a query comes out as it was in both formats.
    for format in FORMATS {
        let response = app
            .send_event(
                Call::new("GET", API_KEYS)
                    .query("limit", " 1\n")
                    .event(format),
            )
            .await;
        assert_eq!(
            (response.status, &response.json()[0]["api_key"]),
            (200, &json!(keys[0])),
            "{format:?}: {response:?}"
        );
    }
    for (name, value, kind) in [
        ("limit", "0", "value_error.number.not_ge"),
        ("limit", "-1", "value_error.number.not_ge"),
        ("limit", "", "type_error.integer"),
        ("limit", "1.5", "type_error.integer"),
        ("limit", "1,2", "type_error.integer"),
        ("after", "", "value_error.key_id"),
        ("after", &keys[0], "value_error.key_id"),
        ("after", "gaia_x", "value_error.key_id"),
    ] {
        let response = app
            .send(Call::new("GET", API_KEYS).query(name, value))
            .await;
        let detail = &response.json()["detail"][0];
        assert_eq!(
            (response.status, &detail["loc"], &detail["type"]),
            (422, &json!(["query", name]), &json!(kind)),
            "{name}={value}"
        );
    }
}

#[tokio::test]
async fn a_list_of_many_megabytes_is_complete_and_fits() {
    let app = App::new().await;
    // Quotes and line breaks count twice in the envelope.
    let config = format!("{{\n\"x\":\"{}\"}}", "\\\"".repeat(1900));
    let count = 2500;
    for number in 0..count {
        app.table.put(json!({
            "service": { "S": "demo" },
            "id": { "S": ulid::Ulid::from_parts(number, 0).to_string() },
            "config": { "S": config },
            "root_key_id": { "S": "053bcb62" },
        }));
    }
    app.table.proxy.requests();
    let call = Call::new("GET", API_KEYS);
    let envelope = invoke(&app.api, &call.event(Format::Http), TIMEOUT)
        .await
        .to_string()
        .len();
    assert!((5_400_000..5_600_000).contains(&envelope), "{envelope}");
    assert!(
        (3..6).contains(&app.table.proxy.requests().len()),
        "the response is full before the sixth Query"
    );

    let pages = pages(&app, call).await;
    let listed = pages.concat();
    assert_eq!(listed.len(), count as usize);
    assert!(listed.is_sorted_by(|a, b| a["api_key"].as_str() < b["api_key"].as_str()));
    assert!(
        listed
            .iter()
            .all(|entry| entry["config"]["x"].as_str().map(str::len) == Some(1900))
    );
}

/// The read units of the Queries since the last call, as DynamoDB counts them: of whole items.
fn read_units(app: &App) -> Vec<f64> {
    let queries = app
        .table
        .proxy
        .operations_and_bodies()
        .into_iter()
        .filter(|(operation, _)| operation == "Query");
    let units = |(_, body): (String, String)| {
        let mut request: Value = serde_json::from_str(&body).expect("a request");
        request["ReturnConsumedCapacity"] = "TOTAL".into();
        let response = app
            .table
            .database
            .query(serde_json::from_value(request).expect("a Query"))
            .expect("a response");
        response
            .consumed_capacity
            .expect("a capacity")
            .capacity_units
    };
    queries.map(units).collect()
}

/// One caller must not take the read units that all checks share.
#[tokio::test]
async fn a_page_takes_six_queries_and_about_1_500_read_units() {
    let app = App::new().await;
    let id = |number: u64| ulid::Ulid::from_parts(number, 0).to_string();
    // DynamoDB bills whole items: what a list doesn't read counts too.
    let padding = "x".repeat(20_000);
    let mut used = Vec::new();
    for number in 0..700 {
        app.table.put(json!({
            "service": { "S": "demo" }, "id": { "S": id(number) }, "config": { "S": "{}" },
            "root_key_id": { "S": "053bcb62" }, "padding": { "S": padding },
        }));
        // Deleted keys leave their usage behind.
        for other in [0, 1, 2] {
            let used_id = ulid::Ulid::from_parts(number, other).to_string();
            let at = format!("2026-01-01T{:02}:00:00Z", number % 24);
            app.table.put(json!({
                "service": { "S": "demo#use" }, "id": { "S": used_id }, "last_used_at": { "S": at },
                "padding": { "S": padding },
            }));
            if other == 0 {
                used.push(at);
            }
        }
    }
    for details in [false, true] {
        let (mut listed, mut call) = (
            Vec::new(),
            Call::new("GET", API_KEYS).query("details", details),
        );
        loop {
            app.table.proxy.requests();
            let response = app.send(call.clone()).await;
            let (units, page) = (
                read_units(&app),
                response.json().as_array().expect("a list").clone(),
            );
            assert!(
                units.len() <= 6 && units.iter().sum::<f64>() <= 1_550.0,
                "{details}: {units:?}"
            );
            assert!(!page.is_empty());
            listed.extend(page);
            let Some(link) = response.headers["Link"].as_str() else {
                break;
            };
            assert!(
                units.iter().sum::<f64>() > if details { 1_000.0 } else { 1_500.0 },
                "{details}: {units:?}"
            );
            let last = listed.last().expect("a key")["api_key"]
                .as_str()
                .expect("a text")
                .to_owned();
            let parameters = if details { "&details=true" } else { "" };
            assert_eq!(
                link,
                format!("<?after={}{parameters}>; rel=\"next\"", &last[..31])
            );
            call = call.query("after", &last[..31]);
        }
        let ids: Vec<_> = listed
            .iter()
            .map(|entry| entry["api_key"].as_str().expect("a text")[5..31].to_owned())
            .collect();
        assert_eq!(
            ids,
            (0..700).map(id).collect::<Vec<_>>(),
            "each once, in order"
        );
        let times: Vec<_> = listed
            .iter()
            .filter_map(|entry| entry["last_used_at"].as_str())
            .collect();
        assert_eq!(times, if details { used.clone() } else { Vec::new() });
    }
}

#[tokio::test]
async fn two_hundred_creates_at_once() {
    let app = App::new().await;
    let creates = (0..200).map(|number| app.create(json!({ "number": number })));
    let created: Vec<_> = futures_util::future::join_all(creates).await;
    let mut keys: Vec<_> = created.iter().map(|response| response.api_key()).collect();
    let listed: Vec<_> = app
        .list()
        .await
        .iter()
        .map(|entry| entry["api_key"].as_str().expect("a key").to_owned())
        .collect();
    assert!(listed.is_sorted());
    keys.sort();
    assert_eq!(listed, keys);
}

#[tokio::test]
async fn an_update_and_a_delete_at_once_leave_the_updated_key_or_none() {
    let app = App::new().await;
    for round in 0..100 {
        let key = app.create(json!({ "round": round })).await.api_key();
        let update = app.update(&key, json!({ "permissions": "write" }));
        let delete = app.delete(&key);
        let (updated, deleted) = if round % 2 == 0 {
            tokio::join!(update, delete)
        } else {
            let (deleted, updated) = tokio::join!(delete, update);
            (updated, deleted)
        };
        assert_eq!(deleted.status, 200);
        assert!([200, 404].contains(&updated.status));
        assert!(
            app.table.items().is_empty(),
            "a deleted key does not come back: {:?}",
            app.table.items()
        );
    }
}

#[tokio::test]
async fn items_that_others_wrote_are_shown_and_break_nothing() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let foreign = |id: &str, more: Value| {
        let mut item = json!({ "service": { "S": "demo" }, "id": { "S": id } });
        item.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        item
    };
    let broken = "01ARZ3NDEKTSV4RRFFQ69G5FA0";
    app.table.put(foreign(
        broken,
        json!({ "config": { "S": "{\"x\":" }, "root_key_id": { "S": "053bcb62" } }),
    ));
    app.table
        .put(foreign("not a ULID \"", json!({ "config": { "N": "1" } })));
    app.table.put(foreign(
        "01ARZ3NDEKTSV4RRFFQ69G5FA1",
        json!({ "config": { "S": "{}" }, "root_key_id": { "S": "00000000" } }),
    ));
    let listed = app.list().await;
    let entry = |start: &str| {
        listed
            .iter()
            .find(|entry| {
                entry["api_key"]
                    .as_str()
                    .expect("a text")
                    .starts_with(start)
            })
            .cloned()
    };
    assert_eq!(listed.len(), 4);
    assert_eq!(entry(&key), Some(json!({ "api_key": key, "config": {} })));
    assert_eq!(
        entry("gaia_01ARZ3NDEKTSV4RRFFQ69G5FA0").expect("an entry")["config"],
        Value::Null
    );
    assert_eq!(
        entry("gaia_not a ULID \""),
        Some(json!({ "api_key": "gaia_not a ULID \"", "config": null }))
    );
    // Its root key is no longer configured: the key can't be computed, but the ID can be deleted.
    assert_eq!(
        entry("gaia_01ARZ3NDEKTSV4RRFFQ69G5FA1"),
        Some(json!({ "api_key": "gaia_01ARZ3NDEKTSV4RRFFQ69G5FA1", "config": {} }))
    );
    // Page by page it is the same: items without a valid ID don't count, but appear in their place.
    let pages = pages(&app, Call::new("GET", API_KEYS).query("limit", 1)).await;
    assert_eq!((pages.len(), pages.concat()), (4, listed));
    assert_eq!(app.delete(&format!("gaia_{broken}")).await.status, 200);
}

/// One value of each type that DynamoDB has.
fn one_of_each_type() -> Vec<Value> {
    vec![
        json!({ "S": "a text, \"quoted\"" }),
        json!({ "S": "" }),
        json!({ "N": "1.5" }),
        json!({ "B": "AAE=" }),
        json!({ "BOOL": true }),
        json!({ "NULL": true }),
        json!({ "SS": ["b", "a"] }),
        json!({ "NS": ["2", "1"] }),
        json!({ "BS": ["AQ==", "AA=="] }),
        json!({ "L": [{ "S": "x" }, { "M": { "y": { "NULL": true }, "x": { "N": "1" } } }] }),
        json!({ "M": { "y": { "S": "z" }, "x": { "L": [] } } }),
    ]
}

#[tokio::test]
async fn a_key_whose_attributes_have_any_type_can_be_revoked() {
    let app = App::new().await;
    let others =
        "root_key_id created_at created_by updated_at updated_by rotated_from rotated_to ttl note";
    for attributes in ["change_id", "config", others] {
        for value in one_of_each_type().iter().map(Some).chain([None]) {
            for change in events::changes() {
                for if_match in [false, true] {
                    let key = app
                        .create(json!({ "permissions": "write" }))
                        .await
                        .api_key();
                    let id = &key[..31];
                    let mut item = app.table.items().remove(0);
                    for attribute in attributes.split(' ') {
                        match value {
                            Some(value) => item[attribute] = value.clone(),
                            None => {
                                drop(item.as_object_mut().and_then(|item| item.remove(attribute)))
                            }
                        }
                    }
                    app.table.put(item.clone());
                    let mut call = change.call(id);
                    if if_match {
                        let read = app.send(Call::new("GET", &format!("{API_KEYS}{id}"))).await;
                        assert_eq!(read.status, 200, "{attributes} {value:?}");
                        call.headers["If-Match"] = read.headers["Etag"].clone();
                    }
                    app.table.proxy.requests();
                    let response = app.send(call).await;
                    // What a key may do must be known before another one gets it.
                    let expected = if (attributes, change.name.as_str()) == ("config", "rotate") {
                        500
                    } else {
                        200
                    };
                    assert_eq!(
                        response.status, expected,
                        "{}, {attributes} {value:?}: {response:?}",
                        change.name
                    );
                    assert!(
                        app.table.proxy.requests().len() <= 4,
                        "one read and at most three writes"
                    );
                    let items = app.table.items();
                    match change.write {
                        _ if expected == 500 => {
                            assert_eq!(items[0]["change_id"], item["change_id"])
                        }
                        "DeleteItem" => assert!(items.is_empty()),
                        _ => {
                            assert_ne!(items[0]["change_id"], item["change_id"]);
                            let config = items[0]["config"]["S"].as_str().expect("a config");
                            match change.name.as_str() {
                                "update" => assert_eq!(config, r#"{"permissions":"read"}"#),
                                "rotate" => assert!(config.contains("expires_at"), "{config}"),
                                _ => assert_ne!(items[0]["config"], item["config"]),
                            }
                        }
                    }
                    for item in items {
                        app.delete(&format!(
                            "gaia_{}",
                            item["id"]["S"].as_str().expect("a ULID")
                        ))
                        .await;
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn an_etag_of_any_change_id_is_short_and_its_own() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let etag = async |change_id: Option<&Value>| {
        let mut item = app.table.items().remove(0);
        match change_id {
            Some(value) => item["change_id"] = value.clone(),
            None => drop(
                item.as_object_mut()
                    .and_then(|item| item.remove("change_id")),
            ),
        }
        app.table.put(item);
        let response = app
            .send(Call::new("GET", &format!("{API_KEYS}{key}")))
            .await;
        response.headers["Etag"]
            .as_str()
            .expect("an ETag")
            .to_owned()
    };
    assert_eq!(etag(Some(&json!({ "S": "Az-09" }))).await, "\"Az-09\"");
    assert_eq!(
        etag(None).await,
        "\"e3b0c44298fc1c149afbf4c8996fb924\"",
        "SHA-256 over nothing"
    );
    let mut seen = std::collections::BTreeSet::new();
    let more = [
        json!({ "S": "1.5" }),
        json!({ "S": "é" }),
        json!({ "SS": ["ab", "c"] }),
        json!({ "SS": ["a", "bc"] }),
        json!({ "L": [{ "S": "x" }] }),
        json!({ "L": [{ "L": [{ "S": "x" }] }] }),
        json!({ "BOOL": false }),
        json!({ "B": "YQ==" }),
        json!({ "L": [] }),
        json!({ "M": {} }),
    ];
    for value in one_of_each_type().into_iter().chain(more) {
        let first = etag(Some(&value)).await;
        let hexadecimal = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        let inner = first.trim_matches('"');
        assert!(
            inner.len() == 32 && inner.chars().all(hexadecimal),
            "{value}: {first}"
        );
        assert_eq!(
            etag(Some(&value)).await,
            first,
            "{value}: the same as before"
        );
        assert!(seen.insert(first), "{value}: another change_id's");
    }
}

#[tokio::test]
async fn items_that_others_wrote_do_not_fill_the_pages() {
    let app = App::new().await;
    for number in 0..1000 {
        let item = json!({ "service": { "S": "demo" }, "id": { "S": format!("/{number}{}", "\"".repeat(1000)) } });
        app.table.put(item.clone());
        let mut later = item;
        later["id"]["S"] = format!("~{number}{}", "\"".repeat(1000)).into();
        app.table.put(later);
    }
    let filler = "x".repeat(4000);
    for _ in 0..1000 {
        app.create(json!({ "x": filler })).await;
    }
    for details in [false, true] {
        let listed = pages(&app, Call::new("GET", API_KEYS).query("details", details))
            .await
            .concat();
        let mut keys: Vec<_> = listed
            .iter()
            .filter_map(|entry| entry["api_key"].as_str())
            .collect();
        keys.retain(|key| key.len() == 58);
        assert!(keys.is_sorted());
        keys.dedup();
        assert_eq!(keys.len(), 1000, "each once");
    }
}

/// A page can't start after them, so it must not end before its first key.
#[tokio::test]
async fn more_items_that_others_wrote_than_a_page_reads() {
    let app = App::new().await;
    let padding = "x".repeat(300_000);
    let put = |id: String| {
        app.table.put(
            json!({ "service": { "S": "demo" }, "id": { "S": id }, "padding": { "S": padding } }),
        );
    };
    for number in 0..30 {
        put(format!("/{number}"));
    }
    let key = app.create(json!({})).await.api_key();
    for number in 0..30 {
        put(format!("~{number}"));
    }
    for details in [false, true] {
        let listed = pages(&app, Call::new("GET", API_KEYS).query("details", details))
            .await
            .concat();
        let keys: Vec<_> = listed
            .iter()
            .filter(|entry| entry["api_key"] == key)
            .collect();
        assert_eq!(keys.len(), 1);
    }
}

#[tokio::test]
async fn services_in_one_table_know_nothing_of_each_other() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let other = App {
        api: app
            .table
            .api(&[("SERVICE_NAME", "other")])
            .await
            .expect("a start"),
        table: app.table,
    };
    assert!(other.list().await.is_empty());
    assert_eq!(other.delete(&key).await.status, 404);
    assert_eq!(other.delete(&key[..31]).await.status, 404);
    assert_eq!(other.table.items().len(), 1);
}

#[tokio::test]
async fn a_stolen_old_root_key_derives_no_keys_of_the_new_one() {
    let root_keys = format!("{},{}", "1".repeat(64), crate::support::ROOT_KEY);
    let app = App::with(&[("ROOT_KEY", &root_keys)]).await;
    let key = app.create(json!({})).await.api_key();
    // The old root key, which still verifies, derives another secret for the same ID.
    let old = keys::keyring::RootKey::from_hex(crate::support::ROOT_KEY).expect("a root key");
    let old = keys::keyring::Keyring::new("demo", &old, None);
    let id = keys::api_key::KeyId::from_ulid(&key[5..31]).expect("an ID");
    let forged = old.key(id, "053bcb62").expect("a key");
    assert_eq!(
        app.update(forged.expose(), json!({ "permissions": "write" }))
            .await
            .status,
        404
    );
    assert_eq!(app.delete(forged.expose()).await.status, 404);
    assert_eq!(app.update(&key, json!({})).await.status, 200);
}
