//! Several captures as one, in the order of time.

use crate::error::Error;
use crate::reader::{Packet, Reader};

/// Several captures as one. A capture's own order is kept, also where its clock steps back; one that
/// is damaged is read up to the damage, and the others go on.
pub struct Merge {
    readers: Vec<Reader>,
    present: Option<usize>,
    errors: Vec<Error>,
    number: u64,
}

impl Merge {
    /// Starts with the first packet of each.
    pub fn new(readers: Vec<Reader>) -> Self {
        let mut merge = Self {
            readers,
            present: None,
            errors: Vec::new(),
            number: 0,
        };
        for index in (0..merge.readers.len()).rev() {
            merge.advance_one(index);
        }
        merge
    }

    /// Goes to the next packet; false when there is none left.
    pub fn advance(&mut self) -> bool {
        if let Some(index) = self.present {
            self.advance_one(index);
        }
        let times = self.readers.iter().enumerate();
        self.present = times
            .filter_map(|(index, reader)| Some((reader.packet()?.time_ns, index)))
            .min()
            .map(|(_, index)| index);
        self.number += u64::from(self.present.is_some());
        self.present.is_some()
    }

    fn advance_one(&mut self, index: usize) {
        let Some(reader) = self.readers.get_mut(index) else {
            return;
        };
        if let Err(error) = reader.advance() {
            self.errors.push(error);
        }
    }

    /// The packet gone to; its number counts over all captures.
    pub fn packet(&self) -> Option<Packet<'_>> {
        let packet = self.readers.get(self.present?)?.packet()?;
        Some(Packet {
            number: self.number,
            ..packet
        })
    }

    /// What was damaged, so far.
    pub fn errors(&self) -> &[Error] {
        &self.errors
    }

    /// Bytes read so far, of all captures, after decompression.
    pub fn offset(&self) -> u64 {
        self.readers.iter().map(Reader::offset).sum()
    }
}
