//! The project's own captures, and what another dissector sees in them: both are committed.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};

use super::captures::Set;
use super::dissect;
use super::exceptions::Exceptions;
use crate::run::{say, workspace};
use crate::{fixtures, setup};

/// What all files of the truth may have: they are committed.
const BYTES: usize = 400 << 10;

fn folder() -> PathBuf {
    workspace().join("testdata/truth")
}

/// The captures with their truth.
pub(super) fn set() -> anyhow::Result<Set> {
    let captures = fixtures::captures()?;
    for (capture, _) in &captures {
        let truth = truth_of(capture);
        ensure!(truth.is_file(), "{} is missing", truth.display());
    }
    Ok(Set {
        name: "own captures",
        captures: captures.into_iter().map(|(capture, _)| capture).collect(),
        truth: folder(),
        exceptions: Exceptions::read(include_str!("own.tsv"))?,
    })
}

fn truth_of(capture: &std::path::Path) -> PathBuf {
    let name = capture.file_name().unwrap_or_default();
    folder().join(format!("{}.jsonl", name.display()))
}

/// Writes down what tshark sees in the captures.
pub(crate) fn write() -> anyhow::Result<()> {
    setup::dissector()?;
    std::fs::create_dir_all(folder())?;
    let mut bytes = 0;
    let captures = fixtures::captures()?;
    for (capture, decode) in &captures {
        let truth =
            dissect::messages(capture, decode).with_context(|| capture.display().to_string())?;
        bytes += truth.len();
        std::fs::write(truth_of(capture), truth)?;
    }
    for file in std::fs::read_dir(folder())? {
        let path = file?.path();
        if !captures
            .iter()
            .any(|(capture, _)| truth_of(capture) == path)
        {
            std::fs::remove_file(path)?;
        }
    }
    say(&format!(
        "{} captures, {bytes} bytes of truth",
        captures.len()
    ));
    ensure!(
        bytes <= BYTES,
        "more than {BYTES} bytes are too many to commit"
    );
    Ok(())
}
