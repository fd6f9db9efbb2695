//! The modules of src/ as lib.rs draws them: a module imports only those that stand below it in `ARROWS`, and keys/ has no
//! access to AWS, a clock or I/O.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What each module may import of this crate, itself aside.
const ARROWS: [(&str, &[&str]); 11] = [
    ("main", &["startup", "settings", "logging", "aws", "error"]),
    ("startup", &["api", "authorizer", "settings", "store", "aws", "keys", "error"]),
    ("api", &["settings", "store", "event", "keys", "error"]),
    ("authorizer", &["settings", "store", "event", "keys", "error"]),
    ("event", &[]),
    ("settings", &["keys", "error"]),
    ("logging", &[]),
    ("store", &["keys", "error"]),
    ("aws", &["keys", "error"]),
    ("keys", &["error"]),
    ("error", &[]),
];

/// The crates that keys/ may import: none of them asks the network, a file or a clock by itself.
const CRATES_OF_KEYS: [&str; 11] =
    ["hex", "hmac", "ipnet", "serde", "serde_json", "sha2", "std", "strsim", "time", "ulid", "zeroize"];

/// What keys/ may not name, since it is AWS, a clock, or input and output.
const NOT_IN_KEYS: [&str; 15] = [
    "aws_",
    "lambda_",
    "tokio",
    "tracing",
    "std::time",
    "now_utc",
    "SystemTime",
    "Instant",
    "generate(",
    "std::fs",
    "std::env",
    "std::io",
    "std::process",
    "std::net::Tcp",
    "std::net::Udp",
];

/// A file of src/: the path of its module, and its text without comments and unit tests.
struct Module {
    path: Vec<String>,
    code: String,
}

impl Module {
    fn name(&self) -> String {
        self.path.join("/")
    }

    /// The paths that it names of this crate, without `crate` or `gaia_api_keys`.
    fn imports(&self) -> Vec<Vec<String>> {
        let parent = &self.path[..self.path.len() - 1];
        let roots: [(&str, &[String]); 3] = [("crate::", &[]), ("gaia_api_keys::", &[]), ("super::", parent)];
        let mut imports = Vec::new();
        for (root, base) in roots {
            for (start, _) in self.code.match_indices(root) {
                let before = self.code[..start].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                    continue;
                }
                assert!(before != Some(':'), "{}: a path through super::super", self.name());
                assert!(root != "super::" || !base.is_empty(), "{}: super is the crate: write crate::", self.name());
                paths(&self.code[start + root.len()..], base, &mut imports);
            }
        }
        imports
    }
}

/// The paths at the beginning of a text, below `base`: of `a::{b, c::D}` they are `a::b` and `a::c::D`. Returns the text
/// behind them.
fn paths<'a>(text: &'a str, base: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = paths(rest, base, found).trim_start();
            match rest.strip_prefix(',') {
                Some(more) if !more.trim_start().starts_with('}') => rest = more,
                Some(more) => return more.trim_start().strip_prefix('}').expect("a brace"),
                None => return rest.strip_prefix('}').unwrap_or_else(|| panic!("no path: {rest:.40}")),
            }
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let path = if name == "self" { base.to_vec() } else { [base, &[name.to_owned()]].concat() };
    match rest.strip_prefix("::") {
        Some(below) => paths(below, &path, found),
        None => {
            found.push(path);
            rest
        }
    }
}

fn modules() -> Vec<Module> {
    fn read(folder: &Path, above: &[String], modules: &mut Vec<Module>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let file = entry.expect("an entry").path();
            let name = file.file_stem().and_then(|name| name.to_str()).expect("a name");
            let path = [above, &[name.to_owned()]].concat();
            if file.is_dir() {
                read(&file, &path, modules);
            } else if file.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&file).expect("a file");
                let code = text.split("#[cfg(test)]\nmod tests").next().expect("code");
                let lines = code.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
                modules.push(Module { path, code: lines.collect::<Vec<_>>().join("\n") });
            }
        }
    }
    let mut modules = Vec::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &[], &mut modules);
    assert!(modules.len() > 20, "{} modules", modules.len());
    modules
}

