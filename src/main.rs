//! The Lambda function's entry point: settings, clients, keyring, then the function asked for.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;

use gaia_api_keys::error::Cause;
use gaia_api_keys::settings::{Function, Settings};
use gaia_api_keys::{aws, logging, startup};
use lambda_runtime::{LambdaEvent as Event, run_concurrent, service_fn};

fn main() -> ExitCode {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        eprintln!("This binary runs only in AWS Lambda. To run the service locally, use `cargo local`.");
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
    let sdk = aws::load(aws::loader(settings.ca_bundle.as_deref())?).await?;
    let ended = match settings.function {
        Function::Api => {
            let api = Arc::new(startup::api(&settings, &sdk).await?);
            let respond = move |event: Event<_>| {
                let api = Arc::clone(&api);
                async move {
                    let time_left = startup::time_left(&event.context);
                    Ok::<_, Infallible>(api.handle(event, time_left).await)
                }
            };
            run_concurrent(service_fn(respond)).await
        }
        Function::Authorizer => {
            let authorizer = Arc::new(startup::authorizer(&settings, &sdk).await?);
            let respond = move |event: Event<_>| {
                let authorizer = Arc::clone(&authorizer);
                async move { authorizer.handle(event.payload, startup::time_left(&event.context)).await }
            };
            run_concurrent(service_fn(respond)).await
        }
    };
    ended.inspect_err(|error| tracing::warn!(error, "lost connection to the Lambda Runtime API")).or(Ok(()))
}
