//! Header blocks → messages (RFC 9113 §8): pseudo-header fields, and what makes a message malformed.

use crate::error::{Error, Fault};
use crate::hpack::{Class, Field, FieldRef, HeaderList, Marks};

/// What a header block stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// RFC 9113 §8.3.1.
    Request,
    /// RFC 9113 §8.3.2.
    Response,
    /// RFC 9113 §8.1.
    Trailers,
}

/// The fields of a message, borrowed from the table of their direction.
#[derive(Debug, Clone, Copy)]
pub struct Head<'c> {
    list: HeaderList<'c>,
    findings: &'c Findings,
}

/// What a look at the fields found: where the pseudo-header fields are, and what is wrong.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, not a state"
)]
pub struct Findings {
    // Places in the list.
    method: Option<u32>,
    scheme: Option<u32>,
    authority: Option<u32>,
    path: Option<u32>,
    protocol: Option<u32>,
    host: Option<u32>,
    status: Option<u16>,
    content_length: Option<u64>,
    is_connect: bool,
    pub(super) is_head: bool,
    is_last: bool,
    has_unknown: bool,
    fault: Option<Error>,
}

const fn malformed(rule: &'static str, section: &'static str) -> Error {
    Error::new(Fault::Malformed, rule, section)
}

const FIELDS: &str = "RFC 9113 §8.2.1";
const PSEUDO: &str = "RFC 9113 §8.3";
const REQUEST: &str = "RFC 9113 §8.3.1";
const RESPONSE: &str = "RFC 9113 §8.3.2";

impl<'c> Head<'c> {
    /// The fields of a list, with what was found in that list.
    pub fn new(list: HeaderList<'c>, findings: &'c Findings) -> Self {
        Self { list, findings }
    }

    /// `:method`.
    pub fn method(&self) -> Option<&'c [u8]> {
        self.value(self.findings.method)
    }

    /// `:scheme`.
    pub fn scheme(&self) -> Option<&'c [u8]> {
        self.value(self.findings.scheme)
    }

    /// Who is asked: `:authority`, else Host (RFC 9113 §8.3.1).
    pub fn authority(&self) -> Option<&'c [u8]> {
        self.value(self.findings.authority.or(self.findings.host))
    }

    /// `:path`: path and query.
    pub fn path(&self) -> Option<&'c [u8]> {
        self.value(self.findings.path)
    }

    /// `:protocol` of an extended CONNECT (RFC 8441 §4).
    pub fn protocol(&self) -> Option<&'c [u8]> {
        self.value(self.findings.protocol)
    }

    /// `:status`, if it is a number of three digits.
    pub fn status(&self) -> Option<u16> {
        self.findings.status
    }

    /// Whether it asks for a tunnel, extended or not.
    pub fn is_connect(&self) -> bool {
        self.findings.is_connect
    }

    /// Whether another response to the same request follows (RFC 9110 §15.2).
    pub fn is_interim(&self) -> bool {
        self.findings.is_interim()
    }

    /// Whether the message ends with it.
    pub fn is_last(&self) -> bool {
        self.findings.is_last
    }

    /// The length of the payload, if it was told.
    pub fn content_length(&self) -> Option<u64> {
        self.findings.content_length
    }

    /// Whether there are fields whose name or value is in a piece that was not seen.
    pub fn has_unknown(&self) -> bool {
        self.findings.has_unknown
    }

    /// What makes the message malformed, or readable in two ways; of several, the first.
    pub fn fault(&self) -> Option<Error> {
        self.findings.fault
    }

    /// Fields that are no pseudo-header fields, in order; unknown ones too.
    pub fn headers(&self) -> impl Iterator<Item = Field<'c>> + Clone + use<'c> {
        let list = self.list;
        let regular = list.refs().iter().filter(|field| !is_pseudo(field.class));
        regular.map(move |field| list.field(field))
    }

    /// The value of the first field of that name, which is in lower case.
    pub fn header(&self, name: &[u8]) -> Option<&'c [u8]> {
        let mut fields = self.list.iter();
        fields
            .find(|field| field.name == name)
            .map(|field| field.value)
    }

    /// All fields as sent.
    pub fn list(&self) -> HeaderList<'c> {
        self.list
    }

    fn value(&self, place: Option<u32>) -> Option<&'c [u8]> {
        let field = self.list.refs().get(usize::try_from(place?).ok()?)?;
        if field.marks.has(Marks::UNKNOWN_VALUE) {
            return None;
        }
        Some(self.list.field(field).value)
    }
}

