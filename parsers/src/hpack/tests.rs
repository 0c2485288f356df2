use proptest::prelude::*;

use super::*;
use crate::limits::Limits;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    let pairs = digits.chunks(2);
    pairs
        .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).expect("a byte"))
        .collect()
}

fn fields(decoder: &Decoder) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let list = decoder.list();
    list.iter()
        .map(|field| (text(field.name), text(field.value)))
        .collect()
}

type Pairs = [(&'static str, &'static str)];

/// Decodes block after block and compares fields and table size with what the RFC says.
fn check_blocks(decoder: &mut Decoder, blocks: &[(&str, &Pairs, usize)]) {
    for (block, expected, table_bytes) in blocks {
        decoder.decode(&hex(block)).expect(block);
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(fields(decoder), expected, "{block}");
        assert_eq!(decoder.table_bytes(), *table_bytes, "{block}");
    }
}

#[test]
fn reads_the_single_fields_of_appendix_c2() {
    let single: [(&str, &Pairs, usize); 4] = [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            &[("custom-key", "custom-header")],
            55,
        ),
        (
            "040c 2f73 616d 706c 652f 7061 7468",
            &[(":path", "/sample/path")],
            0,
        ),
        (
            "1008 7061 7373 776f 7264 0673 6563 7265 74",
            &[("password", "secret")],
            0,
        ),
        ("82", &[(":method", "GET")], 0),
    ];
    for (block, expected, table_bytes) in single {
        let mut decoder = Decoder::new(&Limits::default());
        check_blocks(&mut decoder, &[(block, expected, table_bytes)]);
        let is_secret = decoder.list().iter().any(|field| field.is_never_indexed);
        assert_eq!(is_secret, expected == [("password", "secret")]);
    }
}

const REQUESTS: [&Pairs; 3] = [
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
        ("cache-control", "no-cache"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ],
];

#[test]
fn reads_the_requests_of_appendix_c3_and_c4() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let huffman = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for [first, second, third] in [plain, huffman] {
        let mut decoder = Decoder::new(&Limits::default());
        check_blocks(
            &mut decoder,
            &[
                (first, REQUESTS[0], 57),
                (second, REQUESTS[1], 110),
                (third, REQUESTS[2], 164),
            ],
        );
    }
}

#[test]
fn reads_the_responses_of_appendix_c5_and_c6_with_eviction() {
    let date = "Mon, 21 Oct 2013 20:13:21 GMT";
    let location = "https://www.example.com";
    let cookie = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    let later = "Mon, 21 Oct 2013 20:13:22 GMT";
    let first: &Pairs = &[
        (":status", "302"),
        ("cache-control", "private"),
        ("date", date),
        ("location", location),
    ];
    let second: &Pairs = &[
        (":status", "307"),
        ("cache-control", "private"),
        ("date", date),
        ("location", location),
    ];
    let third: &Pairs = &[
        (":status", "200"),
        ("cache-control", "private"),
        ("date", later),
        ("location", location),
        ("content-encoding", "gzip"),
        ("set-cookie", cookie),
    ];
    let plain = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a \
         3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 \
         677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 \
         553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
    ];
    let huffman = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e \
         919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 \
         821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed \
         4ee5 b106 3d50 07",
    ];
    for blocks in [plain, huffman] {
        let mut decoder = Decoder::new(&Limits::default());
        decoder.set_limit(256);
        assert!(decoder.owes_size_update());
        let with_update = format!("3fe1 01 {}", blocks[0]);
        check_blocks(
            &mut decoder,
            &[
                (&with_update, first, 222),
                (blocks[1], second, 222),
                (blocks[2], third, 215),
            ],
        );
        assert!(!decoder.owes_size_update());
    }
}

#[test]
fn names_the_rule_that_a_block_breaks() {
    for (block, rule) in [
        ("80", "index-out-of-table"),
        ("be", "index-out-of-table"),
        ("7f 00 00", "index-out-of-table"),
        ("82 20", "late-size-update"),
        ("3f e2 1f", "size-update-too-large"),
        ("40", "truncated-header-block"),
        ("40 05 61", "truncated-header-block"),
        ("41", "truncated-header-block"),
        ("ff ff ff ff ff ff 00", "integer-too-large"),
        ("40 01 61 81 ff", "huffman-padding"),
    ] {
        let mut decoder = Decoder::new(&Limits::default());
        let error = decoder.decode(&hex(block)).expect_err(block);
        assert_eq!(error.rule, rule, "{block}");
    }
}

#[test]
fn a_list_beyond_the_limit_is_cut_and_the_table_stays_in_step() {
    let limits = Limits {
        header_list_bytes: 100,
        ..Limits::default()
    };
    let mut decoder = Decoder::new(&limits);
    let mut block = hex("82 40 01 61 7f 00");
    block.extend_from_slice(&[b'v'; 127]);
    block.extend_from_slice(&hex("40 01 62 01 77"));
    decoder.decode(&block).expect("hpack");
    assert!(decoder.list().is_truncated());
    assert_eq!(decoder.list().len(), 1);
    decoder.decode(&hex("be")).expect("the newest entry");
    assert_eq!(fields(&decoder), [("b".to_owned(), "w".to_owned())]);
    assert!(!decoder.list().is_truncated());
}

