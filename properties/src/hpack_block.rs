//! HPACK: lists and tables keep their bounds, and what was decoded is the same after encoding and
//! decoding it again.

use parsers::Limits;
use parsers::hpack::{DEFAULT_TABLE_BYTES, Decoder, Encoder, Field, HeaderList};

/// What RFC 7541 §4.1 adds to each field.
const FIELD_BYTES: usize = 32;

fn limits() -> Limits {
    Limits {
        header_list_bytes: 2048,
        hpack_table_bytes: DEFAULT_TABLE_BYTES as usize,
        ..Limits::default()
    }
}

fn owned(list: &HeaderList<'_>) -> Vec<(Vec<u8>, Vec<u8>, bool)> {
    list.iter()
        .map(|field| {
            let (name, value) = (field.name.to_vec(), field.value.to_vec());
            (name, value, field.is_never_indexed)
        })
        .collect()
}

fn assert_bounds(decoder: &Decoder) {
    assert!(decoder.table_bytes() <= DEFAULT_TABLE_BYTES as usize);
    let told: usize = decoder
        .list()
        .iter()
        .map(|field| field.name.len() + field.value.len())
        .sum();
    let limit = limits().header_list_bytes;
    assert!(told + decoder.list().len() * FIELD_BYTES <= limit || decoder.list().is_empty());
    assert_eq!(
        decoder.list().is_truncated(),
        decoder.list().bytes() > limit
    );
}

/// Several blocks over the same tables; a block ends at each 0xff 0x00, as few do by themselves.
fn blocks(data: &[u8]) -> Vec<&[u8]> {
    let mut rest = data;
    let mut blocks = Vec::new();
    while let Some(end) = rest.windows(2).position(|pair| pair == [0xff, 0x00]) {
        let (block, after) = rest.split_at(end);
        blocks.push(block);
        rest = after.get(2..).unwrap_or_default();
    }
    blocks.push(rest);
    blocks
}

pub(crate) fn holds(data: &[u8]) {
    let limits = limits();
    let (mut decoder, mut again) = (Decoder::new(&limits), Decoder::new(&limits));
    let mut encoder = Encoder::new(DEFAULT_TABLE_BYTES);
    let mut from_middle = Decoder::mid_stream(&limits);
    for block in blocks(data) {
        // Of a sender in the middle, only that nothing is unbounded.
        if from_middle.decode(block).is_ok() {
            assert!(from_middle.table_bytes() <= limits.hpack_table_bytes);
        }
        if decoder.decode(block).is_err() {
            return;
        }
        assert_bounds(&decoder);
        let fields = owned(&decoder.list());
        assert!(decoder.list().iter().all(|field| !field.is_unknown));
        let mut written = Vec::new();
        let to_send = fields.iter().map(|(name, value, is_secret)| Field {
            is_never_indexed: *is_secret,
            ..Field::new(name, value)
        });
        encoder.encode(to_send, &mut written);
        assert_eq!(again.decode(&written), Ok(()), "what was written is read");
        assert_eq!(owned(&again.list()), fields);
    }
}
