//! A proxy on loopback between clients and servers that this process plays itself.
//!
//! No kernel programs: the directory answers for every connection where its server is.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use l7d::config::Transport;
use l7d::identity::Names;
use l7d::policy::{Door, Live};
use l7d::proxy::{self, Admission, Directory, Learnt, Settings, Sharing, Upstream};
use l7d::record::{self, Direction, HttpKind, IdentityNumber, Outcome, Party, Record, Sink};
use l7d::session::{Ends, Redaction};

use crate::running::Running;

/// Longer than anything here takes; what waits longer hangs, and the test says so.
pub(crate) const HANG: Duration = Duration::from_secs(20);

/// How a test's proxy differs from the usual one.
pub(crate) struct Plan {
    pub(crate) server: SocketAddr,
    pub(crate) live: Arc<Live>,
    pub(crate) source: Party,
    pub(crate) destination: Party,
    /// Connect with the client's own address.
    pub(crate) is_transparent: bool,
    pub(crate) head_timeout: Duration,
    /// How long connections may go on after a stop.
    pub(crate) drain: Duration,
    /// Nobody redirected what comes.
    pub(crate) is_stray: bool,
    /// Which connection that is asked about makes the directory panic.
    pub(crate) panics_at: Option<usize>,
    /// Which connection that is asked about is another endpoint's.
    pub(crate) elsewhere_at: Option<usize>,
    /// The first connection that is asked about waits for word here, and its worker with it.
    pub(crate) hold: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
}

/// A running proxy and what it has recorded.
pub(crate) struct World {
    running: Running,
    lines: Arc<Lines>,
    pub(crate) entry: SocketAddr,
}

struct Answers {
    plan: Plan,
    asked: AtomicUsize,
}

impl Directory for Answers {
    fn admit(
        &self,
        transport: Transport,
        client: SocketAddr,
        _original: SocketAddr,
    ) -> Option<Admission> {
        if self.plan.is_stray {
            return None;
        }
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        assert_ne!(
            self.plan.panics_at,
            Some(number),
            "a fault that a test wants"
        );
        let hold = self.plan.hold.lock().unwrap().take();
        if let Some(hold) = hold {
            hold.recv().unwrap();
        }
        let Plan {
            live,
            source,
            destination,
            ..
        } = &self.plan;
        let door = live.door(source, destination, transport.number());
        let direction = match &door {
            Door::Enforce(judge) => judge.direction(),
            Door::Watch => Direction::Ingress,
        };
        let mut destination = destination.clone();
        if self.plan.elsewhere_at == Some(number)
            && let Some(endpoint) = &mut destination.endpoint
        {
            Arc::make_mut(endpoint).id.0 += 1;
        }
        Some(Admission {
            ends: Ends::new(source.clone(), destination, direction),
            door,
            upstream: Upstream {
                server: self.plan.server,
                client: self.plan.is_transparent.then_some(client),
                is_inside: true,
            },
        })
    }

    fn readmit(
        &self,
        _client: SocketAddr,
        _server: SocketAddr,
        was_judged: bool,
    ) -> Option<Admission> {
        let Plan {
            live,
            source,
            destination,
            ..
        } = &self.plan;
        let number = Transport::Tcp.number();
        let door = if was_judged {
            live.judging_door(source, destination, number)
        } else {
            live.door(source, destination, number)
        };
        let direction = match &door {
            Door::Enforce(judge) => judge.direction(),
            Door::Watch => Direction::Ingress,
        };
        Some(Admission {
            ends: Ends::new(source.clone(), destination.clone(), direction),
            door,
            upstream: Upstream {
                server: self.plan.server,
                client: None,
                is_inside: true,
            },
        })
    }

    fn learn(
        &self,
        _client: &Party,
        _name: &str,
        _answers: &mut dyn Iterator<Item = (IpAddr, u32)>,
    ) -> Learnt {
        Learnt::Known
    }

    fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.plan.live.changes()
    }
}

impl World {
    /// A proxy that watches, in front of `server`.
    pub(crate) fn watching(server: SocketAddr) -> Self {
        Self::start(Plan::watching(server))
    }

    pub(crate) fn start(plan: Plan) -> Self {
        let settings = Settings {
            connections_per_endpoint: 1000,
            workers: 1,
            sharing: Sharing::Group,
            limits: parsers::Limits::default(),
            head_timeout: plan.head_timeout,
            drain: plan.drain,
            marks: l7d::config::Marks::default(),
            dns_refusal: parsers::dns::Rcode::REFUSED,
            names: Arc::new(Names::new(l7d::config::Dns::default())),
            translations: Arc::default(),
            stats: Arc::default(),
            redaction: Redaction::new(&l7d::config::Redact::default()),
        };
        let lines = Arc::new(Lines::default());
        let directory: Arc<dyn Directory> = Arc::new(Answers {
            plan,
            asked: AtomicUsize::new(0),
        });
        let sink: Arc<dyn Sink> = Arc::clone(&lines) as Arc<dyn Sink>;
        let running = Running::start(settings, directory, sink);
        let entry = (Ipv4Addr::LOCALHOST, running.port()).into();
        Self {
            running,
            lines,
            entry,
        }
    }

