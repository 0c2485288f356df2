//! What people read: flows, agent events and statuses as lines, records, tables and JSON.
//!
//! Layouts are those of the Hubble command line, byte for byte, so that scripts made for it keep
//! working. One file per form:
//!
//! | file | form |
//! |---|---|
//! | [`compact`](mod@compact) | one line per flow |
//! | [`dict`] | one block of `KEY: value` per flow |
//! | [`table`] | columns, printed when the stream ends |
//! | [`json`] | one JSON object per line |
//!
//! What they share: [`text`] (what stands in a cell), [`style`] (time formats, colours,
//! sanitising), [`events`] (agent and debug events), [`status`] and [`list`] (everything else).
//! Everything takes a response and a writer; nothing here knows of servers or arguments.

pub mod audit;
pub mod cases;
pub mod compact;
pub mod dict;
mod drops;
pub mod events;
pub mod findings;
pub mod json;
mod ledger;
pub mod list;
mod messages;
pub mod policy;
pub mod service_map;
pub mod status;
pub mod style;
pub mod table;
pub mod text;
pub mod timeline;

use std::io::{self, Write};

use proto::observer::get_flows_response::ResponseTypes;
use proto::observer::{GetAgentEventsResponse, GetDebugEventsResponse, GetFlowsResponse};

pub(crate) use drops::text as drop_reason;
pub use messages::MessageLines;
pub(crate) use style::Safe;
pub use style::{Form, Style, TimeFormat};

/// Writes responses to one place in one form; node statuses of the text forms go to a second one.
#[derive(Debug)]
pub struct Printer<W: Write, E: Write> {
    out: W,
    err: E,
    style: Style,
    table: table::Table,
    wrote: bool,
}

impl<W: Write, E: Write> Printer<W, E> {
    /// A printer that writes to `out`, and what concerns the stream itself to `err`.
    pub fn new(out: W, err: E, style: Style) -> Self {
        let table = table::Table::new();
        Self {
            out,
            err,
            style,
            table,
            wrote: false,
        }
    }

    /// Prints a flow, a number of lost events or a node status.
    pub fn flows(&mut self, response: &GetFlowsResponse) -> io::Result<()> {
        if self.style.form == Form::Json {
            return self.flows_json(response);
        }
        match &response.response_types {
            Some(ResponseTypes::Flow(flow)) => match self.style.form {
                Form::Compact => compact::flow(&mut self.out, self.style, flow),
                Form::Dict => {
                    separate(&mut self.out, &mut self.wrote)?;
                    dict::flow(&mut self.out, self.style, flow)
                }
                Form::Table | Form::Json => {
                    self.table.flow(self.style, flow);
                    Ok(())
                }
            },
            Some(ResponseTypes::LostEvents(lost)) => match self.style.form {
                Form::Compact => compact::lost(&mut self.out, self.style, response, lost),
                Form::Dict => {
                    separate(&mut self.out, &mut self.wrote)?;
                    dict::lost(&mut self.out, self.style, response, lost)
                }
                Form::Table | Form::Json => {
                    self.table.lost(self.style, response, lost);
                    Ok(())
                }
            },
            Some(ResponseTypes::NodeStatus(status)) => {
                if !text::shows_node_status(self.style, status) {
                    return Ok(());
                }
                if self.style.form == Form::Dict {
                    separate(&mut self.err, &mut self.wrote)?;
                    return dict::node_status(&mut self.err, self.style, response, status);
                }
                compact::node_status(&mut self.err, self.style, response, status)
            }
            None => Ok(()),
        }
    }

    fn flows_json(&mut self, response: &GetFlowsResponse) -> io::Result<()> {
        match &response.response_types {
            Some(ResponseTypes::Flow(flow)) if self.style.bare_flows => {
                json::line(&mut self.out, flow)
            }
            Some(ResponseTypes::NodeStatus(status)) => {
                if text::shows_node_status(self.style, status) {
                    json::response(&mut self.err, response)?;
                }
                Ok(())
            }
            Some(_) => json::response(&mut self.out, response),
            None => Ok(()),
        }
    }

    /// Prints an agent event.
    pub fn agent_event(&mut self, response: &GetAgentEventsResponse) -> io::Result<()> {
        match self.style.form {
            Form::Json => json::line(&mut self.out, response),
            Form::Compact => events::agent_compact(&mut self.out, self.style, response),
            Form::Dict => {
                separate(&mut self.out, &mut self.wrote)?;
                events::agent_dict(&mut self.out, self.style, response)
            }
            Form::Table => {
                let (header, row) = events::agent_row(self.style, response);
                self.table.row(&header, &row);
                Ok(())
            }
        }
    }

    /// Prints a debug event.
    pub fn debug_event(&mut self, response: &GetDebugEventsResponse) -> io::Result<()> {
        match self.style.form {
            Form::Json => json::line(&mut self.out, response),
            Form::Compact => events::debug_compact(&mut self.out, self.style, response),
            Form::Dict => {
                separate(&mut self.out, &mut self.wrote)?;
                events::debug_dict(&mut self.out, self.style, response)
            }
            Form::Table => {
                let (header, row) = events::debug_row(self.style, response);
                self.table.row(&header, &row);
                Ok(())
            }
        }
    }

    /// Hands on what a buffered writer still holds; to be called when a reader may be waiting.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Ends the output: writes the table, and hands everything on.
    pub fn finish(&mut self) -> io::Result<()> {
        self.table.write(&mut self.out)?;
        self.out.flush()?;
        self.err.flush()
    }
}

/// Starts a block of keys: with a line of dashes, if another block stands before it.
fn separate(out: &mut impl Write, wrote: &mut bool) -> io::Result<()> {
    if *wrote {
        writeln!(out, "------------")?;
    }
    *wrote = true;
    Ok(())
}

#[cfg(test)]
mod tests;
