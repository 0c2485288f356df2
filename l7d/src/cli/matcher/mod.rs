//! Filters over flows that were read rather than received: what a server does with a request's
//! filters, done here over the protobuf form.
//!
//! The server's own filters run over records. A flow from a file has fields no record holds
//! (another project's events, summaries, wire texts), so turning it back into a record would lose
//! what is to be printed and filtered; a second, small reading of the filters loses nothing.
//!
//! A filter becomes a list of tests, one per field that is set; a flow matches if all are true.
//! Values within one field are alternatives.

pub(in crate::cli) mod connection;
mod fields;
mod names;

use proto::flow::{Flow, FlowFilter};

use crate::flow::filter::Places;

type Test = Box<dyn Fn(&Flow) -> bool + Send + Sync>;

/// Allow and deny filters, ready to be applied.
#[derive(Default)]
pub struct Matcher {
    allow: Vec<Vec<Test>>,
    deny: Vec<Vec<Test>>,
    connections: Places,
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Matcher")
            .field("allow", &self.allow.len())
            .field("deny", &self.deny.len())
            .field("connections", &self.connections)
            .finish()
    }
}

impl Matcher {
    /// Reads filters. The error says which value cannot be read and why, in the words a server
    /// would use.
    pub fn new(allow: &[FlowFilter], deny: &[FlowFilter]) -> Result<Self, String> {
        let connections = Places::default();
        let read = |filters: &[FlowFilter]| {
            let filters = filters.iter().map(|filter| tests(filter, &connections));
            filters.collect::<Result<_, _>>()
        };
        Ok(Self {
            allow: read(allow)?,
            deny: read(deny)?,
            connections,
        })
    }

    /// Whether it should see all flows once before it judges them.
    pub fn wants_to_learn(&self) -> bool {
        !self.connections.is_empty()
    }

    /// Learns from a flow what it says of others.
    pub fn learn(&self, flow: &Flow) {
        if let Some(sight) = connection::sight(flow) {
            self.connections.learn(&sight);
        }
    }

    /// Whether flows must match something to pass.
    pub fn is_selective(&self) -> bool {
        !self.allow.is_empty()
    }

    /// Whether a flow passes.
    pub fn passes(&self, flow: &Flow) -> bool {
        let matches = |tests: &Vec<Test>| tests.iter().all(|test| test(flow));
        (self.allow.is_empty() || self.allow.iter().any(matches)) && !self.deny.iter().any(matches)
    }
}

fn tests(filter: &FlowFilter, connections: &Places) -> Result<Vec<Test>, String> {
    let mut tests = Vec::new();
    names::tests(filter, &mut tests)?;
    fields::tests(filter, &mut tests)?;
    fields::http_tests(filter, &mut tests)?;
    connection::tests(filter, connections, &mut tests)?;
    Ok(tests)
}

/// Adds a test that is true if one of `values`, each read by `read`, is true of the flow.
fn any<V, R>(
    tests: &mut Vec<Test>,
    values: &[V],
    mut read: impl FnMut(&V) -> Result<R, String>,
    holds: impl Fn(&R, &Flow) -> bool + Send + Sync + 'static,
) -> Result<(), String>
where
    R: Send + Sync + 'static,
{
    if values.is_empty() {
        return Ok(());
    }
    let read = values
        .iter()
        .map(&mut read)
        .collect::<Result<Vec<R>, String>>()?;
    tests.push(Box::new(move |flow| {
        read.iter().any(|value| holds(value, flow))
    }));
    Ok(())
}

#[cfg(test)]
mod tests;
