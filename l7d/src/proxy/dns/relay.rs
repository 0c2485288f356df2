//! What happens to a query, and to its answer.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use parsers::dns::{Message, PairingLimits, Unanswered};
use tokio::sync::{Semaphore, oneshot};

use super::answer::{learn_from, refuse_query, wait_until_learnt};
use super::receive::{Datagram, Inbox};
use super::send::{Outgoing, Sender};
use super::{BATCH, SavedQueries, Sockets};
use crate::config::Transport;
use crate::policy::{Door, Permit};
use crate::proxy::handover::Datagrams;
use crate::proxy::worker::Worker;
use crate::proxy::{Admission, Stats, Upstream, forward};
use crate::record::{L4, canonical};
use crate::session::{Answered, Ends, Lookups, RequestVerdict, Waiting};

/// Queries of a worker and family that wait for their answers.
const QUERIES: usize = 65_536;
/// Queries of this host's processes that wait for their answers: each has a socket.
const HOST_QUERIES: usize = 1024;
/// What is said of a datagram whose header cannot be read.
const NOT_DNS: &str = "no message of DNS";

/// The datagrams of one worker and family.
pub(super) struct Relay {
    worker: Rc<Worker>,
    sender: Sender,
    lookups: RefCell<Lookups<(SocketAddr, SocketAddr)>>,
    /// Room for queries of this host's processes.
    pub(super) host_queries: Semaphore,
}

/// A query of which is known what becomes of it.
struct Decided<'b> {
    datagram: Datagram<'b>,
    /// `None` where the bytes are no message of DNS.
    message: Option<Message<'b>>,
    ends: Ends,
    fate: Fate,
}

/// A message of a server, and the query that it answers.
struct Reply<'b> {
    message: Message<'b>,
    answered: Option<Answered>,
}

enum Fate {
    /// Passed on as it came.
    Watched(Upstream),
    /// Passed on because policy allows it.
    Permitted(Upstream, Permit),
    /// Answered here.
    Refused {
        verdict: RequestVerdict,
        answer: Option<Box<[u8]>>,
    },
}

impl Relay {
    pub(super) fn new(worker: Rc<Worker>, sender: Sender) -> Self {
        let limits = PairingLimits {
            queries: QUERIES,
            ..PairingLimits::default()
        };
        Self {
            worker,
            sender,
            lookups: RefCell::new(Lookups::new(limits, L4::Udp)),
            host_queries: Semaphore::new(HOST_QUERIES),
        }
    }

    /// Takes over queries that wait for their answers.
    pub(super) fn take_over(&self, waiting: Vec<Unanswered<(SocketAddr, SocketAddr), Waiting>>) {
        self.lookups.borrow_mut().restore(waiting);
    }

    /// Returns when everything is to go on in another process, maybe never.
    pub(super) async fn told_to_leave(&self) {
        self.worker.told_to_leave().await;
    }

    /// Gives everything up for another process. Answers that are held back until policies know them, and
    /// queries of this host's processes, end here.
    pub(super) fn give_up(
        &self,
        queries: tokio::net::UdpSocket,
        replies: tokio::net::UdpSocket,
    ) -> std::io::Result<()> {
        let sockets = Sockets {
            queries: queries.into_std()?,
            replies: replies.into_std()?,
            sender: self.sender.try_clone()?,
        };
        let queries = SavedQueries(self.lookups.borrow_mut().save());
        let mut given_up = self.worker.given_up.borrow_mut();
        given_up.datagrams.push(Datagrams { sockets, queries });
        Ok(())
    }

    pub(super) fn stats(&self) -> &Stats {
        &self.worker.stats
    }

    /// Tells of queries that nobody answered.
    pub(super) fn expire(&self) {
        self.lookups.borrow_mut().expire(&self.worker.recorder);
    }

    /// What clients sent: first it goes on, or is refused; then it is told of.
    pub(super) fn handle_queries(self: &Rc<Self>, inbox: &Inbox) {
        let decided: Vec<Decided<'_>> = inbox
            .datagrams()
            .filter_map(|datagram| self.decide(datagram))
            .collect();
        let outgoing = decided.iter().filter_map(|decided| self.outgoing(decided));
        self.send(&outgoing.collect::<Vec<_>>());
        for decided in &decided {
            self.tell_query(decided);
        }
    }

