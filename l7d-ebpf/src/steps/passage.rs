//! One packet's passage through one hook: everything the steps find out about it.
//!
//! It lives in per-CPU memory, not on the stack: a program has 512 bytes of stack, and steps that
//! are functions of their own (so that each is verified in few states) take at most five words of
//! arguments.

use l7d_ebpf::maps::{
    ACTION_ALLOW, Connection, IDENTITY_WORLD, IPCACHE_ADDRESS, Interface, Ipcache, Tuple, Verdict,
};

use super::headers::Packet;
use super::ipcache;
use crate::state::PASSAGE;

/// Which side of the node's network sees a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Where it leaves its sender.
    Leaving,
    /// Where it arrives at its receiver.
    Arriving,
}

/// What is known about the packet at hand.
#[repr(C)]
pub(crate) struct Passage {
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
    /// Generation of the policy when the packet came. It is read before any policy is: a verdict by a
    /// policy that changes meanwhile belongs to the former generation, and is made again.
    pub(crate) generation: u32,
    /// Interface of the hook.
    pub(crate) interface: u32,
    /// Endpoint of the hook.
    pub(crate) endpoint: u32,
    /// Number of its connection, 0 before it has one.
    pub(crate) connection: u64,
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

/// Not judged yet.
pub(crate) const NO_VERDICT: Verdict = Verdict {
    generation: 0,
    rule: 0,
    action: 0,
    is_audited: 0,
};

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
        // SAFETY: this CPU's own element; a program run asks once, and a tc program is not
        // interrupted by another one on its CPU.
        let passage = unsafe { &mut *passage };
        passage.side = side;
        passage.generation = generation;
        passage.interface = interface;
        passage.endpoint = 0;
        passage.is_reply = false;
        passage.is_local = false;
        passage.connection = 0;
        passage.source = NOBODY;
        passage.destination = NOBODY;
        passage.verdicts = [NO_VERDICT; 2];
        Some(passage)
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
