//! Which links go against the reading direction: as few, and as light, as a greedy look finds (Eades,
//! Lin and Smyth 1993).

use super::Link;

/// Of each link, whether it is to be drawn from its server to its client.
pub(super) fn against(nodes: usize, links: &[Link]) -> Vec<bool> {
    let place = sequence(nodes, links);
    let at = |node: usize| place.get(node).copied().unwrap_or(0);
    links
        .iter()
        .map(|link| link.from != link.to && at(link.from) > at(link.to))
        .collect()
}

/// The place of each node in a sequence in which most links go forward.
fn sequence(nodes: usize, links: &[Link]) -> Vec<usize> {
    let mut is_left = vec![true; nodes];
    let mut front = Vec::new();
    let mut back = Vec::new();
    while front.len() + back.len() < nodes {
        let flows = flows(&is_left, links);
        let remaining = || (0..nodes).filter(|node| is_left.get(*node) == Some(&true));
        let of = |node: usize| flows.get(node).copied().unwrap_or((0, 0));
        // Who asks nobody any more stands at the end, who is asked by nobody at the front.
        let sink = remaining().find(|node| of(*node).1 == 0 && of(*node).0 > 0);
        let source = remaining().find(|node| of(*node).0 == 0);
        let most = || {
            remaining().max_by_key(|node| {
                let (into, out) = of(*node);
                let surplus = i128::from(out) - i128::from(into);
                (surplus, std::cmp::Reverse(*node))
            })
        };
        let (node, is_sink) = match (sink, source.or_else(most)) {
            (Some(sink), _) => (sink, true),
            (None, Some(node)) => (node, false),
            (None, None) => break,
        };
        if is_sink {
            back.push(node);
        } else {
            front.push(node);
        }
        if let Some(is_left) = is_left.get_mut(node) {
            *is_left = false;
        }
    }
    back.reverse();
    front.append(&mut back);
    let mut place = vec![0; nodes];
    for (position, node) in front.into_iter().enumerate() {
        if let Some(place) = place.get_mut(node) {
            *place = position;
        }
    }
    place
}

/// What comes into and goes out of each node that is left, from and to those that are.
fn flows(is_left: &[bool], links: &[Link]) -> Vec<(u64, u64)> {
    let mut flows = vec![(0, 0); is_left.len()];
    let left = |node: usize| is_left.get(node) == Some(&true);
    for link in links.iter().filter(|link| link.from != link.to) {
        if left(link.from) && left(link.to) {
            if let Some((_, out)) = flows.get_mut(link.from) {
                *out += link.weight.max(1);
            }
            if let Some((into, _)) = flows.get_mut(link.to) {
                *into += link.weight.max(1);
            }
        }
    }
    flows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::layout::Size;

    fn link(from: usize, to: usize, weight: u64) -> Link {
        Link {
            from,
            to,
            weight,
            label: Size::default(),
        }
    }

    #[test]
    fn of_a_circle_the_lightest_link_goes_back() {
        let links = [link(0, 1, 100), link(1, 2, 100), link(2, 0, 1)];
        assert_eq!(against(3, &links), [false, false, true]);
        let both = [link(0, 1, 1), link(1, 0, 50)];
        assert_eq!(against(2, &both), [true, false]);
    }

    #[test]
    fn without_circles_nothing_goes_back() {
        let links = [
            link(3, 1, 1),
            link(1, 0, 1),
            link(3, 0, 9),
            link(2, 1, 1),
            link(2, 2, 5),
        ];
        assert!(against(4, &links).iter().all(|is_against| !is_against));
    }
}
