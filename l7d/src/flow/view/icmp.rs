//! What types and codes of ICMP are called in summaries: `DestinationUnreachable(Port)`.
//!
//! Numbers are those of RFC 792, RFC 1122 §3.2.2.1 and RFC 1812 §5.2.7.1 for IPv4, of RFC 4443 and
//! RFC 4861 for IPv6.

use std::fmt;

type Codes = &'static [&'static str];

/// The name of a type, and of its codes from 0.
fn v4_names(kind: u8) -> Option<(&'static str, Codes)> {
    Some(match kind {
        0 => ("EchoReply", &[]),
        3 => (
            "DestinationUnreachable",
            &[
                "Net",
                "Host",
                "Protocol",
                "Port",
                "FragmentationNeeded",
                "SourceRoutingFailed",
                "NetUnknown",
                "HostUnknown",
                "SourceIsolated",
                "NetAdminProhibited",
                "HostAdminProhibited",
                "NetTOS",
                "HostTOS",
                "CommAdminProhibited",
                "HostPrecedence",
                "PrecedenceCutoff",
            ],
        ),
        4 => ("SourceQuench", &[]),
        5 => ("Redirect", &["Net", "Host", "TOS+Net", "TOS+Host"]),
        8 => ("EchoRequest", &[]),
        9 => ("RouterAdvertisement", &[]),
        10 => ("RouterSolicitation", &[]),
        11 => (
            "TimeExceeded",
            &["TTLExceeded", "FragmentReassemblyTimeExceeded"],
        ),
        12 => (
            "ParameterProblem",
            &["PointerIndicatesError", "MissingOption", "BadLength"],
        ),
        13 => ("TimestampRequest", &[]),
        14 => ("TimestampReply", &[]),
        15 => ("InfoRequest", &[]),
        16 => ("InfoReply", &[]),
        17 => ("AddressMaskRequest", &[]),
        18 => ("AddressMaskReply", &[]),
        _ => return None,
    })
}

fn v6_names(kind: u8) -> Option<(&'static str, Codes)> {
    Some(match kind {
        1 => (
            "DestinationUnreachable",
            &[
                "NoRouteToDst",
                "AdminProhibited",
                "BeyondScopeOfSrc",
                "AddressUnreachable",
                "PortUnreachable",
                "SrcAddressFailedPolicy",
                "RejectRouteToDst",
            ],
        ),
        2 => ("PacketTooBig", &[]),
        3 => (
            "TimeExceeded",
            &["HopLimitExceeded", "FragmentReassemblyTimeExceeded"],
        ),
        4 => (
            "ParameterProblem",
            &[
                "ErroneousHeaderField",
                "UnrecognizedNextHeader",
                "UnrecognizedIPv6Option",
            ],
        ),
        128 => ("EchoRequest", &[]),
        129 => ("EchoReply", &[]),
        130 => ("MLDv1MulticastListenerQueryMessage", &[]),
        131 => ("MLDv1MulticastListenerReportMessage", &[]),
        132 => ("MLDv1MulticastListenerDoneMessage", &[]),
        133 => ("RouterSolicitation", &[]),
        134 => ("RouterAdvertisement", &[]),
        135 => ("NeighborSolicitation", &[]),
        136 => ("NeighborAdvertisement", &[]),
        137 => ("Redirect", &[]),
        143 => ("MLDv2MulticastListenerReportMessageV2", &[]),
        _ => return None,
    })
}

/// A type and its code, shown by their names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name {
    names: Option<(&'static str, Codes)>,
    kind: u8,
    code: u8,
}

/// Of ICMP for IPv4.
pub(crate) fn v4(kind: u8, code: u8) -> Name {
    let names = v4_names(kind);
    Name { names, kind, code }
}

/// Of ICMP for IPv6.
pub(crate) fn v6(kind: u8, code: u8) -> Name {
    let names = v6_names(kind);
    Name { names, kind, code }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { names, kind, code } = *self;
        let Some((name, codes)) = names else {
            return write!(f, "{kind}({code})");
        };
        match codes.get(usize::from(code)) {
            Some(of_code) => write!(f, "{name}({of_code})"),
            None if codes.is_empty() && code == 0 => f.write_str(name),
            None => write!(f, "{name}(Code: {code})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_named_behind_its_type() {
        for (shown, expected) in [
            (v4(8, 0), "EchoRequest"),
            (v4(3, 3), "DestinationUnreachable(Port)"),
            (v4(11, 0), "TimeExceeded(TTLExceeded)"),
            (v4(3, 99), "DestinationUnreachable(Code: 99)"),
            (v4(8, 1), "EchoRequest(Code: 1)"),
            (v4(42, 1), "42(1)"),
            (v6(1, 4), "DestinationUnreachable(PortUnreachable)"),
            (v6(135, 0), "NeighborSolicitation"),
            (v6(200, 0), "200(0)"),
        ] {
            assert_eq!(shown.to_string(), expected);
        }
    }
}
