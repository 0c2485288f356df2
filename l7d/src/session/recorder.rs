//! What sessions share: the way out of records, the clock, and memory that is used again.

use std::cell::RefCell;
use std::sync::Arc;

use parsers::Direction as Way;

use parsers::{Limits, grpc};

use super::grpc::Rpc;
use super::messages::Messages;
use super::verdicts::{RequestVerdict, Verdicts};
use super::{Ends, Redaction};
use crate::clock::{Clock, Monotonic, Timestamp};
use crate::exchange::{Asked, Exchange};
use crate::identity::Names;
use crate::nat::{Clients, Translations};
use crate::record::{self, L4, Observer, Party, PolicyRef, Record, Sink, Verdict};

/// What the sessions of one worker share.
pub struct Recorder {
    sink: Arc<dyn Sink>,
    pub(super) redaction: Redaction,
    pub(super) clock: Clock,
    observer: Observer,
    pub(super) messages: Option<Box<dyn Messages>>,
    pub(super) verdicts: Option<Box<dyn Verdicts>>,
    pub(super) names: Option<Arc<Names>>,
    translations: Option<(Arc<Translations>, Clients)>,
    scratch: RefCell<Record>,
    spare: RefCell<Vec<Exchange>>,
    #[expect(clippy::vec_box, reason = "calls move in and out whole")]
    spare_rpcs: RefCell<Vec<Box<Rpc>>>,
}

/// Whether memory of that size is kept beside so many others: a few that are large, and many that are
/// small, since streams come and go in bursts. A worker keeps 2 MiB at most.
const fn is_worth_keeping(bytes: usize, others: usize) -> bool {
    (bytes < 16 << 10 && others < 64) || (bytes < 2 << 10 && others < 512)
}

impl Recorder {
    /// Records go to `sink`, redacted, with the time of the system.
    pub fn new(sink: Arc<dyn Sink>, redaction: Redaction) -> Self {
        let nobody = || Party::unnamed(([0, 0, 0, 0], 0).into(), record::IdentityNumber::UNKNOWN);
        let event = record::Event::Drop {
            reason: record::DropReason::UNKNOWN,
            kernel: None,
        };
        let scratch = Record::new(Timestamp::default(), nobody(), nobody(), event);
        Self {
            sink,
            redaction,
            clock: Clock::system(),
            observer: Observer::Proxy,
            messages: None,
            verdicts: None,
            names: None,
            translations: None,
            scratch: RefCell::new(scratch),
            spare: RefCell::new(Vec::new()),
            spare_rpcs: RefCell::new(Vec::new()),
        }
    }

    /// The same with the time of a capture.
    pub fn replaying(sink: Arc<dyn Sink>, redaction: Redaction) -> Self {
        Self {
            clock: Clock::captured(),
            observer: Observer::Capture,
            ..Self::new(sink, redaction)
        }
    }

    /// Notes on records the names that DNS gave to ends that are outside, and learns them from answers
    /// that nobody holds up.
    #[must_use]
    pub fn with_names(mut self, names: Arc<Names>) -> Self {
        self.names = Some(names);
        self
    }

    /// Tells what netfilter makes of connections' addresses, and of masked clients what is said.
    #[must_use]
    pub fn with_translations(mut self, translations: Arc<Translations>, clients: Clients) -> Self {
        self.translations = Some((translations, clients));
        self
    }

    /// The same for what the kernel copied, with the kernel's time.
    pub fn tapping(sink: Arc<dyn Sink>, redaction: Redaction) -> Self {
        Self {
            clock: Clock::captured(),
            observer: Observer::Kernel,
            ..Self::new(sink, redaction)
        }
    }

    /// Shows every message to `messages` as well.
    #[must_use]
    pub fn with_messages(mut self, messages: Box<dyn Messages>) -> Self {
        self.messages = Some(messages);
        self
    }

    /// Tells the verdicts that a policy would have given.
    #[must_use]
    pub fn with_verdicts(mut self, verdicts: Box<dyn Verdicts>) -> Self {
        self.verdicts = Some(verdicts);
        self
    }

