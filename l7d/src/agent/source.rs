//! Where the configuration comes from, to be read again.

use std::path::{Path, PathBuf};

use crate::config::{self, Config, ConfigError};
use crate::renewed::Stamp;

/// What the command line says over the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// `node`.
    pub node: Option<String>,
    /// `metrics.maxSeries`.
    pub max_series: Option<usize>,
    /// `memoryBudget`.
    pub memory_budget: Option<u64>,
}

/// The configuration file, its state when it was last looked at, and what goes over it.
pub(super) struct Source {
    path: Option<PathBuf>,
    stamp: Option<Stamp>,
    overrides: Overrides,
}

impl Source {
    /// The state is taken before the file is first read: an edit in between is seen as one.
    pub(super) fn new(path: Option<PathBuf>, overrides: Overrides) -> Self {
        Self {
            stamp: path.as_deref().and_then(Stamp::of),
            path,
            overrides,
        }
    }

    /// Whether the file is another than when this was last asked. It is looked at now and then: its folder
    /// may be a busy one, and every opening of a file there would wake a watcher.
    pub(super) fn is_new(&mut self) -> bool {
        let stamp = self.path.as_deref().and_then(Stamp::of);
        if stamp.is_none() || stamp == self.stamp {
            return false;
        }
        self.stamp = stamp;
        true
    }

    /// Reads the file; without one everything has its default.
    pub(super) fn read(&self) -> Result<Config, ConfigError> {
        let mut config = match &self.path {
            Some(path) => config::read_config_file(path)?,
            None => Config::default(),
        };
        if let Some(node) = &self.overrides.node {
            config.node.clone_from(node);
        }
        if let Some(max_series) = self.overrides.max_series {
            config.metrics.max_series = max_series;
        }
        if self.overrides.memory_budget.is_some() {
            config.memory_budget = self.overrides.memory_budget;
        }
        Ok(config)
    }

    /// The file, where there is one.
    pub(super) fn file(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}
