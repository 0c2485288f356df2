//! Belongings over a unix socket: frames, each with the descriptors that it speaks of.
//!
//! ```text
//!   frame = kind (1) | length of its body (4, big endian) | body
//! ```
//!
//! Descriptors come with the first byte of their frame (`SCM_RIGHTS`, unix(7)). Bodies are CBOR, so that
//! one side may know fields that the other does not.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::set_socket_send_buffer_size_force;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Addresses, Belongings, Datagrams, FLOWS_FORMAT, FORMAT, Moved};
use crate::proxy::dns::{SavedQueries, Sockets};
use crate::record::Record;

/// A side that says nothing for so long has hung.
const PATIENCE: Duration = Duration::from_secs(20);
/// The same of a successor that has everything, and loads its programs: on a machine without time that
/// takes longer, and who would take back what it relays already would only do harm.
const PATIENCE_AT_WORK: Duration = Duration::from_mins(10);
/// Longest body; a connection has two buffers and two header tables at most.
const BODY_MAX: usize = 64 << 20;
const HEADER: usize = 5;
/// Most descriptors of a frame.
const DESCRIPTORS_MAX: usize = 3;

/// Why two agents cannot go on with each other.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The socket failed, or the other side hung.
    #[error("the other agent cannot be heard: {0}")]
    Socket(#[from] io::Error),
    /// A frame makes no sense.
    #[error("what the other agent says makes no sense: {0}")]
    Nonsense(&'static str),
    /// A body cannot be read.
    #[error("what the other agent says cannot be read: {0}")]
    Body(String),
}

/// One end of the socket between an agent and the one that takes over from it.
#[derive(Debug)]
pub struct Link(UnixStream);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    /// The successor says who it is, and that it is ready to take everything.
    Hello = 1,
    Listener = 2,
    Datagrams = 3,
    Connection = 4,
    /// Records that the former agent's flow ring has.
    Flows = 9,
    /// That was all.
    All = 5,
    /// The successor has all of it.
    Taken = 8,
    /// The successor has everything, and does everything.
    Done = 6,
    /// The former agent has closed its own listeners.
    Gone = 7,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        let all = [
            Self::Hello,
            Self::Listener,
            Self::Datagrams,
            Self::Connection,
            Self::Flows,
            Self::All,
            Self::Taken,
            Self::Done,
            Self::Gone,
        ];
        all.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Who takes over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// Version of the program, for people.
    pub version: String,
    /// Which form of connections' states it reads.
    pub format: u16,
    /// Which form of flows it reads; 0 where it reads none.
    #[serde(default)]
    pub flows: u16,
}

#[derive(Serialize, Deserialize)]
struct ConnectionBody {
    addresses: Addresses,
    format: u16,
    is_judged: bool,
    rest: [ByteBuf; 2],
    #[serde(with = "serde_bytes")]
    state: Vec<u8>,
}

struct Frame {
    kind: Kind,
    body: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Link {
    /// Over a connected socket.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub fn new(socket: UnixStream) -> Result<Self, Broken> {
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// Asks for everything.
    ///
    /// # Errors
    /// When the other side cannot be heard.
    pub fn ask(&self) -> Result<(), Broken> {
        let hello = Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            format: FORMAT,
            flows: FLOWS_FORMAT,
        };
        self.send(Kind::Hello, &encode(&hello)?, &[])
    }

    /// Waits to be asked.
    ///
    /// # Errors
    /// When the other side cannot be heard, or asks for something else.
    pub fn wait_until_asked(&self) -> Result<Hello, Broken> {
        decode(&self.expect(Kind::Hello)?.body)
    }

    /// Gives flows away, before everything else.
    ///
    /// # Errors
    /// When the other side cannot be heard.
    pub fn give_flows(&self, flows: &[Arc<Record>]) -> Result<(), Broken> {
        self.send(Kind::Flows, &encode(flows)?, &[])
    }

    /// Gives everything away, and waits until the other side has it.
    ///
    /// # Errors
    /// When the other side cannot be heard: then it has nothing.
    pub fn give(&self, belongings: &Belongings) -> Result<(), Broken> {
        self.send_all(belongings)?;
        self.expect(Kind::Taken).map(drop)
    }

    /// Puts everything into a socket that nobody reads yet; from its other end, which is returned, a later
    /// process does [`Self::take`]. The kernel keeps what is in it.
    ///
    /// # Errors
    /// When it cannot hold everything: then nobody has anything.
    pub fn leave(belongings: &Belongings) -> Result<UnixStream, Broken> {
        /// Half of what the option can say: the kernel doubles it (socket(7)).
        const ROOM: usize = (i32::MAX / 2) as usize;
        let (end, kept) = UnixStream::pair()?;
        set_socket_send_buffer_size_force(&end, ROOM).map_err(io::Error::from)?;
        let link = Self::new(end)?;
        // What finds no room now will find none later.
        link.0.set_write_timeout(Some(Duration::from_millis(1)))?;
        link.send_all(belongings)?;
        Ok(kept)
    }

    fn send_all(&self, belongings: &Belongings) -> Result<(), Broken> {
        for listener in &belongings.listeners {
            self.send(Kind::Listener, &[], &[listener.as_fd()])?;
        }
        for Datagrams { sockets, queries } in &belongings.datagrams {
            self.send(Kind::Datagrams, &encode(queries)?, &sockets.descriptors())?;
        }
        for moved in &belongings.connections {
            let body = encode(&ConnectionBody {
                addresses: moved.addresses,
                format: moved.format,
                is_judged: moved.is_judged,
                rest: moved.rest.clone().map(ByteBuf::from),
                state: moved.state.clone(),
            })?;
            let mut descriptors = vec![moved.client.as_fd()];
            descriptors.extend(moved.server.as_ref().map(OwnedFd::as_fd));
            self.send(Kind::Connection, &body, &descriptors)?;
        }
        self.send(Kind::All, &[], &[])
    }

