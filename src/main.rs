//! The Lambda function's entry point: settings, the SDK's configuration, then the function that
//! `FUNCTION` names.

use std::process::ExitCode;

use gaia_api_keys::error::Cause;
use gaia_api_keys::settings::Settings;
use gaia_api_keys::{aws, logging, startup};

fn main() -> ExitCode {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        eprintln!(
            "This binary runs only in AWS Lambda. To run the service locally, use `cargo local`."
        );
        return ExitCode::FAILURE;
    }
    logging::init();
    if let Err(error) = serve() {
        tracing::error!(error, "start failed");
    }
    // Lambda ends a function from outside. One that ends by itself has failed.
    ExitCode::FAILURE
}

#[tokio::main(flavor = "current_thread")]
async fn serve() -> Result<(), Cause> {
    let settings = Settings::from_env()?;
    let sdk = aws::load(aws::loader(settings.ca_bundle.as_deref())?).await?;
    startup::serve(&settings, &sdk).await
}
