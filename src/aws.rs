//! The AWS SDK's configuration and clients, created once at start: one connection pool, one set of
//! trusted roots.

mod http;
pub mod kms;

use std::borrow::Cow;
use std::time::Duration;

use aws_config::environment::{
    EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider,
};
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_runtime::invocation_id::InvocationIdInterceptor;
use aws_runtime::request_info::RequestInfoInterceptor;
use aws_runtime::user_agent::UserAgentInterceptor;
use aws_smithy_runtime::client::retries::{RetryPartition, TokenBucket};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeSerializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{
    Intercept, disable_interceptor, dyn_dispatch_hint,
};
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::retry::ReconnectMode;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use crate::error::Cause;

/// Amazon's root certificates, which AWS's public endpoints chain to. Reading all of the
/// system's would take longer than the rest of the start. The first expires at the end of 2037.
/// Source: <https://www.amazontrust.com/repository/>
const AMAZON_ROOTS: &[u8] = include_bytes!("aws/amazon-roots.pem");

/// The Region of `AWS_REGION` or of the profile. Errors: there is none. The SDK would ask instance
/// metadata then, which Lambda doesn't have, and wait for it.
pub async fn region() -> Result<Region, Cause> {
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new())
        .region()
        .await;
    region
        .filter(|region| !region.as_ref().is_empty())
        .ok_or_else(|| "AWS_REGION: not set".into())
}

/// Prepares what [`load`] loads, so that a caller can replace parts of it. `ca_bundle` is the path
/// of a PEM file with the roots to trust in place of Amazon's. Errors: the file can't be read or
/// contains no certificates.
pub fn loader(region: Region, ca_bundle: Option<&str>) -> Result<ConfigLoader, Cause> {
    let roots = match ca_bundle {
        None => Cow::Borrowed(AMAZON_ROOTS),
        Some(path) => std::fs::read(path)
            .map(Cow::Owned)
            .map_err(|error| format!("AWS_CA_BUNDLE: {path}: {error}"))?,
    };
    let http = http::client(&roots).map_err(|error| format!("AWS_CA_BUNDLE: {error}"))?;
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(region)
        .http_client(http)
        .retry_config(retries())
        // An attempt ends after two seconds anyway, and this wraps every body.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(timeouts());
    // Lambda always sets it. The default chain would build an STS client and more, and then read
    // the same variables: a fifteenth of a start.
    if std::env::var_os("AWS_ACCESS_KEY_ID").is_some() {
        loader = loader.credentials_provider(EnvironmentVariableCredentialsProvider::new());
    }
    Ok(loader)
}

/// Loads credentials and endpoints as all AWS SDKs do: from environment variables, profiles or a
/// container. An empty endpoint counts as unset.
pub async fn load(loader: ConfigLoader) -> SdkConfig {
    let loaded = loader.load().await;
    let mut config = loaded.to_builder().service_config(NonEmpty(loaded.clone()));
    if loaded.endpoint_url() == Some("") {
        config.set_endpoint_url(None);
    }
    config.build()
}

/// Creates the client of DynamoDB.
pub fn dynamodb(config: &SdkConfig) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::config::Builder::from(config)
        .retry_partition(own_retries())
        .interceptor(NoStatistics);
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

/// Creates the client of KMS.
pub fn kms(config: &SdkConfig) -> aws_sdk_kms::Client {
    let config = aws_sdk_kms::config::Builder::from(config)
        .retry_partition(own_retries())
        .interceptor(NoStatistics);
    aws_sdk_kms::Client::from_conf(config.build())
}

/// The loaded settings of single services, without empty ones. A template can't always leave a
/// variable out, and the SDK would take an empty one for an endpoint.
#[derive(Debug)]
struct NonEmpty(SdkConfig);

impl LoadServiceConfig for NonEmpty {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        self.0
            .service_config()?
            .load_config(key)
            .filter(|value| !value.is_empty())
    }
}

/// Leaves out the headers that only AWS's statistics read: writing and signing them is a tenth of a
/// warm check. [`http`] sends a short `User-Agent`.
#[derive(Debug)]
struct NoStatistics;

#[dyn_dispatch_hint]
impl Intercept for NoStatistics {
    fn name(&self) -> &'static str {
        "NoStatistics"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let why = "only statistics read these headers";
        config
            .interceptor_state()
            .store_put(disable_interceptor::<UserAgentInterceptor>(why))
            .store_put(disable_interceptor::<InvocationIdInterceptor>(why))
            .store_put(disable_interceptor::<RequestInfoInterceptor>(why));
        Ok(())
    }
}

/// A retry quota of the client's own. By default, all clients of a process share one.
fn own_retries() -> RetryPartition {
    RetryPartition::custom("gaia-api-keys")
        .token_bucket(TokenBucket::default())
        .build()
}

/// At most three attempts. The pool itself closes a connection that failed, so the SDK doesn't have
/// to.
fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(3)
        .with_reconnect_mode(ReconnectMode::ReuseAllConnections)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_secs(1))
}

/// At most two seconds per attempt, six in all.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(2))
        .operation_timeout(Duration::from_secs(6))
        .build()
}
