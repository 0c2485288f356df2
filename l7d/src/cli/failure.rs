//! Why a command did not do what it was asked to, for people: what failed, the cause, what to do;
//! and the exit code scripts see (`docs/exit-codes.md`).

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

/// How a command can fail.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line makes no sense: exit code 2.
    #[error("{message}")]
    Usage {
        /// What is wrong with it.
        message: String,
        /// What to write instead.
        hint: Option<String>,
    },
    /// Something did not work: exit code 1.
    #[error("{what}: {cause}")]
    Failed {
        /// What failed, with the name of its object.
        what: String,
        /// Why.
        cause: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The answer was given on standard output, and it is no: exit code 1.
    #[error("the answer is no")]
    No,
    /// Output could not be written.
    #[error("cannot write output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// A command line that makes no sense.
    pub fn usage(message: impl Display) -> Self {
        Self::Usage {
            message: message.to_string(),
            hint: None,
        }
    }

    /// Something that did not work.
    pub fn failed(what: impl Into<String>, cause: impl Display) -> Self {
        Self::Failed {
            what: what.into(),
            cause: cause.to_string(),
            hint: None,
        }
    }

    /// The same with advice.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        match &mut self {
            Self::Usage { hint, .. } | Self::Failed { hint, .. } => *hint = Some(advice.into()),
            Self::No | Self::Output(_) => {}
        }
        self
    }

    /// The exit code. A reader that went away (`| head`) is no failure.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage { .. } => ExitCode::from(2),
            Self::Output(_) if self.is_silent() => ExitCode::SUCCESS,
            Self::Failed { .. } | Self::No | Self::Output(_) => ExitCode::FAILURE,
        }
    }

    /// Whether there is nothing to tell.
    pub fn is_silent(&self) -> bool {
        match self {
            Self::No => true,
            Self::Output(error) => error.kind() == io::ErrorKind::BrokenPipe,
            Self::Usage { .. } | Self::Failed { .. } => false,
        }
    }

    /// What standard error shows.
    pub fn message(&self) -> String {
        match self {
            Self::Usage {
                hint: Some(hint), ..
            }
            | Self::Failed {
                hint: Some(hint), ..
            } => {
                format!("l7d: {self}\n  hint: {hint}\n")
            }
            _ => format!("l7d: {self}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_failed_and_what_to_do() {
        let failure = Failure::failed("cannot open flows.json", "no such file").advise("look");
        assert_eq!(
            failure.message(),
            "l7d: cannot open flows.json: no such file\n  hint: look\n"
        );
    }

    #[test]
    fn keeps_quiet_when_the_reader_went_away() {
        assert!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).is_silent());
        assert!(!Failure::from(io::Error::from(io::ErrorKind::StorageFull)).is_silent());
    }
}
