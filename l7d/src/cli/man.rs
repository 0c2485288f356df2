//! `l7d man`: manual pages, made of the same words as the help texts.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;

use super::failure::Failure;

/// Arguments of `l7d man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  l7d man | man -l -                                   read the first page
  sudo l7d man --into /usr/local/share/man/man1        install all of them: man l7d-observe")]
pub struct ManArgs {
    /// Folder to write a page for each command into; without it, the first page is shown
    #[arg(long, value_name = "FOLDER")]
    pub into: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &ManArgs, mut command: Command) -> Result<(), Failure> {
    command.build();
    match &args.into {
        None => {
            let mut page = Vec::new();
            Man::new(command).render(&mut page)?;
            io::stdout().lock().write_all(&page)?;
            Ok(())
        }
        Some(folder) => {
            let fault = |error| {
                Failure::failed(
                    format!("cannot write pages into {}", folder.display()),
                    error,
                )
            };
            std::fs::create_dir_all(folder).map_err(fault)?;
            write(&command, "l7d", folder).map_err(fault)
        }
    }
}

/// Writes the page of a command, and those of its commands: `l7d-observe-flows.1`.
fn write(command: &Command, name: &str, folder: &Path) -> io::Result<()> {
    for inner in command.get_subcommands() {
        if !inner.is_hide_set() && inner.get_name() != "help" {
            write(inner, &format!("{name}-{}", inner.get_name()), folder)?;
        }
    }
    let mut page = Vec::new();
    Man::new(command.clone().name(name.to_owned())).render(&mut page)?;
    std::fs::write(folder.join(format!("{name}.1")), page)
}
