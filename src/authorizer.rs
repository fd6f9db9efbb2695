//! The Lambda authorizer: four event shapes in, a decision out.
//!
//! A refusal is an answer, so that garbage trips no alarm; only where the key could not be checked is it an error,
//! which the gateway turns into a 500 and does not cache.

mod event;
mod policy;
mod response;

use std::time::Duration;

use time::OffsetDateTime;

use crate::error::{Cause, Error};
use crate::keys::access::{self, Asked, Denial, Found};
use crate::keys::config::KeyConfig;
use crate::keys::keyring::Keyring;
use crate::keys::route::{Route, RoutePattern};
use crate::settings::{AuthorizerSettings, Settings};
use crate::store::Store;

pub use event::{AuthorizerEvent, MethodArn};
pub use policy::PolicyDocument;
pub use response::{AuthorizerResponse, Context};

/// The longest answer with a config in it, in bytes; API Gateway takes 8 KB.
const MAX_RESPONSE: usize = 8000;

/// The authorizer over a table and a keyring.
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

    /// AuthorizerResponses one request within the time that is left for it. Errors: the key could not be checked, or the event
    /// names no API.
    pub async fn handle(&self, event: AuthorizerEvent, time_left: Duration) -> Result<AuthorizerResponse, Cause> {
        let found = match event.key(&self.settings.key_header) {
            None => Found::Invalid,
            Some(text) => self.find(text, time_left).await?,
        };
        let arn = event.arn().ok_or("the event names no method ARN and no route ARN")?;
        let method = event.method().unwrap_or(arn.method);
        let path = Some(arn.path).filter(|_| arn.method == method);
        let (asked, now) = (Asked { permission: None, route: Some(Route { method, path }) }, OffsetDateTime::now_utc());
        let decision = access::decide(&found, asked, &self.read_routes, event.source(), now);
        if let Ok((id, _)) = decision {
            self.store.record_use(id, now).await;
        }
        if let Err(reason) = decision {
            let key_id = found.key_id().map(|id| id.to_string());
            tracing::info!(
                reason = reason.as_str(),
                key_id,
                api = arn.stage,
                source_ip = event.source_ip(),
                api_request_id = event.request_id(),
                "denied"
            );
        }
        let simple = self.settings.simple_responses && event.is_format_2();
        Ok(if simple { self.simple(&found, decision.err()) } else { self.policy(&found, decision.err(), arn.stage) })
    }

    /// What lies behind a failure is logged here, and not told to the gateway.
    async fn find(&self, text: &str, time_left: Duration) -> Result<Found, Cause> {
        let found = tokio::time::timeout(time_left, self.store.find(&self.keyring, text)).await;
        found.unwrap_or_else(|_| Err(Error::Unavailable("no time left".into()))).map_err(|error| {
            if let Error::Unavailable(cause) | Error::Internal(cause) = error {
                tracing::error!(cause, "request failed");
            }
            Cause::from("the key could not be checked")
        })
    }

    fn simple(&self, found: &Found, denial: Option<Denial>) -> AuthorizerResponse {
        let answer = |context| AuthorizerResponse::Simple { is_authorized: denial.is_none(), context };
        self.with_config_if_it_fits(found, denial, answer)
    }

    /// A key's policy doesn't depend on what this request needs, so that it is right for the next one too: for a method
    /// that the key isn't for, it is the policy of the others. A request from an address that the key isn't for gets a
    /// Deny, whatever its method, and so do all others while a gateway keeps the answer.
    fn policy(&self, found: &Found, denial: Option<Denial>, stage: &str) -> AuthorizerResponse {
        let permitted = match (found, denial) {
            (Found::Key(id, config), None | Some(Denial::Permission | Denial::Route)) => {
                PolicyDocument::allow(config, stage, &self.read_routes).map(|policy| (id, policy))
            }
            _ => None,
        };
        let Some((id, policy)) = permitted else {
            let context = self.context(found, denial);
            return AuthorizerResponse::Policy {
                principal_id: "denied".to_owned(),
                policy_document: PolicyDocument::deny(stage),
                context,
            };
        };
        let answer = |context| AuthorizerResponse::Policy {
            principal_id: id.to_string(),
            policy_document: policy.clone(),
            context,
        };
        self.with_config_if_it_fits(found, None, answer)
    }

    fn with_config_if_it_fits(
        &self,
        found: &Found,
        denial: Option<Denial>,
        answer: impl Fn(Context) -> AuthorizerResponse,
    ) -> AuthorizerResponse {
        let Found::Key(_, config) = found else { return answer(self.context(found, denial)) };
        let whole = answer(Context { config: Some(config.as_str().to_owned()), ..self.context(found, denial) });
        match serde_json::to_string(&whole) {
            Ok(text) if text.len() <= MAX_RESPONSE => whole,
            _ => answer(Context { config_omitted: Some(true), ..self.context(found, denial) }),
        }
    }

    fn context(&self, found: &Found, denial: Option<Denial>) -> Context {
        let permission = |config: &KeyConfig| config.permissions.map(|permission| permission.as_str());
        Context {
            key_id: found.key_id().map(|id| id.to_string()),
            service: self.service.clone(),
            permissions: if let Found::Key(_, config) = found { permission(config) } else { None },
            reason: denial.map(Denial::as_str),
            ..Context::default()
        }
    }
}
