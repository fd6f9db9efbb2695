//! `cargo local`: one process, two ports, data that outlive it.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use aws_config::Region;
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::types::AttributeValue;
use gaia_api_keys::aws;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::support::API_KEYS;

const PATIENCE: Duration = Duration::from_secs(30);

fn command(arguments: &[&str]) -> Command {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_gaia-api-keys"));
    let example = binary.with_file_name("examples").join("local");
    assert!(
        example.exists(),
        "{} is not built: run the whole of `cargo test`",
        example.display()
    );
    let mut command = Command::new(example);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Ctrl-C.
fn interrupt(process: &Child) {
    let id = i32::try_from(process.id().expect("a process id")).expect("a number");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(id),
        nix::sys::signal::Signal::SIGINT,
    )
    .expect("a signal");
}

/// A running `cargo local`.
struct Local {
    process: Child,
    http: String,
    dynamodb: String,
    printed: JoinHandle<String>,
}

impl Local {
    async fn start(data: &str) -> Self {
        Self::with(&mut command(&["--data", data])).await
    }

    async fn with(command: &mut Command) -> Self {
        let mut process = command
            .args(["--port", "0", "--dynamodb-port", "0"])
            .spawn()
            .expect("a process");
        let mut first = String::new();
        let mut output = BufReader::new(process.stdout.take().expect("an output"));
        tokio::time::timeout(PATIENCE, output.read_line(&mut first))
            .await
            .expect("a line")
            .expect("text");
        let printed = tokio::spawn(async move {
            let mut printed = String::new();
            output.read_to_string(&mut printed).await.expect("text");
            printed
        });
        let mut addresses = first
            .split_whitespace()
            .filter(|word| word.starts_with("http://"))
            .map(|word| word.trim_end_matches(','));
        let mut next = || {
            addresses
                .next()
                .unwrap_or_else(|| panic!("no address: {first}"))
                .to_owned()
        };
        Self {
            http: next(),
            dynamodb: next(),
            process,
            printed,
        }
    }

