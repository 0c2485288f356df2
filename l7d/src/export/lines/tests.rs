use std::sync::Mutex;

use serde_json::Value;

use super::*;
use crate::flow::FlowRing;
use crate::flow::filter::Filters;
use crate::flow::tests::dropped;
use crate::record::{Direction, Sink as _, Tally};

/// Takes so many bytes, and no more until it is told.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

impl Disk {
    fn give_room(&self, bytes: usize) {
        self.0.lock().expect("a lock").1 = bytes;
    }

    fn lines(&self) -> Vec<Value> {
        let bytes = self.0.lock().expect("a lock").0.clone();
        let text = String::from_utf8(bytes).expect("text");
        let whole = text.lines().map(serde_json::from_str);
        whole.collect::<Result<_, _>>().expect("lines of JSON")
    }
}

impl Output for Disk {
    fn write(&mut self, lines: &[u8]) -> (usize, Result<(), OutputError>) {
        let (written, room) = &mut *self.0.lock().expect("a lock");
        let fitting = lines.len().min(*room);
        *room -= fitting;
        written.extend_from_slice(&lines[..fitting]);
        let is_full = fitting < lines.len();
        let full = || Err(OutputError::Later("it is full".to_owned()));
        (fitting, if is_full { full() } else { Ok(()) })
    }
}

struct World {
    ring: Arc<FlowRing>,
    disk: Disk,
    lines: Lines,
    stopper: super::super::Stopper,
    stop: Stop,
}

fn world(form: Form, capacity: usize) -> World {
    let ring = Arc::new(FlowRing::new(capacity, Arc::default()));
    let meter = Arc::new(Meter::default());
    let (stopper, stop) = super::super::stop();
    let from = (0, None);
    let disk = Disk::default();
    disk.give_room(usize::MAX);
    let node = NodeView {
        name: "n1".to_owned(),
        ..NodeView::default()
    };
    let lines = Lines {
        name: "test".to_owned(),
        intake: Intake::new(
            Arc::clone(&ring),
            Filters::default(),
            from,
            Arc::clone(&meter),
        ),
        node: Arc::new(node),
        form,
        output: Box::new(disk.clone()),
        untold: Untold::new(Some(ring.losses().follow())),
        meter,
        pending: Pending::default(),
    };
    World {
        ring,
        disk,
        lines,
        stopper,
        stop,
    }
}

impl World {
    /// Reads and writes until nothing more comes, or nothing more goes.
    fn turn(&mut self) -> Tally {
        while self.lines.fill(&self.stop) == Read::More && self.lines.flush().is_ok() {}
        let _is_full = self.lines.flush();
        self.lines.meter.tally()
    }
}

fn mask(fields: &[&str]) -> Mask {
    let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
    Mask::new(&fields).expect("a mask").expect("fields")
}

fn ports(lines: &[Value]) -> Vec<u64> {
    let port = |line: &Value| line.pointer("/flow/l4/TCP/source_port")?.as_u64();
    lines.iter().filter_map(port).collect()
}

#[test]
fn each_flow_is_a_line_with_where_and_when() {
    let mut world = world(Form::Whole, 1023);
    (1..=700).for_each(|number| world.ring.record(&dropped(number)));
    let tally = world.turn();
    assert_eq!(
        (tally.seen, tally.delivered, tally.waiting()),
        (700, 700, 0)
    );
    let lines = world.disk.lines();
    assert_eq!(ports(&lines), (1..=700).collect::<Vec<u64>>());
    assert_eq!(lines[0]["node_name"], "n1");
    assert_eq!(lines[0]["time"], lines[0]["flow"]["time"]);
    assert_eq!(lines[0]["flow"]["verdict"], "FORWARDED");
}

#[test]
fn a_mask_leaves_where_and_when() {
    let mut world = world(Form::Masked(mask(&["l4.TCP.source_port"])), 7);
    world.ring.record(&dropped(3));
    world.turn();
    let line = &world.disk.lines()[0];
    let expected = serde_json::json!({
        "flow": { "l4": { "TCP": { "source_port": 3 } } },
        "node_name": "n1",
        "time": "1970-01-01T00:00:00.000001Z",
    });
    assert_eq!(*line, expected);
}

