//! The table: partition key `service`, sort key `id` (the ULID), one item per key. It holds no secret.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure};
use time::Duration;
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

/// How long an item stays after its expiry, so that checks respond `expired` for a known time before `not_found`.
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
const PLAIN: &str = "id, config, root_key_id, change_id";

/// All attributes that are read.
const DETAILED: &str =
    "id, config, root_key_id, change_id, created_at, created_by, updated_at, updated_by, rotated_from, rotated_to";

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
    /// it arrives.
    pub async fn create(
        &self,
        id: KeyId,
        root_key: &RootKeyId,
        change: &Change<'_>,
        token: Option<&IdempotencyToken>,
    ) -> Result<Option<IdempotencyRecord>, Error> {
        let key = Put::builder().table_name(&self.table).set_item(Some(self.item(id, root_key, change)));
        let record = token.map(|token| self.record(token, id, root_key, None));
        let puts = std::iter::once(key.condition_expression("attribute_not_exists(id)")).chain(record);
        let failed = self.transact(puts, &id.ulid()).await?;
        if failed.is_empty() {
            return Ok(None);
        }
        let earlier = failed.iter().find_map(|reason| IdempotencyRecord::from_item(reason.item()?));
        earlier.map(Some).ok_or_else(|| Error::Internal(format!("{id} exists already").into()))
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
                Some(UpdateItemError::ConditionalCheckFailedException(found)) => Ok(Outcome::changed(&found.item)),
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
                Some(DeleteItemError::ConditionalCheckFailedException(found)) => Ok(Outcome::changed(&found.item)),
                _ => Err(failure(&error)),
            },
        }
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
        let request = self.client.get_item().table_name(&self.table).set_key(Some(self.key(&id.ulid())));
        let request = request.consistent_read(true).projection_expression(attributes);
        Ok(request.send().await.map_err(|error| failure(&error))?.item.map(Item::from))
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

    /// One page of at most `limit` keys, oldest first, after the ULID `after`. One strongly consistent Query.
    pub async fn page(&self, after: Option<&str>, limit: Option<i32>, details: bool) -> Result<Page, Error> {
        let condition = if after.is_some() { "service = :service AND id > :after" } else { "service = :service" };
        let mut request = self.client.query().table_name(&self.table).consistent_read(true).set_limit(limit);
        request =
            request.key_condition_expression(condition).projection_expression(if details { DETAILED } else { PLAIN });
        request = request.expression_attribute_values(":service", AttributeValue::S(self.service.clone()));
        if let Some(after) = after {
            request = request.expression_attribute_values(":after", AttributeValue::S(after.to_owned()));
        }
        let output = request.send().await.map_err(|error| failure(&error))?;
        let next = output.last_evaluated_key.map(|key| Item::from(key).id);
        Ok(Page { items: output.items.unwrap_or_default().into_iter().map(Item::from).collect(), next })
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

impl Outcome {
    fn changed(item: &Option<Attributes>) -> Self {
        Self::Changed(item.clone().map(|item| Box::new(Item::from(item))))
    }
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

/// The result of one Query.
#[derive(Debug)]
pub struct Page {
    /// The items, oldest first.
    pub items: Vec<Item>,
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

/// The `ttl` attribute: epoch seconds, present only with an expiry.
fn ttl(config: &KeyConfig) -> Option<AttributeValue> {
    let ttl = config.expires_at?.unix_timestamp() + KEPT_AFTER_EXPIRY.whole_seconds();
    Some(AttributeValue::N(ttl.to_string()))
}
