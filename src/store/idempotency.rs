//! Creates that are safe to repeat: a key and the record of its `Idempotency-Key` are written together or not at all.

use std::time::Duration;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use time::OffsetDateTime;

use super::{Attributes, Change, Store, failure};
use crate::error::Error;
use crate::key::{KeyId, MasterId};

/// Seconds for which an `Idempotency-Key` answers with the key it made: a day. TTL only cleans up behind it.
const KEPT_FOR: i64 = 24 * 60 * 60;

/// What an `Idempotency-Key` says: that one caller's one request makes one key.
#[derive(Debug)]
pub struct IdempotencyToken {
    /// Stands for the caller and the header.
    pub id: String,
    /// Stands for the request's body.
    pub body: String,
}

/// What a token made earlier.
#[derive(Debug)]
pub struct IdempotencyRecord {
    /// The key that was made.
    pub key_id: KeyId,
    /// The id of the master that made it.
    pub master: String,
    /// Stands for the body it was made for.
    pub body: String,
}

impl IdempotencyRecord {
    fn from_item(item: &Attributes) -> Option<Self> {
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
        let key_id = KeyId::from_ulid(text("key_id")?)?;
        Some(Self { key_id, master: text("keyring")?.clone(), body: text("body")?.clone() })
    }
}

impl Store {
    /// Writes a new key and the token's record, or neither; gives back the record of what the token made earlier, if
    /// anything within a day. One TransactWriteItems, repeated where another one is at the same token right now.
    pub async fn create_once(
        &self,
        id: KeyId,
        master: &MasterId,
        change: &Change<'_>,
        token: &IdempotencyToken,
    ) -> Result<Option<IdempotencyRecord>, Error> {
        let puts = self.key_and_record(id, master, change, token).map_err(|error| Error::Internal(error.into()))?;
        let mut pause = Duration::from_millis(50);
        loop {
            let request = self.client.transact_write_items().set_transact_items(Some(puts.clone()));
            let Err(error) = request.send().await else { return Ok(None) };
            let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = error.as_service_error() else {
                return Err(failure(error));
            };
            let reasons = canceled.cancellation_reasons();
            if let Some(earlier) = reasons.iter().find_map(|reason| IdempotencyRecord::from_item(reason.item()?)) {
                return Ok(Some(earlier));
            }
            let conflict = reasons.iter().any(|reason| reason.code() == Some("TransactionConflict"));
            if !conflict || pause.as_secs() >= 1 {
                return Err(cancelled(reasons));
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    fn key_and_record(
        &self,
        id: KeyId,
        master: &MasterId,
        change: &Change<'_>,
        token: &IdempotencyToken,
    ) -> Result<Vec<TransactWriteItem>, BuildError> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let number = |number: i64| AttributeValue::N(number.to_string());
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let record = [
            ("service", text(&format!("{}#idem", self.service))),
            ("id", text(&token.id)),
            ("key_id", text(&id.ulid())),
            ("keyring", text(master.as_str())),
            ("body", text(&token.body)),
            ("claimed_at", number(now)),
            ("ttl", number(now + KEPT_FOR)),
        ];
        let put = |item: Attributes| Put::builder().table_name(&self.table).set_item(Some(item));
        let key = put(self.item(id, master, change)).condition_expression("attribute_not_exists(id)");
        let record = put(record.map(|(name, value)| (name.to_owned(), value)).into())
            .condition_expression("attribute_not_exists(id) OR claimed_at <= :stale")
            .expression_attribute_values(":stale", number(now - KEPT_FOR))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        [key, record].into_iter().map(|put| Ok(TransactWriteItem::builder().put(put.build()?).build())).collect()
    }
}

/// What the caller is told of a transaction that was cancelled.
fn cancelled(reasons: &[CancellationReason]) -> Error {
    const PASSING: [&str; 3] = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
    let codes: Vec<_> = reasons.iter().filter_map(CancellationReason::code).collect();
    let cause = format!("a transaction was cancelled: {}", codes.join(", ")).into();
    if codes.iter().any(|code| PASSING.contains(code)) { Error::Unavailable(cause) } else { Error::Internal(cause) }
}
