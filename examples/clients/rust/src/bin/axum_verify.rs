//! A service of axum that checks the API keys of its callers. docs/clients.md names the variables.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Path, Request};
use axum::{Json, Router, routing};
use clients::verify::Verify;
use clients::{Client, Result};
use serde_json::{Value, json};
use tower_http::auth::AsyncRequireAuthorizationLayer;

async fn item(Path(item): Path<String>, Extension(key): Extension<Value>) -> Json<Value> {
    Json(json!({ "item": item, "key_id": key["key_id"] }))
}

#[tokio::main]
async fn main() -> Result<()> {
    let verify = Arc::new(Verify::new(Client::from_env(Duration::from_secs(2))?));
    let layer = AsyncRequireAuthorizationLayer::new(move |request: Request| {
        Arc::clone(&verify).check(request)
    });
    let items = Router::new()
        .route("/items/{item}", routing::get(item).post(item))
        .layer(layer);
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8001".into());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(
        listener,
        items.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}
