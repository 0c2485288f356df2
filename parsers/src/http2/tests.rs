use super::*;
use crate::detect::{Protocol, detect_mid_stream};
use crate::hpack::{Encoder, Field};
use crate::{Direction, Fault, Limits};

type Fields = [(&'static str, &'static str)];

/// Both ends of a connection and who looks on.
struct Pair {
    connection: Connection,
    encoders: [Encoder; 2],
}

impl Pair {
    /// After preface and settings of both sides.
    fn new(limits: Limits) -> Self {
        let mut pair = Self::after(Connection::new(limits));
        let mut first = PREFACE.to_vec();
        Frame::Settings(Settings::new(&[])).write(0, Flags::NONE, &mut first);
        assert_eq!(pair.events(ToServer, &first).len(), 2);
        let second = &first[PREFACE.len()..];
        assert_eq!(pair.events(ToClient, second).len(), 1);
        pair
    }

    fn after(connection: Connection) -> Self {
        Self {
            connection,
            encoders: [Encoder::new(4096), Encoder::new(4096)],
        }
    }

    /// Reads all bytes, which must be whole frames, and tells events in short.
    fn events(&mut self, direction: Direction, bytes: &[u8]) -> Vec<String> {
        let mut rest = bytes;
        let mut told = Vec::new();
        while !rest.is_empty() {
            match self.connection.step(direction, rest) {
                Ok(Step::Event { consumed, event }) => {
                    told.push(tell(&event));
                    rest = &rest[consumed..];
                }
                other => panic!("{other:?} at {rest:x?}"),
            }
        }
        told
    }

    fn error(&mut self, direction: Direction, bytes: &[u8]) -> Error {
        let mut rest = bytes;
        loop {
            match self.connection.step(direction, rest) {
                Ok(Step::Event { consumed, .. }) => rest = &rest[consumed..],
                Ok(Step::NeedMore) => panic!("no error in {bytes:x?}"),
                Err(error) => return error,
            }
        }
    }

    fn block(&mut self, direction: Direction, fields: &Fields) -> Vec<u8> {
        let mut block = Vec::new();
        let fields = fields
            .iter()
            .map(|(name, value)| Field::new(name.as_bytes(), value.as_bytes()));
        self.encoders[streams::index(direction)].encode(fields, &mut block);
        block
    }

    fn headers(
        &mut self,
        direction: Direction,
        stream: u32,
        flags: Flags,
        fields: &Fields,
    ) -> Vec<u8> {
        let block = self.block(direction, fields);
        let mut bytes = Vec::new();
        Frame::write_header_block(stream, flags, &block, 16_384, &mut bytes);
        bytes
    }

    fn tell_headers(
        &mut self,
        direction: Direction,
        stream: u32,
        flags: Flags,
        fields: &Fields,
    ) -> String {
        let bytes = self.headers(direction, stream, flags, fields);
        self.events(direction, &bytes).join("; ")
    }
}

fn tell(event: &Event<'_>) -> String {
    let head_of = |what: &str, stream: u32, head: &Head<'_>| {
        let text = |bytes: Option<&[u8]>| {
            bytes.map_or("-".to_owned(), |b| String::from_utf8_lossy(b).into_owned())
        };
        let what = if head.is_interim() { "interim" } else { what };
        let status = head.status().map_or(String::new(), |code| code.to_string());
        let method = head.method().map_or(String::new(), |method| {
            format!(
                "{} {} {}",
                text(Some(method)),
                text(head.authority()),
                text(head.path())
            )
        });
        let last = if head.is_last() { " last" } else { "" };
        let fault = head.fault().map_or("", |fault| fault.rule);
        format!("{what} {stream} {method}{status}{last} {fault}")
            .replace("  ", " ")
            .trim()
            .to_owned()
    };
    match event {
        Event::Request { stream, head, .. } => head_of("request", *stream, head),
        Event::Response { stream, head } => head_of("response", *stream, head),
        Event::Trailers { stream, head } => head_of("trailers", *stream, head),
        Event::Push {
            stream,
            promised,
            head,
        } => head_of(&format!("push {promised}"), *stream, head),
        Event::Data {
            stream,
            bytes,
            is_last,
            fault,
        } => {
            let fault = fault.map_or("", |fault| fault.rule);
            let last = if *is_last { " last" } else { "" };
            format!("data {stream} {}{last} {fault}", bytes.len())
                .trim()
                .to_owned()
        }
        Event::Reset { stream, code } => format!("reset {stream} {}", code.name().unwrap_or("?")),
        Event::GoAway {
            last_stream, code, ..
        } => format!("goaway {last_stream} {}", code.name().unwrap_or("?")),
        Event::Settings(settings) => format!("settings {}", settings.len()),
        Event::Frame { header, fault } => {
            let fault = fault.map_or("", |fault| fault.rule);
            format!("{:?} {fault}", header.kind).trim().to_owned()
        }
        Event::Preface => "preface".to_owned(),
        Event::Skipped => "skipped".to_owned(),
        Event::Lost => "lost".to_owned(),
    }
}

