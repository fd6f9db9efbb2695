//! The service from outside: events in, responses out, then what is stored.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]

mod abuse;
mod actions;
mod authorizer;
mod config;
mod contract;
#[path = "../../examples/local/database.rs"]
mod database;
mod declarations;
mod details;
mod events;
mod failures;
mod faults;
mod gateways;
mod idempotency;
mod kms;
mod lambda;
mod local;
mod meta;
mod model;
mod near_misses;
mod preconditions;
mod protected;
mod proxy;
mod replacement;
mod rotate;
mod routes;
mod sdk_config;
mod secrets;
mod support;
mod table;
mod verify;
