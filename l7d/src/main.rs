//! Arguments → command → exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    l7d::cli::run(std::env::args_os())
}
