//! Where everything stands in a picture: clients left, servers right, so that a request reads like a
//! line of text.
//!
//! A layered drawing (Sugiyama, Tagawa and Toda 1981) in five steps, each a file:
//!
//! | file | what it decides |
//! |---|---|
//! | `cycles` | which links go against the reading direction |
//! | `ranks` | in which column a node stands |
//! | `net` | what passes each column: nodes, labels, and links on their way through |
//! | `order` | what stands above what, so that few links cross |
//! | `place` | how far up or down, so that links are nearly straight |
//!
//! Labels take part like nodes, so that none lies upon another. The same links give the same picture,
//! to the last digit, on every machine.

mod cycles;
mod net;
mod order;
mod place;
mod ranks;

use net::{Cell, Net};

/// Width and height.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Size {
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// A place.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Point {
    /// From the left.
    pub x: f64,
    /// From the top.
    pub y: f64,
}

/// A link between two nodes, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Who asks.
    pub from: usize,
    /// Who is asked.
    pub to: usize,
    /// How much it matters that it is short, straight and from left to right.
    pub weight: u64,
    /// What is written upon it.
    pub label: Size,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Placed {
    /// Its size.
    pub size: Size,
    /// Upper left corners of nodes.
    pub nodes: Vec<Point>,
    /// Ways of links.
    pub ways: Vec<Way>,
}

/// The way of a link.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Way {
    /// From the client's edge to the server's, by points in between; the link is level at each.
    pub points: Vec<Point>,
    /// The middle of its label.
    pub label: Option<Point>,
}

/// Between columns of nodes at least.
const COLUMN_GAP: f64 = 24.0;
/// The steepest that links are between two columns: their height for one of width.
const STEEP: f64 = 4.0;
/// Between components.
const COMPONENT_GAP: f64 = 36.0;
/// How much wider than high a picture of several components may be.
const ASPECT: f64 = 1.5;
/// Between links that leave a node at the same side.
const PORT_GAP: f64 = 11.0;

/// Places nodes and links.
pub fn place(nodes: &[Size], links: &[Link]) -> Placed {
    let mut placed = Placed {
        nodes: vec![Point::default(); nodes.len()],
        ways: vec![Way::default(); links.len()],
        ..Placed::default()
    };
    let mut pieces: Vec<Piece> = ranks::components(nodes.len(), links)
        .into_iter()
        .map(|members| Piece::new(&members, nodes, links))
        .collect();
    // Large ones first; those of the same size in the order of their names.
    pieces.sort_by(|a, b| b.size.height.total_cmp(&a.size.height));
    placed.size = shelve(&mut pieces);
    for piece in &pieces {
        piece.put_into(&mut placed);
    }
    placed
}

/// Nodes that are linked with each other.
struct Piece {
    at: Point,
    size: Size,
    nodes: Vec<(usize, Point)>,
    ways: Vec<(usize, Way)>,
}

impl Piece {
    fn new(members: &[usize], nodes: &[Size], links: &[Link]) -> Self {
        let own: Vec<usize> = (0..links.len())
            .filter(|link| {
                let link = links.get(*link);
                link.is_some_and(|link| members.binary_search(&link.from).is_ok())
            })
            .collect();
        let sizes: Vec<Size> = members
            .iter()
            .filter_map(|node| nodes.get(*node).copied())
            .collect();
        let local = |node: usize| members.binary_search(&node).unwrap_or(0);
        let inner: Vec<Link> = own
            .iter()
            .filter_map(|link| links.get(*link))
            .map(|link| Link {
                from: local(link.from),
                to: local(link.to),
                ..*link
            })
            .collect();
        let against = cycles::against(sizes.len(), &inner);
        let ranks = ranks::of(sizes.len(), &inner, &against);
        let mut net = Net::new(&sizes, &inner, &against, &ranks);
        order::arrange(&mut net);
        place::levels(&mut net);
        let columns = columns(&net);
        let (points, ways, size) = draw(&net, &columns, &inner);
        Self {
            at: Point::default(),
            size,
            nodes: members.iter().copied().zip(points).collect(),
            ways: own.into_iter().zip(ways).collect(),
        }
    }

    fn put_into(&self, placed: &mut Placed) {
        let moved = |point: &Point| Point {
            x: tidy(point.x + self.at.x),
            y: tidy(point.y + self.at.y),
        };
        for (node, point) in &self.nodes {
            if let Some(held) = placed.nodes.get_mut(*node) {
                *held = moved(point);
            }
        }
        for (link, way) in &self.ways {
            if let Some(held) = placed.ways.get_mut(*link) {
                *held = Way {
                    points: way.points.iter().map(moved).collect(),
                    label: way.label.as_ref().map(moved),
                };
            }
        }
    }
}

