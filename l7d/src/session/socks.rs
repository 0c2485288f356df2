//! SOCKS: what is in the tunnel behind its handshake is read like a connection of its own.

use parsers::Direction as Way;
use parsers::http1::{Connection, Reading};
use parsers::socks::{self, Event, Handshake, Step};

use super::{Roles, Seen, Session, State, index, opposite};

/// Most bytes kept of a client that does not wait for its proxy's answer.
const WAITING_MAX: usize = 64 << 10;

impl Session {
    /// Whether the connection begins with SOCKS; none: more bytes are needed to tell. The proxy may be
    /// where the connection was opened from: then client and server change places.
    pub(super) fn detect_socks(&mut self, way: Way, bytes: &[u8]) -> Option<bool> {
        if self.is_late() || self.unread.is_some() {
            return Some(false);
        }
        let other = self.turned(opposite(way));
        let other = self.carry.get(index(other)).map_or(&[][..], Vec::as_slice);
        let (client, server) = match way {
            Way::ToServer => (bytes, other),
            Way::ToClient => (other, bytes),
        };
        let is_socks = match socks::looks_like(client, server) {
            Some(false) => {
                let is_turned = socks::looks_like(server, client);
                if is_turned == Some(true) {
                    self.turn();
                }
                is_turned
            }
            is_socks => is_socks,
        };
        if is_socks == Some(true) {
            self.state = State::Socks(Handshake::default());
        }
        is_socks
    }

    /// The bytes of who opened the connection were nothing that is known; if who was asked greets like
    /// a client of SOCKS, it may be one (`ssh -R`, and programs that call home to be asked).
    pub(super) fn look_for_greeting(&mut self, way: Way, bytes: &[u8]) {
        let are_first = self.bytes.get(index(way)) == Some(&(bytes.len() as u64));
        if self.state == State::Http1
            && self.is_nothing_known()
            && way == Way::ToClient
            && are_first
            && socks::is_greeting(bytes)
        {
            self.carry = [Vec::new(), Vec::new()];
            self.begin_anew("not http");
        }
    }

    /// What comes now is read like a connection of its own.
    fn begin_anew(&mut self, note: &'static str) {
        self.unread = None;
        self.seen = Seen::Whole;
        self.http = Connection::new(*self.http.limits(), Reading::Lenient);
        self.state = State::Detecting(note);
    }

    /// Client and server change places, as far as it is told.
    fn turn(&mut self) {
        self.roles = match self.roles {
            Roles::AsOpened => Roles::Turned,
            Roles::Turned => Roles::AsOpened,
        };
        self.ends.turn();
    }

    /// Reads the next message and gives back the bytes that are left.
    pub(super) fn read_socks<'b>(
        &mut self,
        mut handshake: Handshake,
        way: Way,
        bytes: &'b [u8],
    ) -> &'b [u8] {
        match handshake.step(way, bytes) {
            Ok(Step::NeedMore) if bytes.len() > WAITING_MAX => {
                self.give_up("socks");
                &[]
            }
            Ok(Step::NeedMore) => bytes,
            Ok(Step::Event { consumed, event }) => {
                self.state = State::Socks(handshake);
                self.note_socks(&event);
                bytes.get(consumed..).unwrap_or_default()
            }
            Err(error) => {
                tracing::debug!(rule = error.rule, "no longer followed");
                self.give_up(error.rule);
                &[]
            }
        }
    }

    fn note_socks(&mut self, event: &Event<'_>) {
        match event {
            Event::Negotiated | Event::Listening => {}
            Event::Request(_, target) => {
                let target = target.to_string().into_boxed_str();
                self.whole.get_or_insert_default().server = Some(target);
            }
            Event::Granted(command) if command.is_tunnel() => self.begin_anew("socks"),
            Event::Granted(_) => self.give_up("socks without a tunnel"),
            Event::Refused(_) => self.give_up("socks refused"),
        }
    }
}
