//! Names of fields that are probably meant to be others: rejected when they are written, never when they are read.

use serde_json::{Value, json};

use crate::config::rejected;
use crate::support::{API_KEYS, App, Call};

/// Names that are probably meant to be a field, and the field.
const NEAR_MISSES: [(&str, &[&str]); 5] = [
    (
        "permissions",
        &[
            "permission",
            "Permissions",
            "PERMISSIONS",
            "permisions",
            "permissons",
            "premissions",
            "permissiosn",
            "permissions_",
            " permissions",
            "perms",
        ],
    ),
    ("routes", &["route", "Routes", "ruotes", "rout-es", "routes ", "allowed_routes"]),
    (
        "enabled",
        &[
            "Enabled",
            "enable",
            "enabeld",
            "enbled",
            "enabled.",
            "\u{a0}enabled",
            "enabled\u{200b}",
            "disabled",
            "Disable",
            "is_enabled",
        ],
    ),
    (
        "expires_at",
        &[
            "expiresAt",
            "ExpiresAt",
            "expires-at",
            "expires.at",
            "EXPIRES_AT",
            "expires_at ",
            "_expires_at",
            "expires_ats",
            "expire_at",
            "expired_at",
            "expirse_at",
            "exipres_ta",
            "expires",
            "expires_on",
            "expires_in",
            "expire",
            "expiry",
            "expiration",
            "Expiration-Date",
            "expiry_date",
            "valid_until",
            "not_after",
        ],
    ),
    (
        "allowed_ips",
        &[
            "allowed_ip",
            "allowedIps",
            "AllowedIP",
            "allowed__ips",
            "alowed_ips",
            "allow_ips",
            "allow_ip",
            "allowed_isp",
            "allwoed_ips",
            "allowed_ipss",
            "allowed ips",
            "ip_allowlist",
            "ipWhitelist",
            "allowed_cidrs",
            "allowed_ip_ranges",
            "source_ips",
        ],
    ),
];

/// What a service may well write into a config of its own.
const ORDINARY_NAMES: [&str; 62] = [
    "name",
    "names",
    "note",
    "notes",
    "role",
    "roles",
    "rule",
    "rules",
    "table",
    "tables",
    "team",
    "tenant",
    "owner",
    "email",
    "tags",
    "labels",
    "labeled",
    "description",
    "comment",
    "environment",
    "region",
    "version",
    "created_at",
    "created_by",
    "updated_at",
    "issued_at",
    "rotated_from",
    "rotated_to",
    "scope",
    "scopes",
    "quota",
    "rate",
    "rates",
    "rate_limit",
    "ttl",
    "active",
    "ip",
    "ips",
    "hosts",
    "allowed",
    "allowed_origins",
    "allowed_methods",
    "allowed_ids",
    "allowedIds",
    "allowed_ops",
    "allowed_apis",
    "allowed_apps",
    "allowed_vpcs",
    "router",
    "routers",
    "Router",
    "routed",
    "routing",
    "emissions",
    "missions",
    "submissions",
    "commissions",
    "permission_set",
    "permission_id",
    "permission_ids",
    "expires_at_note",
    "",
];

#[tokio::test]
async fn near_misses_are_rejected_and_ordinary_names_are_accepted() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    assert!(NEAR_MISSES.iter().map(|(_, names)| names.len()).sum::<usize>() >= 40);
    for (meant, names) in NEAR_MISSES {
        for name in names {
            let detail = rejected(&app, &key, json!({ *name: null })).await;
            let expected = json!({
                "loc": ["body", "config", name],
                "msg": format!("unknown field; did you mean '{meant}'?"),
                "type": "value_error.misspelled",
            });
            assert_eq!(detail, expected, "{name}");
        }
    }
    let ordinary: Value = ORDINARY_NAMES.into_iter().map(|name| (name.to_owned(), json!(1))).collect();
    assert_eq!(app.create(ordinary.clone()).await.status, 200);
    for name in ORDINARY_NAMES {
        assert_eq!(app.update(&key, json!({ name: 1 })).await.status, 200, "{name}");
    }
    // Exactly spelled, and below the top.
    for config in [json!({ "routes": ["GET /x"] }), json!({ "x": { "Enabled": 1, "expires": 2, "allowed_ip": 3 } })] {
        assert_eq!(app.update(&key, config.clone()).await.status, 200, "{config}");
    }
}

/// The rule for written configs may be extended, so it must not turn a stored key into a 500.
#[tokio::test]
async fn what_is_stored_is_read_without_looking_for_near_misses() {
    let app = App::new().await;
    let key = app.create(json!({})).await.api_key();
    let mut item = app.table.items().remove(0);
    for (meant, names) in NEAR_MISSES {
        let config: Value = names.iter().map(|name| ((*name).to_owned(), json!(1))).collect();
        item["config"]["S"] = config.to_string().into();
        app.table.put(item.clone());
        let call = Call::new("POST", &format!("{API_KEYS}verify")).json(&json!({ "api_key": key }));
        let response = app.send(call).await;
        assert_eq!((response.status, &response.json()["config"]), (200, &config), "{meant}");
        assert_eq!(app.list().await[0]["config"], config);
    }
}
