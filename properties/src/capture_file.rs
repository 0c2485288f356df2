//! Captures: however a file comes, it holds the same packets, and no more than its bytes can.

use std::io::{Cursor, Read};

use capture::Reader;

/// Gives few bytes at a time.
struct Trickle(Cursor<Vec<u8>>);

impl Read for Trickle {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let most = into.len().min(7);
        self.0.read(into.get_mut(..most).unwrap_or_default())
    }
}

fn read(from: impl Read + Send + 'static) -> Vec<String> {
    /// Enough to see the laws; a compressed file may hold any number.
    const PACKETS_MAX: u64 = 2000;
    let mut told = Vec::new();
    let mut reader = match Reader::new("input", from) {
        Ok(reader) => reader,
        Err(error) => return vec![format!("{:?}", error.fault)],
    };
    let mut before = reader.offset();
    loop {
        match reader.advance() {
            Ok(false) => break,
            Err(error) => {
                told.push(format!("{} {:?}", error.offset, error.fault));
                break;
            }
            Ok(true) => {}
        }
        let Some(packet) = reader.packet() else {
            told.push("no packet".to_owned());
            break;
        };
        assert_eq!(packet.number, told.len() as u64 + 1, "packets are counted");
        told.push(format!("{packet:?}"));
        let (bytes, number) = (packet.data.len() as u64, packet.number);
        assert!(reader.offset() >= before + bytes, "more than was read");
        before = reader.offset();
        if number == PACKETS_MAX {
            break;
        }
    }
    told
}

pub(crate) fn holds(data: &[u8]) {
    let whole = read(Cursor::new(data.to_vec()));
    assert!(!whole.contains(&"no packet".to_owned()));
    assert_eq!(whole, read(Trickle(Cursor::new(data.to_vec()))));
}
