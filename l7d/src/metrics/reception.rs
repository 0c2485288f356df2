//! Clients that were sent away.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use crate::reception::{Places, Refusal};

/// Writes how many were sent away from places, by what of them and why.
pub(super) fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    places: &[(&'static str, &Arc<Places>)],
) -> fmt::Result {
    let help = "Connections and calls that found no place, or said nothing in time";
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (what, places) in places {
        for refusal in Refusal::ALL {
            let labels = [("what", *what), ("reason", refusal.name())];
            let value = family.encode_family(&labels)?;
            ConstCounter::new(places.refused(refusal)).encode(value)?;
        }
    }
    Ok(())
}
