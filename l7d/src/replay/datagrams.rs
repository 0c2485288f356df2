//! UDP datagrams of a capture: those that are DNS.

use std::net::SocketAddr;

use parsers::Direction as Way;
use parsers::dns::{Message, PairingLimits, looks_like};
use parsers::packet::{Packet, Udp};

use crate::clock::Monotonic;
use crate::record::{L4, Network};
use crate::session::{Ends, Lookups, Recorder};

/// DNS, multicast DNS (RFC 6762), and link-local names (RFC 4795).
const PORTS: [u16; 3] = [53, 5353, 5355];

/// How often is looked for names that have aged, in nanoseconds of the capture.
const AGING_NS: u64 = 10_000_000_000;

/// Both ends of a look-up.
type Key = (SocketAddr, SocketAddr);

/// Look-ups by datagram.
pub(super) struct Datagrams {
    lookups: Lookups<Key>,
    /// When names were last looked at.
    aged_at: Monotonic,
}

impl Datagrams {
    pub(super) fn new() -> Self {
        Self {
            lookups: Lookups::new(PairingLimits::default(), L4::Udp),
            aged_at: Monotonic::default(),
        }
    }

    /// Takes a datagram; `ends_of` names the client and the server of one that goes some way.
    pub(super) fn handle(
        &mut self,
        recorder: &Recorder,
        packet: &Packet<'_>,
        udp: &Udp<'_>,
        ends_of: impl FnOnce(Way, SocketAddr, SocketAddr) -> Ends,
    ) {
        self.lookups.expire(recorder);
        self.age_names(recorder);
        let is_known = PORTS.contains(&udp.source_port) || PORTS.contains(&udp.destination_port);
        if !is_known && !looks_like(udp.payload) {
            return;
        }
        let Ok(message) = Message::read(udp.payload) else {
            return;
        };
        let from = SocketAddr::new(packet.source, udp.source_port);
        let to = SocketAddr::new(packet.destination, udp.destination_port);
        let (way, client, server) = if message.header().is_response() {
            (Way::ToClient, to, from)
        } else {
            (Way::ToServer, from, to)
        };
        let ends = ends_of(way, client, server);
        let key = (client, server);
        self.lookups.handle(recorder, key, &ends, &message);
    }

    fn age_names(&mut self, recorder: &Recorder) {
        let now = recorder.clock().monotonic();
        if let Some(names) = recorder.names()
            && now.nanos_since(self.aged_at) > AGING_NS
        {
            self.aged_at = now;
            names.expire(now);
        }
    }

    pub(super) fn end(&mut self, recorder: &Recorder) {
        self.lookups.end(recorder, Network::default());
    }
}
