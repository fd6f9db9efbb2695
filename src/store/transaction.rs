//! Several writes together or not at all, and once.

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::{PutBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{CancellationReason, TransactWriteItem};

use super::{Patience, Store, failure};
use crate::error::Error;

/// A put as a part of a transaction.
pub(super) fn put(put: PutBuilder) -> Result<TransactWriteItem, Error> {
    let put = put.build().map_err(incomplete)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// An update as a part of a transaction.
pub(super) fn update(update: UpdateBuilder) -> Result<TransactWriteItem, Error> {
    let update = update.build().map_err(incomplete)?;
    Ok(TransactWriteItem::builder().update(update).build())
}

fn incomplete(error: BuildError) -> Error {
    Error::Internal(error.into())
}

impl Store {
    /// Carries out `writes` together or not at all. Returns the reasons, one per write, if a
    /// condition failed, else nothing. `token` must be the operation's own, of at most 36
    /// characters: DynamoDB remembers it for 10 minutes and carries out no second request with it.
    /// One TransactWriteItems, repeated within `patience` while another transaction works on the
    /// same items, or an earlier attempt of this one is in progress.
    pub(super) async fn transact(
        &self,
        writes: Vec<TransactWriteItem>,
        token: &str,
        patience: &mut Patience,
    ) -> Result<Vec<CancellationReason>, Error> {
        loop {
            let request = self
                .client
                .transact_write_items()
                .set_transact_items(Some(writes.clone()));
            let Err(error) = request.client_request_token(token).send().await else {
                return Ok(Vec::new());
            };
            let failure = match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    let reasons = cancelled.cancellation_reasons();
                    if reasons
                        .iter()
                        .any(|reason| reason.code() == Some("ConditionalCheckFailed"))
                    {
                        return Ok(reasons.to_vec());
                    }
                    cancellation(reasons)
                }
                Some(TransactWriteItemsError::TransactionInProgressException(_)) => failure(&error),
                _ => return Err(failure(&error)),
            };
            let Error::Unavailable(cause) = failure else {
                return Err(failure);
            };
            patience.wait(cause).await?;
        }
    }
}

/// The error for a transaction that was cancelled for another reason than a condition.
fn cancellation(reasons: &[CancellationReason]) -> Error {
    const TRANSIENT: [&str; 3] = [
        "TransactionConflict",
        "ThrottlingError",
        "ProvisionedThroughputExceeded",
    ];
    let codes: Vec<_> = reasons
        .iter()
        .filter_map(CancellationReason::code)
        .collect();
    let cause = format!("a transaction was cancelled: {}", codes.join(", ")).into();
    if codes.iter().any(|code| TRANSIENT.contains(code)) {
        Error::Unavailable(cause)
    } else {
        Error::Internal(cause)
    }
}