fn data(stream: u32, flags: Flags, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let padding = None;
    Frame::Data { data, padding }.write(stream, flags, &mut bytes);
    bytes
}

fn frame(frame: Frame<'_>, stream: u32, flags: Flags) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.write(stream, flags, &mut bytes);
    bytes
}

const GET: &Fields = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/a"),
    (":authority", "pod"),
];
use Direction::{ToClient, ToServer};

#[test]
fn reads_an_exchange_with_interim_response_payload_and_trailers() {
    let mut pair = Pair::new(Limits::default());
    let end = Flags::END_STREAM;
    assert_eq!(
        pair.tell_headers(ToServer, 1, end, GET),
        "request 1 GET pod /a last"
    );
    let interim = pair.tell_headers(ToClient, 1, Flags::NONE, &[(":status", "103")]);
    assert_eq!(interim, "interim 1 103");
    let ok: &Fields = &[(":status", "200"), ("content-length", "4")];
    assert_eq!(
        pair.tell_headers(ToClient, 1, Flags::NONE, ok),
        "response 1 200"
    );
    let body = data(1, Flags::NONE, b"body");
    assert_eq!(pair.events(ToClient, &body), ["data 1 4"]);
    assert_eq!(pair.connection.open_streams(), 1);
    let trailers = pair.tell_headers(ToClient, 1, end, &[("grpc-status", "0")]);
    assert_eq!(trailers, "trailers 1 last");
    assert_eq!(pair.connection.open_streams(), 0);
    assert_eq!(pair.connection.handle_close(ToClient), Close::Clean);
}

#[test]
fn reads_a_promise_and_the_pushed_response() {
    let mut pair = Pair::new(Limits::default());
    pair.tell_headers(ToServer, 1, Flags::END_STREAM, GET);
    let block = pair.block(ToClient, GET);
    let promise = Frame::PushPromise {
        promised: 2,
        fragment: &block,
        padding: None,
    };
    let promise = frame(promise, 1, Flags::END_HEADERS);
    assert_eq!(
        pair.events(ToClient, &promise),
        ["push 2 1 GET pod /a last"]
    );
    let ok: &Fields = &[(":status", "200")];
    let pushed = pair.tell_headers(ToClient, 2, Flags::END_STREAM, ok);
    assert_eq!(pushed, "response 2 200 last");
    assert_eq!(pair.connection.open_streams(), 1);
    let error = pair.error(ToServer, &promise);
    assert_eq!(error.rule, "client-pushes");
}

#[test]
fn a_reset_stream_is_forgotten_and_what_was_under_way_is_told() {
    let mut pair = Pair::new(Limits::default());
    pair.tell_headers(ToServer, 1, Flags::END_STREAM, GET);
    let reset = frame(Frame::RstStream(ErrorCode::CANCEL), 1, Flags::NONE);
    assert_eq!(pair.events(ToServer, &reset), ["reset 1 CANCEL"]);
    assert!(!pair.connection.is_open(1));
    let late = pair.tell_headers(ToClient, 1, Flags::END_STREAM, &[(":status", "200")]);
    assert_eq!(late, "response 1 200 last");
    let away = Frame::GoAway {
        last_stream: 1,
        code: ErrorCode::NO_ERROR,
        debug: b"bye",
    };
    let away = frame(away, 0, Flags::NONE);
    assert_eq!(pair.events(ToClient, &away), ["goaway 1 NO_ERROR"]);
}

