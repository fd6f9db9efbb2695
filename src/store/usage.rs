//! When keys were last used: an item of its own for each, in a partition of its own, so that a
//! usage write never overwrites a revocation, and the authorizer's role writes there and nowhere
//! else.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use time::{Duration, OffsetDateTime};

use super::{
    Attributes, QueryBudget, Store, asked_for, failure, items_in, kept_after, kept_until,
    unreadable,
};
use keys::access::Allowed;
use keys::api_key::KeyId;
use keys::config::KeyConfig;
use keys::timestamp::seconds;

use crate::error::{Error, describe};

/// The precision of a recorded use, and how long an instance waits before it records another one of
/// the same key.
const HOUR: Duration = Duration::HOUR;
/// The longest random addition to that wait: instances must not all write in the same minute.
const JITTER: Duration = Duration::minutes(15);
/// How long after the last use its item stays.
const KEPT_FOR: Duration = Duration::days(400);
/// How long a check waits for the write.
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(200);
/// How many keys an instance remembers: about two megabytes.
const MAX_KEYS: usize = 10_000;

/// How long an instance records nothing after a failure, of whichever key.
const PAUSE: Duration = Duration::MINUTE;

/// When an instance tries to record a key's use again.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    due: HashMap<KeyId, OffsetDateTime>,
    /// The same, in order: a full memory must not slow down each check.
    in_order: BTreeSet<(OffsetDateTime, KeyId)>,
    paused_until: Option<OffsetDateTime>,
}

impl Attempts {
    /// Whether to try now. If so, the next try is an hour away, whether this one succeeds or not.
    /// Beyond [`MAX_KEYS`], the key that is due first is forgotten: an instance that checks more
    /// keys in an hour writes some of them again.
    fn is_due(&self, id: KeyId, now: OffsetDateTime) -> bool {
        let mut memory = self.memory();
        let known = memory.due.get(&id).copied();
        if memory.paused_until.is_some_and(|end| now < end) || known.is_some_and(|at| now < at) {
            return false;
        }
        if let Some(at) = known {
            memory.in_order.remove(&(at, id));
        } else if memory.due.len() >= MAX_KEYS
            && let Some((_, first)) = memory.in_order.pop_first()
        {
            memory.due.remove(&first);
        }
        let at = now + HOUR + JITTER * fastrand::f64();
        memory.due.insert(id, at);
        memory.in_order.insert((at, id));
        true
    }

    /// An outage of the table must not delay each key's check.
    fn pause(&self, now: OffsetDateTime) {
        self.memory().paused_until = Some(now + PAUSE);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Records that a key was used, rounded down to the hour. At most one PutItem per key, hour and
    /// instance, one attempt of 200 ms at most. A failure is logged and changes nothing for the
    /// caller.
    pub async fn record_use(&self, allowed: Allowed<'_>, now: OffsetDateTime) {
        let Allowed { key_id, config, .. } = allowed;
        if !self.track_usage || !self.attempts.is_due(key_id, now) {
            return;
        }
        if let Err(error) = in_time(self.put_use(key_id, config, now)).await {
            self.attempts.pause(now);
            tracing::warn!(%key_id, error, "usage not recorded");
        }
    }

    /// Keeps a key's usage no longer than the key, which was given this config (`None`: deleted) a
    /// moment ago. Otherwise lists with details would read the usage of rotated keys for a year.
    /// One UpdateItem if the key expires, one attempt of 200 ms at most. A failure is logged and
    /// changes nothing for the caller. Shortens only, so a late attempt does no harm: the next use
    /// writes anew.
    pub async fn limit_usage(&self, id: KeyId, config: Option<&KeyConfig>) {
        let end = match config {
            Some(config) => kept_until(config),
            None => Some(kept_after(OffsetDateTime::now_utc())),
        };
        let Some(end) = end.filter(|_| self.track_usage) else {
            return;
        };
        if let Err(error) = in_time(self.shorten_ttl(id, end)).await {
            tracing::warn!(key_id = %id, error, "usage is kept longer than its key");
        }
    }

    async fn shorten_ttl(&self, id: KeyId, end: i64) -> Result<(), String> {
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(self.usage_key(&id.ulid())));
        let outcome = request
            .update_expression("SET #ttl = :ttl")
            .condition_expression("#ttl > :ttl")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":ttl", AttributeValue::N(end.to_string()))
            .customize()
            .config_override(
                aws_sdk_dynamodb::Config::builder().retry_config(RetryConfig::disabled()),
            )
            .send()
            .await;
        let Err(error) = outcome else { return Ok(()) };
        match error.as_service_error() {
            // The key was never used, or its usage isn't kept for so long.
            Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
            _ => Err(describe(&error)),
        }
    }

    async fn put_use(
        &self,
        id: KeyId,
        config: &KeyConfig,
        now: OffsetDateTime,
    ) -> Result<(), String> {
        let hour = now - Duration::seconds(now.unix_timestamp().rem_euclid(HOUR.whole_seconds()));
        let end = (hour + KEPT_FOR).unix_timestamp();
        let end = kept_until(config).map_or(end, |key_end| key_end.min(end));
        let ttl = AttributeValue::N(end.to_string());
        let hour = AttributeValue::S(seconds(hour));
        let request = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(self.usage_key(&id.ulid())));
        let outcome = request
            .item("last_used_at", hour.clone())
            .item("ttl", ttl)
            .condition_expression("attribute_not_exists(last_used_at) OR last_used_at < :hour")
            .expression_attribute_values(":hour", hour)
            .customize()
            .config_override(
                aws_sdk_dynamodb::Config::builder().retry_config(RetryConfig::disabled()),
            )
            .send()
            .await;
        let Err(error) = outcome else { return Ok(()) };
        match error.as_service_error() {
            // Another instance recorded this hour.
            Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(()),
            _ => Err(describe(&error)),
        }
    }

    /// When a key was last used. One strongly consistent GetItem. Errors: also [`Error::Internal`]
    /// if the item can't be read.
    pub async fn last_used(&self, id: KeyId) -> Result<Option<String>, Error> {
        let partition = self.usage_partition();
        let item = self
            .get_item(&partition, &id.ulid(), Some("id, last_used_at, service"))
            .await?;
        Ok(item
            .map(|item| use_in(item, &partition))
            .transpose()?
            .map(|(_, at)| at))
    }

    /// When the keys with the ULIDs from `first` to `last` were last used. Strongly consistent
    /// Queries until all are read or `queries` is spent, at least one. Errors: also
    /// [`Error::Internal`] if an item can't be read.
    pub(super) async fn last_used_between(
        &self,
        first: &str,
        last: &str,
        queries: &mut QueryBudget,
    ) -> Result<Usage, Error> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let partition = self.usage_partition();
        let asked = |item| {
            asked_for(item, &partition, first, |id: &str| {
                first <= id && id <= last
            })
        };
        let (mut last_used, mut start) = (HashMap::new(), None);
        loop {
            let request = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .set_exclusive_start_key(start);
            let output = request
                .key_condition_expression("service = :service AND id BETWEEN :first AND :last")
                .projection_expression("id, last_used_at, service")
                .expression_attribute_values(":service", text(&partition))
                .expression_attribute_values(":first", text(first))
                .expression_attribute_values(":last", text(last))
                .send()
                .await
                .map_err(|error| failure(&error))?;
            queries.spend();
            for item in items_in(output.items, &partition)? {
                let (id, at) = use_in(asked(item)?, &partition)?;
                last_used.insert(id, at);
            }
            start = output.last_evaluated_key.map(asked).transpose()?;
            if start.is_none() || !queries.allows_usage() {
                let id = start.and_then(|mut key| key.remove("id")?.as_s().ok().cloned());
                return Ok(Usage {
                    last_used,
                    read_until: id,
                });
            }
        }
    }

    fn usage_partition(&self) -> String {
        format!("{}#use", self.service)
    }

    fn usage_key(&self, id: &str) -> Attributes {
        super::key(&self.usage_partition(), id)
    }
}

