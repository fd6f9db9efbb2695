//! The table: partition key `service`, sort key `id` (the ULID), one item per key. It holds no secret.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason, Put, ReturnValuesOnConditionCheckFailure};
use time::{Duration, OffsetDateTime};
use ulid::Ulid;

use crate::error::{Error, describe};
use crate::keys::access::Found;
use crate::keys::api_key::KeyId;
use crate::keys::config::KeyConfig;
use crate::keys::keyring::{Keyring, NamedKey, RootKeyId};

mod failure;
mod idempotency;
mod rotation;
mod transaction;
mod usage;

use failure::{InDoubt, failure};
pub use idempotency::{IdempotencyRecord, IdempotencyToken};
pub use rotation::{Rotated, Rotation, WholeItem};
use usage::Attempts;

/// How many Queries a page of the list takes at most, so that one request takes at most half of the 3,000 read units that a
/// partition gives each second: DynamoDB reads 1 MB per Query, which is 256 units.
const MAX_QUERIES: usize = 6;

/// How long an item stays after its expiry, or after an expiry in the past was written, so that checks respond `expired` for a
/// known time before `not_found`.
const KEPT_AFTER_EXPIRY: Duration = Duration::days(30);

type Attributes = HashMap<String, AttributeValue>;

/// The keys of one service.
///
/// Errors, of every method that asks DynamoDB: [`Error::Unavailable`] if the same request may succeed soon (DynamoDB is
/// throttling, out of reach or failing), else [`Error::Internal`].
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    table: String,
    service: String,
    track_usage: bool,
    attempts: Arc<Attempts>,
}

/// A key as the table holds it.
#[derive(Debug, Default)]
pub struct Item {
    /// The sort key: a ULID, unless someone else wrote the item.
    pub id: String,
    /// The config's text. `None` in an item that someone else wrote.
    pub config: Option<String>,
    /// The ID of the key's root key (attribute `root_key_id`). `None` in an item that someone else wrote.
    pub root_key: Option<String>,
    /// A random text, new after each change. `None` in an item that someone else wrote.
    pub change_id: Option<String>,
    /// What only a key's details show.
    pub details: Details,
}

/// Who created and changed a key when, and the keys that it was rotated from and to (ULIDs). `None` if it wasn't read or
/// never happened.
#[derive(Debug, Default)]
#[allow(missing_docs)] // The fields are the item's attributes.
pub struct Details {
    pub created_at: Option<String>,
    pub created_by: Option<String>,
    pub updated_at: Option<String>,
    pub updated_by: Option<String>,
    pub rotated_from: Option<String>,
    pub rotated_to: Option<String>,
}

/// The attributes of an item without its details.
const PLAIN: &str = "id, service, config, root_key_id, change_id";

/// All attributes that are read.
const DETAILED: &str = "id, service, config, root_key_id, change_id, created_at, created_by, updated_at, updated_by, rotated_from, rotated_to";

/// A change: the new config, the caller and the time.
#[derive(Debug)]
pub struct Change<'a> {
    /// The key's config from now on.
    pub config: &'a KeyConfig,
    /// The caller's IAM ARN or JWT subject.
    pub caller: &'a str,
    /// The time of the change, RFC 3339.
    pub at: &'a str,
}

impl Store {
    /// The keys of `service` in `table`. Without `track_usage`, [`Store::record_use`] does nothing.
    pub fn new(client: Client, table: String, service: String, track_usage: bool) -> Self {
        Self { client, table, service, track_usage, attempts: Arc::default() }
    }