    /// The same proxy over IPv6.
    pub(crate) fn entry_v6(&self) -> SocketAddr {
        (Ipv6Addr::LOCALHOST, self.entry.port()).into()
    }

    /// For how long a worker has not moved.
    pub(crate) fn still_for(&self) -> Duration {
        self.running.still_for()
    }

    /// Hands everything to another proxy, by a socket between the two.
    pub(crate) fn hand_over(&self) {
        self.running.hand_over();
    }

    /// Tells the proxy to stop; who waits for that is joined.
    pub(crate) fn begin_stop(&mut self) -> JoinHandle<()> {
        let running = self.running.take();
        std::thread::spawn(move || running.stop())
    }

    pub(crate) fn stats(&self) -> Arc<proxy::Stats> {
        self.running.stats()
    }

    pub(crate) fn connect(&self) -> Peer {
        Peer::connect(self.entry)
    }

    /// Waits until a line that holds `text` has been recorded.
    pub(crate) fn wait_for(&self, text: &str) {
        self.lines
            .wait(|lines| lines.iter().any(|line| line.contains(text)));
    }

    /// Waits for that many records, ends the proxy, and gives all there are: one too many shows.
    pub(crate) fn records(mut self, at_least: usize) -> Vec<String> {
        self.lines.wait(|lines| lines.len() >= at_least);
        self.running.take().stop();
        self.lines.all()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.running.take().stop();
    }
}

impl Plan {
    /// Nobody has a policy.
    pub(crate) fn watching(server: SocketAddr) -> Self {
        let party = |last, port| {
            Party::unnamed(
                (Ipv4Addr::new(10, 0, 0, last), port).into(),
                IdentityNumber(300),
            )
        };
        Self {
            server,
            live: Arc::new(Live::new(Arc::new(policy_l7::Compiled::empty()))),
            source: party(1, 40000),
            destination: party(2, 80),
            is_transparent: false,
            head_timeout: HANG,
            drain: Duration::ZERO,
            is_stray: false,
            panics_at: None,
            elsewhere_at: None,
            hold: Mutex::new(None),
        }
    }
}

/// Records as lines, in the order they came.
#[derive(Default)]
pub(crate) struct Lines {
    all: Mutex<Vec<String>>,
    grew: Condvar,
}

impl Lines {
    pub(crate) fn all(&self) -> Vec<String> {
        self.all.lock().unwrap().clone()
    }

    fn wait(&self, is_there: impl Fn(&[String]) -> bool) {
        let all = self.all.lock().unwrap();
        let (all, waited) = self
            .grew
            .wait_timeout_while(all, HANG, |all| !is_there(all))
            .unwrap();
        // Cloned, since a panic while it is locked would hurt the proxy's thread.
        let so_far = all.clone();
        drop(all);
        assert!(!waited.timed_out(), "recorded so far: {so_far:#?}");
    }
}

impl Sink for Lines {
    fn record(&self, record: &Record) {
        self.all.lock().unwrap().push(line(record));
        self.grew.notify_all();
    }
}

/// What a test compares: no times, no addresses but the direction they show.
fn line(record: &Record) -> String {
    let text = |span| String::from_utf8_lossy(record.text(span)).into_owned();
    let verdict = record.verdict;
    let what = match &record.event {
        record::Event::Http(http) => {
            let (method, url, detail) = (text(http.method), text(http.url), text(http.detail));
            let what = match http.kind {
                HttpKind::Request => format!("request {method} {url}"),
                HttpKind::Response => format!("response {} {method} {url}", http.code),
                HttpKind::Sample => format!("sample {method} {url}"),
            };
            format!("{what} {} {verdict:?} {detail}", http.outcome.as_str())
        }
        record::Event::Opaque(opaque) => {
            let (note, detail) = (text(opaque.note), text(opaque.detail));
            let (sent, received) = (opaque.sent, opaque.received);
            let what = format!("opaque {note} {sent} {received} {verdict:?}");
            match opaque.outcome {
                Outcome::Passed => format!("{what} {detail}"),
                outcome => format!("{what} {} {detail}", outcome.as_str()),
            }
        }
        record::Event::Dns(dns) => {
            let (query, detail) = (text(dns.query), text(dns.detail));
            let what = if dns.is_response { "answer" } else { "query" };
            let outcome = match dns.outcome {
                Outcome::Passed => "",
                outcome => outcome.as_str(),
            };
            format!(
                "{what} {query} {} {verdict:?} {outcome} {detail}",
                dns.rcode
            )
        }
        other => format!("{other:?}"),
    };
    let names: Vec<&str> = record
        .policies
        .iter()
        .map(|policy| policy.name.as_str())
        .collect();
    let is_reply = record.source.addr.port() == 80;
    let turned = if record.reply == Some(is_reply) {
        ""
    } else {
        "the wrong way round: "
    };
    format!("{turned}{} {}", what.trim_end(), names.join(","))
        .trim_end()
        .to_owned()
}

