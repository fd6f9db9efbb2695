//! The embedded DynamoDB, with the table as template.yaml has it.

use std::future::Future;

use dynoxide::Database;
use serde_json::json;
use tokio::net::TcpListener;

/// The table's name on a laptop.
pub const TABLE_NAME: &str = "gaia-api-keys";

/// Opens the database in `path` (`:memory:` keeps nothing); makes the table unless it is there. True if it was made.
pub fn open(path: &str) -> Result<(Database, bool), String> {
    let database = if path == ":memory:" { Database::memory() } else { Database::new(path) };
    let database = database.map_err(|error| format!("{path}: {error}"))?;
    let request = |value| serde_json::from_value(value).map_err(|error| error.to_string());
    if database.get_table_metadata(TABLE_NAME).map_err(|error| format!("{path}: {error}"))?.is_some() {
        return Ok((database, false));
    }
    let table = json!({
        "TableName": TABLE_NAME,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "service", "KeyType": "HASH"}, {"AttributeName": "id", "KeyType": "RANGE"}],
        "AttributeDefinitions": [
            {"AttributeName": "service", "AttributeType": "S"},
            {"AttributeName": "id", "AttributeType": "S"},
        ],
    });
    database.create_table(request(table)?).map_err(|error| format!("{path}: {error}"))?;
    Ok((database, true))
}

/// Serves DynamoDB's protocol until `stop` resolves.
pub async fn serve(listener: TcpListener, database: Database, stop: impl Future<Output = ()> + Send + 'static) {
    if let Err(error) = dynoxide::server::serve_with_shutdown(listener, database, stop).await {
        eprintln!("DynamoDB: {error}");
    }
}
