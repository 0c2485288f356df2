//! Records of the kernel, as it would write them, and what is told of them.

use std::sync::Mutex;

use l7d_ebpf::ABI_VERSION;
use l7d_ebpf::records::SEGMENT_LOSSY;

use super::*;
use crate::identity::Names;
use crate::record::{Event, Record, Sink};

/// Keeps one line of each message, and how far both ends were.
#[derive(Default)]
struct Told(Mutex<Vec<String>>, Mutex<Vec<(u32, u32)>>);

impl Sink for Told {
    fn record(&self, record: &Record) {
        let line = match &record.event {
            Event::Http(http) if http.code == 0 && record.reply == Some(false) => {
                let url = String::from_utf8_lossy(record.text(http.url));
                format!("> {}", url.trim_start_matches("http://h"))
            }
            Event::Http(http) => format!("< {} {:?}", http.code, http.outcome),
            Event::Opaque(opaque) => {
                let note = String::from_utf8_lossy(record.text(opaque.note));
                format!("{note} {} {}", opaque.sent, opaque.received)
            }
            other => format!("{other:?}"),
        };
        if let Some(http) = record.http() {
            let seen = (http.network.client_rtt_us, http.network.server_rtt_us);
            self.1.lock().expect("one thread").push(seen);
        }
        self.0.lock().expect("one thread").push(line);
    }
}

/// A tap, and both ends of a connection of which it is told.
struct World {
    tap: Tap,
    told: Arc<Told>,
    stats: Arc<Stats>,
    next: [u32; 2],
    segment: Segment,
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

impl World {
    fn new() -> Self {
        let told = Arc::new(Told::default());
        let stats = Arc::new(Stats::default());
        let settings = Settings {
            limits: Limits::default(),
            reassembly: REASSEMBLY,
            connections: 8,
            redaction: Redaction::default(),
            names: Arc::new(Names::new(crate::config::Dns::default())),
            translations: Arc::default(),
            measures: Arc::default(),
        };
        let sink: Arc<dyn Sink> = Arc::clone(&told) as _;
        let recorder = Recorder::tapping(sink, Redaction::default());
        let identities = Identities::default();
        let tap = Tap::new(settings, Rc::new(recorder), identities, Arc::clone(&stats));
        let segment = Segment {
            version: ABI_VERSION,
            flags: SEGMENT_WHOLE,
            tcp_flags: TcpFlags::ACK.0,
            protocol: 6,
            taken: 0,
            time_ns: 1,
            connection: 7,
            source: [0; 16],
            destination: [0; 16],
            source_port: 0,
            destination_port: 0,
            sequence: 0,
            acknowledged: 0,
            missing: 0,
            skipped: 0,
            skipped_from: 0,
            reserved: 0,
        };
        Self {
            tap,
            told,
            stats,
            next: [u32::MAX - 20, 1000],
            segment,
        }
    }

    /// One side says this, and leaves so many bytes out behind it.
    fn say(&mut self, side: usize, bytes: &[u8], missing: u32) -> Option<Order> {
        let ports = [40_000, 80];
        let mut segment = self.segment;
        if side == SERVER {
            segment.flags |= SEGMENT_REPLY;
        }
        segment.source_port = ports[side];
        segment.destination_port = ports[1 - side];
        segment.sequence = self.next[side];
        segment.acknowledged = self.next[1 - side];
        segment.missing = missing;
        segment.time_ns += 1;
        let length = u32::try_from(bytes.len()).expect("short");
        self.next[side] = self.next[side].wrapping_add(length).wrapping_add(missing);
        let order = self.tap.handle(&segment, bytes);
        // What was said in front of one record is not said again.
        self.segment.skipped = 0;
        self.segment.flags = 0;
        order
    }

    /// One side says something of which nothing is copied; told with its next record.
    fn leave_out(&mut self, side: usize, bytes: u32, is_lossy: bool) {
        self.segment.skipped = u64::from(bytes);
        self.segment.skipped_from = self.next[side];
        if is_lossy {
            self.segment.flags |= SEGMENT_LOSSY;
        }
        self.next[side] = self.next[side].wrapping_add(bytes);
    }

    /// One side has no more to say.
    fn end(&mut self, side: usize) {
        self.segment.tcp_flags |= TcpFlags::FIN.0;
        self.say(side, b"", 0);
        self.segment.tcp_flags &= !TcpFlags::FIN.0;
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.0.lock().expect("one thread"))
    }

    fn gaps(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.stats.gaps), read(&self.stats.gap_bytes))
    }
}

