//! The twelve bytes every message begins with (RFC 1035 §4.1.1, RFC 2535 §6.1).

use super::codes::{Opcode, Rcode};

/// The fixed part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    id: u16,
    flags: u16,
    counts: [u16; 4],
}

/// The parts of a message behind its header, in their order. Updates (RFC 2136 §2) use them in another
/// sense: see [`Section::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Section {
    /// What is asked; of an update the zone.
    Question,
    /// What answers it; of an update the prerequisites.
    Answer,
    /// Who would know; of an update what to add and delete.
    Authority,
    /// What may help.
    Additional,
}

impl Section {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [
        Self::Question,
        Self::Answer,
        Self::Authority,
        Self::Additional,
    ];

    /// What messages with that opcode call it.
    pub fn name(self, opcode: Opcode) -> &'static str {
        match (self, opcode) {
            (Self::Question, Opcode::UPDATE) => "zone",
            (Self::Answer, Opcode::UPDATE) => "prerequisite",
            (Self::Authority, Opcode::UPDATE) => "update",
            (Self::Question, _) => "question",
            (Self::Answer, _) => "answer",
            (Self::Authority, _) => "authority",
            (Self::Additional, _) => "additional",
        }
    }

    pub(super) fn index(self) -> usize {
        match self {
            Self::Question => 0,
            Self::Answer => 1,
            Self::Authority => 2,
            Self::Additional => 3,
        }
    }
}

impl Header {
    /// Its length in bytes.
    pub const BYTES: usize = 12;

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (words, _) = bytes.first_chunk::<{ Self::BYTES }>()?.as_chunks::<2>();
        let [id, flags, questions, answers, authorities, additionals] = words else {
            return None;
        };
        let word = |bytes: &[u8; 2]| u16::from_be_bytes(*bytes);
        Some(Self {
            id: word(id),
            flags: word(flags),
            counts: [questions, answers, authorities, additionals].map(word),
        })
    }

    fn has(&self, bit: u16) -> bool {
        self.flags & bit != 0
    }

    /// Which question an answer belongs to.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// The second word as written: all flags, the opcode and four bits of the response code.
    pub fn flags(&self) -> u16 {
        self.flags
    }

    /// QR: a response, not a query.
    pub fn is_response(&self) -> bool {
        self.has(0x8000)
    }

    /// What is to be done.
    pub fn opcode(&self) -> Opcode {
        let [high, _] = self.flags.to_be_bytes();
        Opcode((high >> 3) & 0xf)
    }

    /// AA: from a server that is an authority for the name. (LLMNR: conflict, RFC 4795 §2.1.1.)
    pub fn is_authoritative(&self) -> bool {
        self.has(0x0400)
    }

    /// TC: more did not fit.
    pub fn is_truncated(&self) -> bool {
        self.has(0x0200)
    }

    /// RD: the server is to ask others.
    pub fn is_recursion_desired(&self) -> bool {
        self.has(0x0100)
    }

    /// RA: the server would ask others.
    pub fn is_recursion_available(&self) -> bool {
        self.has(0x0080)
    }

    /// Z: the bit that must be zero.
    pub fn is_reserved_set(&self) -> bool {
        self.has(0x0040)
    }

    /// AD: the server has checked the signatures (RFC 4035 §3.2.3).
    pub fn is_authentic_data(&self) -> bool {
        self.has(0x0020)
    }

    /// CD: the server is not to check signatures (RFC 4035 §3.2.2).
    pub fn is_checking_disabled(&self) -> bool {
        self.has(0x0010)
    }

    /// The four bits of the response code that are in the header; [`super::Message::rcode`] has all.
    pub fn rcode(&self) -> Rcode {
        Rcode(self.flags & 0xf)
    }

    /// How many entries a section has, as written.
    pub fn count(&self, section: Section) -> u16 {
        let [question, answer, authority, additional] = self.counts;
        match section {
            Section::Question => question,
            Section::Answer => answer,
            Section::Authority => authority,
            Section::Additional => additional,
        }
    }
}
