//! What another implementation writes is read here as it was meant, and the other way round.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Edns, Message as Theirs, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TLSA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use parsers::dns::{ExtendedError, Message, Rcode, Refusal, Section, looks_like, refuse};
use proptest::prelude::*;

fn name() -> impl Strategy<Value = Name> {
    let tail = prop_oneof![Just("example.com."), Just("cluster.local."), Just("test.")];
    (
        prop::collection::vec("[a-z0-9_][a-z0-9_-]{0,19}", 0..4),
        tail,
    )
        .prop_map(|(labels, tail)| {
            let labels = labels.join(".");
            Name::from_ascii(format!("{labels}.{tail}").trim_start_matches('.')).unwrap()
        })
}

fn data() -> impl Strategy<Value = RData> {
    prop_oneof![
        any::<u32>().prop_map(|bits| RData::A(A(Ipv4Addr::from_bits(bits)))),
        any::<u128>().prop_map(|bits| RData::AAAA(AAAA(Ipv6Addr::from_bits(bits)))),
        name().prop_map(|name| RData::CNAME(CNAME(name))),
        name().prop_map(|name| RData::NS(NS(name))),
        name().prop_map(|name| RData::PTR(PTR(name))),
        (any::<u16>(), name()).prop_map(|(preference, name)| RData::MX(MX::new(preference, name))),
        (any::<[u16; 3]>(), name())
            .prop_map(|([a, b, port], name)| RData::SRV(SRV::new(a, b, port, name))),
        (
            name(),
            name(),
            any::<u32>(),
            any::<[i32; 3]>(),
            any::<u32>()
        )
            .prop_map(|(m, r, serial, [refresh, retry, expire], minimum)| {
                let times = [refresh, retry, expire].map(|time| time & i32::MAX);
                RData::SOA(SOA::new(
                    m, r, serial, times[0], times[1], times[2], minimum,
                ))
            }),
        prop::collection::vec("[ -~]{0,60}", 1..4).prop_map(|texts| RData::TXT(TXT::new(texts))),
        (
            0..4_u8,
            0..2_u8,
            0..3_u8,
            prop::collection::vec(any::<u8>(), 1..40)
        )
            .prop_map(|(usage, selector, matching, bytes)| {
                RData::TLSA(TLSA::new(
                    usage.into(),
                    selector.into(),
                    matching.into(),
                    bytes,
                ))
            }),
    ]
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
    digits.map(|digit| digit.to_ascii_uppercase()).collect()
}

/// As master files write the data.
fn text(data: &RData) -> String {
    match data {
        RData::TXT(txt) => {
            let quoted = txt.txt_data.iter().map(|bytes| {
                let plain = String::from_utf8(bytes.to_vec()).unwrap();
                format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\""))
            });
            quoted.collect::<Vec<_>>().join(" ")
        }
        RData::SOA(soa) => format!(
            "{} {} {} {} {} {} {}",
            soa.mname, soa.rname, soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum
        ),
        RData::TLSA(tlsa) => format!(
            "{} {} {} {}",
            u8::from(tlsa.cert_usage),
            u8::from(tlsa.selector),
            u8::from(tlsa.matching),
            hex(&tlsa.cert_data)
        ),
        other => other.to_string(),
    }
}

fn record() -> impl Strategy<Value = Record> {
    (name(), 0..u32::MAX >> 1, data())
        .prop_map(|(name, ttl, data)| Record::from_rdata(name, ttl, data))
}

fn message() -> impl Strategy<Value = Theirs> {
    let records = || prop::collection::vec(record(), 0..5);
    let flags = any::<[bool; 6]>();
    let edns = prop::option::of((512..4096_u16, any::<bool>()));
    (
        any::<u16>(),
        name(),
        flags,
        0..4096_u16,
        [records(), records(), records()],
        edns,
    )
        .prop_map(
            |(id, name, [is_response, aa, rd, ra, ad, cd], rcode, [an, ns, ar], edns)| {
                let kind = if is_response {
                    MessageType::Response
                } else {
                    MessageType::Query
                };
                let mut message = Theirs::new(id, kind, OpCode::Query);
                message.metadata.authoritative = aa;
                message.metadata.recursion_desired = rd;
                message.metadata.recursion_available = ra;
                message.metadata.authentic_data = ad;
                message.metadata.checking_disabled = cd;
                let rcode = if edns.is_some() { rcode } else { rcode & 0xf };
                message.metadata.response_code =
                    ResponseCode::from_low(u8::try_from(rcode & 0xf).unwrap());
                message.add_query(Query::query(name, RecordType::AAAA));
                message.answers = an;
                message.authorities = ns;
                message.additionals = ar;
                message.edns = edns.map(|(payload, is_dnssec_ok)| {
                    let mut edns = Edns::new();
                    edns.set_max_payload(payload).set_dnssec_ok(is_dnssec_ok);
                    edns
                });
                message
            },
        )
}

