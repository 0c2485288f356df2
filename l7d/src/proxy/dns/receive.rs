//! Takes datagrams that were sent to anybody, many with one call.
#![expect(
    unsafe_code,
    reason = "no library offers recvmmsg with the address that each datagram was sent to"
)]

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

use super::BATCH;
use super::address::{self, ADDRESS};
use crate::proxy::{Error, Family, transparent};

/// The same as the kernel counts them.
const BATCH_COUNT: libc::c_uint = 4;
const ADDRESS_LENGTH: libc::socklen_t = 28;
const _: () = assert!(BATCH_COUNT as usize == BATCH && ADDRESS_LENGTH as usize == ADDRESS);
/// Longest payload of a datagram.
const PAYLOAD_MAX: usize = 65_535;
/// Bytes that the kernel keeps for us when we are late: about 30,000 queries.
const BUFFER: usize = 8 << 20;
/// Words of control messages that are received: an address and a counter.
const CONTROL_WORDS: usize = 10;

/// Listens for redirected datagrams. The address is on loopback, so that nobody on the network reaches
/// it by itself.
pub(super) fn open(family: Family) -> Result<UdpSocket, Error> {
    let address: SocketAddr = match family {
        Family::V4 => (Ipv4Addr::LOCALHOST, 0).into(),
        Family::V6 => (Ipv6Addr::LOCALHOST, 0).into(),
    };
    open_receiver(address)
        .map(UdpSocket::from)
        .map_err(|cause| Error::Datagrams { address, cause })
}

fn open_receiver(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    let (level, name) = if address.is_ipv6() {
        socket.set_only_v6(true)?;
        (libc::IPPROTO_IPV6, libc::IPV6_RECVORIGDSTADDR)
    } else {
        (libc::IPPROTO_IP, libc::IP_RECVORIGDSTADDR)
    };
    transparent::allow(&socket, address.is_ipv6())?;
    transparent::set(&socket, level, name, 1)?;
    transparent::set(&socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A datagram as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Datagram<'b> {
    pub(super) from: SocketAddr,
    /// Where it was sent to, which is not us.
    pub(super) to: SocketAddr,
    pub(super) payload: &'b [u8],
}

/// Room for the datagrams of one call. Pages that no datagram ever filled take no memory.
pub(super) struct Inbox {
    payloads: Vec<u8>,
    senders: [[u8; ADDRESS]; BATCH],
    controls: [[u64; CONTROL_WORDS]; BATCH],
    /// Of each datagram: bytes of payload, of the sender's address, of control messages.
    lengths: [(usize, usize, usize); BATCH],
    count: usize,
    /// What the kernel says it had no room for, since the socket was opened.
    overflowed: u32,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            payloads: vec![0; BATCH * PAYLOAD_MAX],
            senders: [[0; ADDRESS]; BATCH],
            controls: [[0; CONTROL_WORDS]; BATCH],
            lengths: [(0, 0, 0); BATCH],
            count: 0,
            overflowed: 0,
        }
    }

    /// Takes what is there. Returns how many datagrams the kernel had to throw away since the last
    /// call.
    pub(super) fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<u32> {
        // SAFETY: all-zero is a valid value of these structs of integers and pointers.
        let mut vectors: [libc::iovec; BATCH] = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        let payloads = self.payloads.chunks_exact_mut(PAYLOAD_MAX);
        let parts = payloads.zip(&mut self.senders).zip(&mut self.controls);
        for (((payload, sender), control), (vector, header)) in
            parts.zip(vectors.iter_mut().zip(&mut headers))
        {
            vector.iov_base = payload.as_mut_ptr().cast();
            vector.iov_len = payload.len();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = sender.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = ADDRESS_LENGTH;
            header.msg_hdr.msg_control = control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = size_of_val(control);
        }
        self.count = 0;
        // SAFETY: every header points to a vector, a name and control messages that live until the
        // end of this function, with their lengths, and there are BATCH of them.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH_COUNT,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        self.count = match usize::try_from(count) {
            Ok(count) => count,
            Err(_negative) => return Err(io::Error::last_os_error()),
        };
        for (lengths, header) in self.lengths.iter_mut().zip(&headers).take(self.count) {
            *lengths = (
                header.msg_len as usize,
                header.msg_hdr.msg_namelen as usize,
                header.msg_hdr.msg_controllen,
            );
        }
        Ok(self.newly_overflowed())
    }

    /// How many the last call took.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether there may be more: the last call took as many as it can.
    pub(super) fn is_full(&self) -> bool {
        self.count == BATCH
    }

    /// What was received, but for what the kernel did not say the addresses of.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        (0..self.count).filter_map(|at| {
            let (payload, sender, _) = *self.lengths.get(at)?;
            let sender = self.senders.get(at)?.get(..sender)?;
            let mut controls = self.controls(at);
            let to = controls.find_map(|(level, kind, data)| {
                let is_address = matches!(
                    (level, kind),
                    (libc::IPPROTO_IP, libc::IP_ORIGDSTADDR)
                        | (libc::IPPROTO_IPV6, libc::IPV6_ORIGDSTADDR)
                );
                is_address.then(|| address::read(data)).flatten()
            })?;
            Some(Datagram {
                from: address::read(sender)?,
                to,
                payload: self
                    .payloads
                    .chunks_exact(PAYLOAD_MAX)
                    .nth(at)?
                    .get(..payload)?,
            })
        })
    }

    fn controls(&self, at: usize) -> impl Iterator<Item = (i32, i32, &[u8])> {
        let length = self.lengths.get(at).map_or(0, |(_, _, control)| *control);
        let words: &[u64] = self.controls.get(at).map_or(&[], |words| words);
        // SAFETY: words are plain bytes, and the slice is no longer than they are.
        let bytes = unsafe {
            std::slice::from_raw_parts(words.as_ptr().cast::<u8>(), size_of_val(words).min(length))
        };
        address::controls(bytes)
    }

    fn newly_overflowed(&mut self) -> u32 {
        let counters = (0..self.count).flat_map(|at| self.controls(at));
        let latest = counters
            .filter(|(level, kind, _)| (*level, *kind) == (libc::SOL_SOCKET, libc::SO_RXQ_OVFL))
            .filter_map(|(_, _, data)| Some(u32::from_ne_bytes(*data.first_chunk()?)))
            .last();
        let Some(latest) = latest else { return 0 };
        latest.wrapping_sub(std::mem::replace(&mut self.overflowed, latest))
    }
}
