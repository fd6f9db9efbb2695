//! Endpoints, config fields, settings and reasons are declared once. What repeats them is written
//! here, with `UPDATE=1`, or compared with the declaration.

use std::collections::BTreeSet;
use std::fmt::Write;

use gaia_api_keys::api::router::{API_KEYS, ENDPOINTS};
use gaia_api_keys::settings::SETTINGS;
use keys::access::Denial;
use keys::config::FIELDS;
use keys::json;
use serde_json::Value;

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
    let (stale, after) = rest.split_once(end).expect("an end");
    if std::env::var_os("UPDATE").is_some() {
        let text = [before, begin, generated, end, after].concat();
        std::fs::write(path(file), text).expect("a file");
    } else {
        assert_eq!(stale, generated, "{file} is out of date: run `just docs`");
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
        "      Events: # `just docs` writes the endpoints, from ENDPOINTS in src/api/router.rs\n",
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

#[test]
fn each_endpoint_has_sample_events() {
    let sampled = events::requests();
    let sampled = sampled
        .iter()
        .map(|(_, event)| events::endpoint(event).name());
    assert_eq!(sampled.collect::<BTreeSet<_>>(), endpoints());
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
        "      properties: # `just docs` writes them, from FIELDS in keys/src/config.rs\n",
        "      additionalProperties: true\n",
        &properties,
    );
    let audited = FIELDS.iter().filter(|field| field.audited);
    let names: Vec<_> = audited.map(|field| format!("\"{}\"", field.name)).collect();
    generate(
        "cli/gaia_keys/replay.py",
        "FIELDS = (",
        ")\n",
        &names.join(", "),
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
        "        reason: # `just docs` writes it, from denials! in keys/src/access.rs\n",
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
        let config = serde_json::json!({ "config": { field.name: example } });
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