fn is_pseudo(class: Class) -> bool {
    match class {
        Class::Authority
        | Class::Method
        | Class::Path
        | Class::Protocol
        | Class::Scheme
        | Class::Status
        | Class::UnknownPseudo => true,
        Class::Regular
        | Class::ConnectionSpecific
        | Class::ContentLength
        | Class::Host
        | Class::Te
        | Class::Unknown => false,
    }
}

/// What the pseudo-header fields say a block is; `None` if there is none that is known.
pub(super) fn role_by_fields(list: &HeaderList<'_>) -> Option<Role> {
    list.refs().iter().find_map(|field| match field.class {
        Class::Status => Some(Role::Response),
        Class::Authority | Class::Method | Class::Path | Class::Protocol | Class::Scheme => {
            Some(Role::Request)
        }
        Class::Regular
        | Class::ConnectionSpecific
        | Class::ContentLength
        | Class::Host
        | Class::Te
        | Class::UnknownPseudo
        | Class::Unknown => None,
    })
}

impl Findings {
    /// Looks at the fields of a whole header block, which ends its stream or not.
    pub fn new(list: &HeaderList<'_>, role: Role, is_last: bool) -> Self {
        let mut findings = Self {
            is_last,
            ..Self::default()
        };
        let mut is_past_pseudo = false;
        for (place, field) in (0_u32..).zip(list.refs()) {
            if field.marks != Marks::NONE {
                findings.see_marks(field.marks);
            }
            match field.class {
                Class::Regular => is_past_pseudo = true,
                class if is_pseudo(class) => {
                    if is_past_pseudo {
                        findings.blame(malformed("pseudo-header-after-fields", PSEUDO));
                    }
                    findings.see_pseudo(list, role, place, field);
                }
                class => {
                    // Whatever is unknown may be a pseudo-header field.
                    is_past_pseudo |= class != Class::Unknown;
                    findings.see_special(list, place, field);
                }
            }
        }
        if list.is_truncated() {
            findings.blame(Error::new(
                Fault::TooLarge,
                "header-list-too-long",
                "RFC 9113 §10.5.1",
            ));
        } else {
            findings.check_whole(list, role);
        }
        findings
    }

    pub(super) fn blame(&mut self, error: Error) {
        self.fault = self.fault.or(Some(error));
    }

    pub(super) fn is_interim(&self) -> bool {
        self.status.is_some_and(|code| (100..200).contains(&code))
    }

    /// The payload bytes that must follow, if that can be told (RFC 9113 §8.1.1).
    pub(super) fn expected_bytes(&self) -> Option<u64> {
        let has_none = matches!(self.status, Some(204 | 304)) || self.is_connect;
        self.content_length.filter(|_| !has_none)
    }

    fn see_marks(&mut self, marks: Marks) {
        if marks.has(Marks::BAD_NAME) {
            self.blame(malformed("bad-header-name", FIELDS));
        }
        if marks.has(Marks::BAD_VALUE) {
            self.blame(malformed("bad-header-value", FIELDS));
        }
        self.has_unknown |= marks.has(Marks::UNKNOWN_NAME.with(Marks::UNKNOWN_VALUE));
    }

    fn see_pseudo(&mut self, list: &HeaderList<'_>, role: Role, place: u32, field: &FieldRef) {
        let (slot, of) = match field.class {
            Class::Method => {
                let value = list.field(field).value;
                self.is_connect = value == b"CONNECT";
                self.is_head = value == b"HEAD";
                (&mut self.method, Role::Request)
            }
            Class::Path => (&mut self.path, Role::Request),
            Class::Scheme => (&mut self.scheme, Role::Request),
            Class::Authority => (&mut self.authority, Role::Request),
            Class::Protocol => (&mut self.protocol, Role::Request),
            Class::Status => {
                self.see_status(role, list.field(field).value);
                return;
            }
            Class::Regular
            | Class::ConnectionSpecific
            | Class::ContentLength
            | Class::Host
            | Class::Te
            | Class::Unknown
            | Class::UnknownPseudo => {
                self.blame(malformed("unknown-pseudo-header", PSEUDO));
                return;
            }
        };
        let is_first = slot.is_none();
        slot.get_or_insert(place);
        if role != of {
            self.blame(misplaced(role));
        } else if !is_first {
            self.blame(malformed("pseudo-header-twice", PSEUDO));
        }
    }

    fn see_status(&mut self, role: Role, value: &[u8]) {
        if role != Role::Response {
            self.blame(misplaced(role));
        } else if self.status.is_some() {
            self.blame(malformed("pseudo-header-twice", PSEUDO));
        } else if let [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] = value {
            let digits = value.iter().map(|digit| u16::from(digit - b'0'));
            self.status = Some(digits.fold(0, |code, digit| code * 10 + digit));
        } else {
            self.blame(malformed("bad-status", RESPONSE));
        }
    }

