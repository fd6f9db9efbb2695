//! `cargo bench --bench lambda`: how fast the service is, as ratios to two hello-worlds that run
//! beside it.
//!
//! Measured from outside: the release binary as it is deployed, a Runtime API, DynamoDB and KMS
//! behind TLS. What the figures mean, and what was tried to improve them: docs/performance.md. One
//! part: `cargo bench --bench lambda cold` (throttled, warm, list, size, memory, peers).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]

mod aws;
mod build;
#[allow(dead_code)] // Its sample key is not needed here.
#[path = "../../examples/local/database.rs"]
mod database;
mod events;
mod http;
mod measure;
mod quota;
mod report;
mod runtime;

use measure::{Cold, Warm};
use report::{Row, Times};
use runtime::Program;

const MB: f64 = 1e6;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let service = build::service("symbols");
    let [template, lean] = build::hellos();
    let hellos = [
        Program::new("template", &template),
        Program::new("lean hello-world", &lean),
    ];
    let aws = aws::Aws::start("localhost").await;
    let api = Program::new("api", &service).with(&aws.environment());
    let authorizer = api.clone().with(&[("FUNCTION", "authorizer")]);

    let parts: Vec<_> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let asked = |part: &str| parts.is_empty() || parts.iter().any(|name| name == part);
    let mut rows = Vec::new();
    if asked("cold") {
        rows.extend(cold(&hellos, &api).await);
    }
    if asked("throttled") {
        rows.extend(throttled(&api).await);
    }
    if asked("warm") {
        rows.extend(warm(
            &measure::warm(&aws, &hellos, &api, &authorizer, 2000).await,
        ));
    }
    if asked("list") {
        rows.extend(lists(&aws, &api).await);
    }
    if asked("size") {
        rows.extend(size(&service));
    }
    if asked("memory") {
        rows.extend(memory(&api).await);
    }
    println!("\n{}\n", build::machine());
    report::print(&rows);
    if asked("peers") {
        peers(&aws, &api).await;
    }
}

async fn cold([hello, lean]: &[Program; 2], api: &Program) -> [Row; 2] {
    let programs = [hello, lean, api].map(|program| (program.clone(), events::create()));
    let [hello, lean, api] = <[Cold; 3]>::try_from(measure::cold(&programs, 100).await)
        .ok()
        .expect("three");
    [
        to_hellos(
            "start to first response",
            4.0,
            &api.time,
            &hello.time,
            &lean.time,
        ),
        to_hellos(
            "processor time of a start",
            3.0,
            &api.processor,
            &hello.processor,
            &lean.processor,
        ),
    ]
}

fn to_hellos(what: &'static str, target: f64, ours: &Times, hello: &Times, lean: &Times) -> Row {
    Row {
        what,
        target,
        figure: ours.p50() / hello.p50(),
        lean: Some(ours.p50() / lean.p50()),
        unit: " x",
        detail: format!(
            "service {}; template {}; lean {}",
            ours.text(),
            hello.text(),
            lean.text()
        ),
    }
}

async fn throttled(api: &Program) -> Option<Row> {
    match measure::throttled(api, &events::create(), 30).await {
        Err(why) => {
            println!(
                "skipped: the first request under a 128 MB function's share of the processor ({why})"
            );
            None
        }
        Ok([first, second]) => Some(Row {
            what: "first request on 7.2 % of a core",
            target: 2.0,
            figure: first.p50() / second.p50(),
            lean: None,
            unit: " x",
            detail: format!("first {}; second {}", first.text(), second.text()),
        }),
    }
}

fn warm(warm: &Warm) -> [Row; 5] {
    let row = |what, target, times| to_hellos(what, target, times, &warm.hello, &warm.lean);
    [
        row("warm create", 6.0, &warm.create),
        row("warm update", 6.0, &warm.update),
        row("warm delete", 6.0, &warm.delete),
        row("warm check by the authorizer", 6.0, &warm.check),
        row("forged key denied by the authorizer", 1.3, &warm.forged),
    ]
}

