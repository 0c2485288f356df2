//! What is given up, one after the other, while memory is short. Enforcement is not among it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// How much is given up; each step includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Relief {
    /// Nothing.
    #[default]
    Nothing,
    /// Most of the past: the flow ring holds a quarter of its bytes.
    FlowRing,
    /// Headers in flows.
    Headers,
    /// What is told of packets one by one: of a connection its beginning and its end are left.
    Packets,
    /// Requests of ports that are only looked at: new connections there are told as opaque.
    Requests,
}

impl Relief {
    /// All steps, in their order.
    pub const ALL: [Self; 5] = [
        Self::Nothing,
        Self::FlowRing,
        Self::Headers,
        Self::Packets,
        Self::Requests,
    ];

    /// Stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::FlowRing => "flow-ring",
            Self::Headers => "headers",
            Self::Packets => "l4-detail",
            Self::Requests => "l7-detail",
        }
    }

    /// What an operator is told.
    pub fn told(self) -> &'static str {
        match self {
            Self::Nothing => "nothing is given up",
            Self::FlowRing => "the flow ring holds a quarter of its bytes",
            Self::Headers => {
                "flows have no headers, and the flow ring holds a quarter of its bytes"
            }
            Self::Packets => {
                "of packets only beginnings and ends of connections are told, flows have no headers, and \
                 the flow ring holds a quarter of its bytes"
            }
            Self::Requests => {
                "requests of ports that are only looked at are not read in new connections, of packets only \
                 beginnings and ends of connections are told, flows have no headers, and the flow ring \
                 holds a quarter of its bytes"
            }
        }
    }

    /// Its place among [`Self::ALL`].
    pub fn number(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::FlowRing => 1,
            Self::Headers => 2,
            Self::Packets => 3,
            Self::Requests => 4,
        }
    }

    /// The next step; the last one has none.
    #[must_use]
    pub fn more(self) -> Option<Self> {
        Self::ALL.get(usize::from(self.number()) + 1).copied()
    }

    /// The step before; the first one has none.
    #[must_use]
    pub fn less(self) -> Option<Self> {
        let before = usize::from(self.number()).checked_sub(1)?;
        Self::ALL.get(before).copied()
    }
}

/// The step that holds now, for all who record.
#[derive(Debug, Clone, Default)]
pub struct Thrift(Arc<AtomicU8>);

impl Thrift {
    /// The present step.
    pub fn relief(&self) -> Relief {
        let number = usize::from(self.0.load(Ordering::Relaxed));
        Relief::ALL.get(number).copied().unwrap_or_default()
    }

    /// Another step holds.
    pub fn set(&self, relief: Relief) {
        self.0.store(relief.number(), Ordering::Relaxed);
    }

    /// Whether flows have headers.
    pub fn keeps_headers(&self) -> bool {
        self.relief() < Relief::Headers
    }

    /// Whether connections that are only looked at are read.
    pub fn reads_watched(&self) -> bool {
        self.relief() < Relief::Requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_lead_up_and_down_again() {
        let up: Vec<Relief> =
            std::iter::successors(Some(Relief::Nothing), |step| step.more()).collect();
        assert_eq!(up, Relief::ALL);
        let down = std::iter::successors(Some(Relief::Requests), |step| step.less());
        assert!(down.eq(Relief::ALL.into_iter().rev()));
        let thrift = Thrift::default();
        for step in Relief::ALL {
            thrift.clone().set(step);
            assert_eq!(thrift.relief(), step, "shared by all who have it");
        }
    }
}
