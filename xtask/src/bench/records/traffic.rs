//! Loads between two namespaces: what they managed, per second.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use testbed::Host;

use super::kernel::ratio;

const PORT: u16 = 5201;
/// Ports of servers that get a connection each in turn, so that a client's ports suffice.
const PORTS: std::ops::Range<u16> = 5300..5308;
/// A load that cannot go on has met a bug.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between whom.
#[derive(Clone, Copy)]
pub(super) struct Path<'h> {
    pub(super) client: &'h Host,
    pub(super) server: &'h Host,
    pub(super) address: Ipv4Addr,
}

/// An open connection: the client's end and the server's.
pub(super) fn connection(path: Path<'_>) -> anyhow::Result<[TcpStream; 2]> {
    let listener = path
        .server
        .inside(|| Ok(TcpListener::bind((path.address, PORT))?))?;
    let client = path
        .client
        .inside(|| Ok(TcpStream::connect((path.address, PORT))?))?;
    let (server, _) = listener.accept()?;
    for end in [&client, &server] {
        end.set_nodelay(true)?;
        end.set_read_timeout(Some(PATIENCE))?;
    }
    Ok([client, server])
}

/// Sockets that have sent each other a datagram.
pub(super) fn datagram_sockets(path: Path<'_>) -> anyhow::Result<[UdpSocket; 2]> {
    let server = path
        .server
        .inside(|| Ok(UdpSocket::bind((path.address, PORT))?))?;
    let client = path.client.inside(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((path.address, PORT))?;
        Ok(socket)
    })?;
    for end in [&client, &server] {
        end.set_read_timeout(Some(PATIENCE))?;
    }
    let mut byte = [0];
    client.send(b"x")?;
    let (_, from) = server.recv_from(&mut byte)?;
    server.send_to(b"x", from)?;
    client.recv(&mut byte)?;
    Ok([client, server])
}

/// One byte there and back again over one TCP connection: round trips per second.
pub(super) fn round_trips(path: Path<'_>, time: Duration) -> anyhow::Result<f64> {
    let [mut client, mut server] = connection(path)?;
    std::thread::scope(|scope| {
        let echo = scope.spawn(move || {
            let mut byte = [0];
            while server.read(&mut byte)? > 0 {
                server.write_all(&byte)?;
            }
            anyhow::Ok(())
        });
        let mut count = 0;
        let mut byte = [0];
        let began = Instant::now();
        while began.elapsed() < time {
            client.write_all(b"x")?;
            client.read_exact(&mut byte)?;
            count += 1;
        }
        let rate = per_second(count, began.elapsed());
        drop(client);
        joined(echo)?;
        Ok(rate)
    })
}

/// As many datagrams of 64 bytes as one sender can send: those that arrived, per second.
pub(super) fn datagrams(path: Path<'_>, time: Duration) -> anyhow::Result<f64> {
    let [client, server] = datagram_sockets(path)?;
    server.set_read_timeout(Some(Duration::from_millis(200)))?;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let mut count = 0_u64;
            let mut buffer = [0; 64];
            loop {
                match server.recv(&mut buffer) {
                    Ok(_) => count += 1,
                    Err(_) if is_over.load(Ordering::Relaxed) => return anyhow::Ok(count),
                    Err(error) if is_timeout(&error) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        });
        let began = Instant::now();
        while began.elapsed() < time {
            for _ in 0..64 {
                client.send(&[b'x'; 64])?;
            }
        }
        let elapsed = began.elapsed();
        is_over.store(true, Ordering::Relaxed);
        Ok(per_second(joined(receiver)?, elapsed))
    })
}

/// Connections that are opened, asked once, answered and closed, one after another: per second.
pub(super) fn connections(path: Path<'_>, time: Duration) -> anyhow::Result<f64> {
    path.client
        .set("net/ipv4/ip_local_port_range", "1024 65000")?;
    path.client.set("net/ipv4/tcp_tw_reuse", "1")?;
    let listeners = path.server.inside(|| {
        let bind = |port| TcpListener::bind((path.address, port));
        Ok(PORTS.map(bind).collect::<Result<Vec<_>, _>>()?)
    })?;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            for listener in listeners.iter().cycle() {
                let (mut connection, _) = listener.accept()?;
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let mut byte = [0];
                connection.read_exact(&mut byte)?;
                connection.write_all(&byte)?;
            }
            anyhow::Ok(())
        });
        let rate = path.client.inside(|| {
            let ask = |port| -> anyhow::Result<()> {
                let mut connection = TcpStream::connect((path.address, port))?;
                let mut byte = [0];
                connection.write_all(b"x")?;
                Ok(connection.read_exact(&mut byte)?)
            };
            let began = Instant::now();
            let mut count = 0;
            let mut ports = PORTS.cycle();
            while began.elapsed() < time {
                ask(ports.next().unwrap_or(PORT))?;
                count += 1;
            }
            let rate = per_second(count, began.elapsed());
            is_over.store(true, Ordering::Relaxed);
            let _last = TcpStream::connect((path.address, ports.next().unwrap_or(PORT)))?;
            Ok(rate)
        })?;
        joined(server)?;
        Ok(rate)
    })
}

