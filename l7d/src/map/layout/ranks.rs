//! In which column a node stands: behind everybody who asks it, and not farther than it must.

use super::Link;

/// Nodes that hang together, each list sorted, in the order of their first ones.
pub(super) fn components(nodes: usize, links: &[Link]) -> Vec<Vec<usize>> {
    let mut leader: Vec<usize> = (0..nodes).collect();
    loop {
        let mut is_changed = false;
        for link in links {
            let of = |node: usize| leader.get(node).copied().unwrap_or(node);
            let (from, to) = (of(link.from), of(link.to));
            let least = from.min(to);
            for node in [link.from, link.to, from, to] {
                if let Some(leader) = leader.get_mut(node)
                    && *leader > least
                {
                    *leader = least;
                    is_changed = true;
                }
            }
        }
        if !is_changed {
            break;
        }
    }
    let mut components: Vec<(usize, Vec<usize>)> = Vec::new();
    for (node, leader) in leader.into_iter().enumerate() {
        match components.iter_mut().find(|(of, _)| *of == leader) {
            Some((_, members)) => members.push(node),
            None => components.push((leader, vec![node])),
        }
    }
    components.into_iter().map(|(_, members)| members).collect()
}

/// The column of each node.
pub(super) fn of(nodes: usize, links: &[Link], against: &[bool]) -> Vec<usize> {
    let forward: Vec<(usize, usize)> = links
        .iter()
        .zip(against)
        .filter(|(link, _)| link.from != link.to)
        .map(|(link, is_against)| {
            if *is_against {
                (link.to, link.from)
            } else {
                (link.from, link.to)
            }
        })
        .collect();
    let mut ranks = vec![0_usize; nodes];
    let at = |ranks: &[usize], node: usize| ranks.get(node).copied().unwrap_or(0);
    // No more rounds than nodes are needed where nothing goes in a circle.
    for _ in 0..nodes {
        let mut is_changed = false;
        for (from, to) in &forward {
            let least = at(&ranks, *from) + 1;
            if let Some(rank) = ranks.get_mut(*to)
                && *rank < least
            {
                *rank = least;
                is_changed = true;
            }
        }
        if !is_changed {
            break;
        }
    }
    // Who has fewer clients than servers is drawn to its servers.
    for _ in 0..nodes {
        let mut is_changed = false;
        for node in 0..nodes {
            let into = forward.iter().filter(|(_, to)| *to == node).count();
            let out: Vec<usize> = forward
                .iter()
                .filter(|(from, _)| *from == node)
                .map(|(_, to)| at(&ranks, *to))
                .collect();
            let nearest = out.iter().min().map_or(0, |rank| rank.saturating_sub(1));
            if out.len() > into
                && nearest > at(&ranks, node)
                && let Some(rank) = ranks.get_mut(node)
            {
                *rank = nearest;
                is_changed = true;
            }
        }
        if !is_changed {
            break;
        }
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::layout::Size;

    fn links(pairs: &[(usize, usize)]) -> Vec<Link> {
        let link = |(from, to): &(usize, usize)| Link {
            from: *from,
            to: *to,
            weight: 1,
            label: Size::default(),
        };
        pairs.iter().map(link).collect()
    }

    #[test]
    fn a_server_stands_behind_all_who_ask_it() {
        let links = links(&[(0, 1), (1, 2), (0, 2), (3, 2)]);
        assert_eq!(of(4, &links, &[false; 4]), [0, 1, 2, 1]);
    }

    #[test]
    fn what_does_not_hang_together_is_apart() {
        let links = links(&[(4, 1), (1, 4), (0, 3), (2, 2)]);
        assert_eq!(
            components(6, &links),
            [vec![0, 3], vec![1, 4], vec![2], vec![5]]
        );
    }
}
