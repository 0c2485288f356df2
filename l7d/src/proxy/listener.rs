//! Transparent listeners: the accepted socket's own address is where the client wanted to go.

use std::io::ErrorKind;
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

/// How workers come to their connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Each has a listener of a group (`SO_REUSEPORT`); the kernel spreads connections over them.
    Group,
    /// All have the same listener, and the first to look takes a connection: kernels before 6.6 assign
    /// no packet to a listener of a group.
    One,
}

/// A listener per family at one port, which the kernel chooses where it is 0.
pub(super) struct Pair {
    pub(super) v4: TcpListener,
    /// None on a host without IPv6.
    pub(super) v6: Option<TcpListener>,
    pub(super) port: u16,
}

impl Pair {
    fn try_clone(&self) -> Result<Self, Error> {
        let again = |listener: &TcpListener| {
            let address = listener
                .local_addr()
                .unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
            let fault = |cause| Error::Listen { address, cause };
            listener.try_clone().map_err(fault)
        };
        Ok(Self {
            v4: again(&self.v4)?,
            v6: self.v6.as_ref().map(again).transpose()?,
            port: self.port,
        })
    }
}

/// Listeners for so many workers, all at one port.
pub(super) fn bind_all(workers: usize, mark: u32, sharing: Sharing) -> Result<Vec<Pair>, Error> {
    let first = bind_both(0, mark, sharing)?;
    let port = first.port;
    let mut pairs = vec![first];
    while pairs.len() < workers {
        let next = match (sharing, pairs.first()) {
            (Sharing::One, Some(first)) => first.try_clone()?,
            (Sharing::One, None) | (Sharing::Group, _) => bind_both(port, mark, sharing)?,
        };
        pairs.push(next);
    }
    Ok(pairs)
}

/// One more at the port of these, for another worker.
pub(super) fn one_more(
    listeners: &[TcpListener],
    mark: u32,
    sharing: Sharing,
) -> Result<TcpListener, Error> {
    let unknown = || Error::Listen {
        address: (Ipv4Addr::LOCALHOST, 0).into(),
        cause: ErrorKind::NotFound.into(),
    };
    let first = listeners.first().ok_or_else(unknown)?;
    let address = first.local_addr().map_err(|cause| Error::Listen {
        address: (Ipv4Addr::LOCALHOST, 0).into(),
        cause,
    })?;
    let fault = |cause| Error::Listen { address, cause };
    match sharing {
        Sharing::One => first.try_clone().map_err(fault),
        Sharing::Group => open(address, mark, sharing)
            .map(TcpListener::from)
            .map_err(fault),
    }
}

/// Listens in both families. A port that the kernel chose for IPv4 may be somebody's in IPv6: then
/// another is tried.
fn bind_both(port: u16, mark: u32, sharing: Sharing) -> Result<Pair, Error> {
    const TRIES: usize = 32;
    // Held until one fits, so that the kernel does not choose the same port again.
    let mut unfit = Vec::new();
    loop {
        let (v4, chosen) = bind(Family::V4, port, mark, sharing)?;
        match bind(Family::V6, chosen, mark, sharing) {
            Ok((v6, port)) => {
                let v6 = Some(v6);
                return Ok(Pair { v4, v6, port });
            }
            Err(Error::Listen { cause, .. }) if is_without_family(&cause) => {
                let (v6, port) = (None, chosen);
                return Ok(Pair { v4, v6, port });
            }
            Err(Error::Listen { cause, .. })
                if port == 0 && unfit.len() < TRIES && cause.kind() == ErrorKind::AddrInUse =>
            {
                unfit.push(v4);
            }
            Err(error) => return Err(error),
        }
    }
}

/// IPv6 is not built in, or is disabled on loopback.
fn is_without_family(error: &std::io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(libc::EAFNOSUPPORT) || error.kind() == ErrorKind::AddrNotAvailable
}

/// Listens on loopback, so that nobody on the network reaches the proxy by itself; the kernel
/// programs hand it connections to any address. Returns the port.
fn bind(
    family: Family,
    port: u16,
    mark: u32,
    sharing: Sharing,
) -> Result<(TcpListener, u16), Error> {
    let address: SocketAddr = match family {
        Family::V4 => (Ipv4Addr::LOCALHOST, port).into(),
        Family::V6 => (Ipv6Addr::LOCALHOST, port).into(),
    };
    let fault = |cause| Error::Listen { address, cause };
    let socket = open(address, mark, sharing).map_err(fault)?;
    let listener = TcpListener::from(socket);
    let port = listener.local_addr().map_err(fault)?.port();
    Ok((listener, port))
}

fn open(address: SocketAddr, mark: u32, sharing: Sharing) -> std::io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::Group)?;
    transparent::allow(&socket, address.is_ipv6())?;
    // Accepted sockets inherit it: the hooks know their packets by it.
    socket.set_mark(mark)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_in_one_family_is_not_chosen() {
        // Enough of the kernel's choices that some of the tries below meet one.
        let taken: Vec<TcpListener> = (0..300)
            .filter_map(|_| TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).ok())
            .collect();
        for _ in 0..300 {
            let pair = bind_both(0, 0, Sharing::Group).expect("some port is free in both");
            assert_eq!(pair.v4.local_addr().expect("bound").port(), pair.port);
            let v6 = pair.v6.expect("IPv6 on loopback");
            assert_eq!(v6.local_addr().expect("bound").port(), pair.port);
        }
        drop(taken);
    }

    #[test]
    fn a_listener_that_is_shared_is_in_no_group() {
        for (sharing, is_group) in [(Sharing::Group, true), (Sharing::One, false)] {
            let pairs = bind_all(3, 0, sharing).expect("listeners");
            assert_eq!(pairs.len(), 3);
            for pair in &pairs {
                let socket = socket2::SockRef::from(&pair.v4);
                assert_eq!(socket.reuse_port().expect("an option"), is_group);
                assert_eq!(pair.v4.local_addr().expect("bound").port(), pairs[0].port);
            }
        }
    }
}
