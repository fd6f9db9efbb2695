//! GAIA's API keys on AWS Lambda and DynamoDB: a developer's guide to the crate.
//!
//! One binary serves as two Lambda functions, and the environment variable `FUNCTION` chooses one.
//! [`api::Api`] manages keys: GAIA's four endpoints, and its own.
//! [`authorizer::Authorizer`] checks keys for other APIs behind API Gateway.
//!
//! # Modules
//!
//! ```text
//! main.rs        entry point                       lib.rs     this overview
//! startup.rs     settings → clients → function     settings.rs, logging.rs, event.rs, error.rs
//! api.rs         api/{event, router, request, invalid, precondition, key_list, key_view, audit, response}.rs
//!                api/handlers/: one file for each endpoint                                  the management API
//! authorizer.rs  authorizer/{event, policy, response}.rs                                    the Lambda authorizer
//! store.rs       store/{attribute, failure, idempotency, list, meta, rotation, transaction, usage}.rs  the DynamoDB table
//! aws.rs         aws/{http, kms}.rs                                                         SDK clients
//! keys/          a crate: api_key, keyring, config, permission, route, access, rotation     the domain
//! ```
//!
//! `main → startup → api, authorizer → store, aws → keys`: a module imports only modules to its
//! right. The crate [`keys`] depends on no AWS crate, runtime or log, and clippy keeps it from
//! reading a clock.
//!
//! # From an event to a response
//!
//! - **Start.** [`settings`] reads this crate's environment variables. [`aws`] has aws-config load
//!   credentials, Region and endpoints, and creates the clients. [`startup`] asks KMS for the root
//!   keys and opens the connection to DynamoDB.
//! - **Management API.** `api::event` reads what the service needs of the event, and lambda_http
//!   turns that into an `http::Request`. [`api::router`] finds the endpoint, `api::request` reads
//!   and checks what the request holds, and `api::handlers` has one function per endpoint. [`api`]
//!   turns every [`error`] into a response, and logs its cause if it is a 500 or 503.
//! - **Authorizer.** An event of four formats in, an [`authorizer::AuthorizerResponse`] out: an IAM
//!   policy ([`authorizer::PolicyDocument`]), or an HTTP API's simple response.
//! - **Both** find a key in the [`store`] and decide by [`keys::access`], so they can't disagree.
//!
//! # What a key is
//!
//! The secret of a key is never stored. The [`keys::keyring`] computes it from the ID, and compares
//! in constant time.
//!
//! ```
//! use keys::access::{AccessRequest, Denial, Lookup, Source, decide};
//! use keys::api_key::KeyId;
//! use keys::config::KeyConfig;
//! use keys::keyring::{Keyring, RootKey};
//! use keys::permission::Permission;
//!
//! let root_key = RootKey::from_hex(&"0f".repeat(32)).ok_or("no root key")?;
//! let keyring = Keyring::new("demo", &root_key, None);
//! let key_id = KeyId::from_ulid("01ARZ3NDEKTSV4RRFFQ69G5FAV").ok_or("no ID")?;
//! let (key, _) = keyring.create(key_id);
//!
//! let named = keyring.parse_key(key.expose()).ok_or("no key")?;
//! assert_eq!(named.id, key_id);
//! assert!(keyring.parse_key(&key.expose().replace("gaia_0", "gaia_1")).is_none());
//!
//! let config = KeyConfig::parse(r#"{"permissions": "read", "allowed_ips": ["192.0.2.0/24"]}"#)?;
//! let (lookup, now) = (Lookup::Key(key_id, Box::new(config)), time::OffsetDateTime::UNIX_EPOCH);
//! let allowed = Source::parse(Some("192.0.2.7"));
//! let decision = |permission, source| {
//!     let request = AccessRequest { permission: Some(permission), ..Default::default() };
//!     decide(&lookup, request, &[], source, now).map(|allowed| allowed.key_id)
//! };
//! assert_eq!(decision(Permission::Read, allowed), Ok(key_id));
//! assert_eq!(decision(Permission::Write, allowed), Err(Denial::Permission));
//! assert_eq!(decision(Permission::Read, Source::Unknown), Err(Denial::SourceIp));
//! # Ok::<(), gaia_api_keys::error::Cause>(())
//! ```
//!
//! # Where the decisions are explained
//!
//! `docs/architecture.md`: why each part is as it is;
//! `docs/security.md`: who can do what; `docs/reliability.md`: what happens when something breaks;
//! `benches/README.md`: what a start and a check cost. `CONTRIBUTING.md` lists every place of a
//! new setting, endpoint, config field or log entry.

#![cfg_attr(
    test,
    allow(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unwrap_used
    )
)]

pub mod api;
pub mod authorizer;
pub mod aws;
pub mod error;
mod event;
pub mod logging;
pub mod settings;
pub mod startup;
pub mod store;
