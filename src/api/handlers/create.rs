use keys::api_key::{ApiKey, KeyId};
use keys::config::KeyConfig;
use ulid::Ulid;

use super::{ChangedKey, now, ok};
use crate::api::Api;
use crate::api::audit::Audit;
use crate::api::request::ApiRequest;
use crate::api::response::Response;
use crate::error::{Detail, Error};
use crate::store::{Author, Change, IdempotencyRecord, IdempotencyToken};

/// `POST …/api_keys`: creates an API key, or returns the one that the same `Idempotency-Key`
/// created before.
pub(super) async fn create(api: &Api, request: ApiRequest<'_>) -> Result<Response, Error> {
    let config = request.new_config()?;
    let token = request.idempotency_token("create")?;
    let (key, root_key) = api.keyring.create(new_id());
    let change = Change {
        config: &config,
        author: Author {
            caller: request.caller,
            at: &now(),
        },
    };
    let record = api
        .store
        .create(&api.keyring, key.id(), root_key, &change, token.as_ref())
        .await?;
    let (action, key) = match record.zip(token) {
        None => ("create", key),
        // The first attempt may have stopped before it could log, so the retry is logged as well.
        Some((record, token)) => ("retry", created_earlier(api, &record, &token).await?.0),
    };
    Audit {
        after: Some(&config),
        ..Audit::new(action, key.id())
    }
    .log(request);
    ok(&ChangedKey {
        api_key: key.expose(),
        result: "created",
    })
}

/// The ID of a new key.
pub(super) fn new_id() -> KeyId {
    Ulid::generate().into()
}

/// The key that an `Idempotency-Key` created earlier, and its config as it is now. Errors: 422 if
/// the request had another body; 409 if the key is gone.
pub(super) async fn created_earlier(
    api: &Api,
    record: &IdempotencyRecord,
    token: &IdempotencyToken,
) -> Result<(ApiKey, Option<KeyConfig>), Error> {
    if !record.is_of(token) {
        let msg = "Idempotency-Key was already used with a different request body";
        return Err(Detail::new(
            ["header", "idempotency-key"],
            msg,
            "value_error.idempotency_key",
        )
        .into());
    }
    let Some(item) = api.store.get(record.key_id).await? else {
        return Err(Error::Conflict(
            "The key created with this Idempotency-Key has been deleted".into(),
        ));
    };
    let Some(key) = api.keyring.key(record.key_id, &record.root_key) else {
        let why = "The key created with this Idempotency-Key belongs to a root key that is no longer configured";
        return Err(Error::Conflict(why.into()));
    };
    Ok((key, item.readable_config().ok()))
}