/// A server whose connections are played by a test, one after another, on a thread of its own.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Plays each part once, in order, for one connection each.
    pub(crate) fn play(parts: Vec<Part>) -> Self {
        Self::play_at((Ipv4Addr::LOCALHOST, 0).into(), parts)
    }

    /// The same, at an address.
    pub(crate) fn play_at(address: SocketAddr, parts: Vec<Part>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            for part in parts {
                let (stream, _) = listener.accept().unwrap();
                part(Peer::new(stream));
            }
        });
        Self {
            address,
            thread: Some(thread),
        }
    }

    pub(crate) fn once(part: impl FnOnce(Peer) + Send + 'static) -> Self {
        Self::play(vec![Box::new(part)])
    }

    /// Plays a part for each of so many connections, all at the same time.
    pub(crate) fn each(count: usize, part: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            std::thread::scope(|scope| {
                for _ in 0..count {
                    let (stream, _) = listener.accept().unwrap();
                    scope.spawn(|| part(Peer::new(stream)));
                }
            });
        });
        Self {
            address,
            thread: Some(thread),
        }
    }

    /// Waits until the parts are played, and fails when one has failed.
    pub(crate) fn join(mut self) {
        let thread = self.thread.take().unwrap();
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

pub(crate) type Part = Box<dyn FnOnce(Peer) + Send>;

impl Drop for Server {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        // A part that was never asked for waits in accept.
        while !thread.is_finished() {
            drop(TcpStream::connect(self.address));
            std::thread::yield_now();
        }
        drop(thread.join());
    }
}

/// How the other end stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Reset,
}

/// One end of a connection.
pub(crate) struct Peer(TcpStream);

impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(HANG)).unwrap();
        stream.set_write_timeout(Some(HANG)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub(crate) fn connect(to: SocketAddr) -> Self {
        Self::new(TcpStream::connect(to).unwrap())
    }

    pub(crate) fn of(socket: socket2::Socket) -> Self {
        Self::new(socket.into())
    }

    pub(crate) fn remote(&self) -> SocketAddr {
        self.0.peer_addr().unwrap()
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Sends all of it, or as much as the other end takes.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.0.write_all(bytes) {
            assert!(is_cut(error.kind()), "{error}");
        }
    }

    /// Sends until nobody takes any more: every buffer on the way is full.
    pub(crate) fn send_until_stuck(&mut self) {
        self.0
            .set_write_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let bytes = vec![b'x'; 1 << 20];
        while self.0.write(&bytes).is_ok() {}
        self.0.set_write_timeout(Some(HANG)).unwrap();
    }

    /// Reads exactly what is expected.
    pub(crate) fn expect(&mut self, expected: &[u8]) {
        let mut bytes = vec![0; expected.len()];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.0.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) => panic!("{error} after {:?}", shown(&bytes[..filled])),
            }
        }
        assert_eq!(shown(&bytes[..filled]), shown(expected));
    }

    /// Reads that many bytes, or as many as come.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(count).unwrap();
        if let Err(error) = (&mut self.0).take(limit).read_to_end(&mut bytes) {
            assert!(is_cut(error.kind()), "{error}");
        }
        bytes
    }

    /// Reads until the other end stops.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        let end = match self.0.read_to_end(&mut bytes) {
            Ok(_) => End::Closed,
            Err(error) if is_cut(error.kind()) => End::Reset,
            Err(error) => panic!("{error} after {:?}", shown(&bytes)),
        };
        (bytes, end)
    }

    pub(crate) fn half_close(&self) {
        if let Err(error) = self.0.shutdown(Shutdown::Write) {
            assert_eq!(error.kind(), ErrorKind::NotConnected);
        }
    }

    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.0)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
}

fn is_cut(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// Bytes for an assertion's message.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let start: &[u8] = &bytes[..bytes.len().min(400)];
    format!("{} ({} bytes)", start.escape_ascii(), bytes.len())
}
