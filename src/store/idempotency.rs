//! Creates and rotations that are safe to repeat: an `Idempotency-Key` has an item of its own, written together with the key.

use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::{Attributes, Store, failure};
use crate::error::Error;
use crate::keys::api_key::KeyId;
use crate::keys::keyring::RootKeyId;

/// Seconds for which an `Idempotency-Key` returns the key it created: a day. TTL deletes the item some time later.
const KEPT_FOR: i64 = 24 * 60 * 60;

/// An `Idempotency-Key` of one caller and operation, with the request's body.
#[derive(Debug)]
pub struct IdempotencyToken {
    id: String,
    body: String,
}

impl IdempotencyToken {
    /// The token of a `header` that `caller` sent with `body` to an operation, such as `POST /path`.
    pub fn new(operation: &str, caller: &str, header: &str, body: &str) -> Self {
        Self { id: digest(&[operation, caller, header]), body: digest(&[body]) }
    }
}

/// SHA-256 in hexadecimal digits, of each text with its length before it. It isn't a MAC under a root key, since that may be
/// replaced between a request and its repetition.
fn digest(texts: &[&str]) -> String {
    let add = |hash: Sha256, text: &&str| hash.chain_update(text.len().to_be_bytes()).chain_update(text);
    hex::encode(texts.iter().fold(Sha256::new(), add).finalize())
}

/// What a token created earlier.
#[derive(Debug)]
pub struct IdempotencyRecord {
    /// The ID of the key that was created.
    pub key_id: KeyId,
    /// The ID of its root key.
    pub root_key: String,
    body: String,
    /// Of a rotation: when the old key expires.
    pub expires_at: Option<String>,
}

impl IdempotencyRecord {
    pub(super) fn from_item(item: &Attributes) -> Option<Self> {
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
        let key_id = KeyId::from_ulid(text("key_id")?)?;
        Some(Self {
            key_id,
            root_key: text("root_key_id")?.clone(),
            body: text("body")?.clone(),
            expires_at: text("expires_at").cloned(),
        })
    }

    /// Whether it was created by a request with the same body.
    pub fn is_of(&self, token: &IdempotencyToken) -> bool {
        self.body == token.body
    }
}

impl Store {
    /// What a token created within the last day, if anything. One strongly consistent GetItem.
    pub async fn recorded(&self, token: &IdempotencyToken) -> Result<Option<IdempotencyRecord>, Error> {
        let key = super::key(&self.idempotency_partition(), &token.id);
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key)).consistent_read(true);
        let item = request.send().await.map_err(|error| failure(&error))?.item;
        let created_at = |item: &Attributes| item.get("created_at")?.as_n().ok()?.parse::<i64>().ok();
        let stale = OffsetDateTime::now_utc().unix_timestamp() - KEPT_FOR;
        Ok(item.filter(|item| created_at(item) > Some(stale)).as_ref().and_then(IdempotencyRecord::from_item))
    }

    fn idempotency_partition(&self) -> String {
        format!("{}#idem", self.service)
    }

    /// The write of a token's item. It fails if there is one from the last day, and then returns that one.
    pub(super) fn record(
        &self,
        token: &IdempotencyToken,
        id: KeyId,
        root_key: &RootKeyId,
        expires_at: Option<&str>,
    ) -> PutBuilder {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let number = |number: i64| AttributeValue::N(number.to_string());
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let mut record = super::key(&self.idempotency_partition(), &token.id);
        let attributes = [
            ("key_id", text(&id.ulid())),
            ("root_key_id", text(root_key.as_str())),
            ("body", text(&token.body)),
            ("created_at", number(now)),
            ("ttl", number(now + KEPT_FOR)),
        ];
        record.extend(attributes.map(|(name, value)| (name.to_owned(), value)));
        record.extend(expires_at.map(|time| ("expires_at".to_owned(), text(time))));
        Put::builder()
            .table_name(&self.table)
            .set_item(Some(record))
            .condition_expression("attribute_not_exists(id) OR created_at <= :stale")
            .expression_attribute_values(":stale", number(now - KEPT_FOR))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
    }
}
