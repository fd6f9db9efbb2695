//! When keys were last used: an item of its own for each, in a partition of its own, so that a usage write never
//! overwrites a revocation, and the authorizer's role writes there and nowhere else.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use time::{Duration, OffsetDateTime};

use super::{Store, failure};
use crate::error::{Error, describe};
use crate::keys::api_key::KeyId;
use crate::keys::time::seconds;

/// The precision of a recorded use, and how long an instance waits before it records another one of the same key.
const HOUR: Duration = Duration::HOUR;
/// The longest random addition to that wait: instances must not all write in the same minute.
const JITTER: Duration = Duration::minutes(15);
/// How long after the last use its item stays.
const KEPT_FOR: Duration = Duration::days(400);
/// How long a check waits for the write.
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(200);
/// How many keys an instance remembers: about a megabyte.
const MAX_KEYS: usize = 10_000;

/// How long an instance records nothing after a failure, of whichever key.
const PAUSE: Duration = Duration::MINUTE;

/// When an instance tries to record a key's use again.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    due: HashMap<KeyId, OffsetDateTime>,
    paused_until: Option<OffsetDateTime>,
}

impl Attempts {
    /// Whether to try now. If so, the next try is an hour away, whether this one succeeds or not. Beyond [`MAX_KEYS`], the key
    /// that is due first is forgotten: an instance that checks more keys in an hour writes some of them again.
    fn is_due(&self, id: KeyId, now: OffsetDateTime) -> bool {
        let mut memory = self.memory();
        if memory.paused_until.is_some_and(|end| now < end) || memory.due.get(&id).is_some_and(|at| now < *at) {
            return false;
        }
        if memory.due.len() >= MAX_KEYS && !memory.due.contains_key(&id) {
            let first = memory.due.iter().min_by_key(|(_, at)| **at).map(|(id, _)| *id);
            first.and_then(|first| memory.due.remove(&first));
        }
        memory.due.insert(id, now + HOUR + JITTER * fastrand::f64());
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
    /// Records that a key was used, rounded down to the hour. At most one PutItem per key, hour and instance, one attempt of
    /// 200 ms at most. A failure is logged and changes nothing for the caller.
    pub async fn record_use(&self, id: KeyId, now: OffsetDateTime) {
        if !self.track_usage || !self.attempts.is_due(id, now) {
            return;
        }
        // Awaited, since Lambda freezes the function after the response.
        let error = match tokio::time::timeout(PATIENCE, self.put_use(id, now)).await {
            Ok(None) => return,
            Ok(Some(error)) => error,
            Err(_) => "no response within 200 ms".to_owned(),
        };
        self.attempts.pause(now);
        tracing::warn!(key_id = %id, error, "usage not recorded");
    }

    async fn put_use(&self, id: KeyId, now: OffsetDateTime) -> Option<String> {
        let hour = now - Duration::seconds(now.unix_timestamp().rem_euclid(HOUR.whole_seconds()));
        let ttl = AttributeValue::N((hour + KEPT_FOR).unix_timestamp().to_string());
        let hour = AttributeValue::S(seconds(hour));
        let request = self.client.put_item().table_name(&self.table).set_item(Some(self.usage_key(&id.ulid())));
        let outcome = request
            .item("last_used_at", hour.clone())
            .item("ttl", ttl)
            .condition_expression("attribute_not_exists(last_used_at) OR last_used_at < :hour")
            .expression_attribute_values(":hour", hour)
            .customize()
            .config_override(aws_sdk_dynamodb::Config::builder().retry_config(RetryConfig::disabled()))
            .send()
            .await;
        let error = outcome.err()?;
        match error.as_service_error() {
            // Another instance recorded this hour.
            Some(PutItemError::ConditionalCheckFailedException(_)) => None,
            _ => Some(describe(&error)),
        }
    }

    /// When a key was last used. One strongly consistent GetItem.
    pub async fn last_used(&self, id: KeyId) -> Result<Option<String>, Error> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(self.usage_key(&id.ulid())));
        let request = request.consistent_read(true).projection_expression("last_used_at");
        let item = request.send().await.map_err(|error| failure(&error))?.item;
        Ok(item.and_then(|item| item.get("last_used_at")?.as_s().ok().cloned()))
    }

    /// When the keys with the ULIDs from `first` to `last` were last used, by ULID. Strongly consistent Queries until all are
    /// read.
    pub async fn last_used_between(&self, first: &str, last: &str) -> Result<HashMap<String, String>, Error> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let (mut used, mut start) = (HashMap::new(), None);
        loop {
            let request =
                self.client.query().table_name(&self.table).consistent_read(true).set_exclusive_start_key(start);
            let output = request
                .key_condition_expression("service = :service AND id BETWEEN :first AND :last")
                .projection_expression("id, last_used_at")
                .expression_attribute_values(":service", text(&self.usage_partition()))
                .expression_attribute_values(":first", text(first))
                .expression_attribute_values(":last", text(last))
                .send()
                .await
                .map_err(|error| failure(&error))?;
            for mut item in output.items.unwrap_or_default() {
                if let (Some(AttributeValue::S(id)), Some(AttributeValue::S(at))) =
                    (item.remove("id"), item.remove("last_used_at"))
                {
                    used.insert(id, at);
                }
            }
            start = output.last_evaluated_key;
            if start.is_none() {
                return Ok(used);
            }
        }
    }

    fn usage_partition(&self) -> String {
        format!("{}#use", self.service)
    }

    fn usage_key(&self, id: &str) -> super::Attributes {
        super::key(&self.usage_partition(), id)
    }
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
        assert!(waits.iter().all(|at| (HOUR..HOUR + JITTER).contains(&(**at - NOW - Duration::DAY))));
    }

    #[test]
    fn after_a_failure_no_key_is_due_for_a_minute() {
        let attempts = Attempts::default();
        assert!(attempts.is_due(id(1), NOW));
        attempts.pause(NOW);
        assert!(!attempts.is_due(id(2), NOW + PAUSE - Duration::SECOND) && attempts.is_due(id(2), NOW + PAUSE));
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
