//! Whether a relay is of use: it knows agents, and reaches one.

use std::sync::Arc;

use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};

use super::pool::Nodes;
use crate::server::HEALTH_NAME;

/// The service, and what keeps it true.
pub(super) fn service(
    mut nodes: watch::Receiver<Arc<Nodes>>,
) -> (HealthServer<impl Health>, impl Future<Output = ()>) {
    let (reporter, service) = tonic_health::server::health_reporter();
    let keeping = async move {
        nodes.mark_changed();
        while nodes.changed().await.is_ok() {
            let is_of_use = is_of_use(&nodes.borrow_and_update());
            let status = if is_of_use {
                ServingStatus::Serving
            } else {
                ServingStatus::NotServing
            };
            for name in ["", HEALTH_NAME] {
                reporter.set_service_status(name, status).await;
            }
        }
    };
    (service, keeping)
}

fn is_of_use(nodes: &Nodes) -> bool {
    nodes.is_current && nodes.ready().next().is_some()
}
