//! Where flows go on their own, without anybody asking.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Timestamp;

/// An export of flows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// What it is called; no other one has this name.
    pub name: String,
    /// Where flows go, and in which form.
    pub target: ExportTarget,
    /// When not empty, only flows that pass one of these filters: Hubble's `FlowFilter`, as JSON.
    pub allow: Vec<String>,
    /// Flows that pass one of these are left out.
    pub deny: Vec<String>,
    /// After this nothing is exported any more.
    pub end: Option<Timestamp>,
}

/// Where flows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportTarget {
    /// A file with a line of JSON for each flow.
    File(ExportFile, Lines),
    /// The same to the agent's standard output.
    Stdout(Lines),
    /// A collector.
    Otlp(Otlp),
}

/// What a line of JSON tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lines {
    /// Fields of a flow, as in a field mask (`source.pod_name`); empty is all.
    pub fields: Vec<String>,
    /// Flows that are equal in some fields become one line.
    pub aggregate: Option<Aggregate>,
}

/// Flows that are told together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// In what they are equal, as in a field mask; the line has these fields alone.
    pub fields: Vec<String>,
    /// For how long they are gathered.
    pub interval: Duration,
}

/// A file, and its predecessors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportFile {
    /// The file that is written to.
    pub path: PathBuf,
    /// It is set aside before it becomes larger; default 10 MiB, Hubble's.
    pub max_bytes: u64,
    /// It is set aside when its first line is so old.
    pub max_age: Option<Duration>,
    /// Most files that were set aside; default 5, Hubble's.
    pub keep: usize,
    /// Most bytes that they have together.
    pub keep_bytes: Option<u64>,
    /// How long they are kept.
    pub keep_age: Option<Duration>,
    /// Whether they are compressed (gzip); default false, as Hubble's.
    pub compress: bool,
}

/// A collector that speaks OTLP over gRPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otlp {
    /// `http://host:4317`, or `https://…`.
    pub endpoint: String,
    /// What it gets.
    pub signal: Signal,
    /// Sent with every request: credentials.
    pub headers: BTreeMap<String, String>,
    /// PEM file with the CA of the collector's certificate; default: the system's.
    pub ca: Option<PathBuf>,
    /// PEM files with a certificate of our own and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// How long the collector may take for an answer; default 10 s, OTLP's.
    pub timeout: Duration,
}

/// What a collector gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Signal {
    /// A log record for each flow.
    #[default]
    Logs,
    /// A span for each request that is part of a trace.
    Spans,
}

impl ExportFile {
    /// A file with Hubble's bounds.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            max_bytes: 10 << 20,
            max_age: None,
            keep: 5,
            keep_bytes: None,
            keep_age: None,
            compress: false,
        }
    }
}

impl ExportTarget {
    /// What two exports cannot share.
    pub fn place(&self) -> Option<PathBuf> {
        match self {
            Self::File(file, _) => Some(file.path.clone()),
            Self::Stdout(_) => Some("-".into()),
            Self::Otlp(_) => None,
        }
    }
}

impl std::fmt::Display for ExportTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(file, _) => write!(f, "{}", file.path.display()),
            Self::Stdout(_) => f.write_str("standard output"),
            Self::Otlp(otlp) => f.write_str(&otlp.endpoint),
        }
    }
}
