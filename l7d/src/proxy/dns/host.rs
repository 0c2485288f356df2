//! Queries of this host's own processes, which came through the socket hooks.
//!
//! Their address and port are in use, so each query goes on from a socket of its own, with a port that
//! the kernel chooses at random, and its id as it was. What comes back to that socket and is not the
//! answer is left lying: nobody but the server should have known the port.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use parsers::dns::Message;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::receive::Datagram;
use super::relay::Relay;

/// How long a server may take: resolvers have asked again by then.
const PATIENCE: Duration = Duration::from_secs(10);

impl Relay {
    /// Asks for a process, and brings it the answer.
    pub(super) fn ask_for_host(
        self: &Rc<Self>,
        datagram: &Datagram<'_>,
        server: SocketAddr,
        mark: u32,
    ) {
        let relay = Rc::clone(self);
        let (client, proxy) = (datagram.from, datagram.to);
        let query: Box<[u8]> = datagram.payload.into();
        tokio::task::spawn_local(async move {
            // More at a time are as good as lost: their clients ask again.
            let Ok(_place) = relay.host_queries.try_acquire() else {
                relay.lost(1);
                return;
            };
            let asked = tokio::time::timeout(PATIENCE, relay.ask(&query, server, mark));
            match asked.await {
                Ok(Ok((answer, length))) => {
                    relay.seen(1);
                    let payload = answer.get(..length).unwrap_or_default();
                    let from = Datagram {
                        from: server,
                        to: client,
                        payload,
                    };
                    relay.answer_host(&from, proxy).await;
                    relay.pool().give(answer);
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, %server, "a server of DNS is not reached");
                }
                Err(_elapsed) => {}
            }
        });
    }

    async fn send_query(
        &self,
        query: &[u8],
        server: SocketAddr,
        mark: u32,
    ) -> io::Result<UdpSocket> {
        let socket = open(server, mark)?;
        socket.connect(server).await?;
        socket.send(query).await?;
        Ok(socket)
    }

    async fn ask(
        &self,
        query: &[u8],
        server: SocketAddr,
        mark: u32,
    ) -> io::Result<(Box<[u8]>, usize)> {
        let socket = match self.send_query(query, server, mark).await {
            Ok(socket) => socket,
            Err(error) => {
                self.lost(1);
                return Err(error);
            }
        };
        self.passed(1);
        loop {
            socket.readable().await?;
            let mut room = self.pool().take();
            match socket.try_recv(&mut room) {
                Ok(length) if is_answer(query, room.get(..length).unwrap_or_default()) => {
                    return Ok((room, length));
                }
                Ok(_) => self.pool().give(room),
                Err(error) => {
                    self.pool().give(room);
                    if error.kind() != io::ErrorKind::WouldBlock {
                        return Err(error);
                    }
                }
            }
        }
    }
}

/// The same id, and a response: more is the client's own business to check.
fn is_answer(query: &[u8], answer: &[u8]) -> bool {
    let is_response = Message::read(answer).is_ok_and(|answer| answer.header().is_response());
    is_response && query.first_chunk::<2>() == answer.first_chunk::<2>()
}

fn open(server: SocketAddr, mark: u32) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(server);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // The socket hooks leave it alone.
    socket.set_mark(mark)?;
    let any: SocketAddr = if server.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    socket.bind(&any.into())?;
    UdpSocket::from_std(socket.into())
}
