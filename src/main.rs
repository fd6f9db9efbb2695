//! The Lambda function's start: settings, clients, keyring, then the function asked for.

use std::process::ExitCode;

use gaia_api_keys::settings::{Function, Settings};
use gaia_api_keys::{error::Cause, logging, startup};
use lambda_runtime::{LambdaEvent as Event, run, service_fn};

fn main() -> ExitCode {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        eprintln!(
            "This is an AWS Lambda function and runs only there. To try the service on this machine: cargo local"
        );
        return ExitCode::FAILURE;
    }
    logging::init();
    let Err(error) = serve() else { return ExitCode::SUCCESS };
    tracing::error!(error, "start failed");
    ExitCode::FAILURE
}

#[tokio::main(flavor = "current_thread")]
async fn serve() -> Result<(), Cause> {
    let settings = Settings::from_env()?;
    let ended = match settings.function {
        Function::Api => {
            let api = startup::api(&settings).await?;
            let answer =
                async |e: Event<_>| Ok::<_, Cause>(api.handle(e.payload, startup::time_left(&e.context)).await);
            run(service_fn(answer)).await
        }
        Function::Authorizer => {
            let authorizer = startup::authorizer(&settings).await?;
            let answer = async |e: Event<_>| authorizer.handle(e.payload, startup::time_left(&e.context)).await;
            run(service_fn(answer)).await
        }
    };
    ended.inspect_err(|error| tracing::warn!(error, "the Runtime API is gone")).or(Ok(()))
}
