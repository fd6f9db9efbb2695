//! The table: partition key `service`, sort key `id` (the ULID), one item a key, and no secret in it.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::DisplayErrorContext;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use time::Duration;

use crate::access::Found;
use crate::error::Error;
use crate::key::{KeyId, Keyring, MasterId, NamedKey};
use crate::key_config::KeyConfig;

mod failure;
mod idempotency;

use failure::{InDoubt, failure};
pub use idempotency::{IdempotencyRecord, IdempotencyToken};

/// How long after its expiry an item stays, so that "expired" doesn't turn into "unknown" at random.
const KEPT_AFTER_EXPIRY: Duration = Duration::days(30);

type Attributes = HashMap<String, AttributeValue>;

/// The keys of one service.
///
/// Errors, of all that asks DynamoDB: [`Error::Unavailable`] where the same request may succeed soon (throttled, out of
/// reach, broken on its side), else [`Error::Internal`].
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    table: String,
    service: String,
}

/// A key as the table holds it.
#[derive(Debug)]
pub struct Item {
    /// The sort key, as it stands there: a ULID, unless someone else wrote it.
    pub id: String,
    /// The config's text; none in an item that someone else wrote.
    pub config: Option<String>,
    /// The id of the master that made the key (the attribute `keyring`); none in an item that someone else wrote.
    pub master: Option<String>,
}

