//! How long answers take: a histogram whose buckets are an eighth of their octave wide, so that a
//! quantile is at most 6 % away from the truth.

/// Buckets in an octave, as a power of two.
const FINE_BITS: u32 = 3;

/// Times; only buckets that hold something take memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Latencies {
    /// Bucket and count, sorted.
    buckets: Vec<(u16, u64)>,
    count: u64,
}

impl Latencies {
    /// Adds a time.
    pub(super) fn add(&mut self, nanos: u64) {
        self.add_to(bucket(nanos / 1000), 1);
    }

    fn add_to(&mut self, bucket: u16, count: u64) {
        self.count += count;
        match self.buckets.binary_search_by_key(&bucket, |(at, _)| *at) {
            Ok(at) => {
                if let Some((_, held)) = self.buckets.get_mut(at) {
                    *held += count;
                }
            }
            Err(at) => self.buckets.insert(at, (bucket, count)),
        }
    }

    /// Adds all of `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            self.add_to(*bucket, *count);
        }
    }

    /// The time, in microseconds, that `percent` of all are no longer than.
    pub(super) fn quantile_us(&self, percent: u64) -> Option<u64> {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut passed = 0;
        let found = self.buckets.iter().find(|(_, count)| {
            passed += count;
            passed >= rank
        });
        found.map(|(bucket, _)| middle(*bucket))
    }
}

/// Below 16 µs each has its own; above, the octave and the three bits behind the first one.
fn bucket(micros: u64) -> u16 {
    let linear = 2 << FINE_BITS;
    if micros < linear {
        return u16::try_from(micros).unwrap_or(0);
    }
    let octave = micros.ilog2();
    let fine = (micros >> (octave - FINE_BITS)) & ((1 << FINE_BITS) - 1);
    let index = u64::from((octave - FINE_BITS) << FINE_BITS) + fine + (1 << FINE_BITS);
    u16::try_from(index).unwrap_or(u16::MAX)
}

/// The middle of a bucket.
fn middle(bucket: u16) -> u64 {
    let index = u64::from(bucket);
    if index < 2 << FINE_BITS {
        return index;
    }
    let octave = (index >> FINE_BITS) - 1;
    let fine = index & ((1 << FINE_BITS) - 1);
    let low = ((1 << FINE_BITS) + fine) << octave;
    low + (1 << octave) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near_the_truth() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile_us(50), None);
        for micros in 1..=10_000_u64 {
            latencies.add(micros * 1000);
        }
        for (percent, truth) in [(1, 100), (50, 5000), (99, 9900), (100, 10_000)] {
            let told = latencies.quantile_us(percent).unwrap();
            let off = told.abs_diff(truth) * 100 / truth;
            assert!(off <= 6, "{percent} %: {told} for {truth}");
        }
    }

    #[test]
    fn short_times_are_told_exactly_and_long_ones_fit() {
        for micros in 0..16 {
            assert_eq!(middle(bucket(micros)), micros);
        }
        for micros in [16, 17, 100, 123_456, 3_600_000_000, u64::MAX / 1000] {
            let told = middle(bucket(micros));
            assert!(told.abs_diff(micros) <= micros / 16, "{told} for {micros}");
        }
    }

    #[test]
    fn what_was_counted_apart_is_merged_as_if_it_had_not_been() {
        let (mut one, mut other, mut both) = <(Latencies, Latencies, Latencies)>::default();
        for nanos in (0..400).map(|step| step * step * 1000) {
            let half = if nanos % 3 == 0 { &mut one } else { &mut other };
            half.add(nanos);
            both.add(nanos);
        }
        one.merge(&other);
        assert_eq!(one, both);
        assert_eq!(one.count, 400);
    }
}
