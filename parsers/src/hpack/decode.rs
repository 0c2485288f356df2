//! Header blocks → fields (RFC 7541 §3, §6).

#![deny(clippy::arithmetic_side_effects)]

use super::field::{
    Class, FieldRef, Marks, Span, classify, is_grpc_binary, name_marks, value_marks,
};
use super::table::{STATIC_ENTRIES, Table, static_field};
use super::{DEFAULT_TABLE_BYTES, HeaderList, huffman, integer};
use crate::error::{Error, Fault};
use crate::limits::Limits;

/// The table of one sender, followed block by block.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Decoder {
    table: Table,
    /// Of the block that was decoded last: nothing behind its event.
    #[serde(skip)]
    refs: Vec<FieldRef>,
    list_bytes: usize,
    list_limit: usize,
    /// What the settings allow the sender, and what our memory allows, in bytes.
    limit: usize,
    memory: usize,
    /// Older entries than those in the table may exist: they were not seen.
    has_unseen: bool,
    /// The size of the sender's table is known.
    is_size_known: bool,
    owes_update: bool,
}

const BAD_INDEX: Error = Error::new(Fault::Malformed, "index-out-of-table", "RFC 7541 §2.3.3");
const LATE_UPDATE: Error = Error::new(Fault::Malformed, "late-size-update", "RFC 7541 §4.2");
const LARGE_UPDATE: Error = Error::new(Fault::Malformed, "size-update-too-large", "RFC 7541 §6.3");
const LARGE_TABLE: Error = Error::new(Fault::TooLarge, "table-too-large", "RFC 7541 §7.3");

impl Decoder {
    /// For a sender whose blocks are all seen.
    pub fn new(limits: &Limits) -> Self {
        let limit = DEFAULT_TABLE_BYTES as usize;
        Self {
            table: Table::new(limit),
            refs: Vec::new(),
            list_bytes: 0,
            list_limit: limits.header_list_bytes,
            limit,
            memory: limits.hpack_table_bytes,
            has_unseen: false,
            is_size_known: true,
            owes_update: false,
        }
    }

    /// For a sender whose earlier blocks were not seen.
    pub fn mid_stream(limits: &Limits) -> Self {
        let mut decoder = Self::new(limits);
        decoder.forget();
        decoder
    }

    /// Blocks may have been missed. All entries become unknown; those that come are told again.
    pub fn forget(&mut self) {
        self.table.clear();
        self.has_unseen = true;
        self.is_size_known = false;
        self.owes_update = false;
        // Indices count from the newest entry: a table that is kept too large is never wrong.
        self.limit = self.memory;
        self.table.set_max(self.memory);
    }

    /// Sets what `SETTINGS_HEADER_TABLE_SIZE` allows the sender, from the moment it acknowledged.
    pub fn set_limit(&mut self, bytes: u32) {
        self.limit = bytes as usize;
        self.owes_update = self.is_size_known && self.table.max() > self.limit;
    }

    /// Whether the sender must begin its next block with a size update, since it acknowledged a
    /// smaller table than it uses (RFC 7541 §4.2). Not checked by [`Decoder::decode`]: the table of
    /// a sender that forgets it is still known.
    pub fn owes_size_update(&self) -> bool {
        self.owes_update
    }

    /// The table that the sender is allowed, in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that the entries take (RFC 7541 §4.1).
    pub fn table_bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Reads a whole header block; the fields are in [`Decoder::list`].
    ///
    /// # Errors
    /// When the block is no HPACK. The table is out of step from then on (`COMPRESSION_ERROR`).
    pub fn decode(&mut self, block: &[u8]) -> Result<(), Error> {
        /// More fields than usual messages have; the memory of longer lists is given back.
        const FIELDS_KEPT: usize = 256;
        self.table.sweep();
        self.refs.clear();
        self.refs.shrink_to(FIELDS_KEPT);
        self.list_bytes = 0;
        let mut rest = self.read_updates(block)?;
        while let Some((first, after)) = rest.split_first() {
            rest = match first {
                0x80.. => {
                    let (index, after) = integer::read(*first, 0x7f, after)?;
                    let field = lookup(&self.table, self.has_unseen, index)?;
                    let bytes = self.list_bytes.saturating_add(field.entry_bytes());
                    self.list_bytes = bytes;
                    if bytes <= self.list_limit {
                        self.refs.push(*field);
                    }
                    after
                }
                0x40..0x80 => {
                    let (field, after) = self.read_literal(*first, 0x3f, after)?;
                    self.push(field);
                    self.insert(field);
                    after
                }
                0x20..0x40 => return Err(LATE_UPDATE),
                0x00..0x20 => {
                    let (mut field, after) = self.read_literal(*first, 0x0f, after)?;
                    if *first >= 0x10 {
                        field.marks = field.marks.with(Marks::NEVER_INDEXED);
                    }
                    self.push(field);
                    after
                }
            };
        }
        Ok(())
    }