    async fn send(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.http));
        let request = body.into_iter().fold(request, |request, body| {
            request
                .header("content-type", "application/json")
                .body(body.to_string())
        });
        let response = request.send().await.expect("a response");
        assert_eq!(response.headers()["cache-control"], "no-store");
        (
            response.status().as_u16(),
            serde_json::from_str(&response.text().await.expect("a text")).expect("JSON"),
        )
    }

    /// A client of its DynamoDB, as AWS's SDKs and CLI are.
    async fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let loader = aws::loader(Region::new("local"), None)
            .expect("a loader")
            .endpoint_url(&self.dynamodb);
        let loader = loader.credentials_provider(Credentials::from_keys("local", "local", None));
        aws::dynamodb(&aws::load(loader).await)
    }

    /// What it printed after its first line.
    async fn stop(mut self) -> String {
        interrupt(&self.process);
        let status = tokio::time::timeout(PATIENCE, self.process.wait())
            .await
            .expect("an end")
            .expect("a status");
        assert_eq!(status.code(), Some(0));
        self.printed.await.expect("an output")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_survive_a_restart_and_dynamodb_is_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("keys.db");
    let data = data.to_str().expect("a path");
    let local = Local::start(data).await;
    let (status, created) = local
        .send(
            reqwest::Method::POST,
            API_KEYS,
            Some(json!({ "config": { "permissions": "read" } })),
        )
        .await;
    assert_eq!(status, 200);
    let update = format!("{API_KEYS}{}", created["api_key"].as_str().expect("a key"));
    assert_eq!(
        local
            .send(reqwest::Method::PUT, &update, Some(json!({})))
            .await
            .0,
        422
    );
    assert_eq!(
        local.send(reqwest::Method::GET, "/other", None).await,
        (404, json!({ "detail": "Not Found" }))
    );
    local.stop().await;

    let local = Local::start(data).await;
    let (_, listed) = local
        .send(reqwest::Method::GET, &format!("{API_KEYS}?limit=2"), None)
        .await;
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(
        listed[0],
        json!({ "api_key": created["api_key"], "config": { "permissions": "read" } })
    );

    let scan = local
        .dynamodb()
        .await
        .scan()
        .table_name("gaia-api-keys")
        .send()
        .await;
    assert_eq!(
        scan.expect("a scan").count,
        2,
        "the key, and the item of root keys"
    );
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_root_key_does_not_start_on_the_same_file() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let data = file.path().to_str().expect("a path");
    let serves = async || {
        let local = Local::start(data).await;
        let list = local.send(reqwest::Method::GET, API_KEYS, None).await;
        assert_eq!(list, (200, json!([])));
        local.stop().await;
    };
    serves().await;
    let mut command = command(&["--port", "0", "--dynamodb-port", "0", "--data", data]);
    let output = command.env("ROOT_KEY", "1".repeat(64)).output();
    let output = tokio::time::timeout(PATIENCE, output)
        .await
        .expect("an end")
        .expect("an output");
    assert_eq!(
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).as_ref()
        ),
        (
            Some(1),
            "cargo local: item root_keys of demo#meta names none of the configured root keys (configured: 67c7adf6; named: 053bcb62)\n"
        )
    );
    serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_survive_a_crash_and_an_empty_file_will_do() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let data = file.path().to_str().expect("a path");
    let mut local = Local::start(data).await;
    assert_eq!(
        local
            .send(
                reqwest::Method::POST,
                API_KEYS,
                Some(json!({ "config": {} }))
            )
            .await
            .0,
        200
    );
    local.process.kill().await.expect("an end");
    let local = Local::start(data).await;
    let (_, listed) = local.send(reqwest::Method::GET, API_KEYS, None).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_an_earlier_version_still_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("keys.db");
    let earlier = include_str!("gaia-local-0.1.0.sql");
    rusqlite::Connection::open(&data)
        .expect("a database")
        .execute_batch(earlier)
        .expect("tables");
    let local = Local::start(data.to_str().expect("a path")).await;
    assert_eq!(
        local
            .send(
                reqwest::Method::POST,
                API_KEYS,
                Some(json!({ "config": {} }))
            )
            .await
            .0,
        200
    );
    let scan = local
        .dynamodb()
        .await
        .scan()
        .table_name("gaia-api-keys")
        .send()
        .await;
    assert_eq!(
        scan.expect("a scan").count,
        3,
        "two keys, and the item of root keys"
    );
    local.stop().await;
}

/// The database logs a warning for each failed condition, and some of these are an ordinary 404.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_only_the_services_own_entries() {
    let local = Local::start(":memory:").await;
    let unknown = "gaia_01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let update = format!("{API_KEYS}{unknown}");
    assert_eq!(
        local
            .send(reqwest::Method::PUT, &update, Some(json!({ "config": {} })))
            .await
            .0,
        404
    );
    assert_eq!(
        local
            .send(
                reqwest::Method::DELETE,
                &format!("{API_KEYS}delete/{unknown}"),
                None
            )
            .await
            .0,
        404
    );
    let key = HashMap::from(
        ["service", "id"].map(|name| (name.to_owned(), AttributeValue::S("x".to_owned()))),
    );
    let delete = local
        .dynamodb()
        .await
        .delete_item()
        .table_name("gaia-api-keys")
        .set_key(Some(key));
    delete
        .condition_expression("attribute_exists(id)")
        .send()
        .await
        .expect_err("a failed condition");
    assert_eq!(
        local
            .send(
                reqwest::Method::POST,
                API_KEYS,
                Some(json!({ "config": {} }))
            )
            .await
            .0,
        200
    );
    let printed = local.stop().await;
    let log: Vec<Value> = printed
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let levels: Vec<_> = log
        .iter()
        .map(|entry| (entry["level"].as_str(), entry["message"].as_str()))
        .collect();
    assert_eq!(levels, [(Some("INFO"), Some("audit"))], "{printed}");
}

