//! The table: partition key `service`, sort key `id` (the ULID), one item per key. It holds no
//! secret.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Put, ReturnValuesOnConditionCheckFailure,
};
use keys::access::Lookup;
use keys::api_key::KeyId;
use keys::config::KeyConfig;
use keys::keyring::{Keyring, NamedKey, RootKeyId};
use time::{Duration, OffsetDateTime};
use ulid::Ulid;

use crate::error::{Cause, Error, describe};

mod attribute;
mod failure;
mod idempotency;
mod list;
mod meta;
mod rotation;
mod transaction;
mod usage;

pub use attribute::Attribute;
pub use failure::Patience;
use failure::{InDoubt, failure, is_conflict};
pub use idempotency::{IdempotencyRecord, IdempotencyToken};
pub use list::{Page, QueryBudget};
pub use meta::RootKeys;
pub use rotation::{Rotated, Rotation};
use transaction::put;
use usage::Attempts;

/// How long an item stays after its expiry, or after an expiry in the past was written, so that
/// checks respond `expired` for a known time before `not_found`.
const KEPT_AFTER_EXPIRY: Duration = Duration::days(30);

type Attributes = HashMap<String, AttributeValue>;

/// The keys of one service.
///
/// Errors, of every method that asks DynamoDB: [`Error::Unavailable`] if the same request may
/// succeed soon (DynamoDB is throttling, out of reach or failing), else [`Error::Internal`].
#[derive(Debug)]
pub struct Store {
    client: Client,
    table: String,
    service: String,
    track_usage: bool,
    attempts: Attempts,
}

/// A key as the table holds it.
#[derive(Debug, Default)]
pub struct Item {
    /// The sort key: a ULID, unless someone else wrote the item.
    pub id: String,
    /// The config.
    pub config: Attribute,
    /// The ID of the key's root key (attribute `root_key_id`). `None` in an item that someone else
    /// wrote.
    pub root_key: Option<String>,
    /// A random text, new after each change. Only read for a change or with the details.
    pub change_id: Attribute,
    /// What only a key's details show.
    pub details: Details,
}

/// Who created and changed a key when, and the keys that it was rotated from and to (ULIDs). `None`
/// if it wasn't read or never happened.
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

/// The attributes that a check or a list without details needs.
const PLAIN: &str = "id, config, root_key_id, service";

/// The attributes that a change needs.
const CHANGEABLE: &str = "id, config, root_key_id, change_id, service";

/// All attributes that are read.
const DETAILED: &str = "id, config, root_key_id, change_id, service, created_at, created_by, updated_at, updated_by, rotated_from, rotated_to";

/// Who changes a key, and when.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// The caller's IAM ARN or JWT subject.
    pub caller: &'a str,
    /// The time of the change, RFC 3339.
    pub at: &'a str,
}

/// A change.
#[derive(Debug)]
pub struct Change<'a> {
    /// The key's config from now on.
    pub config: &'a KeyConfig,
    /// Who makes it, and when.
    pub author: Author<'a>,
}

/// What an update, a delete or a rotation does if somebody else changes the item after it was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum IfChanged {
    /// It reads the item again and applies to that.
    ReadAgain,
    /// It fails with [`Error::PreconditionFailed`]: its caller asked to change the item as it was
    /// read, or not at all.
    Fail,
}

impl Store {
    /// The keys of `service` in `table`. Without `track_usage`, [`Store::record_use`] does nothing.
    pub fn new(client: Client, table: String, service: String, track_usage: bool) -> Self {
        Self {
            client,
            table,
            service,
            track_usage,
            attempts: Attempts::default(),
        }
    }

    /// Writes a new key and, with a `token`, the token's item, or neither. Returns what the same
    /// token created within the last day, if anything. One TransactWriteItems: DynamoDB carries it
    /// out once, however often and however late an attempt of it arrives. Errors: also those of
    /// [`Store::recorded`].
    pub async fn create(
        &self,
        keyring: &Keyring,
        id: KeyId,
        root_key: &RootKeyId,
        change: &Change<'_>,
        token: Option<&IdempotencyToken>,
    ) -> Result<Option<IdempotencyRecord>, Error> {
        let key = Put::builder()
            .table_name(&self.table)
            .set_item(Some(self.item(id, root_key, change)));
        let mut writes = vec![put(key.condition_expression("attribute_not_exists(id)"))?];
        if let Some(token) = token {
            writes.push(put(self.record(keyring, token, id, root_key, None)?)?);
        }
        let failed = self
            .transact(writes, &id.ulid(), &mut Patience::default())
            .await?;
        if failed.is_empty() {
            return Ok(None);
        }
        match (token, failed.get(1).and_then(CancellationReason::item)) {
            (Some(token), Some(item)) => {
                let earlier = self.verified(keyring, token, item.clone())?;
                // It became a day old since DynamoDB compared.
                earlier
                    .map(Some)
                    .ok_or_else(|| Error::Unavailable("an idempotency record has expired".into()))
            }
            _ => Err(Error::Internal(format!("{id} exists already").into())),
        }
    }

