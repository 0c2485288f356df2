//! Packets of every kind, and how it is known what became of them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use properties::policy::world::{End, World};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use socket2::{Domain, Protocol, Socket, Type};
use testbed::{Host, Process};

use super::{ICMP, TCP, TCP_PORTS, UDP, UDP_PORTS};

/// Somebody who sends and receives.
pub(super) struct Spot {
    pub(super) name: String,
    pub(super) host: Host,
    pub(super) addresses: Vec<IpAddr>,
    /// Position among the pods of the world.
    pub(super) pod: Option<usize>,
    pub(super) datagrams: Vec<UdpSocket>,
    /// Connections to them are made by the kernel; nobody has to accept.
    _listeners: Vec<TcpListener>,
}

impl Spot {
    pub(super) fn new(
        name: &str,
        host: Host,
        addresses: &[&str],
        pod: Option<usize>,
    ) -> anyhow::Result<Self> {
        host.set("net/ipv4/ping_group_range", "0 0")?;
        let (datagrams, listeners) = host.inside(|| {
            let any = |port| SocketAddr::from(([0_u16; 8], port));
            let datagrams = UDP_PORTS.map(|port| UdpSocket::bind(any(port)));
            let listeners = TCP_PORTS.map(|port| TcpListener::bind(any(port)));
            let datagrams: Vec<UdpSocket> = datagrams.into_iter().collect::<Result<_, _>>()?;
            for socket in &datagrams {
                socket.set_nonblocking(true)?;
            }
            let listeners: Vec<TcpListener> = listeners.into_iter().collect::<Result<_, _>>()?;
            Ok((datagrams, listeners))
        })?;
        let addresses = addresses.iter().map(|address| address.parse());
        Ok(Self {
            name: name.to_owned(),
            host,
            addresses: addresses.collect::<Result<_, _>>()?,
            pod,
            datagrams,
            _listeners: listeners,
        })
    }

    pub(super) fn end<'w>(&self, world: &'w World, address: IpAddr) -> End<'w> {
        let outside = world
            .outside
            .iter()
            .find(|outside| outside.address == address);
        match (self.pod.and_then(|pod| world.pods.get(pod)), outside) {
            (Some(pod), _) => End::Pod(pod),
            (None, Some(outside)) => End::Outside(outside),
            (None, None) => End::Reserved("host"),
        }
    }

    /// Answers the datagrams that have come.
    fn answer(&self) {
        let mut buffer = [0; 16];
        for socket in &self.datagrams {
            while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                let _sent = socket.send_to(b"answer", from);
            }
        }
    }
}

/// Source, destination and source port, by which a dropped packet is known; no port for ICMP.
pub(super) type Key = (String, String, u64);

/// A packet that was sent.
pub(super) struct Probe {
    pub(super) told: String,
    pub(super) socket: Socket,
    pub(super) protocol: u8,
    pub(super) key: Key,
    pub(super) passes: bool,
    pub(super) outcome: Option<bool>,
}

impl Probe {
    pub(super) fn send(
        from: &Spot,
        to: IpAddr,
        protocol: u8,
        port: u16,
    ) -> anyhow::Result<(Socket, Key)> {
        let socket = from.host.inside(|| {
            let (kind, spoken) = match protocol {
                TCP => (Type::STREAM, None),
                UDP => (Type::DGRAM, None),
                _ => (Type::DGRAM, Some(Protocol::ICMPV4)),
            };
            let domain = if to.is_ipv4() {
                Domain::IPV4
            } else {
                Domain::IPV6
            };
            let socket = Socket::new(domain, kind, spoken)?;
            socket.set_nonblocking(true)?;
            let port = if protocol == ICMP { 0 } else { port };
            match socket.connect(&SocketAddr::from((to, port)).into()) {
                Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error)?,
                Ok(()) | Err(_) => {}
            }
            match protocol {
                TCP => {}
                UDP => assert_eq!(socket.send(b"asked")?, 5),
                _ => assert_eq!(socket.send(&[8, 0, 0, 0, 0, 0, 0, 1])?, 8),
            }
            Ok(socket)
        })?;
        let own = socket.local_addr()?.as_socket().context("an address")?;
        let port = if protocol == ICMP {
            0
        } else {
            u64::from(own.port())
        };
        let key = (own.ip().to_string(), to.to_string(), port);
        Ok((socket, key))
    }

    pub(super) fn look(&mut self, dropped: &BTreeSet<Key>) {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 64];
        let has_passed = match self.protocol {
            TCP => self.socket.peer_addr().is_ok(),
            _ => self.socket.recv(&mut buffer).is_ok(),
        };
        if has_passed {
            self.outcome = Some(true);
        } else if dropped.contains(&self.key) {
            self.outcome = Some(false);
        }
    }
}

/// What `l7d observe` says was dropped.
pub(super) struct Drops {
    pub(super) observer: Process,
    pub(super) read: usize,
    pub(super) keys: BTreeSet<Key>,
}

impl Drops {
    pub(super) fn look(&mut self) -> anyhow::Result<()> {
        let output = self.observer.output();
        let fresh = output.get(self.read..).unwrap_or_default();
        let Some(end) = fresh.rfind('\n') else {
            return Ok(());
        };
        for line in fresh.get(..end).unwrap_or_default().lines() {
            let told: serde_json::Value = serde_json::from_str(line).context(line.to_owned())?;
            let text = |place| told.pointer(place).and_then(|value| value.as_str());
            let ports = ["TCP", "UDP"].map(|l4| {
                let place = format!("/flow/l4/{l4}/source_port");
                told.pointer(&place).and_then(serde_json::Value::as_u64)
            });
            self.keys.insert((
                text("/flow/IP/source").unwrap_or_default().to_owned(),
                text("/flow/IP/destination").unwrap_or_default().to_owned(),
                ports.into_iter().flatten().next().unwrap_or(0),
            ));
        }
        self.read += end + 1;
        Ok(())
    }
}

/// Waits until everything has arrived or is told as dropped.
pub(super) fn settle(
    probes: &mut [Probe],
    spots: &[Spot],
    drops: &mut Drops,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let pause = Timespec {
        tv_sec: 0,
        tv_nsec: 20_000_000,
    };
    loop {
        spots.iter().for_each(Spot::answer);
        drops.look()?;
        let mut left = 0;
        for probe in probes.iter_mut().filter(|probe| probe.outcome.is_none()) {
            probe.look(&drops.keys);
            left += usize::from(probe.outcome.is_none());
        }
        if left == 0 || Instant::now() > deadline {
            return Ok(());
        }
        let sockets = spots.iter().flat_map(|spot| &spot.datagrams);
        let mut asked: Vec<PollFd<'_>> = sockets
            .map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN))
            .collect();
        poll(&mut asked, Some(&pause))?;
    }
}