/// `cargo local | head`
#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_when_nobody_reads_what_it_prints() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let free = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let port = free.local_addr().expect("an address").port().to_string();
    drop(free);
    let mut process = command(&[
        "--port",
        &port,
        "--dynamodb-port",
        "0",
        "--data",
        ":memory:",
    ])
    .stdout(writer)
    .spawn()
    .expect("a process");
    let keys = format!("http://127.0.0.1:{port}{API_KEYS}");
    let create = async || {
        let request = reqwest::Client::new()
            .post(&keys)
            .header("content-type", "application/json");
        request.body(r#"{"config": {}}"#).send().await
    };
    let created = tokio::time::timeout(PATIENCE, async {
        loop {
            match create().await {
                Ok(response) => break response.status(),
                Err(_) => assert_eq!(process.try_wait().expect("a status"), None, "it ended"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(
        created.await.expect("a response"),
        200,
        "though the audit entry can't be written"
    );
    interrupt(&process);
    let output = process.wait_with_output().await.expect("an end");
    assert_eq!(
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).as_ref()
        ),
        (Some(0), "")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_route_follows_the_key() {
    let local = Local::start(":memory:").await;
    let (_, created) = local
        .send(
            reqwest::Method::POST,
            API_KEYS,
            Some(json!({ "config": { "permissions": "write" } })),
        )
        .await;
    let key = created["api_key"].as_str().expect("a key");
    let demo = async |method: reqwest::Method, header: &str| {
        let request = reqwest::Client::new()
            .request(method, format!("{}/demo/x", local.http))
            .header("authorization", header);
        let response = request.send().await.expect("a response");
        (
            response.status().as_u16(),
            response.text().await.expect("a text"),
        )
    };
    let search = format!("Search {key}");
    let change = async |config: Value| {
        let update = format!("{API_KEYS}{key}");
        assert_eq!(
            local
                .send(
                    reqwest::Method::PUT,
                    &update,
                    Some(json!({ "config": config }))
                )
                .await
                .0,
            200
        );
    };
    let (status, body) = demo(reqwest::Method::POST, &search).await;
    assert!(
        status == 200 && body.contains("may POST /demo/x") && body.contains(&key[..31]),
        "{body}"
    );
    change(json!({ "permissions": "read" })).await;
    assert_eq!(demo(reqwest::Method::GET, &search).await.0, 200);
    assert_eq!(
        demo(reqwest::Method::POST, &search).await,
        (403, r#"{"message":"Forbidden"}"#.to_owned())
    );
    for config in [
        json!({ "permissions": "read", "enabled": false }),
        json!({ "permissions": "read", "expires_at": "2026-01-01T00:00:00Z" }),
        json!({ "permissions": "read", "allowed_ips": ["192.0.2.1"] }),
    ] {
        change(config.clone()).await;
        assert_eq!(demo(reqwest::Method::GET, &search).await.0, 403, "{config}");
    }
    change(json!({ "permissions": "read", "allowed_ips": ["127.0.0.1"] })).await;
    assert_eq!(demo(reqwest::Method::GET, &search).await.0, 200);
    assert_eq!(
        local
            .send(
                reqwest::Method::DELETE,
                &format!("{API_KEYS}delete/{key}"),
                None
            )
            .await
            .0,
        200
    );
    assert_eq!(demo(reqwest::Method::GET, &search).await.0, 403);
    assert_eq!(
        demo(reqwest::Method::GET, "").await,
        (401, r#"{"message":"Unauthorized"}"#.to_owned())
    );
    assert_eq!(demo(reqwest::Method::GET, "Search garbage").await.0, 403);
    local.stop().await;
}

/// What is in the page is tested in a browser, by tests/page.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_what_it_loads_are_in_the_program() {
    let local = Local::start(":memory:").await;
    let get = async |path: &str| {
        let response = reqwest::get(format!("{}{path}", local.http))
            .await
            .expect("a response");
        let header = |name: &str| {
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().expect("text").to_owned())
        };
        let (content_type, policy) = (header("content-type"), header("content-security-policy"));
        (
            response.status().as_u16(),
            content_type.unwrap_or_default(),
            policy,
            response.text().await.expect("a text"),
        )
    };
    let (status, content_type, policy, page) = get("/docs").await;
    assert_eq!(
        (status, content_type.as_str()),
        (200, "text/html; charset=utf-8")
    );
    assert!(policy.is_some_and(|policy| policy.starts_with("default-src 'self'; ")));
    assert_eq!(get("/docs/").await.3, page);
    let loaded: Vec<&str> = page
        .split('"')
        .filter(|text| text.starts_with('/') || text.contains("://"))
        .collect();
    assert_eq!(
        loaded,
        [
            "/docs/swagger-ui.css",
            "/docs/swagger-ui-bundle.js",
            "/docs/page.js"
        ]
    );
    for (path, expected) in loaded.iter().zip([
        "text/css",
        "text/javascript",
        "text/javascript; charset=utf-8",
    ]) {
        let (status, content_type, _, text) = get(path).await;
        assert_eq!((status, content_type.as_str()), (200, expected), "{path}");
        assert!(text.len() > 1000, "{path}");
    }
    let script = get("/docs/page.js").await.3;
    assert!(script.contains(r#"url: "/openapi.yaml""#));
    // A failure needn't show both.
    assert!(get("/openapi.yaml").await.3 == include_str!("../../openapi.yaml"));
    for path in [
        "/docs/other",
        "/docs/swagger-ui.js",
        "/docs/openapi.yaml",
        "/docs/x/y",
    ] {
        let (status, _, _, text) = get(path).await;
        assert_eq!(
            (status, text.as_str()),
            (404, ""),
            "{path}: the API would say what was not found"
        );
    }
    local.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_print_one_line_and_exit_with_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let no_database = folder.path().join("text.db");
    std::fs::write(&no_database, "no database").expect("a file");
    let no_database = no_database.to_str().expect("a path");
    let foreign = folder.path().join("foreign.db");
    let notes = "CREATE TABLE notes (body TEXT); INSERT INTO notes VALUES ('x');";
    rusqlite::Connection::open(&foreign)
        .expect("a database")
        .execute_batch(notes)
        .expect("a table");
    let before = std::fs::read(&foreign).expect("a file");
    let foreign = foreign.to_str().expect("a path");
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let taken = taken.local_addr().expect("an address").port().to_string();
    for (port, dynamodb_port, data, expected) in [
        (taken.as_str(), "0", ":memory:", format!("--port {taken}: ")),
        (
            "0",
            &taken,
            ":memory:",
            format!("--dynamodb-port {taken}: "),
        ),
        (
            "0",
            "0",
            no_database,
            format!("--data {no_database}: not a database\n"),
        ),
        (
            "0",
            "0",
            foreign,
            format!("--data {foreign}: a database of another program\n"),
        ),
        (
            "0",
            "0",
            "/nonexistent/keys.db",
            "--data /nonexistent/keys.db: its directory doesn't exist\n".to_owned(),
        ),
        ("0", "0", "/", "--data /: ".to_owned()),
    ] {
        let mut command = command(&[
            "--port",
            port,
            "--dynamodb-port",
            dynamodb_port,
            "--data",
            data,
        ]);
        let output = tokio::time::timeout(PATIENCE, command.output())
            .await
            .expect("an end")
            .expect("an output");
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{expected}");
        assert!(
            printed.starts_with(&format!("cargo local: {expected}")),
            "{printed}"
        );
        assert!(
            printed.lines().count() == 1 && !printed.contains("Internal error"),
            "{printed}"
        );
    }
    assert_eq!(
        std::fs::read(foreign).expect("a file"),
        before,
        "a file that isn't ours stays as it is"
    );
    assert_eq!(
        std::fs::read_to_string(no_database).expect("a file"),
        "no database"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn any_address_of_the_machine_will_do_and_empty_variables_are_not_set() {
    for host in ["127.0.0.1", "127.0.0.2", "0.0.0.0"] {
        let mut command = command(&["--data", ":memory:", "--host", host]);
        let local = Local::with(command.envs([("SERVICE_NAME", ""), ("ROOT_KEY", "")])).await;
        let (status, _) = local
            .send(
                reqwest::Method::POST,
                API_KEYS,
                Some(json!({ "config": {} })),
            )
            .await;
        assert_eq!(status, 200, "{host}");
        local.stop().await;
    }
}

/// A web page of somebody else: a name that leads to this machine (DNS rebinding), or a request
/// that needs no preflight.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_reaches_nothing() {
    let local = Local::start(":memory:").await;
    let port = local.http.rsplit(':').next().expect("a port").to_owned();
    let at = |host: &str| format!("{host}:{port}");
    let own = format!("http://{}", at("127.0.0.1"));
    for (host, origin, expected) in [
        (at("127.0.0.1"), None, 200),
        (at("127.0.0.1"), Some(own.clone()), 200),
        (
            at("localhost"),
            Some(format!("http://{}", at("localhost"))),
            200,
        ),
        (at("LocalHost"), None, 200),
        ("localhost".to_owned(), None, 200),
        (at("[::1]"), None, 200),
        (at("192.0.2.1"), None, 200),
        (at("attacker.example"), None, 403),
        (
            at("attacker.example"),
            Some(format!("http://{}", at("attacker.example"))),
            403,
        ),
        (at("127.0.0.1.attacker.example"), None, 403),
        (at("localhost.attacker.example"), None, 403),
        (at("user@127.0.0.1"), None, 403),
        (String::new(), None, 403),
        (
            at("127.0.0.1"),
            Some("http://attacker.example".to_owned()),
            403,
        ),
        (at("127.0.0.1"), Some("https://127.0.0.1".to_owned()), 403),
        (at("127.0.0.1"), Some("http://127.0.0.1:1".to_owned()), 403),
        (
            at("127.0.0.1"),
            Some(format!("http://{}", at("localhost"))),
            403,
        ),
        (at("127.0.0.1"), Some("null".to_owned()), 403),
        (at("127.0.0.1"), Some(String::new()), 403),
    ] {
        for (method, path) in [
            ("POST", API_KEYS),
            ("GET", API_KEYS),
            ("GET", "/demo"),
            ("GET", "/docs"),
            ("GET", "/openapi.yaml"),
        ] {
            let origin_header = origin
                .as_ref()
                .map(|origin| format!("Origin: {origin}\r\n"))
                .unwrap_or_default();
            let body = r#"{"config": {}}"#;
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{origin_header}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let mut stream =
                tokio::net::TcpStream::connect(("127.0.0.1", port.parse().expect("a port")))
                    .await
                    .expect("a connection");
            stream
                .write_all(request.as_bytes())
                .await
                .expect("a request");
            let mut response = String::new();
            stream
                .read_to_string(&mut response)
                .await
                .expect("a response");
            let status: u16 = response[9..12].parse().expect("a status");
            // The demo route asks for a key first.
            let expected = if path == "/demo" && expected == 200 {
                401
            } else {
                expected
            };
            assert_eq!(
                status, expected,
                "{method} {path} at {host:?} from {origin:?}: {response}"
            );
            if status == 403 {
                let names = if origin.is_some() {
                    ["Host", "Origin"]
                } else {
                    ["Host", "Host"]
                };
                assert!(
                    names
                        .iter()
                        .any(|name| response.contains(&format!("\"message\":\"{name}"))),
                    "{response}"
                );
            }
        }
    }
    let (_, keys) = local.send(reqwest::Method::GET, API_KEYS, None).await;
    assert_eq!(
        keys.as_array().map(Vec::len),
        Some(7),
        "one key per request that was let in"
    );
    local.stop().await;
}
