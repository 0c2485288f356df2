//! Bytes of the ring → a checked kernel record. Pure.

use l7d_ebpf::ABI_VERSION;
use l7d_ebpf::records::{KIND_DROP, KIND_POLICY, KIND_TRACE, PacketRecord, Segment};

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

/// Reads one record. Numbers are in the machine's byte order: both sides run on it.
pub fn decode(bytes: &[u8]) -> Result<PacketRecord, DecodeError> {
    let fault = || DecodeError::Length(bytes.len());
    if bytes.len() != size_of::<PacketRecord>() {
        return Err(fault());
    }
    let mut fields = Fields(bytes);
    let record = fields.record().ok_or_else(fault)?;
    if record.version != ABI_VERSION {
        return Err(DecodeError::Version(record.version));
    }
    match record.kind {
        KIND_TRACE | KIND_POLICY | KIND_DROP => Ok(record),
        kind => Err(DecodeError::Kind(kind)),
    }
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
    }

    #[test]
    fn reads_fields_where_the_kernel_put_them() {
        let mut bytes = [0; size_of::<PacketRecord>()];
        bytes[0] = ABI_VERSION;
        bytes[1] = KIND_DROP;
        bytes[48..50].copy_from_slice(&4711_u16.to_ne_bytes());
        bytes[52] = 133;
        bytes[96..104].copy_from_slice(&7_u64.to_ne_bytes());
        let record = decode(&bytes).expect("a record");
        assert_eq!(record.source_port, 4711);
        assert_eq!(record.reason, 133);
        assert_eq!(record.connection, 7);
    }
}
