//! HPACK, the header compression of HTTP/2 (RFC 7541).
//!
//! ```text
//!   header block ──▶ Decoder ──▶ HeaderList (borrowed) ──▶ Encoder ──▶ header block
//!                      │                                     │
//!                    its table                             its own
//! ```
//!
//! A [`Decoder`] mirrors the table of one sender, so it must see every block of that direction, in
//! order and whole. Where a capture began in the middle, or a piece is missing, entries that were
//! not seen are told as unknown ([`Field::is_unknown`]) and never guessed. An [`Encoder`] is
//! independent of any decoder: whoever leaves out or changes a message encodes all that follow anew.

mod decode;
mod encode;
mod field;
mod huffman;
mod integer;
mod table;

pub use decode::Decoder;
pub use encode::Encoder;
pub(crate) use field::{Class, FieldRef, Marks};
use table::Table;

/// Size of a dynamic table unless settings say otherwise, in bytes (RFC 9113 §6.5.2).
pub const DEFAULT_TABLE_BYTES: u32 = 4096;

/// One header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'d> {
    /// Name as sent; empty if it is not known.
    pub name: &'d [u8],
    /// Value as sent; empty if it is not known.
    pub value: &'d [u8],
    /// Whoever passes it on must send it as a literal that is never indexed (RFC 7541 §6.2.3).
    pub is_never_indexed: bool,
    /// Its name, or its name and value, were sent before the capture began or in a piece that is
    /// missing.
    pub is_unknown: bool,
}

impl<'d> Field<'d> {
    /// A field to be sent.
    pub fn new(name: &'d [u8], value: &'d [u8]) -> Self {
        Self {
            name,
            value,
            is_never_indexed: false,
            is_unknown: false,
        }
    }

    /// The bytes of a value that gRPC sends as they are, behind a NUL, instead of in base64: in fields
    /// whose name ends with `-bin`, where both sides have offered it.
    pub fn raw_value(&self) -> Option<&'d [u8]> {
        let is_raw = field::is_grpc_binary(self.name, self.value);
        is_raw.then(|| self.value.get(1..).unwrap_or_default())
    }

    /// A secret to be sent (RFC 7541 §7.1.3).
    pub fn never_indexed(name: &'d [u8], value: &'d [u8]) -> Self {
        Self {
            is_never_indexed: true,
            ..Self::new(name, value)
        }
    }
}

/// The fields of a block, borrowed from the decoder that read it.
#[derive(Debug, Clone, Copy)]
pub struct HeaderList<'d> {
    refs: &'d [FieldRef],
    table: &'d Table,
    bytes: usize,
    is_truncated: bool,
}

impl<'d> HeaderList<'d> {
    /// Fields, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Field<'d>> + Clone + use<'d> {
        let list = *self;
        self.refs.iter().map(move |field| list.field(field))
    }

    /// Fields in the list.
    pub fn len(&self) -> usize {
        self.refs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.refs.is_empty()
    }

    /// Size of all fields that were sent, in the sense of `SETTINGS_MAX_HEADER_LIST_SIZE`
    /// (RFC 9113 §6.5.2).
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether fields are left out, because together they are longer than the limit.
    pub fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    pub(crate) fn refs(&self) -> &'d [FieldRef] {
        self.refs
    }

    pub(crate) fn field(&self, field: &FieldRef) -> Field<'d> {
        Field {
            name: self.table.text(field.name),
            value: self.table.text(field.value),
            is_never_indexed: field.marks.has(Marks::NEVER_INDEXED),
            is_unknown: field
                .marks
                .has(Marks::UNKNOWN_NAME.with(Marks::UNKNOWN_VALUE)),
        }
    }
}

#[cfg(test)]
mod tests;
