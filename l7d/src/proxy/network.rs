//! What TCP tells of a proxied connection: how far away both ends are, and how it ended.
//!
//! The shortest round trip of each socket is the network's: the first is the handshake's, in which
//! nobody waits for a process. A smoothed one has delayed acknowledgements in it (RFC 1122 §4.2.3.2),
//! which are the other side's choice.

use std::io;
use std::os::fd::AsFd;

use parsers::Direction as Way;
use tokio::net::TcpStream;

use super::forward::Broken;
use super::transparent::{TcpInfo, tcp_info};
use crate::record::{Network, TcpEvent};
use crate::session::Session;

/// Asks both sockets when it is time: once when the connection begins, then at most once a second
/// that it has traffic in.
pub(super) fn look(session: &mut Session, client: &TcpStream, server: &TcpStream) {
    if session.wants_network() {
        session.note_network(ask(client, server));
    }
}

/// Asks both sockets.
pub(super) fn ask(client: &impl AsFd, server: &impl AsFd) -> Network {
    // A socket that is gone has nothing to tell.
    let client = tcp_info(client.as_fd()).unwrap_or_default();
    let server = tcp_info(server.as_fd()).unwrap_or_default();
    let TcpInfo { retransmits, .. } = client;
    Network {
        client_rtt_us: client.min_rtt_us,
        server_rtt_us: server.min_rtt_us,
        retransmits: retransmits.saturating_add(server.retransmits),
        event: None,
    }
}

/// Why a server was not reached, where TCP knows.
pub(super) fn unreached(error: &io::Error) -> Option<TcpEvent> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(TcpEvent::Refused),
        io::ErrorKind::ConnectionReset => Some(TcpEvent::ResetByServer),
        io::ErrorKind::TimedOut => Some(TcpEvent::NoAnswer),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Some(TcpEvent::Unreachable)
        }
        _ => None,
    }
}

/// Which side cut a connection, where one did.
pub(super) fn cut(broken: &Broken) -> Option<TcpEvent> {
    match broken {
        Broken::Read(Way::ToClient, _) | Broken::Write(Way::ToServer, _) => {
            Some(TcpEvent::ResetByServer)
        }
        Broken::Read(Way::ToServer, _) | Broken::Write(Way::ToClient, _) => {
            Some(TcpEvent::ResetByClient)
        }
        Broken::Policy | Broken::Refused | Broken::Unjudged => None,
    }
}

/// Which side has ended first the direction that goes `way`.
pub(super) fn closed(way: Way) -> TcpEvent {
    match way {
        Way::ToServer => TcpEvent::ClosedByClient,
        Way::ToClient => TcpEvent::ClosedByServer,
    }
}