    /// Opens the connection that later requests use, by reading an ID that can't exist. A failure is only logged: the first
    /// request tries again.
    pub async fn warm_up(&self) {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(self.key("0")));
        if let Err(error) = request.send().await {
            tracing::warn!(error = describe(&error), "DynamoDB warm-up request failed; continuing");
        }
    }

    /// Writes a new key and, with a `token`, the token's item, or neither. Returns what the same token created within the last
    /// day, if anything. One TransactWriteItems: DynamoDB carries it out once, however often and however late an attempt of
    /// it arrives. Errors: also those of [`Store::recorded`].
    pub async fn create(
        &self,
        keyring: &Keyring,
        id: KeyId,
        root_key: &RootKeyId,
        change: &Change<'_>,
        token: Option<&IdempotencyToken>,
    ) -> Result<Option<IdempotencyRecord>, Error> {
        let key = Put::builder().table_name(&self.table).set_item(Some(self.item(id, root_key, change)));
        let record = token.map(|token| self.record(keyring, token, id, root_key, None)).transpose()?;
        let puts = std::iter::once(key.condition_expression("attribute_not_exists(id)")).chain(record);
        let failed = self.transact(puts, &id.ulid()).await?;
        if failed.is_empty() {
            return Ok(None);
        }
        match (token, failed.get(1).and_then(CancellationReason::item)) {
            (Some(token), Some(item)) => {
                let earlier = self.verified(keyring, token, item.clone())?;
                // It became a day old since DynamoDB compared.
                earlier.map(Some).ok_or_else(|| Error::Unavailable("an idempotency record has expired".into()))
            }
            _ => Err(Error::Internal(format!("{id} exists already").into())),
        }
    }

    /// Replaces a key's config. Returns the previous one, or `None` if the item had none. One GetItem and one UpdateItem; more
    /// UpdateItems while others change the same key. After an [`Error::Unavailable`], the update may have been carried out.
    pub async fn update(&self, key: &NamedKey, change: &Change<'_>) -> Result<Option<String>, Error> {
        let change_id = Ulid::generate().to_string();
        let mut before = self.named(key).await?;
        loop {
            let in_doubt = InDoubt::default();
            match self.update_unchanged(key.id, &before, change, &change_id, in_doubt.clone()).await? {
                Outcome::Done => return Ok(before.config),
                // An earlier attempt was carried out, and its response was lost.
                Outcome::Changed(Some(item)) if item.change_id.as_ref() == Some(&change_id) => return Ok(before.config),
                // An earlier attempt may have been carried out, and followed by another change.
                Outcome::Changed(_) if in_doubt.get() => {
                    return Err(Error::Unavailable("another change followed a lost response".into()));
                }
                Outcome::Changed(None) => return Err(Error::KeyNotFound),
                Outcome::Changed(Some(item)) => before = *item,
            }
        }
    }

    /// Deletes a key. Returns its config, or `None` if the item had none. One GetItem and one DeleteItem; more DeleteItems
    /// while others change the same key.
    pub async fn delete(&self, key: &NamedKey) -> Result<Option<String>, Error> {
        let mut before = self.named(key).await?;
        loop {
            let in_doubt = InDoubt::default();
            match self.delete_unchanged(key.id, &before, in_doubt.clone()).await? {
                Outcome::Done => return Ok(before.config),
                // An earlier attempt was carried out, and its response was lost.
                Outcome::Changed(None) if in_doubt.get() => return Ok(before.config),
                Outcome::Changed(None) => return Err(Error::KeyNotFound),
                Outcome::Changed(Some(item)) => before = *item,
            }
        }
    }

    async fn update_unchanged(
        &self,
        id: KeyId,
        before: &Item,
        change: &Change<'_>,
        change_id: &str,
        in_doubt: InDoubt,
    ) -> Result<Outcome, Error> {
        let (condition, mut values) = before.unchanged();
        let mut expression = "SET config = :config, updated_at = :at, updated_by = :by, change_id = :change".to_owned();
        let texts =
            [(":config", change.config.as_str()), (":at", change.at), (":by", change.caller), (":change", change_id)];
        values.extend(texts.map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned()))));
        match ttl(change.config) {
            None => expression.push_str(" REMOVE #ttl"),
            Some(ttl) => {
                expression.push_str(", #ttl = :ttl");
                values.insert(":ttl".to_owned(), ttl);
            }
        }
        let request = self.client.update_item().table_name(&self.table).set_key(Some(self.key(&id.ulid())));
        let outcome = request
            .update_expression(expression)
            .condition_expression(condition)
            .expression_attribute_names("#ttl", "ttl")
            .set_expression_attribute_values(Some(values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .customize()
            .interceptor(in_doubt)
            .send()
            .await;
        match outcome {
            Ok(_) => Ok(Outcome::Done),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(found)) => self.changed(id, &found.item),
                _ => Err(failure(&error)),
            },
        }
    }

    async fn delete_unchanged(&self, id: KeyId, before: &Item, in_doubt: InDoubt) -> Result<Outcome, Error> {
        let (condition, values) = before.unchanged();
        let request = self.client.delete_item().table_name(&self.table).set_key(Some(self.key(&id.ulid())));
        let outcome = request
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .customize()
            .interceptor(in_doubt)
            .send()
            .await;
        match outcome {
            Ok(_) => Ok(Outcome::Done),
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(found)) => self.changed(id, &found.item),
                _ => Err(failure(&error)),
            },
        }
    }

    /// The outcome of a change whose condition failed on `item`.
    fn changed(&self, id: KeyId, item: &Option<Attributes>) -> Result<Outcome, Error> {
        let id = id.ulid();
        let item = item.clone().map(|item| asked_for(item, &self.service, &id, |found| found == id)).transpose()?;
        Ok(Outcome::Changed(item.map(|item| Box::new(Item::from(item)))))
    }

    /// The item of a key that a caller named. If the caller gave the secret, the item must name its root key.
    async fn named(&self, key: &NamedKey) -> Result<Item, Error> {
        self.get(key.id).await?.filter(|item| item.is_named_by(key)).ok_or(Error::KeyNotFound)
    }

    /// The item of a key that a caller named, with its details. One strongly consistent GetItem.
    pub async fn detailed(&self, key: &NamedKey) -> Result<Item, Error> {
        self.read(key.id, DETAILED).await?.filter(|item| item.is_named_by(key)).ok_or(Error::KeyNotFound)
    }

    /// A key's item. Returns `None` if there is no such key. One strongly consistent GetItem.
    pub async fn get(&self, id: KeyId) -> Result<Option<Item>, Error> {
        self.read(id, PLAIN).await
    }

    async fn read(&self, id: KeyId, attributes: &str) -> Result<Option<Item>, Error> {
        Ok(self.get_item(&self.service, &id.ulid(), Some(attributes)).await?.map(Item::from))
    }

    /// One item: the `attributes` (with `service` and `id`), or all. One strongly consistent GetItem.
    async fn get_item(&self, partition: &str, id: &str, attributes: Option<&str>) -> Result<Option<Attributes>, Error> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key(partition, id)));
        let request = request.consistent_read(true).set_projection_expression(attributes.map(str::to_owned));
        let item = request.send().await.map_err(|error| failure(&error))?.item;
        item.map(|item| asked_for(item, partition, id, |found| found == id)).transpose()
    }

    /// Finds the key that `text` is. One strongly consistent GetItem, none if the text fails its MAC. Errors: also
    /// [`Error::Internal`] if the stored config is invalid.
    pub async fn find(&self, keyring: &Keyring, text: &str) -> Result<Found, Error> {
        let Some((id, root_key)) = keyring.parse_key(text).and_then(|key| Some((key.id, key.root_key?))) else {
            return Ok(Found::Invalid);
        };
        let Some(item) = self.get(id).await? else { return Ok(Found::NotFound(id)) };
        if item.root_key.as_deref() != Some(root_key.as_str()) {
            return Ok(Found::NotFound(id));
        }
        match item.config.as_deref().map(KeyConfig::parse) {
            Some(Ok(config)) => Ok(Found::Key(id, Box::new(config))),
            _ => Err(Error::Internal(format!("stored config of {id} is invalid").into())),
        }
    }

    /// At most `limit` keys, oldest first, after the ULID `after`; with `details`, also when they were last used. One strongly
    /// consistent Query of keys; with `details`, at least one of usage, and more while `queries` allows. If it doesn't, the
    /// page ends at the last key whose usage was read.
    pub async fn page(
        &self,
        after: Option<&str>,
        limit: Option<i32>,
        details: bool,
        queries: &mut QueryBudget,
    ) -> Result<Page, Error> {
        let mut page = self.keys_after(after, limit, details).await?;
        queries.spend();
        if !details {
            return Ok(page);
        }
        let (Some(first), Some(last)) = (page.items.first(), page.items.last()) else { return Ok(page) };
        let usage = self.last_used_between(&first.id, &last.id, queries).await?;
        if let Some(end) = usage.read_until {
            page.items.retain(|item| item.id <= end);
            page.next = page.items.last().map(|item| item.id.clone());
        }
        page.last_used = Some(usage.last_used);
        Ok(page)
    }

    async fn keys_after(&self, after: Option<&str>, limit: Option<i32>, details: bool) -> Result<Page, Error> {
        let condition = if after.is_some() { "service = :service AND id > :after" } else { "service = :service" };
        let mut request = self.client.query().table_name(&self.table).consistent_read(true).set_limit(limit);
        request =
            request.key_condition_expression(condition).projection_expression(if details { DETAILED } else { PLAIN });
        request = request.expression_attribute_values(":service", AttributeValue::S(self.service.clone()));
        if let Some(after) = after {
            request = request.expression_attribute_values(":after", AttributeValue::S(after.to_owned()));
        }
        let output = request.send().await.map_err(|error| failure(&error))?;
        let asked = |item| {
            let is_after = |id: &str| after.is_none_or(|after| id > after);
            asked_for(item, &self.service, after.unwrap_or("all"), is_after).map(Item::from)
        };
        let items = output.items.unwrap_or_default().into_iter().map(asked).collect::<Result<_, _>>()?;
        let next = output.last_evaluated_key.map(asked).transpose()?.map(|item| item.id);
        Ok(Page { items, last_used: None, next })
    }

    fn item(&self, id: KeyId, root_key: &RootKeyId, change: &Change<'_>) -> Attributes {
        let (mut item, change_id) = (self.key(&id.ulid()), Ulid::generate().to_string());
        let texts = [
            ("config", change.config.as_str()),
            ("root_key_id", root_key.as_str()),
            ("created_at", change.at),
            ("created_by", change.caller),
            ("change_id", &change_id),
        ];
        item.extend(texts.map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned()))));
        item.extend(ttl(change.config).map(|ttl| ("ttl".to_owned(), ttl)));
        item
    }

    fn key(&self, id: &str) -> Attributes {
        key(&self.service, id)
    }
}

