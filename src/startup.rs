//! From settings to something that answers.

use std::time::{Duration, SystemTime};

use lambda_runtime::Context;

use crate::api::Api;
use crate::authorizer::Authorizer;
use crate::aws::Clients;
use crate::aws::kms;
use crate::error::Cause;
use crate::keys::api_key::{Keyring, Master};
use crate::settings::{MasterSource, Settings};
use crate::store::Store;

/// The management API. Errors: no master from KMS, or trusted authorities that can't be read.
pub async fn api(settings: &Settings) -> Result<Api, Cause> {
    let (store, keyring) = parts(settings).await?;
    Ok(Api::new(settings, store, keyring))
}

/// The Lambda authorizer. Errors: as of [`api`].
pub async fn authorizer(settings: &Settings) -> Result<Authorizer, Cause> {
    let (store, keyring) = parts(settings).await?;
    Ok(Authorizer::new(settings, store, keyring))
}

/// The time until an invocation ends, less what it takes to hand the answer over: a defined answer comes in time.
/// A deadline that is past on arrival is none (the emulator of cargo-lambda sends one in 1970).
pub fn time_left(context: &Context) -> Duration {
    let left = context.deadline().duration_since(SystemTime::now());
    left.map_or(Duration::MAX, |left| left.saturating_sub(Duration::from_millis(300)))
}

/// Opens the connections to KMS and DynamoDB at the same time.
async fn parts(settings: &Settings) -> Result<(Store, Keyring), Cause> {
    let clients = Clients::new(&settings.aws)?;
    let store = Store::new(clients.dynamodb(), settings.table_name.clone(), settings.service_name.clone());
    let (keyring, ()) = tokio::join!(keyring(settings, &clients), store.warm_up());
    Ok((store, keyring?))
}

async fn keyring(settings: &Settings, clients: &Clients) -> Result<Keyring, Cause> {
    let from_kms: Vec<Master>;
    let masters = match &settings.masters {
        MasterSource::Fixed(masters) => masters.as_slice(),
        MasterSource::Kms(key_ids) => {
            let client = clients.kms();
            let mut masters = Vec::new();
            for key_id in key_ids {
                masters.push(kms::master(&client, key_id).await?);
            }
            from_kms = masters;
            &from_kms
        }
    };
    let (issuing, accepted) = masters.split_first().ok_or("no master")?;
    Ok(Keyring::new(&settings.service_name, issuing, accepted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_kept_unless_it_is_none() {
        let mut context = Context::default();
        assert_eq!(time_left(&context), Duration::MAX);
        let in_ten_seconds = SystemTime::now() + Duration::from_secs(10);
        let milliseconds = in_ten_seconds.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        context.deadline = u64::try_from(milliseconds).unwrap();
        assert!((9_000..=9_700).contains(&time_left(&context).as_millis()));
    }
}
