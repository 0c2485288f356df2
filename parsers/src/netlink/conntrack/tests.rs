use proptest::prelude::*;

use super::super::Messages;
use super::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn tuples() -> impl Strategy<Value = Tuple> {
    let ports = || (any::<u16>(), any::<u16>());
    let four = (any::<[u8; 4]>(), any::<[u8; 4]>(), ports(), 0..4_usize).prop_map(
        |(from, to, ports, protocol)| {
            tuple(IpAddr::from(from), IpAddr::from(to), ports, protocol, ICMP4)
        },
    );
    let six = (any::<[u8; 16]>(), any::<[u8; 16]>(), ports(), 0..4_usize).prop_map(
        |(from, to, ports, protocol)| {
            tuple(IpAddr::from(from), IpAddr::from(to), ports, protocol, ICMP6)
        },
    );
    prop_oneof![four, six]
}

fn tuple(from: IpAddr, to: IpAddr, ports: (u16, u16), protocol: usize, icmp: u8) -> Tuple {
    let protocol = [6, 17, 132, icmp][protocol];
    let destination = if protocol == icmp { ports.0 } else { ports.1 };
    Tuple::new(
        protocol,
        SocketAddr::new(from, ports.0),
        SocketAddr::new(to, destination),
    )
}

proptest! {
    #[test]
    fn a_question_reads_as_it_was_written(tuple in tuples(), sequence: u32) {
        let mut bytes = b"front".to_vec();
        bytes.resize(8, 0);
        ask(&mut bytes, &tuple, sequence);
        let message = Messages::new(&bytes[8..]).next().expect("one").expect("whole");
        prop_assert_eq!(message.sequence, sequence);
        prop_assert_eq!(question(&message), Ok(Some(tuple)));
        prop_assert_eq!(answer(&message), Ok(None));
    }

    #[test]
    fn a_connection_reads_as_it_was_told(original in tuples(), reply in tuples()) {
        let told = Connection { original, reply };
        let mut bytes = Vec::new();
        tell(&mut bytes, &told, 3);
        let message = Messages::new(&bytes).next().expect("one").expect("whole");
        prop_assert_eq!(answer(&message), Ok(Some(Answer::Connection(told))));
    }

    #[test]
    fn a_damaged_datagram_is_read_to_its_end(
        original in tuples(),
        reply in tuples(),
        damages in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = Vec::new();
        tell(&mut bytes, &Connection { original, reply }, 1);
        refuse(&mut bytes, 2, 2);
        for (place, byte) in damages {
            let length = bytes.len();
            bytes[place.index(length)] = byte;
        }
        let read = Messages::new(&bytes).map(|message| {
            let message = message.ok();
            message.map(|message| (answer(&message), question(&message)))
        });
        prop_assert!(read.count() < bytes.len());
    }

    #[test]
    fn a_reply_to_a_reply_is_the_original(tuple in tuples()) {
        prop_assert_eq!(tuple.reversed().reversed(), tuple);
    }
}

#[test]
fn a_connection_is_translated_where_its_reply_is_not_its_mirror() {
    let original = Tuple::new(6, addr("10.0.0.1:4000"), addr("10.96.0.1:80"));
    let mirror = Connection {
        original,
        reply: original.reversed(),
    };
    assert!(!mirror.is_translated());
    for reply in [
        Tuple {
            source: addr("10.0.0.2:80"),
            ..original.reversed()
        },
        Tuple {
            destination: addr("192.0.2.1:4000"),
            ..original.reversed()
        },
        Tuple {
            source: addr("10.96.0.1:8080"),
            ..original.reversed()
        },
    ] {
        assert!(Connection { original, reply }.is_translated());
    }
}

#[test]
fn a_refusal_tells_its_number() {
    let mut bytes = Vec::new();
    refuse(&mut bytes, 2, 9);
    let message = Messages::new(&bytes).next().expect("one").expect("whole");
    assert_eq!(message.sequence, 9);
    assert_eq!(answer(&message), Ok(Some(Answer::Refused(2))));
}

#[test]
fn a_connection_without_addresses_is_refused() {
    let message = |payload| Message {
        kind: CONNECTION,
        flags: 0,
        sequence: 1,
        payload,
    };
    assert_eq!(
        answer(&message(&[0; 3])).expect_err("short").rule,
        "nfgenmsg"
    );
    assert_eq!(
        answer(&message(&[0; 4])).expect_err("empty").rule,
        "connection-tuples"
    );
    let mut bytes = vec![AF_INET, 0, 0, 0];
    attributes::nest(&mut bytes, CTA_TUPLE_ORIG, |_| {});
    assert_eq!(
        answer(&message(&bytes)).expect_err("none").rule,
        "tuple-addresses"
    );
}