    /// Replaces the config of a key whose item was `before` by what `config` makes of its item.
    /// Returns the replaced item and the new config. One UpdateItem; up to five while others write
    /// the same item. Errors: also [`Error::KeyNotFound`] if it was deleted meanwhile, and those of
    /// `config`. After an [`Error::Unavailable`], the update may have been carried out.
    pub async fn update(
        &self,
        id: KeyId,
        mut before: Item,
        if_changed: IfChanged,
        author: Author<'_>,
        config: impl Fn(&Item) -> Result<KeyConfig, Error>,
    ) -> Result<(Item, KeyConfig), Error> {
        let change_id = Ulid::generate().to_string();
        let in_doubt = InDoubt::default();
        let mut patience = Patience::default();
        loop {
            let config = config(&before)?;
            let change = Change {
                config: &config,
                author,
            };
            let obstacle = match self
                .update_unchanged(id, &before, &change, &change_id, in_doubt.clone())
                .await?
            {
                Outcome::Done => return Ok((before, config)),
                // An earlier attempt was carried out, and its response was lost.
                Outcome::Changed(Some(item)) if item.change_id.text() == Some(&change_id) => {
                    return Ok((before, config));
                }
                // An earlier attempt may have been carried out, and followed by another change.
                Outcome::Changed(_) if in_doubt.get() => return Err(followed_by_another()),
                Outcome::Changed(None) => return Err(Error::KeyNotFound),
                Outcome::Changed(Some(_)) if if_changed == IfChanged::Fail => {
                    return Err(Error::PreconditionFailed);
                }
                Outcome::Changed(Some(item)) => {
                    before = *item;
                    CHANGED.into()
                }
                Outcome::Conflict(cause) => cause,
            };
            patience.wait(obstacle).await?;
        }
    }

