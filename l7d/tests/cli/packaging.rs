//! The systemd unit: its command lines are ours, and its rights those that are documented.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Parser as _;
use l7d::cli::{Cli, Command};

fn project(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn the_units_command_lines_are_ours() {
    let unit = project("packaging/l7d.service");
    let lines: Vec<&str> = unit
        .lines()
        .filter(|line| line.starts_with("Exec") && line.contains("/l7d "))
        .filter_map(|line| Some(line.split_once('=')?.1))
        .collect();
    assert_eq!(lines.len(), 3);
    for line in lines {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Command::Agent(agent) = cli.command else {
            panic!("{line}");
        };
        assert_eq!(agent.config, Some("/etc/l7d/l7d.yaml".into()));
    }
}

#[test]
fn the_unit_gives_what_the_agent_has_a_use_for() {
    let unit = project("packaging/l7d.service");
    let bounds = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let given: BTreeSet<&str> = bounds.unwrap().split(' ').collect();
    let page = project("docs/rights.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut told: BTreeSet<&str> = rows
        .filter_map(|row| row.split('`').next())
        .filter(|name| name.starts_with("CAP_"))
        .collect();
    // Used before the agent's capabilities are lessened, on kernels of old.
    assert!(told.remove("CAP_SYS_RESOURCE"));
    assert_eq!(given, told);
}
