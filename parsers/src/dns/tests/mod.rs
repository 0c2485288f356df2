mod data;

use super::*;
use crate::error::Fault;

/// A message under construction: bytes as they are given, no questions asked.
struct Raw(Vec<u8>);

impl Raw {
    fn new(flags: u16, counts: [u16; 4]) -> Self {
        let mut raw = Self(vec![0x12, 0x34]);
        raw = raw.words(&[flags]).words(&counts);
        raw
    }

    fn words(mut self, words: &[u16]) -> Self {
        self.0
            .extend(words.iter().flat_map(|word| word.to_be_bytes()));
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn name(mut self, name: &str) -> Self {
        for label in name.split('.').filter(|label| !label.is_empty()) {
            self.0.push(u8::try_from(label.len()).unwrap());
            self.0.extend_from_slice(label.as_bytes());
        }
        self.bytes(&[0])
    }

    fn question(self, name: &str, kind: RecordType) -> Self {
        self.name(name).words(&[kind.0, 1])
    }

    /// A record whose name is at `pointer`.
    fn record(self, pointer: u16, kind: RecordType, ttl: u16, data: &[u8]) -> Self {
        let length = u16::try_from(data.len()).unwrap();
        self.words(&[0xc000 | pointer, kind.0, 1, 0, ttl, length])
            .bytes(data)
    }

    fn read(&self) -> Message<'_> {
        Message::read(&self.0).unwrap()
    }
}

const RESPONSE: u16 = 0x8180;

fn rule(raw: &Raw) -> Option<&'static str> {
    raw.read().fault().map(|fault| fault.rule)
}

fn response() -> Raw {
    Raw::new(RESPONSE, [1, 2, 0, 0])
        .question("WWW.example.com", RecordType::A)
        .record(12, RecordType::CNAME, 60, b"\x04edge\xc0\x10")
        .record(45, RecordType::A, 30, &[192, 0, 2, 1])
}

#[test]
fn a_message_is_read_where_it_lies() {
    let raw = response();
    let message = raw.read();
    assert_eq!(message.fault(), None);
    let header = message.header();
    assert_eq!((header.id(), header.rcode()), (0x1234, Rcode::NOERROR));
    assert!(header.is_response() && header.is_recursion_desired());
    assert!(header.is_recursion_available() && !header.is_authoritative());
    let question = message.question().unwrap();
    assert_eq!(question.name().to_string(), "WWW.example.com.");
    assert_eq!(format!("{:#}", question.name()), "WWW.example.com");
    let answers: Vec<_> = message
        .answers()
        .map(|record| {
            let (name, kind, ttl) = (record.name(), record.kind(), record.ttl());
            format!("{name} {ttl} {kind} {}", record.text())
        })
        .collect();
    assert_eq!(
        answers,
        [
            "WWW.example.com. 60 CNAME edge.example.com.",
            "edge.example.com. 30 A 192.0.2.1"
        ]
    );
    assert!(message.trailing().is_empty());
}

#[test]
fn addresses_follow_the_chain_from_the_question() {
    let raw = response();
    let chain = Chain::of(&raw.read()).unwrap();
    let names: Vec<_> = chain.names().map(|name| name.to_string()).collect();
    assert_eq!(names, ["WWW.example.com.", "edge.example.com."]);
    let answers: Vec<_> = chain.addresses().collect();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].ttl, 30);
    assert_eq!(answers[0].address.to_string(), "192.0.2.1");
}

#[test]
fn addresses_of_other_names_are_none_of_the_answers() {
    let raw = Raw::new(RESPONSE, [1, 2, 0, 0])
        .question("a.test", RecordType::A)
        .bytes(b"\x04evil\xc0\x0e")
        .words(&[1, 1, 0, 9, 4])
        .bytes(&[1, 1, 1, 1])
        .record(12, RecordType::A, 9, &[2, 2, 2, 2]);
    let chain = Chain::of(&raw.read()).unwrap();
    let addresses: Vec<_> = chain.addresses().map(|a| a.address.to_string()).collect();
    assert_eq!(addresses, ["2.2.2.2"]);
}

#[test]
fn a_chain_holds_whatever_the_case_and_compression_of_names() {
    let raw = Raw::new(RESPONSE, [1, 3, 0, 0])
        .question("wwW.Example.test", RecordType::A)
        .name("edge-server.example.TEST")
        .words(&[1, 1, 0, 9, 4])
        .bytes(&[1, 1, 1, 1])
        .name("edge-server.example.tes")
        .words(&[1, 1, 0, 9, 4])
        .bytes(&[2, 2, 2, 2])
        .name("WWW.example.TEST")
        .words(&[5, 1, 0, 5, 26])
        .name("EDGE-SERVER.example.test");
    assert_eq!(raw.read().fault(), None);
    let chain = Chain::of(&raw.read()).unwrap();
    let answers: Vec<_> = chain
        .addresses()
        .map(|answer| (answer.address.to_string(), answer.ttl))
        .collect();
    assert_eq!(answers, [("1.1.1.1".to_owned(), 5)]);
}

