//! Log entries: one JSON object per line on standard output, as Lambda's JSON format takes them.
//! template.yaml and stacks/monitoring.yaml search for their texts: CONTRIBUTING.md, "Change a log entry".

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::LOG_LEVEL;

/// Starts logging at `AWS_LAMBDA_LOG_LEVEL` (Lambda's own variable), or at `default` if it isn't set.
///
/// The level applies to this crate alone: at DEBUG and TRACE the runtime and the SDK print whole
/// events and responses, which hold keys and the root key. From the runtime come warnings, errors
/// and the span with the request ID. From all other crates comes nothing, since the SDK's crates
/// print `Debug` of responses at any level.
pub fn init(default: LevelFilter) {
    let level = match std::env::var(LOG_LEVEL.name).unwrap_or_default().as_str() {
        "" => default,
        "FATAL" => LevelFilter::ERROR, // Lambda's only level that tracing doesn't know
        level => level.parse().unwrap_or(default),
    };
    let targets = Targets::new()
        .with_default(LevelFilter::OFF)
        .with_target("lambda_runtime", LevelFilter::WARN)
        .with_target("lambda_runtime::layers::trace", LevelFilter::INFO)
        .with_target("gaia_api_keys", level);
    let json = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_span_list(false);
    // Fails if a subscriber is already set, as in tests that share a process. That one serves as
    // well.
    let _ = tracing_subscriber::registry()
        .with(json)
        .with(targets)
        .try_init();
}
