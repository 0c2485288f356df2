//! Encoded messages, field by field, without making messages of them.

/// What stands in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'b> {
    /// Eight bytes.
    Fixed64(u64),
    /// Text, bytes, a message, or numbers one behind the other.
    Bytes(&'b [u8]),
    /// A number.
    Varint(u64),
}

/// A field as it stands in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'b> {
    /// The field's number.
    pub number: u32,
    /// What it holds.
    pub value: Value<'b>,
    /// All of it, number and length included.
    pub whole: &'b [u8],
}

/// The fields of an encoded message, in the order of its bytes; ends at anything that is none.
#[derive(Debug, Clone)]
pub struct Pieces<'b> {
    rest: &'b [u8],
}

impl<'b> Pieces<'b> {
    /// Of a message.
    pub fn of(message: &'b [u8]) -> Self {
        Self { rest: message }
    }

    fn piece(&mut self) -> Option<Piece<'b>> {
        let start = self.rest;
        let tag = varint(&mut self.rest)?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut self.rest)?),
            1 => {
                let (number, rest) = self.rest.split_first_chunk()?;
                self.rest = rest;
                Value::Fixed64(u64::from_le_bytes(*number))
            }
            2 => {
                let length = usize::try_from(varint(&mut self.rest)?).ok()?;
                let (bytes, rest) = self.rest.split_at_checked(length)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        Some(Piece {
            number: u32::try_from(tag >> 3).ok()?,
            value,
            whole: start.get(..start.len() - self.rest.len())?,
        })
    }
}

impl<'b> Iterator for Pieces<'b> {
    type Item = Piece<'b>;

    fn next(&mut self) -> Option<Piece<'b>> {
        self.piece()
    }
}

/// Reads a number of up to ten bytes.
pub fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Writes a number.
pub fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number as u8 & 0x7f) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Writes the head of a field that holds so many bytes.
pub fn put_head(number: u32, bytes: usize, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 2, out);
    put_varint(bytes as u64, out);
}
