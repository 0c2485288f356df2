//! Policies whose documentation tells what they do, and whether they do it: those of this project
//! (`testdata/policies/recipes`), and those of Cilium and Kubernetes where they are at hand.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot set itself up has failed, and one that leaves something out says so"
)]

mod cilium;
mod cluster;
mod kubernetes;
mod recipes;

use std::path::{Path, PathBuf};

use cluster::Cluster;

/// Asserts that policies do what is told of them: lines of the form `FROM → TO: WHAT passes`, or
/// `fails`.
fn check(name: &str, policies: &str, told: &str) {
    let told = told.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut seen = 0;
    for line in told {
        let (ends, what) = line.rsplit_once(": ").expect(line);
        let (from, to) = ends.split_once(" → ").expect(line);
        let (what, expected) = what.rsplit_once(' ').expect(line);
        assert!(["passes", "fails"].contains(&expected), "{line}");
        let passes = Cluster::new(policies, from, to).passes(what);
        assert_eq!(passes, expected == "passes", "{name}: {line}\n{policies}");
        seen += 1;
    }
    assert!(seen > 0, "nothing is told of {name}");
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A folder of suites written by others, if they are at hand.
fn suite(name: &str) -> Option<PathBuf> {
    let Some(corpora) = std::env::var_os("L7D_CORPORA") else {
        eprintln!("left out: L7D_CORPORA does not name the folder of the suites");
        return None;
    };
    Some(PathBuf::from(corpora).join("suites").join(name))
}
