//! One packet's passage through one hook: everything the steps find out about it.
//!
//! It lives in per-CPU memory, not on the stack: a program has 512 bytes of stack, and steps that
//! are functions of their own (so that each is verified in few states) take at most five words of
//! arguments. What a step finds out is left here as well, instead of being returned: the verifier
//! knows nothing of what is in memory, and so follows the rest of the program once, where it would follow
//! it once for each value that a register may have.

use core::cell::Cell;

use l7d_ebpf::maps::{
    ACTION_ALLOW, Connection, IDENTITY_WORLD, IPCACHE_ADDRESS, Interface, Ipcache, Tuple, Verdict,
};

use super::headers::Packet;
use super::{ipcache, words};
use crate::state::PASSAGE;
use l7d_ebpf::records::{KINDS, RingCount, Scratch};

/// Which side of the node's network sees a packet.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Where it leaves its sender.
    Leaving,
    /// Where it arrives at its receiver.
    Arriving,
}

/// Packets of one direction since its last record at a place.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// `WHY_*`.
    pub(crate) why: u8,
    /// Whether the direction had no record at this place before.
    pub(crate) is_first: bool,
}

/// What is known about the packet at hand.
#[repr(C)]
pub(crate) struct Passage {
    /// What was made for the ring on this CPU, by kind: where a [`Scratch`] has it. A look-up in a
    /// map of its own would be verified again for each way that leads to a record.
    counts: [Cell<RingCount>; KINDS as usize],
    pub(crate) packet: Packet,
    /// Key of its connection.
    pub(crate) tuple: Tuple,
    /// Whether its sender is `a` of the tuple.
    pub(crate) from_a: bool,
    /// Against the direction of the connection's first packet.
    pub(crate) is_reply: bool,
    /// Made by this host's own stack.
    pub(crate) is_local: bool,
    pub(crate) side: Side,
    /// Seen at an uplink, not at a pod's interface.
    pub(crate) is_uplink: bool,
    /// It begins a connection between the ports of another one that has ended.
    pub(crate) replaces: bool,
    /// No other place of this node saw the packet before.
    pub(crate) is_first_place: bool,
    /// It goes to the proxy.
    pub(crate) is_proxied: bool,
    /// What there is to tell of it beyond its flags (`WHY_*`), or 0.
    pub(crate) news: u8,
    /// What is told of it and of those before it.
    pub(crate) run: Run,
    /// What happens to the packet, where a step decided that.
    pub(crate) action: i32,
    /// Generation of the policy when the packet came. It is read before any policy is: a verdict by a
    /// policy that changes meanwhile belongs to the former generation, and is made again.
    pub(crate) generation: u32,
    /// Interface of the hook.
    pub(crate) interface: u32,
    /// Endpoint of the hook.
    pub(crate) endpoint: u32,
    /// Number of its connection, 0 before it has one.
    pub(crate) connection: u64,
    /// When it came, in moments; hooks that count packets note it.
    pub(crate) moment: u32,
    /// When its connection began, where this packet begins it.
    pub(crate) began_ns: u64,
    /// Who sent it.
    pub(crate) source: Ipcache,
    /// Who receives it.
    pub(crate) destination: Ipcache,
    /// Verdicts of the connection, by the egress policy of who began it and the ingress policy of
    /// the other.
    pub(crate) verdicts: [Verdict; 2],
    /// Room for a new connection's entry.
    pub(crate) fresh: Connection,
}

const _: () = assert!(size_of::<Passage>() <= size_of::<Scratch>());

/// Makes the compiler read anew what it has just written to memory. In a register the verifier would know
/// its value, and follow what comes behind for each of them.
#[inline(always)]
pub(crate) fn forget() {
    // SAFETY: no instruction at all; that it may touch memory is all that is said.
    unsafe { core::arch::asm!("") };
}

/// The world.
pub(crate) const NOBODY: Ipcache = Ipcache {
    identity: IDENTITY_WORLD,
    endpoint: 0,
    flags: 0,
};

impl Passage {
    /// This CPU's passage, for the packet that `side` of `interface` sees under `generation` of the
    /// policy; 0 where nothing is judged.
    #[inline(always)]
    pub(crate) fn begin(side: Side, interface: u32, generation: u32) -> Option<&'static mut Self> {
        let passage = PASSAGE.get_ptr_mut(0)?;
        // SAFETY: this CPU's own element, large enough for it; a program run asks once, and a tc
        // program is not interrupted by another one on its CPU.
        let passage = unsafe { &mut *passage.cast::<Self>() };
        passage.side = side;
        passage.generation = generation;
        passage.interface = interface;
        passage.endpoint = 0;
        passage.is_reply = false;
        passage.is_local = false;
        passage.is_uplink = false;
        passage.replaces = false;
        passage.is_first_place = false;
        passage.news = 0;
        passage.connection = 0;
        passage.source = NOBODY;
        passage.destination = NOBODY;
        words::forget(&mut passage.verdicts);
        Some(passage)
    }

    /// Counts a record that is made for the ring.
    #[inline(always)]
    pub(crate) fn count_made(&self, kind: u8) {
        if let Some(count) = self.counts.get(usize::from(kind)) {
            let now = count.get();
            count.set(RingCount {
                made: now.made + 1,
                ..now
            });
        }
    }

    /// Counts a record for which there was no room.
    #[inline(always)]
    pub(crate) fn count_lost(&self, kind: u8) {
        if let Some(count) = self.counts.get(usize::from(kind)) {
            let now = count.get();
            count.set(RingCount {
                lost: now.lost + 1,
                ..now
            });
        }
    }

    /// Whether nothing needs to be asked about this packet: a reply, or a connection whose policy on
    /// this side was asked under this generation.
    #[inline(always)]
    pub(crate) fn is_settled(&self) -> bool {
        let [egress, ingress] = self.verdicts;
        let own = if self.side == Side::Leaving {
            egress
        } else {
            ingress
        };
        self.is_reply || (own.action != 0 && own.generation == self.generation)
    }

    /// Marks this side as asked, also where it has no endpoint, so that the next packet is settled
    /// with one look-up.
    #[inline(always)]
    pub(crate) fn settle(&mut self) {
        let generation = self.generation;
        let [egress, ingress] = &mut self.verdicts;
        let own = if self.side == Side::Leaving {
            egress
        } else {
            ingress
        };
        if own.action == 0 || own.generation != generation {
            own.action = u16::from(ACTION_ALLOW);
            own.is_audited = 0;
            own.generation = generation;
        }
    }

    /// Finds out who both ends are. The hook's own end is known by its interface, not by what it
    /// claims.
    #[inline(always)]
    pub(crate) fn name_ends(&mut self, owner: Interface) {
        let own = Ipcache {
            identity: owner.identity,
            endpoint: owner.endpoint as u16,
            flags: IPCACHE_ADDRESS,
        };
        match self.side {
            Side::Leaving => {
                self.source = own;
                self.destination = ipcache::look_up(&self.packet.destination);
            }
            Side::Arriving => {
                self.source = ipcache::look_up(&self.packet.source);
                self.destination = own;
            }
        }
    }
}
