//! Transparent listeners: the accepted socket's own address is where the client wanted to go.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::{Error, transparent};

/// Address family of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

const BACKLOG: i32 = 4096;

/// Listens on loopback, so that nobody on the network reaches the proxy by itself; the kernel
/// programs hand it connections to any address. Returns the port.
pub(super) fn bind(family: Family, port: u16, mark: u32) -> Result<(TcpListener, u16), Error> {
    let address: SocketAddr = match family {
        Family::V4 => (Ipv4Addr::LOCALHOST, port).into(),
        Family::V6 => (Ipv6Addr::LOCALHOST, port).into(),
    };
    let fault = |cause| Error::Listen { address, cause };
    let socket = open(address, mark).map_err(fault)?;
    let listener = TcpListener::from(socket);
    let port = listener.local_addr().map_err(fault)?.port();
    Ok((listener, port))
}

fn open(address: SocketAddr, mark: u32) -> std::io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    transparent::allow(&socket, address.is_ipv6())?;
    // Accepted sockets inherit it: the hooks know their packets by it.
    socket.set_mark(mark)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}
