//! As cargo-lambda's template has it, on the service's flavor of tokio, so that the ratio tells of our own work.

use lambda_http::{Error, IntoResponse, Request, run, service_fn, tracing};
use serde_json::json;

async fn hello(_request: Request) -> Result<impl IntoResponse, Error> {
    Ok(json!({ "message": "Hello, world!" }))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    run(service_fn(hello)).await
}
