//! Which root keys may be in use: one item, `root_keys` in the partition `<service>#meta`. A
//! function whose root keys it doesn't name must not start: it would deny every API key, or create
//! keys that no other instance knows.
//!
//! `ids` is a string set, the IDs of the root keys that have signed keys here. `accept_any_until`
//! is a number, epoch seconds: until then a function with other root keys starts too.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use time::OffsetDateTime;

use super::{Store, key};
use keys::keyring::{Keyring, RootKeyId};

use crate::error::{Cause, Error, describe};

/// The sort key of the item.
const ID: &str = "root_keys";
/// How long a start waits until a root key is added. Together with the 6 s of KMS and of the read,
/// it is less than the 10 s that Lambda gives a start.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the item holds.
#[derive(Debug, Default)]
pub struct RootKeys {
    /// In the order of the response. Empty if the attribute is absent: DynamoDB has no empty sets.
    ids: Vec<String>,
    accept_any_until: Option<i64>,
}

impl Store {
    /// The root keys that may be in use. Returns `None` if there is no item yet. One strongly
    /// consistent GetItem, which also opens the connection that later requests use.
    pub async fn root_keys(&self) -> Result<Option<RootKeys>, Error> {
        let partition = self.meta_partition();
        let Some(item) = self.get_item(&partition, ID, None).await? else {
            return Ok(None);
        };
        let ids = match item.get("ids") {
            None => Some(Vec::new()),
            Some(ids) => ids.as_ss().ok().cloned(),
        };
        let accept_any_until = match item.get("accept_any_until") {
            None => Some(None),
            Some(until) => until
                .as_n()
                .ok()
                .and_then(|text| text.parse().ok())
                .map(Some),
        };
        match (ids, accept_any_until) {
            (Some(ids), Some(accept_any_until)) => Ok(Some(RootKeys {
                ids,
                accept_any_until,
            })),
            _ => Err(Error::Internal(
                "ids or accept_any_until has another type".into(),
            )),
        }
    }

    /// Decides whether a function with this keyring may start, after [`Store::root_keys`] returned
    /// `read`. Returns whether the primary root key isn't named yet. Logs it if DynamoDB was
    /// throttling or out of reach, and returns `false`: an outage must not keep functions from
    /// starting. Errors: the item names none of the keyring's root keys, can't be read, or access
    /// is denied. The message says what it names and what is configured.
    pub fn lacks_primary(
        &self,
        read: Result<Option<RootKeys>, Error>,
        keyring: &Keyring,
    ) -> Result<bool, Cause> {
        let item = format!("item {ID} of {}", self.meta_partition());
        let configured: Vec<_> = keyring.root_key_ids().map(RootKeyId::as_str).collect();
        let configured = configured.join(", ");
        let named = match read {
            Ok(None) => return Ok(true),
            Ok(Some(named)) => named,
            Err(Error::Unavailable(error)) => {
                tracing::warn!(error, configured, "root keys not checked");
                return Ok(false);
            }
            Err(Error::Internal(error)) => {
                return Err(
                    format!("{item} can't be read: {error} (configured: {configured})").into(),
                );
            }
            Err(error) => return Err(error.into()),
        };
        let names = |id: &RootKeyId| named.ids.iter().any(|named| named == id.as_str());
        if !keyring.root_key_ids().any(names) {
            let ids = match named.ids.as_slice() {
                [] => "none".to_owned(),
                ids => ids.join(", "),
            };
            if !named.accepts_any(OffsetDateTime::now_utc()) {
                return Err(format!(
                    "{item} names none of the configured root keys (configured: {configured}; named: {ids})"
                )
                .into());
            }
            tracing::warn!(configured, named = ids, "unnamed root keys accepted");
        }
        Ok(!names(keyring.primary_id()))
    }

    /// Names a root key as one that may be in use. One UpdateItem, 2 s at most. A repeated or late
    /// attempt leaves alone what others add. Errors: maybe it isn't named.
    pub async fn add_root_key(&self, id: &RootKeyId) -> Result<(), Cause> {
        let partition = self.meta_partition();
        let ids = AttributeValue::Ss(vec![id.as_str().to_owned()]);
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(&partition, ID)))
            .update_expression("ADD ids :ids")
            .expression_attribute_values(":ids", ids);
        let error = match tokio::time::timeout(PATIENCE, request.send()).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => describe(&error),
            Err(_) => "no response within 2 s".to_owned(),
        };
        Err(format!(
            "item {ID} of {partition}: root key {} can't be added: {error}",
            id.as_str()
        )
        .into())
    }

    fn meta_partition(&self) -> String {
        format!("{}#meta", self.service)
    }
}

impl RootKeys {
    fn accepts_any(&self, now: OffsetDateTime) -> bool {
        self.accept_any_until
            .is_some_and(|until| now.unix_timestamp() < until)
    }
}