#[test]
fn entries_from_before_the_capture_are_unknown_and_never_guessed() {
    let mut decoder = Decoder::mid_stream(&Limits::default());
    // An unseen entry, a new one, the new one by index, the name of an unseen one.
    decoder
        .decode(&hex("be 40 01 61 01 78 be 7f 00 01 79 bf 82"))
        .expect("hpack");
    let list: Vec<_> = decoder.list().iter().collect();
    let told: Vec<_> = list
        .iter()
        .map(|field| (field.name, field.value, field.is_unknown))
        .collect();
    assert_eq!(
        told,
        [
            (&b""[..], &b""[..], true),
            (b"a", b"x", false),
            (b"a", b"x", false),
            (b"", b"y", true),
            (b"a", b"x", false),
            (b":method", b"GET", false),
        ]
    );
    // A size update of zero leaves nothing unseen.
    let error = decoder.decode(&hex("20 3f e1 1f be")).expect_err("empty");
    assert_eq!(error.rule, "index-out-of-table");
}

#[test]
fn size_updates_are_told_smallest_first() {
    let mut encoder = Encoder::new(4096);
    let mut decoder = Decoder::new(&Limits::default());
    let mut block = Vec::new();
    encoder.encode([Field::new(b"a", b"b")], &mut block);
    decoder.decode(&block).expect("own block");
    for bytes in [0, 100] {
        encoder.set_limit(bytes);
        decoder.set_limit(bytes);
    }
    block.clear();
    encoder.encode([Field::new(b"a", b"b")], &mut block);
    assert!(block.starts_with(&hex("20 3f 45")), "{block:x?}");
    decoder.decode(&block).expect("own block");
    assert_eq!(decoder.table_bytes(), 34);
}

fn any_field() -> impl Strategy<Value = (Vec<u8>, Vec<u8>, bool)> {
    let name = prop_oneof![
        3 => prop_oneof![Just(":method"), Just(":path"), Just("cookie"), Just("x-a")]
            .prop_map(|name| name.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ];
    let value = prop_oneof![
        2 => "[a-c]{0,2}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..200),
    ];
    (name, value, proptest::bool::weighted(0.1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_encoded_is_decoded(
        blocks in proptest::collection::vec(
            (
                proptest::collection::vec(any_field(), 0..20),
                proptest::option::of(0_u32..5000),
            ),
            1..12,
        ),
    ) {
        let mut encoder = Encoder::new(4096);
        let mut decoder = Decoder::new(&Limits::default());
        for (list, limit) in blocks {
            if let Some(limit) = limit {
                encoder.set_limit(limit);
                decoder.set_limit(limit);
            }
            let list: Vec<_> = list
                .iter()
                .map(|(name, value, is_never_indexed)| Field {
                    is_never_indexed: *is_never_indexed,
                    ..Field::new(name, value)
                })
                .collect();
            let mut block = Vec::new();
            encoder.encode(list.iter().copied(), &mut block);
            decoder.decode(&block).expect("own block");
            prop_assert!(!decoder.owes_size_update());
            prop_assert!(decoder.list().iter().eq(list.iter().copied()));
        }
    }

    #[test]
    fn no_block_makes_it_panic(
        blocks in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..60), 1..8,
        ),
    ) {
        let mut decoder = Decoder::mid_stream(&Limits::default());
        for block in blocks {
            if decoder.decode(&block).is_err() {
                break;
            }
            for field in decoder.list().iter() {
                prop_assert!(!field.is_unknown || field.name.is_empty());
            }
        }
    }
}

#[test]
fn a_block_apart_leaves_the_table_as_it_is() {
    let mut encoder = Encoder::new(4096);
    let mut decoder = Decoder::new(&Limits::default());
    let mut block = Vec::new();
    encoder.encode([Field::new(b"server", b"one")], &mut block);
    decoder.decode(&block).unwrap();
    let before = decoder.table_bytes();

    let fields = [
        Field::new(b":status", b"403"),
        Field::new(b":status", b"200"),
        Field::new(b"x-own", b"a"),
    ];
    block.clear();
    Encoder::encode_apart(fields, None, &mut block);
    decoder.decode(&block).unwrap();
    let read: Vec<_> = decoder
        .list()
        .iter()
        .map(|field| (field.name.to_vec(), field.value.to_vec()))
        .collect();
    let sent: Vec<_> = fields
        .iter()
        .map(|field| (field.name.to_vec(), field.value.to_vec()))
        .collect();
    assert_eq!(read, sent);
    assert_eq!(decoder.table_bytes(), before);

    block.clear();
    Encoder::encode_apart([], Some(0), &mut block);
    decoder.decode(&block).unwrap();
    assert_eq!(decoder.table_bytes(), 0);
}

#[test]
fn every_field_of_the_static_table_is_found_there() {
    let mut decoder = Decoder::new(&Limits::default());
    for index in 1..=61_u8 {
        let indexed = [0x80 | index];
        decoder.decode(&indexed).unwrap();
        let mut block = Vec::new();
        Encoder::new(4096).encode(decoder.list().iter(), &mut block);
        assert_eq!(block, indexed);
    }
}
