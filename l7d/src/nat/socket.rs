//! The socket to netfilter, and the thread that waits at it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use parsers::netlink::Messages;
use parsers::netlink::conntrack::{self, Answer, Tuple};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use super::Asked;
use super::asker::Asker;
use crate::clock::Monotonic;

/// Answers of one round: each takes the kernel a page.
const BUFFER_BYTES: usize = 1 << 20;
/// An answer is 300 bytes, and never a page.
const ANSWER_BYTES: usize = 8192;
/// Questions taken before any is asked.
const BATCH: usize = 512;
/// Once netfilter was seen to track connections, how long until that is looked at again.
const LOOK_AGAIN_NS: u64 = 1_000_000_000;

/// A socket of netfilter's connections. Asking needs `CAP_NET_ADMIN`.
pub(super) struct Socket(OwnedFd);

impl Socket {
    /// Opens it and asks for a connection that nobody has.
    pub(super) fn open() -> io::Result<Self> {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::NETFILTER),
        )?;
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&fd, BUFFER_BYTES)?;
        let socket = Self(fd);
        let nobody = ([0, 0, 0, 0], 0).into();
        let mut datagram = Vec::new();
        conntrack::ask(&mut datagram, &Tuple::new(6, nobody, nobody), 0);
        socket.send(&datagram)?;
        let mut room = vec![0; ANSWER_BYTES];
        let answer = socket.receive(&mut room)?;
        let message = Messages::new(answer).next().and_then(Result::ok);
        let answer = message.and_then(|message| conntrack::answer(&message).ok().flatten());
        match answer {
            None | Some(Answer::Connection(_)) => Ok(socket),
            Some(Answer::Refused(number)) => {
                let error = io::Error::from_raw_os_error(i32::try_from(number).unwrap_or(0));
                // "No such connection" is the answer of one who knows them.
                if error.kind() == io::ErrorKind::NotFound {
                    Ok(socket)
                } else {
                    Err(error)
                }
            }
        }
    }

    fn send(&self, datagram: &[u8]) -> Result<(), Errno> {
        rustix::net::send(&self.0, datagram, SendFlags::DONTWAIT).map(drop)
    }

    /// The kernel answers while it is asked: what is not here by then does not come.
    fn receive<'b>(&self, room: &'b mut [u8]) -> Result<&'b [u8], Errno> {
        let (read, _) = rustix::net::recv(&self.0, &mut *room, RecvFlags::DONTWAIT)?;
        Ok(room.get(..read).unwrap_or_default())
    }
}

/// Whether netfilter tracks no connection in this network namespace.
fn is_idle() -> bool {
    let count = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count");
    count.is_ok_and(|count| count.trim() == "0")
}

/// Answers questions until nobody is left to ask.
pub(super) fn run(socket: &Socket, mut asker: Asker, questions: &Receiver<Asked>) {
    let mut datagram = Vec::new();
    let mut room = vec![0; ANSWER_BYTES];
    let mut seen_busy: Option<Monotonic> = None;
    loop {
        let now = Monotonic::now();
        match wait(questions, asker.next_due(), now) {
            Ok(Some(first)) => asker.take(first, Monotonic::now()),
            Ok(None) => {}
            Err(Gone) => return,
        }
        for next in questions.try_iter().take(BATCH) {
            asker.take(next, now);
        }
        let now = Monotonic::now();
        if seen_busy.is_none_or(|seen| now.nanos_since(seen) > LOOK_AGAIN_NS) {
            let is_idle = is_idle();
            seen_busy = (!is_idle).then_some(now);
            asker.set_idle(is_idle);
        }
        while asker.is_due(Monotonic::now()) {
            datagram.clear();
            asker.write(&mut datagram);
            exchange(socket, &mut asker, &datagram, &mut room);
        }
    }
}

/// Nobody can ask any more.
struct Gone;

fn wait(
    questions: &Receiver<Asked>,
    due: Option<Monotonic>,
    now: Monotonic,
) -> Result<Option<Asked>, Gone> {
    let Some(due) = due else {
        return questions.recv().map(Some).map_err(|_gone| Gone);
    };
    let patience = Duration::from_nanos(due.nanos_since(now));
    match questions.recv_timeout(patience) {
        Ok(asked) => Ok(Some(asked)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(Gone),
    }
}

fn exchange(socket: &Socket, asker: &mut Asker, datagram: &[u8], room: &mut [u8]) {
    if datagram.is_empty() {
        return;
    }
    if let Err(error) = socket.send(datagram) {
        tracing::debug!(%error, "netfilter cannot be asked");
    }
    while asker.awaits() {
        match socket.receive(room) {
            Ok(answers) => asker.read(answers, Monotonic::now()),
            // Some answers found no room; the others are there.
            Err(Errno::NOBUFS | Errno::INTR) => {}
            Err(_nothing_more) => break,
        }
    }
    asker.give_up_asked(Monotonic::now());
}
