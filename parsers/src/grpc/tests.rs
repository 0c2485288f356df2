use super::*;

#[test]
fn tells_content_types_apart() {
    for (content_type, expected) in [
        ("application/grpc", Some(Kind::Grpc)),
        ("application/grpc+proto", Some(Kind::Grpc)),
        ("application/GRPC; charset=x", Some(Kind::Grpc)),
        ("application/grpc-web+json", Some(Kind::Web)),
        ("application/grpc-web-text+proto", Some(Kind::WebText)),
        ("application/grpcx", None),
        ("application/json", None),
        ("", None),
    ] {
        assert_eq!(kind(content_type.as_bytes()), expected, "{content_type}");
    }
}

#[test]
fn splits_a_path_into_service_and_method() {
    let check = method(b"/grpc.health.v1.Health/Check").expect("a method");
    assert_eq!(check.service, b"grpc.health.v1.Health");
    assert_eq!(check.name, b"Check");
    for path in [
        &b"/"[..],
        b"/Service",
        b"//Method",
        b"/Service/",
        b"a/b",
        b"",
    ] {
        assert_eq!(method(path), None, "{path:?}");
    }
}

#[test]
fn decodes_the_text_of_a_status() {
    let status = Status::new(b"5", Some(b"not%20found %E2%98%BA %zz %")).expect("a status");
    assert_eq!(status.name(), Some("NOT_FOUND"));
    assert_eq!(&*status.message, "not found \u{263a} %zz %".as_bytes());
    assert_eq!(Status::new(b"", None), None);
    assert_eq!(Status::new(b"-1", None), None);
}

/// Lengths of messages, and trailers, with the payload cut at every `run` bytes.
fn read(payload: &[u8], run: usize) -> Result<Vec<String>, Error> {
    read_as(Kind::Web, payload, run)
}

fn read_as(kind: Kind, payload: &[u8], run: usize) -> Result<Vec<String>, Error> {
    let mut messages = Messages::new(kind, &Limits::default());
    let mut seen = Vec::new();
    for mut piece in payload.chunks(run) {
        while let Some(event) = messages.step(&mut piece)? {
            seen.push(match event {
                Event::Message {
                    length,
                    is_compressed,
                } => format!("{length} {is_compressed}"),
                Event::Trailers(block) => format!("{:?}", Status::of_web_trailers(block)),
            });
        }
    }
    assert!(messages.is_between_messages());
    Ok(seen)
}

#[test]
fn finds_messages_and_web_trailers_however_they_are_cut() {
    let trailers = b"grpc-status: 7\r\ngrpc-message:no\r\n";
    let mut payload = b"\0\0\0\0\x03abc\0\0\0\0\0\x01\0\0\0\x01z\x80\0\0\0".to_vec();
    payload.push(u8::try_from(trailers.len()).expect("short"));
    payload.extend_from_slice(trailers);
    let whole = read(&payload, payload.len()).expect("messages");
    assert_eq!(whole.len(), 4);
    assert_eq!(whole[..3], ["3 false", "0 false", "1 true"]);
    assert!(whole[3].contains("code: 7"), "{whole:?}");
    for run in 1..payload.len() {
        assert_eq!(read(&payload, run).as_ref(), Ok(&whole), "cut every {run}");
    }
}

#[test]
fn refuses_unknown_flags_and_long_trailers() {
    let error = read(b"\x02\0\0\0\0", 5).expect_err("flag 2");
    assert_eq!(error.rule, "bad-message-flags");
    let error = read(b"\x80\x7f\0\0\0", 1).expect_err("2 GiB of trailers");
    assert_eq!(error.rule, "trailers-too-long");
}

#[test]
fn a_gap_inside_a_message_leaves_the_next_readable() {
    let mut messages = Messages::new(Kind::Grpc, &Limits::default());
    let mut payload = &b"\0\0\0\0\x0aab"[..];
    assert_eq!(messages.step(&mut payload), Ok(None));
    assert!(messages.handle_gap(7));
    let mut payload = &b"z\0\0\0\0\0"[..];
    assert!(matches!(
        messages.step(&mut payload),
        Ok(Some(Event::Message { length: 10, .. }))
    ));
    assert!(!messages.handle_gap(1), "the prefix of the next is hidden");
}

#[test]
fn finds_the_same_in_text_however_it_is_padded_and_cut() {
    // A message of three bytes and a status, encoded in one piece and in two.
    let whole = b"AAAAAANhYmOAAAAAD2dycGMtc3RhdHVzOjUNCg==";
    let pieces = b"AAAAAANhYg==Y4AAAAAPZ3JwYy1zdGF0dXM6NQ0K";
    for text in [&whole[..], pieces] {
        for run in 1..=text.len() {
            let seen = read_as(Kind::WebText, text, run).expect("messages");
            assert_eq!(seen.len(), 2, "{seen:?}");
            assert_eq!(seen[0], "3 false");
            assert!(seen[1].contains("code: 5"), "{seen:?}");
        }
    }
}

#[test]
fn text_that_is_no_base64_is_refused() {
    for text in ["AA*A", "A===", "====", "AA=A", "AAA-"] {
        let error = read_as(Kind::WebText, text.as_bytes(), 1).expect_err(text);
        assert_eq!(error.rule, "bad-base64");
    }
    let mut messages = Messages::new(Kind::WebText, &Limits::default());
    assert_eq!(messages.step(&mut &b"AAAAAAphYmNk"[..]), Ok(None));
    assert!(
        !messages.handle_gap(1),
        "groups cannot be told apart any more"
    );
}
