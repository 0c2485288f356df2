//! What a connection speaks, told from its first bytes, or found behind something else.

use parsers::detect::{self, Protocol};
use parsers::dns::looks_like_stream;
use parsers::http1::{Connection, Reading};
use parsers::{Direction as Way, tls};

use super::http2::Http2;
use super::{Session, State, dns, index};

/// Most blank bytes that a client may send before a request.
const BLANK_MAX: usize = 1024;

const DNS_PORT: u16 = 53;

/// Whether bytes begin like the first frame of an HTTP/2 server (RFC 9113 §3.4, §6.5), of at most 42
/// settings.
fn may_be_settings(bytes: &[u8]) -> bool {
    const HEAD: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let fits = |(index, (byte, expected)): (usize, (&u8, &u8))| {
        byte == expected || (index == 2 && byte % 6 == 0)
    };
    bytes.iter().zip(&HEAD).enumerate().all(fits)
}

impl Session {
    /// Whether the first bytes have told what the connection speaks.
    pub(super) fn detect(&mut self, way: Way, bytes: &[u8]) -> bool {
        let State::Detecting(note) = self.state else {
            return true;
        };
        match self.detect_socks(way, bytes) {
            None => return false,
            Some(true) => return true,
            Some(false) => {}
        }
        // No message there is as long as letters would say: who begins with some speaks something else.
        let begins_with_text = bytes.first().is_none_or(u8::is_ascii_graphic);
        if self.ends.server.addr.port() == DNS_PORT && !begins_with_text {
            return self.detect_dns(way, bytes);
        }
        // Blank lines before a request are no protocol, however many come.
        let blank = bytes
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'));
        let detected = match blank.take(BLANK_MAX + 1).count() {
            0..=BLANK_MAX if self.is_late() => {
                detect::detect_mid_stream(way, bytes, self.http.limits())
            }
            0..=BLANK_MAX => detect::detect(way, bytes),
            _ => Some(Protocol::Unknown),
        };
        match detected {
            None => false,
            Some(Protocol::Unknown) => match self.is_dns(way, bytes) {
                None => false,
                Some(true) => {
                    self.begin_dns(dns::Stream::new());
                    true
                }
                // A server may send its settings before the client has said what it speaks.
                Some(false)
                    if !self.is_late() && way == Way::ToClient && may_be_settings(bytes) =>
                {
                    false
                }
                Some(false) => {
                    self.look_behind_unknown(note);
                    true
                }
            },
            Some(protocol) => {
                self.begin_with(protocol);
                true
            }
        }
    }

    /// Whether what no other protocol knows is DNS; none: more bytes are needed to tell.
    fn is_dns(&self, way: Way, bytes: &[u8]) -> Option<bool> {
        // Letters would be the length of a message that no resolver sends; other protocols begin so.
        let may_be_dns = bytes.first() < Some(&0x10);
        if !may_be_dns || self.unread.is_some() {
            return Some(false);
        }
        looks_like_stream(way, bytes)
    }

    fn begin_dns(&mut self, stream: dns::Stream) {
        self.dns = Some(Box::new(stream));
        self.state = State::Dns;
    }

    fn begin_with(&mut self, protocol: Protocol) {
        self.state = match protocol {
            // What was missed may have been the start of a message.
            Protocol::Http1 if self.is_late() => {
                self.look_for_http1();
                State::Http1
            }
            Protocol::Http1 => {
                if self.unread.is_some() {
                    // It answers what it could not read.
                    self.come_late();
                    self.http.lose(Way::ToServer, None);
                }
                State::Http1
            }
            Protocol::Http2 => {
                let limits = *self.http.limits();
                let connection = if self.is_late() {
                    parsers::http2::Connection::mid_stream(limits)
                } else {
                    parsers::http2::Connection::new(limits)
                };
                self.http2 = Some(Box::new(Http2::new(connection, limits)));
                State::Http2
            }
            Protocol::Tls if self.is_late() => State::Opaque("tls"),
            Protocol::Tls => State::Tls { is_told: false },
            Protocol::Unknown => self.state,
        };
    }

