//! The tree is as docs/style.md says: who may import whom, how large files may be, and that
//! docs/compatibility.md names what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use bonded_registry::ecr::OPERATIONS;

/// Whom each crate may name: what its arrows reach.
const ARROWS: &[(&str, &[&str])] = &[
    ("oci", &[]),
    ("iam", &[]),
    ("scan", &["oci"]),
    ("sign", &["oci"]),
    ("blob", &[]),
    ("db", &[]),
    ("account", &["iam", "db"]),
    ("registry", &["account", "blob", "scan", "sign", "iam", "db", "oci"]),
    ("server", &["registry", "account", "blob", "scan", "sign", "iam", "db", "oci"]),
];

/// What only one crate may depend on.
const WALLS: &[(&str, &str)] = &[
    ("rusqlite", "db"),
    ("postgres", "db"),
    ("tokio-postgres-rustls", "db"),
    ("object_store", "blob"),
    ("axum", "server"),
    ("hyper", "server"),
    ("rcgen", "server"),
];

/// Lines of a file without its tests: above this it is listed, or refused.
const LISTED: usize = 400;
const REFUSED: usize = 1_000;

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap()
}

fn crates() -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.path()))
        .filter(|(_, path)| path.join("Cargo.toml").exists())
        .collect()
}

/// The names under `[dependencies]` of a manifest, and those for tests.
fn dependencies(manifest: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(manifest).unwrap();
    let mut names = BTreeSet::new();
    let mut within = false;
    for line in text.lines() {
        if line.starts_with('[') {
            within = line.contains("dependencies");
        } else if within && let Some(name) = line.split(['.', '=', ' ']).next() {
            names.insert(name.to_owned());
        }
    }
    names.remove("");
    names
}

/// Every source file of ours.
fn sources() -> Vec<PathBuf> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|it| it == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join("crates"), &mut found);
    found.sort();
    found
}

#[test]
fn an_arrow_points_down() {
    for (name, path) in crates() {
        let allowed = ARROWS.iter().find(|(from, _)| *from == name);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("give crates/{name} its arrows"));
        for dependency in dependencies(&path.join("Cargo.toml")) {
            let Some(to) = dependency.strip_prefix("bonded-") else { continue };
            assert!(allowed.contains(&to), "crates/{name} must not name crates/{to}");
        }
    }
}

#[test]
fn a_wall_has_one_crate_behind_it() {
    for (name, path) in crates() {
        let dependencies = dependencies(&path.join("Cargo.toml"));
        for (dependency, owner) in WALLS {
            let crosses = dependencies.contains(*dependency) && name != *owner;
            assert!(!crosses, "crates/{name} must not depend on {dependency}: crates/{owner} does");
        }
    }
}

/// `forbid` cannot be allowed again further in, so the manifests decide it for every line.
#[test]
fn no_crate_has_unsafe_code() {
    let manifest = |path: PathBuf| fs::read_to_string(path.join("Cargo.toml")).unwrap();
    let forbids = "unsafe_code = \"forbid\"";
    assert!(manifest(root()).contains(&format!("[workspace.lints.rust]\n{forbids}")));
    for (name, path) in crates() {
        assert!(manifest(path).contains("[lints]\nworkspace = true"), "{name}");
    }
    // A workspace of its own.
    assert!(manifest(root().join("fuzz")).contains(&format!("[lints.rust]\n{forbids}")));
}

#[test]
fn only_egress_calls_out() {
    for path in sources() {
        if path.ends_with("account/src/egress.rs") || path.ends_with("it/tidy.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("reqwest::"), "{} calls out by itself", path.display());
    }
}

/// Jobs use what they share with operations, never an operation, nor one operation another.
#[test]
fn operations_do_not_call_each_other() {
    for path in sources() {
        let shown = path.display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        if shown.contains("registry/src/jobs") {
            assert!(!text.contains("crate::ecr"), "{shown} uses an operation");
        }
    }
}

/// A file's tests are what stands below its first `#[cfg(test)]` module.
#[test]
#[expect(clippy::print_stdout, reason = "a list for whoever asks, not a failure")]
fn files_are_small() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().count();
        assert!(lines <= REFUSED, "{} has {lines} lines", path.display());
        if lines > LISTED {
            println!("{lines:5} {}", path.display());
        }
    }
}

#[test]
fn files_say_what_they_are_for() {
    // What a `tests.rs` is for is plain from its name.
    for path in sources().into_iter().filter(|path| !path.ends_with("tests.rs")) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!"), "{} begins without //!", path.display());
    }
}

/// `| DescribeImages | differs | … |` of the first table.
fn compatibility() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("docs/compatibility.md")).unwrap();
    let table = text.split("## The registry API").next().unwrap();
    let mut states = BTreeMap::new();
    for line in table.lines().filter(|line| line.starts_with("| ")) {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (Some(name), Some(state)) = (cells.next(), cells.next()) else { continue };
        if name != "operation" {
            states.insert(name.to_owned(), state.to_owned());
        }
    }
    states
}

#[test]
fn the_documents_name_every_operation() {
    let states = compatibility();
    assert_eq!(states.len(), 62, "the API has 62 operations");
    for (operation, state) in &states {
        let served = OPERATIONS.iter().any(|(name, _)| name == operation);
        let expected = if served { ["same", "differs"].as_slice() } else { &["not yet"] };
        assert!(expected.contains(&state.as_str()), "{operation} is documented as `{state}`");
    }
    for (operation, _) in OPERATIONS {
        assert!(states.contains_key(*operation), "docs/compatibility.md lacks {operation}");
    }
}
