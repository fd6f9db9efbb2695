//! The built binary as Lambda runs it: under a simulator of the Runtime API, which also freezes and
//! thaws it.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use lambda_simulator::{FreezeMode, InvocationBuilder, InvocationStatus, Simulator};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::events;
use crate::protected::{Shape, Visit, lets_in};
use crate::proxy::Fault;
use crate::support::{API_KEYS, Call, Format, Response, Table};

const PATIENCE: Duration = Duration::from_secs(30);

/// A sequence of execution environments, and their output.
pub struct Lambda {
    simulator: Simulator,
    environment: Vec<(String, String)>,
    process: Child,
    output: tempfile::NamedTempFile,
}

impl Lambda {
    /// A function that isn't frozen between events.
    pub async fn start(environment: Vec<(String, String)>) -> Self {
        Self::start_with(FreezeMode::None, environment).await
    }

    async fn start_with(freeze_mode: FreezeMode, environment: Vec<(String, String)>) -> Self {
        let simulator = simulator(freeze_mode).await;
        let output = tempfile::NamedTempFile::new().expect("a file");
        let process = spawn(&simulator, &environment, &output);
        let mut lambda = Self {
            simulator,
            environment,
            process,
            output,
        };
        lambda.started().await;
        lambda
    }

    /// Waits until the function asks for its first event, or ends: a fault that a test injects next
    /// must not meet the requests of the start.
    async fn started(&mut self) {
        let started = async {
            while !self.simulator.is_initialized().await
                && self.process.try_wait().expect("a status").is_none()
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, started)
            .await
            .expect("a start");
    }

    pub async fn invoke(&self, event: &Value) -> Result<Value, String> {
        let id = self.simulator.enqueue_payload(event.clone()).await;
        // The simulator's own way of waiting misses a response that arrives at the wrong moment.
        let done = async {
            loop {
                match self.simulator.get_invocation_state(&id).await {
                    Some(state)
                        if matches!(
                            state.status,
                            InvocationStatus::Success | InvocationStatus::Error
                        ) =>
                    {
                        return state;
                    }
                    _ => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        };
        let state = tokio::time::timeout(PATIENCE, done)
            .await
            .map_err(|_| "no response".to_owned())?;
        match state.status {
            InvocationStatus::Success => Ok(state.response.expect("a response").payload),
            _ => Err(format!("{:?}", state.error)),
        }
    }

    pub async fn call(&self, call: Call, format: Format) -> Response {
        Response::from_lambda(self.invoke(&call.event(format)).await.expect("a response"))
    }

    /// Ends the environment as Lambda does to reclaim memory, and starts the next one.
    pub async fn replace(&mut self) {
        self.process.kill().await.expect("a kill");
        self.simulator = simulator(self.simulator.freeze_mode()).await;
        self.process = spawn(&self.simulator, &self.environment, &self.output);
        self.started().await;
    }

    /// Waits for the end of a function that can't start.
    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.process.wait())
            .await
            .expect("an end")
            .expect("a status")
    }

    pub fn printed(&self) -> String {
        std::fs::read_to_string(self.output.path()).expect("a file")
    }
}

/// The binary that cargo built for the tests, or the one in `TEST_BINARY`: CI runs the same tests
/// on the release artifact.
fn binary() -> String {
    std::env::var("TEST_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_gaia-api-keys").to_owned())
}

async fn simulator(freeze_mode: FreezeMode) -> Simulator {
    Simulator::builder()
        .freeze_mode(freeze_mode)
        .build()
        .await
        .expect("a simulator")
}