#[test]
fn what_cannot_be_written_waits_and_what_is_overwritten_meanwhile_is_told() {
    let mut world = world(Form::Whole, 255);
    world.disk.give_room(10_000);
    for number in 1..=10_000 {
        world.ring.record(&dropped(number));
        if number % 100 == 0 {
            world.turn();
        }
    }
    let tally = world.turn();
    // What is made and not written is bounded.
    assert!(tally.waiting() > 0 && tally.waiting() < 300, "{tally:?}");
    assert!(world.lines.pending.bytes.len() < 2 * CHUNK_BYTES);
    assert_eq!(tally.seen, world.lines.intake.position());
    world.disk.give_room(usize::MAX);
    world.turn();
    let tally = world.turn();
    assert_eq!((tally.seen, tally.waiting()), (10_000, 0));
    assert!(tally.lost > 9000, "{tally:?}");
    world.stopper.stop_at(world.ring.end());
    while world.lines.tell_loss() {}
    world.turn();
    let lines = world.disk.lines();
    assert_eq!(ports(&lines).len() as u64, tally.delivered);
    assert!(ports(&lines).is_sorted());
    let told = lines
        .iter()
        .filter_map(|line| line.pointer("/lost_events/num_events_lost"));
    let told = told.map(|number| {
        number
            .as_str()
            .expect("text")
            .parse::<u64>()
            .expect("a number")
    });
    assert_eq!(told.sum::<u64>(), tally.lost);
}

#[test]
fn equal_flows_become_one_line_with_their_numbers_by_direction() {
    let groups = Groups::new(mask(&["l4.TCP.source_port"]), Duration::from_hours(1));
    let mut world = world(Form::Grouped(groups), 255);
    for number in 0..60 {
        let mut record = dropped(number % 3);
        record.direction = match number % 2 {
            0 => Direction::Ingress,
            _ => Direction::Egress,
        };
        world.ring.record(&record);
    }
    let tally = world.turn();
    assert_eq!((tally.delivered, tally.waiting()), (0, 60));
    assert!(world.disk.lines().is_empty());
    world.lines.tell_groups();
    assert_eq!(world.turn().delivered, 60);
    let lines = world.disk.lines();
    assert_eq!(lines.len(), 3);
    for line in &lines {
        let counts = &line["flow"]["aggregate"];
        let expected = serde_json::json!({ "ingress_flow_count": 10, "egress_flow_count": 10 });
        assert_eq!(*counts, expected);
        assert_eq!(line["flow"]["time"], line["time"]);
        assert!(line["flow"].get("verdict").is_none(), "{line}");
    }
}

#[test]
fn groups_are_told_before_there_are_too_many() {
    let groups = Groups::new(mask(&["l4.TCP"]), Duration::from_hours(1));
    let mut world = world(Form::Grouped(groups), 65_535);
    for number in 0..20_000 {
        world.ring.record(&dropped(number));
    }
    world.turn();
    world.turn();
    assert!(world.lines.meter.tally().delivered >= 16_384);
}

#[test]
fn an_export_that_is_told_to_stop_writes_what_there_was_by_then() {
    let world = world(Form::Whole, 1023);
    (1..=900).for_each(|number| world.ring.record(&dropped(number)));
    world.stopper.stop_at(world.ring.end());
    (901..=950).for_each(|number| world.ring.record(&dropped(number)));
    let (meter, disk) = (Arc::clone(&world.lines.meter), world.disk.clone());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .expect("a runtime")
        .block_on(world.lines.run(world.stop));
    let tally = meter.tally();
    assert_eq!(
        (tally.seen, tally.delivered, tally.waiting()),
        (900, 900, 0)
    );
    assert_eq!(meter.position(), 900);
    assert_eq!(disk.lines().len(), 900);
}

#[test]
fn what_a_stopped_export_cannot_write_is_lost_and_counted() {
    let world = world(Form::Whole, 1023);
    (1..=100).for_each(|number| world.ring.record(&dropped(number)));
    world.stopper.stop_at(world.ring.end());
    world.disk.give_room(1000);
    let meter = Arc::clone(&world.lines.meter);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .expect("a runtime")
        .block_on(world.lines.run(world.stop));
    let tally = meter.tally();
    assert_eq!((tally.seen, tally.waiting()), (100, 0));
    assert!(tally.lost > 90, "{tally:?}");
    assert_eq!(meter.trouble().as_deref(), Some("it is full"));
}
