//! Messages of two programs, compared with all their fields.

use std::collections::HashMap;

use serde_json::Value;

use super::order;

/// What messages are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Protocol {
    Http1,
    Http2,
    Grpc,
    Dns,
}

impl Protocol {
    const ALL: [Self; 4] = [Self::Http1, Self::Http2, Self::Grpc, Self::Dns];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Grpc => "grpc",
            Self::Dns => "dns",
        }
    }
}

/// One protocol of one capture.
pub(super) struct Difference {
    pub(super) protocol: Protocol,
    pub(super) truth: usize,
    pub(super) soft: usize,
    pub(super) seen: usize,
    pub(super) missing: Vec<String>,
    pub(super) invented: Vec<String>,
    /// Seen, but before or behind others of the same direction.
    pub(super) moved: Vec<String>,
}

impl Difference {
    pub(super) fn is_different(&self) -> bool {
        !self.missing.is_empty() || !self.invented.is_empty()
    }

    pub(super) fn is_out_of_order(&self) -> bool {
        !self.moved.is_empty()
    }

    pub(super) fn size(&self) -> usize {
        self.missing.len() + self.invented.len() + self.moved.len()
    }
}

/// Notes of the other program that it is not sure of a message, or has told it already.
const SOFT: [&str; 7] = [
    "partial",
    "mal",
    "gap",
    "hpack_unknown",
    "snap",
    "retx",
    "dup",
];

/// Fields of each kind that must agree.
fn fields(kind: &str) -> &'static [&'static str] {
    match kind {
        "http1.request" => &["method", "uri", "version", "host", "headers"],
        "http1.response" => &["status", "reason", "version", "headers"],
        "http2.request" => &[
            "sid",
            "method",
            "scheme",
            "authority",
            "path",
            "grpc",
            "end_stream",
            "headers",
        ],
        "http2.response" => &["sid", "status", "grpc", "end_stream", "headers"],
        "http2.trailers" => &[
            "sid",
            "grpc_status",
            "grpc_message",
            "end_stream",
            "headers",
        ],
        "http2.push" => &["sid", "promised", "headers"],
        "http2.rst" => &["sid", "error"],
        "http2.goaway" => &["error", "last"],
        "grpc.message" => &["sid", "len", "compressed"],
        "dns.query" => &["id", "opcode", "flags", "counts", "qd", "an"],
        "dns.response" => &["id", "opcode", "rcode", "flags", "counts", "qd", "an"],
        _ => &[],
    }
}

pub(super) struct Message {
    pub(super) protocol: Protocol,
    /// Kind, ends and fields.
    pub(super) whole: String,
    /// Kind and ends.
    place: String,
    /// Transport and ends: what goes one way has an order.
    pub(super) direction: String,
    pub(super) is_soft: bool,
}

fn read(text: &str) -> Vec<Message> {
    text.lines().filter_map(message).collect()
}

fn message(line: &str) -> Option<Message> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let kind = value.get("k")?.as_str()?;
    let protocol = Protocol::ALL
        .into_iter()
        .find(|protocol| kind.split('.').next() == Some(protocol.name()))?;
    // Multicast names are not in the truth.
    if value.get("proto").is_some() {
        return None;
    }
    let ends = format!("{} {}", address(text("src")), address(text("dst")));
    let place = format!("{kind} {ends}");
    let mut whole = place.clone();
    for field in fields(kind) {
        whole.push(' ');
        whole.push_str(&normal(value.get(field)).to_string());
    }
    let is_soft = SOFT.iter().any(|note| value.get(note).is_some());
    Some(Message {
        protocol,
        whole,
        place,
        direction: format!("{} {ends}", text("l4")),
        is_soft,
    })
}

/// IPv4 in IPv6's clothes is IPv4.
fn address(text: &str) -> String {
    match text.strip_prefix("[::ffff:") {
        Some(rest) if rest.contains('.') => rest.replace("]:", ":"),
        Some(_) | None => text.to_owned(),
    }
}

/// Nothing and null are the same, and types of records are compared by number where one of both has
/// no name for them.
fn normal(value: Option<&Value>) -> Value {
    match value {
        Some(Value::Array(items)) => items.iter().map(|item| normal(Some(item))).collect(),
        Some(Value::Object(fields)) => {
            let mut fields = fields.clone();
            if let Some(kind) = fields.get_mut("type")
                && let Some(number) = kind.as_str().and_then(number_of)
            {
                *kind = number.into();
            }
            Value::Object(fields)
        }
        Some(value) => value.clone(),
        None => Value::Null,
    }
}

