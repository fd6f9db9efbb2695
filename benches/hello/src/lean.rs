//! The least that a function on lambda_http does: no log, one thread, one format of events, and no
//! unwinding.

use lambda_http::{Error, Request, run, service_fn};

async fn hello(_request: Request) -> Result<&'static str, Error> {
    Ok(r#"{"message":"Hello, world!"}"#)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(hello)).await
}
