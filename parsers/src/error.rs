//! One error for all parsers: what kind of fault, which rule, where the rule comes from.

/// Input that cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{rule} ({section})")]
pub struct Error {
    /// Who is at fault, and how it is answered.
    pub fault: Fault,
    /// Stable name of the rule that was broken, such as `several-content-lengths`.
    pub rule: &'static str,
    /// Where the rule is written, such as `RFC 9112 §6.3`.
    pub section: &'static str,
}

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Two implementations could read it differently.
    Ambiguous,
    /// No implementation should read it.
    Malformed,
    /// These bytes are another protocol.
    NotThisProtocol,
    /// A limit was passed.
    TooLarge,
    /// The stream ended inside a message.
    Truncated,
    /// Well-formed, but nothing that we let through.
    Unsupported,
}

impl Error {
    pub(crate) const fn new(fault: Fault, rule: &'static str, section: &'static str) -> Self {
        Self {
            fault,
            rule,
            section,
        }
    }

    /// The status a refusing proxy answers with.
    pub fn status(&self) -> u16 {
        match self.fault {
            Fault::Ambiguous | Fault::Malformed | Fault::NotThisProtocol | Fault::Truncated => 400,
            Fault::TooLarge => 431,
            Fault::Unsupported => 501,
        }
    }
}
