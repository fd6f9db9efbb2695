use keys::access::{self, Denial, Lookup};
use keys::api_key::KeyId;
use keys::config::{self, KeyConfig};
use keys::keyring::NamedKey;
use keys::rotation::{self, NewExpiry, RotatedConfigs, RotationError, RotationRequest};
use keys::timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use time::{Duration, OffsetDateTime};

use super::create::{created_earlier, new_id};
use super::ok;
use crate::api::Api;
use crate::api::audit::Audit;
use crate::api::invalid::{self, rejected};
use crate::api::precondition::Precondition;
use crate::api::request::ApiRequest;
use crate::api::response::Response;
use crate::error::{Detail, Error};
use crate::store::{
    Author, CHANGED, Change, IdempotencyToken, IfChanged, Item, Patience, Rotated, Rotation,
};

/// The longest grace period, in seconds: a year.
const MAX_GRACE: i64 = 31_536_000;

/// `{"grace_seconds": …, "expires_at"?: …}`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RotateRequest {
    #[serde(deserialize_with = "grace")]
    grace_seconds: Duration,
    #[serde(default = "unset", deserialize_with = "expiry")]
    expires_at: NewExpiry,
}

/// `{"api_key": …, "result": "rotated", "rotated_from": …, "rotated_from_expires_at": …}`
#[derive(Serialize)]
struct RotatedKey<'a> {
    api_key: &'a str,
    result: &'static str,
    rotated_from: String,
    rotated_from_expires_at: &'a str,
}

/// `POST …/api_keys/{api_key}/rotate`: creates an API key with the same config, and sets the old
/// one's expiry.
pub(super) async fn rotate(api: &Api, request: ApiRequest<'_>) -> Result<Response, Error> {
    let body: RotateRequest = request.typed()?;
    let body = RotationRequest {
        grace: body.grace_seconds,
        expiry: body.expires_at,
    };
    let precondition = Precondition::parse(request.http.headers())?;
    let key = api.named(request.api_key)?;
    let token = request.idempotency_token(&format!("rotate {}", key.id))?;
    let earlier = async || rotated_earlier(api, request, key.id, token.as_ref()).await;
    if let Some(response) = earlier().await? {
        return Ok(response);
    }
    let (new_key, root_key) = api.keyring.create(new_id());
    let mut patience = Patience::default();
    loop {
        let now = OffsetDateTime::now_utc();
        let prepared = match prepare(api, &key, &precondition, &body, now).await {
            // The same request may have been carried out since its item was looked up.
            Err(error) if error.status() < 500 => return earlier().await?.ok_or(error),
            prepared => prepared?,
        };
        let RotatedConfigs {
            new,
            old,
            old_expires_at,
        } = &prepared.configs;
        let rotation = Rotation {
            old_id: key.id,
            old: &prepared.item,
            old_config: old,
            expires_at: old_expires_at,
            id: new_key.id(),
            root_key,
            change: Change {
                config: new,
                author: Author {
                    caller: request.caller,
                    at: &timestamp::milliseconds(now),
                },
            },
        };
        match api
            .store
            .rotate(&api.keyring, &rotation, token.as_ref(), &mut patience)
            .await?
        {
            Rotated::Done => {
                let audit = Audit {
                    before: Some(&prepared.config),
                    after: Some(new),
                    rotated_to: Some(new_key.id()),
                    old_expires_at: Some(old_expires_at),
                    ..Audit::new("rotate", key.id)
                };
                audit.log(request);
                api.store.limit_usage(key.id, Some(old)).await;
                return rotated(new_key.expose(), key.id, old_expires_at);
            }
            Rotated::Earlier => {
                let gone = || Error::Unavailable("a rotation's item is gone".into());
                return earlier().await?.ok_or_else(gone);
            }
            Rotated::Changed if prepared.if_changed == IfChanged::Fail => {
                return earlier().await?.ok_or(Error::PreconditionFailed);
            }
            Rotated::Changed => patience.wait(CHANGED).await?,
        }
    }
}

