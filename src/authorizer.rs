//! The Lambda authorizer: four event shapes in, a decision out.
//!
//! A refusal is an answer, so that garbage trips no alarm; only where the key could not be checked is it an error,
//! which the gateway turns into a 500 and does not cache.

pub mod policy;

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::api::event::RequestContext;
use crate::authorizer::policy::{MethodArn, PolicyDocument};
use crate::error::{Cause, Error};
use crate::keys::access::{self, Denial, Found, Source};
use crate::keys::api_key::Keyring;
use crate::keys::config::KeyConfig;
use crate::settings::{AuthorizerSettings, Settings};
use crate::store::Store;

/// The longest answer with a config in it, in bytes; API Gateway takes 8 KB.
const MAX_ANSWER: usize = 8000;

/// What a gateway asks: REST APIs (TOKEN and REQUEST), HTTP APIs (payload formats 1.0 and 2.0). It holds a key, and so
/// has no `Debug`.
/// Sources: <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-input.html>,
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html>
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizerEvent {
    /// `TOKEN` or `REQUEST`
    #[serde(rename = "type")]
    kind: Option<String>,
    /// In a TOKEN the header that the gateway was told to take; in 1.0 all identity sources, joined; not used.
    authorization_token: Option<String>,
    /// All but 2.0.
    method_arn: Option<String>,
    /// 2.0 only.
    route_arn: Option<String>,
    /// REQUEST and 1.0 only.
    http_method: Option<String>,
    headers: Option<HashMap<String, String>>,
    /// REQUEST and 1.0 only.
    multi_value_headers: Option<HashMap<String, Vec<String>>>,
    request_context: RequestContext,
}

impl AuthorizerEvent {
    /// The header's value; none if it isn't there, or there more than once.
    fn header(&self, name: &str) -> Option<&str> {
        let all = self.multi_value_headers.iter().flatten().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let mut values: Vec<_> = all.flat_map(|(_, values)| values).collect();
        if values.is_empty() {
            let single = self.headers.iter().flatten().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            values = single.map(|(_, value)| value).collect();
        }
        if let [value] = values.as_slice() { Some(value) } else { None }
    }

    fn is_token(&self) -> bool {
        self.kind.as_deref() == Some("TOKEN")
    }

    /// A TOKEN says nothing of the address, but its answer is a policy, whose conditions the gateway checks.
    fn source(&self) -> Source {
        if self.is_token() {
            return Source::CheckedLater;
        }
        Source::parse(self.request_context.source_ip())
    }
}

/// What the gateway gets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum Answer {
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
    key_id: Option<String>,
    service: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<&'static str>,
    /// The config's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_omitted: Option<bool>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// The authorizer over a table and a keyring.
#[derive(Debug)]
pub struct Authorizer {
    store: Store,
    keyring: Keyring,
    service: String,
    settings: AuthorizerSettings,
}

impl Authorizer {
    /// The authorizer that the settings describe.
    pub fn new(settings: &Settings, store: Store, keyring: Keyring) -> Self {
        Self { store, keyring, service: settings.service_name.clone(), settings: settings.authorizer.clone() }
    }

    /// Answers one request within the time that is left for it. Errors: the key could not be checked, or the event
    /// names no API.
    pub async fn handle(&self, event: AuthorizerEvent, time_left: Duration) -> Result<Answer, Cause> {
        let found = match self.key(&event) {
            None => Found::Malformed,
            Some(text) => self.find(text, time_left).await?,
        };
        let arn = event.route_arn.as_deref().or(event.method_arn.as_deref());
        let arn = arn.and_then(MethodArn::parse).ok_or("the event names no method ARN and no route ARN")?;
        let method = event.request_context.method().or(event.http_method.as_deref()).unwrap_or(arn.method);
        let required = policy::required(method, arn, &self.settings.read_routes);
        let decision = access::decide(&found, Some(required), event.source(), OffsetDateTime::now_utc());
        if let Err(reason) = decision {
            let key_id = found.key_id().map(|id| id.to_string());
            tracing::info!(
                reason = reason.as_str(),
                key_id,
                api = arn.stage,
                source_ip = event.request_context.source_ip(),
                api_request_id = event.request_context.request_id(),
                "denied"
            );
        }
        let simple = self.settings.simple_responses && event.route_arn.is_some();
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

    /// The text that should be a key: the header's, without the scheme where the header is `Authorization`.
    fn key<'a>(&self, event: &'a AuthorizerEvent) -> Option<&'a str> {
        let value = match event.is_token() {
            true => event.authorization_token.as_deref()?,
            false => event.header(&self.settings.key_header)?,
        };
        if self.settings.key_header != "authorization" {
            return Some(value);
        }
        let (scheme, key) = value.split_once(' ')?;
        ["search", "bearer"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
            .then_some(key.trim_start_matches(' '))
    }

    fn simple(&self, found: &Found, denial: Option<Denial>) -> Answer {
        let answer = |context| Answer::Simple { is_authorized: denial.is_none(), context };
        self.with_config_if_it_fits(found, denial, answer)
    }

    /// A key's policy doesn't depend on what this request needs, so that it is right for the next one too: for a method
    /// that the key isn't for, it is the policy of the others. A request from an address that the key isn't for gets a
    /// Deny, whatever its method, and so do all others while a gateway keeps the answer.
    fn policy(&self, found: &Found, denial: Option<Denial>, stage: &str) -> Answer {
        let permitted = match (found, denial) {
            (Found::Key(id, config), None | Some(Denial::Permission)) => {
                config.permissions.map(|permission| (id, config, permission))
            }
            _ => None,
        };
        let Some((id, config, permission)) = permitted else {
            let context = self.context(found, denial);
            return Answer::Policy {
                principal_id: "denied".to_owned(),
                policy_document: PolicyDocument::deny(stage),
                context,
            };
        };
        let answer = |context| {
            let policy_document = PolicyDocument::allow(config, permission, stage, &self.settings.read_routes);
            Answer::Policy { principal_id: id.to_string(), policy_document, context }
        };
        self.with_config_if_it_fits(found, None, answer)
    }

    fn with_config_if_it_fits(
        &self,
        found: &Found,
        denial: Option<Denial>,
        answer: impl Fn(Context) -> Answer,
    ) -> Answer {
        let Found::Key(_, config) = found else { return answer(self.context(found, denial)) };
        let whole = answer(Context { config: Some(config.as_str().to_owned()), ..self.context(found, denial) });
        match serde_json::to_string(&whole) {
            Ok(text) if text.len() <= MAX_ANSWER => whole,
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
