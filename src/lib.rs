//! GAIA's API keys on AWS Lambda and DynamoDB: the parts of the one binary, for who changes it.
//!
//! # Two functions
//!
//! The environment variable `FUNCTION` says which of the two a process is. Both begin in [`start`]: [`settings`] reads
//! the environment, [`clients`] makes the AWS SDK's clients (over `http`), [`kms`] asks for the root keys, [`log`] writes.
//!
//! - [`api::Api`] manages keys: GAIA's four endpoints and verify. An [`event::ProxyEvent`] in, an
//!   [`event::ProxyResponse`] out, whatever happens.
//! - [`authorizer::Authorizer`] stands in front of other APIs: an [`authorizer::AuthorizerEvent`] in, an
//!   [`authorizer::Answer`] out, which for most gateways is a [`policy::PolicyDocument`].
//!
//! # The way of a request
//!
//! [`event`] is what API Gateway hands over. [`router`] finds the endpoint. `request` reads what is asked for, `handlers`
//! has one function an endpoint, `list` writes a list, and [`api`] is the door around them, at which every [`error`]
//! becomes a response and, where it is ours, a line in the log.
//!
//! # What is decided without AWS
//!
//! [`key`] makes and checks keys, [`key_config`] reads configs (by way of [`json`], which keeps the text as it was sent),
//! and [`access`] decides. [`store`] alone knows the table.
//!
//! ```
//! use gaia_api_keys::keys::access::{Denial, Found, Source, decide};
//! use gaia_api_keys::keys::api_key::{Keyring, RootKey};
//! use gaia_api_keys::keys::config::{KeyConfig, Permission};
//!
//! let root_key = RootKey::from_hex(&"0f".repeat(32)).ok_or("no root key")?;
//! let keyring = Keyring::new("demo", &root_key, &[]);
//! let (key, _) = keyring.mint();
//!
//! // Nothing of the secret is stored: it is computed again from the id, and compared in constant time.
//! let named = keyring.parse_key(key.expose()).ok_or("no key")?;
//! assert_eq!(named.id, key.id());
//! assert!(keyring.parse_key(&key.expose().replace("gaia_0", "gaia_1")).is_none());
//!
//! let config = KeyConfig::parse(r#"{"permissions": "read", "allowed_ips": ["192.0.2.0/24"]}"#)?;
//! let (found, now) = (Found::Key(named.id, Box::new(config)), time::OffsetDateTime::now_utc());
//! let here = Source::parse(Some("192.0.2.7"));
//! assert!(decide(&found, Some(Permission::Read), here, now).is_ok());
//! assert_eq!(decide(&found, Some(Permission::Write), here, now).err(), Some(Denial::Permission));
//! assert_eq!(decide(&found, Some(Permission::Read), Source::Unsaid, now).err(), Some(Denial::SourceIp));
//! # Ok::<(), gaia_api_keys::error::Cause>(())
//! ```
//!
//! # Where the reasons are
//!
//! `docs/architecture.md`: why each part is as it is; `docs/keys.md`: how a key is derived; `docs/security.md`: who can do
//! what; `docs/reliability.md`: what happens when something breaks; `docs/performance.md`: what a start and a check cost.

#![cfg_attr(
    test,
    allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice, clippy::unwrap_used)
)]

pub mod api;
pub mod authorizer;
pub mod aws;
pub mod error;
pub mod keys;
pub mod logging;
pub mod settings;
pub mod startup;
pub mod store;
