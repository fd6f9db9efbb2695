//! What a key may do in a stage, as an IAM policy: the same for every request with that key, so that it may be cached
//! (but for one from an address that the key isn't for: docs/security.md).

use serde::Serialize;
use serde_json::{Value, json};

use crate::keys::config::{IPV4_MAPPED, KeyConfig, Permission};
use crate::keys::route::{READ_METHODS, RoutePattern};

/// An IAM policy.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyDocument {
    version: &'static str,
    statement: [Statement; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    action: &'static str,
    effect: &'static str,
    resource: Vec<String>,
    #[serde(skip_serializing_if = "Value::is_null")]
    condition: Value,
}

impl PolicyDocument {
    /// All that a key with this config may do in the stage; its expiry and its addresses are conditions.
    pub fn allow(config: &KeyConfig, permission: Permission, stage: &str, read_routes: &[RoutePattern]) -> Self {
        let resource = match permission {
            Permission::Write => vec![format!("{stage}/*")],
            Permission::Read => {
                let methods = READ_METHODS.iter().map(|method| format!("{stage}/{method}/*"));
                methods.chain(read_routes.iter().map(|route| format!("{stage}/{}", route.resource()))).collect()
            }
        };
        Self::new("Allow", resource, conditions(config))
    }

    /// Nothing, in the whole stage.
    pub fn deny(stage: &str) -> Self {
        Self::new("Deny", vec![format!("{stage}/*")], Value::Null)
    }

    fn new(effect: &'static str, resource: Vec<String>, condition: Value) -> Self {
        let statement = Statement { action: "execute-api:Invoke", effect, resource, condition };
        Self { version: "2012-10-17", statement: [statement] }
    }
}

fn conditions(config: &KeyConfig) -> Value {
    let mut conditions = serde_json::Map::new();
    if let Some(time) = config.expires_at_seconds() {
        conditions.insert("DateLessThan".to_owned(), json!({ "aws:CurrentTime": time }));
    }
    if config.allowed_ips.is_some() {
        let ranges = config.allowed_ips_texts();
        conditions.insert("IpAddress".to_owned(), json!({ "aws:SourceIp": ranges }));
    }
    if config.excludes_ipv4_mapped() {
        let mapped = [IPV4_MAPPED.to_string()];
        conditions.insert("NotIpAddress".to_owned(), json!({ "aws:SourceIp": mapped }));
    }
    if conditions.is_empty() { Value::Null } else { conditions.into() }
}
