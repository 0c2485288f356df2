//! What stands above what: columns are sorted by where their neighbours stand, to and fro, and the
//! order with the fewest crossings is kept.

use super::net::{Cell, Net};

/// How often columns are sorted by their neighbours.
const SWEEPS: usize = 16;

/// Orders all columns.
pub(super) fn arrange(net: &mut Net) {
    by_depth(net);
    let mut best = net.layers.clone();
    let mut fewest = crossings(net);
    for sweep in 0..SWEEPS {
        let is_forward = sweep % 2 == 0;
        let layers: Vec<usize> = if is_forward {
            (1..net.layers.len()).collect()
        } else {
            (0..net.layers.len().saturating_sub(1)).rev().collect()
        };
        for layer in layers {
            sort(net, layer, is_forward);
        }
        swap_neighbours(net);
        let crossings = crossings(net);
        if crossings < fewest {
            fewest = crossings;
            best.clone_from(&net.layers);
        }
        if fewest == 0 {
            break;
        }
    }
    net.layers = best;
}

/// Where each cell stands in its column.
fn positions(net: &Net) -> Vec<usize> {
    let mut positions = vec![0; net.cells.len()];
    for layer in &net.layers {
        for (position, cell) in layer.iter().enumerate() {
            if let Some(held) = positions.get_mut(*cell) {
                *held = position;
            }
        }
    }
    positions
}

/// A first order: what hangs together stands together.
fn by_depth(net: &mut Net) {
    let mut seen = vec![false; net.cells.len()];
    let mut layers = vec![Vec::new(); net.layers.len()];
    let mut starts: Vec<usize> = net.layers.iter().flatten().copied().collect();
    // Those without clients first, then those of circles.
    starts.sort_by_key(|cell| net.cells.get(*cell).map_or(0, |cell| cell.before.len()) > 0);
    for start in starts {
        let mut stack = vec![start];
        while let Some(at) = stack.pop() {
            let (Some(cell), Some(seen)) = (net.cells.get(at), seen.get_mut(at)) else {
                continue;
            };
            if std::mem::replace(seen, true) {
                continue;
            }
            if let Some(layer) = layers.get_mut(cell.layer) {
                layer.push(at);
            }
            stack.extend(cell.after.iter().rev().map(|(next, _)| *next));
        }
    }
    net.layers = layers;
}

/// Sorts a column by the weighted middle of its neighbours' places.
fn sort(net: &mut Net, layer: usize, is_forward: bool) {
    let positions = positions(net);
    let key = |cell: &Cell| {
        let side = if is_forward {
            &cell.before
        } else {
            &cell.after
        };
        let weight: f64 = side.iter().map(|(_, weight)| log(*weight)).sum();
        let at = |cell: usize| super::count(positions.get(cell).copied().unwrap_or(0));
        let sum: f64 = side
            .iter()
            .map(|(cell, weight)| at(*cell) * log(*weight))
            .sum();
        (weight > 0.0).then(|| sum / weight)
    };
    let Some(cells) = net.layers.get(layer) else {
        return;
    };
    let mut keyed: Vec<(Option<f64>, usize)> = cells
        .iter()
        .map(|cell| (net.cells.get(*cell).and_then(key), *cell))
        .collect();
    // Who has no neighbours there keeps its place.
    let mut free = keyed.clone();
    free.retain(|(key, _)| key.is_some());
    free.sort_by(|a, b| a.0.unwrap_or(0.0).total_cmp(&b.0.unwrap_or(0.0)));
    let mut free = free.into_iter();
    for slot in keyed.iter_mut().filter(|(key, _)| key.is_some()) {
        if let Some(next) = free.next() {
            *slot = next;
        }
    }
    if let Some(held) = net.layers.get_mut(layer) {
        *held = keyed.into_iter().map(|(_, cell)| cell).collect();
    }
}

/// A link that bears much more counts a little more.
fn log(weight: u64) -> f64 {
    1.0 + f64::from(weight.max(1).ilog2()) / 4.0
}

/// Exchanges cells with those below them while fewer links cross for it.
fn swap_neighbours(net: &mut Net) {
    for _ in 0..4 {
        let mut is_better = false;
        let positions = positions(net);
        for layer in 0..net.layers.len() {
            let length = net.layers.get(layer).map_or(0, Vec::len);
            for upper in 1..length {
                let Some(cells) = net.layers.get_mut(layer) else {
                    continue;
                };
                let (Some(a), Some(b)) = (cells.get(upper - 1).copied(), cells.get(upper).copied())
                else {
                    continue;
                };
                let (Some(one), Some(other)) = (net.cells.get(a), net.cells.get(b)) else {
                    continue;
                };
                let now = between(&one.before, &other.before, &positions)
                    + between(&one.after, &other.after, &positions);
                let then = between(&other.before, &one.before, &positions)
                    + between(&other.after, &one.after, &positions);
                if then < now {
                    cells.swap(upper - 1, upper);
                    is_better = true;
                }
            }
        }
        if !is_better {
            return;
        }
    }
}

/// Crossings of the links of a cell with those of one below it.
fn between(upper: &[(usize, u64)], lower: &[(usize, u64)], positions: &[usize]) -> usize {
    let at = |cell: usize| positions.get(cell).copied().unwrap_or(0);
    let crosses = |one: usize| {
        lower
            .iter()
            .filter(|(other, _)| at(*other) < at(one))
            .count()
    };
    upper.iter().map(|(one, _)| crosses(*one)).sum()
}

/// Crossings in all.
fn crossings(net: &Net) -> usize {
    let positions = positions(net);
    let at = |cell: usize| positions.get(cell).copied().unwrap_or(0);
    let mut crossings = 0;
    for layer in &net.layers {
        let mut ends: Vec<usize> = Vec::new();
        for cell in layer.iter().filter_map(|cell| net.cells.get(*cell)) {
            let mut own: Vec<usize> = cell.after.iter().map(|(cell, _)| at(*cell)).collect();
            own.sort_unstable();
            for end in &own {
                // Those above that end below this one.
                crossings += ends.len() - ends.partition_point(|other| other <= end);
            }
            for end in own {
                let place = ends.partition_point(|other| *other <= end);
                ends.insert(place, end);
            }
        }
    }
    crossings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::layout::{Link, Size, cycles, ranks};

    fn net(nodes: usize, pairs: &[(usize, usize)]) -> Net {
        let links: Vec<Link> = pairs
            .iter()
            .map(|(from, to)| Link {
                from: *from,
                to: *to,
                weight: 1,
                label: Size::default(),
            })
            .collect();
        let against = cycles::against(nodes, &links);
        let ranks = ranks::of(nodes, &links, &against);
        Net::new(&vec![Size::default(); nodes], &links, &against, &ranks)
    }

    #[test]
    fn a_crossing_that_need_not_be_is_undone() {
        let mut net = net(6, &[(0, 5), (1, 4), (2, 3), (0, 4), (1, 3)]);
        arrange(&mut net);
        assert_eq!(crossings(&net), 0);
    }

    #[test]
    fn crossings_are_counted() {
        let mut net = net(4, &[(0, 2), (0, 3), (1, 2), (1, 3)]);
        arrange(&mut net);
        assert_eq!(crossings(&net), 1, "two by two cannot do without");
    }
}