    fn decide<'b>(&self, datagram: Datagram<'b>) -> Option<Decided<'b>> {
        let Datagram { from, to, payload } = datagram;
        let Some(admission) = self.worker.directory.admit(Transport::Udp, from, to) else {
            self.stats().strays.fetch_add(1, Ordering::Relaxed);
            self.left();
            return None;
        };
        let Admission {
            ends,
            door,
            upstream,
        } = admission;
        let message = Message::read(payload).ok();
        let fate = match (door, &message) {
            (Door::Watch, _) => Fate::Watched(upstream),
            (Door::Enforce(judge), Some(message)) => match judge.judge_query(message) {
                Ok(permit) => Fate::Permitted(upstream, permit),
                Err(denial) => self.refuse(payload, denial.into()),
            },
            (Door::Enforce(judge), None) => {
                self.refuse(payload, judge.unfit(NOT_DNS.to_owned()).into())
            }
        };
        Some(Decided {
            datagram,
            message,
            ends,
            fate,
        })
    }

    fn refuse(&self, query: &[u8], verdict: RequestVerdict) -> Fate {
        let answer = refuse_query(&self.worker, query);
        Fate::Refused { verdict, answer }
    }

    /// What is to be sent at once.
    fn outgoing<'d>(self: &Rc<Self>, decided: &'d Decided<'_>) -> Option<Outgoing<'d>> {
        let Datagram { from, to, payload } = decided.datagram;
        let marks = &self.worker.settings.marks;
        match &decided.fate {
            Fate::Watched(upstream) | Fate::Permitted(upstream, _) => {
                let mark = upstream.mark(marks);
                if upstream.client.is_none() {
                    self.ask_for_host(&decided.datagram, upstream.server, mark);
                    return None;
                }
                Some(Outgoing {
                    from,
                    to,
                    mark,
                    payload,
                })
            }
            Fate::Refused { answer: None, .. } => {
                self.left();
                None
            }
            Fate::Refused {
                answer: Some(payload),
                ..
            } => Some(Outgoing {
                from: to,
                to: from,
                mark: marks.reply,
                payload,
            }),
        }
    }

    fn tell_query(&self, decided: &Decided<'_>) {
        let verdict = match &decided.fate {
            Fate::Watched(_) => self.audited(decided),
            Fate::Permitted(_, permit) => permit.into(),
            Fate::Refused { verdict, .. } => verdict.clone(),
        };
        let recorder = &self.worker.recorder;
        let key = key(decided.datagram.from, decided.ends.server.addr);
        let mut lookups = self.lookups.borrow_mut();
        match &decided.message {
            Some(message) => lookups.ask(recorder, key, &decided.ends, message, &verdict),
            None => lookups.tell_garbage(recorder, &decided.ends, &verdict),
        }
    }

    /// What is said of a query that nobody judges.
    fn audited(&self, decided: &Decided<'_>) -> RequestVerdict {
        match &decided.message {
            Some(message) => {
                let lookups = self.lookups.borrow();
                lookups.verdict(&self.worker.watcher, &decided.ends, message)
            }
            None => RequestVerdict::unjudged(),
        }
    }

    /// What servers answered goes on whatever it is: to ask is what policy is about.
    pub(super) fn handle_replies(self: &Rc<Self>, inbox: &Inbox) {
        let mut told = Vec::new();
        let mut outgoing = Vec::new();
        for datagram in inbox.datagrams() {
            let (reply, learning) = self.read_reply(&datagram);
            match learning {
                None => outgoing.push(self.reply(&datagram)),
                Some(learning) => self.hold(&datagram, learning),
            }
            told.extend(reply.map(|reply| (datagram, reply)));
        }
        self.send(&outgoing);
        for (datagram, Reply { message, answered }) in told {
            self.tell_answer(&datagram, &message, answered);
        }
    }

    /// What a server's datagram says, if it is a message of DNS, and what to wait for before it goes on.
    fn read_reply<'b>(
        &self,
        datagram: &Datagram<'b>,
    ) -> (Option<Reply<'b>>, Option<oneshot::Receiver<()>>) {
        let Ok(message) = Message::read(datagram.payload) else {
            return (None, None);
        };
        let key = key(datagram.to, datagram.from);
        let recorder = &self.worker.recorder;
        let answered = self.lookups.borrow_mut().answer(recorder, key, &message);
        let learning = answered
            .as_ref()
            .and_then(|answered| learn_from(&*self.worker.directory, answered, &message));
        (Some(Reply { message, answered }), learning)
    }

    /// Lets an answer go when policies know its addresses, or have taken too long.
    fn hold(self: &Rc<Self>, datagram: &Datagram<'_>, learning: oneshot::Receiver<()>) {
        let relay = Rc::clone(self);
        let (from, to) = (datagram.from, datagram.to);
        let payload: Box<[u8]> = datagram.payload.into();
        tokio::task::spawn_local(async move {
            wait_until_learnt(learning).await;
            let payload = &payload;
            let datagram = Datagram { from, to, payload };
            relay.send(&[relay.reply(&datagram)]);
        });
    }

    /// Brings a process of this host its answer, as if from where it had been made to ask.
    pub(super) async fn answer_host(&self, datagram: &Datagram<'_>, proxy: SocketAddr) {
        let (reply, learning) = self.read_reply(datagram);
        if let Some(learning) = learning {
            wait_until_learnt(learning).await;
        }
        let outgoing = Outgoing {
            from: proxy,
            ..self.reply(datagram)
        };
        self.send(&[outgoing]);
        if let Some(Reply {
            message,
            answered: answered @ Some(_),
        }) = reply
        {
            self.tell_answer(datagram, &message, answered);
        }
    }

    pub(super) fn pool(&self) -> &forward::Pool {
        &self.worker.pool
    }

    fn reply<'b>(&self, datagram: &Datagram<'b>) -> Outgoing<'b> {
        Outgoing {
            from: datagram.from,
            to: datagram.to,
            mark: self.worker.settings.marks.reply,
            payload: datagram.payload,
        }
    }

    fn tell_answer(
        &self,
        datagram: &Datagram<'_>,
        message: &Message<'_>,
        answered: Option<Answered>,
    ) {
        let (client, server) = (datagram.to, datagram.from);
        let ends = match &answered {
            Some(answered) => answered.ends.clone(),
            None => match self.worker.directory.admit(Transport::Udp, client, server) {
                Some(admission) => admission.ends,
                None => return,
            },
        };
        let mut lookups = self.lookups.borrow_mut();
        lookups.tell_answer(&self.worker.recorder, &ends, message, answered);
    }

    fn send(&self, outgoing: &[Outgoing<'_>]) {
        for batch in outgoing.chunks(BATCH) {
            let lost = self.sender.send(batch);
            self.lost(lost);
            self.passed(batch.len().saturating_sub(lost));
        }
    }

    /// Counts datagrams that went on, or were answered.
    pub(super) fn passed(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.stats().datagrams.fetch_add(count, Ordering::Relaxed);
    }
}

/// What tells look-ups apart; the scope of an address is the link's, and the same at both times.
fn key(client: SocketAddr, server: SocketAddr) -> (SocketAddr, SocketAddr) {
    (canonical(client), canonical(server))
}