    fn see_special(&mut self, list: &HeaderList<'_>, place: u32, field: &FieldRef) {
        const CONNECTION: Error = malformed("connection-specific-field", "RFC 9113 §8.2.2");
        if field.marks.has(Marks::UNKNOWN_VALUE) {
            return;
        }
        let value = list.field(field).value;
        match field.class {
            Class::ConnectionSpecific => self.blame(CONNECTION),
            Class::Te if !value.eq_ignore_ascii_case(b"trailers") => self.blame(CONNECTION),
            Class::ContentLength => match (parse_length(value), self.content_length) {
                (None, _) => self.blame(malformed("bad-content-length", "RFC 9110 §8.6")),
                (Some(new), Some(old)) if new != old => {
                    self.blame(malformed("several-content-lengths", "RFC 9110 §8.6"));
                }
                (length, _) => self.content_length = length,
            },
            Class::Host => {
                if self.host.is_some() {
                    self.blame(malformed("several-hosts", "RFC 9110 §7.2"));
                }
                self.host.get_or_insert(place);
            }
            Class::Authority
            | Class::Method
            | Class::Path
            | Class::Protocol
            | Class::Regular
            | Class::Scheme
            | Class::Status
            | Class::Te
            | Class::Unknown
            | Class::UnknownPseudo => {}
        }
    }

    /// What can be said once all fields were seen. Where some are unknown, none is missing.
    fn check_whole(&mut self, list: &HeaderList<'_>, role: Role) {
        match role {
            Role::Request => self.check_request(list),
            Role::Response => {
                if self.status.is_none() && !self.has_unknown {
                    self.blame(malformed("no-status", RESPONSE));
                }
                if self.status == Some(101) {
                    self.blame(malformed("switching-protocols", "RFC 9113 §8.6"));
                }
                if self.is_interim() && self.is_last {
                    self.blame(malformed("interim-response-ends", "RFC 9113 §8.1"));
                }
            }
            Role::Trailers => {
                if !self.is_last {
                    self.blame(malformed("trailers-do-not-end", "RFC 9113 §8.1"));
                }
            }
        }
    }

    /// RFC 9113 §8.3.1, §8.5; RFC 8441 §4.
    fn check_request(&mut self, list: &HeaderList<'_>) {
        let is_missing = |place: Option<u32>, has_unknown: bool| place.is_none() && !has_unknown;
        if is_missing(self.method, self.has_unknown) {
            self.blame(malformed("no-method", REQUEST));
        }
        let is_plain_connect = self.is_connect && self.protocol.is_none();
        if is_plain_connect && !self.has_unknown {
            if self.scheme.is_some() || self.path.is_some() {
                self.blame(malformed("connect-with-path", "RFC 9113 §8.5"));
            }
            if self.authority.is_none() {
                self.blame(malformed("connect-without-authority", "RFC 9113 §8.5"));
            }
        } else {
            if is_missing(self.scheme, self.has_unknown) {
                self.blame(malformed("no-scheme", REQUEST));
            }
            if is_missing(self.path, self.has_unknown) {
                self.blame(malformed("no-path", REQUEST));
            }
            self.check_path(list);
        }
        if self.protocol.is_some() && !self.is_connect && !self.has_unknown {
            self.blame(malformed("protocol-without-connect", "RFC 8441 §4"));
        }
        let head = Head::new(*list, self);
        let authorities = (head.value(self.authority), head.value(self.host));
        if let (Some(authority), Some(host)) = authorities
            && !authority.eq_ignore_ascii_case(host)
        {
            self.blame(Error::new(
                Fault::Ambiguous,
                "host-differs-from-authority",
                REQUEST,
            ));
        }
    }

    /// A path starts with a slash, or asks of the server as a whole.
    fn check_path(&mut self, list: &HeaderList<'_>) {
        let head = Head::new(*list, self);
        let (Some(path), Some(scheme)) = (head.path(), head.scheme()) else {
            return;
        };
        let is_http = matches!(scheme, b"http" | b"https");
        let is_good = match path {
            [b'/', ..] => true,
            b"*" => head.method().is_none_or(|method| method == b"OPTIONS"),
            _ => !is_http,
        };
        if !is_good {
            self.blame(malformed("bad-path", REQUEST));
        }
    }
}

fn misplaced(role: Role) -> Error {
    if role == Role::Trailers {
        malformed("pseudo-header-in-trailers", PSEUDO)
    } else {
        malformed("misplaced-pseudo-header", PSEUDO)
    }
}

/// Digits only.
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}
