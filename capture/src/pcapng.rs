//! The block format: sections, interfaces with their own clocks and links, packets.

use crate::error::{Error, Fault};
use crate::reader::Meta;
use crate::source::Source;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER: [u8; 4] = [0x1a, 0x2b, 0x3c, 0x4d];
/// Larger blocks are damage: packets have at most 256 KiB, and comments are short.
const BLOCK_MAX: u32 = 64 << 20;
/// More interfaces than any machine has, in one section.
const INTERFACES_MAX: usize = 1 << 16;

const OPTION_RESOLUTION: u16 = 9;
const OPTION_OFFSET: u16 = 14;

/// State of one file.
#[derive(Debug, Default)]
pub(crate) struct Pcapng {
    is_big_endian: bool,
    interfaces: Vec<Interface>,
    block: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Interface {
    link_type: u32,
    snap_bytes: u32,
    /// Ticks in a second.
    ticks: u64,
    /// Seconds to add.
    offset: i64,
}

/// Reads the first section header, whose type was read already.
pub(crate) fn open(source: &mut Source) -> Result<Pcapng, Error> {
    let mut pcapng = Pcapng::default();
    pcapng.begin_section(source)?;
    Ok(pcapng)
}

impl Pcapng {
    /// Reads blocks up to the next packet, whose bytes go to `data`.
    pub(crate) fn read(
        &mut self,
        source: &mut Source,
        data: &mut Vec<u8>,
    ) -> Result<Option<Meta>, Error> {
        loop {
            if source.is_at_end()? {
                return Ok(None);
            }
            let kind: [u8; 4] = source.array("a block's type")?;
            if u32::from_be_bytes(kind) == SECTION {
                self.begin_section(source)?;
                continue;
            }
            let kind = self.u32(kind);
            let length = self.u32(source.array("a block's length")?);
            self.fill_block(source, length, 8)?;
            let meta = match kind {
                INTERFACE => {
                    let interface = self.interface().map_err(|fault| source.error(fault))?;
                    if self.interfaces.len() >= INTERFACES_MAX {
                        return Err(source.error(Fault::Damaged("too many interfaces")));
                    }
                    self.interfaces.push(interface);
                    None
                }
                ENHANCED_PACKET | OBSOLETE_PACKET => self
                    .timed_packet(kind, data)
                    .map(Some)
                    .map_err(|fault| source.error(fault))?,
                SIMPLE_PACKET => self
                    .simple_packet(data)
                    .map(Some)
                    .map_err(|fault| source.error(fault))?,
                // Names, statistics, secrets, comments, custom blocks: nothing of the packets.
                _ => None,
            };
            if meta.is_some() {
                return Ok(meta);
            }
        }
    }

    /// The rest of a section header: a section may have another byte order.
    fn begin_section(&mut self, source: &mut Source) -> Result<(), Error> {
        let length: [u8; 4] = source.array("a section's length")?;
        let order: [u8; 4] = source.array("a section's byte order")?;
        let mut reversed = order;
        reversed.reverse();
        self.is_big_endian = match (order, reversed) {
            (BYTE_ORDER, _) => true,
            (_, BYTE_ORDER) => false,
            _ => return Err(source.error(Fault::Damaged("a section without a byte order"))),
        };
        self.interfaces.clear();
        self.fill_block(source, self.u32(length), 12)
    }

    /// The body of a block, without its head of `head` bytes and the length that ends it.
    fn fill_block(&mut self, source: &mut Source, length: u32, head: u32) -> Result<(), Error> {
        if length > BLOCK_MAX {
            let (what, length) = ("a block", u64::from(length));
            return Err(source.error(Fault::Length { what, length }));
        }
        let padded = length.next_multiple_of(4);
        let Some(body) = padded.checked_sub(head + 4) else {
            return Err(source.error(Fault::Damaged("a block shorter than its head")));
        };
        self.block.clear();
        self.block.resize(body as usize, 0);
        source.fill(&mut self.block, "a block")?;
        let end: [u8; 4] = source.array("a block's end")?;
        if self.u32(end).checked_next_multiple_of(4) == Some(padded) {
            Ok(())
        } else {
            Err(source.error(Fault::Damaged("a block whose two lengths differ")))
        }
    }

    fn u32(&self, bytes: [u8; 4]) -> u32 {
        if self.is_big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    }

    fn u16_at(&self, at: usize) -> Option<u16> {
        let bytes = self.block.get(at..at + 2)?.try_into().ok()?;
        Some(if self.is_big_endian {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        })
    }

