//! For Mermaid, which Markdown pages show: issues, reviews, incident reports.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::words;
use crate::map::node::NodeKind;
use crate::map::overview::{NodeFigures, Overview, State};

/// Writes a map as a flow chart.
pub fn write(out: &mut impl Write, map: &Overview) -> io::Result<()> {
    writeln!(out, "flowchart LR")?;
    let mut spaces: BTreeMap<&str, Vec<(usize, &NodeFigures)>> = BTreeMap::new();
    for (number, node) in map.nodes.iter().enumerate() {
        spaces
            .entry(node.namespace.as_str())
            .or_default()
            .push((number, node));
    }
    for (number, (space, nodes)) in spaces.iter().enumerate() {
        if !space.is_empty() {
            writeln!(out, "  subgraph s{number}[\"{}\"]", Escaped(space))?;
        }
        for (number, node) in nodes {
            let name = Escaped(&node.name);
            match node.kind {
                NodeKind::Workload | NodeKind::Namespace => {
                    writeln!(out, "    n{number}[\"{name}\"]")?;
                }
                _ => writeln!(out, "    n{number}([\"{name}\"])")?,
            }
        }
        if !space.is_empty() {
            writeln!(out, "  end")?;
        }
    }
    let place = |id: &String| {
        map.nodes
            .iter()
            .position(|node| node.id == *id)
            .unwrap_or(0)
    };
    for edge in &map.edges {
        let trouble = words::trouble(edge);
        let mut label = Escaped(&words::headline(edge, map.seconds)).to_string();
        if !trouble.is_empty() {
            label = format!("{label}<br>{}", Escaped(&trouble));
        }
        let arrow = if edge.is_cut { "-.->" } else { "-->" };
        let (client, server) = (place(&edge.client), place(&edge.server));
        writeln!(out, "  n{client} {arrow}|\"{label}\"| n{server}")?;
    }
    for (number, edge) in map.edges.iter().enumerate() {
        let color = match edge.state {
            State::Good => continue,
            State::Notable => "#b26a00",
            State::Failing => "#c62828",
        };
        writeln!(out, "  linkStyle {number} stroke:{color},color:{color}")?;
    }
    Ok(())
}

/// Text in quotes, where Mermaid takes entities by number, and pages would take markup for markup.
struct Escaped<'t>(&'t str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '"' | '<' | '>' | '&' | '#' | ';' | '`' | '|' | '\\' => {
                    write!(f, "#{};", u32::from(c))?;
                }
                c if c.is_control() => f.write_str(" ")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        let hostile = "\"]\nclick n0 <img src=x>`#";
        assert_eq!(
            Escaped(hostile).to_string(),
            "#34;] click n0 #60;img src=x#62;#96;#35;"
        );
    }
}
