//! The Lambda function's entry point: settings, the SDK's configuration, then the function that
//! `FUNCTION` names.

use std::pin::pin;
use std::process::ExitCode;

use gaia_api_keys::error::Cause;
use gaia_api_keys::settings::Settings;
use gaia_api_keys::{aws, logging, startup};
use tracing::level_filters::LevelFilter;

fn main() -> ExitCode {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        eprintln!(
            "This binary runs only in AWS Lambda. To run the service locally, use `cargo local`."
        );
        return ExitCode::FAILURE;
    }
    logging::init(LevelFilter::INFO);
    // Pinned here: the runtime would copy the future, 17 KB, twice.
    if let Err(error) = block_on(pin!(serve())) {
        tracing::error!(error, "start failed");
    }
    // Lambda ends a function from outside. One that ends by itself has failed.
    ExitCode::FAILURE
}

#[tokio::main(flavor = "current_thread")]
async fn block_on<T>(future: impl Future<Output = T>) -> T {
    future.await
}

async fn serve() -> Result<(), Cause> {
    let settings = Settings::from_env()?;
    let loader = aws::loader(aws::region().await?, settings.ca_bundle.as_deref())?;
    let sdk = aws::load(loader).await;
    startup::serve(&settings, &sdk).await
}
