//! The audit log: one entry for each change, who did what to which key, and from where.
//! docs/log-entries.md lists its fields.

use keys::api_key::KeyId;
use keys::config::{KeyConfig, UsagePlanKey};
use keys::route::RoutePattern;
use keys::timestamp;

use crate::api::request::ApiRequest;

/// An audit entry.
pub(super) struct Audit<'a> {
    pub action: &'static str,
    pub key_id: KeyId,
    /// The config until now.
    pub before: Option<&'a KeyConfig>,
    /// The config from now on. Of a rotation, the new key's.
    pub after: Option<&'a KeyConfig>,
    /// Of a rotation: the new key.
    pub rotated_to: Option<KeyId>,
    /// Of a rotation: when the old key expires.
    pub old_expires_at: Option<&'a str>,
}

impl Audit<'_> {
    /// An entry that says nothing of configs.
    pub fn new(action: &'static str, key_id: KeyId) -> Self {
        Self {
            action,
            key_id,
            before: None,
            after: None,
            rotated_to: None,
            old_expires_at: None,
        }
    }

    /// Writes the entry.
    pub fn log(&self, request: ApiRequest<'_>) {
        let permissions =
            |config: Option<&KeyConfig>| config?.permissions.map(|permission| permission.as_str());
        let routes = |config: &KeyConfig| {
            config
                .routes
                .iter()
                .map(RoutePattern::text)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let after = self.after;
        tracing::info!(
            action = self.action,
            key_id = %self.key_id,
            actor = request.caller,
            source_ip = request.source_ip(),
            api_request_id = request.request_id(),
            rotated_to = self.rotated_to.map(|id| id.to_string()),
            old_expires_at = self.old_expires_at,
            permissions_before = permissions(self.before),
            permissions = permissions(after),
            routes = after.map(routes).filter(|routes| !routes.is_empty()),
            enabled = after.map(|config| config.enabled),
            expires_at = after.and_then(|config| config.expires_at).map(timestamp::seconds),
            allowed_ips = after.map(|config| config.allowed_ips_texts().join(" ")).filter(|ips| !ips.is_empty()),
            usage_plan_key = after.and_then(|config| config.usage_plan_key.as_ref()).map(UsagePlanKey::as_str),
            "audit"
        );
    }
}
