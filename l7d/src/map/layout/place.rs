//! How far down each cell stands, so that links are nearly straight: in turn, each column is put where
//! its neighbours would have it, as near as the order and the room between cells allow.

use super::net::{Cell, Net};

/// How often.
const ROUNDS: usize = 32;
/// How often small steps are taken out of long links.
const STRAIGHTENED: usize = 3;
/// Between two nodes, and between anything else.
const NODE_GAP: f64 = 20.0;
const LINE_GAP: f64 = 6.0;

/// Gives every cell its height in the picture.
pub(super) fn levels(net: &mut Net) {
    for layer in net.layers.clone() {
        let mut bottom = 0.0;
        for at in layer {
            if let Some(cell) = net.cells.get_mut(at) {
                cell.middle = bottom + cell.size.height / 2.0;
                bottom += cell.size.height + NODE_GAP;
            }
        }
    }
    for round in 0..ROUNDS {
        let forward = round % 2 == 0;
        // In the end both sides are heard, so that a node stands between its neighbours.
        let is_both = round + 8 >= ROUNDS;
        let count = net.layers.len();
        for step in 0..count {
            let layer = if forward { step } else { count - 1 - step };
            settle(net, layer, forward || is_both, !forward || is_both);
        }
    }
    for _ in 0..STRAIGHTENED {
        for path in net.paths.clone() {
            straighten(net, &path);
        }
    }
}

/// Takes small steps out of a long link, where there is room to be level all the way.
fn straighten(net: &mut Net, path: &[usize]) {
    let Some(run) = path.get(1..path.len().saturating_sub(1)) else {
        return;
    };
    let (mut least, mut most) = (f64::NEG_INFINITY, f64::INFINITY);
    let mut sum = 0.0;
    for at in run {
        let Some(cell) = net.cells.get(*at) else {
            return;
        };
        let (above, below) = neighbours(net, *at, cell.layer);
        least = least.max(above.map_or(least, |other| other.middle + apart(other, cell)));
        most = most.min(below.map_or(most, |other| other.middle - apart(cell, other)));
        sum += cell.middle;
    }
    if least > most {
        return;
    }
    let level = (sum / super::count(run.len().max(1))).clamp(least, most);
    for at in run {
        if let Some(cell) = net.cells.get_mut(*at) {
            cell.middle = level;
        }
    }
}

/// What stands above and below in the same column.
fn neighbours(net: &Net, at: usize, layer: usize) -> (Option<&Cell>, Option<&Cell>) {
    let layer = net.layers.get(layer).map_or(&[] as &[usize], Vec::as_slice);
    let place = layer.iter().position(|cell| *cell == at).unwrap_or(0);
    let cell = |place: Option<usize>| net.cells.get(*layer.get(place?)?);
    (cell(place.checked_sub(1)), cell(place.checked_add(1)))
}

/// How far the middles of two cells must be from each other.
fn apart(above: &Cell, below: &Cell) -> f64 {
    let gap = match (above.is_node, below.is_node) {
        (true, true) => NODE_GAP,
        (true, false) | (false, true) => f64::midpoint(NODE_GAP, LINE_GAP),
        (false, false) => LINE_GAP,
    };
    f64::midpoint(above.size.height, below.size.height) + gap
}

/// Puts a column where its neighbours before, or behind, would have it.
fn settle(net: &mut Net, layer: usize, before: bool, after: bool) {
    let Some(cells) = net.layers.get(layer).cloned() else {
        return;
    };
    let wishes: Vec<(f64, f64)> = cells
        .iter()
        .filter_map(|at| net.cells.get(*at))
        .map(|cell| wish(net, cell, before, after))
        .collect();
    let mut offsets = Vec::new();
    let mut offset = 0.0;
    let mut above: Option<&Cell> = None;
    for cell in cells.iter().filter_map(|at| net.cells.get(*at)) {
        if let Some(above) = above {
            offset += apart(above, cell);
        }
        offsets.push(offset);
        above = Some(cell);
    }
    let moved: Vec<(f64, f64)> = wishes
        .iter()
        .zip(&offsets)
        .map(|((wish, weight), offset)| (wish - offset, *weight))
        .collect();
    let levels = rising(&moved);
    for ((at, level), offset) in cells.iter().zip(levels).zip(offsets) {
        if let Some(cell) = net.cells.get_mut(*at) {
            cell.middle = level + offset;
        }
    }
}

/// Where a cell's neighbours would have it, and how much they insist.
fn wish(net: &Net, cell: &Cell, before: bool, after: bool) -> (f64, f64) {
    let mut sum = 0.0;
    let mut insists = 0.0;
    let sides = [(before, &cell.before), (after, &cell.after)];
    for (at, weight) in sides
        .iter()
        .filter(|(is_heard, _)| *is_heard)
        .flat_map(|(_, side)| *side)
    {
        let Some(other) = net.cells.get(*at) else {
            continue;
        };
        // A bend in the middle of a link is uglier than one at its end.
        let straight = match (cell.is_node, other.is_node) {
            (true, true) => 1.0,
            (true, false) | (false, true) => 2.0,
            (false, false) => 32.0,
        };
        let weight = straight * (1.0 + f64::from(weight.max(&1).ilog2()) / 6.0);
        sum += other.middle * weight;
        insists += weight;
    }
    if insists == 0.0 {
        return (cell.middle, 0.01);
    }
    (sum / insists, insists)
}

/// The rising sequence that is nearest to these wishes, by least squares (pool adjacent violators).
fn rising(wishes: &[(f64, f64)]) -> Vec<f64> {
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for (wish, weight) in wishes {
        let mut pool = (*wish, *weight, 1);
        while let Some((level, weight, count)) = pools.pop_if(|(level, _, _)| *level > pool.0) {
            let both = weight + pool.1;
            pool = (
                (level * weight + pool.0 * pool.1) / both,
                both,
                count + pool.2,
            );
        }
        pools.push(pool);
    }
    pools
        .iter()
        .flat_map(|(level, _, count)| std::iter::repeat_n(*level, *count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_that_contradict_each_other_meet_in_the_middle() {
        let level = |wishes: &[f64]| {
            let wishes: Vec<(f64, f64)> = wishes.iter().map(|wish| (*wish, 1.0)).collect();
            rising(&wishes)
        };
        assert_eq!(level(&[1.0, 2.0, 3.0]), [1.0, 2.0, 3.0]);
        assert_eq!(level(&[3.0, 1.0, 5.0]), [2.0, 2.0, 5.0]);
        assert_eq!(level(&[9.0, 5.0, 1.0]), [5.0, 5.0, 5.0]);
        assert_eq!(rising(&[(4.0, 3.0), (0.0, 1.0)]), [3.0, 3.0]);
    }
}
