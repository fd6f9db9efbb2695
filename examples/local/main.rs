//! `cargo local`: the whole service in one process, on an embedded DynamoDB.

use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use clap::Parser;
use gaia_api_keys::error::Cause;
use gaia_api_keys::settings::Settings;
use gaia_api_keys::{aws, logging, startup};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::level_filters::LevelFilter;

mod database;
mod gateway;
mod page;

use gateway::Functions;

/// The root key for local development, unless ROOT_KEY sets another. It is publicly known, so use
/// it nowhere else.
const LOCAL_ROOT_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Run the whole service locally: the management API and a demo route on one port, an embedded
/// DynamoDB on another
#[derive(Parser)]
#[command(name = "cargo local", version)]
struct Arguments {
    /// HTTP port of the service; 0 picks a free one
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Port of DynamoDB, for the AWS CLI and SDKs; 0 picks a free one
    #[arg(long, default_value_t = 8000)]
    dynamodb_port: u16,
    /// SQLite file for the table; `:memory:` for a temporary one
    #[arg(long, value_name = "FILE", default_value = "gaia-local.db")]
    data: String,
    /// Create the sample key used by the events in events/
    #[arg(long)]
    sample: bool,
    /// Address to bind; 0.0.0.0 accepts connections from containers, and from your whole network
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo local: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), String> {
    // A person reads one short line per request; a program gets the log entries of the functions.
    let terminal = std::io::stdout().is_terminal();
    logging::init(if terminal {
        LevelFilter::WARN
    } else {
        LevelFilter::INFO
    });
    let (http, http_address) = listen(arguments.host, arguments.port, "--port").await?;
    let (dynamodb, dynamodb_address) =
        listen(arguments.host, arguments.dynamodb_port, "--dynamodb-port").await?;
    let (database, created) = database::open(&arguments.data)
        .map_err(|error| format!("--data {}: {error}", arguments.data))?;
    if arguments.sample {
        database::put_sample(&database)?;
    }

    let (stop, stopped) = watch::channel(false);
    let database_server = tokio::spawn(database::serve(
        dynamodb,
        database,
        stop_signal(stopped.clone()),
    ));
    let settings = settings().map_err(|error| error.to_string())?;
    let sdk = sdk(dynamodb_address)
        .await
        .map_err(|error| error.to_string())?;
    let api = startup::api(&settings, &sdk)
        .await
        .map_err(|error| error.to_string())?;
    let authorizer = startup::authorizer(&settings, &sdk)
        .await
        .map_err(|error| error.to_string())?;
    let service = gateway::router(Functions { api, authorizer }, terminal)
        .into_make_service_with_connect_info::<SocketAddr>();
    // println! would panic if nobody reads it, as in `cargo local | head -1`.
    let _ = writeln!(
        std::io::stdout(),
        "{}",
        what_to_try(http_address, dynamodb_address, &arguments.data, created)
    );

    let http_server = tokio::spawn(
        axum::serve(http, service)
            .with_graceful_shutdown(stop_signal(stopped))
            .into_future(),
    );
    interrupted().await?;
    stop.send_replace(true);
    let _ = http_server.await;
    let _ = database_server.await;
    Ok(())
}

async fn listen(
    host: IpAddr,
    port: u16,
    option: &str,
) -> Result<(TcpListener, SocketAddr), String> {
    let listener = TcpListener::bind((host, port))
        .await
        .map_err(|error| format!("{option} {port}: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    Ok((listener, address))
}

/// The environment of the Lambda function, with defaults for local development.
fn settings() -> Result<Settings, gaia_api_keys::settings::SettingsError> {
    Settings::from_lookup(|name| match name {
        "FUNCTION" => Some("api".to_owned()),
        "TABLE_NAME" => Some(database::TABLE_NAME.to_owned()),
        "ALLOW_ANONYMOUS" | "SIMPLE_RESPONSES" => Some("true".to_owned()),
        "SERVICE_NAME" => set(name).or_else(|| Some("demo".to_owned())),
        "ROOT_KEY" => set(name).or_else(|| Some(LOCAL_ROOT_KEY.to_owned())),
        _ => set(name),
    })
}

/// The SDK's configuration: the embedded DynamoDB takes any credentials.
async fn sdk(dynamodb: SocketAddr) -> Result<SdkConfig, Cause> {
    let loader = aws::loader(Region::new("local"), None)?
        .endpoint_url(format!("http://{}", reachable(dynamodb)))
        .credentials_provider(Credentials::from_keys("local", "local", None));
    Ok(aws::load(loader).await)
}

/// An environment variable; an empty one counts as unset.
fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The address at which this machine reaches a port that listens on one address, or on all.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

/// Resolves when the service must stop.
async fn stop_signal(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Waits for Ctrl-C or, where there is one, a SIGTERM.
async fn interrupted() -> Result<(), String> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| format!("SIGTERM: {error}"))?;
    #[cfg(unix)]
    let terminated = terminate.recv();
    #[cfg(not(unix))]
    let terminated = std::future::pending::<Option<()>>();
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.map_err(|error| format!("Ctrl-C: {error}")),
        _ = terminated => Ok(()),
    }
}

fn what_to_try(http: SocketAddr, dynamodb: SocketAddr, data: &str, created: bool) -> String {
    let keys = format!("http://{http}/es/api/v1/credentials/api_keys/");
    let state = match (data, created) {
        (":memory:", _) => "a table that ends with this process".to_owned(),
        (_, true) => format!("a new table in {data}; to keep none: --data :memory:"),
        (_, false) => format!("the table in {data}; to keep none: --data :memory:"),
    };
    format!(
        r#"GAIA's API keys on http://{http}, DynamoDB on http://{dynamodb} ({state}). Ctrl-C stops both. To try:

  http://{http}/docs in a browser, or

  curl -X POST {keys} -H 'content-type: application/json' -d '{{"config": {{"permissions": "read"}}}}'
  curl {keys}
  curl -X PUT {keys}KEY_ID -H 'content-type: application/json' -d '{{"config": {{"permissions": "write"}}}}'
  curl -X DELETE {keys}delete/KEY_ID
  curl -X POST {keys}verify -H 'content-type: application/json' -d '{{"api_key": "API_KEY", "permission": "read"}}'

  curl http://{http}/demo -H 'authorization: Search API_KEY'        # a route behind the authorizer: needs read
  curl -X POST http://{http}/demo -H 'authorization: Search API_KEY'  # needs write

  AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local aws dynamodb scan --table-name {table} \
    --endpoint-url http://{dynamodb} --region local
"#,
        table = database::TABLE_NAME,
    )
}
