use proptest::prelude::*;

use super::*;

const CARD: Size = Size {
    width: 160.0,
    height: 50.0,
};

fn link(from: usize, to: usize) -> Link {
    Link {
        from,
        to,
        weight: 1,
        label: Size {
            width: 90.0,
            height: 16.0,
        },
    }
}

fn overlap(a: Point, b: Point) -> bool {
    (a.x - b.x).abs() < CARD.width - 0.2 && (a.y - b.y).abs() < CARD.height - 0.2
}

#[test]
fn nothing_is_a_picture_without_size() {
    assert_eq!(place(&[], &[]), Placed::default());
}

#[test]
fn a_chain_is_a_straight_line_from_left_to_right() {
    let placed = place(&[CARD; 3], &[link(0, 1), link(1, 2)]);
    assert!(
        placed
            .nodes
            .windows(2)
            .all(|two| two[0].x + CARD.width < two[1].x)
    );
    assert!(
        placed
            .nodes
            .iter()
            .all(|node| (node.y - placed.nodes[0].y).abs() < 0.1)
    );
    let label = placed.ways[0].label.unwrap();
    assert!(label.x > placed.nodes[0].x + CARD.width && label.x < placed.nodes[1].x);
}

#[test]
fn a_link_back_begins_at_its_client() {
    let placed = place(
        &[CARD; 2],
        &[
            Link {
                weight: 9,
                ..link(0, 1)
            },
            link(1, 0),
        ],
    );
    let back = &placed.ways[1].points;
    assert!(back[0].x > back[back.len() - 1].x);
    assert!(placed.ways[0].label != placed.ways[1].label);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_lies_upon_anything_and_all_are_within(
        nodes in 1_usize..24,
        pairs in prop::collection::vec((0_usize..24, 0_usize..24), 0..40),
    ) {
        let mut links: Vec<Link> = pairs
            .into_iter()
            .filter(|(from, to)| *from < nodes && *to < nodes)
            .map(|(from, to)| link(from, to))
            .collect();
        links.sort_by_key(|link| (link.from, link.to));
        links.dedup_by_key(|link| (link.from, link.to));
        let sizes = vec![CARD; nodes];
        let placed = place(&sizes, &links);
        for (number, one) in placed.nodes.iter().enumerate() {
            prop_assert!(one.x >= 0.0 && one.x + CARD.width <= placed.size.width + 0.2);
            prop_assert!(one.y >= 0.0 && one.y + CARD.height <= placed.size.height + 0.2);
            for other in placed.nodes.iter().skip(number + 1) {
                prop_assert!(!overlap(*one, *other), "{one:?} {other:?}");
            }
        }
        let labels: Vec<Point> = placed.ways.iter().filter_map(|way| way.label).collect();
        for (number, one) in labels.iter().enumerate() {
            for other in labels.iter().skip(number + 1) {
                let is_upon = (one.x - other.x).abs() < 89.0 && (one.y - other.y).abs() < 15.8;
                prop_assert!(!is_upon, "{one:?} {other:?}");
            }
        }
        prop_assert_eq!(place(&sizes, &links), placed);
    }
}
