//! The sample events of events/: the files themselves, and the service's responses to them.

use gaia_api_keys::api::router::{Endpoint, route};
use serde_json::{Value, json};

use crate::support::{App, Call, Response};

/// The sample key, which the files use and `cargo local --sample` creates.
pub const SAMPLE_KEY: &str = "gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV_22K4KK659SYTCHNBQB1Z55H2Z7";

/// The status and body for the file `name` (below events/, without .json).
pub fn expected(name: &str) -> Option<(u64, Value)> {
    let error = |status, detail: &str| Some((status, json!({ "detail": detail })));
    match name {
        "http-api/list" => Some((
            200,
            json!([{ "api_key": SAMPLE_KEY, "config": { "permissions": "read" } }]),
        )),
        "http-api/create" | "rest-api/create" => Some((200, json!({ "result": "created" }))),
        "http-api/update" => Some((
            200,
            json!({ "api_key": SAMPLE_KEY[..31], "result": "updated" }),
        )),
        "http-api/delete" => Some((
            200,
            json!({ "api_key": SAMPLE_KEY[..31], "result": "deleted" }),
        )),
        "http-api/verify" => Some((
            200,
            json!({ "valid": true, "key_id": SAMPLE_KEY[..31], "config": { "permissions": "read" } }),
        )),
        "http-api/get" => Some((200, details())),
        "http-api/list-details" => Some((200, json!([details()]))),
        "http-api/rotate" => Some((
            200,
            json!({ "result": "rotated", "rotated_from": SAMPLE_KEY[..31] }),
        )),
        "mistakes/no-grace-seconds" => Some((
            422,
            json!({ "detail": [
                { "loc": ["body", "grace_seconds"], "msg": "field required", "type": "value_error.missing" },
            ] }),
        )),
        "mistakes/no-config" => Some((
            422,
            json!({ "detail": [{ "loc": ["body", "config"], "msg": "field required", "type": "value_error.missing" }] }),
        )),
        "mistakes/broken-json" | "mistakes/wrong-value" => Some((422, Value::Null)),
        "mistakes/unknown-key" => error(404, "API key not found"),
        "mistakes/wrong-method" => error(405, "Method Not Allowed"),
        "mistakes/unknown-path" => error(404, "Not Found"),
        "mistakes/no-caller" => error(401, "Not authenticated"),
        // tests/openapi compares bodies with their schemas.
        name if !name.starts_with("mistakes/") => Some((200, Value::Null)),
        _ => None,
    }
}

/// The sample key with its details, as `cargo local --sample` creates it.
fn details() -> Value {
    json!({
        "api_key": SAMPLE_KEY,
        "config": { "permissions": "read" },
        "created_at": "2016-07-30T23:54:10.259Z",
        "created_by": "cargo local",
        "updated_at": null,
        "updated_by": null,
        "last_used_at": null,
        "rotated_from": null,
        "rotated_to": null,
        "root_key_id": "053bcb62",
        // The sample item has no change_id.
        "etag": "\"e3b0c44298fc1c149afbf4c8996fb924\"",
    })
}

/// All files, with their names below events/.
pub fn files() -> Vec<(String, Value)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/events");
    let mut files = Vec::new();
    for folder in ["http-api", "rest-api", "mistakes"] {
        for entry in std::fs::read_dir(format!("{root}/{folder}")).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = format!(
                "{folder}/{}",
                path.file_stem().expect("a name").to_string_lossy()
            );
            let event = serde_json::from_str(&std::fs::read_to_string(&path).expect("a file"))
                .expect("JSON");
            files.push((name, event));
        }
    }
    files
}

/// The file of an endpoint's sample event.
pub fn file(endpoint: Endpoint) -> String {
    format!(
        "events/http-api/{}.json",
        format!("{endpoint:?}").to_lowercase()
    )
}

/// The endpoint that an HTTP API's event is for.
pub fn endpoint(event: &Value) -> Endpoint {
    let text = |pointer| event.pointer(pointer).and_then(Value::as_str);
    let method = text("/requestContext/http/method").expect("a method");
    let path = text("/rawPath").expect("a path");
    let found = route(method, path, text("/requestContext/stage"));
    found.expect("an endpoint").0
}

