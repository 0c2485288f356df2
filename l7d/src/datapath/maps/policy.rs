//! Entries of policy sets, and how the kernel's map has them.

use l7d_ebpf::maps::{
    ACTION_ALLOW, ACTION_DENY, ACTION_REDIRECT, POLICY_BITS_IDENTITY, POLICY_BITS_PROTOCOL, Policy,
    PolicyKey, policy_key,
};
use l7d_ebpf::records::{DIRECTION_EGRESS, DIRECTION_INGRESS};

/// One entry of a policy set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyEntry {
    /// Towards or away from the endpoint.
    pub direction: PolicyDirection,
    /// Identity of the other end, 0 for any.
    pub identity: u32,
    /// IP protocol, 0 for any.
    pub protocol: u8,
    /// Port of the receiver.
    pub port: u16,
    /// Leading bits of the port that count: 16 for exactly this one, 0 for any.
    pub port_bits: u8,
    /// What the entry says.
    pub action: PolicyAction,
    /// Hubble's match type.
    pub match_type: u8,
    /// Rule that made it.
    pub rule: u32,
}

/// Direction of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyDirection {
    /// Away from the endpoint.
    Egress,
    /// Towards the endpoint.
    Ingress,
}

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyAction {
    /// Pass.
    Allow,
    /// Let the proxy judge.
    Redirect,
    /// Drop.
    Deny,
}

/// What an entry is about, sorted by identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) identity: u32,
    pub(super) direction: PolicyDirection,
    pub(super) protocol: u8,
    pub(super) port: u16,
    pub(super) port_bits: u8,
}

/// What an entry says, and by which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) action: PolicyAction,
    pub(super) match_type: u8,
    pub(super) rule: u32,
}

impl PolicyEntry {
    pub(super) fn split(&self) -> (Key, Said) {
        let key = Key {
            identity: self.identity,
            direction: self.direction,
            protocol: self.protocol,
            port: self.port,
            port_bits: self.port_bits.min(16),
        };
        let said = Said {
            action: self.action,
            match_type: self.match_type,
            rule: self.rule,
        };
        (key, said)
    }
}

impl PolicyDirection {
    fn number(self) -> u8 {
        match self {
            Self::Egress => DIRECTION_EGRESS,
            Self::Ingress => DIRECTION_INGRESS,
        }
    }

    fn from_number(number: u8) -> Self {
        if number == DIRECTION_EGRESS {
            Self::Egress
        } else {
            Self::Ingress
        }
    }
}

impl Key {
    /// The kernel's prefix length and key data in the set of a slot.
    pub(super) fn in_slot(self, slot: u16) -> (u32, PolicyKey) {
        let bits = if self.protocol == 0 {
            POLICY_BITS_IDENTITY
        } else {
            POLICY_BITS_PROTOCOL + u32::from(self.port_bits)
        };
        let direction = self.direction.number();
        let data = policy_key(slot, direction, self.identity, self.protocol, self.port);
        (bits, data)
    }

    /// The slot and the key of an entry that an earlier start wrote.
    pub(super) fn of_kernel(bits: u32, data: PolicyKey) -> (u16, Self) {
        let [
            slot_high,
            slot_low,
            direction,
            _,
            identity @ ..,
            protocol,
            high,
            low,
            _,
        ] = data;
        let key = Self {
            identity: u32::from_be_bytes(identity),
            direction: PolicyDirection::from_number(direction),
            protocol,
            port: u16::from_be_bytes([high, low]),
            port_bits: u8::try_from(bits.saturating_sub(POLICY_BITS_PROTOCOL)).unwrap_or(16),
        };
        (u16::from_be_bytes([slot_high, slot_low]), key)
    }
}

impl Said {
    pub(super) fn to_kernel(self) -> Policy {
        Policy {
            action: match self.action {
                PolicyAction::Allow => ACTION_ALLOW,
                PolicyAction::Redirect => ACTION_REDIRECT,
                PolicyAction::Deny => ACTION_DENY,
            },
            match_type: self.match_type,
            reserved: 0,
            rule: self.rule,
        }
    }

    pub(super) fn of_kernel(policy: Policy) -> Self {
        Self {
            action: match policy.action {
                ACTION_ALLOW => PolicyAction::Allow,
                ACTION_REDIRECT => PolicyAction::Redirect,
                _ => PolicyAction::Deny,
            },
            match_type: policy.match_type,
            rule: policy.rule,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: PolicyEntry = PolicyEntry {
        direction: PolicyDirection::Egress,
        identity: 7,
        protocol: 0,
        port: 0,
        port_bits: 0,
        action: PolicyAction::Allow,
        match_type: 1,
        rule: 3,
    };

    #[test]
    fn an_entry_without_protocol_matches_on_the_identity_alone() {
        let (bits, data) = ENTRY.split().0.in_slot(1);
        assert_eq!(bits, 64);
        assert_eq!(data, [0, 1, 2, 0, 0, 0, 0, 7, 0, 0, 0, 0]);
    }

    #[test]
    fn an_entry_comes_back_from_the_kernel_as_it_went() {
        let of_port = PolicyEntry {
            protocol: 6,
            port: 443,
            port_bits: 16,
            direction: PolicyDirection::Ingress,
            action: PolicyAction::Redirect,
            ..ENTRY
        };
        for entry in [ENTRY, of_port] {
            let (key, said) = entry.split();
            let (bits, data) = key.in_slot(513);
            assert_eq!(Key::of_kernel(bits, data), (513, key));
            assert_eq!(Said::of_kernel(said.to_kernel()), said);
        }
    }
}
