//! Templates of paths: bounded, the same however often they are folded, and learnt alike in any order.

use parsers::template::{Learner, TEMPLATE_BYTES_MAX, fold, parts};

/// Small, so that short inputs reach them.
const WORDS_MAX: usize = 3;
const PLACES_MAX: usize = 1 << 12;

pub(crate) fn holds(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let paths: Vec<&str> = text.lines().take(64).collect();
    for path in &paths {
        let once = fold(path);
        assert!(once.len() <= TEMPLATE_BYTES_MAX, "{path:?}");
        assert!(!once.contains(['?', '#']), "{path:?}");
        assert_eq!(once, fold(&once), "{path:?}");
    }
    let forth = learnt(paths.iter());
    let back = learnt(paths.iter().rev());
    if !forth.is_full() && !back.is_full() {
        for path in &paths {
            assert_eq!(forth.fold(parts(path)), back.fold(parts(path)), "{path:?}");
        }
    }
}

fn learnt<'p>(paths: impl Iterator<Item = &'p &'p str>) -> Learner {
    let mut learner = Learner::new(WORDS_MAX, PLACES_MAX);
    for path in paths {
        learner.learn(parts(path));
    }
    learner
}