    /// Deletes a key whose item was `before`. Returns the deleted item, or `None` if a response was
    /// lost: the item may have been changed before it was gone. One DeleteItem; up to five while
    /// others write the same item. Errors: also [`Error::KeyNotFound`] if it was deleted meanwhile.
    pub async fn delete(
        &self,
        id: KeyId,
        mut before: Item,
        if_changed: IfChanged,
    ) -> Result<Option<Item>, Error> {
        let mut in_doubt = InDoubt::default();
        let mut patience = Patience::default();
        loop {
            let obstacle = match self.delete_unchanged(id, &before, in_doubt.clone()).await? {
                Outcome::Done => return Ok(Some(before)),
                Outcome::Changed(None) if in_doubt.get() => return Ok(None),
                Outcome::Changed(None) => return Err(Error::KeyNotFound),
                Outcome::Changed(Some(_)) if if_changed == IfChanged::Fail => {
                    return Err(if in_doubt.get() {
                        followed_by_another()
                    } else {
                        Error::PreconditionFailed
                    });
                }
                Outcome::Changed(Some(item)) => {
                    // No earlier attempt deletes this one.
                    in_doubt = InDoubt::default();
                    before = *item;
                    CHANGED.into()
                }
                Outcome::Conflict(cause) => cause,
            };
            patience.wait(obstacle).await?;
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
        let expression = replace_config(change, change_id, &mut values);
        let request = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(self.key(&id.ulid())));
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
                Some(UpdateItemError::ConditionalCheckFailedException(found)) => {
                    self.changed(id, &found.item)
                }
                _ if is_conflict(&error) => Ok(Outcome::Conflict(describe(&error).into())),
                _ => Err(failure(&error)),
            },
        }
    }

    async fn delete_unchanged(
        &self,
        id: KeyId,
        before: &Item,
        in_doubt: InDoubt,
    ) -> Result<Outcome, Error> {
        let (condition, values) = before.unchanged();
        let request = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(self.key(&id.ulid())));
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
                Some(DeleteItemError::ConditionalCheckFailedException(found)) => {
                    self.changed(id, &found.item)
                }
                _ if is_conflict(&error) => Ok(Outcome::Conflict(describe(&error).into())),
                _ => Err(failure(&error)),
            },
        }
    }

    /// The outcome of a change whose condition failed on `item`.
    fn changed(&self, id: KeyId, item: &Option<Attributes>) -> Result<Outcome, Error> {
        let id = id.ulid();
        let item = item
            .clone()
            .map(|item| asked_for(item, &self.service, &id, |found| found == id))
            .transpose()?;
        Ok(Outcome::Changed(
            item.map(|item| Box::new(Item::from(item))),
        ))
    }

    /// The item of a key that a caller named, to change it. If the caller gave the secret, the item
    /// must name its root key. One strongly consistent GetItem.
    pub async fn named(&self, key: &NamedKey) -> Result<Item, Error> {
        self.read(key.id, CHANGEABLE)
            .await?
            .filter(|item| item.is_named_by(key))
            .ok_or(Error::KeyNotFound)
    }

    /// The item of a key that a caller named, with its details. One strongly consistent GetItem.
    pub async fn detailed(&self, key: &NamedKey) -> Result<Item, Error> {
        self.read(key.id, DETAILED)
            .await?
            .filter(|item| item.is_named_by(key))
            .ok_or(Error::KeyNotFound)
    }

    /// A key's item, as a check needs it. Returns `None` if there is no such key. One strongly
    /// consistent GetItem.
    pub async fn get(&self, id: KeyId) -> Result<Option<Item>, Error> {
        self.read(id, PLAIN).await
    }

    async fn read(&self, id: KeyId, attributes: &str) -> Result<Option<Item>, Error> {
        Ok(self
            .get_item(&self.service, &id.ulid(), Some(attributes))
            .await?
            .map(Item::from))
    }

    /// One item: the `attributes` (with `service` and `id`), or all. One strongly consistent
    /// GetItem.
    async fn get_item(
        &self,
        partition: &str,
        id: &str,
        attributes: Option<&str>,
    ) -> Result<Option<Attributes>, Error> {
        let request = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(partition, id)));
        let request = request
            .consistent_read(true)
            .set_projection_expression(attributes.map(str::to_owned));
        let item = request.send().await.map_err(|error| failure(&error))?.item;
        item.map(|item| asked_for(item, partition, id, |found| found == id))
            .transpose()
    }

    /// Finds the key that `text` is. One strongly consistent GetItem, none if the text fails its
    /// MAC. Errors: also [`Error::Internal`] if the stored config is invalid.
    pub async fn find(&self, keyring: &Keyring, text: &str) -> Result<Lookup, Error> {
        let Some((id, root_key)) = keyring
            .parse_key(text)
            .and_then(|key| Some((key.id, key.root_key?)))
        else {
            return Ok(Lookup::Invalid);
        };
        let Some(item) = self.get(id).await? else {
            return Ok(Lookup::NotFound(id));
        };
        if item.root_key.as_deref() != Some(root_key.as_str()) {
            return Ok(Lookup::NotFound(id));
        }
        item.readable_config()
            .map(|config| Lookup::Key(id, Box::new(config)))
    }

    fn item(&self, id: KeyId, root_key: &RootKeyId, change: &Change<'_>) -> Attributes {
        let (mut item, change_id) = (self.key(&id.ulid()), Ulid::generate().to_string());
        let texts = [
            ("config", change.config.as_str()),
            ("root_key_id", root_key.as_str()),
            ("created_at", change.author.at),
            ("created_by", change.author.caller),
            ("change_id", &change_id),
        ];
        item.extend(
            texts.map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned()))),
        );
        item.extend(ttl(change.config).map(|ttl| ("ttl".to_owned(), ttl)));
        item
    }

    fn key(&self, id: &str) -> Attributes {
        key(&self.service, id)
    }
}

/// Returns an item of a response if its key is the one asked for, of which the log says `asked`.
/// Otherwise the response belongs to another request, which a broken proxy can cause if there is no
/// TLS. That isn't [`Error::Unavailable`]: such a connection stays wrong, so another try doesn't
/// help, and somebody must look.
fn asked_for(
    item: Attributes,
    partition: &str,
    asked: &str,
    is_asked: impl FnOnce(&str) -> bool,
) -> Result<Attributes, Error> {
    let text = |name: &str| {
        item.get(name)
            .and_then(|value| value.as_s().ok())
            .map(String::as_str)
    };
    if text("service") == Some(partition) && text("id").is_some_and(is_asked) {
        return Ok(item);
    }
    Err(Error::Internal(
        format!("asked for {asked} of {partition}, DynamoDB's response has another item").into(),
    ))
}

