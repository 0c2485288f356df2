//! Resource records.

#![deny(clippy::arithmetic_side_effects)]

use std::fmt;
use std::net::IpAddr;

use super::codes::{Class, RecordType};
use super::name::Name;
use super::rdata::{self, Fields};
use super::reader::Reader;
use crate::error::Error;

/// A resource record (RFC 1035 §4.1.3).
#[derive(Debug, Clone, Copy)]
pub struct Record<'b> {
    name: Name<'b>,
    kind: RecordType,
    class: Class,
    ttl: u32,
    /// The message up to the end of the record's data, because names in the data point back into it.
    message: &'b [u8],
    data: &'b [u8],
}

impl<'b> Record<'b> {
    pub(super) fn read(reader: &mut Reader<'b>) -> Result<Self, Error> {
        let name = reader.name()?;
        Self::read_behind(name, reader)
    }

    /// Reads a record that [`Record::read`] took before.
    pub(super) fn read_known(reader: &mut Reader<'b>) -> Result<Self, Error> {
        let name = reader.known_name()?;
        Self::read_behind(name, reader)
    }

    fn read_behind(name: Name<'b>, reader: &mut Reader<'b>) -> Result<Self, Error> {
        let kind = RecordType(reader.u16()?);
        let class = Class(reader.u16()?);
        let ttl = reader.u32()?;
        let length = reader.u16()?;
        let data = reader.take(usize::from(length))?;
        Ok(Self {
            name,
            kind,
            class,
            ttl,
            message: reader.behind(),
            data,
        })
    }

    /// Whom it is about.
    pub fn name(&self) -> Name<'b> {
        self.name
    }

    /// What it tells.
    pub fn kind(&self) -> RecordType {
        self.kind
    }

    /// The class as written; see [`Class::split_multicast`]. Of an OPT record it is a size.
    pub fn class(&self) -> Class {
        self.class
    }

    /// For how many seconds it may be kept, as written: a number with the highest bit set counts as
    /// zero (RFC 2181 §8). Of an OPT record it is flags.
    pub fn ttl(&self) -> u32 {
        self.ttl
    }

    /// Its data as they lie there; names in them may be compressed.
    pub fn data(&self) -> &'b [u8] {
        self.data
    }

    /// Its data field by field; of types whose form is not known one field, all bytes.
    pub fn fields(&self) -> Fields<'b> {
        let start = self.message.len().saturating_sub(self.data.len());
        let reader = Reader::new(self.message, start, self.message.len());
        Fields::new(self.kind, reader)
    }

    /// The address that an A (RFC 1035 §3.4.1) or AAAA record (RFC 3596 §2.2) tells.
    pub fn address(&self) -> Option<IpAddr> {
        match self.kind {
            RecordType::A => <[u8; 4]>::try_from(self.data).ok().map(IpAddr::from),
            RecordType::AAAA => <[u8; 16]>::try_from(self.data).ok().map(IpAddr::from),
            _ => None,
        }
    }

    /// The name in its data: what a CNAME, DNAME, NS, PTR, MX, SRV, SVCB or HTTPS record leads to,
    /// the first name of others.
    pub fn target(&self) -> Option<Name<'b>> {
        self.fields().find_map(|field| match field {
            Ok(rdata::Field::Name(name)) => Some(name),
            Ok(_) | Err(_) => None,
        })
    }

    /// Its data as a master file writes them; what is broken, or has no form of its own here, as
    /// bytes: `\# 2 ABCD` (RFC 3597 §5).
    pub fn text(&self) -> DataText<'b> {
        DataText(*self)
    }
}

/// The data of a record as text.
#[derive(Debug, Clone, Copy)]
pub struct DataText<'b>(Record<'b>);

impl fmt::Display for DataText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        rdata::write(&self.0, f)
    }
}
