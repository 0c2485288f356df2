//! Bytes of the ring → a checked kernel record. Pure.

use l7d_ebpf::ABI_VERSION;
use l7d_ebpf::drops::DropRecord;
use l7d_ebpf::maps::{Connection, Counters, Health, TapHalf, Tuple, Verdict};
use l7d_ebpf::records::{
    EndRecord, KIND_DROP, KIND_END, KIND_KERNEL_DROP, KIND_POLICY, KIND_TRACE, PacketRecord,
    Segment,
};

use crate::record::{Ledger, Place};

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Too short or too long.
    #[error("kernel record of {0} bytes")]
    Length(usize),
    /// Another version of the programs wrote it.
    #[error("kernel record of version {0}")]
    Version(u8),
    /// A kind that this version does not know.
    #[error("kernel record of kind {0}")]
    Kind(u8),
}

/// What the ring tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// Packets passed, met a policy, or were dropped by one.
    Packet(PacketRecord),
    /// A connection's place was taken.
    End(Box<EndRecord>),
    /// The kernel itself dropped a packet.
    KernelDrop(DropRecord),
}

/// Reads one record. Numbers are in the machine's byte order: both sides run on it.
pub fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let fault = || DecodeError::Length(bytes.len());
    let [version, kind, ..] = bytes else {
        return Err(fault());
    };
    if *version != ABI_VERSION {
        return Err(DecodeError::Version(*version));
    }
    let mut fields = Fields(bytes);
    let decoded = match *kind {
        KIND_TRACE | KIND_POLICY | KIND_DROP => fields.record().map(Decoded::Packet),
        KIND_KERNEL_DROP => fields.kernel_drop().map(Decoded::KernelDrop),
        KIND_END => fields.end().map(|end| Decoded::End(Box::new(end))),
        kind => return Err(DecodeError::Kind(kind)),
    };
    let is_whole = fields.0.is_empty();
    decoded.filter(|_| is_whole).ok_or_else(fault)
}

/// Reads the key of a connection, as the table has it.
pub fn decode_tuple(bytes: &[u8]) -> Option<Tuple> {
    Fields(bytes).tuple()
}

/// Reads the entry of a connection, as the table has it.
pub fn decode_entry(bytes: &[u8]) -> Option<Connection> {
    Fields(bytes).connection()
}

/// Reads a record of the tap, and the bytes behind it.
pub fn decode_segment(bytes: &[u8]) -> Result<(Segment, &[u8]), DecodeError> {
    let fault = || DecodeError::Length(bytes.len());
    let (head, payload) = bytes
        .split_at_checked(size_of::<Segment>())
        .ok_or_else(fault)?;
    let segment = Fields(head).segment().ok_or_else(fault)?;
    if segment.version != ABI_VERSION {
        return Err(DecodeError::Version(segment.version));
    }
    if usize::try_from(segment.taken).ok() != Some(payload.len()) {
        return Err(fault());
    }
    Ok((segment, payload))
}

/// Counts a record that was read, or that could not be, and gives what was read.
pub fn counted<T>(ledger: &Ledger, read: Result<T, DecodeError>) -> Option<T> {
    ledger.see(Place::Decode, 1);
    match read {
        Ok(record) => {
            ledger.deliver(Place::Decode, 1);
            Some(record)
        }
        Err(error) => {
            tracing::debug!(%error, "a record of the kernel cannot be read");
            ledger.lose(Place::Decode, 1);
            None
        }
    }
}

