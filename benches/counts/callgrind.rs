//! A function under callgrind, which counts the instructions of a whole process.

use std::collections::BTreeMap;
use std::ops::Sub;
use std::process::Command;
use std::time::Duration;

use crate::aws::Aws;
use crate::runtime::{Function, Program};

/// Instructions, in all and by function.
#[derive(Clone, Default)]
pub struct Profile {
    pub total: i64,
    /// Of each function by itself.
    pub functions: BTreeMap<String, i64>,
    /// Of each function of the service, with all that it calls.
    pub own: BTreeMap<String, i64>,
}

/// How the names of the service's functions begin, after a `<` for those of a trait.
const OWN: &str = "gaia_api_keys::";

/// Valgrind's version, where it is installed.
pub fn version() -> Option<String> {
    output("valgrind", &["--version"])
}

/// What counts depend on beside the source: two machines with the same text count the same.
pub fn environment() -> String {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let avx2 = if processor.contains(" avx2 ") {
        "with"
    } else {
        "without"
    };
    let unknown = || "unknown".to_owned();
    let libc = output("getconf", &["GNU_LIBC_VERSION"]).unwrap_or_else(unknown);
    format!(
        "{} {avx2} AVX2, {libc}, {}",
        std::env::consts::ARCH,
        version().unwrap_or_else(unknown)
    )
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A start and a number of invocations with the same event, whose responses all contain a text. On
/// a busy machine, callgrind slows the function so much that a request times out and is retried;
/// such a run doesn't count.
pub async fn count(
    aws: &Aws,
    program: &Program,
    event: &str,
    expected: &str,
    invocations: u64,
) -> Profile {
    let usual = run(aws, program, event, expected, invocations).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut callgrind = program.clone();
    let out = format!("--callgrind-out-file={}", file.path().display());
    let command = [
        "valgrind",
        "--quiet",
        "--tool=callgrind",
        "--compress-strings=no",
        "--compress-pos=no",
        &out,
    ];
    callgrind.command.splice(0..0, command.map(str::to_owned));
    for _ in 0..5 {
        if run(aws, &callgrind, event, expected, invocations).await == usual {
            return Profile::parse(&std::fs::read_to_string(file.path()).expect("a profile"));
        }
        println!("A request was retried, so the run is repeated.");
    }
    panic!("the machine is too busy: requests time out under callgrind")
}

/// Returns how many connections and requests to AWS it took.
async fn run(
    aws: &Aws,
    program: &Program,
    event: &str,
    expected: &str,
    invocations: u64,
) -> [u64; 2] {
    let before = [aws.connections(), aws.requests()];
    let mut function = Function::start(program).await;
    for _ in 0..invocations {
        let response = String::from_utf8(function.invoke(event).await.body).expect("text");
        assert!(response.contains(expected), "{response}");
    }
    // The function has asked for its next event; now it goes to sleep.
    tokio::time::sleep(Duration::from_millis(100)).await;
    [aws.connections() - before[0], aws.requests() - before[1]]
}

impl Profile {
    /// Reads callgrind's file. A line of numbers is a position and a cost: of the function itself,
    /// or, after `calls=`, of one that it called.
    fn parse(text: &str) -> Self {
        let mut profile = Self::default();
        let mut function = String::new();
        let mut called = false;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                name.clone_into(&mut function);
            } else if line.starts_with("calls=") {
                called = true;
            } else if line.starts_with(|first: char| first.is_ascii_digit()) {
                let cost = line
                    .split(' ')
                    .nth(1)
                    .and_then(|cost| cost.parse::<i64>().ok())
                    .expect("a cost");
                if function.trim_start_matches('<').starts_with(OWN) {
                    *profile.own.entry(function.clone()).or_default() += cost;
                }
                if !std::mem::take(&mut called) {
                    *profile.functions.entry(function.clone()).or_default() += cost;
                }
            } else if let Some(total) = line.strip_prefix("totals: ") {
                profile.total = total.parse().expect("a count");
            }
        }
        assert!(
            profile.total > 0 && profile.functions.values().sum::<i64>() == profile.total,
            "not callgrind's file"
        );
        profile
    }

    /// One of so many equal parts.
    pub fn part(mut self, parts: u64) -> Self {
        let parts = i64::try_from(parts).expect("a number");
        self.total /= parts;
        self.functions
            .values_mut()
            .chain(self.own.values_mut())
            .for_each(|cost| *cost /= parts);
        self
    }
}

impl Sub for Profile {
    type Output = Self;

    fn sub(mut self, other: Self) -> Self {
        self.total -= other.total;
        for (ours, theirs) in [
            (&mut self.functions, other.functions),
            (&mut self.own, other.own),
        ] {
            for (name, cost) in theirs {
                *ours.entry(name).or_default() -= cost;
            }
        }
        self
    }
}