/// A rotation that has passed every check.
struct Prepared {
    item: Item,
    if_changed: IfChanged,
    /// The old key's config until now, as it was read.
    config: KeyConfig,
    configs: RotatedConfigs,
}

async fn prepare(
    api: &Api,
    key: &NamedKey,
    precondition: &Precondition,
    body: &RotationRequest,
    now: OffsetDateTime,
) -> Result<Prepared, Error> {
    if body.expires_by(now) {
        return Err(Detail::new(
            ["body", "expires_at"],
            "must be later than now",
            "value_error.datetime",
        )
        .into());
    }
    let item = api.store.detailed(key).await?;
    let if_changed = precondition.check(&item)?;
    let lookup = Lookup::Key(key.id, Box::new(item.readable_config()?));
    if let Some(successor) = item
        .details
        .rotated_to
        .as_deref()
        .and_then(KeyId::from_ulid)
        && api.store.get(successor).await?.is_some()
    {
        let why = format!(
            "API key was rotated to {successor} already: delete that key to rotate this one again"
        );
        return Err(Error::Conflict(why.into()));
    }
    let denied = |denial: Denial| format!("API key is denied: {}", denial.as_str());
    let key =
        access::state(&lookup, now).map_err(|denial| Error::Conflict(denied(denial).into()))?;
    let configs = rotation::rotate(key, body, now)?;
    Ok(Prepared {
        item,
        if_changed,
        config: key.config.clone(),
        configs,
    })
}

impl From<RotationError> for Error {
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::ExpiryUnset => {
                let msg = "the key has an expires_at: give the new key's, a time or null";
                Detail::new(["body", "expires_at"], msg, "value_error.missing").into()
            }
            RotationError::TooLong => {
                let msg = "config would exceed 4096 bytes with expires_at";
                Detail::new(["body"], msg, "value_error.config_size").into()
            }
        }
    }
}

/// The response to a rotation that the same `Idempotency-Key` carried out before, if it did.
async fn rotated_earlier(
    api: &Api,
    request: ApiRequest<'_>,
    id: KeyId,
    token: Option<&IdempotencyToken>,
) -> Result<Option<Response>, Error> {
    let Some(token) = token else { return Ok(None) };
    let Some(record) = api.store.recorded(&api.keyring, token).await? else {
        return Ok(None);
    };
    let (new_key, new_config) = created_earlier(api, &record, token).await?;
    let Some(old_expires_at) = record.expires_at.as_deref() else {
        return Err(Error::Internal(
            format!("the idempotency record of {id}'s rotation has no expires_at").into(),
        ));
    };
    let audit = Audit {
        after: new_config.as_ref(),
        rotated_to: Some(record.key_id),
        old_expires_at: Some(old_expires_at),
        ..Audit::new("retry", id)
    };
    audit.log(request);
    rotated(new_key.expose(), id, old_expires_at).map(Some)
}

fn rotated(
    api_key: &str,
    rotated_from: KeyId,
    rotated_from_expires_at: &str,
) -> Result<Response, Error> {
    let rotated_from = rotated_from.to_string();
    ok(&RotatedKey {
        api_key,
        result: "rotated",
        rotated_from,
        rotated_from_expires_at,
    })
}

fn grace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = i64::deserialize(deserializer)?;
    match seconds {
        ..0 => Err(rejected(
            "value_error.number.not_ge",
            "ensure this value is greater than or equal to 0",
        )),
        0..=MAX_GRACE => Ok(Duration::seconds(seconds)),
        _ => {
            let msg = format_args!("ensure this value is less than or equal to {MAX_GRACE}");
            Err(rejected("value_error.number.not_le", msg))
        }
    }
}

fn unset() -> NewExpiry {
    NewExpiry::Unset
}

fn expiry<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NewExpiry, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(NewExpiry::Never);
    };
    let wrong = |kind| {
        let (msg, kind, _) = invalid::message(&kind);
        rejected(kind, msg)
    };
    let time = config::parse_new_expiry(&text).map_err(wrong)?;
    Ok(NewExpiry::At(time, text))
}
