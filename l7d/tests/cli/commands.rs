//! `docs/commands.md`: every command with every flag, made of the words of the help texts.
//! `UPDATE_GOLDEN=1` writes it.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, ArgAction, Command, CommandFactory as _};
use l7d::cli::Cli;

const INTRODUCTION: &str = "# Commands\n\n\
    Every command with its flags, as `l7d help COMMAND` tells them. Written by a test from the \
    command line's own definition, so that it cannot be stale. What exit codes mean is in \
    [exit-codes.md](exit-codes.md).\n\n\
    `-h` and `--help` explain a command; `-D`, `--debug` tells on standard error what is being \
    done. Both can stand anywhere.\n";

#[test]
fn every_command_and_flag_is_on_the_page() {
    let mut root = Cli::command();
    root.build();
    let mut page = INTRODUCTION.to_owned();
    for command in root.get_subcommands() {
        write_command(command, "l7d", &mut page);
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/commands.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        page == written,
        "docs/commands.md is stale: run this test with UPDATE_GOLDEN=1"
    );
}

fn write_command(command: &Command, parent: &str, page: &mut String) {
    let name = command.get_name();
    if command.is_hide_set() || name == "help" {
        return;
    }
    let name = format!("{parent} {name}");
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    write!(page, "\n## {name}\n\n{about}.\n").unwrap();
    let long = command.get_long_about().map(ToString::to_string);
    if let Some(more) = long.and_then(|long| Some(long.split_once("\n\n")?.1.to_owned())) {
        write!(page, "\n{more}\n").unwrap();
    }
    let flags: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && !["help", "debug"].contains(&arg.get_id().as_str()))
        .collect();
    if !flags.is_empty() {
        page.push_str("\n| | |\n|---|---|\n");
    }
    for flag in flags {
        writeln!(page, "| {} | {} |", names(flag), meaning(flag)).unwrap();
    }
    for inner in command.get_subcommands() {
        write_command(inner, &name, page);
    }
}

/// How it is written.
fn names(flag: &Arg) -> String {
    // Switches may be given a value as well (`--reply=false`), which nobody has to know.
    let takes_value = flag
        .get_num_args()
        .is_some_and(|count| count.min_values() > 0);
    let value = flag.get_value_names().filter(|_| takes_value);
    let value = value
        .and_then(|names| names.first())
        .map(ToString::to_string);
    if flag.is_positional() {
        return format!("`{}`", value.unwrap_or_default());
    }
    let short = flag.get_short().map(|letter| format!("-{letter}"));
    let long = flag.get_long().map(|word| format!("--{word}"));
    let value = value.map(|name| format!(" {name}")).unwrap_or_default();
    let both: Vec<String> = short
        .into_iter()
        .chain(long)
        .map(|name| format!("`{name}{value}`"))
        .collect();
    both.join(", ").replace('|', "\\|")
}

/// What it does, its default, and where else it can be told.
fn meaning(flag: &Arg) -> String {
    let help = flag.get_long_help().or_else(|| flag.get_help());
    let mut text = help.map(ToString::to_string).unwrap_or_default();
    let values: Vec<String> = flag
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !values.is_empty() && matches!(flag.get_action(), ArgAction::Set | ArgAction::Append) {
        write!(text, "; one of {}", values.join(", ")).unwrap();
    }
    let defaults: Vec<String> = flag
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    let takes_value = matches!(flag.get_action(), ArgAction::Set | ArgAction::Append);
    if takes_value && !defaults.is_empty() && !flag.is_hide_default_value_set() {
        write!(text, " (default: {})", defaults.join(", ")).unwrap();
    }
    if let Some(variable) = flag.get_env() {
        write!(text, " (environment: `{}`)", variable.to_string_lossy()).unwrap();
    }
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}