#[test]
fn arrows_point_down() {
    for module in modules() {
        let top = module.path[0].as_str();
        if top == "lib" {
            continue;
        }
        let (_, allowed) = ARROWS.iter().find(|(name, _)| *name == top).unwrap_or_else(|| panic!("new module: {top}"));
        for import in module.imports() {
            let target = import[0].as_str();
            assert!(target == top || allowed.contains(&target), "{} imports {}", module.name(), import.join("::"));
        }
    }
    for (place, (name, below)) in ARROWS.iter().enumerate() {
        let lower = |below: &&str| ARROWS[place + 1..].iter().any(|(other, _)| other == below);
        assert!(below.iter().all(lower), "an arrow of {name} points up");
    }
}

/// A file and those in the folder of its name don't import each other. The parts of store/ are one: each adds methods to
/// `Store`.
#[test]
fn no_file_imports_itself_by_way_of_others() {
    let modules = modules();
    let names: BTreeSet<String> = modules.iter().map(Module::name).collect();
    let node = |name: String| if name.starts_with("store/") { "store".to_owned() } else { name };
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for module in modules.iter().filter(|module| module.path != ["lib"]) {
        let targets = edges.entry(node(module.name())).or_default();
        for import in module.imports() {
            let file = (1..=import.len()).rev().map(|len| import[..len].join("/")).find(|name| names.contains(name));
            targets.insert(node(file.unwrap_or_else(|| panic!("no file: {}", import.join("::")))));
        }
        let below = format!("{}/", module.name());
        targets.extend(names.iter().filter(|name| name.starts_with(&below)).cloned().map(node));
    }
    for (name, targets) in &mut edges {
        targets.remove(name);
    }
    // Takes away what imports nothing that is left; a cycle stays.
    while let Some(leaf) = edges.iter().find(|(_, targets)| targets.is_empty()).map(|(name, _)| name.clone()) {
        edges.remove(&leaf);
        for targets in edges.values_mut() {
            targets.remove(&leaf);
        }
    }
    // Takes away what nothing left imports.
    while let Some(top) = edges.keys().find(|name| !edges.values().any(|targets| targets.contains(*name))).cloned() {
        edges.remove(&top);
    }
    assert!(edges.is_empty(), "a cycle: {edges:#?}");
}

#[test]
fn keys_know_no_aws_no_clock_and_no_io() {
    for module in modules().iter().filter(|module| module.path[0] == "keys") {
        for name in NOT_IN_KEYS {
            assert!(!module.code.contains(name), "{} names {name}", module.name());
        }
        let uses =
            module.code.lines().filter_map(|line| line.trim_start().trim_start_matches("pub ").strip_prefix("use "));
        for path in uses {
            let root = path.trim_start_matches("::").split(':').next().expect("a path");
            let known = ["crate", "super"].contains(&root) || CRATES_OF_KEYS.contains(&root);
            assert!(known, "{} imports {path}", module.name());
        }
    }
}

/// lib.rs and docs/architecture.md show one picture, and every file of src/ is in it.
#[test]
fn the_picture_shows_every_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let picture = |file: &str, comment: &str| {
        let text = std::fs::read_to_string(root.join(file)).expect("a file");
        let block = text.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a picture");
        block.lines().map(|line| line.strip_prefix(comment).unwrap_or(line).trim_end()).collect::<Vec<_>>().join("\n")
    };
    let drawn = picture("src/lib.rs", "//!").replace("\n ", "\n");
    assert_eq!(drawn.trim(), picture("docs/architecture.md", "").trim());

    let mut shown = BTreeSet::new();
    let mut rest = drawn.as_str();
    while let Some((before, after)) = rest.split_once(".rs") {
        match before.rsplit_once('{').filter(|_| before.ends_with('}')) {
            Some((folder, parts)) => {
                let folder = folder.rsplit(char::is_whitespace).next().expect("a folder");
                shown.extend(parts.trim_end_matches('}').split(", ").map(|part| format!("{folder}{part}")));
            }
            None => shown.extend(before.rsplit([' ', '\n']).next().map(str::to_owned)),
        }
        rest = after;
    }
    assert_eq!(shown, modules().iter().map(Module::name).collect());
}
