//! The Huffman code of HPACK strings (RFC 7541 §5.2, appendix B).
//!
//! The code is canonical, so that the lengths of its 257 codes say everything. Decoding looks twelve
//! bits ahead, which are two symbols of most texts; longer codes are rare and found by their length.

#![deny(clippy::arithmetic_side_effects)]

use crate::error::{Error, Fault};

/// Bits per look-up.
const WINDOW: u32 = 12;
/// Look-ups per group; a group writes eight bytes at once.
const GROUP: u32 = 4;
const LONGEST: usize = 30;
const EOS: u16 = 256;

/// Length of each symbol's code; the last is the end-of-string symbol.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

static CODES: [u32; 257] = built::codes();
static PAIRS: [u32; 1 << WINDOW] = built::pairs();
static SORTED: [u16; 257] = built::sorted();
static RUNS: [Run; LONGEST + 1] = built::runs();

/// The codes of one length: consecutive numbers, in the order of their symbols.
#[derive(Clone, Copy)]
struct Run {
    first: u32,
    count: u32,
    /// Where in [`SORTED`] its symbols start.
    start: u32,
}

/// What a window says: up to two symbols. From the lowest bit: six bits for the number of bits of
/// all symbols, two unused; two bytes for the symbols, the first in the lower; then eight times the
/// number of symbols.
#[derive(Clone, Copy)]
struct Pair(u32);

impl Pair {
    #[inline]
    fn at(bits: u64) -> Self {
        let window = usize::from((bits >> (64 - WINDOW)) as u16);
        Self(PAIRS.get(window).copied().unwrap_or_default())
    }

    /// Both symbols, the first in the low byte; zero where there is none.
    #[inline]
    fn symbols(self) -> u16 {
        (self.0 >> 8 & 0xffff) as u16
    }

    /// Bits of all its symbols.
    #[inline]
    fn bits(self) -> u32 {
        self.0 & 63
    }

    fn first_bits(self) -> u32 {
        let [first, _] = self.symbols().to_le_bytes();
        LENGTHS
            .get(usize::from(first))
            .copied()
            .map_or(0, u32::from)
    }

    /// Bits that its symbols take as text.
    #[inline]
    fn text_bits(self) -> u32 {
        self.0 >> 24
    }
}

const EOS_IN_STRING: Error = Error::new(Fault::Malformed, "huffman-end-of-string", "RFC 7541 §5.2");
const BAD_PADDING: Error = Error::new(Fault::Malformed, "huffman-padding", "RFC 7541 §5.2");

/// Appends the text of a Huffman-coded string; on an error `out` is as before.
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    const GROUP_BYTES: usize = GROUP as usize * 2;
    let start = out.len();
    // No code is shorter than five bits.
    let longest = input.len().saturating_mul(8) / 5;
    out.resize(start.saturating_add(longest).saturating_add(GROUP_BYTES), 0);
    let room = out.get_mut(start..).unwrap_or_default();
    match decode_into(input, room) {
        Ok(length) => {
            out.truncate(start.saturating_add(length));
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// Bits not decoded yet, from the top of a word.
struct Bits<'b> {
    word: u64,
    have: u32,
    rest: &'b [u8],
}

impl Bits<'_> {
    /// Fills up to at least 56 bits; `false` near the end of the input.
    #[inline]
    fn refill(&mut self) -> bool {
        let Some((chunk, _)) = self.rest.split_first_chunk::<8>() else {
            return false;
        };
        self.word |= u64::from_be_bytes(*chunk) >> self.have;
        let bytes = 63_u32.wrapping_sub(self.have) >> 3;
        self.rest = self.rest.get(bytes as usize..).unwrap_or_default();
        self.have = self.have.wrapping_add(bytes.wrapping_mul(8));
        true
    }

    /// As [`Bits::refill`], byte by byte, until the end of the input.
    fn refill_slowly(&mut self) {
        while self.have <= 55
            && let Some((byte, rest)) = self.rest.split_first()
        {
            // Bits beyond `have` are those of this byte, or zero.
            self.word |= u64::from(*byte) << 56_u32.wrapping_sub(self.have);
            self.have = self.have.wrapping_add(8);
            self.rest = rest;
        }
    }

    #[inline]
    fn skip(&mut self, bits: u32) {
        self.word <<= bits;
        self.have = self.have.wrapping_sub(bits);
    }

    /// A symbol whose code is longer than a window.
    fn long_symbol(&self, word: u64) -> Result<Option<(u8, u32)>, Error> {
        let top = (word >> 32) as u32;
        let lengths = (0_u32..).zip(&RUNS).skip(WINDOW as usize).skip(1);
        for (length, run) in lengths {
            let nth = (top >> 32_u32.wrapping_sub(length)).wrapping_sub(run.first);
            if nth >= run.count {
                continue;
            }
            if length > self.have {
                return Ok(None);
            }
            let symbol = SORTED.get(run.start.wrapping_add(nth) as usize);
            return match symbol.copied().unwrap_or(EOS).to_le_bytes() {
                [symbol, 0] => Ok(Some((symbol, length))),
                _ => Err(EOS_IN_STRING),
            };
        }
        Err(EOS_IN_STRING)
    }
}

