//! GAIA's API keys on AWS Lambda and DynamoDB.
//!
//! A request takes one way through the rooms: [`event`] is what API Gateway hands over, [`router`] finds the endpoint,
//! [`api`] opens the door and turns every failure ([`error`]) into a response, `handlers` has one function an
//! endpoint; `request` reads what it asks for, `list` writes a list.
//! They work with [`key`] (ids, keys, and the keyring they are derived from), [`key_config`] (what a key may do, kept as
//! sent, read by way of [`json`]), [`access`] (may this key do this, from here, now?) and [`store`] (the table).
//! [`authorizer`] is the other function of the same binary: it answers API Gateway with a [`policy`]. At start, [`settings`] reads the environment, [`clients`]
//! makes the AWS SDK's clients, [`kms`] asks for the masters and [`log`] begins to write.

#![cfg_attr(
    test,
    allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice, clippy::unwrap_used)
)]

pub mod access;
pub mod api;
pub mod authorizer;
pub mod clients;
pub mod error;
pub mod event;
mod handlers;
mod http;
pub mod json;
pub mod key;
pub mod key_config;
pub mod kms;
mod list;
pub mod log;
pub mod policy;
mod request;
pub mod router;
pub mod settings;
pub mod start;
pub mod store;