    fn u32_at(&self, at: usize) -> Option<u32> {
        let bytes = self.block.get(at..at + 4)?.try_into().ok()?;
        Some(self.u32(bytes))
    }

    fn interface(&self) -> Result<Interface, Fault> {
        const SHORT: Fault = Fault::Damaged("an interface shorter than its head");
        let mut interface = Interface {
            link_type: u32::from(self.u16_at(0).ok_or(SHORT)?),
            snap_bytes: self.u32_at(4).ok_or(SHORT)?,
            ticks: 1_000_000,
            offset: 0,
        };
        let mut at = 8;
        while let (Some(code), Some(length)) = (self.u16_at(at), self.u16_at(at + 2)) {
            let value = self.block.get(at + 4..at + 4 + usize::from(length));
            match (code, value) {
                (0, _) | (_, None) => break,
                (OPTION_RESOLUTION, Some([resolution, ..])) => {
                    interface.ticks = ticks_of(*resolution)?;
                }
                (OPTION_OFFSET, Some(seconds)) => {
                    let bytes: [u8; 8] = seconds.try_into().unwrap_or_default();
                    interface.offset = if self.is_big_endian {
                        i64::from_be_bytes(bytes)
                    } else {
                        i64::from_le_bytes(bytes)
                    };
                }
                (_, Some(_)) => {}
            }
            at += 4 + usize::from(length).next_multiple_of(4);
        }
        Ok(interface)
    }

    fn timed_packet(&self, kind: u32, data: &mut Vec<u8>) -> Result<Meta, Fault> {
        const SHORT: Fault = Fault::Damaged("a packet shorter than its head");
        let interface = if kind == ENHANCED_PACKET {
            self.u32_at(0)
        } else {
            self.u16_at(0).map(u32::from)
        };
        let interface = self.known(interface.ok_or(SHORT)?)?;
        let high = u64::from(self.u32_at(4).ok_or(SHORT)?);
        let low = u64::from(self.u32_at(8).ok_or(SHORT)?);
        let captured = self.u32_at(12).ok_or(SHORT)?;
        let original = self.u32_at(16).ok_or(SHORT)?;
        self.copy(20, captured, data)?;
        Ok(Meta {
            time_ns: interface.nanos(high << 32 | low),
            link_type: interface.link_type,
            original_bytes: original.max(captured),
        })
    }

    /// It has no time and no captured length: the snap length tells the latter.
    fn simple_packet(&self, data: &mut Vec<u8>) -> Result<Meta, Fault> {
        const SHORT: Fault = Fault::Damaged("a packet shorter than its head");
        let interface = self.known(0)?;
        let original = self.u32_at(0).ok_or(SHORT)?;
        let captured = match interface.snap_bytes {
            0 => original,
            snap => original.min(snap),
        };
        self.copy(4, captured, data)?;
        Ok(Meta {
            time_ns: 0,
            link_type: interface.link_type,
            original_bytes: original,
        })
    }

    fn known(&self, interface: u32) -> Result<Interface, Fault> {
        let index = usize::try_from(interface).unwrap_or(usize::MAX);
        self.interfaces.get(index).copied().ok_or(Fault::Damaged(
            "a packet of an interface that was not described",
        ))
    }

    fn copy(&self, at: usize, captured: u32, data: &mut Vec<u8>) -> Result<(), Fault> {
        let end = at.saturating_add(captured as usize);
        let bytes = self.block.get(at..end);
        data.clear();
        data.extend_from_slice(bytes.ok_or(Fault::Damaged("a packet longer than its block"))?);
        Ok(())
    }
}

/// Ticks in a second: a power of ten, or of two where the highest bit is set.
fn ticks_of(resolution: u8) -> Result<u64, Fault> {
    let exponent = u32::from(resolution & 0x7f);
    let base: u64 = if resolution & 0x80 == 0 { 10 } else { 2 };
    base.checked_pow(exponent)
        .ok_or(Fault::Damaged("a clock finer than any"))
}

impl Interface {
    /// Time since the epoch, in nanoseconds.
    fn nanos(self, ticks: u64) -> u64 {
        let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(self.ticks);
        let offset = i128::from(self.offset) * 1_000_000_000;
        let total = i128::try_from(nanos)
            .unwrap_or(i128::MAX)
            .saturating_add(offset);
        u64::try_from(total.max(0)).unwrap_or(u64::MAX)
    }
}
