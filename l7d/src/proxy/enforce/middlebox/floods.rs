//! Frames that cost their sender nothing and others work: so many at once, and so many a second
//! (RFC 9113 §10.5).

use parsers::http2::ErrorCode;
use parsers::{Error, Fault};

use super::Broken;
use crate::clock::{Clock, Monotonic};

/// What a client may spend.
pub(super) struct Floods {
    /// `RST_STREAM`: a request that is taken back at once costs a server its start (CVE-2023-44487).
    resets: Bucket,
    /// PING, SETTINGS, PRIORITY and extensions: each is answered or worked on (CVE-2019-9512, -9515).
    control: Bucket,
    /// `WINDOW_UPDATE`: each is passed on. Some per frame of the server's payload are usual, at any speed,
    /// and are earned by it; the rest is for windows that a client opens beforehand.
    windows: Bucket,
    /// DATA frames without payload in a row (CVE-2019-9518).
    empty: u32,
}

/// What a client has spent, as it goes to another process.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Spent {
    /// Of each bucket, what is left, and since when it fills.
    buckets: [(u64, Monotonic); 3],
    empty: u32,
}

/// In a row; some libraries send one to end a stream.
const EMPTY_MAX: u32 = 100;

struct Bucket {
    left: u64,
    burst: u64,
    per_second: u64,
    filled: Monotonic,
    rule: &'static str,
}

impl Floods {
    pub(super) fn new(clock: &Clock) -> Self {
        let now = clock.monotonic();
        let bucket = |burst, per_second, rule| Bucket {
            left: burst,
            burst,
            per_second,
            filled: now,
            rule,
        };
        Self {
            resets: bucket(500, 100, "too-many-resets"),
            control: bucket(2000, 500, "too-many-control-frames"),
            windows: bucket(20_000, 1000, "too-many-window-updates"),
            empty: 0,
        }
    }

    /// For another process.
    pub(super) fn save(&self) -> Spent {
        let buckets = [&self.resets, &self.control, &self.windows];
        Spent {
            buckets: buckets.map(|bucket| (bucket.left, bucket.filled)),
            empty: self.empty,
        }
    }

    /// Goes on where another process stopped, within the bounds of this one.
    pub(super) fn restore(spent: &Spent, clock: &Clock) -> Self {
        let mut floods = Self::new(clock);
        let buckets = [&mut floods.resets, &mut floods.control, &mut floods.windows];
        for (bucket, (left, filled)) in buckets.into_iter().zip(spent.buckets) {
            bucket.left = left.min(bucket.burst);
            bucket.filled = filled;
        }
        floods.empty = spent.empty;
        floods
    }

    pub(super) fn reset(&mut self, clock: &Clock) -> Result<(), Broken> {
        self.resets.take(clock)
    }

    pub(super) fn control(&mut self, clock: &Clock) -> Result<(), Broken> {
        self.control.take(clock)
    }

    /// `earned` more have a reason since the last one.
    pub(super) fn window(&mut self, earned: u64, clock: &Clock) -> Result<(), Broken> {
        self.windows.earn(earned);
        self.windows.take(clock)
    }

    pub(super) fn data(&mut self, bytes: usize, is_last: bool) -> Result<(), Broken> {
        if bytes > 0 || is_last {
            self.empty = 0;
            return Ok(());
        }
        self.empty += 1;
        if self.empty > EMPTY_MAX {
            return Err(too_many("too-many-empty-frames"));
        }
        Ok(())
    }
}

impl Bucket {
    fn earn(&mut self, count: u64) {
        self.left = self.left.saturating_add(count).min(self.burst);
    }

    /// Reads the clock only when what was there is spent.
    fn take(&mut self, clock: &Clock) -> Result<(), Broken> {
        if self.left == 0 {
            let now = clock.monotonic();
            let nanos = u128::from(now.nanos_since(self.filled));
            let earned = nanos * u128::from(self.per_second) / 1_000_000_000;
            self.left = u64::try_from(earned).unwrap_or(u64::MAX).min(self.burst);
            if self.left == 0 {
                return Err(too_many(self.rule));
            }
            self.filled = now;
        }
        self.left -= 1;
        Ok(())
    }
}

fn too_many(rule: &'static str) -> Broken {
    Broken {
        code: ErrorCode::ENHANCE_YOUR_CALM,
        error: Error {
            fault: Fault::TooLarge,
            rule,
            section: "RFC 9113 §10.5",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn what_is_spent_comes_back_with_time() {
        let clock = Clock::captured();
        clock.set(Timestamp(1_000_000_000));
        let mut floods = Floods::new(&clock);
        for _ in 0..500 {
            floods.reset(&clock).unwrap();
        }
        let broken = floods.reset(&clock).unwrap_err();
        assert_eq!(broken.error.rule, "too-many-resets");
        assert_eq!(broken.code, ErrorCode::ENHANCE_YOUR_CALM);
        clock.set(Timestamp(2_000_000_000));
        for _ in 0..100 {
            floods.reset(&clock).unwrap();
        }
        assert!(floods.reset(&clock).is_err());
    }

    #[test]
    fn windows_are_opened_for_what_was_sent_and_not_for_nothing() {
        let clock = Clock::captured();
        clock.set(Timestamp(1_000_000_000));
        let mut floods = Floods::new(&clock);
        for _ in 0..100_000 {
            floods.window(2, &clock).unwrap();
            floods.window(0, &clock).unwrap();
        }
        for _ in 0..20_000 {
            let _spent = floods.window(0, &clock);
        }
        let broken = floods.window(0, &clock).unwrap_err();
        assert_eq!(broken.error.rule, "too-many-window-updates");
        clock.set(Timestamp(2_000_000_000));
        let mut more = (0..1001).map(|_| floods.window(0, &clock));
        assert_eq!(more.position(|result| result.is_err()), Some(1000));
    }

    #[test]
    fn payload_between_empty_frames_makes_them_usual() {
        let clock = Clock::captured();
        let mut floods = Floods::new(&clock);
        for _ in 0..10_000 {
            floods.data(0, false).unwrap();
            floods.data(1, false).unwrap();
        }
        let mut run = (0..=EMPTY_MAX).map(|_| floods.data(0, false));
        assert!(run.any(|result| result.is_err()));
    }
}
