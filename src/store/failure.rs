//! Failed requests: which are transient, which DynamoDB might still have carried out, and how often
//! to try again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::FinalizerInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use crate::error::{Cause, Error, describe};

/// How often an operation is tried whose item others write at the same time.
const ATTEMPTS: u32 = 5;
/// The longest pause before the second attempt. Each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(50);

/// The attempts of one operation while others write the same item: five, with a pause between them.
#[derive(Debug, Default)]
pub struct Patience {
    used: u32,
}

impl Patience {
    /// Waits before the next attempt. Errors: [`Error::Unavailable`] with this cause if there is
    /// none left.
    pub async fn wait(&mut self, cause: impl Into<Cause>) -> Result<(), Error> {
        self.used += 1;
        if self.used >= ATTEMPTS {
            return Err(Error::Unavailable(cause.into()));
        }
        let pause = PAUSE * 2_u32.pow(self.used - 1);
        // Partly random, so that two operations don't meet again each time.
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        Ok(())
    }
}

/// Set once an attempt of a request ends without a response or with a 5xx: DynamoDB may have
/// carried it out.
#[derive(Clone, Debug, Default)]
pub(super) struct InDoubt(Arc<AtomicBool>);

impl InDoubt {
    pub(super) fn get(&self) -> bool {
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
        let rejected = context
            .response()
            .is_some_and(|response| response.status().is_client_error());
        if failed && !rejected {
            self.0.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Transient errors that DynamoDB reports with status 400.
/// Source: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html>
const TRANSIENT: [&str; 7] = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "TransactionConflictException",
    "TransactionInProgressException",
    "ReplicatedWriteConflictException",
];

/// Whether a plain write wasn't carried out because a transaction, or another Region, was writing
/// the same item. The SDK doesn't try these again.
pub(super) fn is_conflict<E, R>(error: &SdkError<E, R>) -> bool
where
    E: ProvideErrorMetadata,
{
    let code = error
        .as_service_error()
        .and_then(ProvideErrorMetadata::code);
    matches!(
        code,
        Some("TransactionConflictException" | "ReplicatedWriteConflictException")
    )
}

/// A transient failure (throttled, unreachable, or DynamoDB's fault) is a 503. Any other is a fault
/// of ours or of the deployment: 500.
pub(super) fn failure<E>(error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let transient = match error {
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => true,
        SdkError::DispatchFailure(failure) => !failure.is_user(),
        SdkError::ServiceError(service) => {
            let code = service.err().code();
            service.raw().status().is_server_error()
                || code.is_some_and(|code| TRANSIENT.contains(&code))
        }
        _ => false,
    };
    let cause = describe(error).into();
    if transient {
        Error::Unavailable(cause)
    } else {
        Error::Internal(cause)
    }
}
