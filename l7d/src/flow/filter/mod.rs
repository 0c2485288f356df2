//! `FlowFilter` → predicate over records, one function per kind of field.
//!
//! Within a filter all fields must match, within a field any value; a flow passes if any filter of
//! the white list matches (or there is none) and no filter of the black list does.

mod http;
mod identity;
mod pattern;
mod transport;

use std::sync::Arc;

use proto::flow::FlowFilter;

use super::view::NodeView;
use crate::record::{Party, Record};

/// Why a filter cannot be used. Clients print it as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid filter: {field}: {message}")]
pub struct FilterError {
    /// Field of the filter.
    pub field: &'static str,
    /// The value and what is wrong with it.
    pub message: String,
}

pub(super) type Check = Box<dyn Fn(&Record) -> bool + Send + Sync>;

/// All fields of one filter.
struct Filter(Vec<Check>);

/// White list and black list of a request.
#[derive(Default)]
pub struct Filters {
    white: Vec<Filter>,
    black: Vec<Filter>,
}

impl std::fmt::Debug for Filters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Filters({} allow, {} deny)",
            self.white.len(),
            self.black.len()
        )
    }
}

impl Filters {
    /// Prepares the filters of a request.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn new(
        white: &[FlowFilter],
        black: &[FlowFilter],
        node: &Arc<NodeView>,
    ) -> Result<Self, FilterError> {
        let build = |filters: &[FlowFilter]| {
            filters
                .iter()
                .map(|filter| Filter::new(filter, node))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            white: build(white)?,
            black: build(black)?,
        })
    }

    /// Whether a record passes.
    pub fn pass(&self, record: &Record) -> bool {
        let matches = |filter: &Filter| filter.0.iter().all(|check| check(record));
        (self.white.is_empty() || self.white.iter().any(matches)) && !self.black.iter().any(matches)
    }
}

/// Which end of a flow a field speaks of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Destination,
}

impl End {
    pub(super) fn of(self, record: &Record) -> &Party {
        match self {
            Self::Source => &record.source,
            Self::Destination => &record.destination,
        }
    }
}

impl Filter {
    fn new(filter: &FlowFilter, node: &Arc<NodeView>) -> Result<Self, FilterError> {
        let mut checks = Vec::new();
        identity::add(filter, &mut checks)?;
        transport::add(filter, node, &mut checks)?;
        http::add(filter, &mut checks)?;
        if filter
            .experimental
            .as_ref()
            .is_some_and(|e| !e.cel_expression.is_empty())
        {
            return Err(FilterError {
                field: "experimental.cel_expression",
                message: "CEL expressions are not supported".to_owned(),
            });
        }
        Ok(Self(checks))
    }
}

/// Adds a check that passes if any of the values does; none at all adds nothing.
pub(super) fn any<T: Send + Sync + 'static>(
    checks: &mut Vec<Check>,
    values: Vec<T>,
    matches: impl Fn(&T, &Record) -> bool + Send + Sync + 'static,
) {
    if !values.is_empty() {
        checks.push(Box::new(move |record| {
            values.iter().any(|value| matches(value, record))
        }));
    }
}

/// Adds a check on something that no record of this version has.
pub(super) fn never<T>(checks: &mut Vec<Check>, values: &[T]) {
    if !values.is_empty() {
        checks.push(Box::new(|_| false));
    }
}

#[cfg(test)]
mod tests;
