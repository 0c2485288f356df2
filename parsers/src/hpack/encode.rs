//! Fields → header blocks, with a table of our own.

use std::collections::VecDeque;

use super::field::{FieldRef, Marks, Span, classify};
use super::table::{STATIC_ENTRIES, Table, static_entries};
use super::{DEFAULT_TABLE_BYTES, Field, huffman, integer};

/// What we have told one receiver.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Encoder {
    table: Table,
    /// Of each entry, oldest first: comparing numbers finds nearly all that differ.
    hashes: VecDeque<Hash>,
    /// Most that we use of what a receiver allows, in bytes.
    memory: usize,
    /// Size updates that the next block begins with: the smallest size since the last, and the
    /// present one (RFC 7541 §4.2).
    update: Option<(usize, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Hash {
    name: u32,
    field: u32,
}

/// Where a field, or only its name, is found; counted from one (RFC 7541 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Field(usize),
    Name(usize),
    Nothing,
}

impl Encoder {
    /// For a receiver that allows the default size; uses at most `memory` bytes for the table.
    pub fn new(memory: u32) -> Self {
        let max = memory.min(DEFAULT_TABLE_BYTES) as usize;
        let update = (memory < DEFAULT_TABLE_BYTES).then_some((max, max));
        Self {
            table: Table::new(max),
            hashes: VecDeque::new(),
            memory: memory as usize,
            update,
        }
    }

    /// The receiver's `SETTINGS_HEADER_TABLE_SIZE`, in bytes; told in the next block.
    pub fn set_limit(&mut self, bytes: u32) {
        let max = (bytes as usize).min(self.memory);
        if max == self.table.max() {
            return;
        }
        let smallest = self.update.map_or(max, |(smallest, _)| smallest.min(max));
        self.update = Some((smallest, max));
        let evicted = self.table.set_max(max);
        self.forget_hashes(evicted);
    }

    /// Appends the header block of `fields`.
    pub fn encode<'f, F>(&mut self, fields: F, out: &mut Vec<u8>)
    where
        F: IntoIterator<Item = Field<'f>>,
    {
        self.table.sweep();
        if let Some((smallest, present)) = self.update.take() {
            if smallest < present {
                integer::write(0x20, 0x1f, smallest, out);
            }
            integer::write(0x20, 0x1f, present, out);
        }
        for field in fields {
            self.encode_field(field, out);
        }
    }

    /// Appends a header block that leaves the receiver's table as it is: between the blocks of
    /// another encoder. `update` is the size that the block has to begin with, if it must begin with
    /// one.
    pub fn encode_apart<'f, F>(fields: F, update: Option<usize>, out: &mut Vec<u8>)
    where
        F: IntoIterator<Item = Field<'f>>,
    {
        if let Some(bytes) = update {
            integer::write(0x20, 0x1f, bytes, out);
        }
        for field in fields {
            match find_static(field) {
                Found::Field(index) => integer::write(0x80, 0x7f, index, out),
                found => write_literal(0x10, 0x0f, found, field, out),
            }
        }
    }

    fn encode_field(&mut self, field: Field<'_>, out: &mut Vec<u8>) {
        let hash = Hash::of(field.name, field.value);
        let found = self.find(field, hash);
        if field.is_never_indexed {
            write_literal(0x10, 0x0f, found, field, out);
            return;
        }
        match found {
            Found::Field(index) => integer::write(0x80, 0x7f, index, out),
            Found::Name(_) | Found::Nothing if self.is_worth_an_entry(field) => {
                write_literal(0x40, 0x3f, found, field, out);
                self.insert(field, hash);
            }
            Found::Name(_) | Found::Nothing => write_literal(0, 0x0f, found, field, out),
        }
    }

    fn find(&self, field: Field<'_>, hash: Hash) -> Found {
        // What the static table has whole is never in ours, so ours may be asked first: most fields
        // of a connection come again and again.
        let is_known = |known: &Hash| known.field == hash.field;
        let whole = self.newest(is_known, |entry| {
            self.table.text(entry.name) == field.name && self.table.text(entry.value) == field.value
        });
        if let Some(index) = whole {
            return Found::Field(index);
        }
        let found = find_static(field);
        if found != Found::Nothing {
            return found;
        }
        let is_named = |known: &Hash| known.name == hash.name;
        let named = self.newest(is_named, |entry| self.table.text(entry.name) == field.name);
        named.map_or(Found::Nothing, Found::Name)
    }