    /// Takes what the other side gives away, of its flows one after the other to `keep`; that is done with
    /// [`Self::confirm`].
    ///
    /// # Errors
    /// When it cannot be heard, or what it gives makes no sense.
    pub fn take(&self, mut keep: impl FnMut(Record)) -> Result<Belongings, Broken> {
        let mut belongings = Belongings::default();
        loop {
            let Frame {
                kind,
                body,
                descriptors,
            } = self.receive()?;
            let mut descriptors = descriptors.into_iter();
            match kind {
                Kind::All => return Ok(belongings),
                Kind::Flows => {
                    let flows: Vec<Record> = decode(&body)?;
                    flows.into_iter().for_each(&mut keep);
                }
                Kind::Listener => {
                    let listener = descriptors.next().map(TcpListener::from);
                    let listener = listener.ok_or(Broken::Nonsense("no listener"))?;
                    belongings.listeners.push(listener);
                }
                Kind::Datagrams => {
                    let queries: SavedQueries = decode(&body)?;
                    let sockets = Sockets::of(descriptors);
                    let sockets = sockets.ok_or(Broken::Nonsense("sockets are missing"))?;
                    belongings.datagrams.push(Datagrams { sockets, queries });
                }
                Kind::Connection => {
                    let body: ConnectionBody = decode(&body)?;
                    let client = descriptors.next();
                    belongings.connections.push(Moved {
                        client: client.ok_or(Broken::Nonsense("no connection"))?,
                        server: descriptors.next(),
                        addresses: body.addresses,
                        format: body.format,
                        is_judged: body.is_judged,
                        rest: body.rest.map(ByteBuf::into_vec),
                        state: body.state,
                    });
                }
                Kind::Hello | Kind::Taken | Kind::Done | Kind::Gone => {
                    return Err(Broken::Nonsense("not its turn"));
                }
            }
        }
    }

    /// Everything is here: the other side may forget it.
    ///
    /// # Errors
    /// When it cannot be heard.
    pub fn confirm(&self) -> Result<(), Broken> {
        self.send(Kind::Taken, &[], &[])
    }

    /// Tells the former agent that it is not needed any more, and waits until it has closed what both
    /// cannot have. What it has seen meanwhile goes to `keep`.
    ///
    /// # Errors
    /// When it cannot be heard.
    pub fn finish(&self, mut keep: impl FnMut(Record)) -> Result<(), Broken> {
        self.send(Kind::Done, &[], &[])?;
        loop {
            let Frame { kind, body, .. } = self.receive()?;
            match kind {
                Kind::Gone => return Ok(()),
                Kind::Flows => decode::<Vec<Record>>(&body)?
                    .into_iter()
                    .for_each(&mut keep),
                _ => return Err(Broken::Nonsense("another frame is due")),
            }
        }
    }

    /// Waits until the successor does everything.
    ///
    /// # Errors
    /// When it cannot be heard.
    pub fn wait_until_done(&self) -> Result<(), Broken> {
        self.0.set_read_timeout(Some(PATIENCE_AT_WORK))?;
        self.expect(Kind::Done).map(drop)
    }

    /// Tells the successor that nothing is in its way any more.
    ///
    /// # Errors
    /// When it cannot be heard.
    pub fn make_way(&self) -> Result<(), Broken> {
        self.send(Kind::Gone, &[], &[])
    }

    fn expect(&self, kind: Kind) -> Result<Frame, Broken> {
        let frame = self.receive()?;
        if frame.kind != kind {
            return Err(Broken::Nonsense("another frame is due"));
        }
        Ok(frame)
    }

    fn send(&self, kind: Kind, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Broken> {
        let length = u32::try_from(body.len())
            .map_err(|_too_long| Broken::Nonsense("a frame is too long"))?;
        let mut header = [kind as u8; HEADER];
        if let Some(room) = header.get_mut(1..) {
            room.copy_from_slice(&length.to_be_bytes());
        }
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut room);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Broken::Nonsense("too many descriptors"));
        }
        let sent = rustix::net::sendmsg(
            &self.0,
            &[IoSlice::new(&header)],
            &mut control,
            SendFlags::NOSIGNAL,
        )
        .map_err(io::Error::from)?;
        // Descriptors went with the first byte.
        let rest = header.get(sent..).unwrap_or_default();
        (&self.0).write_all(rest)?;
        (&self.0).write_all(body)?;
        Ok(())
    }

    fn receive(&self) -> Result<Frame, Broken> {
        let mut header = [0; HEADER];
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut room);
        let received = rustix::net::recvmsg(
            &self.0,
            &mut [IoSliceMut::new(&mut header)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
        .map_err(io::Error::from)?;
        if received.bytes == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            // Out of descriptors, for one.
            return Err(Broken::Nonsense("descriptors are missing"));
        }
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        (&self.0).read_exact(header.get_mut(received.bytes..).unwrap_or_default())?;
        let [kind, length @ ..] = header;
        let kind = Kind::of(kind).ok_or(Broken::Nonsense("an unknown frame"))?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > BODY_MAX {
            return Err(Broken::Nonsense("a frame is too long"));
        }
        let mut body = vec![0; length];
        (&self.0).read_exact(&mut body)?;
        Ok(Frame {
            kind,
            body,
            descriptors,
        })
    }
}

fn encode(value: &(impl Serialize + ?Sized)) -> Result<Vec<u8>, Broken> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).map_err(|error| Broken::Body(error.to_string()))?;
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Broken> {
    ciborium::from_reader(bytes).map_err(|error| Broken::Body(error.to_string()))
}