fn decode_into(input: &[u8], room: &mut [u8]) -> Result<usize, Error> {
    let mut bits = Bits {
        word: 0,
        have: 0,
        rest: input,
    };
    let mut length: usize = 0;
    loop {
        if !bits.refill() {
            bits.refill_slowly();
            if bits.have < GROUP * WINDOW {
                break;
            }
        }
        let (mut group, mut count) = (0_u64, 0_u32);
        let mut last = Pair(0);
        for _ in 0..GROUP {
            last = Pair::at(bits.word);
            group |= u64::from(last.symbols()) << count;
            count = count.wrapping_add(last.text_bits());
            // The processor takes the low six bits only: the next look-up waits for nothing else.
            bits.word = bits.word.wrapping_shl(last.0);
            bits.have = bits.have.wrapping_sub(last.bits());
        }
        if let Some((slot, _)) = room
            .get_mut(length..)
            .and_then(|room| room.split_first_chunk_mut())
        {
            *slot = group.to_le_bytes();
        }
        length = length.wrapping_add((count >> 3) as usize);
        if last.text_bits() == 0 {
            if !bits.refill() {
                break;
            }
            if let Some((symbol, used)) = bits.long_symbol(bits.word)? {
                put(room, &mut length, symbol);
                bits.skip(used);
            }
        }
    }
    decode_end(bits, room, length)
}

/// The last symbols, one look-up at a time, and the padding.
fn decode_end(mut bits: Bits<'_>, room: &mut [u8], mut length: usize) -> Result<usize, Error> {
    loop {
        bits.refill_slowly();
        // Padding is the start of the end-of-string symbol, which is all ones.
        let padded = bits.word | u64::MAX.checked_shr(bits.have).unwrap_or_default();
        let pair = Pair::at(padded);
        let [first, second] = pair.symbols().to_le_bytes();
        if pair.text_bits() == 16 && pair.bits() <= bits.have {
            put(room, &mut length, first);
            put(room, &mut length, second);
            bits.skip(pair.bits());
        } else if pair.text_bits() > 0 && pair.first_bits() <= bits.have {
            put(room, &mut length, first);
            bits.skip(pair.first_bits());
        } else if pair.text_bits() == 0
            && bits.have > WINDOW
            && let Some((symbol, used)) = bits.long_symbol(padded)?
        {
            put(room, &mut length, symbol);
            bits.skip(used);
        } else {
            break;
        }
    }
    let is_padding = bits.have < 8
        && bits.word | u64::MAX.checked_shr(bits.have).unwrap_or_default() == u64::MAX;
    if is_padding {
        Ok(length)
    } else {
        Err(BAD_PADDING)
    }
}

#[inline]
fn put(room: &mut [u8], length: &mut usize, symbol: u8) {
    if let Some(slot) = room.get_mut(*length) {
        *slot = symbol;
        *length = length.wrapping_add(1);
    }
}

/// Bytes that a text takes when coded.
pub(super) fn encoded_bytes(text: &[u8]) -> usize {
    let bits: usize = text
        .iter()
        .filter_map(|byte| LENGTHS.get(usize::from(*byte)))
        .fold(0, |sum, length| sum.saturating_add(usize::from(*length)));
    bits.div_ceil(8)
}

/// Appends a text, coded.
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut word, mut have) = (0_u64, 0_u32);
    for byte in text {
        let (Some(code), Some(length)) = (
            CODES.get(usize::from(*byte)),
            LENGTHS.get(usize::from(*byte)),
        ) else {
            continue;
        };
        let length = u32::from(*length);
        word = word << length | u64::from(*code);
        have = have.wrapping_add(length);
        while have >= 8 {
            have = have.wrapping_sub(8);
            out.push((word >> have & 0xff) as u8);
        }
    }
    if have > 0 {
        let free = 8_u32.wrapping_sub(have);
        let padding = 0xff_u64 >> have;
        out.push(((word << free | padding) & 0xff) as u8);
    }
}

/// The tables, worked out by the compiler.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "evaluated while compiling: a fault would not build"
)]
mod built {
    use super::{LENGTHS, LONGEST, Run, WINDOW};

