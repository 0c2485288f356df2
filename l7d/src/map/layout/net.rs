//! What passes each column: nodes, labels, and links on their way through.

use super::{Link, Size};

/// Something in a column.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    pub(super) layer: usize,
    pub(super) size: Size,
    /// How far down its middle is.
    pub(super) middle: f64,
    pub(super) is_label: bool,
    pub(super) is_node: bool,
    /// The link that passes here.
    pub(super) link: usize,
    /// Neighbours in the column before and behind, with the weights of their links.
    pub(super) before: Vec<(usize, u64)>,
    pub(super) after: Vec<(usize, u64)>,
}

/// All columns.
#[derive(Debug, Clone, Default)]
pub(super) struct Net {
    /// How many of the cells, the first ones, are nodes.
    pub(super) nodes: usize,
    pub(super) cells: Vec<Cell>,
    /// Cells from above to below.
    pub(super) layers: Vec<Vec<usize>>,
    /// The cells that each link passes, from left to right.
    pub(super) paths: Vec<Vec<usize>>,
    /// Which links are drawn from right to left.
    pub(super) against: Vec<bool>,
}

/// What a link takes where nothing is written.
const LINE_HEIGHT: f64 = 8.0;

impl Cell {
    pub(super) fn top(&self) -> f64 {
        self.middle - self.size.height / 2.0
    }

    pub(super) fn bottom(&self) -> f64 {
        self.middle + self.size.height / 2.0
    }
}

impl Net {
    /// Nodes stand in every other layer; labels in the layer in front of their server's, where they
    /// are told from those of the client's other links.
    pub(super) fn new(sizes: &[Size], links: &[Link], against: &[bool], ranks: &[usize]) -> Self {
        let rank = |node: usize| ranks.get(node).copied().unwrap_or(0);
        let deepest = ranks.iter().copied().max().unwrap_or(0);
        let mut net = Self {
            nodes: sizes.len(),
            cells: Vec::new(),
            layers: vec![Vec::new(); deepest * 2 + 1],
            paths: Vec::new(),
            against: against.to_vec(),
        };
        for (node, size) in sizes.iter().enumerate() {
            net.add(Cell {
                layer: rank(node) * 2,
                size: *size,
                is_node: true,
                link: usize::MAX,
                ..Cell::default()
            });
        }
        for (number, (link, is_against)) in links.iter().zip(against).enumerate() {
            let (from, to) = if *is_against {
                (link.to, link.from)
            } else {
                (link.from, link.to)
            };
            let path = if from == to {
                Vec::new()
            } else {
                net.lead(number, link, (from, to), *is_against)
            };
            net.paths.push(path);
        }
        net
    }

    fn add(&mut self, cell: Cell) -> usize {
        let number = self.cells.len();
        if let Some(layer) = self.layers.get_mut(cell.layer) {
            layer.push(number);
        }
        self.cells.push(cell);
        number
    }

    /// Leads a link through the layers between its nodes.
    fn lead(
        &mut self,
        number: usize,
        link: &Link,
        (from, to): (usize, usize),
        is_against: bool,
    ) -> Vec<usize> {
        let layer = |net: &Self, node: usize| net.cells.get(node).map_or(0, |cell| cell.layer);
        let (first, last) = (layer(self, from), layer(self, to));
        let labelled = if is_against {
            first + 1
        } else {
            last.saturating_sub(1)
        };
        let mut path = vec![from];
        for layer in first + 1..last {
            let is_label = layer == labelled && link.label.height > 0.0;
            let size = Size {
                width: if is_label { link.label.width } else { 0.0 },
                height: if is_label {
                    link.label.height
                } else {
                    LINE_HEIGHT
                },
            };
            path.push(self.add(Cell {
                layer,
                size,
                is_label,
                link: number,
                ..Cell::default()
            }));
        }
        path.push(to);
        for pair in path.windows(2) {
            let [one, next] = pair else { continue };
            if let Some(cell) = self.cells.get_mut(*one) {
                cell.after.push((*next, link.weight));
            }
            if let Some(cell) = self.cells.get_mut(*next) {
                cell.before.push((*one, link.weight));
            }
        }
        path
    }
}
