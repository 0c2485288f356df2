//! The filter flags: one table, from which the arguments, their help and their meaning are made.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// Which part of a filter a flag speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The flow's destination.
    Destination,
    /// Either end.
    Either,
    /// The flow as a whole.
    Flow,
    /// The flow's source.
    Source,
}

/// What a flag asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "named as the flags, whose help says what they mean"
)]
pub enum Kind {
    AllNamespaces,
    Cel,
    Cluster,
    Connection,
    Direction,
    DropReason,
    Encrypted(bool),
    Fqdn,
    HttpHeader,
    HttpMethod,
    HttpPath,
    HttpStatus,
    HttpUrl,
    Identity,
    Interface,
    Ip,
    IpTraceId,
    IpVersion,
    Ipv4,
    Ipv6,
    Label,
    Namespace,
    NodeLabel,
    NodeName,
    Not,
    Pod,
    Port,
    Protocol,
    Reply(bool),
    Service,
    SnatIp,
    TcpFlags,
    TraceId,
    Type,
    Uuid,
    Verdict,
    Workload,
}

/// A filter flag.
#[derive(Debug)]
pub struct Flag {
    /// Name, without dashes.
    pub long: &'static str,
    /// One letter that means the same.
    pub short: Option<char>,
    /// Which part of a filter it speaks of.
    pub place: Place,
    /// What it asks for.
    pub kind: Kind,
    /// How help texts call its value; `None` for a flag without.
    pub value: Option<&'static str>,
    /// What it does.
    pub help: &'static str,
}

const fn valued(
    long: &'static str,
    place: Place,
    kind: Kind,
    value: &'static str,
    help: &'static str,
) -> Flag {
    Flag {
        long,
        short: None,
        place,
        kind,
        value: Some(value),
        help,
    }
}

const fn switch(long: &'static str, place: Place, kind: Kind, help: &'static str) -> Flag {
    Flag {
        long,
        short: None,
        place,
        kind,
        value: None,
        help,
    }
}

impl Flag {
    const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    /// The flag as messages show it: `-n, --namespace`.
    pub fn shown(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.long),
            None => format!("--{}", self.long),
        }
    }

    fn arg(&'static self) -> Arg {
        let mut arg = Arg::new(self.long)
            .long(self.long)
            .short(self.short)
            .action(ArgAction::Append)
            .help(self.help)
            .help_heading("Filters");
        match self.value {
            Some(value) => arg = arg.value_name(value),
            None => {
                // `--reply=true` is how some scripts spell it; the value says nothing.
                arg = arg
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
                    .hide_possible_values(true)
                    .value_name("true");
            }
        }
        arg
    }
}

