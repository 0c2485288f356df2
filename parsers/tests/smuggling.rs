//! One line per trick: what a strict reader says. `lenient` tells whether a lenient one goes on.

use parsers::http1::{Connection, Reading, Step};
use parsers::{Direction, Limits};

struct Trick {
    bytes: &'static str,
    strict: &'static str,
    lenient: bool,
}

const fn trick(bytes: &'static str, strict: &'static str, lenient: bool) -> Trick {
    Trick {
        bytes,
        strict,
        lenient,
    }
}

const TRICKS: &[Trick] = &[
    trick(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "content-length-with-transfer-encoding",
        true,
    ),
    trick(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "several-content-lengths",
        true,
    ),
    trick(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "several-content-lengths",
        true,
    ),
    trick(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\n",
        "bad-content-length",
        true,
    ),
    trick(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n",
        "bad-content-length",
        true,
    ),
    trick(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "bad-content-length",
        true,
    ),
    trick(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\n",
        "bad-content-length",
        true,
    ),
    trick(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "bad-content-length",
        true,
    ),
    trick(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n",
        "bad-content-length",
        true,
    ),
    trick(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "chunked-is-not-last",
        true,
    ),
    trick(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        "chunked-is-not-last",
        true,
    ),
    trick(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "transfer-coding-list",
        true,
    ),
    trick(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        "several-transfer-encodings",
        true,
    ),
    trick(
        "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        "transfer-encoding-in-http-1.0",
        true,
    ),
    trick("GET / HTTP/1.1\nHost: x\n\n", "bare-lf", true),
    trick("GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", "bare-lf", true),
    trick(
        "GET / HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
        "bad-header-value",
        true,
    ),
    trick(
        "GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
        "bad-header-name",
        true,
    ),
    trick(
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        "bad-header-name",
        true,
    ),
    trick(
        "GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        "bad-header-value",
        true,
    ),
    trick(
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "several-hosts",
        true,
    ),
    trick("GET / HTTP/1.1\r\n\r\n", "no-host", true),
    trick("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "bad-host", true),
    trick("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "bad-host", true),
    trick(
        "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
        "host-differs-from-target",
        true,
    ),
    trick(
        "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        "bad-target-character",
        true,
    ),
    trick("GET a HTTP/1.1\r\nHost: a\r\n\r\n", "bad-target-form", true),
    trick("GET * HTTP/1.1\r\nHost: a\r\n\r\n", "bad-target-form", true),
    trick(
        "CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n",
        "bad-target-form",
        true,
    ),
    trick(
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nContent-Length: 5\r\n\r\n",
        "connect-with-body",
        true,
    ),
    trick(
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nTransfer-Encoding: chunked\r\n\r\n",
        "connect-with-body",
        true,
    ),
    trick("GET / HTTP/2.0\r\nHost: a\r\n\r\n", "bad-version", false),
    trick("GET / http/1.1\r\nHost: a\r\n\r\n", "bad-version", false),
];

fn read(bytes: &str, reading: Reading) -> Result<(), &'static str> {
    let mut connection = Connection::new(Limits::default(), reading);
    match connection.step(Direction::ToServer, bytes.as_bytes()) {
        Ok(Step::Event { .. }) => Ok(()),
        Ok(Step::NeedMore) => Err("needs more"),
        Err(error) => Err(error.rule),
    }
}

#[test]
fn every_trick_is_refused_by_name() {
    for trick in TRICKS {
        assert_eq!(
            read(trick.bytes, Reading::Strict),
            Err(trick.strict),
            "{}",
            trick.bytes
        );
        assert_eq!(
            read(trick.bytes, Reading::Lenient).is_ok(),
            trick.lenient,
            "{}",
            trick.bytes
        );
    }
}

#[test]
fn what_real_clients_send_is_accepted() {
    for request in [
        "GET /get?x=1&y=%20 HTTP/1.1\r\nHost: user-service\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a:8080/x HTTP/1.1\r\nHost: a:8080\r\n\r\n",
        "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n",
        "CONNECT a:443 HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(read(request, Reading::Strict), Ok(()), "{request}");
    }
}