/// Returns an item of a response if its key is the one asked for, of which the log says `asked`. Otherwise the response belongs
/// to another request, which a broken proxy can cause if there is no TLS. That isn't [`Error::Unavailable`]: such a connection
/// stays wrong, so another try doesn't help, and somebody must look.
fn asked_for(
    item: Attributes,
    partition: &str,
    asked: &str,
    is_asked: impl FnOnce(&str) -> bool,
) -> Result<Attributes, Error> {
    let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str);
    if text("service") == Some(partition) && text("id").is_some_and(is_asked) {
        return Ok(item);
    }
    Err(Error::Internal(format!("asked for {asked} of {partition}, DynamoDB's response has another item").into()))
}

/// An item with missing or invalid attributes, which must not count as absent.
fn unreadable(partition: &str, id: &str) -> Error {
    Error::Internal(format!("item {id} of {partition} can't be read").into())
}

/// The primary key of an item.
fn key(partition: &str, id: &str) -> Attributes {
    [("service", partition), ("id", id)]
        .map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned())))
        .into()
}

/// The outcome of a change to an item that was read before.
enum Outcome {
    Done,
    /// The item was changed since it was read. This is the one there now; `None` if it was deleted.
    Changed(Option<Box<Item>>),
}

impl Item {
    /// Whether it is the item of a key that a caller named. If the caller gave the secret, the item must name its root key.
    fn is_named_by(&self, key: &NamedKey) -> bool {
        key.root_key.as_ref().is_none_or(|root_key| self.root_key.as_deref() == Some(root_key.as_str()))
    }