/// Datagrams that each begin a connection, at a given rate or as fast as one sender can: to
/// addresses behind the outside host, which says nothing to them. Gives the rate that was reached.
pub(super) fn new_flows(client: &Host, rate: Option<u32>, time: Duration) -> anyhow::Result<f64> {
    let socket = client.inside(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
    paced(rate, time, |number| {
        let [high, middle, low, least] = number.to_be_bytes();
        let address = Ipv4Addr::new(198, 18 + (high & 1), middle, low);
        // Of the ports, those that no protocol has.
        let port = 40_000 + u16::from(least);
        socket.send_to(b"x", SocketAddrV4::new(address, port))?;
        Ok(())
    })
}

/// The outside host takes what is for these addresses, and is silent.
pub(super) fn swallow_new_flows(outside: &Host) -> anyhow::Result<()> {
    outside.ip("route add blackhole 198.18.0.0/15")
}

/// HTTP/1.1 requests at a rate, over a few connections in turn.
pub(super) fn requests(path: Path<'_>, rate: u32, time: Duration) -> anyhow::Result<f64> {
    let mut connections = path.client.inside(|| {
        let open = |_| TcpStream::connect((path.address, 80));
        Ok((0..10).map(open).collect::<Result<Vec<_>, _>>()?)
    })?;
    for connection in &connections {
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(PATIENCE))?;
    }
    let places = connections.len().max(1);
    let mut buffer = [0; 4096];
    paced(Some(rate), time, |number| {
        let place = usize::try_from(number)? % places;
        let connection = connections.get_mut(place).context("a connection")?;
        write!(
            connection,
            "GET /path7/64?n={number} HTTP/1.1\r\nHost: server.default\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
        )?;
        let read = connection.read(&mut buffer)?;
        let answer = buffer.get(..read).unwrap_or_default();
        anyhow::ensure!(answer.starts_with(b"HTTP/1.1 200"), "not answered well");
        Ok(())
    })
}

/// Does something so many times per second, and tells how often it managed.
fn paced(
    rate: Option<u32>,
    time: Duration,
    mut work: impl FnMut(u32) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let (_never, tick) = sync_channel::<()>(0);
    let began = Instant::now();
    let mut count = 0_u32;
    while began.elapsed() < time {
        let due = match rate {
            Some(rate) => due(rate, began.elapsed()),
            None => count.saturating_add(64),
        };
        while count < due {
            work(count)?;
            count += 1;
        }
        if rate.is_some() {
            let _elapsed = tick.recv_timeout(Duration::from_millis(1));
        }
    }
    Ok(per_second(u64::from(count), began.elapsed()))
}

fn due(rate: u32, elapsed: Duration) -> u32 {
    let due = u128::from(rate) * elapsed.as_micros() / 1_000_000;
    u32::try_from(due).unwrap_or(u32::MAX)
}

/// Bytes in bulk over one TCP connection, as iperf3 tells: Gbit/s.
pub(super) fn bulk(path: Path<'_>, time: Duration) -> anyhow::Result<f64> {
    let mut command = path.server.command("iperf3");
    command.args(["-s", "-1", "-p", &PORT.to_string()]);
    let mut server = path.server.start("iperf3", command)?;
    path.server.wait_listening(PORT)?;
    let [address, port, seconds] = [
        path.address.to_string(),
        PORT.to_string(),
        time.as_secs().max(1).to_string(),
    ];
    let words = [
        "iperf3", "-J", "-c", &address, "-p", &port, "-t", &seconds, "-O", "1",
    ];
    let output = path.client.output(&words)?;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let received = told.pointer("/end/sum_received/bits_per_second");
    let bits = received
        .and_then(serde_json::Value::as_f64)
        .with_context(|| format!("iperf3 told no speed: {told}"))?;
    server.wait()?;
    Ok(bits / 1e9)
}

fn per_second(count: u64, elapsed: Duration) -> f64 {
    ratio(count, 1) / elapsed.as_secs_f64()
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, anyhow::Result<T>>) -> anyhow::Result<T> {
    thread
        .join()
        .unwrap_or_else(|_| Err(anyhow::anyhow!("a thread of the load panicked")))
}
