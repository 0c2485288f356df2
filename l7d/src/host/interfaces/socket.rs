//! Sockets to the kernel's routing side: one to ask, one that is told when interfaces come and go.
#![expect(
    unsafe_code,
    reason = "no library offers this socket option, and tokio trusts nobody's descriptors"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use parsers::netlink::Messages;
use parsers::netlink::route::{self, Address, Link, Told};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use tokio::io::unix::AsyncFd;

/// The kernel fills at most this much at once.
const ROOM: usize = 32 << 10;
/// `RTMGRP_LINK`.
const LINKS: u32 = 1;

/// Answers questions.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    pub(super) fn open() -> io::Result<Self> {
        let fd = socket(SocketFlags::CLOEXEC)?;
        ask_for_strict_checks(fd.as_fd())?;
        Ok(Self { fd, sequence: 0 })
    }

    /// All interfaces here.
    pub(super) fn links(&mut self) -> io::Result<Vec<Link>> {
        let mut links = Vec::new();
        self.list(route::ask_links, |told| {
            if let Told::Link(link) = told {
                links.push(link);
            }
        })?;
        Ok(links)
    }

    /// All addresses in the namespace of that number.
    pub(super) fn addresses(&mut self, namespace: i32) -> io::Result<Vec<Address>> {
        let mut addresses = Vec::new();
        let ask = |out: &mut Vec<u8>, sequence| route::ask_addresses(out, namespace, sequence);
        self.list(ask, |told| {
            if let Told::Address(address) = told {
                addresses.push(address);
            }
        })?;
        Ok(addresses)
    }

    fn list(
        &mut self,
        ask: impl FnOnce(&mut Vec<u8>, u32),
        mut take: impl FnMut(Told),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut question = Vec::new();
        ask(&mut question, self.sequence);
        rustix::net::send(&self.fd, &question, SendFlags::empty())?;
        let mut room = vec![0; ROOM];
        loop {
            // The kernel answers while it is asked: nothing is waited for.
            let (read, _) = rustix::net::recv(&self.fd, room.as_mut_slice(), RecvFlags::DONTWAIT)?;
            for message in Messages::new(room.get(..read).unwrap_or_default()) {
                let message = message.map_err(unreadable)?;
                if message.sequence != self.sequence {
                    continue;
                }
                if let Some(number) = message.error() {
                    let number = i32::try_from(number).unwrap_or(0);
                    return Err(io::Error::from_raw_os_error(number));
                }
                match route::told(&message).map_err(unreadable)? {
                    Some(Told::End) => return Ok(()),
                    Some(told) => take(told),
                    None => {}
                }
            }
        }
    }
}

/// Word of interfaces that come, change and go.
#[derive(Debug)]
pub struct Changes(AsyncFd<OwnedFd>);

impl Changes {
    /// From now on.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn open() -> io::Result<Self> {
        let fd = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        rustix::net::bind(&fd, &netlink::SocketAddrNetlink::new(0, LINKS))?;
        // SAFETY: an owned descriptor stays the same and open for as long as it is there.
        Ok(Self(unsafe { AsyncFd::register(fd) }?))
    }

    /// Waits until something has changed since the last call.
    ///
    /// # Errors
    /// The runtime is gone.
    pub async fn next(&mut self) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        let mut room = [0; 4096];
        // What changed is found by looking; what found no room in the socket is a change as well.
        let mut receive = || rustix::net::recv(ready.get_inner(), &mut room, RecvFlags::DONTWAIT);
        while let Ok(_) | Err(Errno::NOBUFS | Errno::INTR) = receive() {}
        ready.clear_ready();
        Ok(())
    }
}

fn socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    // `NETLINK_ROUTE` is 0, the family's first protocol.
    Ok(rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        flags,
        None,
    )?)
}

/// Without them the kernel takes no notice of the namespace that is asked about.
fn ask_for_strict_checks(fd: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or(4);
    // SAFETY: the option is an integer, and the kernel reads as many bytes as are said.
    let done = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_GET_STRICT_CHK,
            (&raw const on).cast(),
            size,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn unreadable(error: parsers::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
