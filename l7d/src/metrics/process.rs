//! The agent itself: what it takes, and which version it is.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// What `/proc/self` tells.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // A gauge, since readers of the older format know no infos.
        let mut build = encoder.encode_descriptor(
            "l7d_build_info",
            "The running version",
            None,
            MetricType::Gauge,
        )?;
        let labels = [("version", env!("CARGO_PKG_VERSION"))];
        ConstGauge::new(1_i64).encode(build.encode_family(&labels)?)?;
        let cpu = encoder.encode_descriptor(
            "process_cpu",
            "Total user and system CPU time",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?;
        ConstCounter::new(cpu_time().as_secs_f64()).encode(cpu)?;
        if let Some(bytes) = resident_bytes() {
            let family = encoder.encode_descriptor(
                "process_resident_memory",
                "Resident memory size",
                Some(&Unit::Bytes),
                MetricType::Gauge,
            )?;
            ConstGauge::new(bytes).encode(family)?;
        }
        if let Some(open) = open_descriptors() {
            let family = encoder.encode_descriptor(
                "process_open_fds",
                "Number of open file descriptors",
                None,
                MetricType::Gauge,
            )?;
            ConstGauge::new(open).encode(family)?;
        }
        Ok(())
    }
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn resident_bytes() -> Option<i64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let bytes = pages.checked_mul(rustix::param::page_size() as u64)?;
    i64::try_from(bytes).ok()
}

fn open_descriptors() -> Option<i64> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?;
    // The one that reads the folder is among them.
    i64::try_from(entries.count().checked_sub(1)?).ok()
}
