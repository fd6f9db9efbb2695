//! The embedded DynamoDB, with the table as template.yaml has it.

use std::fs::File;
use std::future::Future;
use std::io::ErrorKind;

use dynoxide::Database;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The table's name.
pub const TABLE_NAME: &str = "gaia-api-keys";

/// Opens the database in `path` (`:memory:`: a temporary one), and creates the table if it doesn't
/// exist. Returns whether it created the table.
pub fn open(path: &str) -> Result<(Database, bool), String> {
    let failed = |error: dynoxide::DynoxideError| error.to_string();
    let database = if path == ":memory:" {
        Database::memory()
    } else {
        check_file(path)?;
        Database::new(path)
    }
    .map_err(failed)?;
    if database
        .get_table_metadata(TABLE_NAME)
        .map_err(failed)?
        .is_some()
    {
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
    database.create_table(request(table)?).map_err(failed)?;
    Ok((database, true))
}

/// Writes the sample key, which the events in events/ use. It is derived from the publicly known
/// root key.
pub fn put_sample(database: &Database) -> Result<(), String> {
    let item = json!({
        "service": {"S": "demo"},
        "id": {"S": "01ARZ3NDEKTSV4RRFFQ69G5FAV"},
        "config": {"S": r#"{"permissions": "read"}"#},
        "root_key_id": {"S": "053bcb62"},
        "created_at": {"S": "2016-07-30T23:54:10.259Z"},
        "created_by": {"S": "cargo local"},
    });
    let put = request(json!({"TableName": TABLE_NAME, "Item": item}))?;
    database
        .put_item(put)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Serves DynamoDB's protocol until `stop` resolves.
pub async fn serve(
    listener: TcpListener,
    database: Database,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    if let Err(error) = dynoxide::server::serve_with_shutdown(listener, database, stop).await {
        eprintln!("DynamoDB: {error}");
    }
}

/// Creates the file if it doesn't exist. An existing one must be this database's: it would add its
/// tables to any SQLite file.
fn check_file(path: &str) -> Result<(), String> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => "its directory doesn't exist".to_owned(),
            _ => error.to_string(),
        })?;
    let ours = "SELECT count(*) = 0 OR sum(name = '_tables') FROM sqlite_schema";
    match rusqlite::Connection::open(path)
        .and_then(|file| file.query_row(ours, [], |row| row.get(0)))
    {
        Ok(true) => Ok(()),
        Ok(false) => Err("a database of another program".to_owned()),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            Err("not a database".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn request<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}
