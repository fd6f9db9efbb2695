//! The AWS SDK's clients, made once at start and shared: one connection pool, one set of trusted authorities.

mod http;
pub mod kms;

use std::borrow::Cow;
use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Region,
    retry::{ReconnectMode, RetryConfig},
    timeout::TimeoutConfig,
};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime::client::retries::{RetryPartition, TokenBucket};
use aws_types::SdkConfig;

use crate::settings::{AwsSettings, SettingsError};

/// Amazon's root certificates, which AWS's public endpoints chain to: reading the system's 140 takes longer than all
/// else at start. From <https://www.amazontrust.com/repository/>; the first expires at the end of 2037.
const AMAZON_ROOTS: &[u8] = include_bytes!("aws/amazon-roots.pem");

/// What both clients share: who calls, from which Region, over which connections, and with how much patience.
pub struct Clients {
    shared: SdkConfig,
    dynamodb_endpoint: Option<String>,
    kms_endpoint: Option<String>,
}

impl Clients {
    /// Prepares the connection pool; opens nothing yet. Errors: `AWS_CA_BUNDLE` names no file of certificates.
    pub fn new(settings: &AwsSettings) -> Result<Self, SettingsError> {
        let roots = match &settings.ca_bundle {
            None => Cow::Borrowed(AMAZON_ROOTS),
            Some(path) => std::fs::read(path)
                .map(Cow::Owned)
                .map_err(|error| SettingsError::new("AWS_CA_BUNDLE", format!("{path}: {error}")))?,
        };
        let http = http::client(&roots).map_err(|error| SettingsError::new("AWS_CA_BUNDLE", error.to_string()))?;
        let shared = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(settings.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(settings.credentials.clone()))
            .http_client(http)
            .retry_config(retries())
            .timeout_config(timeouts())
            .build();
        let (dynamodb_endpoint, kms_endpoint) = (settings.dynamodb_endpoint.clone(), settings.kms_endpoint.clone());
        Ok(Self { shared, dynamodb_endpoint, kms_endpoint })
    }

    /// DynamoDB.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let mut config = aws_sdk_dynamodb::config::Builder::from(&self.shared).retry_partition(own_retries());
        config.set_endpoint_url(self.dynamodb_endpoint.clone());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// KMS.
    pub fn kms(&self) -> aws_sdk_kms::Client {
        let mut config = aws_sdk_kms::config::Builder::from(&self.shared).retry_partition(own_retries());
        config.set_endpoint_url(self.kms_endpoint.clone());
        aws_sdk_kms::Client::from_conf(config.build())
    }
}

/// What the log says of a request that failed: its code and message if the service gave them, then every source's
/// `Display`. Never a `Debug`, which prints the response, and with it KMS's MAC or a config.
pub(crate) fn describe<E, R>(error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug,
{
    let service = error.as_service_error();
    let told = [service.and_then(E::code), service.and_then(E::message)].into_iter().flatten().map(str::to_owned);
    let chain = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let sources = chain.map(|error| error.to_string());
    told.chain(sources).collect::<Vec<_>>().join(": ")
}

/// An allowance of retries that is the client's own; without, all clients of a process would draw on one.
fn own_retries() -> RetryPartition {
    RetryPartition::custom("gaia-api-keys").token_bucket(TokenBucket::default()).build()
}

/// At most three attempts. A connection that failed is closed by the pool itself; the SDK need not.
fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(3)
        .with_reconnect_mode(ReconnectMode::ReuseAllConnections)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_secs(1))
}

/// At most two seconds each, six in all.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(2))
        .operation_timeout(Duration::from_secs(6))
        .build()
}
