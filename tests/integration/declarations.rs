//! Endpoints, config fields, settings and reasons are declared once. What repeats them is written
//! here, with `UPDATE=1`, or compared with the declaration.

use std::collections::BTreeSet;
use std::fmt::Write;

use gaia_api_keys::api::router::{API_KEYS, ENDPOINTS};
use gaia_api_keys::settings::SETTINGS;
use keys::access::Denial;
use keys::config::FIELDS;
use keys::json;
use serde_json::{Value, json};

use crate::events;
use crate::lambda::Lambda;
use crate::support::{Call, Format, Table};

fn path(name: &str) -> String {
    format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A YAML file.
fn yaml(name: &str) -> Value {
    let text = std::fs::read_to_string(path(name)).expect("a file");
    serde_saphyr::from_str(&text).expect("YAML")
}

fn fields(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let fields = value.as_object().expect("an object");
    fields.iter().map(|(name, value)| (name.as_str(), value))
}

/// Writes what stands between `begin` and the next `end` of a file. Without `UPDATE=1`, it must
/// stand there already.
fn generate(file: &str, begin: &str, end: &str, generated: &str) {
    let text = std::fs::read_to_string(path(file)).expect("a file");
    let (before, rest) = text.split_once(begin).expect("the place");
    assert!(!rest.contains(begin), "{file}: twice {begin:?}");
    let (_, after) = rest.split_once(end).expect("an end");
    generate_file(file, &[before, begin, generated, end, after].concat());
}

/// The same for a whole file.
fn generate_file(file: &str, generated: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path(file), generated).expect("a file");
    } else {
        let text = std::fs::read_to_string(path(file)).unwrap_or_default();
        assert!(
            text == generated,
            "{file} is out of date: run `just generated`"
        );
    }
}

/// A table below its mark in a page of docs/, as docs/tables.py writes others.
fn generate_table<const N: usize>(file: &str, name: &str, rows: &[[&str; N]]) {
    let rows: Vec<_> = rows
        .iter()
        .map(|cells| format!("| {} |\n", cells.join(" | ")))
        .collect();
    let (heading, rows) = rows.split_first().expect("a heading");
    let table = format!("{heading}|{}\n{}", "---|".repeat(N), rows.concat());
    generate(
        file,
        &format!("<!-- table: {name} -->\n\n"),
        "\n\n",
        table.trim_end(),
    );
}

fn endpoints() -> BTreeSet<String> {
    let names = ENDPOINTS.iter().map(|(endpoint, ..)| endpoint.name());
    names.collect()
}

#[test]
fn the_template_has_a_route_for_each_endpoint() {
    let mut routes = String::new();
    for (endpoint, method, path) in ENDPOINTS {
        let _ = writeln!(
            routes,
            "        {endpoint:?}: {{ Type: HttpApi, Properties: \
                {{ ApiId: !Ref Api, Method: {method}, Path: \"{API_KEYS}{path}\" }} }}"
        );
    }
    generate(
        "template.yaml",
        "      Events: # `just generated` writes the endpoints, from ENDPOINTS in src/api/router.rs\n",
        "        Other: ",
        &routes,
    );
}

