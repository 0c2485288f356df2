//! Lists of nodes and namespaces, and changes of peers.

use std::io::{self, Write};

use proto::agent::Name;
use proto::observer::{Namespace, Node};
use proto::peer::{ChangeNotification, ChangeNotificationType};
use proto::relay::NodeState;

use super::status::{average, duration, share};
use super::style::Safe;
use super::table::Table;
use crate::clock::Timestamp;

/// How much of a list is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// What usually matters.
    Usual,
    /// Everything.
    Wide,
}

/// Writes nodes as a table, sorted by name.
pub fn nodes(out: &mut impl Write, columns: Columns, mut nodes: Vec<Node>) -> io::Result<()> {
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let mut header = vec!["NAME", "STATUS", "AGE", "FLOWS/S", "CURRENT/MAX-FLOWS"];
    if columns == Columns::Wide {
        header.extend(["VERSION", "ADDRESS", "TLS"]);
    }
    let mut table = Table::new();
    for node in &nodes {
        table.row(&header, &node_row(columns, node));
    }
    if nodes.is_empty() {
        writeln!(out, "{}", header.join("   "))?;
    }
    table.write(out)
}

/// Writes what DNS has told as a table.
pub fn names(out: &mut impl Write, columns: Columns, names: &[Name]) -> io::Result<()> {
    let mut header = vec!["CLIENT", "NAME", "ADDRESS", "EXPIRES", "MEANT BY"];
    if columns == Columns::Wide {
        header.extend(["IDENTITY", "CLIENT-ADDRESS"]);
    }
    let now = Timestamp::now().to_parts().0;
    let mut table = Table::new();
    for name in names {
        let client = if name.client_pod.is_empty() {
            &name.client
        } else {
            &name.client_pod
        };
        let left = name.until.as_ref().map_or(0, |until| until.seconds - now);
        let expires = if left > 0 {
            format!("in {left}s")
        } else {
            "in grace".to_owned()
        };
        let meant_by = match name.selectors.as_slice() {
            [] => "-".to_owned(),
            selectors => selectors.join(","),
        };
        let mut row = vec![
            Safe(client).to_string(),
            Safe(&name.name).to_string(),
            Safe(&name.address).to_string(),
            expires,
            Safe(&meant_by).to_string(),
        ];
        if columns == Columns::Wide {
            row.push(name.identity.to_string());
            row.push(Safe(&name.client).to_string());
        }
        table.row(&header, &row);
    }
    if names.is_empty() {
        writeln!(out, "{}", header.join("   "))?;
    }
    table.write(out)
}

fn node_row(columns: Columns, node: &Node) -> Vec<String> {
    let status = match node.state() {
        NodeState::NodeConnected => "Connected",
        NodeState::NodeUnavailable => "Unavailable",
        NodeState::NodeGone => "Gone",
        NodeState::NodeError => "Error",
        NodeState::UnknownNodeState => "Unknown",
    };
    let ratio = match node.max_flows {
        0 => "N/A".to_owned(),
        max => format!(
            "{}/{max} ({:6.2}%)",
            node.num_flows,
            share(node.num_flows, max)
        ),
    };
    let age = match node.uptime_ns {
        0 => "N/A".to_owned(),
        uptime => duration(uptime - uptime % 1_000_000_000),
    };
    let mut row = vec![
        Safe(&node.name).to_string(),
        status.to_owned(),
        age,
        average(node.seen_flows, node.uptime_ns),
        ratio,
    ];
    if columns == Columns::Wide {
        let tls = match node.tls.as_ref().map(|tls| tls.enabled) {
            None => "N/A",
            Some(true) => "Enabled",
            Some(false) => "Disabled",
        };
        let or_none = |text: &str| match text {
            "" => "N/A".to_owned(),
            text => Safe(text).to_string(),
        };
        row.extend([
            or_none(&node.version),
            or_none(&node.address),
            tls.to_owned(),
        ]);
    }
    row
}

/// Writes namespaces as a table, in the order they came.
pub fn namespaces(
    out: &mut impl Write,
    columns: Columns,
    namespaces: &[Namespace],
) -> io::Result<()> {
    let header = match columns {
        Columns::Usual => vec!["NAMESPACE"],
        Columns::Wide => vec!["NAMESPACE", "CLUSTER"],
    };
    if namespaces.is_empty() {
        return writeln!(out, "{}", header.join("   "));
    }
    let mut table = Table::new();
    for namespace in namespaces {
        let mut row = vec![Safe(&namespace.namespace).to_string()];
        if columns == Columns::Wide {
            row.push(Safe(&namespace.cluster).to_string());
        }
        table.row(&header, &row);
    }
    table.write(out)
}

/// Writes what became of a peer as one line.
pub fn peer(out: &mut impl Write, change: &ChangeNotification) -> io::Result<()> {
    let kind = ChangeNotificationType::try_from(change.r#type).map_or_else(
        |_| change.r#type.to_string(),
        |kind| kind.as_str_name().to_owned(),
    );
    write!(
        out,
        "{kind:<12} {} {}",
        Safe(&change.address),
        Safe(&change.name)
    )?;
    if let Some(tls) = &change.tls {
        write!(out, " (TLS.ServerName: {})", Safe(&tls.server_name))?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_nodes_by_name() {
        let node = |name: &str, state: NodeState| Node {
            name: name.to_owned(),
            state: state.into(),
            num_flows: 505,
            max_flows: 4095,
            seen_flows: 7200,
            uptime_ns: 3_600_000_000_000,
            ..Node::default()
        };
        let list = vec![
            node("b", NodeState::NodeError),
            node("a", NodeState::NodeConnected),
        ];
        let mut out = Vec::new();
        nodes(&mut out, Columns::Usual, list).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "NAME   STATUS      AGE      FLOWS/S   CURRENT/MAX-FLOWS\n\
             a      Connected   1h0m0s   2.00      505/4095 ( 12.33%)\n\
             b      Error       1h0m0s   2.00      505/4095 ( 12.33%)\n"
        );
    }

    #[test]
    fn shows_a_peer_with_the_name_in_its_certificate() {
        let change = ChangeNotification {
            name: "node-1".to_owned(),
            address: "10.0.0.5:4244".to_owned(),
            r#type: ChangeNotificationType::PeerAdded.into(),
            tls: Some(proto::peer::Tls {
                server_name: "node-1.example".to_owned(),
            }),
        };
        let mut out = Vec::new();
        peer(&mut out, &change).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "PEER_ADDED   10.0.0.5:4244 node-1 (TLS.ServerName: node-1.example)\n"
        );
    }
}
