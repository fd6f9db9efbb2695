//! The authorizer's responses: an IAM policy, or an HTTP API's simple response.

use serde::Serialize;

use crate::authorizer::policy::PolicyDocument;

/// What the gateway gets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum AuthorizerResponse {
    /// An IAM policy.
    #[serde(rename_all = "camelCase")]
    Policy {
        /// The key's id, or `denied`.
        principal_id: String,
        /// What may be done.
        policy_document: PolicyDocument,
        /// What the backend and the access log see.
        context: Context,
    },
    /// Yes or no, for this request: an HTTP API's simple response.
    #[serde(rename_all = "camelCase")]
    Simple {
        /// Yes or no.
        is_authorized: bool,
        /// What the backend and the access log see.
        context: Context,
    },
}

/// What an authorizer passes on; the gateway takes texts, numbers and booleans only.
#[derive(Debug, Default, Serialize)]
pub struct Context {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_id: Option<String>,
    pub(super) service: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) permissions: Option<&'static str>,
    /// The config's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) config_omitted: Option<bool>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
}
