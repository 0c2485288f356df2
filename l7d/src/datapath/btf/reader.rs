//! Bytes of BTF → headers of types, members, values and strings. Lengths are the file's word: every
//! one is checked against what is there.

use super::BtfError;

const MAGIC: u16 = 0xeb9f;
/// Bytes of a type's head: name, kind and count, size or type.
const HEAD: usize = 12;

/// What a type is, as far as that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number.
    Sized,
    /// A pointer.
    Pointer,
    Struct,
    Union,
    Enum,
    /// Another name for a type, or a qualified one.
    Typedef,
    /// A function's parameters.
    Prototype,
    Function,
    Other,
}

impl Kind {
    pub(super) fn of(number: u32) -> Option<Self> {
        Some(match number {
            1 | 16 => Self::Sized,
            2 => Self::Pointer,
            4 => Self::Struct,
            5 => Self::Union,
            6 => Self::Enum,
            // Typedef, volatile, const, restrict, type tag.
            8 | 9 | 10 | 11 | 18 => Self::Typedef,
            12 => Self::Function,
            13 => Self::Prototype,
            3 | 7 | 14 | 15 | 17 | 19 => Self::Other,
            _ => return None,
        })
    }

    /// Bytes behind the head of a type of this kind with `count` members.
    fn tail(number: u32, count: usize) -> Option<usize> {
        Some(match number {
            // An integer's encoding, a variable's linkage, a tag's place.
            1 | 14 | 17 => 4,
            // An array.
            3 => 12,
            // Structure, union, section, enumeration of 64 bits.
            4 | 5 | 15 | 19 => count * 12,
            // Enumeration, parameters.
            6 | 13 => count * 8,
            2 | 7..=12 | 16 | 18 => 0,
            _ => return None,
        })
    }
}

/// The head of a type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) name: u32,
    pub(super) kind: u32,
    pub(super) count: usize,
    pub(super) flag: bool,
    pub(super) size_or_id: u32,
}

/// The two parts of a file: types and strings.
#[derive(Debug)]
pub(super) struct Reader<'b> {
    types: &'b [u8],
    strings: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(super) fn open(bytes: &'b [u8]) -> Result<Self, BtfError> {
        let short = || BtfError::Truncated(bytes.len());
        let magic = bytes.first_chunk().map(|chunk| u16::from_ne_bytes(*chunk));
        match magic.ok_or_else(short)? {
            MAGIC => {}
            other => return Err(BtfError::Magic(other)),
        }
        // Header length; then offset and length of types, and of strings, from the header's end.
        let mut fields = [0_usize; 5];
        for (index, field) in fields.iter_mut().enumerate() {
            *field = number(bytes, 4 + index * 4)
                .and_then(|value| usize::try_from(value).ok())
                .ok_or_else(short)?;
        }
        let [header, types_at, types, strings_at, strings] = fields;
        let part = |offset: usize, length: usize| {
            let start = header.checked_add(offset)?;
            bytes.get(start..start.checked_add(length)?)
        };
        Ok(Self {
            types: part(types_at, types).ok_or_else(short)?,
            strings: part(strings_at, strings).ok_or_else(short)?,
        })
    }

    /// Where each type begins.
    pub(super) fn places(&self) -> Result<Vec<u32>, BtfError> {
        let mut places = Vec::new();
        let mut at = 0;
        while at < self.types.len() {
            let cut = || BtfError::Truncated(at);
            let head = self.head(at).ok_or_else(cut)?;
            let unknown = BtfError::Kind {
                id: places.len() + 1,
                kind: head.kind,
            };
            let tail = Kind::tail(head.kind, head.count).ok_or(unknown)?;
            places.push(u32::try_from(at).map_err(|_too_long| cut())?);
            let end = at + HEAD + tail;
            if end > self.types.len() {
                return Err(cut());
            }
            at = end;
        }
        Ok(places)
    }

    pub(super) fn head(&self, at: usize) -> Option<Head> {
        let info = number(self.types, at.checked_add(4)?)?;
        Some(Head {
            name: number(self.types, at)?,
            kind: info >> 24 & 0x1f,
            count: usize::from(u16::try_from(info & 0xffff).ok()?),
            flag: info >> 31 != 0,
            size_or_id: number(self.types, at.checked_add(8)?)?,
        })
    }

    /// Name, type and offset of a member of the structure at `at`.
    pub(super) fn member(&self, at: usize, index: usize) -> Option<[u32; 3]> {
        let at = at + HEAD + index * 12;
        let read = |offset| number(self.types, at + offset);
        Some([read(0)?, read(4)?, read(8)?])
    }

    /// Name and value of one of the enumeration at `at`.
    pub(super) fn value(&self, at: usize, index: usize) -> Option<(u32, u32)> {
        let at = at + HEAD + index * 8;
        Some((number(self.types, at)?, number(self.types, at + 4)?))
    }

    /// The string at an offset; empty where there is none.
    pub(super) fn string(&self, offset: u32) -> &'b str {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.strings.get(offset..))
            .unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == 0).unwrap_or(0);
        let text = rest.get(..end).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }

    pub(super) fn string_bytes(&self) -> u32 {
        u32::try_from(self.strings.len()).unwrap_or(u32::MAX)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let chunk = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*chunk))
}