fn spawn(
    simulator: &Simulator,
    environment: &[(String, String)],
    output: &tempfile::NamedTempFile,
) -> Child {
    let both = || {
        Stdio::from(
            std::fs::OpenOptions::new()
                .append(true)
                .open(output.path())
                .expect("a file"),
        )
    };
    let mut command = Command::new(binary());
    // The test sets the Region itself.
    let simulated = simulator
        .lambda_env_vars()
        .into_iter()
        .filter(|(name, _)| !name.ends_with("_REGION"));
    command
        .env_clear()
        .envs(simulated)
        .envs(environment.iter().cloned());
    let process = command
        .stdin(Stdio::null())
        .stdout(both())
        .stderr(both())
        .kill_on_drop(true)
        .spawn()
        .expect("a process");
    simulator.register_freeze_pid(process.id().expect("a process id"));
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn cold_warm_frozen_and_killed() {
    let table = Table::new().await;
    let mut lambda = Lambda::start_with(FreezeMode::Process, table.environment(&[])).await;
    let create =
        || Call::new("POST", API_KEYS).json(&json!({ "config": { "permissions": "read" } }));
    let frozen = async |lambda: &Lambda| {
        lambda
            .simulator
            .wait_for_frozen(PATIENCE)
            .await
            .expect("frozen between requests");
        // The simulator says so just before it stops the process. A request in between would start
        // what is stopped right after.
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let cold = lambda.call(create(), Format::Http).await;
    frozen(&lambda).await;
    let warm = lambda.call(create(), Format::Rest).await;
    assert_eq!(
        (cold.status, warm.status),
        (200, 200),
        "{}",
        lambda.printed()
    );
    assert_eq!(
        table.proxy.requests(),
        [
            "GetItem",
            "UpdateItem",
            "TransactWriteItems",
            "TransactWriteItems"
        ],
        "the start reads which root keys are in use, and names its own"
    );

    frozen(&lambda).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let update =
        Call::new("PUT", &format!("{API_KEYS}{}", cold.api_key())).json(&json!({ "config": {} }));
    assert_eq!(lambda.call(update, Format::Http).await.status, 200);

    // Frozen for so long that the connection is closed: the request uses another one.
    frozen(&lambda).await;
    table.proxy.requests();
    table.proxy.hang_up();
    assert_eq!(lambda.call(create(), Format::Http).await.status, 200);
    assert_eq!(
        table.proxy.requests(),
        ["TransactWriteItems"],
        "one request, on a new connection"
    );

    // The connection is silent: the attempt times out, and the next one uses another connection.
    frozen(&lambda).await;
    table.proxy.plan(&[Fault::Silent]);
    assert_eq!(lambda.call(create(), Format::Http).await.status, 200);
    assert_eq!(
        table.proxy.requests(),
        ["TransactWriteItems", "TransactWriteItems"]
    );

    lambda.replace().await;
    let list = lambda.call(Call::new("GET", API_KEYS), Format::Rest).await;
    assert_eq!(
        list.json().as_array().map(Vec::len),
        Some(4),
        "what was acknowledged is there"
    );
    assert_eq!(
        list.json()[0],
        json!({ "api_key": cold.api_key(), "config": {} })
    );
    for key in [cold.api_key(), warm.api_key()] {
        assert!(
            !lambda.printed().contains(&key[32..]),
            "a secret was printed"
        );
    }
    assert_eq!(
        lambda.printed().matches("\"message\":\"audit\"").count(),
        5,
        "{}",
        lambda.printed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_key_through_both_functions() {
    let table = Table::new().await;
    let api = Lambda::start(table.environment(&[])).await;
    let authorizer = Lambda::start(
        table.environment(&[("FUNCTION", "authorizer"), ("SIMPLE_RESPONSES", "true")]),
    )
    .await;
    let key = api
        .call(
            Call::new("POST", API_KEYS).json(&json!({ "config": { "permissions": "write" } })),
            Format::Http,
        )
        .await
        .api_key();
    let allows = async |method: &str| {
        let event = json!({
            "version": "2.0",
            "type": "REQUEST",
            "routeArn": format!("arn:aws:execute-api:eu-central-1:123456789012:abcdefghij/$default/{method}/x"),
            "headers": { "authorization": format!("Search {key}") },
            "requestContext": { "http": { "method": method, "sourceIp": "192.0.2.1" } },
        });
        let response = authorizer.invoke(&event).await?;
        Ok::<_, String>((
            response["isAuthorized"].as_bool(),
            response["context"]["reason"].clone(),
        ))
    };
    let change = async |config: Value| {
        let call = Call::new("PUT", &format!("{API_KEYS}{key}")).json(&json!({ "config": config }));
        assert_eq!(api.call(call, Format::Rest).await.status, 200);
    };
    let denied = |reason: &str| Ok((Some(false), Value::from(reason)));
    let allowed = Ok((Some(true), Value::Null));
    assert_eq!(allows("POST").await, allowed);
    change(json!({ "permissions": "read" })).await;
    assert_eq!(
        (allows("GET").await, allows("POST").await),
        (allowed.clone(), denied("permission"))
    );
    change(json!({ "permissions": "read", "allowed_ips": ["198.51.100.0/24"] })).await;
    assert_eq!(allows("GET").await, denied("source_ip"));
    change(json!({ "permissions": "read", "enabled": false })).await;
    assert_eq!(allows("GET").await, denied("disabled"));
    change(json!({ "permissions": "read", "expires_at": "2026-01-01T00:00:00Z" })).await;
    assert_eq!(allows("GET").await, denied("expired"));
    change(json!({ "permissions": "read" })).await;
    assert_eq!(allows("GET").await, allowed);
    table.proxy.always(Fault::Dropped);
    assert!(
        allows("GET")
            .await
            .unwrap_err()
            .contains("key verification failed"),
        "an error, which no gateway caches"
    );
    table.proxy.always(Fault::None);
    assert_eq!(
        api.call(
            Call::new("DELETE", &format!("{API_KEYS}delete/{key}")),
            Format::Http
        )
        .await
        .status,
        200
    );
    assert_eq!(allows("GET").await, denied("not_found"));

    let printed = authorizer.printed();
    assert_eq!(
        printed.matches("\"message\":\"denied\"").count(),
        5,
        "{printed}"
    );
    assert!(
        !printed.contains(&key[32..]) && !api.printed().contains(&key[32..]),
        "{printed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_used_listed_as_used_rotated_and_expires() {
    let table = Table::new().await;
    let api = Lambda::start(table.environment(&[])).await;
    let authorizer = Lambda::start(table.environment(&[("FUNCTION", "authorizer")])).await;
    let call = async |call: Call| api.call(call, Format::Rest).await;
    let create =
        Call::new("POST", API_KEYS).json(&json!({ "config": { "routes": ["GET /items/*"] } }));
    let old = call(create).await.api_key();
    let details = Call::new("GET", &format!("{API_KEYS}{old}"));
    assert_eq!(
        call(details.clone()).await.json()["last_used_at"],
        Value::Null
    );
    let allowed = async |key: &str, path: &str| {
        let visit = Visit::new(key, "GET", path);
        let response = authorizer
            .invoke(&visit.event(Shape::RestRequest))
            .await
            .expect("a response");
        lets_in(&response, &visit)
    };
    assert!(allowed(&old, "/items/7").await && !allowed(&old, "/other").await);
    assert!(
        call(details).await.json()["last_used_at"]
            .as_str()
            .is_some_and(|at| at.ends_with(":00:00Z"))
    );

    let rotate =
        Call::new("POST", &format!("{API_KEYS}{old}/rotate")).json(&json!({ "grace_seconds": 2 }));
    let new = call(rotate).await.api_key();
    assert!(
        allowed(&old, "/items/7").await && allowed(&new, "/items/7").await,
        "the grace period"
    );
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert!(!allowed(&old, "/items/7").await && allowed(&new, "/items/7").await);
    let printed = api.printed() + &authorizer.printed();
    assert!(
        printed.contains(r#""action":"rotate""#) && printed.contains(r#""reason":"expired""#),
        "{printed}"
    );
    assert!(
        !printed.contains(&old[32..]) && !printed.contains(&new[32..]),
        "{printed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_event_through_the_binary() {
    for (name, event) in events::files() {
        let table = Table::new().await;
        crate::database::put_sample(&table.database).expect("the sample key");
        let lambda = Lambda::start(table.environment(&[])).await;
        let response = lambda
            .invoke(&event)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        events::check(&name, &Response::from_lambda(response));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_caller_sends_fails_the_invocation() {
    let table = Table::new().await;
    let lambda = Lambda::start(table.environment(&[])).await;
    let list = || Call::new("GET", API_KEYS);
    let mut odd = Vec::new();
    for query in [
        "a=<",
        "a=\"",
        "a=`&%zz",
        "=&&&=",
        "\u{1}é",
        "a= b",
        "%",
        "#",
        "a=%3C",
        &"é".repeat(1_000),
    ] {
        let mut event = list().event(Format::Http);
        event["rawQueryString"] = query.into();
        odd.push((event, 200));
        for parameters in ["queryStringParameters", "multiValueQueryStringParameters"] {
            let mut event = list().event(Format::Rest);
            let value = if parameters.starts_with('m') {
                json!([query, query])
            } else {
                query.into()
            };
            event[parameters] = json!({ query: value });
            odd.push((event, 200));
        }
    }
    for header in ["é", "\u{1}", "\u{7f}\r\nx: y", "", "a b", "[::", "x:99999"] {
        for format in [Format::Http, Format::Rest] {
            for name in ["x-odd", "host", "x-forwarded-proto"] {
                let mut event = list().event(format);
                event["headers"][name] = header.into();
                event["requestContext"]["domainName"] = header.into();
                event["multiValueHeaders"][name] = json!([header]);
                odd.push((event, 200));
            }
        }
    }
    // Events that no gateway sends.
    for format in [Format::Http, Format::Rest] {
        for (pointer, value) in [
            ("/isBase64Encoded", json!(7)),
            ("/headers", json!("text")),
            ("/requestContext", json!(null)),
            ("/body", json!({})),
        ] {
            let mut event = list().event(format);
            *event.pointer_mut(pointer).expect("a place") = value;
            odd.push((event, 400));
        }
        let mut event = list().event(format);
        event["body"] = "%%%".into();
        event["isBase64Encoded"] = true.into();
        odd.push((event, 400));
    }
    odd.extend(
        [
            json!(null),
            json!([]),
            json!("x"),
            json!({}),
            json!({ "version": "2.0" }),
        ]
        .map(|event| (event, 400)),
    );
    for (event, status) in odd {
        let response = Response::from_lambda(
            lambda
                .invoke(&event)
                .await
                .unwrap_or_else(|error| panic!("{event}: {error}")),
        );
        assert_eq!(response.status, status, "{event}");
        assert_eq!(response.headers["Cache-Control"], "no-store");
    }
    let long = format!("/{}", "é".repeat(20_000));
    for (path, status) in [
        ("/x y<>`é\u{1}", 404),
        ("//", 404),
        ("/%", 404),
        ("/%ff%00", 404),
        ("/?#\\", 404),
        ("", 400),
        (":99999/", 400),
        (&long, 400),
    ] {
        for format in [Format::Http, Format::Rest] {
            assert_eq!(
                lambda.call(Call::new("GET", path), format).await.status,
                status,
                "{path}"
            );
        }
    }
    let mut call = Call::new("POST", API_KEYS);
    call.body = Some(vec![0xff, 0xfe, 0x00]);
    assert_eq!(lambda.call(call, Format::Http).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_logged_once_with_the_request_id_and_no_key() {
    let table = Table::new().await;
    let lambda = Lambda::start(table.environment(&[("AWS_LAMBDA_LOG_LEVEL", "TRACE")])).await;
    let key = lambda
        .call(
            Call::new("POST", API_KEYS).json(&json!({ "config": {} })),
            Format::Http,
        )
        .await
        .api_key();
    table.proxy.always(Fault::Denied);
    let call = Call::new("PUT", &format!("{API_KEYS}{key}")).json(&json!({ "config": {} }));
    assert_eq!(lambda.call(call, Format::Http).await.status, 500);
    let printed = lambda.printed();
    let failures: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .filter(|entry: &Value| entry["level"] == "ERROR")
        .collect();
    assert_eq!(failures.len(), 1, "{printed}");
    assert_eq!(
        (&failures[0]["message"], &failures[0]["status"]),
        (&json!("request failed"), &json!(500))
    );
    assert_eq!(
        failures[0]["route"],
        "PUT /es/api/v1/credentials/api_keys/{api_key}"
    );
    assert!(
        failures[0]["cause"]
            .as_str()
            .expect("a cause")
            .contains("AccessDeniedException"),
        "{printed}"
    );
    assert!(
        failures[0]["span"]["requestId"]
            .as_str()
            .is_some_and(|id| !id.is_empty()),
        "{printed}"
    );
    assert!(!printed.contains(&key[32..]), "{printed}");
}

/// The entries of a level, in the order of the log.
fn entries(printed: &str, level: &str) -> Vec<Value> {
    let entries = printed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    entries.filter(|entry| entry["level"] == level).collect()
}

/// A proxy in front of DynamoDB fails: its page says nothing, its status does.
#[tokio::test(flavor = "multi_thread")]
async fn the_cause_of_a_failure_has_the_status_of_the_response_and_not_its_body() {
    let table = Table::new().await;
    let lambda = Lambda::start(table.environment(&[])).await;
    for (fault, status, cause) in [
        (
            Fault::Response(503, "<html>text of a page</html>"),
            503,
            "HTTP 503: ",
        ),
        (
            Fault::Response(407, "<html>text of a page</html>"),
            500,
            "HTTP 407: ",
        ),
        (
            Fault::Response(200, "<html>text of a page</html>"),
            500,
            "HTTP 200: ",
        ),
        (
            Fault::Denied,
            500,
            "HTTP 400: AccessDeniedException: injected: ",
        ),
        (Fault::Dropped, 503, "dispatch failure: "),
    ] {
        table.proxy.always(fault);
        let printed_before = lambda.printed().len();
        assert_eq!(
            lambda
                .call(Call::new("GET", API_KEYS), Format::Http)
                .await
                .status,
            status,
            "{fault:?}"
        );
        let failures = entries(&lambda.printed()[printed_before..], "ERROR");
        assert_eq!(failures.len(), 1, "{failures:?}");
        let logged = failures[0]["cause"].as_str().expect("a cause");
        assert!(
            logged.starts_with(cause) && !logged.contains("text of a page"),
            "{fault:?}: {logged}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_addresses_without_their_ports() {
    let table = Table::new().await;
    let api = Lambda::start(table.environment(&[])).await;
    let authorizer = Lambda::start(table.environment(&[("FUNCTION", "authorizer")])).await;
    for (format, place) in [
        (Format::Http, "/requestContext/http/sourceIp"),
        (Format::Rest, "/requestContext/identity/sourceIp"),
    ] {
        let mut event = Call::new("POST", API_KEYS)
            .json(&json!({ "config": {} }))
            .event(format);
        *event.pointer_mut(place).expect("a place") = "[2001:db8::1]:443".into();
        api.invoke(&event).await.expect("a response");
    }
    let visit = Visit {
        source_ip: "192.0.2.7:39870".to_owned(),
        ..Visit::new("x", "GET", "/x")
    };
    for shape in [Shape::RestRequest, Shape::Http2] {
        authorizer
            .invoke(&visit.event(shape))
            .await
            .expect("a response");
    }
    let logged = |printed: String| {
        entries(&printed, "INFO")
            .iter()
            .map(|entry| entry["source_ip"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(logged(api.printed()), ["2001:db8::1"; 2]);
    assert_eq!(logged(authorizer.printed()), ["192.0.2.7"; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorizer_s_event_at_the_management_api_is_a_400_and_a_warning_that_says_so() {
    let table = Table::new().await;
    let lambda = Lambda::start(table.environment(&[])).await;
    let shapes = [
        Shape::RestToken,
        Shape::RestRequest,
        Shape::Http1,
        Shape::Http2,
    ];
    let secret = "0".repeat(26);
    for shape in shapes {
        let event = Visit::new(&secret, "GET", API_KEYS).event(shape);
        let response = lambda.invoke(&event).await.expect("a response");
        assert_eq!(response["statusCode"], 400, "{shape:?}: {response}");
    }
    let warnings = entries(&lambda.printed(), "WARN");
    assert_eq!(warnings.len(), shapes.len(), "{}", lambda.printed());
    for warning in warnings {
        let message = warning["message"].as_str().expect("a message");
        assert!(
            message.contains("authorizer's event") && message.contains("FUNCTION=authorizer"),
            "{message}"
        );
    }
    assert!(!lambda.printed().contains(&secret), "{}", lambda.printed());
}

/// Whoever may invoke the function directly can send these. lambda_runtime then gives up, and
/// Lambda starts the function anew.
#[tokio::test(flavor = "multi_thread")]
async fn an_invocation_that_the_runtime_cannot_read_ends_the_function_with_its_cause() {
    let table = Table::new().await;
    let mut lambda = Lambda::start(table.environment(&[])).await;
    let list = || Call::new("GET", API_KEYS);
    let payload = || InvocationBuilder::new().payload(list().event(Format::Http));
    for (invocation, cause) in [
        (
            payload().client_context(r#"{"custom":{"foo":{}}}"#),
            "client context or Cognito identity",
        ),
        (
            payload().client_context(r#""text of a context""#),
            "client context or Cognito identity",
        ),
        (
            payload().cognito_identity(r#"{"cognitoIdentityId":"text of a context"}"#),
            "client context or Cognito identity",
        ),
        (
            payload().client_context("text of a context: \u{e9}"),
            "failed to convert header to a str",
        ),
    ] {
        assert_eq!(lambda.call(list(), Format::Http).await.status, 200);
        let printed_before = lambda.printed().len();
        lambda
            .simulator
            .enqueue(invocation.build().expect("an invocation"))
            .await;
        let status = lambda.ended().await;
        let printed = lambda.printed().split_off(printed_before);
        let errors = entries(&printed, "ERROR");
        assert_eq!((status.code(), errors.len()), (Some(1), 1), "{printed}");
        assert_eq!(errors[0]["message"], "runtime ended");
        assert!(
            errors[0]["error"]
                .as_str()
                .is_some_and(|error| error.contains(cause)),
            "{printed}"
        );
        assert!(!printed.contains("text of a context"), "{printed}");
        lambda.replace().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_runtime_api_the_function_ends_with_the_cause() {
    let table = Table::new().await;
    let mut lambda =
        Lambda::start(table.environment(&[("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1")])).await;
    let status = lambda.ended().await;
    let errors = entries(&lambda.printed(), "ERROR");
    assert_eq!(
        (status.code(), errors.len()),
        (Some(1), 1),
        "{}",
        lambda.printed()
    );
    assert_eq!(errors[0]["message"], "runtime ended");
    assert!(
        errors[0]["error"]
            .as_str()
            .is_some_and(|error| error.contains("Connection refused")),
        "{}",
        lambda.printed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_setting_stops_the_start_with_one_entry_that_names_it() {
    let table = Table::new().await;
    for (name, value) in [
        ("TABLE_NAME", ""),
        ("SERVICE_NAME", "a#b"),
        ("ROOT_KEY", ""),
        ("ROOT_KEY", "0123"),
        ("KMS_KEY_ID", "alias/both"),
        ("FUNCTION", "both"),
        ("AWS_CA_BUNDLE", "/nonexistent.pem"),
        ("AWS_CA_BUNDLE", "/dev/null"),
    ] {
        let mut lambda = Lambda::start(table.environment(&[(name, value)])).await;
        let status = lambda.ended().await;
        let printed = lambda.printed();
        assert_eq!(
            (status.code(), printed.lines().count()),
            (Some(1), 1),
            "{name}={value}: {printed}"
        );
        assert!(
            printed.contains(name) && printed.contains("start failed"),
            "{printed}"
        );
    }
}

#[tokio::test]
async fn outside_lambda_it_says_so() {
    let output = Command::new(binary())
        .env_clear()
        .output()
        .await
        .expect("an output");
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        printed.contains("cargo local") && printed.lines().count() == 1,
        "{printed}"
    );
}
