//! Replacing the root key, step by step, as docs/operations.md describes it.

use keys::api_key::KeyId;
use keys::keyring::{Keyring, RootKey};
use serde_json::json;

use crate::support::{API_KEYS, App, Call, ROOT_KEY, Table};

const NEW: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

async fn with(table: Table, root_keys: &str) -> App {
    App {
        api: table
            .api(&[("ROOT_KEY", root_keys)])
            .await
            .expect("a start"),
        table,
    }
}

async fn valid(app: &App, key: &str) -> bool {
    let question = json!({ "api_key": key });
    app.send(Call::new("POST", &format!("{API_KEYS}verify")).json(&question))
        .await
        .json()["valid"]
        == true
}

#[tokio::test]
async fn secondary_then_primary_then_alone_with_a_rollback_in_between() {
    let (both_old, both_new) = (format!("{ROOT_KEY},{NEW}"), format!("{NEW},{ROOT_KEY}"));
    let app = with(Table::new().await, ROOT_KEY).await;
    let first = app.create(json!({})).await.api_key();

    // 1. The new root key is the secondary: it verifies everywhere, and the old one still signs.
    let app = with(app.table, &both_old).await;
    let second = app.create(json!({})).await.api_key();
    assert_eq!(
        app.table.items()[1]["root_key_id"],
        app.table.items()[0]["root_key_id"]
    );

    // 2. The new root key is the primary: it signs.
    let app = with(app.table, &both_new).await;
    let third = app.create(json!({})).await.api_key();
    assert_ne!(
        app.table.items()[2]["root_key_id"],
        app.table.items()[0]["root_key_id"]
    );
    for key in [&first, &second, &third] {
        assert!(valid(&app, key).await);
    }

    // Instances of step 1, and a rollback to it, verify the keys of step 2.
    let app = with(app.table, &both_old).await;
    let fourth = app.create(json!({})).await.api_key();
    for key in [&first, &second, &third, &fourth] {
        assert!(valid(&app, key).await);
    }

    // A thief of the old root key can't forge a key under the new one, neither for an existing ID
    // nor for another.
    let thief = Keyring::new(
        "demo",
        &RootKey::from_hex(ROOT_KEY).expect("a root key"),
        None,
    );
    let forged = thief
        .key(KeyId::from_ulid(&third[5..31]).expect("an ID"), "053bcb62")
        .expect("a key");
    assert_ne!(forged.expose(), third);
    assert!(!valid(&app, forged.expose()).await);
    assert!(!valid(&app, thief.create(ulid::Ulid::generate().into()).0.expose()).await);

    // 3. The old root key is no longer configured: its keys are invalid, listed by ID, and can be
    //   deleted by ID.
    let app = with(app.table, NEW).await;
    let listed: Vec<_> = app
        .list()
        .await
        .into_iter()
        .map(|entry| entry["api_key"].clone())
        .collect();
    assert_eq!(listed, [&first[..31], &second[..31], &third, &fourth[..31]]);
    for (key, expected) in [
        (&first, false),
        (&second, false),
        (&third, true),
        (&fourth, false),
    ] {
        assert_eq!(valid(&app, key).await, expected);
    }
    assert_eq!(app.delete(&first).await.status, 404);
    assert_eq!(app.delete(&first[..31]).await.status, 200);
}

#[tokio::test]
async fn a_request_before_and_after_the_replacement_creates_one_key() {
    let mut call = Call::new("POST", API_KEYS).json(&json!({ "config": {} }));
    call.headers["Idempotency-Key"] = "once".into();
    let app = with(Table::new().await, &format!("{ROOT_KEY},{NEW}")).await;
    let key = app.send(call.clone()).await.api_key();
    let app = with(app.table, &format!("{NEW},{ROOT_KEY}")).await;
    assert_eq!(
        (app.send(call).await.api_key(), app.list().await.len()),
        (key, 1)
    );
}