proptest! {
    #[test]
    fn what_another_implementation_writes_is_read_as_meant(theirs in message()) {
        let bytes = theirs.to_vec().unwrap();
        let ours = Message::read(&bytes).unwrap();
        prop_assert_eq!(ours.fault(), None);
        prop_assert!(ours.trailing().is_empty());
        let (header, meta) = (ours.header(), &theirs.metadata);
        prop_assert_eq!(header.id(), meta.id);
        prop_assert_eq!(header.is_response(), meta.message_type == MessageType::Response);
        prop_assert_eq!(header.is_authoritative(), meta.authoritative);
        prop_assert_eq!(header.is_recursion_desired(), meta.recursion_desired);
        prop_assert_eq!(header.is_recursion_available(), meta.recursion_available);
        prop_assert_eq!(header.is_authentic_data(), meta.authentic_data);
        prop_assert_eq!(header.is_checking_disabled(), meta.checking_disabled);
        prop_assert_eq!(ours.rcode().0, u16::from(meta.response_code));
        let question = ours.question().unwrap();
        prop_assert_eq!(question.name().to_string(), theirs.queries[0].name().to_string());
        prop_assert_eq!(question.kind().0, u16::from(RecordType::AAAA));
        let sections = [
            (Section::Answer, &theirs.answers),
            (Section::Authority, &theirs.authorities),
            (Section::Additional, &theirs.additionals),
        ];
        for (section, expected) in sections {
            let seen: Vec<_> = ours
                .records(section)
                .filter(|record| record.kind() != parsers::dns::RecordType::OPT)
                .collect();
            prop_assert_eq!(seen.len(), expected.len());
            for (record, expected) in seen.iter().zip(expected) {
                prop_assert_eq!(record.name().to_string(), expected.name.to_string());
                prop_assert_eq!(record.kind().to_string(), expected.record_type().to_string());
                prop_assert_eq!(record.ttl(), expected.ttl);
                prop_assert_eq!(record.text().to_string(), text(&expected.data));
                let address = match &expected.data {
                    RData::A(a) => Some(IpAddr::V4(a.0)),
                    RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
                    _ => None,
                };
                prop_assert_eq!(record.address(), address);
            }
        }
        let edns = ours.edns().map(|edns| (edns.payload_bytes(), edns.is_dnssec_ok()));
        let expected = theirs.edns.as_ref().map(|edns| (edns.max_payload(), edns.flags().dnssec_ok));
        prop_assert_eq!(edns, expected);
    }

    #[test]
    fn a_refusal_is_read_by_another_implementation(
        theirs in message(),
        rcode in prop_oneof![Just(Rcode::REFUSED), Just(Rcode::NXDOMAIN), Just(Rcode::BADCOOKIE)],
        reason in prop::option::of("[ -~]{0,80}"),
    ) {
        let mut theirs = theirs;
        theirs.metadata.message_type = MessageType::Query;
        let query = theirs.to_vec().unwrap();
        let mut room = [0; 512];
        let reason = reason.as_deref().map(|text| ExtendedError {
            info: ExtendedError::PROHIBITED,
            text,
        });
        let length = refuse(&query, &Refusal { rcode, reason }, &mut room).unwrap();
        let reply = Theirs::from_vec(&room[..length]).unwrap();
        prop_assert_eq!(reply.metadata.id, theirs.metadata.id);
        prop_assert_eq!(reply.metadata.message_type, MessageType::Response);
        prop_assert_eq!(reply.metadata.recursion_desired, theirs.metadata.recursion_desired);
        prop_assert_eq!(&reply.queries, &theirs.queries);
        prop_assert!(reply.answers.is_empty() && reply.authorities.is_empty());
        let rcode = if theirs.edns.is_some() { rcode.0 } else { rcode.0 & 0xf };
        prop_assert_eq!(u16::from(reply.metadata.response_code), rcode);
        prop_assert_eq!(reply.edns.is_some(), theirs.edns.is_some());
        prop_assert!(looks_like(&room[..length]));
    }
}
