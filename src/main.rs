//! The Lambda function's start: settings, clients, keyring, then the function asked for.

use std::process::ExitCode;

use gaia_api_keys::error::Cause;
use gaia_api_keys::settings::{Function, Settings};
use gaia_api_keys::{log, start};
use lambda_runtime::{LambdaEvent, service_fn};

fn main() -> ExitCode {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        eprintln!(
            "This is an AWS Lambda function and runs only there. To try the service on this machine: cargo local"
        );
        return ExitCode::FAILURE;
    }
    log::init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "start failed");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run() -> Result<(), Cause> {
    let settings = Settings::from_env()?;
    match settings.function {
        Function::Api => {
            let api = start::api(&settings).await?;
            lambda_runtime::run(service_fn(async |event: LambdaEvent<_>| {
                Ok::<_, Cause>(api.handle(event.payload).await)
            }))
            .await
        }
        Function::Authorizer => {
            let authorizer = start::authorizer(&settings).await?;
            lambda_runtime::run(service_fn(async |event: LambdaEvent<_>| authorizer.handle(event.payload).await)).await
        }
    }
}
