//! Creates and rotations that are safe to repeat: an `Idempotency-Key` has an item of its own,
//! written together with the key.
//!
//! The item decides which key a response shows, so it has a MAC: otherwise whoever can write the
//! table and create a key could get any key of the service.

use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::{Attributes, Store, asked_for, unreadable};
use keys::api_key::KeyId;
use keys::keyring::{Keyring, RootKeyId};

use crate::error::Error;

/// Seconds for which an `Idempotency-Key` returns the key it created: a day. TTL deletes the item
/// some time later.
const KEPT_FOR: i64 = 24 * 60 * 60;

/// An `Idempotency-Key` of one caller and operation, with the request's body.
#[derive(Debug)]
pub struct IdempotencyToken {
    id: String,
    body: String,
}

impl IdempotencyToken {
    /// The token of a `header` that `caller` sent with `body` to an operation, such as `rotate
    /// gaia_<ULID>`. `issuer` is that of the caller's JWT: two issuers may give one subject to
    /// different callers.
    pub fn new(
        operation: &str,
        caller: &str,
        issuer: Option<&str>,
        header: &str,
        body: &str,
    ) -> Self {
        Self {
            id: digest(&[operation, caller, issuer.unwrap_or_default(), header]),
            body: digest(&[body]),
        }
    }
}

/// SHA-256 in hexadecimal digits, of each text with its length before it. It isn't a MAC under a
/// root key, since that may be replaced between a request and its repetition.
fn digest(texts: &[&str]) -> String {
    let add = |hash: Sha256, text: &&str| {
        hash.chain_update(text.len().to_be_bytes())
            .chain_update(text)
    };
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
    created_at: i64,
    /// Of a rotation: when the old key expires.
    pub expires_at: Option<String>,
}

impl IdempotencyRecord {
    /// Returns `None` if an attribute is missing or invalid.
    fn from_item(item: &Attributes) -> Option<Self> {
        let text = |name: &str| item.get(name)?.as_s().ok().cloned();
        let expires_at = match item.get("expires_at") {
            None => None,
            Some(_) => Some(text("expires_at")?),
        };
        Some(Self {
            key_id: KeyId::from_ulid(&text("key_id")?)?,
            root_key: text("root_key_id")?,
            body: text("body")?,
            created_at: item.get("created_at")?.as_n().ok()?.parse().ok()?,
            expires_at,
        })
    }

    /// Whether it was created by a request with the same body.
    pub fn is_of(&self, token: &IdempotencyToken) -> bool {
        self.body == token.body
    }

    /// NEVER CHANGE the parts that the MAC of the item `id` covers.
    fn with_parts<T>(&self, id: &str, mac: impl FnOnce(&str, &[&str]) -> T) -> T {
        let (key_id, created_at) = (self.key_id.ulid(), self.created_at.to_string());
        let expires_at = self.expires_at.as_deref().unwrap_or_default();
        mac(
            &self.root_key,
            &[
                id,
                &key_id,
                &self.root_key,
                &self.body,
                &created_at,
                expires_at,
            ],
        )
    }
}

impl Store {
    /// What a token created within the last day, if anything. One strongly consistent GetItem.
    /// Errors: also [`Error::Internal`] if the record can't be read or its MAC is wrong.
    pub async fn recorded(
        &self,
        keyring: &Keyring,
        token: &IdempotencyToken,
    ) -> Result<Option<IdempotencyRecord>, Error> {
        match self
            .get_item(&self.idempotency_partition(), &token.id, None)
            .await?
        {
            None => Ok(None),
            Some(item) => self.verified(keyring, token, item),
        }
    }

    /// The record in a token's item. Returns `None` if it is older than a day. If its root key is
    /// no longer configured, nobody can check its MAC, nor compute the key that it names.
    pub(super) fn verified(
        &self,
        keyring: &Keyring,
        token: &IdempotencyToken,
        item: Attributes,
    ) -> Result<Option<IdempotencyRecord>, Error> {
        let (partition, id) = (self.idempotency_partition(), &token.id);
        let item = asked_for(item, &partition, id, |found| found == id)?;
        let record =
            IdempotencyRecord::from_item(&item).ok_or_else(|| unreadable(&partition, id))?;
        let mac = item
            .get("mac")
            .and_then(|value| hex::decode(value.as_s().ok()?).ok())
            .unwrap_or_default();
        if record.with_parts(id, |root_key, parts| {
            keyring.is_record_mac(root_key, parts, &mac)
        }) == Some(false)
        {
            return Err(Error::Internal(
                format!("the MAC of item {id} of {partition} is missing or wrong").into(),
            ));
        }
        let stale = OffsetDateTime::now_utc().unix_timestamp() - KEPT_FOR;
        Ok(Some(record).filter(|record| record.created_at > stale))
    }

    fn idempotency_partition(&self) -> String {
        format!("{}#idem", self.service)
    }

    /// The write of a token's item. It fails if there is one from the last day, and then returns
    /// that one. Errors: [`Error::Internal`] if the root key isn't one of the keyring's.
    pub(super) fn record(
        &self,
        keyring: &Keyring,
        token: &IdempotencyToken,
        id: KeyId,
        root_key: &RootKeyId,
        expires_at: Option<&str>,
    ) -> Result<PutBuilder, Error> {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let record = IdempotencyRecord {
            key_id: id,
            root_key: root_key.as_str().to_owned(),
            body: token.body.clone(),
            created_at: now,
            expires_at: expires_at.map(str::to_owned),
        };
        let mac = record.with_parts(&token.id, |root_key, parts| {
            keyring.record_mac(root_key, parts)
        });
        let mac = mac.ok_or_else(|| {
            Error::Internal(format!("the root key of {id} isn't configured").into())
        })?;
        let number = |number: i64| AttributeValue::N(number.to_string());
        let mut item = super::key(&self.idempotency_partition(), &token.id);
        let attributes = [
            ("key_id", AttributeValue::S(record.key_id.ulid())),
            ("root_key_id", AttributeValue::S(record.root_key)),
            ("body", AttributeValue::S(record.body)),
            ("created_at", number(now)),
            ("mac", AttributeValue::S(hex::encode(mac))),
            ("ttl", number(now + KEPT_FOR)),
        ];
        item.extend(attributes.map(|(name, value)| (name.to_owned(), value)));
        item.extend(
            record
                .expires_at
                .map(|time| ("expires_at".to_owned(), AttributeValue::S(time))),
        );
        Ok(Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(id) OR created_at <= :stale")
            .expression_attribute_values(":stale", number(now - KEPT_FOR))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld))
    }
}