/// All filter flags, by name.
pub static FLAGS: &[Flag] = &[
    switch("all-namespaces", Place::Either, Kind::AllNamespaces, "Flows of pods in any namespace").short('A'),
    valued("cel-expression", Place::Flow, Kind::Cel, "EXPR", "Flows for which the CEL expression over `_flow` is true"),
    valued("cluster", Place::Either, Kind::Cluster, "NAME", "Flows from or to this cluster (`prod-*`)"),
    valued("connection", Place::Flow, Kind::Connection, "ID", "Flows of the connection with this number, the `connection` of a flow's extensions"),
    valued("drop-reason-desc", Place::Flow, Kind::DropReason, "REASON", "Dropped flows with this reason (`POLICY_DENIED`)"),
    switch("encrypted", Place::Flow, Kind::Encrypted(true), "Flows encrypted by the node (WireGuard, IPsec)"),
    valued("fqdn", Place::Either, Kind::Fqdn, "NAME", "Flows from or to this DNS name (`*.example.com`)"),
    switch("from-all-namespaces", Place::Source, Kind::AllNamespaces, "Flows from pods in any namespace"),
    valued("from-cluster", Place::Source, Kind::Cluster, "NAME", "Flows from this cluster"),
    valued("from-fqdn", Place::Source, Kind::Fqdn, "NAME", "Flows from this DNS name"),
    valued("from-identity", Place::Source, Kind::Identity, "ID", "Flows from this security identity"),
    valued("from-ip", Place::Source, Kind::Ip, "IP", "Flows from this address or network"),
    valued("from-label", Place::Source, Kind::Label, "SELECTOR", "Flows from endpoints with these labels"),
    valued("from-namespace", Place::Source, Kind::Namespace, "NAME", "Flows from pods in this namespace"),
    valued("from-pod", Place::Source, Kind::Pod, "POD", "Flows from pods with this name prefix, `[NAMESPACE/]POD`"),
    valued("from-port", Place::Source, Kind::Port, "PORT", "Flows from this port"),
    valued("from-service", Place::Source, Kind::Service, "SERVICE", "Flows from the address of a service with this name prefix"),
    valued("from-workload", Place::Source, Kind::Workload, "WORKLOAD", "Flows from this workload, `[KIND/]NAME` or `KIND/`"),
    valued("http-header", Place::Flow, Kind::HttpHeader, "KEY:VALUE", "HTTP flows with this header"),
    valued("http-method", Place::Flow, Kind::HttpMethod, "METHOD", "HTTP flows with this method"),
    valued("http-path", Place::Flow, Kind::HttpPath, "REGEX", "HTTP flows whose path, without query, matches"),
    valued("http-status", Place::Flow, Kind::HttpStatus, "STATUS", "HTTP responses with this status or prefix (`404`, `5+`)"),
    valued("http-url", Place::Flow, Kind::HttpUrl, "REGEX", "HTTP flows whose URL matches"),
    valued("identity", Place::Either, Kind::Identity, "ID", "Flows from or to this security identity, a number or a reserved name (`host`, `world`)"),
    valued("interface", Place::Flow, Kind::Interface, "NAME", "Flows seen at this network interface"),
    valued("ip", Place::Either, Kind::Ip, "IP", "Flows from or to this address (`10.0.0.1`) or network (`10.0.0.0/8`)"),
    valued("ip-trace-id", Place::Flow, Kind::IpTraceId, "ID", "Flows of packets with this trace number"),
    valued("ip-version", Place::Flow, Kind::IpVersion, "VERSION", "Flows over this IP version: `none`, `v4` or `v6`"),
    switch("ipv4", Place::Flow, Kind::Ipv4, "Flows over IPv4").short('4'),
    switch("ipv6", Place::Flow, Kind::Ipv6, "Flows over IPv6").short('6'),
    valued("label", Place::Either, Kind::Label, "SELECTOR", "Flows from or to endpoints with these labels (`app=web,tier!=db`, `reserved:host`)").short('l'),
    valued("namespace", Place::Either, Kind::Namespace, "NAME", "Flows of pods in this namespace").short('n'),
    valued("node-label", Place::Flow, Kind::NodeLabel, "SELECTOR", "Flows seen on nodes with these labels"),
    valued("node-name", Place::Flow, Kind::NodeName, "NODE", "Flows seen on this node (`node-*`, `CLUSTER/NODE`)"),
    switch("not", Place::Flow, Kind::Not, "Turn the next filter around: flows that match it are left out"),
    switch("not-reply", Place::Flow, Kind::Reply(false), "Flows that are no replies"),
    valued("pod", Place::Either, Kind::Pod, "POD", "Flows from or to pods with this name prefix, `[NAMESPACE/]POD`; without namespace: `default`"),
    valued("port", Place::Either, Kind::Port, "PORT", "Flows from or to this port"),
    valued("protocol", Place::Flow, Kind::Protocol, "PROTOCOL", "Flows of this protocol (`tcp`, `udp`, `icmp`, `http`, `dns`)"),
    switch("reply", Place::Flow, Kind::Reply(true), "Flows that are replies"),
    valued("service", Place::Either, Kind::Service, "SERVICE", "Flows from or to the address of a service with this name prefix, `[NAMESPACE/]SERVICE`"),
    valued("snat-ip", Place::Flow, Kind::SnatIp, "IP", "Flows whose source was translated to this address or network"),
    valued("tcp-flags", Place::Flow, Kind::TcpFlags, "FLAGS", "TCP flows with all of these flags set (`SYN,ACK`)"),
    switch("to-all-namespaces", Place::Destination, Kind::AllNamespaces, "Flows to pods in any namespace"),
    valued("to-cluster", Place::Destination, Kind::Cluster, "NAME", "Flows to this cluster"),
    valued("to-fqdn", Place::Destination, Kind::Fqdn, "NAME", "Flows to this DNS name"),
    valued("to-identity", Place::Destination, Kind::Identity, "ID", "Flows to this security identity"),
    valued("to-ip", Place::Destination, Kind::Ip, "IP", "Flows to this address or network"),
    valued("to-label", Place::Destination, Kind::Label, "SELECTOR", "Flows to endpoints with these labels"),
    valued("to-namespace", Place::Destination, Kind::Namespace, "NAME", "Flows to pods in this namespace"),
    valued("to-pod", Place::Destination, Kind::Pod, "POD", "Flows to pods with this name prefix"),
    valued("to-port", Place::Destination, Kind::Port, "PORT", "Flows to this port"),
    valued("to-service", Place::Destination, Kind::Service, "SERVICE", "Flows to the address of a service with this name prefix"),
    valued("to-workload", Place::Destination, Kind::Workload, "WORKLOAD", "Flows to this workload"),
    valued("trace-id", Place::Flow, Kind::TraceId, "ID", "HTTP flows of this distributed trace"),
    valued("traffic-direction", Place::Flow, Kind::Direction, "DIRECTION", "Flows in this direction, as policy sees it: `ingress` or `egress`"),
    valued("type", Place::Flow, Kind::Type, "TYPE[:SUBTYPE]", "Flows of this kind of event: drop, l7, policy-verdict, trace[:POINT], trace-sock, capture, or a number; points are to-endpoint, from-endpoint, to-proxy, from-proxy, to-host, from-host, to-stack, from-stack, to-network, from-network, to-overlay, from-overlay, to-crypto, from-crypto").short('t'),
    switch("unencrypted", Place::Flow, Kind::Encrypted(false), "Flows not encrypted by the node"),
    valued("uuid", Place::Flow, Kind::Uuid, "UUID", "The flow with this identifier"),
    valued("verdict", Place::Flow, Kind::Verdict, "VERDICT", "Flows with this verdict: FORWARDED, DROPPED, AUDIT, REDIRECTED, ERROR, TRACED, TRANSLATED"),
    valued("workload", Place::Either, Kind::Workload, "WORKLOAD", "Flows from or to this workload, `[KIND/]NAME` or `KIND/`"),
];