/// A request of each endpoint: its names below events/http-api, and its events.
pub fn requests() -> Vec<(String, Value)> {
    let mut requests = files();
    requests.retain(|(name, _)| name.starts_with("http-api/"));
    requests.sort_by(|(name, _), (other, _)| name.cmp(other));
    let short = |name: String| name.replace("http-api/", "");
    let requests = requests.into_iter();
    requests.map(|(name, event)| (short(name), event)).collect()
}

/// What each endpoint asks of DynamoDB, by the name of its sample event.
pub const OPERATIONS: [(&str, &[&str]); 8] = [
    ("create", &["TransactWriteItems"]),
    // The last request keeps usage no longer than its key. Rotate has it too.
    ("delete", &["GetItem", "DeleteItem", "UpdateItem"]),
    ("get", &["GetItem", "GetItem"]),
    ("list", &["Query"]),
    ("list-details", &["Query", "Query"]),
    ("rotate", &["GetItem", "TransactWriteItems", "UpdateItem"]),
    ("update", &["GetItem", "UpdateItem"]),
    ("verify", &["GetItem", "PutItem"]),
];

/// The operations of one endpoint.
pub fn operations(name: &str) -> &'static [&'static str] {
    let mut all = OPERATIONS.into_iter();
    let (_, operations) = all
        .find(|(endpoint, _)| *endpoint == name)
        .unwrap_or_else(|| panic!("no OPERATIONS of {name}"));
    operations
}

/// An endpoint that changes a key.
pub struct Change {
    /// Its sample event's name, which is its audit entry's action.
    pub name: String,
    event: Value,
    /// What it asks of DynamoDB: it reads the key, writes it, and may limit its usage.
    pub operations: &'static [&'static str],
    /// The operation that writes the key.
    pub write: &'static str,
}

impl Change {
    /// A request to change this key.
    pub fn call(&self, key: &str) -> Call {
        let text = |pointer| self.event.pointer(pointer).and_then(Value::as_str);
        let path = text("/rawPath").expect("a path");
        let call = Call::new(
            text("/requestContext/http/method").expect("a method"),
            &path.replace(&SAMPLE_KEY[..31], key),
        );
        match text("/body") {
            Some(body) => call.json(&serde_json::from_str(body).expect("JSON")),
            None => call,
        }
    }
}

/// Every change of a key.
pub fn changes() -> impl Iterator<Item = Change> {
    let of_a_key = |event: &Value| event["pathParameters"]["api_key"].is_string();
    requests()
        .into_iter()
        .filter(move |(_, event)| of_a_key(event))
        .filter_map(|(name, event)| {
            let operations = operations(&name);
            let write = operations
                .get(1)
                .filter(|operation| **operation != "GetItem")?;
            Some(Change {
                name,
                event,
                operations,
                write,
            })
        })
}

/// The event with another key in place of the sample key.
pub fn with_key(event: &Value, key: &str) -> Value {
    let text = event.to_string().replace(SAMPLE_KEY, key);
    let text = text.replace(&SAMPLE_KEY[..31], &key[..31]);
    serde_json::from_str(&text).expect("JSON")
}

/// Compares a response with the expected one, apart from new keys and the end of a grace period.
pub fn check(name: &str, response: &Response) {
    let (status, body) =
        expected(name).unwrap_or_else(|| panic!("nothing is expected of events/{name}.json"));
    assert_eq!(response.status, status, "{name}: {response:?}");
    let mut found = response.json();
    let unknown: &[&str] = match name.rsplit('/').next() {
        Some("create") => &["api_key"],
        Some("rotate") => &["api_key", "rotated_from_expires_at"],
        _ => &[],
    };
    for field in unknown {
        found
            .as_object_mut()
            .expect("an object")
            .remove(*field)
            .expect(field);
    }
    assert!(body.is_null() || found == body, "{name}: {found}");
}

#[tokio::test]
async fn every_sample_event_gets_its_response() {
    let files = files();
    assert!(files.len() >= 17, "{}", files.len());
    for (name, event) in files {
        let app = App::new().await;
        crate::database::put_sample(&app.table.database).expect("the sample key");
        check(&name, &app.send_event(event).await);
    }
}
