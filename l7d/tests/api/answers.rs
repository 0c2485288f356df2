//! Everything else that is asked: events, status, nodes, namespaces, health, reflection.

use l7d::clock::Timestamp;
use l7d::record::AgentEvent;
use proto::flow::AgentEventType;
use proto::observer::{
    GetAgentEventsRequest, GetDebugEventsRequest, GetNamespacesRequest, GetNodesRequest,
    ServerStatusRequest,
};
use proto::relay::NodeState;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::served::{Served, run};

fn started(seconds: u64) -> AgentEvent {
    AgentEvent::Started {
        at: Timestamp(seconds * 1_000_000_000),
    }
}

#[test]
fn agent_events_come_as_they_are_told() {
    let served = Served::new(7);
    served.events.tell(Timestamp(1), [started(1), started(2)]);
    run(async {
        let request = GetAgentEventsRequest {
            number: 1,
            follow: true,
            ..GetAgentEventsRequest::default()
        };
        let mut client = served.observer().await;
        let mut stream = client.get_agent_events(request).await.unwrap().into_inner();
        let mut next = async || {
            let response = stream.message().await.unwrap().unwrap();
            assert_eq!(response.node_name, "n1");
            let event = response.agent_event.unwrap();
            assert_eq!(event.r#type(), AgentEventType::AgentStarted);
            let Some(proto::flow::agent_event::Notification::AgentStart(start)) =
                event.notification
            else {
                panic!("no start");
            };
            (response.time.unwrap().nanos, start.time.unwrap().seconds)
        };
        assert_eq!(next().await, (1, 2));
        served.events.tell(Timestamp(5), [started(3)]);
        assert_eq!(next().await, (5, 3));
        let request = GetAgentEventsRequest {
            first: true,
            follow: true,
            ..GetAgentEventsRequest::default()
        };
        let status = client.get_agent_events(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let status = client
            .get_debug_events(GetDebugEventsRequest::default())
            .await;
        assert_eq!(status.unwrap_err().code(), Code::Unimplemented);
    });
}

#[test]
fn a_status_counts_flows_and_their_rate() {
    let served = Served::new(7);
    served.record(1..=10);
    let status = run(async {
        let mut client = served.observer().await;
        let status = client.server_status(ServerStatusRequest {}).await;
        status.unwrap().into_inner()
    });
    assert_eq!(
        (status.num_flows, status.max_flows, status.seen_flows),
        (7, 7, 10)
    );
    assert!(
        status.uptime_ns > 0 && status.flows_rate > 0.0,
        "{status:?}"
    );
    assert!(status.version.starts_with("l7d v"), "{status:?}");
    // Wrappers that are not there say that this is one agent.
    assert!(status.num_connected_nodes.is_none() && status.num_unavailable_nodes.is_none());
}

#[test]
fn an_agent_is_a_node_and_knows_namespaces_that_its_ring_has_forgotten() {
    let served = Served::new(1);
    served.record([1]);
    run(async {
        let mut client = served.observer().await;
        let nodes = client
            .get_nodes(GetNodesRequest {})
            .await
            .unwrap()
            .into_inner()
            .nodes;
        assert_eq!(nodes.len(), 1);
        assert_eq!(
            (nodes[0].name.as_str(), nodes[0].address.as_str()),
            ("n1", "192.0.2.1:4244")
        );
        assert_eq!(nodes[0].state(), NodeState::NodeConnected);
        let answer = client
            .get_namespaces(GetNamespacesRequest {})
            .await
            .unwrap();
        let namespaces = answer.into_inner().namespaces;
        assert_eq!(namespaces.len(), 1);
        assert_eq!(
            (
                namespaces[0].cluster.as_str(),
                namespaces[0].namespace.as_str()
            ),
            ("default", "shop")
        );
    });
}

#[test]
fn health_is_told_under_the_name_that_stock_clients_ask_for() {
    let served = Served::new(7);
    run(async {
        let mut client = HealthClient::new(served.connect().await);
        let mut check = async |service: &str| {
            let service = service.to_owned();
            client.check(HealthCheckRequest { service }).await
        };
        let status = check("hubble.server.Observer")
            .await
            .unwrap()
            .into_inner()
            .status();
        assert_eq!(status, ServingStatus::Serving);
        assert_eq!(check("nobody").await.unwrap_err().code(), Code::NotFound);
    });
}

#[test]
fn reflection_lists_the_services() {
    let served = Served::new(7);
    run(async {
        let mut client = ServerReflectionClient::new(served.connect().await);
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let answer = client
            .server_reflection_info(tokio_stream::once(request))
            .await
            .unwrap();
        let response = answer.into_inner().message().await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = response.message_response else {
            panic!("no list");
        };
        let names: Vec<String> = list
            .service
            .into_iter()
            .map(|service| service.name)
            .collect();
        assert!(names.contains(&"observer.Observer".to_owned()), "{names:?}");
        assert!(names.contains(&"peer.Peer".to_owned()), "{names:?}");
    });
}
