//! What becomes of a packet in nftables, rule by rule: `nft_trace.c` tells it of packets for which
//! `meta nftrace set 1` was said.
//!
//! ```text
//!   nfgenmsg: family:u8 version:u8 id:u16 │ attributes: table, chain, handle, kind, verdict, packet…
//! ```
//!
//! Numbers are those of the kernel's `linux/netfilter/nf_tables.h`. The packet's headers come with the
//! first message of each packet only; its number comes with all.

use super::Message;
use super::attributes::Attributes;
use crate::error::{Error, Fault};

const SECTION: &str = "linux/netfilter/nf_tables.h";

/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_TRACE`.
const TRACE: u16 = 0x0a11;

const TABLE: u16 = 1;
const CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
const KIND: u16 = 4;
const VERDICT: u16 = 5;
const ID: u16 = 6;
const NETWORK_HEADER: u16 = 8;
const TRANSPORT_HEADER: u16 = 9;
const POLICY: u16 = 16;
/// Within a verdict.
const VERDICT_CODE: u16 = 1;

/// The lower bits of a verdict; the upper ones are an error number.
const VERDICT_MASK: u32 = 0xff;
const NF_DROP: u32 = 0;

/// One step of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'b> {
    /// Family of the table, as `AF_*` and `NFPROTO_*` have it.
    pub family: u8,
    /// Number of the packet, the same in all its steps.
    pub packet: u32,
    /// Table.
    pub table: &'b str,
    /// Chain.
    pub chain: &'b str,
    /// What decided.
    pub by: By,
    /// Whether the packet ends here.
    pub is_drop: bool,
    /// The IP header; in the first message of a packet.
    pub network: Option<&'b [u8]>,
    /// What follows it, as much as the kernel shows.
    pub transport: Option<&'b [u8]>,
}

/// What decided on a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The chain's policy.
    Policy,
    /// The end of a chain that was jumped to.
    Return,
    /// A rule, by its handle.
    Rule(u64),
}

impl By {
    fn of(kind: u32, handle: u64) -> Option<Self> {
        match kind {
            1 => Some(Self::Policy),
            2 => Some(Self::Return),
            3 => Some(Self::Rule(handle)),
            _ => None,
        }
    }
}

/// Reads a step; `None` of any other message.
pub fn step<'b>(message: &Message<'b>) -> Result<Option<Step<'b>>, Error> {
    if message.kind != TRACE {
        return Ok(None);
    }
    let fault = |rule| Error::new(Fault::Truncated, rule, SECTION);
    let (header, rest) = message
        .payload
        .split_first_chunk::<4>()
        .ok_or(fault("nfgenmsg"))?;
    let [family, ..] = *header;
    let (mut packet, mut kind, mut handle, mut is_drop) = (None, 0, 0, false);
    let (mut table, mut chain) = ("", "");
    let (mut network, mut transport) = (None, None);
    for attribute in Attributes::new(rest) {
        let attribute = attribute?;
        match attribute.kind {
            TABLE => table = text(attribute.value),
            CHAIN => chain = text(attribute.value),
            RULE_HANDLE => handle = u64::from_be_bytes(attribute.array()?),
            KIND => kind = u32::from_be_bytes(attribute.array()?),
            ID => packet = Some(u32::from_be_bytes(attribute.array()?)),
            VERDICT => is_drop |= is_drop_verdict(attribute.nested())?,
            POLICY => is_drop |= u32::from_be_bytes(attribute.array()?) == NF_DROP,
            NETWORK_HEADER => network = Some(attribute.value),
            TRANSPORT_HEADER => transport = Some(attribute.value),
            _ => {}
        }
    }
    let (Some(packet), Some(by)) = (packet, By::of(kind, handle)) else {
        return Err(fault("nft-trace"));
    };
    Ok(Some(Step {
        family,
        packet,
        table,
        chain,
        by,
        is_drop,
        network,
        transport,
    }))
}

/// Verdicts of nftables itself (jump, continue…) are negative and no drops.
fn is_drop_verdict(attributes: Attributes<'_>) -> Result<bool, Error> {
    for attribute in attributes {
        let attribute = attribute?;
        if attribute.kind == VERDICT_CODE {
            let code = u32::from_be_bytes(attribute.array()?);
            return Ok(code >> 31 == 0 && code & VERDICT_MASK == NF_DROP);
        }
    }
    Ok(false)
}

/// A name, without the 0 that ends it.
fn text(value: &[u8]) -> &str {
    let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
    std::str::from_utf8(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::attributes::{nest, write};
    use super::*;

    fn message(payload: &[u8]) -> Message<'_> {
        Message {
            kind: TRACE,
            flags: 0,
            sequence: 0,
            payload,
        }
    }

    fn told(kind: u32, verdict: u32) -> Vec<u8> {
        let mut bytes = vec![1, 0, 0, 0];
        write(&mut bytes, ID, &7_u32.to_be_bytes());
        write(&mut bytes, TABLE, b"filter\0");
        write(&mut bytes, CHAIN, b"forward\0");
        write(&mut bytes, RULE_HANDLE, &9_u64.to_be_bytes());
        write(&mut bytes, KIND, &kind.to_be_bytes());
        nest(&mut bytes, VERDICT, |out| {
            write(out, VERDICT_CODE, &verdict.to_be_bytes());
        });
        bytes
    }

    #[test]
    fn a_step_names_table_chain_and_rule() {
        let bytes = told(3, 0);
        let step = step(&message(&bytes)).expect("readable").expect("a step");
        assert_eq!((step.table, step.chain), ("filter", "forward"));
        assert_eq!((step.by, step.is_drop), (By::Rule(9), true));
        assert_eq!((step.family, step.packet), (1, 7));
    }

    #[test]
    fn a_drop_may_bear_an_error_and_a_jump_is_none() {
        let is_drop = |kind, verdict| {
            let bytes = told(kind, verdict);
            let step = step(&message(&bytes)).expect("readable").expect("a step");
            step.is_drop
        };
        assert!(is_drop(3, 0x0001_0000));
        for verdict in [1, 0xffff_ffff, 0xffff_fffd] {
            assert!(!is_drop(3, verdict), "{verdict:#x}");
        }
    }

    #[test]
    fn other_messages_are_none_and_short_ones_a_fault() {
        let bytes = told(3, 0);
        let other = Message {
            kind: 3,
            ..message(&bytes)
        };
        assert_eq!(step(&other), Ok(None));
        for end in 0..bytes.len() {
            // What ends between attributes lacks its kind, or its number.
            let cut = bytes.get(..end).expect("shorter");
            let read = step(&message(cut));
            assert!(read.is_err() || end >= 48, "{end}: {read:?}");
        }
        assert!(step(&message(&told(0, 0))).is_err());
    }
}
