#![expect(clippy::arithmetic_side_effects, reason = "test data is small")]

use super::*;
use Direction::{ToClient, ToServer};
use proptest::prelude::*;

/// What is told of a handshake, both sides cut at every so many bytes, and what is left of them.
fn read(client: &[u8], server: &[u8], run: usize) -> (Vec<String>, [usize; 2]) {
    read_cut(client, server, [run, run])
}

fn read_cut(client: &[u8], server: &[u8], runs: [usize; 2]) -> (Vec<String>, [usize; 2]) {
    let mut handshake = Handshake::default();
    let mut told = Vec::new();
    let sides = [(ToServer, client), (ToClient, server)];
    let (mut starts, mut ends) = ([0, 0], [0, 0]);
    loop {
        let mut is_news = false;
        for (side, (way, bytes)) in sides.iter().enumerate() {
            if ends[side] < bytes.len() {
                ends[side] = bytes.len().min(ends[side] + runs[side]);
                is_news = true;
            }
            match handshake.step(*way, &bytes[starts[side]..ends[side]]) {
                Ok(Step::NeedMore) => {}
                Ok(Step::Event { consumed, event }) => {
                    starts[side] += consumed;
                    is_news = true;
                    told.push(match event {
                        Event::Request(command, target) => format!("{command:?} {target}"),
                        other => format!("{other:?}"),
                    });
                }
                Err(error) => {
                    told.push(error.rule.to_owned());
                    return (told, [0, 0]);
                }
            }
        }
        if !is_news {
            let left = [client.len() - starts[0], server.len() - starts[1]];
            return (told, left);
        }
    }
}

fn assert_told(client: &[u8], server: &[u8], expected: &[&str], left: [usize; 2]) {
    for run in 1..=client.len().max(server.len()) {
        let told = read(client, server, run);
        assert_eq!(told.0, expected, "cut every {run} bytes");
        assert_eq!(told.1, left, "cut every {run} bytes");
    }
}

const WEB: &[u8] = b"\x05\x01\0\x03\x07web.svc\0P";
const GRANTED: &[u8] = b"\x05\0\0\x01\x0a\0\0\x01\x9c\x40";

#[test]
fn a_name_is_asked_for_and_granted() {
    let client = [b"\x05\x02\0\x02", WEB, b"GET /"].concat();
    let server = [b"\x05\0", GRANTED, b"HTTP/1.1"].concat();
    assert_told(
        &client,
        &server,
        &[
            "Negotiated",
            "Negotiated",
            "Connect web.svc:80",
            "Granted(Connect)",
        ],
        [5, 8],
    );
}

#[test]
fn credentials_are_passed_over() {
    let client = [b"\x05\x01\x02\x01\x03ann\x06secret", WEB].concat();
    let server = [b"\x05\x02\x01\0", GRANTED].concat();
    let told = read(&client, &server, 1).0;
    assert_eq!(told.len(), 6);
    assert!(!told.concat().contains("secret"));
    assert_eq!(told[4..], ["Connect web.svc:80", "Granted(Connect)"]);
    let server = b"\x05\x02\x01\x01";
    assert_eq!(read(&client, server, 3).0[3..], ["Refused(1)"]);
}

#[test]
fn addresses_of_every_kind_are_read() {
    let greet = b"\x05\x01\0";
    let v6 = [&greet[..], b"\x05\x01\0\x04\xfd", &[0; 14], b"\x07\x01\xbb"].concat();
    let reply = [b"\x05\0\x05\x05\0\x04", &[0; 18][..]].concat();
    assert_told(
        &v6,
        &reply,
        &[
            "Negotiated",
            "Negotiated",
            "Connect [fd00::7]:443",
            "Refused(5)",
        ],
        [0, 0],
    );
    let odd = [&greet[..], b"\x05\x01\0\x02"].concat();
    assert_eq!(read(&odd, b"\x05\0", 9).0[2..], ["bad-socks-address"]);
}

#[test]
fn version_4_asks_at_once() {
    let granted = b"\0\x5a\0\0\0\0\0\0";
    assert_told(
        b"\x04\x01\0P\x0a\0\0\x02ann\0GET",
        granted,
        &["Connect 10.0.0.2:80", "Granted(Connect)"],
        [3, 0],
    );
    assert_told(
        b"\x04\x01\x01\xbb\0\0\0\x01\0web.svc\0",
        b"\0\x5b\0\0\0\0\0\0",
        &["Connect web.svc:443", "Refused(91)"],
        [0, 0],
    );
    let endless = [&b"\x04\x01\0P\x0a\0\0\x02"[..], &[b'a'; 300]].concat();
    assert_eq!(read(&endless, b"", 7).0, ["socks-text-too-long"]);
}

