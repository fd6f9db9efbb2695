//! The domain: keys, configs and the decision what a key may do. No AWS, no HTTP, no clock, no I/O.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unwrap_used
    )
)]

pub mod access;
pub mod api_key;
pub mod config;
pub mod json;
pub mod keyring;
pub mod permission;
pub mod rotation;
pub mod route;
pub mod timestamp;
