//! The Lambda authorizer: reads events in four formats, and responds with a decision.
//!
//! A denial is a normal response, so that garbage raises no alarm. If the key can't be checked, the
//! invocation fails; the gateway turns that into a 500 and doesn't cache it.

mod event;
mod policy;
mod response;

use std::time::Duration;

use keys::access::{self, AccessRequest, Allowed, Denial, Lookup};
use keys::config::{KeyConfig, UsagePlanKey};
use keys::keyring::Keyring;
use keys::route::{Route, RoutePattern};
use serde_json::value::RawValue;
use time::OffsetDateTime;

use crate::error::{Cause, Error};
use crate::settings::{AuthorizerSettings, Settings};
use crate::store::Store;

use event::AuthorizerEvent;
pub use event::MethodArn;
pub use policy::PolicyDocument;
pub use response::{AuthorizerResponse, Context};

/// The longest response with a config in it, in bytes. API Gateway takes 8 KB.
const MAX_RESPONSE: usize = 8000;

/// The Lambda authorizer: a table, a keyring and the settings that decide.
#[derive(Debug)]
pub struct Authorizer {
    store: Store,
    keyring: Keyring,
    service: String,
    read_routes: Vec<RoutePattern>,
    settings: AuthorizerSettings,
}

impl Authorizer {
    /// The authorizer that the settings describe.
    pub fn new(settings: &Settings, store: Store, keyring: Keyring) -> Self {
        Self {
            store,
            keyring,
            service: settings.service_name.clone(),
            read_routes: settings.read_routes.clone(),
            settings: settings.authorizer.clone(),
        }
    }

    /// Responds to one event within `time_left`. Errors: the key can't be checked, or the event
    /// names no API.
    pub async fn handle(
        &self,
        payload: &RawValue,
        time_left: Duration,
    ) -> Result<AuthorizerResponse, Cause> {
        let event = AuthorizerEvent::read(payload)?;
        let arn = event
            .arn()
            .ok_or("the event names no method ARN and no route ARN")?;
        let lookup = match event.key(&self.settings.key_header) {
            None => Lookup::Invalid,
            Some(text) => self.find(&text, time_left).await?,
        };
        let method = event.method.as_deref().unwrap_or(arn.method);
        let path = Some(arn.path).filter(|_| arn.method == method);
        let (request, now) = (
            AccessRequest {
                permission: None,
                route: Some(Route { method, path }),
            },
            OffsetDateTime::now_utc(),
        );
        let decide =
            |request| access::decide(&lookup, request, &self.read_routes, event.source(), now);
        let decision = decide(request);
        if let Ok(allowed) = decision {
            self.store.record_use(allowed, now).await;
        }
        if let Err(reason) = decision {
            let key_id = lookup.key_id().map(|id| id.to_string());
            tracing::info!(
                reason = reason.as_str(),
                key_id,
                api = arn.stage,
                source_ip = event.source_ip,
                api_request_id = event.request_id,
                "denied"
            );
        }
        let simple = self.settings.simple_responses && event.is_format_2();
        Ok(if simple {
            self.simple(&lookup, decision.err())
        } else {
            let any_route = AccessRequest {
                route: None,
                ..request
            };
            let permitted = decide(any_route).ok();
            self.policy(&lookup, decision.err(), permitted, arn.stage, event.is_rest)
        })
    }

    /// Finds the key. Logs the cause of a failure, which the gateway must not see.
    async fn find(&self, text: &str, time_left: Duration) -> Result<Lookup, Cause> {
        let lookup = tokio::time::timeout(time_left, self.store.find(&self.keyring, text)).await;
        let late = |_| {
            Err(Error::Unavailable(
                "invocation deadline reached before DynamoDB responded".into(),
            ))
        };
        lookup.unwrap_or_else(late).map_err(|error| {
            if let Error::Unavailable(cause) | Error::Internal(cause) = error {
                tracing::error!(cause, "request failed");
            }
            Cause::from("key verification failed: see the previous log entry")
        })
    }

    fn simple(&self, lookup: &Lookup, denial: Option<Denial>) -> AuthorizerResponse {
        let response = |context| AuthorizerResponse::Simple {
            is_authorized: denial.is_none(),
            context,
        };
        self.with_config_if_it_fits(lookup, denial, response)
    }

    /// The policy of a key doesn't depend on the request's method or route, so a gateway may cache
    /// it for the next request. The gateway itself denies what the policy doesn't grant, so a
    /// request that lacks a permission or a route still gets that policy. A key that isn't
    /// `permitted`, whatever the route, gets a deny-all policy. A gateway that caches applies it to
    /// every request with this key until the entry expires, even if the reason is the address of one
    /// request. Only REST APIs have usage plans, so only for them does a policy come with a usage
    /// plan key.
    fn policy(
        &self,
        lookup: &Lookup,
        denial: Option<Denial>,
        permitted: Option<Allowed<'_>>,
        stage: &str,
        is_rest: bool,
    ) -> AuthorizerResponse {
        let policy = |allowed| {
            let policy = PolicyDocument::allow(allowed, stage, &self.read_routes)?;
            Some((allowed, policy))
        };
        let Some((allowed, policy)) = permitted.and_then(policy) else {
            let context = self.context(lookup, denial);
            return AuthorizerResponse::Policy {
                principal_id: "denied".to_owned(),
                policy_document: PolicyDocument::deny(stage),
                usage_identifier_key: None,
                context,
            };
        };
        let default = self.settings.default_usage_plan_key.as_ref();
        let usage_plan_key = allowed.config.usage_plan_key.as_ref().or(default);
        let usage_plan_key = usage_plan_key.filter(|_| is_rest).map(UsagePlanKey::as_str);
        let response = |context| AuthorizerResponse::Policy {
            principal_id: allowed.key_id.to_string(),
            policy_document: policy.clone(),
            usage_identifier_key: usage_plan_key.map(str::to_owned),
            context,
        };
        self.with_config_if_it_fits(lookup, None, response)
    }

    fn with_config_if_it_fits(
        &self,
        lookup: &Lookup,
        denial: Option<Denial>,
        response: impl Fn(Context) -> AuthorizerResponse,
    ) -> AuthorizerResponse {
        let Lookup::Key(_, config) = lookup else {
            return response(self.context(lookup, denial));
        };
        let whole = response(Context {
            config: Some(config.as_str().to_owned()),
            ..self.context(lookup, denial)
        });
        match serde_json::to_string(&whole) {
            Ok(text) if text.len() <= MAX_RESPONSE => whole,
            _ => response(Context {
                config_omitted: Some(true),
                ..self.context(lookup, denial)
            }),
        }
    }

    fn context(&self, lookup: &Lookup, denial: Option<Denial>) -> Context {
        let permission =
            |config: &KeyConfig| config.permissions.map(|permission| permission.as_str());
        Context {
            key_id: lookup.key_id().map(|id| id.to_string()),
            service: self.service.clone(),
            permissions: if let Lookup::Key(_, config) = lookup {
                permission(config)
            } else {
                None
            },
            reason: denial.map(Denial::as_str),
            ..Context::default()
        }
    }
}
