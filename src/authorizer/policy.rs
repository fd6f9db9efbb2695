//! What a key may do in a stage, as an IAM policy. It is the same for every request with that key,
//! so it may be cached; docs/protect-an-api.md has the one exception, a disallowed address.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use keys::access::Allowed;
use keys::config::IPV4_MAPPED;
use keys::permission::Permission;
use keys::route::{READ_METHODS, RoutePattern};
use keys::timestamp;

/// An IAM policy.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyDocument {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    action: &'static str,
    effect: &'static str,
    resource: Vec<String>,
    #[serde(skip_serializing_if = "Value::is_null")]
    condition: Value,
}

impl PolicyDocument {
    /// Everything that a key may do in the stage. The end of the decision and the key's addresses
    /// are conditions. Returns `None` if the config grants nothing.
    pub fn allow(allowed: Allowed<'_>, stage: &str, read_routes: &[RoutePattern]) -> Option<Self> {
        let config = allowed.config;
        let named = |routes: &[RoutePattern]| -> Vec<String> {
            routes
                .iter()
                .map(|route| format!("{stage}/{}", route.resource()))
                .collect()
        };
        // No route covers a path with `..`, so a policy that names routes must not allow it either.
        let (resource, unsafe_paths): (Vec<_>, Vec<_>) = match config.permissions {
            _ if !config.routes.is_empty() => {
                (named(&config.routes), vec![format!("{stage}/*..*")])
            }
            None => return None,
            Some(Permission::Write) => (vec![format!("{stage}/*")], Vec::new()),
            Some(Permission::Read) => {
                let methods = READ_METHODS
                    .iter()
                    .map(|method| format!("{stage}/{method}/*"));
                let denied: BTreeSet<_> = read_routes
                    .iter()
                    .map(|route| format!("{stage}/{}/*..*", route.method()))
                    .collect();
                (
                    methods.chain(named(read_routes)).collect(),
                    denied.into_iter().collect(),
                )
            }
        };
        let mut policy = Self::new("Allow", resource, conditions(allowed));
        if !unsafe_paths.is_empty() {
            policy
                .statement
                .push(Statement::new("Deny", unsafe_paths, Value::Null));
        }
        Some(policy)
    }

    /// Denies everything in the stage.
    pub fn deny(stage: &str) -> Self {
        Self::new("Deny", vec![format!("{stage}/*")], Value::Null)
    }

    fn new(effect: &'static str, resource: Vec<String>, condition: Value) -> Self {
        Self {
            version: "2012-10-17",
            statement: vec![Statement::new(effect, resource, condition)],
        }
    }
}

impl Statement {
    fn new(effect: &'static str, resource: Vec<String>, condition: Value) -> Self {
        Self {
            action: "execute-api:Invoke",
            effect,
            resource,
            condition,
        }
    }
}

fn conditions(Allowed { config, until, .. }: Allowed<'_>) -> Value {
    let mut conditions = serde_json::Map::new();
    if let Some(until) = until {
        let until = timestamp::seconds(until); // up to a second too early, never too late
        conditions.insert(
            "DateLessThan".to_owned(),
            json!({ "aws:CurrentTime": until }),
        );
    }
    if config.allowed_ips.is_some() {
        let ranges = config.allowed_ips_texts();
        conditions.insert("IpAddress".to_owned(), json!({ "aws:SourceIp": ranges }));
    }
    if config.excludes_ipv4_mapped() {
        let mapped = [IPV4_MAPPED.to_string()];
        conditions.insert("NotIpAddress".to_owned(), json!({ "aws:SourceIp": mapped }));
    }
    if conditions.is_empty() {
        Value::Null
    } else {
        conditions.into()
    }
}
