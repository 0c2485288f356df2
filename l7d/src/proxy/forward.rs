//! Moves bytes: pooled buffers, half-close, reset.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::time::Duration;

use parsers::Direction as Way;
use socket2::SockRef;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::splice::Pipes;
use super::{network, turns};
use crate::record::Outcome;
use crate::session::Session;

/// Buffers of a worker. A connection has one only while it has bytes: ten thousand idle ones have
/// none.
#[derive(Debug)]
pub(super) struct Pool {
    bytes: usize,
    spare: RefCell<Vec<Box<[u8]>>>,
    /// For bodies that are moved without being looked at.
    pub(super) pipes: Pipes,
}

/// Spare buffers kept; more are given back to the system.
const SPARE_MAX: usize = 16;
/// Smallest buffer: large enough that a big body costs few calls.
const BUFFER_BYTES: usize = 64 << 10;
/// Of a long answer so much is read before anything is known of it: its head says whether the rest goes
/// through a pipe.
pub(super) const BEGINNING_BYTES: usize = 16 << 10;

impl Pool {
    /// Buffers that hold a head of `head_bytes` and more.
    pub(super) fn new(head_bytes: usize) -> Self {
        let bytes = BUFFER_BYTES.max(head_bytes.saturating_add(4096));
        Self {
            bytes,
            spare: RefCell::new(Vec::new()),
            pipes: Pipes::default(),
        }
    }

    /// Whether the next buffer is memory that nobody has used yet: the kernel finds and clears each of its
    /// pages when it is first written to.
    fn is_spent(&self) -> bool {
        self.spare.borrow().is_empty()
    }

    pub(super) fn take(&self) -> Box<[u8]> {
        let spare = self.spare.borrow_mut().pop();
        spare.unwrap_or_else(|| vec![0; self.bytes].into_boxed_slice())
    }

    /// A buffer that begins with these bytes, and has room behind them.
    pub(super) fn filled_with(&self, bytes: &[u8]) -> Box<[u8]> {
        let mut buffer = if bytes.len() < self.bytes {
            self.take()
        } else {
            // Another process had larger ones.
            vec![0; bytes.len().saturating_add(self.bytes)].into_boxed_slice()
        };
        if let Some(front) = buffer.get_mut(..bytes.len()) {
            front.copy_from_slice(bytes);
        }
        buffer
    }

    /// Buffers of another size came from elsewhere.
    pub(super) fn give(&self, buffer: Box<[u8]>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX && buffer.len() == self.bytes {
            spare.push(buffer);
        }
    }
}

/// How a relay ended before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// Reading failed; bytes that way are lost.
    #[error("reading, {0:?}: {1}")]
    Read(Way, io::Error),
    /// Writing failed.
    #[error("writing, {0:?}: {1}")]
    Write(Way, io::Error),
    /// The policy wants the connection judged from now on.
    #[error("it must be judged from now on")]
    Policy,
    /// A refusal has ended it, in good order.
    #[error("refused")]
    Refused,
    /// It has become something in which nobody can judge requests.
    #[error("its requests cannot be judged")]
    Unjudged,
}

/// What a read found.
pub(super) enum Received {
    /// That many bytes.
    Bytes(usize),
    /// The sender has no more.
    End,
}

/// How much is read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// What a buffer holds.
    Whole,
    /// At most [`BEGINNING_BYTES`], where the buffer is fresh: of someone who has not sent more at once.
    Beginning,
}

/// Waits for bytes and reads what is there: one call to the kernel per burst. A buffer is only taken once
/// there is something to read. A sender that never pauses leaves the worker's other connections their turn.
pub(super) async fn receive(
    from: &mut ReadHalf<'_>,
    pool: &Pool,
    reach: Reach,
) -> io::Result<(Received, Box<[u8]>)> {
    loop {
        turns::pause().await;
        from.readable().await?;
        let most = match reach {
            Reach::Beginning if pool.is_spent() => BEGINNING_BYTES,
            Reach::Beginning | Reach::Whole => usize::MAX,
        };
        let mut buffer = pool.take();
        let most = most.min(buffer.len());
        let room = buffer.get_mut(..most).unwrap_or_default();
        // Not `read`: at the end of its turn it finds nothing, whatever there is.
        match from.try_read(room) {
            Ok(0) => return Ok((Received::End, buffer)),
            Ok(count) => return Ok((Received::Bytes(count), buffer)),
            Err(error) => {
                pool.give(buffer);
                if error.kind() != io::ErrorKind::WouldBlock {
                    return Err(error);
                }
            }
        }
    }
}

/// Writes what finds room, waiting for some; tells how many bytes. A dropped future has written nothing.
pub(super) async fn send_some(to: &WriteHalf<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match to.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
            written => return written,
        }
    }
}

/// Writes everything.
pub(super) async fn send(to: &WriteHalf<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = send_some(to, bytes).await?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}