    /// A handshake of another protocol may come before HTTP (PROXY…).
    fn look_behind_unknown(&mut self, note: &'static str) {
        // Where the start was missed, unknown bytes are most likely the middle of a message.
        if !self.is_late() {
            self.unread = Some(note);
            self.come_late();
        }
        self.look_for_http1();
        self.state = State::Http1;
    }

    /// At the port of DNS everything is DNS, broken messages too; but where a connection was joined
    /// late, its first bytes may be the middle of one.
    fn detect_dns(&mut self, way: Way, bytes: &[u8]) -> bool {
        let looks_like_it = looks_like_stream(way, bytes);
        if self.is_late() && looks_like_it.is_none() {
            return false;
        }
        let mut stream = dns::Stream::new();
        if self.is_late() && looks_like_it == Some(false) {
            stream.handle_gap(way, 1);
        }
        self.begin_dns(stream);
        true
    }

    /// Whether nothing that is known was found where a connection began with something else.
    pub(super) fn is_hopeless(&self) -> bool {
        const PATIENCE_BYTES: u64 = 4096;
        let [sent, received] = self.bytes;
        self.is_nothing_known() && sent + received > PATIENCE_BYTES
    }

    /// Whether what the connection began with was nothing that is known, and no message was found
    /// behind it yet.
    pub(super) fn is_nothing_known(&self) -> bool {
        self.unread.is_some() && self.http.awaiting_response() == 0 && self.http.is_looking()
    }

    fn look_for_http1(&mut self) {
        self.http.lose(Way::ToServer, None);
        self.http.lose(Way::ToClient, None);
    }

    /// A tunnel begins: what is in it is read like a connection of its own.
    pub(super) fn detect_again(&mut self, note: &'static str) {
        self.http = Connection::new(*self.http.limits(), Reading::Lenient);
        self.state = State::Detecting(note);
    }

    /// Whom a TLS client asks for, and whether the server speaks TLS at all.
    pub(super) fn read_hello(&mut self, way: Way, bytes: &[u8]) {
        if way == Way::ToClient {
            match detect::detect(way, bytes) {
                None => {}
                Some(Protocol::Http1) => {
                    self.unread = Some("tls to a server that speaks http");
                    self.come_late();
                    self.http.lose(Way::ToServer, None);
                    self.state = State::Http1;
                }
                Some(Protocol::Http2 | Protocol::Tls | Protocol::Unknown) => {
                    self.state = State::Opaque("tls");
                }
            }
        } else if self.state == (State::Tls { is_told: false })
            && let Ok(Some(hello)) = tls::read_client_hello(bytes, self.http.limits())
        {
            self.state = State::Tls { is_told: true };
            self.name_server(hello.server_name());
            let verdicts = self.recorder.verdicts.as_ref();
            if let Some(judged) =
                verdicts.and_then(|verdicts| verdicts.of_hello(&self.ends, &hello))
            {
                self.note_verdict(judged);
            }
        }
    }

    /// Notes whom a client asks for.
    fn name_server(&mut self, name: Option<&[u8]>) {
        self.whole.get_or_insert_default().server =
            name.map(|name| name.escape_ascii().to_string().into_boxed_str());
    }

    /// A connection of TLS whose bytes do not go on.
    pub fn begin_denied_tls(&mut self, name: Option<&[u8]>) {
        self.state = State::Tls { is_told: true };
        self.name_server(name);
    }

    /// Whether nothing more is to be learnt from the client's bytes.
    pub(super) fn is_enough_of_tls(&self, way: Way, bytes: &[u8]) -> bool {
        let most = self.http.limits().client_hello_bytes;
        match self.state {
            State::Tls { is_told } => way == Way::ToServer && (is_told || bytes.len() > most),
            _ => false,
        }
    }

    /// Little was seen of a connection that began earlier: whatever whole messages there are in it
    /// are told.
    pub(super) fn read_undetected(&mut self) {
        if !self.is_late() || !matches!(self.state, State::Detecting(_)) {
            return;
        }
        self.look_for_http1();
        self.state = State::Http1;
        for way in [Way::ToServer, Way::ToClient] {
            let kept = self.carry.get_mut(index(way)).map(std::mem::take);
            let _rest = self.read(self.turned(way), &kept.unwrap_or_default());
        }
    }
}