/// Numbers of the types that the other program does not name.
fn number_of(name: &str) -> Option<u64> {
    const NUMBERS: [(&str, u64); 30] = [
        ("MD", 3),
        ("MF", 4),
        ("MB", 7),
        ("MG", 8),
        ("MR", 9),
        ("NULL", 10),
        ("WKS", 11),
        ("MINFO", 14),
        ("RP", 17),
        ("AFSDB", 18),
        ("X25", 19),
        ("ISDN", 20),
        ("RT", 21),
        ("NSAP", 22),
        ("PX", 26),
        ("LOC", 29),
        ("NXT", 30),
        ("KX", 36),
        ("A6", 38),
        ("SINK", 40),
        ("APL", 42),
        ("IPSECKEY", 45),
        ("DHCID", 49),
        ("SMIMEA", 53),
        ("HIP", 55),
        ("OPENPGPKEY", 61),
        ("CSYNC", 62),
        ("URI", 256),
        ("TA", 32768),
        ("DLV", 32769),
    ];
    let found = NUMBERS.iter().find(|(known, _)| *known == name);
    found.map(|(_, number)| *number)
}

/// Compares two programs' messages of one capture.
pub(super) fn compare(truth: &str, seen: &str) -> Vec<Difference> {
    let (truth, seen) = (read(truth), read(seen));
    let mut moved = order::moved(&truth, &seen);
    let mut differences = Vec::new();
    for protocol in Protocol::ALL {
        let of = |message: &&Message| message.protocol == protocol;
        let truth: Vec<&Message> = truth.iter().filter(of).collect();
        let seen: Vec<&Message> = seen.iter().filter(of).collect();
        if truth.is_empty() && seen.is_empty() {
            continue;
        }
        let mut difference = difference(protocol, &truth, &seen);
        difference.moved = moved.remove(&protocol).unwrap_or_default();
        differences.push(difference);
    }
    differences
}

fn difference(protocol: Protocol, truth: &[&Message], seen: &[&Message]) -> Difference {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for message in seen {
        *left.entry(&message.whole).or_default() += 1;
    }
    let mut take = |whole: &str| match left.get_mut(whole) {
        Some(count @ 1..) => {
            *count -= 1;
            true
        }
        Some(_) | None => false,
    };
    let hard = truth.iter().filter(|message| !message.is_soft);
    let missing: Vec<String> = hard
        .clone()
        .filter(|message| !take(&message.whole))
        .map(|message| message.whole.clone())
        .collect();
    // What is soft may be there in another form, but not more often.
    let mut allowed: HashMap<&str, usize> = HashMap::new();
    for message in truth.iter().filter(|message| message.is_soft) {
        if !take(&message.whole) {
            *allowed.entry(&message.place).or_default() += 1;
        }
    }
    let mut invented = Vec::new();
    for message in seen {
        let Some(count @ 1..) = left.get_mut(message.whole.as_str()) else {
            continue;
        };
        *count -= 1;
        match allowed.get_mut(message.place.as_str()) {
            Some(count @ 1..) => *count -= 1,
            Some(_) | None => invented.push(message.whole.clone()),
        }
    }
    let hard = hard.count();
    Difference {
        protocol,
        truth: hard,
        soft: truth.len() - hard,
        seen: seen.len(),
        missing,
        invented,
        moved: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &str = r#"{"k":"dns.query","src":"[::ffff:10.0.0.1]:5","dst":"10.0.0.2:53","id":7,"qd":[{"name":"a","type":17}]}"#;
    const SEEN: &str = r#"{"k":"dns.query","src":"10.0.0.1:5","dst":"10.0.0.2:53","id":7,"qd":[{"name":"a","type":"RP"}]}"#;

    #[test]
    fn the_same_message_in_other_words_is_the_same() {
        let differences = compare(ASKED, SEEN);
        assert_eq!(differences.len(), 1);
        assert!(!differences[0].is_different());
        assert_eq!((differences[0].truth, differences[0].seen), (1, 1));
    }

    #[test]
    fn what_is_missing_and_what_is_invented_is_told() {
        let other = SEEN.replace("\"id\":7", "\"id\":8");
        let differences = compare(ASKED, &other);
        assert_eq!(differences[0].missing.len(), 1);
        assert_eq!(differences[0].invented.len(), 1);
        let soft = ASKED.replace("\"id\":7", "\"id\":7,\"mal\":true");
        assert!(!compare(&soft, &other)[0].is_different());
        assert!(!compare(&soft, "")[0].is_different());
        assert!(compare("", SEEN)[0].is_different());
    }

    #[test]
    fn order_counts_in_each_direction() {
        let second = SEEN.replace("\"id\":7", "\"id\":8");
        let back = SEEN.replace("10.0.0.1:5", "10.0.0.3:5");
        let truth = [SEEN, &second, &back].join("\n");
        let seen = [&back, &second, SEEN].join("\n");
        let differences = compare(&truth, &seen);
        assert!(!differences[0].is_different());
        assert_eq!(differences[0].moved.len(), 1);
        let across = [&back, SEEN, &second].join("\n");
        assert!(!compare(&truth, &across)[0].is_out_of_order());
        let soft = second.replace("\"id\":8", "\"id\":8,\"mal\":true");
        let truth = [SEEN, &soft].join("\n");
        let seen = [&second, SEEN].join("\n");
        assert!(!compare(&truth, &seen)[0].is_out_of_order());
    }
}
