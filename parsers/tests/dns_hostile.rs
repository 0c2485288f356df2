//! Messages made to hurt their reader: they end well, and soon.

use parsers::dns::{
    Chain, ExtendedError, Header, Message, Rcode, RecordType, Refusal, Section, refuse,
};
use proptest::prelude::*;

fn header(flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let words = [0x1234, flags].into_iter().chain(counts);
    words.flat_map(u16::to_be_bytes).collect()
}

/// Asks a message for everything it can tell, and counts what it told in bytes.
fn drain(message: &Message<'_>) -> usize {
    let mut told = 0;
    for question in message.questions() {
        told += question.name().to_string().len();
    }
    for section in Section::ALL {
        for record in message.records(section) {
            told += record.name().to_string().len() + record.text().to_string().len();
        }
    }
    if let Some(chain) = Chain::of(message) {
        told += chain.names().count() + chain.addresses().count();
    }
    told
}

#[test]
fn sixty_four_kibibytes_of_compression_stay_small() {
    // A name of 254 bytes, then as many records as fit that point at it with their name and their data.
    let mut bytes = header(0x8180, [1, u16::MAX, 0, 0]);
    for _ in 0..126 {
        bytes.extend(b"\x01\xff");
    }
    bytes.extend([0, 0, 5, 0, 1]);
    while bytes.len() < Message::BYTES_MAX - 14 {
        bytes.extend(b"\xc0\x0c\0\x05\0\x01\0\0\0\x09\0\x02\xc0\x0c");
    }
    let message = Message::read(&bytes).unwrap();
    assert!(message.fault().is_some(), "fewer records than written");
    let records = usize::from(message.read_count(Section::Answer));
    assert!(records > 4600);
    // Each name is 126 labels of one byte, which takes four characters, and their dots.
    assert_eq!(drain(&message), 630 + records * 2 * 630 + 1);
    assert!(Chain::of(&message).unwrap().is_cut());
}

#[test]
fn chains_of_pointers_are_cut() {
    // Pointers that each lead to the one before: the first 127 are followed.
    let mut bytes = header(0x8180, [1, 0, 0, 0]);
    bytes[4..6].copy_from_slice(&300_u16.to_be_bytes());
    bytes.extend(b"\x01a\0\0\x01\0\x01");
    let mut last = 12_u16;
    for _ in 0..299 {
        let here = u16::try_from(bytes.len()).unwrap();
        bytes.extend((0xc000 | last).to_be_bytes());
        bytes.extend(b"\0\x01\0\x01");
        last = here;
    }
    let message = Message::read(&bytes).unwrap();
    assert_eq!(
        message.fault().map(|fault| fault.rule),
        Some("dns-too-many-pointers")
    );
    assert_eq!(message.read_count(Section::Question), 128);
    assert!(
        message
            .questions()
            .all(|question| question.name().to_string() == "a.")
    );
}

#[test]
fn counts_that_lie_cost_nothing() {
    let bytes = header(0, [u16::MAX; 4]);
    let message = Message::read(&bytes).unwrap();
    assert!(message.fault().is_some());
    assert_eq!(message.header().count(Section::Additional), u16::MAX);
    assert_eq!(drain(&message), 0);
    assert!(message.edns().is_none());
}

#[test]
fn every_cut_of_a_message_is_read() {
    let mut bytes = header(0x8180, [1, 2, 0, 1]);
    bytes.extend(b"\x01a\x04test\0\0\x01\0\x01");
    bytes.extend(b"\xc0\x0c\0\x05\0\x01\0\0\0\x09\0\x04\x01b\xc0\x0e");
    bytes.extend(b"\xc0\x24\0\x01\0\x01\0\0\0\x09\0\x04\x01\x02\x03\x04");
    bytes.extend(b"\0\0\x29\x10\0\0\0\x80\0\0\x05\0\x03\0\x01x");
    let whole = Message::read(&bytes).unwrap();
    assert_eq!(whole.fault(), None);
    let mut least = 0;
    for cut in Header::BYTES..bytes.len() {
        let message = Message::read(&bytes[..cut]).unwrap();
        assert!(message.fault().is_some(), "{cut}");
        let told = drain(&message);
        assert!(told >= least, "{cut}");
        least = told;
    }
}

fn plain(rcode: Rcode) -> Refusal<'static> {
    Refusal {
        rcode,
        reason: None,
    }
}

#[test]
fn a_response_is_not_refused() {
    let mut room = [0; 512];
    let error = refuse(&header(0x8180, [0; 4]), &plain(Rcode::REFUSED), &mut room).unwrap_err();
    assert_eq!(error.rule, "dns-response-as-query");
    assert!(refuse(&[0; 11], &plain(Rcode::REFUSED), &mut room).is_err());
}