/// The filter flags of a command line, in the order they were given: `--not` belongs to the next.
#[derive(Debug, Clone, Default)]
pub struct FilterFlags {
    used: Vec<(&'static Flag, String)>,
}

impl FilterFlags {
    /// Flags and values in their order.
    pub fn used(&self) -> impl Iterator<Item = (&'static Flag, &str)> {
        self.used
            .iter()
            .map(|(flag, value)| (*flag, value.as_str()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.used.is_empty()
    }
}

impl FromArgMatches for FilterFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut used = Vec::new();
        for flag in FLAGS {
            let values = matches.get_many::<String>(flag.long).into_iter().flatten();
            let places = matches.indices_of(flag.long).into_iter().flatten();
            used.extend(
                places
                    .zip(values)
                    .map(|(place, value)| (place, flag, value.clone())),
            );
        }
        used.sort_by_key(|(place, _, _)| *place);
        Ok(Self {
            used: used
                .into_iter()
                .map(|(_, flag, value)| (flag, value))
                .collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for FilterFlags {
    fn augment_args(command: Command) -> Command {
        command.args(FLAGS.iter().map(Flag::arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_flags_once_sorted_and_explained() {
        assert!(FLAGS.is_sorted_by(|a, b| a.long < b.long));
        assert!(
            FLAGS
                .iter()
                .all(|flag| !flag.help.is_empty() && !flag.help.ends_with('.'))
        );
    }
}
