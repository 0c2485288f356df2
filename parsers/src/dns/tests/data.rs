//! Data of records as text.

use super::*;

fn text_of(kind: RecordType, data: &[u8]) -> String {
    let raw = Raw::new(RESPONSE, [1, 1, 0, 0])
        .question("t.test", kind)
        .record(12, kind, 1, data);
    let record = raw.read().answers().next().unwrap();
    record.text().to_string()
}

#[test]
fn data_is_written_as_master_files_write_it() {
    use RecordType as T;
    let v6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let soa = b"\x01n\xc0\x0e\x01h\xc0\x0e\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05";
    let rrsig =
        b"\0\x01\x0d\x02\0\0\x0e\x10\x65\x92\x00\x80\x65\x69\x22\x00\x12\x34\x04test\0\x01\x02\x03\x04";
    let svcb = b"\0\x01\0\0\0\0\x02\0\x04\0\x01\0\x06\x02h2\x02h3\0\x03\0\x02\x20\xfb\0\x04\0\x08\x01\x02\x03\x04\x05\x06\x07\x08\0\x05\0\x02ab\x02\x9b\0\x02a\"";
    let nsec3 = b"\x01\0\0\x0a\x02\xaa\xbb\x05\0\x01\x02\x03\x04\0\x06\x40\0\0\0\0\x02";
    let cases: [(T, &[u8], &str); 27] = [
        (T::A, &[192, 0, 2, 1], "192.0.2.1"),
        (T::AAAA, &v6, "2001:db8::1"),
        (T::NS, b"\x02ns\xc0\x0e", "ns.test."),
        (T::MX, b"\0\x0a\0", "10 ."),
        (T::TXT, b"\x03a\"b\x02\\\xff\x00", r#""a\"b" "\\\255" """#),
        (T::SOA, soa, "n.test. h.test. 1 2 3 4 5"),
        (T::SRV, b"\0\x01\0\x02\x1f\x90\xc0\x0c", "1 2 8080 t.test."),
        (T::HINFO, b"\x01a\x01b", r#""a" "b""#),
        (T::CAA, b"\x80\x05issueca.test", r#"128 issue "ca.test""#),
        (
            T::NAPTR,
            b"\0\x01\0\x02\x01s\x03SIP\0\xc0\x0c",
            r#"1 2 "s" "SIP" "" t.test."#,
        ),
        (T::DS, b"\x12\x34\x08\x02\xab\xcd", "4660 8 2 ABCD"),
        (T::DNSKEY, b"\x01\x01\x03\x08abcd", "257 3 8 YWJjZA=="),
        (
            T::RRSIG,
            rrsig,
            "A 13 2 3600 20240101000000 20231201000000 4660 test. AQIDBA==",
        ),
        (
            T::NSEC,
            b"\x01b\xc0\x0e\0\x06\x40\x01\0\0\0\x03\x01\x01\x40",
            "b.test. A MX RRSIG NSEC CAA",
        ),
        (T::NSEC3, nsec3, "1 0 10 AABB 000G40O4 A RRSIG"),
        (T::NSEC3PARAM, b"\x01\0\0\0\0", "1 0 0 -"),
        (T::TLSA, b"\x03\x01\x01\xfe", "3 1 1 FE"),
        (T::SSHFP, b"\x04\x02\x01\x02", "4 2 0102"),
        (T::URI, b"\0\x01\0\x02http", r#"1 2 "http""#),
        (
            T::HTTPS,
            svcb,
            r#"1 . mandatory=ipv4hint alpn="h2,h3" port=8443 ipv4hint=1.2.3.4,5.6.7.8 ech=YWI= key667="a\"""#,
        ),
        (T::SVCB, b"\0\0\x01a\xc0\x0e", "0 a.test."),
        (T::EUI48, &[0, 1, 2, 0xab, 4, 5], "00-01-02-ab-04-05"),
        (
            T::L64,
            &[0, 10, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 1],
            "10 2001:0db8:0000:0001",
        ),
        (RecordType(65_280), &[0xab, 1], r"\# 2 AB01"),
        (T::NULL, &[], r"\# 0"),
        (T::A, &[1, 2, 3], r"\# 3 010203"),
        (
            T::AAAA,
            &[1; 17],
            r"\# 17 0101010101010101010101010101010101",
        ),
    ];
    for (kind, data, expected) in cases {
        assert_eq!(text_of(kind, data), expected, "{kind}");
    }
}

#[test]
fn broken_data_are_written_as_bytes() {
    use RecordType as T;
    let cases: [(T, &[u8]); 9] = [
        (T::CNAME, b"\x03ab"),
        (T::CNAME, b"\0\0"),
        (T::MX, b"\0"),
        (T::TXT, b""),
        (T::TXT, b"\x05abc"),
        (T::NSEC, b"\0\x00\x21"),
        (T::NSEC, b"\0\x01\x01\x40\x00\x01\x40"),
        (T::SVCB, b"\0\x01\0\0\x03\0\0\0\x01\0\0"),
        (T::CAA, b"\0\x02a b"),
    ];
    for (kind, data) in cases {
        let text = text_of(kind, data);
        assert!(text.starts_with(r"\# "), "{kind}: {text}");
    }
}

#[test]
fn a_name_in_data_may_not_leave_them() {
    let raw = Raw::new(RESPONSE, [1, 2, 0, 0])
        .question("t.test", RecordType::CNAME)
        .record(12, RecordType::CNAME, 1, b"\x01")
        .record(12, RecordType::A, 1, &[1, 2, 3, 4]);
    let record = raw.read().answers().next().unwrap();
    assert!(record.target().is_none());
    assert_eq!(record.text().to_string(), r"\# 1 01");
}
