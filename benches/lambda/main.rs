//! `cargo bench --bench lambda`: how fast the service is, as ratios to two hello-worlds and to the
//! limit, which run beside it.
//!
//! Measured from outside: the release binary as it is deployed, a Runtime API, DynamoDB and KMS
//! behind TLS. What the figures mean, and what was tried to improve them: benches/README.md.
//! `-- cold`: one part of it (throttled, warm, list, size, memory, peers). `-- quick`: a hundredth of
//! the rounds, to see that it runs.

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
    let (options, parts): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .partition(|argument| argument == "quick");
    let quick = !options.is_empty();
    let service = build::service("symbols");
    let [template, lean, limit] = build::hellos(quick);
    let aws = aws::Aws::start("localhost").await;
    let others = [
        Program::new("template", &template),
        Program::new("lean hello-world", &lean),
        Program::new("limit", &limit).with(&aws.environment()),
    ];
    let api = Program::new("api", &service).with(&aws.environment());
    let authorizer = api.clone().with(&[("FUNCTION", "authorizer")]);

    let rounds = |usual: usize| {
        if quick { (usual / 100).max(1) } else { usual }
    };
    let asked = |part: &str| parts.is_empty() || parts.iter().any(|name| name == part);
    let mut rows = Vec::new();
    if asked("cold") {
        rows.extend(cold(&others, &api, rounds(100)).await);
    }
    if asked("throttled") {
        rows.extend(throttled(&api, rounds(30)).await);
    }
    if asked("warm") {
        rows.extend(warm(
            &measure::warm(&aws, &others, &api, &authorizer, rounds(2000)).await,
        ));
    }
    if asked("list") {
        rows.extend(lists(&aws, &api, rounds).await);
    }
    if asked("size") {
        rows.extend(size(&service));
    }
    if asked("memory") {
        rows.extend(memory(&api, rounds(2000)).await);
    }
    println!("\n{}\n", build::machine());
    report::print(&rows);
    if asked("peers") {
        peers(&aws, &api, rounds).await;
    }
}

async fn cold(others: &[Program; 3], api: &Program, rounds: usize) -> [Row; 2] {
    let [template, lean, limit] = others;
    let programs = [template, lean, limit, api].map(|program| (program.clone(), events::create()));
    let cold = measure::cold(&programs, rounds).await;
    let [template, lean, limit, api] = <[Cold; 4]>::try_from(cold).ok().expect("four");
    let times = [&template.time, &lean.time, &limit.time];
    let processor = [&template.processor, &lean.processor, &limit.processor];
    [
        to_others("start to first response", 4.0, &api.time, times),
        to_others("processor time of a start", 3.0, &api.processor, processor),
    ]
}

fn to_others(what: &'static str, target: f64, ours: &Times, others: [&Times; 3]) -> Row {
    let [to_template, ratios @ ..] = others.map(|times| ours.p50() / times.p50());
    let [template, lean, limit] = others.map(Times::text);
    Row {
        what,
        target,
        figure: to_template,
        ratios: Some(ratios),
        unit: " x",
        detail: format!(
            "service {}; template {template}; lean {lean}; limit {limit}",
            ours.text()
        ),
    }
}

async fn throttled(api: &Program, rounds: usize) -> Option<Row> {
    match measure::throttled(api, &events::create(), rounds).await {
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
            ratios: None,
            unit: " x",
            detail: format!("first {}; second {}", first.text(), second.text()),
        }),
    }
}

fn warm(warm: &Warm) -> [Row; 5] {
    let others = [&warm.template, &warm.lean, &warm.limit];
    let row = |what, target, times| to_others(what, target, times, others);
    [
        row("warm create", 6.0, &warm.create),
        row("warm update", 6.0, &warm.update),
        row("warm delete", 6.0, &warm.delete),
        row("warm check by the authorizer", 6.0, &warm.check),
        row("forged key denied by the authorizer", 1.3, &warm.forged),
    ]
}

async fn lists(aws: &aws::Aws, api: &Program, rounds: impl Fn(usize) -> usize) -> [Row; 2] {
    let mut lists = Vec::new();
    for (count, usual) in [(100, 200), (10_000, 20), (30_000, 10)] {
        let times = measure::list(aws, api, count, rounds(usual)).await;
        lists.push((count as f64, times));
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
            ratios: None,
            unit: " x",
            detail: lists.iter().map(detail).collect::<Vec<_>>().join("; "),
        },
        Row {
            what: "time per key, 30,000 keys to 10,000",
            target: 1.2,
            figure: each(&lists[2]) / each(&lists[1]),
            ratios: None,
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
        ratios: None,
        unit: " MB",
        detail: format!("{bytes} bytes"),
    };
    let (binary, zip) = build::sizes(service);
    [
        row("binary, stripped", 9.5, binary),
        row("binary, compressed", 4.2, zip),
    ]
}

async fn memory(api: &Program, rounds: usize) -> [Row; 2] {
    let [early, late] = measure::memory(api, rounds)
        .await
        .map(|bytes| bytes as f64 / MB);
    [
        Row {
            what: "memory after 10,000 requests",
            target: 14.0,
            figure: late,
            ratios: None,
            unit: " MB",
            detail: format!("{early:.2} MB after 1,000"),
        },
        Row {
            what: "memory growth since 1,000 requests",
            target: 1.05,
            figure: late / early,
            ratios: None,
            unit: " x",
            detail: String::new(),
        },
    ]
}

/// The same API as Python's users would write it, if benches/peers/setup.sh has been run.
async fn peers(aws: &aws::Aws, api: &Program, rounds: impl Fn(usize) -> usize) {
    let Some(python) = build::python() else {
        println!("\nskipped: FastAPI + Mangum + boto3 (run benches/peers/setup.sh first)");
        return;
    };
    let python = python.with(&aws.environment());
    let programs = [
        (api.clone(), events::create()),
        (python.clone(), events::create()),
    ];
    let [cold, cold_python] = <[Cold; 2]>::try_from(measure::cold(&programs, rounds(5)).await)
        .ok()
        .expect("two");
    let [warm, warm_python] = [
        measure::creates(aws, api, rounds(300)).await,
        measure::creates(aws, &python, rounds(300)).await,
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
