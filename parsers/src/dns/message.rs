//! A message, read where it lies.

#![deny(clippy::arithmetic_side_effects)]

use super::codes::{Class, Opcode, Rcode, RecordType};
use super::edns::Edns;
use super::header::{Header, Section};
use super::name::Name;
use super::reader::Reader;
use super::record::Record;
use crate::error::{Error, Fault};

/// A DNS message.
///
/// Its names and lengths were all looked at when it was read. Where that met something broken, what
/// lies before is here to be used and [`Message::fault`] says what it was; the counts of the header
/// stay as written.
#[derive(Debug, Clone, Copy)]
pub struct Message<'b> {
    bytes: &'b [u8],
    header: Header,
    sections: [Span; 4],
    /// Where the OPT record begins.
    opt: Option<usize>,
    end: usize,
    fault: Option<Error>,
}

/// Where a section begins, and how many of its entries could be read.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: usize,
    read: u16,
}

impl Span {
    fn at(start: usize) -> Self {
        Self { start, read: 0 }
    }
}

const SHORT: Error = Error::new(Fault::Truncated, "dns-header-cut-short", "RFC 1035 §4.1.1");
const LONG: Error = Error::new(Fault::TooLarge, "dns-message-too-long", "RFC 1035 §4.2.2");
const SEVERAL_OPT: Error = Error::new(Fault::Ambiguous, "dns-several-opt", "RFC 6891 §6.1.1");
const OPT_OWNER: Error = Error::new(Fault::Malformed, "dns-opt-owner", "RFC 6891 §6.1.2");

impl<'b> Message<'b> {
    /// Longest message in bytes: what a length before it can say (RFC 1035 §4.2.2).
    pub const BYTES_MAX: usize = 65_535;

    /// Reads a message: a UDP payload, or what follows the length on a stream.
    ///
    /// # Errors
    /// Where there is no whole header, or more than a message can hold. What is wrong behind the
    /// header is told by [`Message::fault`].
    pub fn read(bytes: &'b [u8]) -> Result<Self, Error> {
        if bytes.len() > Self::BYTES_MAX {
            return Err(LONG);
        }
        let header = Header::read(bytes).ok_or(SHORT)?;
        let mut message = Self {
            bytes,
            header,
            sections: [Span::default(); 4],
            opt: None,
            end: Header::BYTES,
            fault: None,
        };
        if let Err(error) = message.read_sections() {
            message.fault = Some(error);
        }
        Ok(message)
    }

    fn read_sections(&mut self) -> Result<(), Error> {
        let mut reader = Reader::new(self.bytes, Header::BYTES, self.bytes.len());
        let mut late = Ok(());
        for section in Section::ALL {
            self.note_section(section, Span::at(reader.at()));
            for read in 1..=self.header.count(section) {
                let start = reader.at();
                if section == Section::Question {
                    Question::read(&mut reader)?;
                } else {
                    let record = Record::read(&mut reader)?;
                    late = late.and(self.note_record(section, &record, start));
                }
                self.end = reader.at();
                self.note_read(section, read);
            }
        }
        late
    }

    fn note_section(&mut self, section: Section, span: Span) {
        if let Some(place) = self.sections.get_mut(section.index()) {
            *place = span;
        }
    }

    fn note_read(&mut self, section: Section, read: u16) {
        if let Some(span) = self.sections.get_mut(section.index()) {
            span.read = read;
        }
    }

    /// Keeps the first OPT record.
    fn note_record(
        &mut self,
        section: Section,
        record: &Record<'_>,
        start: usize,
    ) -> Result<(), Error> {
        if section != Section::Additional || record.kind() != RecordType::OPT {
            return Ok(());
        }
        if !record.name().is_root() {
            return Err(OPT_OWNER);
        }
        if self.opt.is_some() {
            return Err(SEVERAL_OPT);
        }
        self.opt = Some(start);
        Ok(())
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The first thing behind the header that could not be read, or must not be as it is.
    pub fn fault(&self) -> Option<Error> {
        self.fault
    }

    /// All its bytes.
    pub fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// Bytes behind the last entry that could be read.
    pub fn trailing(&self) -> &'b [u8] {
        self.bytes.get(self.end..).unwrap_or_default()
    }

