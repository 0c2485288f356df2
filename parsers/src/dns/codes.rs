//! Numbers and their names, as IANA registers them
//! (<https://www.iana.org/assignments/dns-parameters>).

use std::fmt;

/// Numbers of one registry: a constant and a name for each that is assigned.
macro_rules! registry {
    (
        $(#[$doc:meta])*
        $kind:ident($number:ty) { $($constant:ident = $value:literal $name:literal,)* }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $kind(pub $number);

        impl $kind {
            $(
                #[doc = concat!("`", $name, "`")]
                pub const $constant: Self = Self($value);
            )*

            /// Every number that has a name, in the registry's order.
            pub const NAMED: &'static [Self] = &[$(Self($value)),*];

            /// Its registered name.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

registry! {
    /// What a record tells, or a question asks for. Written by name, unknown ones as `TYPE123`
    /// (RFC 3597 §5).
    RecordType(u16) {
        A = 1 "A",
        NS = 2 "NS",
        MD = 3 "MD",
        MF = 4 "MF",
        CNAME = 5 "CNAME",
        SOA = 6 "SOA",
        MB = 7 "MB",
        MG = 8 "MG",
        MR = 9 "MR",
        NULL = 10 "NULL",
        WKS = 11 "WKS",
        PTR = 12 "PTR",
        HINFO = 13 "HINFO",
        MINFO = 14 "MINFO",
        MX = 15 "MX",
        TXT = 16 "TXT",
        RP = 17 "RP",
        AFSDB = 18 "AFSDB",
        X25 = 19 "X25",
        ISDN = 20 "ISDN",
        RT = 21 "RT",
        NSAP = 22 "NSAP",
        NSAP_PTR = 23 "NSAP-PTR",
        SIG = 24 "SIG",
        KEY = 25 "KEY",
        PX = 26 "PX",
        GPOS = 27 "GPOS",
        AAAA = 28 "AAAA",
        LOC = 29 "LOC",
        NXT = 30 "NXT",
        EID = 31 "EID",
        NIMLOC = 32 "NIMLOC",
        SRV = 33 "SRV",
        ATMA = 34 "ATMA",
        NAPTR = 35 "NAPTR",
        KX = 36 "KX",
        CERT = 37 "CERT",
        A6 = 38 "A6",
        DNAME = 39 "DNAME",
        SINK = 40 "SINK",
        OPT = 41 "OPT",
        APL = 42 "APL",
        DS = 43 "DS",
        SSHFP = 44 "SSHFP",
        IPSECKEY = 45 "IPSECKEY",
        RRSIG = 46 "RRSIG",
        NSEC = 47 "NSEC",
        DNSKEY = 48 "DNSKEY",
        DHCID = 49 "DHCID",
        NSEC3 = 50 "NSEC3",
        NSEC3PARAM = 51 "NSEC3PARAM",
        TLSA = 52 "TLSA",
        SMIMEA = 53 "SMIMEA",
        HIP = 55 "HIP",
        NINFO = 56 "NINFO",
        RKEY = 57 "RKEY",
        TALINK = 58 "TALINK",
        CDS = 59 "CDS",
        CDNSKEY = 60 "CDNSKEY",
        OPENPGPKEY = 61 "OPENPGPKEY",
        CSYNC = 62 "CSYNC",
        ZONEMD = 63 "ZONEMD",
        SVCB = 64 "SVCB",
        HTTPS = 65 "HTTPS",
        DSYNC = 66 "DSYNC",
        HHIT = 67 "HHIT",
        BRID = 68 "BRID",
        SPF = 99 "SPF",
        UINFO = 100 "UINFO",
        UID = 101 "UID",
        GID = 102 "GID",
        UNSPEC = 103 "UNSPEC",
        NID = 104 "NID",
        L32 = 105 "L32",
        L64 = 106 "L64",
        LP = 107 "LP",
        EUI48 = 108 "EUI48",
        EUI64 = 109 "EUI64",
        NXNAME = 128 "NXNAME",
        TKEY = 249 "TKEY",
        TSIG = 250 "TSIG",
        IXFR = 251 "IXFR",
        AXFR = 252 "AXFR",
        MAILB = 253 "MAILB",
        MAILA = 254 "MAILA",
        ANY = 255 "ANY",
        URI = 256 "URI",
        CAA = 257 "CAA",
        AVC = 258 "AVC",
        DOA = 259 "DOA",
        AMTRELAY = 260 "AMTRELAY",
        RESINFO = 261 "RESINFO",
        WALLET = 262 "WALLET",
        CLA = 263 "CLA",
        IPN = 264 "IPN",
        TA = 32768 "TA",
        DLV = 32769 "DLV",
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl RecordType {
    /// Whether only questions have it, never records (RFC 6895 §3.1).
    pub fn is_question_only(self) -> bool {
        (128..=248).contains(&self.0) || (251..=255).contains(&self.0)
    }
}

registry! {
    /// The class of a record or question. Written by name, unknown ones as `CLASS123` (RFC 3597 §5).
    Class(u16) {
        IN = 1 "IN",
        CH = 3 "CH",
        HS = 4 "HS",
        NONE = 254 "NONE",
        ANY = 255 "ANY",
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "CLASS{}", self.0),
        }
    }
}

impl Class {
    /// In multicast DNS the highest bit is none of the class's: in a question it asks for a unicast
    /// answer, in a record it tells to flush the cache (RFC 6762 §5.4, §10.2). Gives the class
    /// without it, and whether it is set.
    pub fn split_multicast(self) -> (Self, bool) {
        (Self(self.0 & 0x7fff), self.0 & 0x8000 != 0)
    }
}

registry! {
    /// What a message asks to be done. Written by name, unknown ones as their number.
    Opcode(u8) {
        QUERY = 0 "QUERY",
        IQUERY = 1 "IQUERY",
        STATUS = 2 "STATUS",
        NOTIFY = 4 "NOTIFY",
        UPDATE = 5 "UPDATE",
        DSO = 6 "DSO",
    }
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => self.0.fmt(f),
        }
    }
}

registry! {
    /// How a message was answered. Written by name, unknown ones as their number.
    Rcode(u16) {
        NOERROR = 0 "NOERROR",
        FORMERR = 1 "FORMERR",
        SERVFAIL = 2 "SERVFAIL",
        NXDOMAIN = 3 "NXDOMAIN",
        NOTIMP = 4 "NOTIMP",
        REFUSED = 5 "REFUSED",
        YXDOMAIN = 6 "YXDOMAIN",
        YXRRSET = 7 "YXRRSET",
        NXRRSET = 8 "NXRRSET",
        NOTAUTH = 9 "NOTAUTH",
        NOTZONE = 10 "NOTZONE",
        DSOTYPENI = 11 "DSOTYPENI",
        BADVERS = 16 "BADVERS",
        BADKEY = 17 "BADKEY",
        BADTIME = 18 "BADTIME",
        BADMODE = 19 "BADMODE",
        BADNAME = 20 "BADNAME",
        BADALG = 21 "BADALG",
        BADTRUNC = 22 "BADTRUNC",
        BADCOOKIE = 23 "BADCOOKIE",
    }
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => self.0.fmt(f),
        }
    }
}

impl Rcode {
    /// The words that Hubble's summaries have for it, letter by letter: `Server Failure ` ends with a
    /// blank there, and what has no words is `Unknown`.
    pub fn summary(self) -> &'static str {
        match self.0 {
            0 => "No Error",
            1 => "Format Error",
            2 => "Server Failure ",
            3 => "Non-Existent Domain",
            4 => "Not Implemented",
            5 => "Query Refused",
            6 => "Name Exists when it should not",
            7 => "RR Set Exists when it should not",
            8 => "RR Set that should exist does not",
            9 => "Server Not Authoritative for zone",
            10 => "Name not contained in zone",
            16 => "Bad OPT Version",
            17 => "Key not recognized",
            18 => "Signature out of time window",
            19 => "Bad TKEY Mode",
            20 => "Duplicate key name",
            21 => "Algorithm not supported",
            22 => "Bad Truncation",
            23 => "Bad Cookie",
            _ => "Unknown",
        }
    }
}