    /// The newest entry that is what was looked for, counted from one.
    fn newest(
        &self,
        is_likely: impl Fn(&Hash) -> bool,
        is_it: impl Fn(&FieldRef) -> bool,
    ) -> Option<usize> {
        let likely = |(age, known)| is_likely(known).then_some(age);
        let mut ages = self.hashes.iter().rev().enumerate().filter_map(likely);
        let age = ages.find(|age| self.table.get(*age).is_some_and(&is_it))?;
        Some(STATIC_ENTRIES + age + 1)
    }

    /// Values that differ each time would only push others out.
    fn is_worth_an_entry(&self, field: Field<'_>) -> bool {
        const ONE_OFF: [&[u8]; 9] = [
            b":path",
            b"age",
            b"content-length",
            b"content-range",
            b"etag",
            b"if-modified-since",
            b"if-none-match",
            b"location",
            b"set-cookie",
        ];
        let bytes = field.name.len() + field.value.len() + 32;
        bytes <= self.table.max() / 4 * 3 && !ONE_OFF.contains(&field.name)
    }

    fn insert(&mut self, field: Field<'_>, hash: Hash) {
        let text = |table: &mut Table, text: &[u8]| {
            let copied: Result<Span, std::convert::Infallible> = table.append(|out| {
                out.extend_from_slice(text);
                Ok(())
            });
            copied.unwrap_or_default()
        };
        let entry = FieldRef {
            name: text(&mut self.table, field.name),
            value: text(&mut self.table, field.value),
            class: classify(field.name),
            marks: Marks::NONE,
        };
        let evicted = self.table.insert(entry);
        self.hashes.push_back(hash);
        self.forget_hashes(evicted);
    }

    fn forget_hashes(&mut self, evicted: usize) {
        self.hashes.drain(..evicted.min(self.hashes.len()));
        debug_assert_eq!(self.hashes.len(), self.table.len());
    }
}

impl Hash {
    /// Eight bytes at a time; nobody gains by a collision, which only costs a comparison.
    fn of(name: &[u8], value: &[u8]) -> Self {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(FACTOR);
        let add = |hash: u64, bytes: &[u8]| {
            let (words, rest) = bytes.as_chunks::<8>();
            let words = words.iter().map(|word| u64::from_le_bytes(*word));
            let rest = rest
                .iter()
                .fold(1, |rest, byte| (rest << 8) | u64::from(*byte));
            mix(words.fold(hash, mix), rest)
        };
        // The upper half, where all bits of the factors come together.
        let upper = |hash: u64| (hash >> 32) as u32;
        let named = add(0, name);
        Self {
            name: upper(named),
            field: upper(add(named, value)),
        }
    }
}

/// RFC 7541 appendix A.
fn find_static(field: Field<'_>) -> Found {
    let mut by_name = Found::Nothing;
    for (place, name, value) in static_entries(field.name.len()) {
        if name != field.name {
            continue;
        }
        if value == field.value {
            return Found::Field(place + 1);
        }
        if by_name == Found::Nothing {
            by_name = Found::Name(place + 1);
        }
    }
    by_name
}

/// RFC 7541 §6.2.
fn write_literal(pattern: u8, mask: u8, found: Found, field: Field<'_>, out: &mut Vec<u8>) {
    match found {
        Found::Field(index) | Found::Name(index) => integer::write(pattern, mask, index, out),
        Found::Nothing => {
            out.push(pattern);
            write_text(field.name, out);
        }
    }
    write_text(field.value, out);
}

/// Huffman-coded where that is shorter (RFC 7541 §5.2).
fn write_text(text: &[u8], out: &mut Vec<u8>) {
    let coded = huffman::encoded_bytes(text);
    if coded < text.len() {
        integer::write(0x80, 0x7f, coded, out);
        huffman::encode(text, out);
    } else {
        integer::write(0, 0x7f, text.len(), out);
        out.extend_from_slice(text);
    }
}
