//! What is measured is what is deployed: built by itself, since `cargo bench` adds its own
//! dependencies' features.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::runtime::Program;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The service's release binary: with `strip` set to `symbols`, as deployed; with `none`, its
/// functions have names. The variable `BINARY` replaces it with another build.
pub fn service(strip: &str) -> PathBuf {
    if let Some(binary) = std::env::var_os("BINARY") {
        return unpacked(Path::new(&binary));
    }
    let strip = format!("profile.release.strip='{strip}'");
    let arguments = ["--release", "--bins", "--config", &strip];
    let target = build(Path::new(ROOT), &target().join("service"), &arguments);
    unpacked(&target.join("release/gaia-api-keys"))
}

/// The binaries of cargo-lambda's template, of the lean hello-world, and of the limit. `quick` builds
/// them without optimization: a minute in place of five.
pub fn hellos(quick: bool) -> [PathBuf; 3] {
    let package = Path::new(ROOT).join("benches/hello");
    let target = target().join("hello");
    let binary = |profile, feature, name| {
        let (profile, folder) = if quick {
            ("dev", "debug")
        } else {
            (profile, profile)
        };
        let features = ["--no-default-features", "--features", feature];
        let arguments = [&["--profile", profile, "--bin", name], &features[..]].concat();
        unpacked(&build(&package, &target, &arguments).join(folder).join(name))
    };
    [
        binary("release", "template", "hello"),
        binary("lean", "", "lean"),
        binary("release", "limit", "limit"),
    ]
}

/// A copy, written in one go like a file that Lambda has unpacked. The kernel keeps a file that a
/// linker wrote in small pieces, and starts it up to a millisecond slower.
fn unpacked(program: &Path) -> PathBuf {
    let directory = target().join("unpacked");
    std::fs::create_dir_all(&directory).expect("a directory");
    let copy = directory.join(program.file_name().expect("a name"));
    std::fs::copy(program, &copy).expect("a copy");
    copy
}

/// The Python function, if its environment exists.
pub fn python() -> Option<Program> {
    let peers = Path::new(ROOT).join("benches/peers");
    let python = peers.join(".venv/bin/python");
    let mut program = Program::new("FastAPI", &python);
    program
        .command
        .extend(["-m", "awslambdaric", "app.handler"].map(str::to_owned));
    let peers = peers.to_str().expect("a path in UTF-8");
    python
        .exists()
        .then(|| program.with(&[("PYTHONPATH", peers), ("LAMBDA_TASK_ROOT", peers)]))
}

/// The binary's size, and its size in a zip.
pub fn sizes(binary: &Path) -> (u64, u64) {
    let size = std::fs::metadata(binary).expect("a file").len();
    let output = Command::new("gzip")
        .args(["-9", "-c"])
        .arg(binary)
        .output()
        .expect("gzip");
    (size, output.stdout.len() as u64)
}

/// The machine, in a line.
pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("an unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "Measured on {}, {cores} cores.",
        model.trim_start_matches([' ', '\t', ':'])
    )
}

fn build(package: &Path, target: &Path, arguments: &[&str]) -> PathBuf {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--target-dir"])
        .arg(target)
        .args(arguments)
        .current_dir(package)
        .status()
        .expect("cargo");
    assert!(status.success(), "cargo build in {}", package.display());
    target.to_owned()
}

/// Cargo's target directory, in which this program lies as release/deps/lambda-….
fn target() -> PathBuf {
    let program = std::env::current_exe().expect("a path");
    program
        .ancestors()
        .nth(3)
        .expect("a target directory")
        .to_owned()
}