#[test]
fn a_refusal_keeps_the_question_letter_by_letter() {
    let mut query = header(0x0110, [1, 0, 0, 1]);
    query.extend(b"\x03wWw\x04tEsT\0\0\x1c\0\x01");
    query.extend(b"\0\0\x29\x10\0\0\0\x80\0\0\x14\0\x0a\0\x10clientooserver!!");
    let mut room = [0; 512];
    let refusal = Refusal {
        rcode: Rcode::REFUSED,
        reason: Some(ExtendedError {
            info: 18,
            text: "policy shop/web",
        }),
    };
    let length = refuse(&query, &refusal, &mut room).unwrap();
    let reply = Message::read(&room[..length]).unwrap();
    assert_eq!(reply.fault(), None);
    assert_eq!(reply.header().flags(), 0x8195);
    assert_eq!(reply.question().unwrap().name().to_string(), "wWw.tEsT.");
    assert_eq!(reply.question().unwrap().kind(), RecordType::AAAA);
    let edns = reply.edns().unwrap();
    assert!(edns.is_dnssec_ok());
    let options: Vec<_> = edns.options().map(|o| (o.code, o.value.to_vec())).collect();
    let expected = [
        (10, b"clientooserver!!".to_vec()),
        (15, b"\0\x12policy shop/web".to_vec()),
    ];
    assert_eq!(options, expected);
}

#[test]
fn a_refusal_leaves_out_what_does_not_fit_and_fails_before_it_lies() {
    let mut query = header(0, [1, 0, 0, 1]);
    query.extend(b"\x01a\0\0\x01\0\x01\0\0\x29\x10\0\0\0\0\0\0\0");
    let refusal = Refusal {
        rcode: Rcode::SERVFAIL,
        reason: Some(ExtendedError {
            info: 15,
            text: "words",
        }),
    };
    let bare = query.len();
    for size in 0..bare + 20 {
        let mut room = vec![0; size];
        match refuse(&query, &refusal, &mut room) {
            Err(error) => {
                assert_eq!(error.rule, "dns-reply-without-room");
                assert!(size < bare);
            }
            Ok(length) => {
                assert!(size >= bare);
                let reply = Message::read(&room[..length]).unwrap();
                assert_eq!(reply.fault(), None);
                let edns = reply.edns().unwrap();
                assert!(edns.options().is_whole());
                let longest = edns.options().map(|option| option.value.len()).max();
                let expected = match size - bare {
                    0..6 => None,
                    6..11 => Some(2),
                    _ => Some(7),
                };
                assert_eq!(longest, expected, "{size}");
            }
        }
    }
}

#[test]
fn a_broken_question_is_refused_without_it() {
    let mut query = header(0x0100, [1, 0, 0, 0]);
    query.extend(b"\xc0\x0c\0\x01\0\x01");
    let mut room = [0; 512];
    let length = refuse(&query, &plain(Rcode::FORMERR), &mut room).unwrap();
    assert_eq!(&room[..length], &header(0x8181, [0; 4])[..]);
}

proptest! {
    #[test]
    fn any_bytes_behind_a_header_are_read(
        flags in any::<u16>(),
        counts in any::<[u8; 4]>(),
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0..4_u8, Just(0xc0)], 0..600),
    ) {
        let mut message = header(flags, counts.map(|count| u16::from(count & 7)));
        message.extend(bytes);
        let read = Message::read(&message).unwrap();
        drain(&read);
        let mut room = [0; 1024];
        let length = refuse(&message, &plain(Rcode::REFUSED), &mut room);
        if let Ok(length) = length {
            let reply = Message::read(&room[..length]).unwrap();
            prop_assert_eq!(reply.fault(), None);
            let pairs = read.questions().zip(reply.questions());
            prop_assert!(pairs.into_iter().all(|(ours, theirs)| ours == theirs));
        }
    }

    #[test]
    fn data_of_every_type_end_well(
        kind in prop::sample::select(RecordType::NAMED),
        data in prop::collection::vec(prop_oneof![any::<u8>(), 0..8_u8], 0..120),
    ) {
        let mut message = header(0x8180, [0, 1, 0, 0]);
        message.push(0);
        message.extend(kind.0.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 1]);
        message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        message.extend(&data);
        let read = Message::read(&message).unwrap();
        prop_assert_eq!(read.fault(), None);
        let record = read.answers().next().unwrap();
        let text = record.text().to_string();
        prop_assert!(text.is_ascii() && !text.contains('\n'));
        if record.fields().any(|field| field.is_err()) {
            prop_assert!(text.starts_with("\\# "));
        }
    }
}