/// Writes everything of many pieces, in as few calls to the kernel as may be, and adds to `sent` what has
/// been written.
#[expect(single_use_lifetimes, reason = "`impl Trait` cannot leave it out yet")]
pub(super) async fn send_slices<'b>(
    to: &WriteHalf<'_>,
    mut slices: impl Iterator<Item = IoSlice<'b>>,
    sent: &mut usize,
) -> io::Result<()> {
    const AT_ONCE: usize = 16;
    loop {
        let mut room = [IoSlice::new(&[]); AT_ONCE];
        let mut used = 0;
        for (slot, slice) in room.iter_mut().zip(slices.by_ref()) {
            *slot = slice;
            used += 1;
        }
        let mut left = room.get_mut(..used).unwrap_or_default();
        if left.is_empty() {
            return Ok(());
        }
        while !left.is_empty() {
            match to.try_write_vectored(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    *sent += count;
                    IoSlice::advance_slices(&mut left, count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Small messages go at once.
pub(super) fn no_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
}

/// Takes what the client still sends, for a moment: closing a socket with unread bytes in it sends a
/// reset, which would take the refusal from the client before it is read (RFC 9112 §9.6).
pub(super) async fn linger(client: &mut TcpStream, pool: &Pool) {
    const PATIENCE: Duration = Duration::from_secs(1);
    const BYTES_MAX: usize = 1 << 20;
    // Not an array: every connection would have room for it all its life.
    let mut scrap = pool.take();
    let drain = async {
        let mut total = 0;
        while let Ok(count @ 1..) = client.read(&mut scrap).await {
            total += count;
            if total > BYTES_MAX {
                break;
            }
        }
    };
    if tokio::time::timeout(PATIENCE, drain).await.is_err() {
        tracing::debug!("a refused client goes on sending");
    }
    pool.give(scrap);
}

/// Makes the end of a socket a reset, as the other side's was.
pub(super) fn reset(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        tracing::debug!(%error, "SO_LINGER");
    }
}

/// Runs both directions. Where one cannot write any more, the other goes on until it has passed what
/// the far end had said before it stopped listening. Both come pinned: moved in here they would take
/// their room twice.
pub(super) async fn join(
    mut up: Pin<&mut impl Future<Output = Result<(), Broken>>>,
    mut down: Pin<&mut impl Future<Output = Result<(), Broken>>>,
) -> Result<(), Broken> {
    tokio::select! {
        first = &mut up => follow(first, down).await,
        first = &mut down => follow(first, up).await,
    }
}

async fn follow(
    first: Result<(), Broken>,
    other: Pin<&mut impl Future<Output = Result<(), Broken>>>,
) -> Result<(), Broken> {
    match first {
        Ok(()) => other.await,
        Err(broken @ Broken::Write(..)) => {
            if let Err(later) = other.await {
                tracing::debug!(%later, "the other direction");
            }
            Err(broken)
        }
        Err(broken) => Err(broken),
    }
}

/// Passes the end of a relay on to both sides and to the records.
pub(super) fn finish(
    end: Result<(), Broken>,
    client: &TcpStream,
    server: &TcpStream,
    session: &mut Session,
) {
    let broken = match end {
        Ok(()) | Err(Broken::Refused) => {
            session.finish(Outcome::Passed);
            return;
        }
        Err(broken) => broken,
    };
    tracing::debug!(%broken, "a connection was cut");
    if let Some(event) = network::cut(&broken) {
        session.note_tcp(event);
    }
    reset(client);
    reset(server);
    session.finish(match broken {
        Broken::Read(Way::ToClient, _) | Broken::Write(Way::ToServer, _) => Outcome::UpstreamReset,
        Broken::Unjudged => Outcome::NotImplemented,
        Broken::Read(Way::ToServer, _)
        | Broken::Write(Way::ToClient, _)
        | Broken::Policy
        | Broken::Refused => Outcome::NoResponse,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn of_who_begins_to_send_fresh_memory_takes_the_beginning() {
        const SENT: usize = 40_000;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut sender = TcpStream::connect(address).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        sender.write_all(&vec![7; SENT]).await.unwrap();
        drop(sender);
        let (mut from, _to) = stream.split();
        let pool = Pool::new(0);
        let mut counts = Vec::new();
        for reach in [Reach::Beginning, Reach::Whole] {
            // The buffer is not given back: the next one is fresh as well.
            let (received, buffer) = receive(&mut from, &pool, reach).await.unwrap();
            let Received::Bytes(count) = received else {
                panic!("the sender has more");
            };
            assert!(buffer[..count].iter().all(|byte| *byte == 7));
            counts.push(count);
        }
        assert_eq!(counts, [BEGINNING_BYTES, SENT - BEGINNING_BYTES]);
    }

    #[tokio::test]
    async fn a_used_buffer_takes_all_there_is() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut sender = TcpStream::connect(address).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        sender.write_all(&vec![7; 40_000]).await.unwrap();
        let (mut from, _to) = stream.split();
        let pool = Pool::new(0);
        pool.give(pool.take());
        let received = receive(&mut from, &pool, Reach::Beginning).await.unwrap();
        assert!(matches!(received, (Received::Bytes(40_000), _)));
    }
}