/// Takes fields off the front, in the order of `repr(C)`; the type has no padding.
struct Fields<'b>(&'b [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_ne_bytes)
    }

    fn tuple(&mut self) -> Option<Tuple> {
        Some(Tuple {
            a: self.take()?,
            b: self.take()?,
            a_port: self.u16()?,
            b_port: self.u16()?,
            protocol: self.u8()?,
            reserved: self.take()?,
        })
    }

    fn end(&mut self) -> Option<EndRecord> {
        Some(EndRecord {
            version: self.u8()?,
            kind: self.u8()?,
            reserved: self.take()?,
            time_ns: self.u64()?,
            tuple: self.tuple()?,
            connection: self.connection()?,
        })
    }

    fn connection(&mut self) -> Option<Connection> {
        Some(Connection {
            verdicts: [self.verdict()?, self.verdict()?],
            id: self.u64()?,
            created_ns: self.u64()?,
            flags: self.u32()?,
            handshake_us: self.u32()?,
            counters: [
                self.counters()?,
                self.counters()?,
                self.counters()?,
                self.counters()?,
                self.counters()?,
                self.counters()?,
            ],
            health: [self.health()?, self.health()?],
            tap: [self.tap()?, self.tap()?],
        })
    }

    fn verdict(&mut self) -> Option<Verdict> {
        Some(Verdict {
            generation: self.u32()?,
            rule: self.u32()?,
            action: self.u16()?,
            is_audited: self.u16()?,
        })
    }

    fn counters(&mut self) -> Option<Counters> {
        Some(Counters {
            packets: self.u64()?,
            bytes: self.u64()?,
            told_packets: self.u64()?,
            told_bytes: self.u64()?,
            told_at: self.u32()?,
            seen_at: self.u32()?,
            flags_seen: self.u8()?,
            reserved: self.take()?,
        })
    }

    fn health(&mut self) -> Option<Health> {
        Some(Health {
            next: self.u32()?,
            timed: self.u32()?,
            timed_us: self.u32()?,
            srtt8_us: self.u32()?,
            min_rtt_us: self.u32()?,
            retransmits: self.u32()?,
            zero_windows: self.u32()?,
            flags: self.u32()?,
        })
    }

    fn tap(&mut self) -> Option<TapHalf> {
        Some(TapHalf {
            skipped: self.u64()?,
            next: self.u32()?,
            budget: self.u32()?,
            hole_from: self.u32()?,
            hole_to: self.u32()?,
            frame_copy: self.u32()?,
            frame_skip: self.u32()?,
            frame_head: self.u32()?,
            frame_head_len: self.u32()?,
            flags: self.u32()?,
            turns: self.u32()?,
        })
    }

    fn segment(&mut self) -> Option<Segment> {
        Some(Segment {
            version: self.u8()?,
            flags: self.u8()?,
            tcp_flags: self.u8()?,
            protocol: self.u8()?,
            taken: self.u32()?,
            time_ns: self.u64()?,
            connection: self.u64()?,
            source: self.take()?,
            destination: self.take()?,
            source_port: self.u16()?,
            destination_port: self.u16()?,
            sequence: self.u32()?,
            acknowledged: self.u32()?,
            missing: self.u32()?,
            skipped: self.u64()?,
            skipped_from: self.u32()?,
            reserved: self.u32()?,
        })
    }

    fn kernel_drop(&mut self) -> Option<DropRecord> {
        Some(DropRecord {
            version: self.u8()?,
            kind: self.u8()?,
            protocol: self.u8()?,
            tcp_flags: self.u8()?,
            icmp_type: self.u8()?,
            icmp_code: self.u8()?,
            flags: self.u16()?,
            time_ns: self.u64()?,
            source: self.take()?,
            destination: self.take()?,
            source_port: self.u16()?,
            destination_port: self.u16()?,
            reason: self.u32()?,
            place: self.u64()?,
            connection: self.u64()?,
            interface: self.u32()?,
            length: self.u32()?,
            queued: self.u32()?,
            queue_limit: self.u32()?,
        })
    }

    fn record(&mut self) -> Option<PacketRecord> {
        Some(PacketRecord {
            version: self.u8()?,
            kind: self.u8()?,
            point: self.u8()?,
            direction: self.u8()?,
            protocol: self.u8()?,
            tcp_flags: self.u8()?,
            state: self.u8()?,
            match_type: self.u8()?,
            time_ns: self.u64()?,
            source: self.take()?,
            destination: self.take()?,
            source_port: self.u16()?,
            destination_port: self.u16()?,
            reason: self.u8()?,
            verdict: self.u8()?,
            icmp_type: self.u8()?,
            icmp_code: self.u8()?,
            source_identity: self.u32()?,
            destination_identity: self.u32()?,
            interface: self.u32()?,
            endpoint: self.u32()?,
            rule: self.u32()?,
            generation: self.u32()?,
            packets: self.u64()?,
            bytes: self.u64()?,
            connection: self.u64()?,
            handshake_us: self.u32()?,
            srtt_us: self.u32()?,
            min_rtt_us: self.u32()?,
            retransmits: self.u32()?,
            zero_windows: self.u32()?,
            why: self.u8()?,
            reserved: self.take()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_record() {
        assert_eq!(decode(&[]), Err(DecodeError::Length(0)));
        let mut bytes = [0; size_of::<PacketRecord>()];
        assert_eq!(decode(&bytes), Err(DecodeError::Version(0)));
        bytes[0] = ABI_VERSION;
        bytes[1] = 99;
        assert_eq!(decode(&bytes), Err(DecodeError::Kind(99)));
        bytes[1] = KIND_DROP;
        assert_eq!(decode(&bytes[..127]), Err(DecodeError::Length(127)));
        bytes[1] = KIND_KERNEL_DROP;
        assert_eq!(decode(&bytes), Err(DecodeError::Length(128)));
    }

    #[test]
    fn reads_fields_where_the_kernel_put_them() {
        let mut bytes = [0; size_of::<PacketRecord>()];
        bytes[0] = ABI_VERSION;
        bytes[1] = KIND_DROP;
        bytes[48..50].copy_from_slice(&4711_u16.to_ne_bytes());
        bytes[52] = 133;
        bytes[96..104].copy_from_slice(&7_u64.to_ne_bytes());
        let Ok(Decoded::Packet(record)) = decode(&bytes) else {
            panic!("a packet");
        };
        assert_eq!(record.source_port, 4711);
        assert_eq!(record.reason, 133);
        assert_eq!(record.connection, 7);
        assert_eq!(decode(&bytes[1..]), Err(DecodeError::Version(KIND_DROP)));
        assert_eq!(decode(&bytes[..127]), Err(DecodeError::Length(127)));
    }

    #[test]
    fn reads_a_connection_that_ended() {
        let mut bytes = [0; size_of::<EndRecord>()];
        bytes[0] = ABI_VERSION;
        bytes[1] = KIND_END;
        bytes[48..50].copy_from_slice(&80_u16.to_ne_bytes());
        bytes[56 + 24..56 + 32].copy_from_slice(&9_u64.to_ne_bytes());
        bytes[56 + 496 - 4..].copy_from_slice(&5_u32.to_ne_bytes());
        let Ok(Decoded::End(end)) = decode(&bytes) else {
            panic!("an end");
        };
        assert_eq!((end.tuple.a_port, end.connection.id), (80, 9));
        assert_eq!(end.connection.tap[1].turns, 5);
        assert!(decode(&bytes[..500]).is_err());
    }

    #[test]
    fn reads_what_the_kernel_says_of_a_drop() {
        let mut bytes = [0; size_of::<DropRecord>()];
        bytes[0] = ABI_VERSION;
        bytes[1] = KIND_KERNEL_DROP;
        bytes[52..56].copy_from_slice(&12_u32.to_ne_bytes());
        bytes[56..64].copy_from_slice(&u64::MAX.to_ne_bytes());
        bytes[84..88].copy_from_slice(&128_u32.to_ne_bytes());
        let Ok(Decoded::KernelDrop(record)) = decode(&bytes) else {
            panic!("a drop");
        };
        assert_eq!(record.reason, 12);
        assert_eq!(record.place, u64::MAX);
        assert_eq!(record.queue_limit, 128);
    }

    #[test]
    fn what_cannot_be_read_is_counted_beside_what_can() {
        let ledger = Ledger::default();
        let mut good = [0; size_of::<PacketRecord>()];
        good[0] = ABI_VERSION;
        good[1] = KIND_DROP;
        for length in 0..=good.len() {
            let read = counted(&ledger, decode(&good[..length]));
            assert_eq!(read.is_some(), length == good.len());
        }
        let mut tapped = [0; size_of::<Segment>()];
        assert!(counted(&ledger, decode_segment(&tapped)).is_none());
        tapped[0] = ABI_VERSION;
        assert!(counted(&ledger, decode_segment(&tapped)).is_some());
        let tally = ledger.tally(Place::Decode);
        let broken = good.len() as u64 + 1;
        assert_eq!(
            (tally.seen, tally.delivered, tally.lost),
            (broken + 2, 2, broken)
        );
    }
}