    /// What is to be told of a request that has gone on.
    pub(super) fn verdict(
        &self,
        ends: &Ends,
        asked: &Asked<'_>,
        headers: &dyn policy_l7::Headers,
    ) -> RequestVerdict {
        let judged = self
            .verdicts
            .as_ref()
            .and_then(|verdicts| verdicts.of_request(ends, asked, headers));
        judged.unwrap_or_else(RequestVerdict::unjudged)
    }

    /// What DNS has said, where anybody wants to know.
    pub fn names(&self) -> Option<&Arc<Names>> {
        self.names.as_ref()
    }

    /// The clock of all sessions.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn exchange(&self) -> Exchange {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps an exchange's memory for the next one.
    pub(super) fn recycle(&self, exchange: Exchange) {
        let mut spare = self.spare.borrow_mut();
        if is_worth_keeping(exchange.memory(), spare.len()) {
            spare.push(exchange);
        }
    }

    /// A gRPC call that begins, in the memory of one that has ended.
    pub(super) fn rpc(&self, limits: &Limits, kind: grpc::Kind, now: Monotonic) -> Box<Rpc> {
        let fresh = Rpc::new(limits, kind, now);
        match self.spare_rpcs.borrow_mut().pop() {
            Some(mut spare) => {
                spare.begin(fresh);
                spare
            }
            None => Box::new(fresh),
        }
    }

    /// Keeps a call's memory for the next one.
    pub(super) fn recycle_rpc(&self, rpc: Box<Rpc>) {
        let mut spare = self.spare_rpcs.borrow_mut();
        if is_worth_keeping(rpc.memory(), spare.len()) {
            spare.push(rpc);
        }
    }

    /// Records what `write` writes about what the client asked, and what became of it.
    pub(super) fn tell_judged(
        &self,
        ends: &Ends,
        judged: &RequestVerdict,
        write: impl FnOnce(&mut Record),
    ) {
        self.tell_asked(ends, judged.verdict, &judged.policies, |record| {
            record.direction = judged.direction.unwrap_or(record.direction);
            write(record);
        });
    }

    /// Records what `write` writes about what the client asked.
    pub(super) fn tell_asked(
        &self,
        ends: &Ends,
        verdict: Verdict,
        policies: &Arc<[PolicyRef]>,
        write: impl FnOnce(&mut Record),
    ) {
        let record = &mut *self.scratch.borrow_mut();
        self.prepare(record, ends, verdict, policies);
        record.source.clone_from(&ends.client);
        record.destination.clone_from(&ends.server);
        record.reply = Some(false);
        record.encapsulation = ends.encapsulation(Way::ToServer).cloned();
        self.name(record);
        write(record);
        record.event.note_network(ends.network());
        self.hand_on(record);
    }

    /// Records what `write` writes about what the server answered.
    pub(super) fn tell_answered(
        &self,
        ends: &Ends,
        verdict: Verdict,
        write: impl FnOnce(&mut Record),
    ) {
        let record = &mut *self.scratch.borrow_mut();
        self.prepare(record, ends, verdict, &record::no_policies());
        record.source.clone_from(&ends.server);
        record.destination.clone_from(&ends.client);
        record.reply = Some(true);
        record.encapsulation = ends.encapsulation(Way::ToClient).cloned();
        self.name(record);
        write(record);
        record.event.note_network(ends.network());
        self.hand_on(record);
    }

    fn hand_on(&self, record: &mut Record) {
        match &self.translations {
            Some((translations, clients)) => translations.tell(record, *clients, &self.sink),
            None => self.sink.record(record),
        }
    }

    fn name(&self, record: &mut Record) {
        if let Some(names) = &self.names {
            names.name(record);
        }
    }

    fn prepare(
        &self,
        record: &mut Record,
        ends: &Ends,
        verdict: Verdict,
        policies: &Arc<[PolicyRef]>,
    ) {
        record.time = self.clock.wall();
        record.direction = ends.direction;
        record.verdict = verdict;
        record.l4 = L4::Tcp { flags: 0 };
        record.policies = Arc::clone(policies);
        record.interface = 0;
        record.observer = self.observer;
        record.connection = ends.connection();
        record.translation = None;
        record.text.clear();
    }
}
