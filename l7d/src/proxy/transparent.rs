//! Leave to use addresses that are not ours, and other options that no library offers.
#![expect(unsafe_code, reason = "no library offers these socket options")]

use std::io;
use std::os::fd::AsRawFd;

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