    /// Symbols by length of their code, then by number.
    pub(super) const fn sorted() -> [u16; 257] {
        let mut symbols = [0; 257];
        let (mut at, mut length) = (0, 1);
        while length <= LONGEST {
            let mut symbol = 0;
            while symbol < 257 {
                if LENGTHS[symbol] as usize == length {
                    symbols[at] = symbol as u16;
                    at += 1;
                }
                symbol += 1;
            }
            length += 1;
        }
        symbols
    }

    pub(super) const fn runs() -> [Run; LONGEST + 1] {
        let mut runs = [Run {
            first: 0,
            count: 0,
            start: 0,
        }; LONGEST + 1];
        let (mut code, mut start, mut length) = (0, 0, 1);
        while length <= LONGEST {
            code <<= 1;
            let mut count = 0;
            let mut symbol = 0;
            while symbol < 257 {
                count += (LENGTHS[symbol] as usize == length) as u32;
                symbol += 1;
            }
            runs[length] = Run {
                first: code,
                count,
                start,
            };
            code += count;
            start += count;
            length += 1;
        }
        runs
    }

    pub(super) const fn codes() -> [u32; 257] {
        let (sorted, runs) = (sorted(), runs());
        let mut codes = [0; 257];
        let mut at = 0;
        while at < 257 {
            let symbol = sorted[at] as usize;
            let run = runs[LENGTHS[symbol] as usize];
            codes[symbol] = run.first + (at as u32 - run.start);
            at += 1;
        }
        codes
    }

    /// See [`super::Pair`].
    pub(super) const fn pairs() -> [u32; 1 << WINDOW] {
        let (sorted, codes) = (sorted(), codes());
        let mut pairs = [0; 1 << WINDOW];
        let mut at = 0;
        while at < 257 {
            let first = sorted[at] as usize;
            let bits = LENGTHS[first] as u32;
            if bits <= WINDOW {
                let base = codes[first] << (WINDOW - bits);
                let mut low = 0;
                while low < 1 << (WINDOW - bits) {
                    pairs[(base | low) as usize] = bits | (first as u32) << 8 | 8 << 24;
                    low += 1;
                }
                add_second(&mut pairs, &sorted, &codes, first, base);
            }
            at += 1;
        }
        pairs
    }

    const fn add_second(
        pairs: &mut [u32; 1 << WINDOW],
        sorted: &[u16; 257],
        codes: &[u32; 257],
        first: usize,
        base: u32,
    ) {
        let first_bits = LENGTHS[first] as u32;
        let mut at = 0;
        while at < 257 {
            let second = sorted[at] as usize;
            let bits = first_bits + LENGTHS[second] as u32;
            if bits <= WINDOW {
                let mut low = 0;
                while low < 1 << (WINDOW - bits) {
                    let window = base | codes[second] << (WINDOW - bits) | low;
                    pairs[window as usize] =
                        bits | (first as u32) << 8 | (second as u32) << 16 | 16 << 24;
                    low += 1;
                }
            }
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &[u8]) {
        let mut coded = Vec::new();
        encode(text, &mut coded);
        assert_eq!(coded.len(), encoded_bytes(text), "{text:?}");
        let mut decoded = b"before".to_vec();
        decode(&coded, &mut decoded).expect("own code");
        assert_eq!(&decoded[6..], text);
    }

    #[test]
    fn the_code_is_complete() {
        let sum: u64 = LENGTHS.iter().map(|length| 1_u64 << (30 - length)).sum();
        assert_eq!(sum, 1 << 30, "Kraft's sum is one");
        assert_eq!(CODES[usize::from(EOS)], 0x3fff_ffff);
        assert_eq!(CODES[usize::from(b'0')], 0);
        assert_eq!(CODES[usize::from(b'a')], 3);
    }

    #[test]
    fn every_byte_survives_at_every_place() {
        for byte in 0..=255_u8 {
            for before in 0..20 {
                for after in 0..20 {
                    let mut text = vec![b'e'; before];
                    text.push(byte);
                    text.extend(vec![byte ^ 0x55; after]);
                    round(&text);
                }
            }
        }
    }

    #[test]
    fn decodes_the_examples_of_the_rfc() {
        let mut out = Vec::new();
        decode(
            b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
            &mut out,
        )
        .expect("C.4.1");
        assert_eq!(out, b"www.example.com");
    }

    #[test]
    fn refuses_bad_padding_and_the_end_of_string_symbol() {
        for (input, error) in [
            (&b"\x1c"[..], BAD_PADDING),
            (b"\x1f\xff", BAD_PADDING),
            (b"\xff", BAD_PADDING),
            (b"\xff\xff\xff\xff", EOS_IN_STRING),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", EOS_IN_STRING),
            (b"\x00", BAD_PADDING),
        ] {
            let mut out = b"kept".to_vec();
            assert_eq!(decode(input, &mut out), Err(error), "{input:?}");
            assert_eq!(out, b"kept");
        }
    }
}