#[test]
fn a_chain_longer_than_is_followed_has_no_addresses() {
    let name = |nth: u8| format!("n{nth}.test");
    for (links, is_cut) in [(16, false), (17, true)] {
        let mut raw =
            Raw::new(RESPONSE, [1, u16::from(links) + 1, 0, 0]).question(&name(0), RecordType::A);
        for nth in (0..links).rev() {
            let target = Raw(Vec::new()).name(&name(nth + 1)).0;
            let length = u16::try_from(target.len()).unwrap();
            raw = raw
                .name(&name(nth))
                .words(&[5, 1, 0, 9, length])
                .bytes(&target);
        }
        raw = raw
            .name(&name(links))
            .words(&[1, 1, 0, 9, 4])
            .bytes(&[1, 2, 3, 4]);
        assert_eq!(raw.read().fault(), None);
        let chain = Chain::of(&raw.read()).unwrap();
        assert_eq!(chain.is_cut(), is_cut, "{links}");
        assert_eq!(chain.names().count(), 17);
        assert_eq!(chain.addresses().count(), usize::from(!is_cut));
    }
}

#[test]
fn a_chain_in_a_circle_has_no_addresses() {
    let raw = Raw::new(RESPONSE, [1, 3, 0, 0])
        .question("a.test", RecordType::A)
        .record(12, RecordType::CNAME, 60, b"\x01b\xc0\x0e")
        .record(36, RecordType::CNAME, 60, b"\xc0\x0c")
        .record(12, RecordType::A, 60, &[1, 2, 3, 4]);
    assert_eq!(raw.read().fault(), None);
    let chain = Chain::of(&raw.read()).unwrap();
    assert!(chain.is_cut());
    assert_eq!(chain.names().count(), 2);
    assert_eq!(chain.addresses().count(), 0);
}

#[test]
fn names_are_equal_whatever_their_case_and_place() {
    let raw = Raw::new(0, [2, 0, 0, 0])
        .question("Example.COM", RecordType::A)
        .question("example.com", RecordType::A);
    let names: Vec<_> = raw.read().questions().map(|q| q.name()).collect();
    assert_eq!(names[0], names[1]);
    let mut room = [0; Name::TEXT_MAX];
    assert_eq!(names[0].to_lower(&mut room), Some("example.com."));
    assert_eq!(names[0].to_lower(&mut [0; 5]), None);
    let mut room = [0; Name::WIRE_MAX];
    assert_eq!(names[0].to_wire(&mut room), b"\x07example\x03com\x00");
    assert!(
        raw.read().question().is_none(),
        "two questions are not one question"
    );
}

#[test]
fn a_name_is_not_equal_to_its_parent() {
    let raw = Raw::new(0, [2, 0, 0, 0])
        .question("a.test", RecordType::A)
        .bytes(b"\xc0\x0e")
        .words(&[1, 1]);
    let names: Vec<_> = raw.read().questions().map(|q| q.name()).collect();
    assert_ne!(names[0], names[1]);
    assert_ne!(names[1], names[0]);
}

#[test]
fn labels_are_escaped_as_master_files_want_it() {
    let raw = Raw::new(0, [1, 0, 0, 0])
        .bytes(b"\x05a.b\\ \x03\x00\xff;\x00")
        .words(&[1, 1]);
    let name = raw.read().question().unwrap().name();
    assert_eq!(name.to_string(), "a\\.b\\\\\\032.\\000\\255\\;.");
    let root = Raw::new(0, [1, 0, 0, 0]).question("", RecordType::NS);
    let root = root.read().question().unwrap().name();
    assert_eq!((root.to_string(), root.is_root()), (".".to_owned(), true));
    assert_eq!(root.to_lower(&mut [0; 1]), Some("."));
}

#[test]
fn the_longest_name_fits_and_one_byte_more_does_not() {
    let label = "x".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "y".repeat(61));
    let fits = Raw::new(0, [1, 0, 0, 0]).question(&longest, RecordType::A);
    let name = fits.read().question().unwrap().name();
    assert_eq!(name.to_wire(&mut [0; Name::WIRE_MAX]).len(), 255);
    let over = Raw::new(0, [1, 0, 0, 0]).question(&format!("{longest}y"), RecordType::A);
    assert_eq!(rule(&over), Some("dns-name-too-long"));
    let small = Raw::new(0, [1, 0, 0, 0]).question(&"a.".repeat(127), RecordType::A);
    assert_eq!(
        small.read().question().unwrap().name().labels().count(),
        127
    );
    let over = Raw::new(0, [1, 0, 0, 0]).question(&"a.".repeat(128), RecordType::A);
    assert_eq!(rule(&over), Some("dns-name-too-long"));
}

