//! The data of records, field by field.
//!
//! [`form`] says which fields a type has, [`Fields`] reads them, [`write`](mod@write) makes them
//! text. A type that is not in the table is one field of bytes.

#![deny(clippy::arithmetic_side_effects)]

mod form;
mod svcb;
mod type_bitmap;
mod write;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use form::Kind;
pub use svcb::{Param, Params};
pub use type_bitmap::Types;
pub(super) use write::write;

use super::codes::RecordType;
use super::name::Name;
use super::reader::{CUT, Reader};
use crate::error::{Error, Fault};

/// A field of a record's data.
#[derive(Debug, Clone)]
pub enum Field<'b> {
    /// An IP address.
    Address(IpAddr),
    /// A name.
    Name(Name<'b>),
    /// A number of up to 32 bits.
    Number(u32),
    /// The type of a record that is signed or announced.
    Type(RecordType),
    /// Seconds since 1970, modulo 2³² (RFC 4034 §3.1.5).
    Time(u32),
    /// Text, written in quotes.
    Text(&'b [u8]),
    /// Text, written as it is: a tag of letters and digits.
    Word(&'b [u8]),
    /// Bytes, written as hexadecimal digits.
    Hex(&'b [u8]),
    /// A salt (RFC 5155 §3.3): hexadecimal digits, or `-` where there is none.
    Salt(&'b [u8]),
    /// Bytes, written in base 64.
    Base64(&'b [u8]),
    /// A hashed name (RFC 5155 §3.3), written in base 32.
    Base32(&'b [u8]),
    /// A hardware address (RFC 7043), or a locator (RFC 6742).
    Groups {
        /// Its bytes.
        bytes: &'b [u8],
        /// How many bytes stand together.
        size: usize,
        /// What stands between them.
        separator: char,
    },
    /// The types that a name has (RFC 4034 §4.1.2).
    Types(Types<'b>),
    /// The parameters of a service (RFC 9460 §2.2).
    Params(Params<'b>),
    /// Data of a type whose form is not known here.
    Unknown(&'b [u8]),
}

const LEFT_OVER: Error = Error::new(Fault::Malformed, "dns-rdata-too-long", "RFC 1035 §4.1.3");

/// The fields of a record's data. After an error there are no more.
#[derive(Debug, Clone)]
pub struct Fields<'b> {
    reader: Reader<'b>,
    kinds: &'static [Kind],
}

impl<'b> Fields<'b> {
    pub(super) fn new(kind: RecordType, reader: Reader<'b>) -> Self {
        Self {
            reader,
            kinds: form::of(kind),
        }
    }

    fn read(&mut self, kind: Kind) -> Result<Field<'b>, Error> {
        let reader = &mut self.reader;
        Ok(match kind {
            Kind::Ipv4 => {
                let bits = reader.u32()?;
                Field::Address(IpAddr::V4(Ipv4Addr::from_bits(bits)))
            }
            Kind::Ipv6 => {
                let bytes = reader.take(16)?.first_chunk::<16>().ok_or(CUT)?;
                Field::Address(IpAddr::V6(Ipv6Addr::from(*bytes)))
            }
            Kind::Name => Field::Name(reader.name()?),
            Kind::U8 => Field::Number(reader.u8()?.into()),
            Kind::U16 => Field::Number(reader.u16()?.into()),
            Kind::U32 => Field::Number(reader.u32()?),
            Kind::Type => Field::Type(RecordType(reader.u16()?)),
            Kind::Time => Field::Time(reader.u32()?),
            Kind::Text | Kind::Texts => Field::Text(reader.string()?),
            Kind::TextRest => Field::Text(reader.rest()),
            Kind::Word => Field::Word(word(reader.string()?)?),
            Kind::Hex => Field::Hex(reader.rest()),
            Kind::Salt => Field::Salt(reader.string()?),
            Kind::Base64 => Field::Base64(reader.rest()),
            Kind::Base32 => Field::Base32(reader.string()?),
            Kind::Dashed(count) => Field::Groups {
                bytes: reader.take(count)?,
                size: 1,
                separator: '-',
            },
            Kind::Locator => Field::Groups {
                bytes: reader.take(8)?,
                size: 2,
                separator: ':',
            },
            Kind::Types => Field::Types(Types::read(reader.rest())?),
            Kind::Params => Field::Params(Params::read(reader.rest())?),
            Kind::Unknown => Field::Unknown(reader.rest()),
        })
    }
}

/// A property tag (RFC 8659 §4.1): text that can stand without quotes.
fn word(bytes: &[u8]) -> Result<&[u8], Error> {
    const TAG: Error = Error::new(Fault::Malformed, "dns-caa-tag", "RFC 8659 §4.1");
    let is_tag = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_alphanumeric);
    is_tag.then_some(bytes).ok_or(TAG)
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<Field<'b>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some((kind, kinds)) = self.kinds.split_first() else {
            if self.reader.is_at_end() {
                return None;
            }
            self.reader.rest();
            return Some(Err(LEFT_OVER));
        };
        let field = self.read(*kind);
        if field.is_err() {
            self.kinds = &[];
            self.reader.rest();
        } else if *kind != Kind::Texts || self.reader.is_at_end() {
            self.kinds = kinds;
        }
        Some(field)
    }
}