#[test]
fn messages_bear_what_the_kernel_measures_of_their_connection() {
    let mut world = World::new();
    world.say(CLIENT, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", 0);
    let number = world.segment.connection;
    let measures = Arc::clone(&world.tap.settings.measures);
    measures.note(&measures::tests::measured(number, false, 300));
    measures.note(&measures::tests::measured(number, true, 40));
    world.say(SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0);
    assert_eq!(world.told(), ["> /a", "< 200 Passed"]);
    assert_eq!(
        *world.told.1.lock().expect("one thread"),
        [(0, 0), (40, 300)]
    );
}

#[test]
fn a_body_that_was_left_out_is_no_gap() {
    let mut world = World::new();
    world.say(
        CLIENT,
        b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n12345",
        45,
    );
    world.leave_out(CLIENT, 50, false);
    world.say(CLIENT, b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n", 0);
    world.say(
        SERVER,
        b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n",
        65_000,
    );
    world.leave_out(SERVER, 5000, false);
    world.say(
        SERVER,
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        0,
    );
    assert_eq!(
        world.told(),
        ["> /a", "> /b", "< 200 Passed", "< 404 Passed"]
    );
    assert_eq!(world.gaps(), (0, 0));
}

#[test]
fn behind_chunks_that_were_left_out_the_next_message_is_found() {
    let mut world = World::new();
    world.say(CLIENT, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", 0);
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\nxxx";
    world.say(SERVER, head, 4000);
    world.say(CLIENT, b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n", 0);
    world.leave_out(SERVER, 70_000, false);
    world.say(
        SERVER,
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        0,
    );
    assert_eq!(
        world.told(),
        ["> /a", "< 200 Passed", "> /b", "< 404 Passed"]
    );
    assert_eq!(world.gaps(), (0, 0));
}

#[test]
fn what_found_no_room_is_a_gap_and_an_answer_in_it_was_not_seen() {
    let mut world = World::new();
    world.say(CLIENT, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", 0);
    world.leave_out(SERVER, 300, true);
    world.end(SERVER);
    world.end(CLIENT);
    assert_eq!(world.told(), ["> /a", "< 0 Unseen"]);
    assert_eq!(world.gaps(), (1, 300));
}

#[test]
fn a_head_that_was_left_out_is_a_gap() {
    let mut world = World::new();
    world.say(CLIENT, b"GET /a HTTP/1.1\r\nHost: h\r\nCookie: ", 60_000);
    world.say(
        SERVER,
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        0,
    );
    assert_eq!(world.gaps(), (1, 60_000));
    assert_eq!(world.told(), ["< 400 Passed"]);
}

#[test]
fn bytes_out_of_order_wait_for_those_before_them() {
    let mut world = World::new();
    world.say(CLIENT, b"GET /0 HTTP/1.1\r\nHost: h\r\n\r\n", 0);
    assert_eq!(world.told(), ["> /0"]);
    let first = world.next[CLIENT];
    world.next[CLIENT] = first.wrapping_add(7);
    world.say(CLIENT, b"a HTTP/1.1\r\nHost: h\r\n\r\n", 0);
    assert!(world.told().is_empty());
    world.next[CLIENT] = first;
    world.say(CLIENT, b"GET /ab", 0);
    world.next[CLIENT] = first.wrapping_add(5);
    world.say(CLIENT, b"ab", 0);
    assert_eq!(world.told(), ["> /aba"]);
    assert_eq!(world.gaps(), (0, 0));
}

#[test]
fn the_kernel_is_told_when_no_more_is_of_use() {
    let mut world = World::new();
    let hello = b"\x16\x03\x01\x00\x05hello";
    assert_eq!(world.say(CLIENT, hello, 0), None);
    let order = world.say(SERVER, b"\x16\x03\x03\x00\x02\x02\x00", 9000);
    assert_eq!(order, Some(Order::StopCopying(7)));
    world.leave_out(CLIENT, 50_000, false);
    world.end(CLIENT);
    world.end(SERVER);
    assert_eq!(world.told(), ["tls 50010 9007"]);
    assert_eq!(world.gaps(), (0, 0));
}

#[test]
fn a_connection_that_is_joined_tells_no_more_than_was_seen() {
    let mut world = World::new();
    world.segment.flags = 0;
    world.say(
        SERVER,
        b"{\"a\": 1}\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        0,
    );
    world.say(CLIENT, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", 0);
    world.say(SERVER, b"HTTP/1.1 204 No Content\r\n\r\n", 0);
    world.end(SERVER);
    world.end(CLIENT);
    let mut told = world.told();
    // The answer whose request nobody saw may come at any time before the end.
    told.retain(|line| line != "< 200 Passed");
    assert_eq!(told, ["> /a", "< 204 Passed"]);
}

#[test]
fn too_many_connections_make_room() {
    let mut world = World::new();
    for id in 0..20 {
        world.segment.connection = id;
        world.segment.flags = SEGMENT_WHOLE;
        world.segment.time_ns += 10;
        world.say(CLIENT, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", 0);
    }
    let open = world.stats.active.load(Ordering::Relaxed);
    let evicted = world.stats.evicted.load(Ordering::Relaxed);
    assert!(open <= 8, "{open}");
    assert_eq!(open + evicted, 20);
}

#[test]
fn the_same_ends_may_begin_again() {
    let mut world = World::new();
    world.say(CLIENT, b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", 0);
    world.next = [5, 6];
    world.segment.flags = SEGMENT_WHOLE;
    world.say(CLIENT, b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n", 0);
    world.say(SERVER, b"HTTP/1.1 204 No Content\r\n\r\n", 0);
    assert_eq!(
        world.told(),
        ["> /a", "< 0 NoResponse", "> /b", "< 204 Passed"]
    );
}

#[test]
fn both_sides_may_speak_first() {
    let mut world = World::new();
    // A server of HTTP/2 sends its settings at once, and its record may come before the client's.
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    world.say(SERVER, &settings, 0);
    world.segment.flags = SEGMENT_WHOLE;
    let mut client = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    client.extend(settings);
    world.say(CLIENT, &client, 0);
    // GET / by the static table of HPACK.
    world.say(CLIENT, &[0, 0, 3, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84], 0);
    world.say(SERVER, &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88], 0);
    assert_eq!(world.told(), ["> http://[::]:80/", "< 200 Passed"]);
    assert_eq!(world.stats.gaps.load(Ordering::Relaxed), 0);
    assert_eq!(world.stats.followed.load(Ordering::Relaxed), 1);
}