#[test]
fn openapi_and_the_documents_describe_each_endpoint() {
    let document = yaml("openapi.yaml");
    let mut described = BTreeSet::new();
    for (path, operations) in fields(&document["paths"]) {
        let path = path.strip_suffix('/').unwrap_or(path);
        for (method, _) in fields(operations).filter(|(_, value)| value.is_object()) {
            described.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    assert_eq!(described, endpoints());

    let names = ENDPOINTS.map(|(_, method, path)| {
        let path = if path.is_empty() { "/" } else { path };
        (method, path, format!("`{method} {path}`"))
    });
    let mut rows = vec![["Method and path", "Does"]];
    for (method, path, name) in &names {
        let operation = &document["paths"][format!("{API_KEYS}{path}")][method.to_lowercase()];
        rows.push([name, operation["summary"].as_str().expect("a summary")]);
    }
    generate_table("docs/api.md", "endpoints", &rows);
}

/// The value that a `$ref` of the document names, or the value itself.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let reference = value["$ref"]
        .as_str()
        .and_then(|text| text.strip_prefix('#'));
    reference.map_or(value, |pointer| {
        document.pointer(pointer).expect("a reference")
    })
}

#[test]
fn each_endpoint_has_a_sample_event() {
    let document = yaml("openapi.yaml");
    let key = &document["components"]["parameters"]["ApiKey"]["example"];
    let like = std::fs::read_to_string(path("events/http-api/list-details.json"));
    let like: Value = serde_json::from_str(&like.expect("a file")).expect("JSON");
    for (endpoint, method, below) in ENDPOINTS {
        let described = format!("{API_KEYS}{}", if below.is_empty() { "/" } else { below });
        let operation = &document["paths"][described][method.to_lowercase()];
        let body = resolved(&document, &operation["requestBody"]);
        let body = &body["content"]["application/json"];
        // The first by name.
        let mut examples = body["examples"].as_object().into_iter().flatten();
        let example = examples.next().map(|(_, example)| &example["value"]);

        let path = format!("{API_KEYS}{below}").replace("{api_key}", key.as_str().expect("a key"));
        let mut event = like.clone();
        event["rawPath"] = path.clone().into();
        event["rawQueryString"] = "".into();
        event["requestContext"]["http"]["path"] = path.into();
        event["requestContext"]["http"]["method"] = method.into();
        event["requestContext"]["routeKey"] = endpoint.name().into();
        event["routeKey"] = endpoint.name().into();
        let fields = event.as_object_mut().expect("an object");
        fields.remove("queryStringParameters");
        if below.contains("{api_key}") {
            fields.insert("pathParameters".to_owned(), json!({ "api_key": key }));
        }
        if let Some(example) = example.or(body.get("example")) {
            let text = example.to_string();
            event["headers"]["content-length"] = text.len().to_string().into();
            event["headers"]["content-type"] = "application/json".into();
            event["body"] = text.into();
        }
        generate_file(&events::file(endpoint), &format!("{event:#}\n"));
    }
    let files = events::requests()
        .into_iter()
        .map(|(_, event)| events::endpoint(&event).name());
    assert_eq!(files.collect::<BTreeSet<_>>(), endpoints());
}

#[test]
fn settings_are_in_the_documents() {
    let names: Vec<_> = SETTINGS
        .iter()
        .map(|setting| format!("`{}`", setting.name))
        .collect();
    let mut rows = vec![["Variable", "Default", "Meaning"]];
    let settings = names.iter().zip(SETTINGS);
    rows.extend(settings.map(|(name, setting)| [name, setting.default, setting.about]));
    generate_table("docs/configuration.md", "settings", &rows);
}

#[test]
fn config_fields_are_in_the_documents() {
    let code = |text: &str| format!("`{text}`");
    let names: Vec<_> = FIELDS.iter().map(|field| code(field.name)).collect();
    let examples: Vec<_> = FIELDS.iter().map(|field| code(field.example)).collect();
    let mut rows = vec![["Field", "Example", "Effect"]];
    for ((field, name), example) in FIELDS.iter().zip(&names).zip(&examples) {
        rows.push([name, example, field.effect]);
    }
    generate_table("docs/api.md", "config fields", &rows);

    let mut properties = String::new();
    for field in &FIELDS {
        let description = Value::from(field.effect);
        let schema = serde_json::from_str(field.schema).expect("JSON");
        let _ = writeln!(properties, "        {}:", field.name);
        let _ = writeln!(properties, "          description: {description}");
        for (keyword, value) in json::fields(schema).expect("an object") {
            let _ = writeln!(properties, "          {keyword}: {value}");
        }
    }
    generate(
        "openapi.yaml",
        "      properties: # `just generated` writes them, from FIELDS in keys/src/config.rs\n",
        "      additionalProperties: true\n",
        &properties,
    );
    let audited = FIELDS.iter().filter(|field| field.audited);
    let names: Vec<_> = audited
        .map(|field| format!("    \"{}\",\n", field.name))
        .collect();
    generate(
        "cli/gaia_keys/replay.py",
        "FIELDS = (\n",
        ")\n",
        &names.concat(),
    );
}

#[test]
fn reasons_of_denials_are_in_the_documents() {
    let names: Vec<_> = Denial::ALL
        .iter()
        .map(|denial| format!("`{}`", denial.as_str()))
        .collect();
    let mut rows = vec![["Reason", "Cause", "What to do"]];
    let mut description = String::new();
    for (denial, name) in Denial::ALL.iter().zip(&names) {
        let (cause, remedy) = denial.cause_and_remedy();
        rows.push([name, cause, remedy]);
        let _ = writeln!(description, "- {name}: {cause}");
    }
    generate_table("docs/troubleshooting.md", "reasons", &rows);

    let reasons: Vec<_> = Denial::ALL.iter().map(|denial| denial.as_str()).collect();
    generate(
        "openapi.yaml",
        "        reason: # `just generated` writes it, from denials! in keys/src/access.rs\n",
        "      additionalProperties: false\n",
        &format!(
            "          description: {}\n          enum: [{}]\n",
            Value::from(description),
            reasons.join(", ")
        ),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_entry_has_each_field_that_is_audited() {
    let table = Table::new().await;
    let api = Lambda::start(table.environment(&[])).await;
    for field in &FIELDS {
        let example: Value = serde_json::from_str(field.example).expect("JSON");
        let config = json!({ "config": { field.name: example } });
        let call = Call::new("POST", API_KEYS).json(&config);
        let key = api.call(call, Format::Http).await.api_key();
        let printed = api.printed();
        let mut entries = printed.lines().filter(|line| line.contains(&key[..31]));
        let entry: Value =
            serde_json::from_str(entries.next().expect("an audit entry")).expect("JSON");
        // `enabled` is there of every key: its value tells.
        let shown = entry
            .get(field.name)
            .is_some_and(|value| field.name != "enabled" || *value == example);
        assert_eq!(shown, field.audited, "{}: {entry}", field.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_has_an_audit_entry_of_its_own() {
    let table = Table::new().await;
    let api = Lambda::start(table.environment(&[])).await;
    for change in events::changes() {
        let config = json!({ "config": { "permissions": "write" } });
        let create = Call::new("POST", API_KEYS).json(&config);
        let key = api.call(create, Format::Http).await.api_key();
        let response = api.call(change.call(&key), Format::Http).await;
        assert_eq!(response.status, 200, "{}: {response:?}", change.name);
        let printed = api.printed();
        let of_the_key = format!("\"key_id\":\"{}\"", &key[..31]);
        let entries: Vec<Value> = printed
            .lines()
            .filter(|line| line.contains("\"audit\"") && line.contains(&of_the_key))
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let [_, entry] = entries.as_slice() else {
            panic!("{}: {entries:?}", change.name);
        };
        assert_eq!(entry["action"], change.name);
        assert_eq!(entry["permissions_before"], "write");
        // `gaia-keys restore` needs to know the config.
        assert_eq!(entry["enabled"].is_boolean(), change.write != "DeleteItem");
    }
}
