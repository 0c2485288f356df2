//! `l7d completion`: scripts that complete commands and flags.

use std::io::{self, Write};

use clap::{Args, Command};
use clap_complete::Shell;

use super::failure::Failure;

/// Arguments of `l7d completion`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(l7d completion bash)
  l7d completion zsh > \"${fpath[1]}/_l7d\"
  l7d completion fish > ~/.config/fish/completions/l7d.fish")]
pub struct CompletionArgs {
    /// The shell
    pub shell: Shell,
}

/// Runs the command.
pub fn run(args: &CompletionArgs, command: &mut Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "l7d", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(())
}
