//! Leave to use addresses that are not ours, and other options that no library offers.
#![expect(unsafe_code, reason = "no library offers these socket options")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use socket2::Socket;

/// Lets a socket bind to, and accept for, any address (`IP_TRANSPARENT`, `IPV6_TRANSPARENT`).
pub(super) fn allow(socket: &Socket, is_ipv6: bool) -> io::Result<()> {
    if is_ipv6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, 1)
    } else {
        socket.set_ip_transparent_v4(true)
    }
}

/// Sets an option whose value is a number.
pub(super) fn set(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(4);
    // SAFETY: the descriptor is open for the whole call, and the option is an int.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// What the kernel measures of a TCP socket: the part of `struct tcp_info` (`linux/tcp.h`) that is
/// wanted here, which has stood at these places since Linux 4.10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TcpInfo {
    /// The shortest round trip of the last minutes, in microseconds; 0 while there was none. The
    /// handshake is the first.
    pub(super) min_rtt_us: u32,
    /// Segments sent again so far.
    pub(super) retransmits: u32,
}

const RETRANSMITS_AT: usize = 100;
const MIN_RTT_AT: usize = 148;

/// Asks the kernel how a TCP socket fares.
pub(super) fn tcp_info(socket: BorrowedFd<'_>) -> io::Result<TcpInfo> {
    let mut info = [0_u8; MIN_RTT_AT + 4];
    let mut size = libc::socklen_t::try_from(info.len()).unwrap_or(0);
    // SAFETY: the descriptor is open for the whole call, and the kernel writes at most `size` bytes,
    // which is how many there are.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut size,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let number = |at: usize| {
        let bytes = info.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    };
    let min_rtt_us = number(MIN_RTT_AT);
    Ok(TcpInfo {
        // What was never measured is as large as can be.
        min_rtt_us: if min_rtt_us == u32::MAX {
            0
        } else {
            min_rtt_us
        },
        retransmits: number(RETRANSMITS_AT),
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_handshake_is_a_round_trip() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let info = tcp_info(client.as_fd()).unwrap();
        assert!((1..1_000_000).contains(&info.min_rtt_us), "{info:?}");
        assert_eq!(info.retransmits, 0);
    }
}