#[test]
fn a_waiting_proxy_replies_twice() {
    let client = b"\x05\x01\0\x05\x02\0\x01\x0a\0\0\x02\0\x15";
    let server = [b"\x05\0", GRANTED, GRANTED].concat();
    assert_told(
        client,
        &server,
        &[
            "Negotiated",
            "Negotiated",
            "Bind 10.0.0.2:21",
            "Listening",
            "Granted(Bind)",
        ],
        [0, 0],
    );
    assert!(!Command::UdpAssociate.is_tunnel());
}

#[test]
fn what_cannot_be_followed_is_named() {
    let cases: [(&[u8], &[u8], &str); 4] = [
        (b"\x06\x01\0", b"", "bad-socks-version"),
        (b"\x05\x01\x01", b"\x05\x01", "socks-method-not-read"),
        (b"\x05\x01\0", b"HT", "bad-socks-version"),
        (b"\x05\x01\0", b"\x05\xff", "Refused(255)"),
    ];
    for (client, server, expected) in cases {
        let told = read(client, server, 1).0;
        assert_eq!(told.last().map(String::as_str), Some(expected));
    }
}

#[test]
fn socks_is_told_by_both_sides() {
    let four = b"\x04\x01\0P\x0a\0\0\x02\0";
    let cases: [(&[u8], &[u8], Option<bool>); 17] = [
        (b"\x05", b"", None),
        (b"\x05\x02\0", b"", None),
        (b"\x05\x02\0\x02", b"", None),
        (b"\x05\x02\0\x02", b"\x05", None),
        (b"\x05\x02\0\x02", b"\x05\x02", Some(true)),
        (b"\x05\x02\0\x02", b"\x05\xff", Some(true)),
        (b"\x05\x02\0\x02", b"\x05\x01", Some(false)),
        (b"\x05\x02\0\x02", b"\x05\x01x", Some(false)),
        (b"\x05\x01\0\x05\x01\0\x03", b"", None),
        (b"\x05\x01\0\x77", b"", Some(false)),
        (b"\x05\0", b"", Some(false)),
        (b"\x05\x01\x20", b"", Some(false)),
        (b"GET", b"", Some(false)),
        (b"", b"220 ", Some(false)),
        (four, b"\0\x5a", Some(true)),
        (four, b"\x04", Some(false)),
        (b"\x04\0\0\x01\x0a\0\0\x02\0", b"", Some(false)),
    ];
    for (client, server, expected) in cases {
        assert_eq!(
            looks_like(client, server),
            expected,
            "{client:?} {server:?}"
        );
    }
    let endless = [&b"\x05\x01\0\x05"[..], &[0; 2048]].concat();
    assert_eq!(looks_like(&endless, b""), Some(false));
    assert!(is_greeting(b"\x05\x01\0"));
    assert!(!is_greeting(b"\x05\x01") && !is_greeting(b"\x05\x01\0\x05"));
}

proptest! {
    #[test]
    fn any_bytes_tell_the_same_however_they_are_cut(
        version in prop::sample::select(vec![4_u8, 5]),
        runs: [u8; 2],
        places: [prop::sample::Index; 2],
        values: [u8; 2],
    ) {
        let (mut client, mut server) = if version == 5 {
            let client = [b"\x05\x01\x02\x01\x03ann\x03pwd", WEB, b"rest"].concat();
            (client, [b"\x05\x02\x01\0", GRANTED, b"rest"].concat())
        } else {
            let client = b"\x04\x01\0P\0\0\0\x01ann\0web.svc\0rest".to_vec();
            (client, b"\0\x5a\0\0\0\0\0\0rest".to_vec())
        };
        for (side, (place, value)) in [&mut client, &mut server].into_iter().zip(places.iter().zip(values)) {
            let place = place.index(side.len());
            side[place] = value;
        }
        let whole = read(&client, &server, usize::MAX / 2);
        let runs = runs.map(|run| usize::from(run % 40) + 1);
        prop_assert_eq!(read_cut(&client, &server, runs), whole);
    }
}
