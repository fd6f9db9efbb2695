//! Rotations: a successor is created and the old key changed, together or not at all.

use aws_sdk_dynamodb::types::{AttributeValue, Put, Update};
use ulid::Ulid;

use super::transaction::{put, update};
use super::{Change, IdempotencyToken, Item, Patience, Store, replace_config};
use keys::api_key::KeyId;
use keys::config::KeyConfig;
use keys::keyring::{Keyring, RootKeyId};

use crate::error::Error;

/// A rotation of one key.
#[derive(Debug)]
pub struct Rotation<'a> {
    /// The old key's ID.
    pub old_id: KeyId,
    /// The old key's item, as it was read.
    pub old: &'a Item,
    /// The old key's config from now on.
    pub old_config: &'a KeyConfig,
    /// When the old key expires, as in the response.
    pub expires_at: &'a str,
    /// The new key's ID.
    pub id: KeyId,
    /// The root key that the new key is derived from.
    pub root_key: &'a RootKeyId,
    /// The new key's config, and who rotates when.
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
    /// Creates the new key, updates the old one and, with a `token`, writes the token's item. One
    /// TransactWriteItems, more within `patience`.
    pub async fn rotate(
        &self,
        keyring: &Keyring,
        rotation: &Rotation<'_>,
        token: Option<&IdempotencyToken>,
        patience: &mut Patience,
    ) -> Result<Rotated, Error> {
        let Rotation {
            old_id,
            old,
            id,
            root_key,
            change,
            ..
        } = rotation;
        let text = |text: &str| AttributeValue::S(text.to_owned());

        let mut new_item = self.item(*id, root_key, change);
        new_item.insert("rotated_from".to_owned(), text(&old_id.ulid()));
        let new_item = Put::builder()
            .table_name(&self.table)
            .set_item(Some(new_item));

        let (unchanged, mut values) = old.unchanged();
        let old_change = Change {
            config: rotation.old_config,
            author: change.author,
        };
        let replace_config =
            replace_config(&old_change, &Ulid::generate().to_string(), &mut values);
        values.insert(":to".to_owned(), text(&id.ulid()));
        let old_item = Update::builder()
            .table_name(&self.table)
            .set_key(Some(self.key(&old_id.ulid())))
            .update_expression(format!("{replace_config}, rotated_to = :to"))
            .condition_expression(unchanged)
            .expression_attribute_names("#ttl", "ttl")
            .set_expression_attribute_values(Some(values));

        let new_item = new_item.condition_expression("attribute_not_exists(id)");
        let mut writes = vec![put(new_item)?, update(old_item)?];
        if let Some(token) = token {
            writes.push(put(self.record(
                keyring,
                token,
                *id,
                root_key,
                Some(rotation.expires_at),
            )?)?);
        }
        // A new token each time the old key is read again, since the requests differ. An earlier
        // one that arrives late fails its condition.
        let failed = self
            .transact(writes, &Ulid::generate().to_string(), patience)
            .await?;
        let by_condition = |put: usize| {
            failed
                .get(put)
                .is_some_and(|reason| reason.code() == Some("ConditionalCheckFailed"))
        };
        match (failed.is_empty(), by_condition(2), by_condition(1)) {
            (true, _, _) => Ok(Rotated::Done),
            (_, true, _) => Ok(Rotated::Earlier),
            (_, _, true) => Ok(Rotated::Changed),
            _ => Err(Error::Internal(format!("{id} exists already").into())),
        }
    }
}
