//! `cargo bench --bench micro`: what the domain's part of a request takes.

#![allow(clippy::expect_used, clippy::string_slice, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use keys::api_key::KeyId;
use keys::config::KeyConfig;
use keys::json;
use keys::keyring::{Keyring, RootKey};
use keys::route::{Route, RoutePattern};

const ROOT_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const ULID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
const CONFIG: &str = r#"{"permissions":"write","enabled":true,"expires_at":"2030-01-31T12:00:00Z",
    "allowed_ips":["192.0.2.0/24","2001:db8::/32"],"note":"orders to billing"}"#;

fn parts(criterion: &mut Criterion) {
    let keyring = Keyring::new("demo", &RootKey::from_hex(ROOT_KEY).unwrap(), None);
    let id = KeyId::from_ulid(ULID).unwrap();
    let key = keyring.create(id).0.expose().to_owned();
    let forged = format!(
        "{}{}",
        &key[..57],
        if key.ends_with('0') { '1' } else { '0' }
    );
    criterion.bench_function("create an API key", |b| {
        b.iter(|| keyring.create(black_box(id)).0.expose().len())
    });
    criterion.bench_function("check an API key", |b| {
        b.iter(|| keyring.parse_key(black_box(&key)).unwrap())
    });
    criterion.bench_function("deny a forged key", |b| {
        b.iter(|| assert!(keyring.parse_key(black_box(&forged)).is_none()))
    });
    criterion.bench_function("validate a config", |b| {
        b.iter(|| KeyConfig::parse(black_box(CONFIG)).unwrap())
    });
    // What a caller can choose: a path that nearly matches a pattern of wildcards, and a body as deep
    // and as long as one may be.
    let pattern = RoutePattern::parse(&format!("GET /{}", "*a".repeat(100))).unwrap();
    let path = format!("GET /{}b", "a".repeat(300));
    let route = Route::parse(&path).unwrap();
    criterion.bench_function("match a route of 100 wildcards", |b| {
        b.iter(|| assert!(!pattern.covers(black_box(route))))
    });
    let deep = "[".repeat(65_536);
    criterion.bench_function("reject a body of 64 KiB of brackets", |b| {
        b.iter(|| assert!(json::check(black_box(&deep)).is_err()))
    });
}

criterion_group!(benches, parts);
criterion_main!(benches);
