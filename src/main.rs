//! The Lambda function's start: settings, clients, keyring, then the function asked for.

use std::process::ExitCode;

use gaia_api_keys::error::Cause;
use gaia_api_keys::settings::{Function, Settings};
use gaia_api_keys::start::{self, time_left};
use lambda_runtime::{LambdaEvent, run, service_fn};

fn main() -> ExitCode {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        eprintln!(
            "This is an AWS Lambda function and runs only there. To try the service on this machine: cargo local"
        );
        return ExitCode::FAILURE;
    }
    gaia_api_keys::log::init();
    serve().map_or_else(
        |error| {
            tracing::error!(error, "start failed");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

#[tokio::main(flavor = "current_thread")]
async fn serve() -> Result<(), Cause> {
    let settings = Settings::from_env()?;
    let ended = match settings.function {
        Function::Api => {
            let api = start::api(&settings).await?;
            run(service_fn(async |e: LambdaEvent<_>| {
                Ok::<_, Cause>(api.handle(e.payload, time_left(&e.context)).await)
            }))
            .await
        }
        Function::Authorizer => {
            let authorizer = start::authorizer(&settings).await?;
            run(service_fn(async |e: LambdaEvent<_>| authorizer.handle(e.payload, time_left(&e.context)).await)).await
        }
    };
    ended.inspect_err(|error| tracing::warn!(error, "the Runtime API is gone")).or(Ok(()))
}
