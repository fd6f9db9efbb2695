//! Failed requests: which are transient, and which DynamoDB might still have carried out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::FinalizerInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use crate::error::{Error, describe};

/// Set once an attempt of a request ends without a response or with a 5xx: DynamoDB may have carried it out.
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
        let rejected = context.response().is_some_and(|response| response.status().is_client_error());
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

/// A transient failure (throttled, unreachable, or DynamoDB's fault) is a 503. Any other is a fault of ours or of the
/// deployment: 500.
pub(super) fn failure<E>(error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let transient = match error {
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => true,
        SdkError::DispatchFailure(failure) => !failure.is_user(),
        SdkError::ServiceError(service) => {
            let code = service.err().code();
            service.raw().status().is_server_error() || code.is_some_and(|code| TRANSIENT.contains(&code))
        }
        _ => false,
    };
    let cause = describe(error).into();
    if transient { Error::Unavailable(cause) } else { Error::Internal(cause) }
}
