//! `cargo bench --bench counts`: how many instructions the service runs. Unlike times, these repeat
//! on any machine.
//!
//! Fails if a count has grown by more than 3 % over `benches/counts.json`, or is above its budget.
//! After an intended change, `cargo bench --bench counts -- --record` writes the file. What the
//! figures mean: benches/README.md.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]

#[allow(dead_code)] // These modules serve the benchmark `lambda` too.
#[path = "../lambda/aws.rs"]
mod aws;
#[allow(dead_code)]
#[path = "../lambda/build.rs"]
mod build;
mod callgrind;
#[allow(dead_code)]
#[path = "../../examples/local/database.rs"]
mod database;
#[allow(dead_code)]
#[path = "../lambda/events.rs"]
mod events;
#[path = "../lambda/http.rs"]
mod http;
mod record;
#[allow(dead_code)]
#[path = "../lambda/runtime.rs"]
mod runtime;

use std::process::ExitCode;

use aws::Aws;
use callgrind::{Profile, count};
use record::{Figure, Record};
use runtime::{Function, Program};

/// Each figure is the median of so many.
const ROUNDS: usize = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if callgrind::version().is_none() {
        println!("skipped: instruction counts (valgrind isn't installed)");
        return ExitCode::SUCCESS;
    }
    let recorded = Record::read();
    // An address, as looking a name up depends on the machine's files.
    let aws = Aws::start("127.0.0.1").await;
    let api = Program::new("api", &build::service("none")).with(&aws.environment());
    let authorizer = api.clone().with(&[("FUNCTION", "authorizer")]);
    let full = api.clone().with(&[("SERVICE_NAME", "list")]);
    aws.put_keys("list", 1000);
    // A service's first start also writes the ID of its root key: not one that is counted.
    Function::start(&full).await.invoke(&events::list()).await;
    let created = Function::start(&api).await.invoke(&events::create()).await;
    let key = events::api_key(&String::from_utf8_lossy(&created.body));
    let (create, check, forged) = (
        events::create(),
        events::check(&key),
        events::check(&events::forge(&key)),
    );

    let mut starts = Vec::new();
    let mut creates = Vec::new();
    let mut checks = Vec::new();
    let mut forgeries = Vec::new();
    let mut lists = Vec::new();
    for _ in 0..ROUNDS {
        starts.push(count(&aws, &api, &create, "created", 1).await);
        creates.push(warm(&aws, &api, &create, "created", 50).await);
        checks.push(warm(&aws, &authorizer, &check, "Allow", 50).await);
        forgeries.push(warm(&aws, &authorizer, &forged, "Deny", 200).await);
        lists.push(
            warm(
                &aws,
                &full,
                &events::list(),
                "01ARZ3NDEKTSV4RRFF00000999",
                5,
            )
            .await,
        );
    }
    record::report(
        &recorded,
        &[
            Figure::new("start to first created key", Some(8_400_000), starts),
            Figure::new("warm create", None, creates),
            Figure::new("warm check", Some(600_000), checks),
            Figure::new("forged key", None, forgeries),
            Figure::new("list of 1,000 keys", None, lists),
        ],
        &callgrind::environment(),
        std::env::args().any(|argument| argument == "--record"),
    )
}

/// One invocation of a warm function: the difference between a run with a few and a run with more.
async fn warm(aws: &Aws, program: &Program, event: &str, expected: &str, more: u64) -> Profile {
    let few = count(aws, program, event, expected, 5).await;
    (count(aws, program, event, expected, 5 + more).await - few).part(more)
}