    /// The condition that nobody has changed the item since it was read. An attempt that arrives late fails it, since no
    /// `change_id` comes twice.
    fn unchanged(&self) -> (&'static str, Attributes) {
        match &self.change_id {
            Some(seen) => ("change_id = :seen", [(":seen".to_owned(), AttributeValue::S(seen.clone()))].into()),
            // Someone else wrote it.
            None => ("attribute_exists(id) AND attribute_not_exists(change_id)", Attributes::new()),
        }
    }
}

/// How many Queries a page of the list may still take.
#[derive(Debug)]
pub struct QueryBudget {
    left: usize,
}

impl Default for QueryBudget {
    fn default() -> Self {
        Self { left: MAX_QUERIES }
    }
}

impl QueryBudget {
    /// Whether keys may be read: with `details`, a Query of usage must follow.
    pub fn allows_keys(&self, details: bool) -> bool {
        self.left > usize::from(details)
    }

    fn allows_usage(&self) -> bool {
        self.left > 0
    }

    fn spend(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}

/// Keys that were read together.
#[derive(Debug)]
pub struct Page {
    /// The items, oldest first.
    pub items: Vec<Item>,
    /// When the keys were last used, by ULID. `None` without details.
    pub last_used: Option<HashMap<String, String>>,
    /// The sort key after which the next page begins. `None` on the last page.
    pub next: Option<String>,
}

impl From<Attributes> for Item {
    fn from(mut attributes: Attributes) -> Self {
        let mut string = |name| match attributes.remove(name) {
            Some(AttributeValue::S(text)) => Some(text),
            _ => None,
        };
        Self {
            id: string("id").unwrap_or_default(),
            config: string("config"),
            root_key: string("root_key_id"),
            change_id: string("change_id"),
            details: Details {
                created_at: string("created_at"),
                created_by: string("created_by"),
                updated_at: string("updated_at"),
                updated_by: string("updated_by"),
                rotated_from: string("rotated_from"),
                rotated_to: string("rotated_to"),
            },
        }
    }
}

/// The `ttl` attribute: epoch seconds, present only with an expiry. Never in the past, since DynamoDB ignores a `ttl` that is
/// older than five years.
fn ttl(config: &KeyConfig) -> Option<AttributeValue> {
    kept_until(config).map(|end| AttributeValue::N(end.to_string()))
}

/// Until when an item with this config stays, in epoch seconds. `None` if it doesn't expire.
fn kept_until(config: &KeyConfig) -> Option<i64> {
    config.expires_at.map(|expires_at| kept_after(expires_at.max(OffsetDateTime::now_utc())))
}

fn kept_after(time: OffsetDateTime) -> i64 {
    time.unix_timestamp() + KEPT_AFTER_EXPIRY.whole_seconds()
}