#[test]
fn names_what_makes_a_message_malformed() {
    let cases: [(&Fields, &str); 16] = [
        (&[(":scheme", "http"), (":path", "/")], "no-method"),
        (&[(":method", "GET"), (":path", "/")], "no-scheme"),
        (&[(":method", "GET"), (":scheme", "http")], "no-path"),
        (
            &[(":method", "GET"), (":scheme", "http"), (":path", "")],
            "bad-path",
        ),
        (
            &[(":method", "GET"), (":scheme", "http"), (":path", "*")],
            "bad-path",
        ),
        (
            &[("a", "b"), (":method", "GET")],
            "pseudo-header-after-fields",
        ),
        (
            &[(":method", "GET"), (":method", "GET")],
            "pseudo-header-twice",
        ),
        (&[(":status", "200")], "misplaced-pseudo-header"),
        (&[(":new", "x")], "unknown-pseudo-header"),
        (&[("Upper", "x")], "bad-header-name"),
        (&[("x", "a\r\nb: c")], "bad-header-value"),
        (&[("connection", "close")], "connection-specific-field"),
        (&[("te", "gzip")], "connection-specific-field"),
        (&[("content-length", "+1")], "bad-content-length"),
        (
            &[(":method", "CONNECT"), (":path", "/")],
            "connect-with-path",
        ),
        (&[(":method", "CONNECT")], "connect-without-authority"),
    ];
    for (fields, rule) in cases {
        let mut pair = Pair::new(Limits::default());
        let told = pair.tell_headers(ToServer, 1, Flags::END_STREAM, fields);
        assert!(told.ends_with(rule), "{fields:?}: {told}");
    }
}

#[test]
fn a_host_of_another_name_is_ambiguous() {
    let mut pair = Pair::new(Limits::default());
    let fields = [GET, &[("host", "other")]].concat();
    let bytes = pair.headers(ToServer, 1, Flags::END_STREAM, fields.leak());
    let Ok(Step::Event {
        event: Event::Request { head, .. },
        ..
    }) = pair.connection.step(ToServer, &bytes)
    else {
        panic!()
    };
    let fault = head.fault().expect("a fault");
    assert_eq!(
        (fault.fault, fault.rule),
        (Fault::Ambiguous, "host-differs-from-authority")
    );
    assert_eq!(head.authority(), Some(&b"pod"[..]));
}