    /// The whole response code: four bits of the header, eight of the OPT record (RFC 6891 §6.1.3).
    pub fn rcode(&self) -> Rcode {
        let low = self.header.rcode().0;
        match self.edns() {
            Some(edns) => Rcode((u16::from(edns.extended_rcode()) << 4) | low),
            None => Rcode(low),
        }
    }

    /// Shorthand for the header's opcode.
    pub fn opcode(&self) -> Opcode {
        self.header.opcode()
    }

    /// How many entries of a section could be read.
    pub fn read_count(&self, section: Section) -> u16 {
        self.span(section).read
    }

    fn span(&self, section: Section) -> Span {
        self.sections
            .get(section.index())
            .copied()
            .unwrap_or_default()
    }

    fn reader(&self, span: Span) -> Reader<'b> {
        Reader::new(self.bytes, span.start, self.end)
    }

    /// The questions; of an update its zone.
    pub fn questions(&self) -> Questions<'b> {
        let span = self.span(Section::Question);
        Questions {
            reader: self.reader(span),
            left: span.read,
        }
    }

    /// The only question. None where there are several or none: an answer to several is not defined
    /// (RFC 9619 §4).
    pub fn question(&self) -> Option<Question<'b>> {
        if self.header.count(Section::Question) == 1 {
            self.questions().next()
        } else {
            None
        }
    }

    /// The records of a section; of [`Section::Question`] none.
    pub fn records(&self, section: Section) -> Records<'b> {
        let span = match section {
            Section::Question => Span::default(),
            Section::Answer | Section::Authority | Section::Additional => self.span(section),
        };
        Records {
            reader: self.reader(span),
            left: span.read,
        }
    }

    /// The answers.
    pub fn answers(&self) -> Records<'b> {
        self.records(Section::Answer)
    }

    /// What the sender can do beyond RFC 1035, and how (RFC 6891).
    pub fn edns(&self) -> Option<Edns<'b>> {
        let mut reader = Reader::new(self.bytes, self.opt?, self.end);
        Record::read_known(&mut reader).ok().map(Edns::new)
    }

    /// Where the questions end; behind the header if one of them could not be read.
    pub(super) fn questions_end(&self) -> usize {
        let is_whole = self.read_count(Section::Question) == self.header.count(Section::Question);
        match self.sections {
            [_, answers, _, _] if is_whole && answers.start != 0 => answers.start,
            _ => Header::BYTES,
        }
    }
}

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'b> {
    name: Name<'b>,
    kind: RecordType,
    class: Class,
}

impl<'b> Question<'b> {
    fn read(reader: &mut Reader<'b>) -> Result<Self, Error> {
        let name = reader.name()?;
        Self::read_behind(name, reader)
    }

    fn read_behind(name: Name<'b>, reader: &mut Reader<'b>) -> Result<Self, Error> {
        Ok(Self {
            name,
            kind: RecordType(reader.u16()?),
            class: Class(reader.u16()?),
        })
    }

    /// The name that is asked about.
    pub fn name(&self) -> Name<'b> {
        self.name
    }

    /// The type of record that is asked for.
    pub fn kind(&self) -> RecordType {
        self.kind
    }

    /// The class as written; see [`Class::split_multicast`].
    pub fn class(&self) -> Class {
        self.class
    }
}

/// The questions of a message that could be read.
#[derive(Debug, Clone)]
pub struct Questions<'b> {
    reader: Reader<'b>,
    left: u16,
}

impl<'b> Iterator for Questions<'b> {
    type Item = Question<'b>;

    fn next(&mut self) -> Option<Question<'b>> {
        self.left = self.left.checked_sub(1)?;
        let name = self.reader.known_name().ok()?;
        Question::read_behind(name, &mut self.reader).ok()
    }
}

/// The records of a section that could be read.
#[derive(Debug, Clone)]
pub struct Records<'b> {
    reader: Reader<'b>,
    left: u16,
}

impl<'b> Iterator for Records<'b> {
    type Item = Record<'b>;

    fn next(&mut self) -> Option<Record<'b>> {
        self.left = self.left.checked_sub(1)?;
        Record::read_known(&mut self.reader).ok()
    }
}
