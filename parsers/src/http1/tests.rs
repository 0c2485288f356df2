use super::*;

fn connection(reading: Reading) -> Connection {
    Connection::new(Limits::default(), reading)
}

fn step<'b>(c: &mut Connection, d: Direction, bytes: &'b [u8]) -> (usize, Event<'b>) {
    match c.step(d, bytes) {
        Ok(Step::Event { consumed, event }) => (consumed, event),
        other => panic!("{other:?}"),
    }
}

#[test]
fn pairs_a_response_with_its_request() {
    let mut c = connection(Reading::Strict);
    let (_, event) = step(
        &mut c,
        Direction::ToServer,
        b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    let Event::Request(head) = event else {
        panic!()
    };
    assert_eq!(
        (head.method(), head.path(), head.authority()),
        (&b"HEAD"[..], &b"/a"[..], Some(&b"x"[..]))
    );
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    let (_, event) = step(&mut c, Direction::ToClient, response);
    let Event::Response(head) = event else {
        panic!()
    };
    assert_eq!(
        head.body(),
        BodyKind::None,
        "a response to HEAD has no body"
    );
    assert_eq!(c.awaiting_response(), 0);
}

#[test]
fn an_interim_response_leaves_the_request_waiting() {
    let mut c = connection(Reading::Strict);
    step(
        &mut c,
        Direction::ToServer,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    step(
        &mut c,
        Direction::ToClient,
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
    );
    assert_eq!(c.awaiting_response(), 1);
    step(
        &mut c,
        Direction::ToClient,
        b"HTTP/1.1 204 No Content\r\n\r\n",
    );
    assert_eq!(c.awaiting_response(), 0);
}

#[test]
fn an_upgrade_is_opaque_from_then_on() {
    let mut c = connection(Reading::Strict);
    let request =
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    step(&mut c, Direction::ToServer, request);
    step(
        &mut c,
        Direction::ToClient,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    );
    assert!(c.is_opaque());
    assert!(matches!(
        step(&mut c, Direction::ToServer, b"\x81\x00"),
        (2, Event::Opaque)
    ));
}

#[test]
fn connect_is_a_tunnel_after_success_only() {
    let mut c = connection(Reading::Strict);
    step(
        &mut c,
        Direction::ToServer,
        b"CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n",
    );
    step(
        &mut c,
        Direction::ToClient,
        b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(!c.is_opaque());
    step(
        &mut c,
        Direction::ToServer,
        b"CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n",
    );
    step(
        &mut c,
        Direction::ToClient,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    );
    assert!(c.is_opaque());
}

#[test]
fn a_body_without_length_ends_with_the_connection() {
    let mut c = connection(Reading::Lenient);
    step(&mut c, Direction::ToServer, b"GET / HTTP/1.0\r\n\r\n");
    step(&mut c, Direction::ToClient, b"HTTP/1.0 200 OK\r\n\r\n");
    step(&mut c, Direction::ToClient, b"bytes");
    assert_eq!(c.handle_close(Direction::ToClient), Close::EndsBody);
    assert_eq!(c.handle_close(Direction::ToServer), Close::Clean);
}

#[test]
fn the_head_limit_is_exact() {
    let head = |length: usize| {
        let mut head = b"GET / HTTP/1.1\r\nHost: x\r\nX: ".to_vec();
        head.resize(length - 4, b'a');
        head.extend(b"\r\n\r\n");
        head
    };
    let limits = Limits {
        head_bytes: 100,
        ..Limits::default()
    };
    let mut fits = Connection::new(limits, Reading::Strict);
    assert!(matches!(
        fits.step(Direction::ToServer, &head(100)),
        Ok(Step::Event { consumed: 100, .. })
    ));
    let mut over = Connection::new(limits, Reading::Strict);
    let error = over
        .step(Direction::ToServer, &head(101))
        .expect_err("too long");
    assert_eq!((error.status(), error.rule), (431, "head-too-long"));
}

#[test]
fn the_header_limit_is_exact() {
    let head = |count: usize| {
        let fields = "X: v\r\n".repeat(count - 1);
        format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n").into_bytes()
    };
    let limits = Limits {
        headers: 10,
        ..Limits::default()
    };
    let mut fits = Connection::new(limits, Reading::Strict);
    assert!(matches!(
        fits.step(Direction::ToServer, &head(10)),
        Ok(Step::Event { .. })
    ));
    let mut over = Connection::new(limits, Reading::Strict);
    let error = over
        .step(Direction::ToServer, &head(11))
        .expect_err("too many");
    assert_eq!(error.rule, "too-many-headers");
}

#[test]
fn absolute_targets_give_authority_and_path() {
    let mut c = connection(Reading::Lenient);
    let request = b"GET http://shop.example/a?b=c HTTP/1.1\r\nHost: other\r\n\r\n";
    let Event::Request(head) = step(&mut c, Direction::ToServer, request).1 else {
        panic!()
    };
    assert_eq!(head.authority(), Some(&b"shop.example"[..]));
    assert_eq!(head.path(), b"/a?b=c");
}

#[test]
fn a_connection_costs_little_memory() {
    assert!(
        size_of::<Connection>() <= 256,
        "{}",
        size_of::<Connection>()
    );
}

fn rule(result: Result<Step<'_>, Error>) -> &'static str {
    match result {
        Err(error) => error.rule,
        Ok(step) => panic!("{step:?}"),
    }
}

#[test]
fn requests_without_answers_are_bounded() {
    let limits = Limits {
        pipelined: 2,
        ..Limits::default()
    };
    let mut c = Connection::new(limits, Reading::Lenient);
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    step(&mut c, Direction::ToServer, request);
    step(&mut c, Direction::ToServer, request);
    let third = c.step(Direction::ToServer, request);
    assert_eq!(rule(third), "too-many-pipelined");
}

#[test]
fn a_chunk_line_is_bounded() {
    let mut c = connection(Reading::Strict);
    let head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    step(&mut c, Direction::ToServer, head);
    let line = [b"1;".as_slice(), &vec![b'x'; 5000]].concat();
    assert_eq!(
        rule(c.step(Direction::ToServer, &line)),
        "chunk-line-too-long"
    );
}

#[test]
fn nothing_is_read_after_an_error() {
    let mut c = connection(Reading::Strict);
    assert_eq!(
        rule(c.step(Direction::ToServer, b"GET / HTTP/1.1\r\n\r\n")),
        "no-host"
    );
    let good = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(rule(c.step(Direction::ToServer, good)), "after-error");
}

#[test]
fn a_gap_inside_a_body_of_known_length_loses_nothing_else() {
    let mut c = connection(Reading::Lenient);
    let head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n";
    step(&mut c, Direction::ToServer, head);
    step(&mut c, Direction::ToServer, b"abc");
    assert!(!c.handle_gap(Direction::ToServer, 5));
    let (consumed, event) = step(&mut c, Direction::ToServer, b"ijGET / HTTP/1.1\r\n\r\n");
    assert_eq!(consumed, 2);
    assert!(matches!(event, Event::Body { is_last: true, .. }));
}

#[test]
fn after_a_gap_the_next_message_is_looked_for() {
    let mut c = connection(Reading::Lenient);
    let head = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
    step(&mut c, Direction::ToServer, head);
    step(&mut c, Direction::ToServer, head);
    assert!(c.handle_gap(Direction::ToClient, 300));
    let (consumed, event) = step(
        &mut c,
        Direction::ToClient,
        b"rest of a body\nHTTP/1.1 204 No\r\n\r\n",
    );
    assert_eq!(consumed, 15);
    assert!(matches!(event, Event::Lost));
    let bytes = b"HTTP/1.1 204 No\r\n\r\n";
    let (consumed, event) = step(&mut c, Direction::ToClient, bytes);
    assert_eq!(consumed, 0);
    assert!(matches!(event, Event::Lost));
    let (_, event) = step(&mut c, Direction::ToClient, bytes);
    assert!(matches!(event, Event::Response(head) if head.code() == 204));
    assert_eq!(c.awaiting_response(), 0);
}

#[test]
fn a_broken_field_of_a_response_is_put_up_with_for_looking_only() {
    let response = b"HTTP/1.1 200 OK\r\nbad\x01name: x\r\nContent-Length: 0\r\n\r\n";
    let read = |reading| {
        let mut connection = Connection::new(Limits::default(), reading);
        connection
            .step(Direction::ToClient, response)
            .map(|_| ())
            .map_err(|error| error.rule)
    };
    assert_eq!(read(Reading::Lenient), Ok(()));
    assert_eq!(read(Reading::Strict), Err("bad-header-name"));
}