/// To a tenth: more is noise in a file.
fn tidy(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// Puts pieces beside and below each other; the size of all.
fn shelve(pieces: &mut [Piece]) -> Size {
    let area: f64 = pieces
        .iter()
        .map(|piece| (piece.size.width + COMPONENT_GAP) * (piece.size.height + COMPONENT_GAP))
        .sum();
    let widest = pieces.iter().map(|piece| piece.size.width);
    let width = widest.fold((area * ASPECT).sqrt(), f64::max);
    let mut size = Size::default();
    let (mut x, mut y, mut shelf) = (0.0, 0.0, 0.0_f64);
    for piece in pieces {
        if x > 0.0 && x + piece.size.width > width {
            x = 0.0;
            y += shelf + COMPONENT_GAP;
            shelf = 0.0;
        }
        piece.at = Point { x, y };
        shelf = shelf.max(piece.size.height);
        size.width = size.width.max(x + piece.size.width);
        size.height = size.height.max(y + piece.size.height);
        x += piece.size.width + COMPONENT_GAP * 1.5;
    }
    Size {
        width: tidy(size.width),
        height: tidy(size.height),
    }
}

/// Left edge and width of each layer.
fn columns(net: &Net) -> Vec<(f64, f64)> {
    let mut columns = Vec::new();
    let mut x = 0.0;
    for (number, layer) in net.layers.iter().enumerate() {
        let cells = layer.iter().filter_map(|cell| net.cells.get(*cell));
        let width = cells
            .clone()
            .map(|cell| cell.size.width)
            .fold(0.0, f64::max);
        if number > 0 {
            // Links that go far up or down need room for it.
            let rises = cells.flat_map(|cell| {
                let before = cell.before.iter().filter_map(|(at, _)| net.cells.get(*at));
                before.map(|other| (other.middle - cell.middle).abs())
            });
            x += (rises.fold(0.0, f64::max) / STEEP).clamp(COLUMN_GAP, 2.0 * COLUMN_GAP);
        }
        columns.push((x, width));
        x += width;
    }
    columns
}

/// Corners of nodes, ways of links, and the size of everything.
fn draw(net: &Net, columns: &[(f64, f64)], links: &[Link]) -> (Vec<Point>, Vec<Way>, Size) {
    let column = |cell: &Cell| columns.get(cell.layer).copied().unwrap_or_default();
    let top = net
        .cells
        .iter()
        .map(Cell::top)
        .fold(f64::INFINITY, f64::min);
    let bottom = net.cells.iter().map(Cell::bottom).fold(0.0, f64::max);
    let width = columns.last().map_or(0.0, |(x, width)| x + width);
    let nodes = net.cells.iter().take(net.nodes).map(|cell| {
        let (x, width) = column(cell);
        Point {
            x: x + (width - cell.size.width) / 2.0,
            y: cell.top() - top,
        }
    });
    let ways = links.iter().enumerate().map(|(number, link)| {
        if link.from == link.to {
            return around(net.cells.get(link.from), columns, top);
        }
        let mut way = Way::default();
        let Some(path) = net.paths.get(number) else {
            return way;
        };
        let cells: Vec<&Cell> = path
            .iter()
            .filter_map(|cell| net.cells.get(*cell))
            .collect();
        let last = cells.len().saturating_sub(1);
        for (step, cell) in cells.iter().enumerate() {
            let (x, width) = column(cell);
            let middle = x + width / 2.0;
            let half = cell.size.width / 2.0;
            let at = |x: f64, y: f64| Point { x, y: y - top };
            if step == 0 {
                let y = cell.middle + port(net, cell, &cell.after, (number, path.get(1)));
                way.points.push(at(middle + half, y));
            } else if step == last {
                let from = last.checked_sub(1).and_then(|step| path.get(step));
                let y = cell.middle + port(net, cell, &cell.before, (number, from));
                way.points.push(at(middle - half, y));
            } else {
                // Level through the whole column: there are labels, or other nodes.
                way.points.push(at(x, cell.middle));
                way.points.push(at(x + width, cell.middle));
                if cell.is_label {
                    way.label = Some(at(middle, cell.middle));
                }
            }
        }
        if net.against.get(number) == Some(&true) {
            way.points.reverse();
        }
        way
    });
    let size = Size {
        width,
        height: bottom - top.min(bottom),
    };
    (nodes.collect(), ways.collect(), size)
}

/// How far from a node's middle a link meets its side.
fn port(
    net: &Net,
    cell: &Cell,
    side: &[(usize, u64)],
    (number, other): (usize, Option<&usize>),
) -> f64 {
    let mut others: Vec<(f64, usize, usize)> = side
        .iter()
        .filter_map(|(at, _)| Some((net.cells.get(*at)?.middle, *at, net.cells.get(*at)?.link)))
        .collect();
    others.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let is_mine = |one: &(f64, usize, usize)| Some(&one.1) == other && one.2 == number;
    let mine = others
        .iter()
        .position(is_mine)
        .or_else(|| others.iter().position(|one| Some(&one.1) == other));
    let count = count(others.len());
    let room = (cell.size.height - 14.0).max(0.0);
    let gap = (room / (count - 1.0).max(1.0)).min(PORT_GAP);
    (self::count(mine.unwrap_or(0)) - (count - 1.0) / 2.0) * gap
}

#[expect(clippy::cast_precision_loss, reason = "counts of things in a picture")]
fn count(number: usize) -> f64 {
    number as f64
}

/// A node that asks itself.
fn around(cell: Option<&Cell>, columns: &[(f64, f64)], top: f64) -> Way {
    let Some(cell) = cell else {
        return Way::default();
    };
    let (x, width) = columns.get(cell.layer).copied().unwrap_or_default();
    let middle = x + width / 2.0;
    let y = cell.bottom() - top;
    let point = |x: f64| Point { x, y };
    Way {
        points: vec![point(middle + 28.0), point(middle - 28.0)],
        label: None,
    }
}

#[cfg(test)]
mod tests;
