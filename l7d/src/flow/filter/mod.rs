//! `FlowFilter` → predicate over records, one function per kind of field.
//!
//! Within a filter all fields must match, within a field any value; a flow passes if any filter of
//! the white list matches (or there is none) and no filter of the black list does.

mod cel;
mod connection;
mod http;
mod identity;
mod pattern;
mod selector;
mod transport;
mod url;

use std::sync::Arc;

use proto::flow::FlowFilter;

pub use cel::Expression;
pub use connection::{Places, Sight};
pub use pattern::{NamePattern, NodePattern};
pub use selector::Selector;
pub use url::path as url_path;

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
    connections: Places,
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
        let connections = Places::default();
        let build = |filters: &[FlowFilter]| {
            filters
                .iter()
                .map(|filter| Filter::new(filter, node, &connections))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            white: build(white)?,
            black: build(black)?,
            connections,
        })
    }

    /// Whether they should see all records once before they judge them.
    pub fn wants_to_learn(&self) -> bool {
        !self.connections.is_empty()
    }

    /// Learns from a record what it says of others.
    pub fn learn(&self, record: &Record) {
        connection::learn(&self.connections, record);
    }

    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        self.white.is_empty() && self.black.is_empty()
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
    fn new(
        filter: &FlowFilter,
        node: &Arc<NodeView>,
        connections: &Places,
    ) -> Result<Self, FilterError> {
        let mut checks = Vec::new();
        identity::add(filter, &mut checks)?;
        transport::add(filter, node, &mut checks)?;
        http::add(filter, &mut checks)?;
        connection::add(filter, connections, &mut checks)?;
        add_expressions(filter, node, &mut checks)?;
        Ok(Self(checks))
    }
}

/// Expressions come last: they need the flow of the record, which is more than all other checks cost.
fn add_expressions(
    filter: &FlowFilter,
    node: &Arc<NodeView>,
    checks: &mut Vec<Check>,
) -> Result<(), FilterError> {
    let texts = filter.experimental.iter();
    let texts = texts.flat_map(|experimental| &experimental.cel_expression);
    let read = texts.map(|text| {
        Expression::parse(text).map_err(|message| FilterError {
            field: "experimental.cel_expression",
            message: format!("`{text}`: {message}"),
        })
    });
    let expressions = read.collect::<Result<Vec<_>, _>>()?;
    if !expressions.is_empty() {
        let node = Arc::clone(node);
        checks.push(Box::new(move |record| {
            let flow = node.flow(record);
            expressions
                .iter()
                .any(|expression| expression.is_true_of(&flow))
        }));
    }
    Ok(())
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
