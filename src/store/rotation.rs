//! Rotations: a successor is created and the old key changed, together or not at all.

use aws_sdk_dynamodb::types::{AttributeValue, Put};
use ulid::Ulid;

use super::{Attributes, Change, IdempotencyToken, Item, Store, ttl};
use crate::error::Error;
use crate::keys::api_key::KeyId;
use crate::keys::config::KeyConfig;
use crate::keys::keyring::{Keyring, NamedKey, RootKeyId};

/// An item with all its attributes, so that it can be written back completely.
#[derive(Debug)]
pub struct WholeItem {
    /// What the service reads of it.
    pub item: Item,
    attributes: Attributes,
}

/// A rotation of one key.
#[derive(Debug)]
pub struct Rotation<'a> {
    /// The old key, as it was read.
    pub old: &'a WholeItem,
    /// The old key's config from now on.
    pub old_config: &'a KeyConfig,
    /// When the old key expires, as in the response.
    pub expires_at: &'a str,
    /// The new key's ID.
    pub id: KeyId,
    /// The root key that the new key is derived from.
    pub root_key: &'a RootKeyId,
    /// The new key's config, the caller and the time.
    pub change: Change<'a>,
}

/// The outcome of a rotation.
#[derive(Debug)]
pub enum Rotated {
    /// It was carried out.
    Done,
    /// The `Idempotency-Key` has a record.
    Earlier,
    /// The old key was changed or deleted since it was read.
    Changed,
}

impl Store {
    /// The item of a key that a caller named, with all its attributes. One strongly consistent GetItem.
    pub async fn whole(&self, key: &NamedKey) -> Result<WholeItem, Error> {
        let attributes = self.get_item(&self.service, &key.id.ulid(), None).await?.ok_or(Error::KeyNotFound)?;
        let item = Item::from(attributes.clone());
        if item.is_named_by(key) { Ok(WholeItem { item, attributes }) } else { Err(Error::KeyNotFound) }
    }

    /// Creates the new key, writes the old one with its new config and, with a `token`, the token's item. One
    /// TransactWriteItems.
    pub async fn rotate(
        &self,
        keyring: &Keyring,
        rotation: &Rotation<'_>,
        token: Option<&IdempotencyToken>,
    ) -> Result<Rotated, Error> {
        let Rotation { old, id, root_key, change, .. } = rotation;
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let put = |item: Attributes| Put::builder().table_name(&self.table).set_item(Some(item));

        let mut new_item = self.item(*id, root_key, change);
        new_item.insert("rotated_from".to_owned(), text(&old.item.id));

        // A complete Put: the condition ensures that nobody changed the item, and the role then needs only one action.
        let mut old_item = old.attributes.clone();
        let changed = [
            ("config", rotation.old_config.as_str()),
            ("updated_at", change.at),
            ("updated_by", change.caller),
            ("rotated_to", &id.ulid()),
            ("change_id", &Ulid::generate().to_string()),
        ];
        old_item.extend(changed.map(|(name, value)| (name.to_owned(), text(value))));
        old_item.extend(ttl(rotation.old_config).map(|ttl| ("ttl".to_owned(), ttl)));
        let (condition, values) = old.item.unchanged();
        let old_put = put(old_item)
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values).filter(|values| !values.is_empty()));

        let record = token.map(|token| self.record(keyring, token, *id, root_key, Some(rotation.expires_at)));
        let record = record.transpose()?;
        let new_put = put(new_item).condition_expression("attribute_not_exists(id)");
        let puts = [new_put, old_put].into_iter().chain(record);
        // A new token each time the old key is read again, since the requests differ. An earlier one that arrives late fails
        // its condition.
        let failed = self.transact(puts, &Ulid::generate().to_string()).await?;
        let by_condition =
            |put: usize| failed.get(put).is_some_and(|reason| reason.code() == Some("ConditionalCheckFailed"));
        match (failed.is_empty(), by_condition(2), by_condition(1)) {
            (true, _, _) => Ok(Rotated::Done),
            (_, true, _) => Ok(Rotated::Earlier),
            (_, _, true) => Ok(Rotated::Changed),
            _ => Err(Error::Internal(format!("{id} exists already").into())),
        }
    }
}
