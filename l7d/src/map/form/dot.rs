//! For Graphviz: `l7d map -o dot | dot -Tsvg`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::words;
use crate::map::node::NodeKind;
use crate::map::overview::{NodeFigures, Overview, State};

/// Writes a map, a cluster for each namespace.
pub fn write(out: &mut impl Write, map: &Overview) -> io::Result<()> {
    writeln!(
        out,
        "digraph l7d {{\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"Helvetica\"];\n  \
         edge [fontname=\"Helvetica\", fontsize=10];"
    )?;
    let mut spaces: BTreeMap<&str, Vec<&NodeFigures>> = BTreeMap::new();
    for node in &map.nodes {
        spaces
            .entry(node.namespace.as_str())
            .or_default()
            .push(node);
    }
    for (number, (space, nodes)) in spaces.iter().enumerate() {
        let inset = if space.is_empty() { "  " } else { "    " };
        if !space.is_empty() {
            writeln!(
                out,
                "  subgraph cluster_{number} {{\n    label={};",
                Quoted(space)
            )?;
        }
        for node in nodes {
            let style = match node.kind {
                NodeKind::Workload | NodeKind::Namespace => "",
                _ => ", style=\"rounded,dashed\"",
            };
            let label = Quoted(&node.name);
            writeln!(out, "{inset}{} [label={label}{style}];", Quoted(&node.id))?;
        }
        if !space.is_empty() {
            writeln!(out, "  }}")?;
        }
    }
    for edge in &map.edges {
        let trouble = words::trouble(edge);
        let mut label = words::headline(edge, map.seconds);
        if !trouble.is_empty() {
            label = format!("{label}\n{trouble}");
        }
        let color = match edge.state {
            State::Good => "",
            State::Notable => ", color=\"#b26a00\", fontcolor=\"#b26a00\"",
            State::Failing => ", color=\"#c62828\", fontcolor=\"#c62828\"",
        };
        let style = if edge.is_cut { ", style=dashed" } else { "" };
        writeln!(
            out,
            "  {} -> {} [label={}{color}{style}];",
            Quoted(&edge.client),
            Quoted(&edge.server),
            Quoted(&label)
        )?;
    }
    writeln!(out, "}}")
}

/// A quoted string of DOT; backslashes are its escapes, so they are doubled.
struct Quoted<'t>(&'t str);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                c if c.is_control() => f.write_str("\u{fffd}")?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_ends_where_it_should() {
        assert_eq!(Quoted("a\"]; b\\").to_string(), r#""a\"]; b\\""#);
        assert_eq!(Quoted("two\nlines").to_string(), r#""two\nlines""#);
    }
}
