//! Several writes together or not at all, and once.

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{CancellationReason, TransactWriteItem};

use super::{Store, failure};
use crate::error::Error;

impl Store {
    /// Carries out `puts` together or not at all. Returns the reasons, one per put, if a condition failed, else nothing.
    /// `token` must be the operation's own, of at most 36 characters: DynamoDB remembers it for 10 minutes and carries out
    /// no second request with it. One TransactWriteItems, repeated while another transaction works on the same items, or an
    /// earlier attempt of this one is in progress.
    pub(super) async fn transact(
        &self,
        puts: impl Iterator<Item = PutBuilder>,
        token: &str,
    ) -> Result<Vec<CancellationReason>, Error> {
        let puts = puts.map(|put| Ok(TransactWriteItem::builder().put(put.build()?).build()));
        let puts: Vec<_> = puts
            .collect::<Result<_, aws_sdk_dynamodb::error::BuildError>>()
            .map_err(|error| Error::Internal(error.into()))?;
        let mut pause = Duration::from_millis(50);
        loop {
            let request = self.client.transact_write_items().set_transact_items(Some(puts.clone()));
            let Err(error) = request.client_request_token(token).send().await else { return Ok(Vec::new()) };
            let failure = match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    let reasons = cancelled.cancellation_reasons();
                    if reasons.iter().any(|reason| reason.code() == Some("ConditionalCheckFailed")) {
                        return Ok(reasons.to_vec());
                    }
                    cancellation(reasons)
                }
                Some(TransactWriteItemsError::TransactionInProgressException(_)) => failure(&error),
                _ => return Err(failure(&error)),
            };
            if pause.as_secs() >= 1 || !matches!(failure, Error::Unavailable(_)) {
                return Err(failure);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
}

/// The error for a transaction that was cancelled for another reason than a condition.
fn cancellation(reasons: &[CancellationReason]) -> Error {
    const TRANSIENT: [&str; 3] = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
    let codes: Vec<_> = reasons.iter().filter_map(CancellationReason::code).collect();
    let cause = format!("a transaction was cancelled: {}", codes.join(", ")).into();
    if codes.iter().any(|code| TRANSIENT.contains(code)) { Error::Unavailable(cause) } else { Error::Internal(cause) }
}
