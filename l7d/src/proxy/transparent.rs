//! Leave to use addresses that are not ours.
#![expect(unsafe_code, reason = "no library offers IPV6_TRANSPARENT")]

use std::io;
use std::os::fd::AsRawFd;

use socket2::Socket;

/// Lets a socket bind to, and accept for, any address (`IP_TRANSPARENT`, `IPV6_TRANSPARENT`).
pub(super) fn allow(socket: &Socket, is_ipv6: bool) -> io::Result<()> {
    if !is_ipv6 {
        return socket.set_ip_transparent_v4(true);
    }
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or(4);
    // SAFETY: the descriptor is open for the whole call, and the option is an int.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_TRANSPARENT,
            (&raw const on).cast(),
            size,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