/// When keys were last used, by ULID.
pub(super) struct Usage {
    pub(super) last_used: HashMap<String, String>,
    /// The ULID up to which all was read. `None` if it was read to the end.
    pub(super) read_until: Option<String>,
}

/// The ULID of a usage item, and when that key was last used.
fn use_in(mut item: Attributes, partition: &str) -> Result<(String, String), Error> {
    match (item.remove("id"), item.remove("last_used_at")) {
        (Some(AttributeValue::S(id)), Some(AttributeValue::S(at))) => Ok((id, at)),
        (id, _) => Err(unreadable(
            partition,
            id.as_ref()
                .and_then(|id| id.as_s().ok())
                .map_or("", String::as_str),
        )),
    }
}

/// Awaited, since Lambda freezes the function after the response.
async fn in_time(write: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    tokio::time::timeout(PATIENCE, write)
        .await
        .unwrap_or_else(|_| Err("no response within 200 ms".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-01-01 12:34:56 UTC);

    fn id(number: u128) -> KeyId {
        ulid::Ulid::from(number).into()
    }

    #[test]
    fn a_key_is_due_again_after_an_hour_and_a_random_part() {
        let attempts = Attempts::default();
        assert!(attempts.is_due(id(1), NOW) && !attempts.is_due(id(1), NOW));
        assert!(!attempts.is_due(id(1), NOW + HOUR - Duration::SECOND));
        assert!(attempts.is_due(id(1), NOW + HOUR + JITTER));
        for number in 0..1000 {
            attempts.is_due(id(number), NOW + Duration::DAY);
        }
        let due = &attempts.memory().due;
        let waits: std::collections::BTreeSet<_> = due.values().collect();
        assert!(waits.len() > 900, "not all at the same time");
        assert!(
            waits
                .iter()
                .all(|at| (HOUR..HOUR + JITTER).contains(&(**at - NOW - Duration::DAY)))
        );
    }

    #[test]
    fn after_a_failure_no_key_is_due_for_a_minute() {
        let attempts = Attempts::default();
        assert!(attempts.is_due(id(1), NOW));
        attempts.pause(NOW);
        assert!(
            !attempts.is_due(id(2), NOW + PAUSE - Duration::SECOND)
                && attempts.is_due(id(2), NOW + PAUSE)
        );
    }

    #[test]
    fn memory_is_bounded_and_forgets_what_is_due_first() {
        let attempts = Attempts::default();
        let keys = MAX_KEYS as u128 + 10;
        for number in 0..keys {
            let later = Duration::hours(number as i64 * 2);
            assert!(attempts.is_due(id(number), NOW + later));
            assert!(!attempts.is_due(id(number), NOW + later));
        }
        let due = &attempts.memory().due;
        assert_eq!(due.len(), MAX_KEYS);
        assert!((0..10).all(|number| !due.contains_key(&id(number))) && due.contains_key(&id(10)));
    }
}
