//! The authorizer's responses: an IAM policy, or an HTTP API's simple response.

use serde::Serialize;

use crate::authorizer::policy::PolicyDocument;

/// A response to the gateway. Sources:
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html>,
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html>
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum AuthorizerResponse {
    /// An IAM policy.
    #[serde(rename_all = "camelCase")]
    Policy {
        /// The key's ID, or `denied`.
        principal_id: String,
        /// Everything that the key may do in the stage.
        policy_document: PolicyDocument,
        /// The value of the API Gateway API key under which a REST API meters the request.
        #[serde(skip_serializing_if = "Option::is_none")]
        usage_identifier_key: Option<String>,
        /// What the backend and the access log see.
        context: Context,
    },
    /// An HTTP API's simple response, for this request alone.
    #[serde(rename_all = "camelCase")]
    Simple {
        /// Whether this request is allowed.
        is_authorized: bool,
        /// What the backend and the access log see.
        context: Context,
    },
}

/// What the authorizer passes on. The gateway takes strings, numbers and booleans only.
#[derive(Debug, Default, Serialize)]
pub struct Context {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_id: Option<String>,
    pub(super) service: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) permissions: Option<&'static str>,
    /// The config as JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) config_omitted: Option<bool>,
    /// Why the key is denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
}