#[test]
fn pointers_lead_backwards_only() {
    let cases: [(&[u8], &str); 7] = [
        (b"\xc0\x0c\0\x01\0\x01", "dns-pointer-not-backwards"),
        (b"\xc0\xff\0\x01\0\x01", "dns-pointer-not-backwards"),
        (b"\x01a\xc0\x0c\0\x01\0\x01", "dns-pointer-not-backwards"),
        (b"\xc0\x04\0\x01\0\x01", "dns-pointer-not-backwards"),
        (b"\x41a\0\0\x01\0\x01", "dns-label-type"),
        (b"\x80\0\x01\0\x01", "dns-label-type"),
        (b"\xc0", "dns-name-cut-short"),
    ];
    for (bytes, expected) in cases {
        let raw = Raw::new(0, [1, 0, 0, 0]).bytes(bytes);
        assert_eq!(rule(&raw), Some(expected), "{bytes:?}");
        assert_eq!(raw.read().questions().count(), 0);
    }
}

#[test]
fn a_run_that_comes_back_to_its_own_pointer_is_no_name() {
    // The second question points at the first one's second label, which runs into the pointer.
    let raw = Raw::new(0, [2, 0, 0, 0])
        .bytes(b"\x01a\x00\0\x01\0\x01")
        .bytes(b"\x01b\xc0\x13\0\x01\0\x01");
    assert_eq!(rule(&raw), Some("dns-pointer-not-backwards"));
    assert_eq!(raw.read().read_count(Section::Question), 1);
}

#[test]
fn what_lies_before_a_fault_is_there() {
    let mut raw = response();
    raw.0.pop();
    let message = raw.read();
    assert_eq!(message.fault().map(|f| f.fault), Some(Fault::Truncated));
    assert_eq!(message.header().count(Section::Answer), 2);
    assert_eq!(message.read_count(Section::Answer), 1);
    assert_eq!(message.answers().count(), 1);
    assert_eq!(message.trailing().len(), 15);
    assert!(Message::read(&[0; 11]).is_err());
    assert!(Message::read(&vec![0; 65_536]).is_err());
}

#[test]
fn an_update_names_its_sections_otherwise() {
    let raw = Raw::new(0x2800, [1, 0, 0, 0]).question("zone.test", RecordType::SOA);
    let opcode = raw.read().opcode();
    assert_eq!(opcode.to_string(), "UPDATE");
    let names: Vec<_> = Section::ALL.iter().map(|s| s.name(opcode)).collect();
    assert_eq!(names, ["zone", "prerequisite", "update", "additional"]);
    assert_eq!(Section::Answer.name(Opcode::QUERY), "answer");
}

#[test]
fn extensions_are_read_from_the_opt_record() {
    let options = b"\0\x08\0\x07\0\x01\x18\0\xc0\0\x02\0\x0a\0\x08cookie!!\0\x0f\0\x04\0\x12no";
    let raw = Raw::new(RESPONSE | 1, [0, 0, 0, 1])
        .bytes(&[0])
        .words(&[41, 1232, 0x0100, 0x8000, 31])
        .bytes(options);
    let message = raw.read();
    assert_eq!(message.fault(), None);
    assert_eq!(message.rcode(), Rcode(17));
    assert_eq!(message.rcode().to_string(), "BADKEY");
    let edns = message.edns().unwrap();
    assert_eq!(
        (edns.payload_bytes(), edns.version(), edns.is_dnssec_ok()),
        (1232, 0, true)
    );
    let contents: Vec<_> = edns.options().map(|option| option.content()).collect();
    assert_eq!(
        contents,
        [
            OptionContent::ClientSubnet {
                address: "192.0.2.0".parse().unwrap(),
                source: 24,
                scope: 0
            },
            OptionContent::Cookie {
                client: *b"cookie!!",
                server: &[]
            },
            OptionContent::ExtendedError {
                info: 18,
                text: b"no"
            },
        ]
    );
    assert!(edns.options().is_whole());
}

#[test]
fn a_second_opt_record_is_a_fault() {
    let opt = [0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0];
    let raw = Raw::new(0, [0, 0, 0, 2]).bytes(&opt).bytes(&opt);
    assert_eq!(rule(&raw), Some("dns-several-opt"));
    assert_eq!(raw.read().edns().unwrap().payload_bytes(), 4096);
}

#[test]
fn registries_are_sorted_and_name_no_number_twice() {
    assert!(RecordType::NAMED.is_sorted_by(|a, b| a < b));
    assert!(Class::NAMED.is_sorted_by(|a, b| a < b));
    assert!(Opcode::NAMED.is_sorted_by(|a, b| a < b));
    assert!(Rcode::NAMED.is_sorted_by(|a, b| a < b));
    let text = [
        RecordType(65_280).to_string(),
        RecordType::NSAP_PTR.to_string(),
        Class(7).to_string(),
        Opcode(3).to_string(),
        Rcode(12).to_string(),
    ];
    assert_eq!(text, ["TYPE65280", "NSAP-PTR", "CLASS7", "3", "12"]);
    assert_eq!(Class(0x8001).split_multicast(), (Class::IN, true));
    assert_eq!(Rcode::SERVFAIL.summary(), "Server Failure ");
}
