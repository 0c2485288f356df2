//! The guide's commands that need no privileges, run as they stand there.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::blocks::{blocks, page};

/// Marks that one of the tests knows what to do with.
const MARKS: [&str; 5] = [
    "run",
    "run=node",
    "run=node-background",
    "run=node-stopped",
    "shown",
];
const WITH_NAMES: [&str; 4] = ["file=", "node-file=", "run=pod:", "not-run="];

#[test]
fn every_block_of_the_guide_is_run_or_named_as_not_run() {
    let page = page();
    let mut named = BTreeSet::new();
    for block in blocks(&page) {
        let mark = block.mark.as_str();
        let is_known = MARKS.contains(&mark) || WITH_NAMES.iter().any(|of| mark.starts_with(of));
        assert!(is_known, "line {}: `{mark}` says nothing", block.line);
        if let Some(word) = mark.strip_prefix("not-run=") {
            named.insert(word.to_owned());
        }
    }
    let (_, table) = page.split_once("not run by a test").expect("the table");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let told: BTreeSet<String> = rows
        .filter_map(|row| Some(row.split_once('`')?.0.to_owned()))
        .collect();
    assert_eq!(named, told);
}

#[test]
fn commands_of_the_guide_do_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for name in ["testdata", "demo"] {
        symlink(
            project.join(name).canonicalize().unwrap(),
            folder.path().join(name),
        )
        .unwrap();
    }
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_l7d"), folder.path().join("bin/l7d")).unwrap();
    let mut ran = 0;
    for block in blocks(&page()) {
        if let Some(name) = block.mark.strip_prefix("file=") {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, &block.body).unwrap();
        }
        if block.mark != "run" {
            continue;
        }
        for command in block.commands() {
            let output = Command::new("/bin/sh")
                .args(["-c", &format!("exec 2>&1\n{}", command.text)])
                .current_dir(folder.path())
                .env_clear()
                .env(
                    "PATH",
                    format!("{}/bin:/usr/bin:/bin", folder.path().display()),
                )
                .env("HOME", folder.path())
                .env("COLUMNS", "100")
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            if let Err(difference) = command.compare(output.status.code(), &text) {
                panic!("docs/guide.md:{}: {difference}", block.line);
            }
            ran += 1;
        }
    }
    assert!(ran > 0);
}
