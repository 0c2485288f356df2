//! Agent events, as messages.

use proto::flow::agent_event::Notification;
use proto::flow::{
    self as pb, AgentEventType, EndpointRegenNotification, EndpointUpdateNotification,
    IpCacheNotification, PolicyUpdateNotification, TimeNotification,
};

use super::timestamp;
use crate::record::{AddressChange, AgentEvent, Endpoint, PolicyChange};

/// The message of an event.
pub fn agent_event(event: &AgentEvent) -> pb::AgentEvent {
    let (kind, notification) = match event {
        AgentEvent::Started { at } => (
            AgentEventType::AgentStarted,
            Notification::AgentStart(TimeNotification {
                time: Some(timestamp(*at)),
            }),
        ),
        AgentEvent::PolicyUpdated(change) => (AgentEventType::PolicyUpdated, policy(change)),
        AgentEvent::PolicyDeleted(change) => (AgentEventType::PolicyDeleted, policy(change)),
        AgentEvent::EndpointCreated(one) => (AgentEventType::EndpointCreated, endpoint(one)),
        AgentEvent::EndpointDeleted(one) => (AgentEventType::EndpointDeleted, endpoint(one)),
        AgentEvent::EndpointRegenerated { endpoint, error } => (
            if error.is_empty() {
                AgentEventType::EndpointRegenerateSuccess
            } else {
                AgentEventType::EndpointRegenerateFailure
            },
            Notification::EndpointRegenerate(EndpointRegenNotification {
                id: endpoint.id.0.into(),
                labels: endpoint.labels.to_vec(),
                error: error.clone(),
            }),
        ),
        AgentEvent::AddressUpserted(change) => (AgentEventType::IpcacheUpserted, address(change)),
        AgentEvent::AddressDeleted(change) => (AgentEventType::IpcacheDeleted, address(change)),
    };
    pb::AgentEvent {
        r#type: kind.into(),
        notification: Some(notification),
    }
}

fn policy(change: &PolicyChange) -> Notification {
    Notification::PolicyUpdate(PolicyUpdateNotification {
        labels: change.labels.clone(),
        revision: change.revision,
        rule_count: i64::try_from(change.rules).unwrap_or(i64::MAX),
    })
}

fn endpoint(endpoint: &Endpoint) -> Notification {
    Notification::EndpointUpdate(EndpointUpdateNotification {
        id: endpoint.id.0.into(),
        labels: endpoint.labels.to_vec(),
        error: String::new(),
        pod_name: endpoint.name.clone(),
        namespace: endpoint.namespace.clone(),
    })
}

fn address(change: &AddressChange) -> Notification {
    Notification::IpcacheUpdate(IpCacheNotification {
        cidr: change.prefix.to_string(),
        identity: change.endpoint.identity.0,
        old_identity: change.former.map(|former| former.0.into()),
        host_ip: String::new(),
        old_host_ip: String::new(),
        encrypt_key: 0,
        namespace: change.endpoint.namespace.clone(),
        pod_name: change.endpoint.name.clone(),
    })
}
