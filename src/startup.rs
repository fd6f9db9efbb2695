//! Builds a function from the settings and the SDK's configuration, and serves it.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use keys::keyring::Keyring;
use lambda_runtime::{Context, LambdaEvent as Event, service_fn};
use serde_json::value::RawValue;

use crate::api::Api;
use crate::authorizer::Authorizer;
use crate::aws::{self, kms};
use crate::error::{Cause, with_sources};
use crate::settings::{Function, RootKeySource, Settings};
use crate::store::Store;

/// Serves the function that the settings name, one request at a time, until Lambda ends it. Returns
/// if the runtime ends by itself, and logs why. Errors: the function can't start.
pub async fn serve(settings: &Settings, sdk: &SdkConfig) -> Result<(), Cause> {
    let ended = match settings.function {
        Function::Api => {
            let api = &api(settings, sdk).await?;
            let respond = async |event: Event<_>| {
                let time_left = time_left(&event.context);
                Ok::<_, Infallible>(api.handle(event, time_left).await)
            };
            lambda_runtime::run(service_fn(respond)).await
        }
        Function::Authorizer => {
            let authorizer = &authorizer(settings, sdk).await?;
            let respond = async |event: Event<Box<RawValue>>| {
                authorizer
                    .handle(&event.payload, time_left(&event.context))
                    .await
            };
            lambda_runtime::run(service_fn(respond)).await
        }
    };
    if let Err(error) = ended {
        tracing::error!(error = runtime_failure(error.as_ref()), "runtime ended");
    }
    Ok(())
}

/// Why lambda_runtime gave up. Serde's own message would repeat the text of what it can't read.
fn runtime_failure(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    match error.downcast_ref::<serde_json::Error>() {
        Some(json) => {
            let (line, column) = (json.line(), json.column());
            format!(
                "the invocation's client context or Cognito identity can't be read: line {line} column {column}"
            )
        }
        None => with_sources(error),
    }
}

/// Builds the management API. Names its primary root key in the table if it isn't named there yet.
/// Errors: KMS returned no root key, the table names other root keys only, or the primary can't be
/// named.
pub async fn api(settings: &Settings, sdk: &SdkConfig) -> Result<Api, Cause> {
    let parts = parts(settings, sdk).await?;
    if parts.lacks_primary {
        parts.store.add_root_key(parts.keyring.primary_id()).await?;
    }
    Ok(Api::new(settings, parts.store, parts.keyring))
}

/// Builds the Lambda authorizer. Errors: KMS returned no root key, or the table names other root
/// keys only.
pub async fn authorizer(settings: &Settings, sdk: &SdkConfig) -> Result<Authorizer, Cause> {
    let parts = parts(settings, sdk).await?;
    Ok(Authorizer::new(settings, parts.store, parts.keyring))
}

/// The time until an invocation ends, less 300 ms to return the response. Ignores deadlines in the
/// past: cargo-lambda's emulator sends 1970.
pub fn time_left(context: &Context) -> Duration {
    let left = context.deadline().duration_since(SystemTime::now());
    left.map_or(Duration::MAX, |left| {
        left.saturating_sub(Duration::from_millis(300))
    })
}

/// What both functions are built of.
struct Parts {
    store: Store,
    keyring: Keyring,
    /// Whether the table doesn't name the primary root key yet.
    lacks_primary: bool,
}

/// Asks DynamoDB for the root keys' names and KMS for them at the same time. DynamoDB first: while it
/// connects, KMS's client is built.
async fn parts(settings: &Settings, sdk: &SdkConfig) -> Result<Parts, Cause> {
    let (table, service) = (settings.table_name.clone(), settings.service_name.clone());
    let store = Store::new(aws::dynamodb(sdk), table, service, settings.track_usage);
    // Whether it failed matters only once the keyring is known.
    let named = async { Ok(store.root_keys().await) };
    let (named, keyring) = tokio::try_join!(named, keyring(settings, sdk))?;
    let lacks_primary = store.lacks_primary(named, &keyring)?;
    Ok(Parts {
        store,
        keyring,
        lacks_primary,
    })
}

async fn keyring(settings: &Settings, sdk: &SdkConfig) -> Result<Keyring, Cause> {
    let service = &settings.service_name;
    match &settings.root_keys {
        RootKeySource::Fixed { primary, secondary } => {
            Ok(Keyring::new(service, primary, secondary.as_ref()))
        }
        RootKeySource::Kms { primary, secondary } => {
            let client = aws::kms(sdk);
            let secondary = async {
                match secondary {
                    Some(key_id) => kms::root_key(&client, key_id).await.map(Some),
                    None => Ok(None),
                }
            };
            let (primary, secondary) =
                tokio::try_join!(kms::root_key(&client, primary), secondary)?;
            Ok(Keyring::new(service, &primary, secondary.as_ref()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_counts_unless_it_is_in_the_past() {
        let mut context = Context::default();
        assert_eq!(time_left(&context), Duration::MAX);
        let in_ten_seconds = SystemTime::now() + Duration::from_secs(10);
        let milliseconds = in_ten_seconds
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_millis();
        context.deadline = u64::try_from(milliseconds).unwrap();
        assert!((9_000..=9_700).contains(&time_left(&context).as_millis()));
    }
}
