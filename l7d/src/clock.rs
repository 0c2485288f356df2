//! The only place that reads time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Wall-clock time in nanoseconds since 1970-01-01 UTC.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Timestamp(pub u64);

/// Monotonic time in nanoseconds since boot (`CLOCK_MONOTONIC`, what `bpf_ktime_get_ns` reads).
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Monotonic(pub u64);

impl Timestamp {
    /// Now.
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// As RFC 3339 has it, in UTC, with microseconds.
    pub fn to_rfc3339_micros(self) -> String {
        let nanos = i128::from(self.0);
        let time = jiff::Timestamp::from_nanosecond(nanos).unwrap_or_default();
        format!("{time:.6}")
    }

    /// Whole seconds and the nanoseconds beyond, as protobuf has them.
    pub fn to_parts(self) -> (i64, i32) {
        let secs = i64::try_from(self.0 / 1_000_000_000).unwrap_or(i64::MAX);
        let nanos = i32::try_from(self.0 % 1_000_000_000).unwrap_or(0);
        (secs, nanos)
    }
}

impl Monotonic {
    /// Now.
    pub fn now() -> Self {
        Self::read(ClockId::Monotonic)
    }

    /// Now, or some milliseconds before: several times as cheap.
    pub fn recent() -> Self {
        Self::read(ClockId::MonotonicCoarse)
    }

    fn read(clock: ClockId) -> Self {
        let time = clock_gettime(clock);
        let secs = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
        Self(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    /// Nanoseconds from `earlier` to this instant; 0 if it is later.
    pub fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What time it is for whoever reads connections: now, or when a packet was captured.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<std::cell::Cell<u64>>);

impl Clock {
    /// The system's.
    pub fn system() -> Self {
        Self(None)
    }

    /// A capture's: it stands at what [`Clock::set`] said last.
    pub fn captured() -> Self {
        Self(Some(std::cell::Cell::new(0)))
    }

    /// Moves a captured clock; the system's goes by itself.
    pub fn set(&self, time: Timestamp) {
        if let Some(captured) = &self.0 {
            captured.set(time.0);
        }
    }

    /// The wall clock.
    pub fn wall(&self) -> Timestamp {
        match &self.0 {
            Some(captured) => Timestamp(captured.get()),
            None => Timestamp::now(),
        }
    }

    /// For durations.
    pub fn monotonic(&self) -> Monotonic {
        match &self.0 {
            Some(captured) => Monotonic(captured.get()),
            None => Monotonic::now(),
        }
    }

    /// For durations of seconds that are looked at all the time.
    pub fn recent(&self) -> Monotonic {
        match &self.0 {
            Some(captured) => Monotonic(captured.get()),
            None => Monotonic::recent(),
        }
    }
}

/// Turns the kernel's monotonic stamps into wall-clock time. Refreshed now and then, since the
/// wall clock may be set.
#[derive(Debug, Clone, Copy)]
pub struct WallOffset(u64);

impl WallOffset {
    /// Measures the offset now.
    pub fn measure() -> Self {
        Self(Timestamp::now().0.saturating_sub(Monotonic::now().0))
    }

    /// Wall-clock time of a monotonic instant.
    pub fn to_wall(self, at: Monotonic) -> Timestamp {
        Timestamp(at.0.saturating_add(self.0))
    }
}
