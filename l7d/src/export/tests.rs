use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::clock::Timestamp;
use crate::flow::tests::dropped;
use crate::record::{Ledger, Place, Sink as _, Tally};

struct World {
    folder: tempfile::TempDir,
    ring: Arc<FlowRing>,
    exports: Exports,
}

impl World {
    fn new() -> Self {
        let ring = Arc::new(FlowRing::new(65_535, Arc::new(Ledger::default())));
        let node = Arc::new(NodeView::default());
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            exports: Exports::new(Arc::clone(&ring), node, Templates::default()),
            ring,
        }
    }

    /// Configures files of these names, with more settings.
    fn apply(&mut self, files: &[(&str, &str)]) {
        let path = self.folder.path().display();
        let each = files.iter().map(|(name, more)| {
            format!(
                "- {{ name: {name}, file: {{ path: {path}/{name}.jsonl, keep: 1000{more} }} }}\n"
            )
        });
        let yaml = format!("exports:\n{}", each.collect::<String>());
        let config = config::read_config("test", &yaml).expect("a configuration");
        let specs = config.exports.into_iter();
        let specs = specs.map(|export| Spec::new(export, Filters::default()).expect("a spec"));
        self.exports.apply(specs.collect());
    }

    fn record(&self, numbers: std::ops::Range<u16>) {
        numbers.for_each(|number| self.ring.record(&dropped(number)));
    }

    fn tally(&self) -> Tally {
        self.ring.ledger().tally(Place::Exports)
    }

    fn wait(&self, is_done: impl Fn(&Self) -> bool) {
        while !is_done(self) {
            std::thread::yield_now();
        }
    }
}

/// The source ports of all lines in a folder.
fn ports(folder: &Path) -> Vec<u64> {
    let mut ports = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a file");
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let port = line.pointer("/flow/l4/TCP/source_port");
            ports.push(port.and_then(serde_json::Value::as_u64).unwrap_or(0));
        }
    }
    ports.sort_unstable();
    ports
}

#[test]
fn the_ledger_has_the_sum_of_all_exports_that_ever_were() {
    let mut world = World::new();
    world.apply(&[("a", ""), ("b", "")]);
    world.record(0..100);
    world.wait(|world| world.tally().delivered == 200);
    world.apply(&[("b", "")]);
    world.record(100..150);
    world.wait(|world| world.tally().delivered == 250);
    world.exports.stop();
    let tally = world.tally();
    assert_eq!(
        (tally.seen, tally.delivered, tally.waiting()),
        (250, 250, 0)
    );
    assert!(!tally.is_overdrawn());
    let changes = world.exports.board().changes();
    assert_eq!((changes.added, changes.updated, changes.removed), (2, 0, 1));
    assert!(changes.applied > Timestamp(0));
}

#[test]
fn one_that_changes_goes_on_where_it_stopped() {
    let mut world = World::new();
    world.apply(&[("a", "")]);
    for round in 0..20_u16 {
        world.record(round * 1000..round * 1000 + 500);
        world.apply(&[("a", &format!(", maxBytes: {}", 100_000 + u32::from(round)))]);
        world.record(round * 1000 + 500..round * 1000 + 1000);
    }
    world.exports.stop();
    assert_eq!(
        ports(world.folder.path()),
        (0..20_000).collect::<Vec<u64>>()
    );
    let tally = world.tally();
    assert_eq!((tally.delivered, tally.lost), (20_000, 0));
    assert_eq!(world.exports.board().changes().updated, 20);
}

#[test]
fn one_that_has_not_changed_is_left_alone() {
    let mut world = World::new();
    world.apply(&[("a", "")]);
    world.record(0..10);
    world.apply(&[("a", ""), ("b", "")]);
    world.record(10..20);
    world.exports.stop();
    let names: BTreeSet<String> = world
        .exports
        .board()
        .list()
        .into_iter()
        .map(|row| row.name)
        .collect();
    assert_eq!(names, ["a", "b"].map(str::to_owned).into());
    let read =
        |name: &str| std::fs::read_to_string(world.folder.path().join(name)).expect("a file");
    assert_eq!(read("a.jsonl").lines().count(), 20);
    assert_eq!(read("b.jsonl").lines().count(), 10);
}

#[test]
fn after_its_end_an_export_takes_nothing_and_is_not_active() {
    let mut world = World::new();
    // The flows are of the second behind 1970.
    world.apply(&[("a", "")]);
    let mut settings = world.exports.running[0].settings.clone();
    settings.end = Some(Timestamp(1004));
    let spec = Spec::new(settings, Filters::default()).expect("a spec");
    world.exports.apply(vec![spec]);
    world.record(0..100);
    world.wait(|world| !world.exports.board().list()[0].is_active);
    assert_eq!(ports(world.folder.path()), [0, 1, 2, 3, 4]);
    let tally = world.tally();
    assert_eq!((tally.seen, tally.delivered), (5, 5));
    // One that comes in its place begins with what comes then.
    world.apply(&[("a", ", maxBytes: 5000")]);
    world.record(100..103);
    world.exports.stop();
    assert_eq!(world.tally().delivered, 8);
}

#[test]
fn one_that_cannot_write_says_why_and_keeps_what_it_has_until_it_ends() {
    let mut world = World::new();
    std::fs::create_dir(world.folder.path().join("a.jsonl")).expect("a folder");
    world.apply(&[("a", "")]);
    world.record(0..1);
    world.wait(|world| world.exports.board().list()[0].trouble.is_some());
    let row = world.exports.board().list().remove(0);
    assert_eq!(row.trouble.as_deref(), Some("a.jsonl is no plain file"));
    assert!(row.is_active);
    assert_eq!(row.tally.waiting(), 1);
    world.exports.stop();
    assert_eq!(world.tally().lost, 1);
}
