//! The Lambda function's entry point: settings, the SDK's configuration, then the function that `FUNCTION` names.

use std::convert::Infallible;
use std::process::ExitCode;

use gaia_api_keys::error::Cause;
use gaia_api_keys::settings::{Function, Settings};
use gaia_api_keys::{aws, logging, startup};
use lambda_runtime::{LambdaEvent as Event, run, service_fn};

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
            let api = startup::api(&settings, &sdk).await?;
            let respond = async |event: Event<_>| {
                let time_left = startup::time_left(&event.context);
                Ok::<_, Infallible>(api.handle(event, time_left).await)
            };
            run(service_fn(respond)).await
        }
        Function::Authorizer => {
            let authorizer = startup::authorizer(&settings, &sdk).await?;
            let respond =
                async |event: Event<_>| authorizer.handle(event.payload, startup::time_left(&event.context)).await;
            run(service_fn(respond)).await
        }
    };
    ended.inspect_err(|error| tracing::warn!(error, "lost connection to the Lambda Runtime API")).or(Ok(()))
}
