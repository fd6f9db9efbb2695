//! The table: partition key `service`, sort key `id` (the ULID), one item a key, and no secret in it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::FinalizerInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use time::{Duration, OffsetDateTime};

use crate::access::Found;
use crate::error::Error;
use crate::key::{KeyId, Keyring, NamedKey};
use crate::key_config::KeyConfig;

/// How long after its expiry an item stays, so that "expired" doesn't turn into "unknown" at random.
const KEPT_AFTER_EXPIRY: Duration = Duration::days(30);

/// How long an `Idempotency-Key` answers with the key it made; TTL only cleans up behind it.
const CLAIMED_FOR: Duration = Duration::hours(24);

type Attributes = HashMap<String, AttributeValue>;

/// The keys of one service.
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
    /// The id of the master that made the key; none in an item that someone else wrote.
    pub keyring: Option<String>,
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

    /// Opens the connection that later requests use, by a read of nothing. A failure is left to the first request.
    pub async fn warm_up(&self) {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(self.key("0")));
        if let Err(error) = request.send().await {
            tracing::warn!(error = %DisplayErrorContext(error), "DynamoDB did not answer at start");
        }
    }

    /// Writes a new key. One PutItem; if an attempt was carried out but its answer lost, the next one finds its own
    /// equal item, which is success.
    pub async fn create(&self, id: KeyId, keyring: &str, change: &Change<'_>) -> Result<(), Error> {
        let item = self.item(id, keyring, change);
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

    /// Writes a new key and the claim it fulfils, or neither; gives back what fulfilled the claim earlier, if anything
    /// did within a day. One TransactWriteItems, repeated where another one is at the same claim right now.
    pub async fn create_once(
        &self,
        id: KeyId,
        keyring: &str,
        change: &Change<'_>,
        claim: &Claim,
    ) -> Result<Option<Earlier>, Error> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let number = |number: i64| AttributeValue::N(number.to_string());
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let record = [
            ("service", text(&format!("{}#idem", self.service))),
            ("id", text(&claim.id)),
            ("key_id", text(&id.ulid())),
            ("keyring", text(keyring)),
            ("body", text(&claim.body)),
            ("claimed_at", number(now)),
            ("ttl", number(now + CLAIMED_FOR.whole_seconds())),
        ];
        let put = |item: Attributes| Put::builder().table_name(&self.table).set_item(Some(item));
        let key = put(self.item(id, keyring, change)).condition_expression("attribute_not_exists(id)");
        let claim = put(record.map(|(name, value)| (name.to_owned(), value)).into())
            .condition_expression("attribute_not_exists(id) OR claimed_at <= :stale")
            .expression_attribute_values(":stale", number(now - CLAIMED_FOR.whole_seconds()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let items = [key, claim].map(|put| put.build().map(|put| TransactWriteItem::builder().put(put).build()));
        let items: Result<Vec<_>, _> = items.into_iter().collect();
        let items = items.map_err(|error| Error::Internal(error.into()))?;

        let mut pause = std::time::Duration::from_millis(50);
        loop {
            let Err(error) = self.client.transact_write_items().set_transact_items(Some(items.clone())).send().await
            else {
                return Ok(None);
            };
            let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = error.as_service_error() else {
                return Err(failure(error));
            };
            let reasons = canceled.cancellation_reasons();
            if let Some(earlier) = reasons.iter().find_map(|reason| Earlier::from_item(reason.item()?)) {
                return Ok(Some(earlier));
            }
            let codes: Vec<_> = reasons.iter().filter_map(|reason| reason.code()).collect();
            if codes.contains(&"TransactionConflict") && pause.as_secs() < 1 {
                tokio::time::sleep(pause).await;
                pause *= 2;
                continue;
            }
            let passing = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
            let cause = format!("a transaction was cancelled: {}", codes.join(", ")).into();
            let passing = codes.iter().any(|code| passing.contains(code));
            return Err(if passing { Error::Unavailable(cause) } else { Error::Internal(cause) });
        }
    }

    /// Replaces a key's config; gives back the config it had, or none if there is no such key. One UpdateItem.
    pub async fn update(&self, key: &NamedKey, change: &Change<'_>) -> Result<Option<Item>, Error> {
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
            Ok(output) => Ok(output.attributes.map(Item::from)),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(None),
                _ => Err(failure(error)),
            },
        }
    }

    /// Deletes a key; gives back what it was, or none if there is no such key. One DeleteItem; where an attempt may have been carried out though
    /// its answer was lost, and the next one finds nothing, the key counts as deleted.
    pub async fn delete(&self, key: &NamedKey) -> Result<Option<Item>, Error> {
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
            Ok(output) => Ok(output.attributes.map(Item::from)),
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(found)) => {
                    let deleted = found.item.is_none() && in_doubt.get();
                    Ok(deleted.then(|| Item::from(Attributes::new())))
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

    /// What the table says of a text that should be a key; it isn't asked about one that can't be.
    pub async fn find(&self, keyring: &Keyring, text: &str) -> Result<Found, Error> {
        let Some((id, master)) = keyring.parse_key(text).and_then(|key| Some((key.id, key.master?))) else {
            return Ok(Found::Malformed);
        };
        let Some(item) = self.get(id).await? else { return Ok(Found::Unknown(id)) };
        if item.keyring.as_deref() != Some(master.as_str()) {
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

    fn item(&self, id: KeyId, keyring: &str, change: &Change<'_>) -> Attributes {
        let mut item = self.key(&id.ulid());
        let texts = [
            ("config", change.config.as_str()),
            ("keyring", keyring),
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

/// What an `Idempotency-Key` claims: that one caller's one request makes one key.
#[derive(Debug)]
pub struct Claim {
    /// Stands for the caller and the header.
    pub id: String,
    /// Stands for the request's body.
    pub body: String,
}

/// What fulfilled a claim earlier.
#[derive(Debug)]
pub struct Earlier {
    /// The key that was made.
    pub key_id: KeyId,
    /// The id of the master that made it.
    pub keyring: String,
    /// Stands for the body it was made for.
    pub body: String,
}

impl Earlier {
    fn from_item(item: &Attributes) -> Option<Self> {
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
        let key_id = KeyId::from_ulid(text("key_id")?)?;
        Some(Self { key_id, keyring: text("keyring")?.clone(), body: text("body")?.clone() })
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
        Self { id: string("id").unwrap_or_default(), config: string("config"), keyring: string("keyring") }
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

/// Set once an attempt of a request ended without an answer, or with a 5xx: DynamoDB may have carried it out.
#[derive(Clone, Debug, Default)]
struct InDoubt(Arc<AtomicBool>);

impl InDoubt {
    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Intercept for InDoubt {
    fn name(&self) -> &'static str {
        "InDoubt"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let failed = !matches!(context.output_or_error(), Some(Ok(_)));
        let refused = context.response().is_some_and(|response| response.status().is_client_error());
        if failed && !refused {
            self.0.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Codes that ask for patience; DynamoDB answers them with status 400.
const THROTTLING: [&str; 6] = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "TransactionInProgressException",
    "ReplicatedWriteConflictException",
];

/// Throttled, unreachable or broken on DynamoDB's side: 503. All else is a fault of ours or of the deployment: 500.
fn failure<E>(error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let passing = match &error {
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => true,
        SdkError::DispatchFailure(failure) => !failure.is_user(),
        SdkError::ServiceError(service) => {
            let code = service.err().code();
            service.raw().status().is_server_error() || code.is_some_and(|code| THROTTLING.contains(&code))
        }
        _ => false,
    };
    let cause = DisplayErrorContext(error).to_string().into();
    if passing { Error::Unavailable(cause) } else { Error::Internal(cause) }
}
