//! Names of servers, as TLS clients ask for them.

use super::ports::TCP;
use crate::names::NamePattern;
use crate::rule::{L7, PortRange, Ports, ServerName};
use crate::yaml::{Cursor, Reader};

/// `serverNames`: the name in the `ClientHello` must be one of them. Only TCP carries it, so a port of
/// any protocol is left to TCP alone.
pub(super) fn server_names(reader: &mut Reader, at: &Cursor<'_>, ports: &mut [Ports]) -> L7 {
    let items = reader.list(at);
    let names: Vec<ServerName> = items.iter().filter_map(|item| name(reader, item)).collect();
    if items.is_empty() {
        return L7::Nothing;
    }
    for port in ports.iter_mut() {
        port.protocol = port.protocol.or(Some(TCP));
    }
    let is_fit = |port: &Ports| port.protocol == Some(TCP) && port.range != PortRange::Any;
    if ports.is_empty() || !ports.iter().all(is_fit) {
        reader.fault(at, "`serverNames` need ports of TCP, and not 0");
    }
    L7::Tls(names)
}

fn name(reader: &mut Reader, at: &Cursor<'_>) -> Option<ServerName> {
    let text = reader.text(at)?;
    match NamePattern::pattern(text) {
        Ok(name) => Some(ServerName {
            path_in_object: at.path().to_owned(),
            name,
        }),
        Err(fault) => {
            reader.fault(at, fault);
            None
        }
    }
}
