//! The recorded counts, and how today's compare with them.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use crate::callgrind::Profile;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/counts.json");
/// How many functions of a list are recorded.
const RECORDED: usize = 15;
/// How many are shown if the figure has grown.
const SHOWN: usize = 6;

/// A figure's measurements, in ascending order.
pub struct Figure {
    name: &'static str,
    budget: Option<i64>,
    profiles: Vec<Profile>,
}

impl Figure {
    pub fn new(name: &'static str, budget: Option<i64>, mut profiles: Vec<Profile>) -> Self {
        profiles.sort_by_key(|profile| profile.total);
        Self {
            name,
            budget,
            profiles,
        }
    }

    fn median(&self) -> &Profile {
        &self.profiles[self.profiles.len() / 2]
    }

    /// From the lowest to the highest, in percent.
    fn spread(&self) -> f64 {
        percent(
            self.profiles[self.profiles.len() - 1].total - self.profiles[0].total,
            self.profiles[0].total,
        )
    }
}

/// The file `benches/counts.json`.
#[derive(Default, Deserialize, Serialize)]
pub struct Record {
    environment: String,
    counts: BTreeMap<String, Count>,
}

impl Record {
    /// Nothing, if the file isn't there.
    pub fn read() -> Self {
        let Ok(text) = std::fs::read(FILE) else {
            return Self::default();
        };
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{FILE}: {error}"))
    }
}

#[derive(Deserialize, Serialize)]
struct Count {
    instructions: i64,
    /// The largest functions, each by itself.
    functions: BTreeMap<String, i64>,
    /// The service's largest functions, each with all that it calls.
    own: BTreeMap<String, i64>,
}

impl From<&Profile> for Count {
    fn from(profile: &Profile) -> Self {
        Self {
            instructions: profile.total,
            functions: largest(&profile.functions),
            own: largest(&profile.own),
        }
    }
}

fn largest(functions: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    let mut functions: Vec<_> = functions.iter().filter(|(_, cost)| **cost > 0).collect();
    functions.sort_by_key(|(_, cost)| -**cost);
    functions
        .into_iter()
        .take(RECORDED)
        .map(|(name, cost)| (name.clone(), *cost))
        .collect()
}

/// Prints all figures; then records them, or fails if one has grown. One above its budget fails in
/// any case.
pub fn report(recorded: &Record, figures: &[Figure], environment: &str, record: bool) -> ExitCode {
    // Another libc or valgrind alone moves a count by some percent.
    let tolerance = if recorded.environment == environment {
        3.0
    } else {
        10.0
    };
    println!(
        "\n| Figure | Instructions | Spread | Recorded | Change | Budget |\n|---|---|---|---|---|---|"
    );
    for figure in figures {
        let now = figure.median().total;
        let (before, change) =
            recorded
                .counts
                .get(figure.name)
                .map_or_else(Default::default, |before| {
                    let change = percent(now - before.instructions, before.instructions);
                    (grouped(before.instructions), format!("{change:+.2} %"))
                });
        let budget = figure.budget.map(grouped).unwrap_or_default();
        let (name, now, spread) = (figure.name, grouped(now), figure.spread());
        println!("| {name} | {now} | {spread:.2} % | {before} | {change} | {budget} |");
    }
    println!("\nCounted on {environment}.");
    if tolerance > 3.0 && !recorded.counts.is_empty() {
        println!(
            "Recorded on {}: a change of up to {tolerance} % may be the machine's.",
            recorded.environment
        );
    }
    let mut failed = false;
    for figure in figures {
        failed |= is_over_budget(figure);
        failed |= !record && has_grown(figure, recorded, tolerance);
    }
    if record {
        let counts = figures
            .iter()
            .map(|figure| (figure.name.to_owned(), figure.median().into()))
            .collect();
        let record = Record {
            environment: environment.to_owned(),
            counts,
        };
        let text = serde_json::to_string_pretty(&record).expect("JSON");
        std::fs::write(FILE, text + "\n").expect("a file");
        println!(
            "\nRecorded in benches/counts.json. Say in the commit's message why a count has changed."
        );
    } else if failed {
        println!("\nIf this is intended: cargo bench --bench counts -- --record");
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn is_over_budget(figure: &Figure) -> bool {
    let over = figure
        .budget
        .is_some_and(|budget| figure.median().total > budget);
    if over {
        println!("\n{}: ABOVE ITS BUDGET", figure.name);
    }
    over
}

/// Says where a count has grown, or that it has shrunk. One that isn't recorded counts as grown.
fn has_grown(figure: &Figure, recorded: &Record, tolerance: f64) -> bool {
    let now = figure.median();
    let Some(before) = recorded.counts.get(figure.name) else {
        println!("\n{}: not recorded yet", figure.name);
        return true;
    };
    let change = percent(now.total - before.instructions, before.instructions);
    if change < -tolerance {
        println!(
            "\n{}: shrunk by {:.1} %. Record it: cargo bench --bench counts -- --record",
            figure.name, -change
        );
    }
    if change <= tolerance {
        return false;
    }
    println!("\n{}: GROWN by {change:.1} %", figure.name);
    println!("  the service's functions that have grown most, each with all that it calls:");
    print_growth(&now.own, &before.own);
    println!("  all functions that have grown most, each by itself:");
    print_growth(&now.functions, &before.functions);
    true
}

fn print_growth(now: &BTreeMap<String, i64>, before: &BTreeMap<String, i64>) {
    // A function that isn't recorded was smaller than all that are.
    let unrecorded = if before.len() < RECORDED {
        0
    } else {
        before.values().min().copied().unwrap_or_default()
    };
    let growth = |(name, cost): &(&String, &i64)| *cost - before.get(*name).unwrap_or(&unrecorded);
    let mut functions: Vec<_> = now.iter().filter(|function| growth(function) > 0).collect();
    functions.sort_by_key(|function| -growth(function));
    for function in functions.into_iter().take(SHOWN) {
        let (name, cost) = function;
        let least = if before.contains_key(name) {
            ""
        } else {
            "at least "
        };
        println!(
            "    {least}+{}, now {}: {name}",
            grouped(growth(&function)),
            grouped(*cost)
        );
    }
}

fn percent(part: i64, whole: i64) -> f64 {
    part as f64 * 100.0 / whole as f64
}

/// With commas between thousands.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(String::from_utf8_lossy)
        .collect();
    groups.join(",")
}