    /// The fields of the block that was read last.
    pub fn list(&self) -> HeaderList<'_> {
        HeaderList {
            refs: &self.refs,
            table: &self.table,
            bytes: self.list_bytes,
            is_truncated: self.list_bytes > self.list_limit,
        }
    }

    /// Size updates stand at the start of a block (RFC 7541 §4.2).
    fn read_updates<'b>(&mut self, block: &'b [u8]) -> Result<&'b [u8], Error> {
        let mut rest = block;
        while let Some((first @ 0x20..0x40, after)) = rest.split_first() {
            let (bytes, after) = integer::read(*first, 0x1f, after)?;
            rest = after;
            let bytes = bytes as usize;
            if bytes > self.limit && self.is_size_known {
                return Err(LARGE_UPDATE);
            }
            if bytes > self.memory {
                return Err(LARGE_TABLE);
            }
            let evicted = self.table.set_max(bytes);
            self.is_size_known = true;
            self.owes_update = false;
            if evicted > 0 || bytes == 0 {
                self.has_unseen = false;
            }
        }
        Ok(rest)
    }

    /// RFC 7541 §6.2: an index or a text for the name, a text for the value.
    fn read_literal<'b>(
        &mut self,
        first: u8,
        mask: u8,
        rest: &'b [u8],
    ) -> Result<(FieldRef, &'b [u8]), Error> {
        let (index, rest) = integer::read(first, mask, rest)?;
        let (mut field, rest) = if index == 0 {
            let (name, rest) = self.read_text(rest)?;
            let text = self.table.text(name);
            let field = FieldRef {
                name,
                value: Span::default(),
                class: classify(text),
                marks: name_marks(text),
            };
            (field, rest)
        } else {
            (*lookup(&self.table, self.has_unseen, index)?, rest)
        };
        let (value, rest) = self.read_text(rest)?;
        let of_value = Marks::BAD_VALUE.with(Marks::UNKNOWN_VALUE);
        let mut marks = value_marks(self.table.text(value));
        if marks != Marks::NONE
            && is_grpc_binary(self.table.text(field.name), self.table.text(value))
        {
            marks = Marks::NONE;
        }
        field.value = value;
        field.marks = field.marks.without(of_value).with(marks);
        Ok((field, rest))
    }

    /// RFC 7541 §5.2.
    fn read_text<'b>(&mut self, rest: &'b [u8]) -> Result<(Span, &'b [u8]), Error> {
        let (first, rest) = rest.split_first().ok_or(integer::TRUNCATED)?;
        let (length, rest) = integer::read(*first, 0x7f, rest)?;
        let (text, rest) = rest
            .split_at_checked(length as usize)
            .ok_or(integer::TRUNCATED)?;
        let span = self.table.append(|out| {
            if first & 0x80 == 0 {
                out.extend_from_slice(text);
                Ok(())
            } else {
                huffman::decode(text, out)
            }
        })?;
        Ok((span, rest))
    }

    #[inline]
    fn push(&mut self, field: FieldRef) {
        self.list_bytes = self.list_bytes.saturating_add(field.entry_bytes());
        if self.list_bytes <= self.list_limit {
            self.refs.push(field);
        }
    }

    fn insert(&mut self, field: FieldRef) {
        let is_too_large = field.entry_bytes() > self.table.max();
        let evicted = self.table.insert(field);
        // Entries go oldest first: once a known one went, no unseen one is left.
        if self.is_size_known && (evicted > 0 || is_too_large) {
            self.has_unseen = false;
        }
    }
}

/// The field of an index (RFC 7541 §2.3.3).
#[inline]
fn lookup(table: &Table, has_unseen: bool, index: u32) -> Result<&FieldRef, Error> {
    const UNSEEN: FieldRef = FieldRef {
        name: Span {
            start: 0,
            length: 0,
        },
        value: Span {
            start: 0,
            length: 0,
        },
        class: Class::Unknown,
        marks: Marks::UNKNOWN_NAME.with(Marks::UNKNOWN_VALUE),
    };
    let index = (index as usize).checked_sub(1).ok_or(BAD_INDEX)?;
    if let Some(field) = static_field(index) {
        return Ok(field);
    }
    match table.get(index.saturating_sub(STATIC_ENTRIES)) {
        Some(field) => Ok(field),
        None if has_unseen => Ok(&UNSEEN),
        None => Err(BAD_INDEX),
    }
}