/// The items of a Query's response, which has a list even if there are none. The response to another
/// request has no list, and must not count as an empty one: see [`asked_for`].
fn items_in(items: Option<Vec<Attributes>>, partition: &str) -> Result<Vec<Attributes>, Error> {
    items.ok_or_else(|| {
        Error::Internal(
            format!("asked for items of {partition}, DynamoDB's response has no list").into(),
        )
    })
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

/// The obstacle of an operation whose item others change all the time.
pub(crate) const CHANGED: &str = "the item was changed by others again and again";

fn followed_by_another() -> Error {
    Error::Unavailable("another change followed a lost response".into())
}

/// The outcome of a change to an item that was read before.
enum Outcome {
    Done,
    /// The item was changed since it was read. This is the one there now; `None` if it was deleted.
    Changed(Option<Box<Item>>),
    /// Nothing was written, because somebody else was writing the item.
    Conflict(Cause),
}

impl Item {
    /// Whether it is the item of a key that a caller named. If the caller gave the secret, the item
    /// must name its root key.
    fn is_named_by(&self, key: &NamedKey) -> bool {
        key.root_key
            .as_ref()
            .is_none_or(|root_key| self.root_key.as_deref() == Some(root_key.as_str()))
    }

    /// The config. Errors: [`Error::Internal`] if it can't be read.
    pub fn readable_config(&self) -> Result<KeyConfig, Error> {
        let config = self
            .config
            .text()
            .and_then(|text| KeyConfig::parse(text).ok());
        let invalid = || format!("stored config of gaia_{} is invalid", self.id);
        config.ok_or_else(|| Error::Internal(invalid().into()))
    }

    /// The condition that nobody has changed the item since it was read. An attempt that arrives
    /// late fails it, since no `change_id` comes twice. Who edits a config by hand may leave the
    /// `change_id` as it is.
    fn unchanged(&self) -> (String, Attributes) {
        let mut values = Attributes::new();
        let change_id = self.change_id.unchanged("change_id", &mut values);
        let config = self.config.unchanged("config", &mut values);
        let condition = format!("attribute_exists(id) AND {change_id} AND {config}");
        (condition, values)
    }
}

impl From<Attributes> for Item {
    fn from(mut attributes: Attributes) -> Self {
        let config = Attribute(attributes.remove("config"));
        let change_id = Attribute(attributes.remove("change_id"));
        let mut string = |name| match attributes.remove(name) {
            Some(AttributeValue::S(text)) => Some(text),
            _ => None,
        };
        Self {
            id: string("id").unwrap_or_default(),
            config,
            root_key: string("root_key_id"),
            change_id,
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

/// The update expression that replaces a config; it ends with assignments, so another one may
/// follow. Adds its values to `values`. The name `#ttl` stands for `ttl`, which is a reserved word.
fn replace_config(change: &Change<'_>, change_id: &str, values: &mut Attributes) -> String {
    let texts = [
        (":config", change.config.as_str()),
        (":at", change.author.at),
        (":by", change.author.caller),
        (":change", change_id),
    ];
    values
        .extend(texts.map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned()))));
    let ttl = match ttl(change.config) {
        None => "REMOVE #ttl SET",
        Some(ttl) => {
            values.insert(":ttl".to_owned(), ttl);
            "SET #ttl = :ttl,"
        }
    };
    format!("{ttl} config = :config, updated_at = :at, updated_by = :by, change_id = :change")
}

/// The `ttl` attribute: epoch seconds, present only with an expiry. Never in the past, since
/// DynamoDB ignores a `ttl` that is older than five years.
fn ttl(config: &KeyConfig) -> Option<AttributeValue> {
    kept_until(config).map(|end| AttributeValue::N(end.to_string()))
}

/// Until when an item with this config stays, in epoch seconds. `None` if it doesn't expire.
fn kept_until(config: &KeyConfig) -> Option<i64> {
    config
        .expires_at
        .map(|expires_at| kept_after(expires_at.max(OffsetDateTime::now_utc())))
}

fn kept_after(time: OffsetDateTime) -> i64 {
    time.unix_timestamp() + KEPT_AFTER_EXPIRY.whole_seconds()
}
