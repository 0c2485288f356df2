//! Which fields the data of a type have.

use crate::dns::codes::RecordType as T;

/// How a field lies in the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ipv4,
    Ipv6,
    Name,
    U8,
    U16,
    U32,
    Type,
    Time,
    /// A character-string.
    Text,
    /// Character-strings to the end, at least one.
    Texts,
    /// Text to the end, without a length.
    TextRest,
    /// A character-string that is a tag.
    Word,
    /// Bytes to the end, as hexadecimal digits.
    Hex,
    /// A length byte and that many bytes, as hexadecimal digits or `-`.
    Salt,
    /// Bytes to the end, in base 64.
    Base64,
    /// A length byte and that many bytes, in base 32.
    Base32,
    /// So many bytes with dashes between them.
    Dashed(usize),
    /// Eight bytes, in pairs with colons between them.
    Locator,
    Types,
    Params,
    Unknown,
}

/// The fields of a type, in their order. The names of all of them are read with compression, as
/// RFC 3597 §4 and RFC 6762 §18.14 ask of receivers.
pub(super) fn of(kind: T) -> &'static [Kind] {
    use Kind::{
        Base32, Base64, Dashed, Hex, Ipv4, Ipv6, Locator, Name, Params, Salt, Text, TextRest,
        Texts, Time, Type, Types, U8, U16, U32, Unknown, Word,
    };
    match kind {
        T::A => &[Ipv4],
        T::AAAA => &[Ipv6],
        T::NS
        | T::MD
        | T::MF
        | T::CNAME
        | T::MB
        | T::MG
        | T::MR
        | T::PTR
        | T::DNAME
        | T::NSAP_PTR => &[Name],
        T::SOA => &[Name, Name, U32, U32, U32, U32, U32],
        T::MINFO | T::RP | T::TALINK => &[Name, Name],
        T::HINFO => &[Text, Text],
        T::GPOS => &[Text, Text, Text],
        T::MX | T::AFSDB | T::RT | T::KX | T::LP => &[U16, Name],
        T::PX => &[U16, Name, Name],
        T::TXT
        | T::SPF
        | T::AVC
        | T::NINFO
        | T::RESINFO
        | T::WALLET
        | T::CLA
        | T::X25
        | T::ISDN => &[Texts],
        T::SRV => &[U16, U16, U16, Name],
        T::NAPTR => &[U16, U16, Text, Text, Text, Name],
        T::URI => &[U16, U16, TextRest],
        T::CAA => &[U8, Word, TextRest],
        T::CERT => &[U16, U16, U8, Base64],
        T::DS | T::CDS | T::DLV | T::TA => &[U16, U8, U8, Hex],
        T::DNSKEY | T::CDNSKEY | T::KEY | T::RKEY => &[U16, U8, U8, Base64],
        T::RRSIG | T::SIG => &[Type, U8, U8, U32, Time, Time, U16, Name, Base64],
        T::NSEC => &[Name, Types],
        T::NSEC3 => &[U8, U8, U16, Salt, Base32, Types],
        T::NSEC3PARAM => &[U8, U8, U16, Salt],
        T::CSYNC => &[U32, U16, Types],
        T::ZONEMD => &[U32, U8, U8, Hex],
        T::SSHFP => &[U8, U8, Hex],
        T::TLSA | T::SMIMEA => &[U8, U8, U8, Hex],
        T::OPENPGPKEY | T::DHCID | T::HHIT | T::BRID => &[Base64],
        T::SVCB | T::HTTPS => &[U16, Name, Params],
        T::DSYNC => &[Type, U8, U16, Name],
        T::NID | T::L64 => &[U16, Locator],
        T::L32 => &[U16, Ipv4],
        T::EUI48 => &[Dashed(6)],
        T::EUI64 => &[Dashed(8)],
        _ => &[Unknown],
    }
}
