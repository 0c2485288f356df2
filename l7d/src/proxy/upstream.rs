//! The connection to the server, with the client's own address.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use super::{Upstream, transparent};
use crate::config::Marks;

/// Connects. The client's address is kept. Its port is kept inside the cluster, unless the pair is in
/// use, as it is when the client is a process of this host. Towards the world another one is taken:
/// where netfilter gives packets the node's address, the client's own connection to us and ours to
/// the server would be one to it.
pub(super) async fn connect(upstream: &Upstream, marks: &Marks) -> io::Result<TcpStream> {
    let mark = upstream.mark(marks);
    let Some(client) = upstream.client else {
        return dial(open(upstream.server, mark)?, upstream.server).await;
    };
    if !upstream.is_inside {
        return dial_from_other_port(upstream, mark, client).await;
    }
    let socket = open(upstream.server, mark)?;
    transparent::allow(&socket, upstream.server.is_ipv6())?;
    socket.set_reuse_address(true)?;
    let bound = socket.bind(&client.into());
    match bound {
        Ok(()) => match dial(socket, upstream.server).await {
            Err(error) if is_taken(&error) => dial_from_other_port(upstream, mark, client).await,
            result => result,
        },
        // Ports below 1024 want a capability that the agent may be without.
        Err(error) if is_taken(&error) || error.kind() == io::ErrorKind::PermissionDenied => {
            dial_from_other_port(upstream, mark, client).await
        }
        Err(error) => Err(error),
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable
    )
}

async fn dial_from_other_port(
    upstream: &Upstream,
    mark: u32,
    client: SocketAddr,
) -> io::Result<TcpStream> {
    let socket = open(upstream.server, mark)?;
    transparent::allow(&socket, upstream.server.is_ipv6())?;
    // The port is chosen when the server is known: it may be in use towards others.
    let no_port = libc::IP_BIND_ADDRESS_NO_PORT;
    transparent::set(&socket, libc::IPPROTO_IP, no_port, 1)?;
    socket.bind(&SocketAddr::new(client.ip(), 0).into())?;
    dial(socket, upstream.server).await
}

fn open(server: SocketAddr, mark: u32) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(server),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_mark(mark)?;
    Ok(socket)
}

async fn dial(socket: Socket, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::from_std_stream(socket.into());
    socket.connect(server).await
}
