//! One end of an HTTP/2 connection, frame by frame.

use parsers::Limits;
use parsers::hpack::{Decoder, Encoder, Field};
use parsers::http2::{ErrorCode, Flags, Frame, FrameHeader, Kind, PREFACE, Settings};

use crate::world::Peer;

/// Writes frames and reads them as lines.
pub(crate) struct Speaker {
    pub(crate) peer: Peer,
    encoder: Encoder,
    decoder: Decoder,
    block: Vec<u8>,
}

pub(crate) const END: Flags = Flags::END_STREAM;
pub(crate) const OPEN: Flags = Flags::NONE;

impl Speaker {
    /// Nothing said yet.
    pub(crate) fn begin(peer: Peer) -> Self {
        Self {
            peer,
            encoder: Encoder::new(4096),
            decoder: Decoder::new(&Limits::default()),
            block: Vec::new(),
        }
    }

    /// A client that has sent its preface and settings.
    pub(crate) fn client(peer: Peer) -> Self {
        let mut client = Self::begin(peer);
        client.say_preface();
        client
    }

    /// A server that has read a client's preface and settings, and has sent its own.
    pub(crate) fn server(peer: Peer) -> Self {
        let mut server = Self::begin(peer);
        server.expect_preface();
        server.say(0, OPEN, &Frame::Settings(Settings::new(&[])));
        server
    }

    pub(crate) fn say_preface(&mut self) {
        self.peer.send(PREFACE);
        self.say(0, OPEN, &Frame::Settings(Settings::new(&[])));
    }

    pub(crate) fn expect_preface(&mut self) {
        self.peer.expect(PREFACE);
        self.expect(&["SETTINGS"]);
    }

    pub(crate) fn say(&mut self, stream: u32, flags: Flags, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.write(stream, flags, &mut bytes);
        self.peer.send(&bytes);
    }

    /// The frames of a header block.
    pub(crate) fn head(&mut self, stream: u32, flags: Flags, fields: &[(&str, &str)]) -> Vec<u8> {
        let fields = fields
            .iter()
            .map(|(name, value)| Field::new(name.as_bytes(), value.as_bytes()));
        let mut block = Vec::new();
        self.encoder.encode(fields, &mut block);
        let mut bytes = Vec::new();
        Frame::write_header_block(stream, flags, &block, 16_384, &mut bytes);
        bytes
    }

    pub(crate) fn say_head(&mut self, stream: u32, flags: Flags, fields: &[(&str, &str)]) {
        let bytes = self.head(stream, flags, fields);
        self.peer.send(&bytes);
    }

    pub(crate) fn ask(&mut self, stream: u32, flags: Flags, method: &str, path: &str) {
        self.say_head(stream, flags, &request(method, path));
    }

    pub(crate) fn answer(&mut self, stream: u32, flags: Flags, status: &str) {
        self.say_head(stream, flags, &[(":status", status), ("server", "plain")]);
    }

    pub(crate) fn data(&mut self, stream: u32, flags: Flags, data: &[u8]) {
        let padding = None;
        self.say(stream, flags, &Frame::Data { data, padding });
    }

    pub(crate) fn expect(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.next(), *line);
        }
    }

    /// Bytes that the table of the header blocks read so far takes.
    pub(crate) fn table_bytes(&self) -> usize {
        self.decoder.table_bytes()
    }

    /// The next frame; header blocks come as one.
    pub(crate) fn next(&mut self) -> String {
        loop {
            let head = self.peer.take(FrameHeader::BYTES);
            let Some(header) = FrameHeader::read(&head) else {
                assert!(head.is_empty(), "half a frame's header");
                return "end".to_owned();
            };
            let payload = self.peer.take(header.payload_bytes());
            let frame = Frame::read(header, &payload).unwrap();
            if let Some(line) = self.line(header, &frame) {
                return line;
            }
        }
    }

    fn line(&mut self, header: FrameHeader, frame: &Frame<'_>) -> Option<String> {
        let FrameHeader { stream, flags, .. } = header;
        let code = |code: ErrorCode| code.name().unwrap_or("?");
        Some(match frame {
            Frame::Headers { fragment, .. } | Frame::Continuation { fragment } => {
                self.block.extend_from_slice(fragment);
                if !flags.has(Flags::END_HEADERS) {
                    return None;
                }
                let block = std::mem::take(&mut self.block);
                self.decoder.decode(&block).unwrap();
                let fields: Vec<String> = self
                    .decoder
                    .list()
                    .iter()
                    .map(|field| {
                        let text = String::from_utf8_lossy;
                        format!("{}={}", text(field.name), text(field.value))
                    })
                    .collect();
                let end = if header.kind == Kind::Headers && flags.has(END) {
                    " end"
                } else {
                    ""
                };
                format!("HEADERS {stream}{end} {}", fields.join(" "))
            }
            Frame::Data { data, padding } => {
                let end = if flags.has(END) { " end" } else { "" };
                let padding = padding.map_or(String::new(), |some| format!(" +{}", some.len()));
                format!("DATA {stream}{end} {}{padding}", data.len())
            }
            Frame::Settings(_) if flags.has(Flags::ACK) => "SETTINGS ack".to_owned(),
            Frame::Settings(_) => "SETTINGS".to_owned(),
            Frame::RstStream(why) => format!("RST_STREAM {stream} {}", code(*why)),
            Frame::WindowUpdate(bytes) => format!("WINDOW_UPDATE {stream} {bytes}"),
            Frame::GoAway {
                last_stream,
                code: why,
                debug,
            } => format!(
                "GOAWAY {last_stream} {} {}",
                code(*why),
                String::from_utf8_lossy(debug)
            ),
            other => format!("{:?} {stream}", other.kind()),
        })
    }
}

pub(crate) fn request<'r>(method: &'r str, path: &'r str) -> [(&'static str, &'r str); 4] {
    [
        (":method", method),
        (":scheme", "http"),
        (":authority", "web"),
        (":path", path),
    ]
}
