//! Metrics under the names that Retina has for them.

/// Which of them there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retina {
    /// Those of the node (its basic mode).
    pub node: bool,
    /// Those of pods (its advanced mode).
    pub pods: Vec<RetinaMetric>,
    /// Labels of both ends; else those of the pod of this node alone.
    pub has_remote_context: bool,
    /// When not empty, only pods of these namespaces count.
    pub include: Vec<String>,
    /// Pods of these namespaces do not count.
    pub exclude: Vec<String>,
}

/// A metric of pods: `contextOptions` of Retina's `MetricsConfiguration`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetinaMetric {
    /// What is counted.
    pub kind: RetinaKind,
    /// Labels of the sender, or of the pod.
    pub source: Vec<RetinaLabel>,
    /// Labels of the receiver.
    pub destination: Vec<RetinaLabel>,
    /// Whether a label tells replies apart.
    pub has_is_reply: bool,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is called what its metric is called")]
pub enum RetinaKind {
    DnsRequestCount,
    DnsResponseCount,
    DropBytes,
    DropCount,
    ForwardBytes,
    ForwardCount,
    NodeApiserverHandshakeLatency,
    NodeApiserverLatency,
    NodeApiserverNoResponse,
    TcpFlagGauges,
    TcpRetransmissionCount,
}

/// What a label says of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is called what its label is called")]
pub enum RetinaLabel {
    Ip,
    Namespace,
    Podname,
    Port,
    Service,
    /// `workload_kind` and `workload_name`.
    Workload,
}

impl RetinaKind {
    /// Names, as Retina spells them.
    pub const NAMES: [(&'static str, Self); 11] = [
        ("dns_request_count", Self::DnsRequestCount),
        ("dns_response_count", Self::DnsResponseCount),
        ("drop_bytes", Self::DropBytes),
        ("drop_count", Self::DropCount),
        ("forward_bytes", Self::ForwardBytes),
        ("forward_count", Self::ForwardCount),
        (
            "node_apiserver_handshake_latency",
            Self::NodeApiserverHandshakeLatency,
        ),
        ("node_apiserver_latency", Self::NodeApiserverLatency),
        ("node_apiserver_no_response", Self::NodeApiserverNoResponse),
        ("tcp_flag_gauges", Self::TcpFlagGauges),
        ("tcp_retransmission_count", Self::TcpRetransmissionCount),
    ];
}

impl RetinaLabel {
    /// Names, as Retina spells them.
    pub const NAMES: [(&'static str, Self); 7] = [
        ("ip", Self::Ip),
        ("namespace", Self::Namespace),
        ("pod", Self::Podname),
        ("podname", Self::Podname),
        ("port", Self::Port),
        ("service", Self::Service),
        ("workload", Self::Workload),
    ];
}
