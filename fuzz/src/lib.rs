//! What the targets share: a keyring with one known key, and the service.

#[cfg(feature = "service")]
pub mod service;

use keys::api_key::KeyId;
use keys::keyring::{Keyring, RootKey};

/// The root key of `events/` and of docs/security.md.
pub const ROOT_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// The ULID of [`key`].
pub const ULID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

/// The keyring of both functions.
pub fn keyring() -> Keyring {
    Keyring::new(
        "demo",
        &RootKey::from_hex(ROOT_KEY).expect("a root key"),
        None,
    )
}

/// The one key that the seeds know.
pub fn key() -> String {
    keyring().create(key_id()).0.expose().to_owned()
}

/// Its ID.
pub fn key_id() -> KeyId {
    KeyId::from_ulid(ULID).expect("an ID")
}
