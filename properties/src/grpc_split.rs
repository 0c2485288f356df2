//! gRPC: any split of a payload gives the same messages; trailers and methods are read whatever they
//! hold.

use parsers::Limits;
use parsers::grpc::{Event, Kind, Messages, Status, kind, method};

use crate::cuts;

const TRAILER_BYTES: usize = 256;

fn read(as_kind: Kind, data: &[u8], cuts: &[usize]) -> (Vec<String>, Option<&'static str>, bool) {
    let limits = Limits {
        trailer_bytes: TRAILER_BYTES,
        ..Limits::default()
    };
    let mut messages = Messages::new(as_kind, &limits);
    let mut told = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([data.len()]) {
        let mut run = data.get(start..end).unwrap_or_default();
        start = end;
        loop {
            let before = run.len();
            match messages.step(&mut run) {
                Ok(Some(event)) => {
                    if let Event::Trailers(block) = event {
                        assert!(block.len() <= TRAILER_BYTES, "trailers beyond their bound");
                        told.push(format!("{:?}", Status::of_web_trailers(block)));
                    }
                    told.push(format!("{event:?}"));
                    assert!(run.len() < before || before == 0, "a message of no bytes");
                }
                Ok(None) => break,
                Err(error) => return (told, Some(error.rule), false),
            }
        }
        assert!(run.is_empty(), "bytes are left");
    }
    let is_between = messages.is_between_messages();
    (told, None, is_between)
}

pub(crate) fn holds(data: &[u8]) {
    let whole = read(Kind::Web, data, &[]);
    for way in cuts::ways(data) {
        assert_eq!(whole, read(Kind::Web, data, &way));
        // The same in text, each run encoded alone.
        let text = encode(data, &way);
        for way in cuts::ways(&text).into_iter().chain([Vec::new()]) {
            assert_eq!(whole, read(Kind::WebText, &text, &way));
        }
    }
    let noise = read(Kind::WebText, data, &[]);
    for way in cuts::ways(data) {
        assert_eq!(noise, read(Kind::WebText, data, &way));
    }
    let _ = kind(data);
    if let Some(method) = method(data) {
        let joined = [b"/", method.service, b"/", method.name].concat();
        assert_eq!(joined, data, "a method's name is its path");
    }
    if let Some(status) = Status::new(
        data.split(|byte| *byte == 0).next().unwrap_or_default(),
        Some(data),
    ) {
        assert!(
            status.message.len() <= data.len(),
            "decoding makes nothing longer"
        );
    }
}

/// Base64 of each run between cuts.
fn encode(data: &[u8], cuts: &[usize]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([data.len()]) {
        for group in data.get(start..end).unwrap_or_default().chunks(3) {
            let byte = |at| group.get(at).copied().map_or(0, u32::from);
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for place in 0..4 {
                let value = bits >> (18 - 6 * place) & 0x3f;
                let letter = ALPHABET.get(value as usize).copied();
                let is_padding = place > group.len();
                text.push(letter.filter(|_| !is_padding).unwrap_or(b'='));
            }
        }
        start = end;
    }
    text
}