#[test]
fn accepts_what_is_well_formed() {
    let cases: [&Fields; 6] = [
        &[
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/pkg.Service/Method"),
            ("trace-bin", "\0\r\n\0"),
        ],
        &[(":method", "CONNECT"), (":authority", "db:5432")],
        &[
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":path", "/chat"),
            (":authority", "pod"),
        ],
        &[
            (":method", "OPTIONS"),
            (":scheme", "http"),
            (":path", "*"),
            (":authority", "pod"),
        ],
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":path", "/"),
            ("host", "pod"),
        ],
        &[
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/"),
            ("te", "trailers"),
        ],
    ];
    let mut pair = Pair::new(Limits::default());
    for (stream, fields) in (1..).step_by(2).zip(cases) {
        let bytes = pair.headers(ToServer, stream, Flags::NONE, fields);
        match pair.connection.step(ToServer, &bytes) {
            Ok(Step::Event {
                event: Event::Request { head, .. },
                ..
            }) => assert_eq!(head.fault(), None, "{fields:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_content_length_that_differs_is_told_at_the_end() {
    let mut pair = Pair::new(Limits::default());
    let fields = [GET, &[("content-length", "3")]].concat();
    let fields: &'static Fields = fields.leak();
    for (stream, body, expected) in [
        (1, &b"abc"[..], "data 1 3 last"),
        (3, b"ab", "data 3 2 last content-length-differs"),
        (5, b"abcd", "data 5 4 last content-length-differs"),
    ] {
        pair.tell_headers(ToServer, stream, Flags::NONE, fields);
        let body = data(stream, Flags::END_STREAM, body);
        assert_eq!(pair.events(ToServer, &body), [expected]);
    }
    let told = pair.tell_headers(ToServer, 7, Flags::END_STREAM, fields);
    assert!(told.ends_with("content-length-differs"), "{told}");
}

#[test]
fn a_table_size_binds_from_its_acknowledgement_on() {
    let update = size_update_of_200();
    let mut pair = Pair::new(Limits::default());
    let smaller = [0, 1, 0, 0, 0, 100];
    let settings = frame(Frame::Settings(Settings::new(&smaller)), 0, Flags::NONE);
    let ack = frame(Frame::Settings(Settings::new(&[])), 0, Flags::ACK);
    pair.events(ToServer, &ack);
    pair.events(ToClient, &ack);
    pair.events(ToClient, &settings);
    pair.events(ToServer, &ack);
    // 200 bytes are more than the server allows now.
    let mut too_large = Vec::new();
    Frame::write_header_block(1, Flags::END_STREAM, &update, 100, &mut too_large);
    let error = pair.error(ToServer, &too_large);
    assert_eq!(error.rule, "size-update-too-large");
}

/// A header block that begins with a size update of 200.
fn size_update_of_200() -> Vec<u8> {
    vec![0x3f, 0xa9, 0x01, 0x82]
}

#[test]
fn an_upgraded_connection_begins_with_the_answer_to_stream_1() {
    let connection = Connection::after_upgrade(Limits::default(), b"AAMAAABkAAQAAP__", false);
    let mut pair = Pair::after(connection.expect("settings"));
    let settings = frame(Frame::Settings(Settings::new(&[])), 0, Flags::NONE);
    assert_eq!(pair.events(ToClient, &settings), ["settings 0"]);
    let answer = pair.tell_headers(ToClient, 1, Flags::END_STREAM, &[(":status", "200")]);
    assert_eq!(answer, "response 1 200 last");
    assert_eq!(pair.connection.open_streams(), 0);
    let client = [PREFACE, &settings].concat();
    assert_eq!(pair.events(ToServer, &client), ["preface", "settings 0"]);
    let next = pair.tell_headers(ToServer, 3, Flags::END_STREAM, GET);
    assert_eq!(next, "request 3 GET pod /a last");
    let broken = Connection::after_upgrade(Limits::default(), b"!", false);
    assert_eq!(
        broken.map(|_| ()).expect_err("no base64").rule,
        "bad-http2-settings"
    );
}

#[test]
fn what_ends_a_connection_ends_the_direction() {
    let ping_in_block = [
        &frame(
            Frame::Headers {
                priority: None,
                fragment: &[0x82],
                padding: None,
            },
            1,
            Flags::NONE,
        )[..],
        &frame(Frame::Ping([0; 8]), 0, Flags::NONE),
    ]
    .concat();
    let cases: [(Vec<u8>, &str); 7] = [
        (ping_in_block, "header-block-interrupted"),
        (
            frame(Frame::Continuation { fragment: b"" }, 1, Flags::NONE),
            "continuation-of-nothing",
        ),
        (data(0, Flags::NONE, b"x"), "frame-on-wrong-stream"),
        (data(1, Flags::NONE, &vec![0; 16_385]), "frame-too-large"),
        (
            frame(Frame::WindowUpdate(0), 0, Flags::NONE),
            "window-update-of-zero",
        ),
        (
            b"\0\0\x02\0\x08\0\0\0\x01\x05x".to_vec(),
            "too-much-padding",
        ),
        (
            b"\0\0\x01\x01\x05\0\0\0\x02\x82".to_vec(),
            "bad-stream-number",
        ),
    ];
    for (bytes, rule) in cases {
        let mut pair = Pair::new(Limits::default());
        assert_eq!(pair.error(ToServer, &bytes).rule, rule);
        assert_eq!(pair.error(ToServer, b"x").rule, "after-error");
    }
    let mut fresh = Pair::after(Connection::new(Limits::default()));
    assert_eq!(fresh.error(ToServer, b"PRI * HTTP/2.1").rule, "no-preface");
    assert_eq!(
        fresh.error(ToClient, &data(1, Flags::NONE, b"")).rule,
        "settings-not-first"
    );
}

#[test]
fn what_ends_a_stream_is_told_and_passed() {
    let mut pair = Pair::new(Limits::default());
    let zero = frame(Frame::WindowUpdate(0), 1, Flags::NONE);
    let told = pair.events(ToServer, &zero);
    assert_eq!(told, ["WindowUpdate window-update-of-zero"]);
    let told = pair.events(ToServer, b"\0\0\x04\x02\0\0\0\0\x01abcd");
    assert_eq!(told, ["Priority frame-of-wrong-size"]);
    let unknown = Frame::Unknown {
        kind: 0x10,
        payload: b"priority",
    };
    assert_eq!(
        pair.events(ToServer, &frame(unknown, 0, Flags::NONE)),
        ["Unknown(16)"]
    );
}

#[test]
fn floods_meet_a_limit() {
    let limits = Limits {
        continuations: 3,
        unacknowledged_settings: 2,
        streams: 2,
        ..Limits::default()
    };
    let mut pair = Pair::new(limits);
    for stream in [1, 3, 5, 7] {
        pair.tell_headers(ToServer, stream, Flags::NONE, GET);
    }
    assert_eq!(pair.connection.open_streams(), 2);
    assert_eq!(pair.connection.evicted_streams(), 2);
    let settings = frame(Frame::Settings(Settings::new(&[])), 0, Flags::NONE);
    assert_eq!(
        pair.error(ToClient, &settings.repeat(3)).rule,
        "too-many-settings"
    );
    let block = Frame::Headers {
        priority: None,
        fragment: &[0x82],
        padding: None,
    };
    let mut flood = frame(block, 9, Flags::NONE);
    flood.extend(frame(Frame::Continuation { fragment: b"" }, 9, Flags::NONE).repeat(4));
    assert_eq!(pair.error(ToServer, &flood).rule, "header-block-too-long");
}

#[test]
fn a_middle_is_known_by_its_frames_only() {
    let mut pair = Pair::new(Limits::default());
    let request = pair.headers(ToServer, 1, Flags::END_STREAM, GET);
    let body = data(1, Flags::NONE, &[b'x'; 50]);
    let limits = Limits::default();
    let detect = |bytes: &[u8]| detect_mid_stream(ToServer, bytes, &limits);
    assert_eq!(detect(&request), Some(Protocol::Http2));
    assert_eq!(detect(&request[..12]), None);
    assert_eq!(detect(&body.repeat(4)), Some(Protocol::Http2));
    assert_eq!(detect(b"GET / HTTP/1.1\r\n"), Some(Protocol::Http1));
    assert_eq!(detect(b"\x17\x03\x03\x01\x00"), Some(Protocol::Tls));
    assert_eq!(detect(PREFACE), Some(Protocol::Http2));
    for noise in [
        &vec![0_u8; 70_000][..],
        &[0, 0, 0, 4].repeat(20_000),
        &vec![b'a'; 70_000],
    ] {
        assert_eq!(detect(noise), Some(Protocol::Unknown), "{:x?}", &noise[..4]);
    }
}

#[test]
fn the_end_of_a_text_does_not_hide_the_frames_behind_it() {
    let settings = [0, 3, 0, 0, 0, 100, 0xfe, 3, 0, 0, 0, 1];
    let settings = frame(Frame::Settings(Settings::new(&settings)), 0, Flags::NONE);
    let mut pair = Pair::after(Connection::mid_stream(Limits::default()));
    let answer = pair.headers(ToClient, 1, Flags::END_STREAM, &[(":status", "200")]);
    let text = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n";
    let bytes = [&text[..], &settings, &answer].concat();
    let told = pair.events(ToClient, &bytes);
    assert_eq!(told, ["lost", "settings 2", "response 1 200 last"]);
    let request = pair.headers(ToServer, 3, Flags::END_STREAM, GET);
    let text = b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n";
    let bytes = [&text[..], PREFACE, &settings, &request].concat();
    let told = pair.events(ToServer, &bytes);
    assert_eq!(
        told,
        ["lost", "preface", "settings 2", "request 3 GET pod /a last"]
    );
    assert!(pair.connection.is_whole(ToServer));
}

#[test]
fn a_connection_costs_little_memory() {
    assert!(
        size_of::<Connection>() <= 1024,
        "{}",
        size_of::<Connection>()
    );
    assert!(size_of::<Event<'_>>() <= 256, "{}", size_of::<Event<'_>>());
}

#[test]
fn a_boundary_is_where_another_frame_may_stand() {
    let mut connection = Connection::new(Limits::default());
    let way = ToClient;
    let mut bytes = Vec::new();
    Frame::Settings(Settings::new(&[])).write(0, Flags::NONE, &mut bytes);
    let settings = bytes.len();
    let block = [0x88];
    let head = Frame::Headers {
        priority: None,
        fragment: &block,
        padding: None,
    };
    head.write(1, Flags::NONE, &mut bytes);
    Frame::Continuation { fragment: &[] }.write(1, Flags::END_HEADERS, &mut bytes);
    let heads = bytes.len();
    let data = Frame::Data {
        data: b"0123456789",
        padding: None,
    };
    data.write(1, Flags::END_STREAM, &mut bytes);
    let mut boundaries = Vec::new();
    let mut at = 0;
    // All but the last byte: the DATA frame has no end yet.
    while let Step::Event { consumed, .. } = connection
        .step(way, bytes.get(at..bytes.len() - 1).unwrap())
        .unwrap()
    {
        at += consumed;
        if connection.bytes_since_boundary(way) == 0 {
            boundaries.push(at);
        }
    }
    assert_eq!(boundaries, [settings, heads]);
    let since = u64::try_from(bytes.len() - 1 - heads).unwrap();
    assert_eq!(connection.bytes_since_boundary(way), since);
    connection.step(way, bytes.get(at..).unwrap()).unwrap();
    assert_eq!(connection.bytes_since_boundary(way), 0);
}