async fn lists(aws: &aws::Aws, api: &Program) -> [Row; 2] {
    let mut lists = Vec::new();
    for (count, rounds) in [(100, 200), (10_000, 20), (40_000, 10)] {
        lists.push((count as f64, measure::list(aws, api, count, rounds).await));
    }
    let each = |(count, [list, _]): &(f64, [Times; 2])| list.p50() * 1000.0 / count;
    let detail = |(count, [list, bare]): &(f64, [Times; 2])| {
        format!(
            "{count} keys {:.2} ms, bare client {:.2} ms",
            list.p50(),
            bare.p50()
        )
    };
    let [list, bare] = &lists[1].1;
    [
        Row {
            what: "list of 10,000 keys",
            target: 2.0,
            figure: list.p50() / bare.p50(),
            lean: None,
            unit: " x",
            detail: lists.iter().map(detail).collect::<Vec<_>>().join("; "),
        },
        Row {
            what: "time per key, 40,000 keys to 10,000",
            target: 1.2,
            figure: each(&lists[2]) / each(&lists[1]),
            lean: None,
            unit: " x",
            detail: lists
                .iter()
                .map(|list| format!("{:.2} µs", each(list)))
                .collect::<Vec<_>>()
                .join(", "),
        },
    ]
}

fn size(service: &std::path::Path) -> [Row; 2] {
    let row = |what, target, bytes: u64| Row {
        what,
        target,
        figure: bytes as f64 / MB,
        lean: None,
        unit: " MB",
        detail: format!("{bytes} bytes"),
    };
    let (binary, zip) = build::sizes(service);
    [
        row("binary, stripped", 9.5, binary),
        row("binary, compressed", 4.2, zip),
    ]
}

async fn memory(api: &Program) -> [Row; 2] {
    let [early, late] = measure::memory(api, 10_000)
        .await
        .map(|bytes| bytes as f64 / MB);
    [
        Row {
            what: "memory after 10,000 requests",
            target: 14.0,
            figure: late,
            lean: None,
            unit: " MB",
            detail: format!("{early:.2} MB after 1,000"),
        },
        Row {
            what: "memory growth since 1,000 requests",
            target: 1.05,
            figure: late / early,
            lean: None,
            unit: " x",
            detail: String::new(),
        },
    ]
}

/// The same API as Python's users would write it, if benches/peers/setup.sh has been run.
async fn peers(aws: &aws::Aws, api: &Program) {
    let Some(python) = build::python() else {
        println!("\nskipped: FastAPI + Mangum + boto3 (run benches/peers/setup.sh first)");
        return;
    };
    let python = python.with(&aws.environment());
    let programs = [
        (api.clone(), events::create()),
        (python.clone(), events::create()),
    ];
    let [cold, cold_python] = <[Cold; 2]>::try_from(measure::cold(&programs, 5).await)
        .ok()
        .expect("two");
    let [warm, warm_python] = [
        measure::creates(aws, api, 300).await,
        measure::creates(aws, &python, 300).await,
    ];
    let row = |what: &str, ours: f64, theirs: f64, unit: &str| {
        println!(
            "| {what} | {ours:.2} {unit} | {theirs:.2} {unit} | {:.0} x |",
            theirs / ours
        );
    };
    println!("\n| Figure | This service | FastAPI, Mangum, boto3 | Ratio |\n|---|---|---|---|");
    row(
        "start to first response",
        cold.time.p50(),
        cold_python.time.p50(),
        "ms",
    );
    row(
        "processor time of a start",
        cold.processor.p50(),
        cold_python.processor.p50(),
        "ms",
    );
    row("warm create", warm.0.p50(), warm_python.0.p50(), "ms");
    row("memory after it", warm.1 / MB, warm_python.1 / MB, "MB");
}
