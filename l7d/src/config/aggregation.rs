//! How much of the kernel's packets is told.

use std::time::Duration;

use l7d_ebpf::maps::{AGGREGATION_LOW, AGGREGATION_MAXIMUM, AGGREGATION_MEDIUM, AGGREGATION_NONE};

/// What of packets becomes a record. Whatever the level, each packet is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aggregation {
    /// Which packets are told one by one; default: medium.
    pub level: AggregationLevel,
    /// Long connections are told of this often; default 5 s.
    pub interval: Duration,
}

/// Cilium's levels of monitor aggregation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AggregationLevel {
    /// Each packet, where it comes from and where it goes.
    None,
    /// Each packet, where it goes.
    Low,
    /// Of each direction of a connection the first packet, TCP flags that are new, and in intervals
    /// what came meanwhile.
    #[default]
    Medium,
    /// Of each connection its beginning, resets, its end, and in intervals what came meanwhile.
    Maximum,
}

impl AggregationLevel {
    /// All levels by their names.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("none", Self::None),
        ("low", Self::Low),
        ("medium", Self::Medium),
        ("maximum", Self::Maximum),
    ];

    /// As it is written in the configuration.
    pub fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, level)| *level == self);
        named.map_or("", |(name, _)| name)
    }

    /// As the kernel programs know it.
    pub fn number(self) -> u32 {
        match self {
            Self::None => AGGREGATION_NONE,
            Self::Low => AGGREGATION_LOW,
            Self::Medium => AGGREGATION_MEDIUM,
            Self::Maximum => AGGREGATION_MAXIMUM,
        }
    }
}

impl Default for Aggregation {
    fn default() -> Self {
        Self {
            level: AggregationLevel::default(),
            interval: Duration::from_secs(5),
        }
    }
}
