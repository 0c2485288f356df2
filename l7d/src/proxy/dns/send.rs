//! Sends datagrams as anybody, many with one call.
//!
//! A raw socket of protocol UDP lets the kernel make the IP header and fragment what is too long, from
//! any source address (`IP_TRANSPARENT`, `IP_PKTINFO`); the UDP header is ours.
#![expect(
    unsafe_code,
    reason = "no library offers sendmmsg with a source address and a mark for each datagram"
)]

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::address::{self, ADDRESS, Controls};
use super::udp;
use crate::proxy::{Error, Family, transparent};

/// Bytes that wait to be sent.
const BUFFER: usize = 8 << 20;

/// A datagram to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing<'b> {
    /// Whose it seems to be.
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// Mark of its packets.
    pub(super) mark: u32,
    pub(super) payload: &'b [u8],
}

/// Sends datagrams of one family as anybody.
#[derive(Debug)]
pub(super) struct Sender(Socket);

impl Sender {
    pub(super) fn open(family: Family) -> Result<Self, Error> {
        // Addresses that nobody has (RFC 7600, RFC 6666): a raw socket is also given a copy of every
        // datagram that arrives for its own address, and no copy shall ever be made.
        let address: SocketAddr = match family {
            Family::V4 => (Ipv4Addr::new(192, 0, 0, 8), 0).into(),
            Family::V6 => (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1), 0).into(),
        };
        open_sender(address)
            .map(Self)
            .map_err(|cause| Error::Datagrams { address, cause })
    }

    /// Of another process.
    pub(super) fn of(descriptor: OwnedFd) -> Self {
        Self(descriptor.into())
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Sends a few datagrams with one call, and returns how many could not be sent: their senders ask
    /// again, as when the network loses them.
    pub(super) fn send(&self, outgoing: &[Outgoing<'_>]) -> usize {
        let mut packets: Vec<Packet> = outgoing.iter().filter_map(Packet::new).collect();
        // SAFETY: all-zero is a valid value of these structs of integers and pointers.
        let (no_vectors, no_header): ([libc::iovec; 2], libc::mmsghdr) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let mut vectors = vec![no_vectors; packets.len()];
        let mut headers = vec![no_header; packets.len()];
        let places = vectors.iter_mut().zip(&mut headers);
        for (packet, (vectors, header)) in packets.iter_mut().zip(places) {
            packet.fill(vectors, &mut header.msg_hdr);
        }
        let too_long = outgoing.len() - packets.len();
        too_long + self.send_all(&mut headers)
    }

    fn send_all(&self, mut headers: &mut [libc::mmsghdr]) -> usize {
        let mut lost = 0;
        while !headers.is_empty() {
            let count = libc::c_uint::try_from(headers.len()).unwrap_or(libc::c_uint::MAX);
            // SAFETY: the caller filled every header with pointers that outlive this call.
            let sent = unsafe {
                libc::sendmmsg(
                    self.0.as_raw_fd(),
                    headers.as_mut_ptr(),
                    count,
                    libc::MSG_DONTWAIT,
                )
            };
            let done = if let Ok(sent @ 1..) = usize::try_from(sent) {
                sent
            } else {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                tracing::debug!(%error, "a datagram cannot be sent");
                lost += 1;
                1
            };
            headers = headers.get_mut(done..).unwrap_or_default();
        }
        lost
    }
}

fn open_sender(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::UDP))?;
    transparent::allow(&socket, address.is_ipv6())?;
    // As servers of DNS do: what a forged ICMP message says of the path is not believed.
    let (level, name, omit) = if address.is_ipv6() {
        (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_OMIT,
        )
    } else {
        (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_OMIT,
        )
    };
    transparent::set(&socket, level, name, omit)?;
    socket.set_send_buffer_size(BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A datagram with all that the call needs to point to.
struct Packet {
    header: [u8; udp::HEADER],
    to: [u8; ADDRESS],
    to_length: libc::socklen_t,
    controls: Controls,
    payload: (*const u8, usize),
}

impl Packet {
    fn new(outgoing: &Outgoing<'_>) -> Option<Self> {
        let Outgoing {
            from,
            to,
            mark,
            payload,
        } = *outgoing;
        let mut room = [0; ADDRESS];
        let to_length = address::write(to, &mut room);
        Some(Self {
            header: udp::header(from, to, payload)?,
            to: room,
            to_length,
            controls: Controls::new(from, mark),
            payload: (payload.as_ptr(), payload.len()),
        })
    }

    fn fill(&mut self, vectors: &mut [libc::iovec; 2], header: &mut libc::msghdr) {
        let [udp, payload] = vectors;
        udp.iov_base = self.header.as_mut_ptr().cast();
        udp.iov_len = self.header.len();
        // The kernel only reads what is sent.
        payload.iov_base = self.payload.0.cast_mut().cast();
        payload.iov_len = self.payload.1;
        header.msg_iov = vectors.as_mut_ptr();
        header.msg_iovlen = vectors.len();
        header.msg_name = self.to.as_mut_ptr().cast();
        header.msg_namelen = self.to_length;
        let (controls, length) = self.controls.parts();
        header.msg_control = controls.cast();
        header.msg_controllen = length;
    }
}