/// A change: what it sets, and who makes it when.
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
    /// The keys of `service` in `table`.
    pub fn new(client: Client, table: String, service: String) -> Self {
        Self { client, table, service }
    }

    /// Opens the connection that later requests use, by reading an id that can't exist. A failure is the first request's.
    pub async fn warm_up(&self) {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(self.key("0")));
        if let Err(error) = request.send().await {
            tracing::warn!(error = %DisplayErrorContext(error), "DynamoDB did not answer at start");
        }
    }

    /// Writes a new key. One PutItem; if an attempt was carried out but its answer lost, the next one finds its own
    /// equal item, which is success.
    pub async fn create(&self, id: KeyId, master: &MasterId, change: &Change<'_>) -> Result<(), Error> {
        let item = self.item(id, master, change);
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item.clone()));
        let outcome = request
            .condition_expression("attribute_not_exists(id)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match outcome {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(found)) if found.item.as_ref() == Some(&item) => {
                    Ok(())
                }
                _ => Err(failure(error)),
            },
        }
    }

    /// Replaces a key's config; gives back the one it had, unless someone else wrote that. One UpdateItem.
    pub async fn update(&self, key: &NamedKey, change: &Change<'_>) -> Result<Option<String>, Error> {
        let mut expression = "SET config = :config, updated_at = :at, updated_by = :by".to_owned();
        let (condition, mut values) = exists(key);
        for (name, value) in [(":config", change.config.as_str()), (":at", change.at), (":by", change.caller)] {
            values.insert(name.to_owned(), AttributeValue::S(value.to_owned()));
        }
        match ttl(change.config) {
            None => expression.push_str(" REMOVE #ttl"),
            Some(ttl) => {
                expression.push_str(", #ttl = :ttl");
                values.insert(":ttl".to_owned(), ttl);
            }
        }
        let request = self.client.update_item().table_name(&self.table).set_key(Some(self.key(&key.id.ulid())));
        let outcome = request
            .update_expression(expression)
            .condition_expression(condition)
            .expression_attribute_names("#ttl", "ttl")
            .set_expression_attribute_values(Some(values))
            .return_values(ReturnValue::AllOld)
            .send()
            .await;
        match outcome {
            Ok(output) => Ok(output.attributes.and_then(|before| Item::from(before).config)),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Err(Error::KeyNotFound),
                _ => Err(failure(error)),
            },
        }
    }

    /// Deletes a key; gives back the config it had, unless someone else wrote that. One DeleteItem; where an attempt may
    /// have been carried out though its answer was lost, and the next one finds nothing, the key counts as deleted, and
    /// what it was isn't known.
    pub async fn delete(&self, key: &NamedKey) -> Result<Option<String>, Error> {
        let (condition, values) = exists(key);
        let in_doubt = InDoubt::default();
        let request = self.client.delete_item().table_name(&self.table).set_key(Some(self.key(&key.id.ulid())));
        let outcome = request
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .customize()
            .interceptor(in_doubt.clone())
            .send()
            .await;
        match outcome {
            Ok(output) => Ok(output.attributes.and_then(|before| Item::from(before).config)),
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(found)) => {
                    if found.item.is_none() && in_doubt.get() { Ok(None) } else { Err(Error::KeyNotFound) }
                }
                _ => Err(failure(error)),
            },
        }
    }

    /// A key's item, or none if there is no such key. One strongly consistent GetItem.
    pub async fn get(&self, id: KeyId) -> Result<Option<Item>, Error> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(self.key(&id.ulid())));
        let request = request.consistent_read(true).projection_expression("id, config, keyring");
        Ok(request.send().await.map_err(failure)?.item.map(Item::from))
    }

    /// What the table says of a text that should be a key; it isn't asked about one that can't be. A config that nobody
    /// can read is an [`Error::Internal`] too.
    pub async fn find(&self, keyring: &Keyring, text: &str) -> Result<Found, Error> {
        let Some((id, master)) = keyring.parse_key(text).and_then(|key| Some((key.id, key.master?))) else {
            return Ok(Found::Malformed);
        };
        let Some(item) = self.get(id).await? else { return Ok(Found::Unknown(id)) };
        if item.master.as_deref() != Some(master.as_str()) {
            return Ok(Found::Unknown(id));
        }
        match item.config.as_deref().map(KeyConfig::parse) {
            Some(Ok(config)) => Ok(Found::Key(id, Box::new(config))),
            _ => Err(Error::Internal(format!("the config of {id} is not one that this service wrote").into())),
        }
    }

    /// One page of keys, oldest first, from behind the ULID `after` on; at most `limit`. One strongly consistent Query.
    pub async fn page(&self, after: Option<&str>, limit: Option<i32>) -> Result<Page, Error> {
        let condition = if after.is_some() { "service = :service AND id > :after" } else { "service = :service" };
        let mut request = self.client.query().table_name(&self.table).consistent_read(true).set_limit(limit);
        request = request.key_condition_expression(condition).projection_expression("id, config, keyring");
        request = request.expression_attribute_values(":service", AttributeValue::S(self.service.clone()));
        if let Some(after) = after {
            request = request.expression_attribute_values(":after", AttributeValue::S(after.to_owned()));
        }
        let output = request.send().await.map_err(failure)?;
        let next = output.last_evaluated_key.map(|key| Item::from(key).id);
        Ok(Page { items: output.items.unwrap_or_default().into_iter().map(Item::from).collect(), next })
    }

    fn item(&self, id: KeyId, master: &MasterId, change: &Change<'_>) -> Attributes {
        let mut item = self.key(&id.ulid());
        let texts = [
            ("config", change.config.as_str()),
            ("keyring", master.as_str()),
            ("created_at", change.at),
            ("created_by", change.caller),
        ];
        item.extend(texts.map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned()))));
        item.extend(ttl(change.config).map(|ttl| ("ttl".to_owned(), ttl)));
        item
    }

    fn key(&self, id: &str) -> Attributes {
        [("service", self.service.as_str()), ("id", id)]
            .map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned())))
            .into()
    }
}

/// What one Query brought.
#[derive(Debug)]
pub struct Page {
    /// The items, oldest first.
    pub items: Vec<Item>,
    /// The id after which the next page begins; none on the last.
    pub next: Option<String>,
}

impl From<Attributes> for Item {
    fn from(mut attributes: Attributes) -> Self {
        let mut string = |name| match attributes.remove(name) {
            Some(AttributeValue::S(text)) => Some(text),
            _ => None,
        };
        Self { id: string("id").unwrap_or_default(), config: string("config"), master: string("keyring") }
    }
}

/// The condition that the key is there; and, where its secret was given, that the item names the master which made it.
fn exists(key: &NamedKey) -> (&'static str, Attributes) {
    match &key.master {
        None => ("attribute_exists(id)", Attributes::new()),
        Some(master) => {
            ("keyring = :keyring", [(":keyring".to_owned(), AttributeValue::S(master.as_str().to_owned()))].into())
        }
    }
}

/// The `ttl` attribute: epoch seconds, present only with an expiry.
fn ttl(config: &KeyConfig) -> Option<AttributeValue> {
    let ttl = config.expires_at?.unix_timestamp() + KEPT_AFTER_EXPIRY.whole_seconds();
    Some(AttributeValue::N(ttl.to_string()))
}
