//! What becomes of real packets is what the words of the policies say of them.
//!
//! For each set of policies, packets go between pods, the node and the outside, all at once. One that
//! arrives is answered; one that does not is told as dropped. So nothing is waited for in vain.

mod packets;

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::Context as _;
use policy_l7::Direction;
use properties::policy::choices::Choices;
use properties::policy::drawn::{self, Vocabulary};
use properties::policy::reference::{self, Answer, Policies, Question, Setting};
use properties::policy::words::{self, Object};
use properties::policy::world::{End, Label, Outside, Pod, World};
use testbed::Attach;

use crate::node::{Agent, Node};
use packets::{Drops, Probe, Spot, settle};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ECHO_REQUEST: u16 = 8;
/// Servers are on these.
const TCP_PORTS: [u16; 3] = [80, 81, 8080];
const UDP_PORTS: [u16; 2] = [80, 8080];

/// Blocks and ports that tell the ends apart.
const VOCABULARY: Vocabulary<'static> = Vocabulary {
    blocks: &[
        ("0.0.0.0/0", &["192.0.2.0/25", "10.0.0.0/8"]),
        ("192.0.2.0/24", &["192.0.2.2/32", "192.0.2.128/25"]),
        ("10.244.0.0/16", &["10.244.1.0/24"]),
        ("2001:db8::/32", &["2001:db8::/64"]),
    ],
    http_ports: &TCP_PORTS,
    ranges: &[(80, 90), (81, 8080), (1, 65535)],
    has_requests: false,
    has_surroundings: false,
};

/// Pods: name, how it is connected, namespace, labels and named ports.
type Told = (
    &'static str,
    Attach,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [(&'static str, u16)],
);
const PODS: [Told; 4] = [
    (
        "a",
        Attach::Bridged,
        "red",
        &[("app", "web"), ("tier", "front")],
        &[("http", 80)],
    ),
    ("b", Attach::Bridged, "red", &[("app", "db")], &[]),
    (
        "c",
        Attach::Routed,
        "blue",
        &[("app", "web")],
        &[("http", 8080)],
    ),
    ("d", Attach::Bridged, "blue", &[("tier", "back")], &[]),
];
const TEAMS: [(&str, &str); 2] = [("red", "one"), ("blue", "two")];

/// The world as the reference knows it.
fn world() -> World {
    let pods = PODS.map(|(name, _, namespace, labels, ports)| {
        let team = TEAMS.iter().find(|(of, _)| *of == namespace);
        let of_namespace = [
            ("io.kubernetes.pod.namespace", namespace),
            (
                "io.cilium.k8s.namespace.labels.team",
                team.map_or("", |(_, team)| team),
            ),
        ];
        let labels = labels.iter().chain(&of_namespace);
        Pod {
            name: name.to_owned(),
            labels: labels.map(|(key, value)| Label::new(key, value)).collect(),
            named_ports: ports
                .iter()
                .map(|(name, port)| ((*name).to_owned(), *port))
                .collect(),
            is_here: true,
        }
    });
    let outside = [
        IpAddr::from([192, 0, 2, 2]),
        IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 2]),
    ];
    let outside = outside.map(|address| Outside {
        address,
        names: Vec::new(),
    });
    World {
        pods: pods.into(),
        outside: outside.into(),
        ..World::default()
    }
}

fn node() -> anyhow::Result<Node> {
    let told = PODS.map(|(_, _, namespace, labels, ports)| {
        let pairs = |pairs: &[(&str, String)]| {
            let pairs = pairs.iter().map(|(key, value)| format!("{key}: {value}"));
            pairs.collect::<Vec<_>>().join(", ")
        };
        let labels: Vec<_> = labels
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()))
            .collect();
        let ports: Vec<_> = ports
            .iter()
            .map(|(name, port)| (*name, port.to_string()))
            .collect();
        format!(
            "namespace: {namespace}, labels: {{ {} }}, namedPorts: {{ {} }}",
            pairs(&labels),
            pairs(&ports)
        )
    });
    let pods = PODS.iter().zip(&told);
    let pods: Vec<_> = pods
        .map(|((name, attach, ..), told)| (*name, *attach, told.as_str()))
        .collect();
    let node = Node::with(&pods)?;
    let teams =
        TEAMS.map(|(name, team)| format!("- {{ name: {name}, labels: {{ team: {team} }} }}\n"));
    node.configure(&format!("namespaces:\n{}", teams.concat()))?;
    Ok(node)
}

fn spots(node: &Node) -> anyhow::Result<Vec<Spot>> {
    let mut spots = Vec::new();
    for (position, pod) in node.pods.iter().enumerate() {
        let addresses = [pod.v4.as_str(), pod.v6.as_str()];
        spots.push(Spot::new(
            &pod.name,
            pod.host.clone(),
            &addresses,
            Some(position),
        )?);
    }
    let own = ["10.244.1.1", "fd00:244:1::1"];
    spots.push(Spot::new("node", node.world.node(), &own, None)?);
    let outside = ["192.0.2.2", "2001:db8::2"];
    spots.push(Spot::new("outside", node.world.outside(), &outside, None)?);
    Ok(spots)
}

/// Whether both ends' policies let it pass; the node reaches its pods whatever they say.
fn passes<'w>(
    world: &'w World,
    objects: &[Object],
    [from, to]: [End<'w>; 2],
    protocol: u8,
    port: u16,
) -> bool {
    let setting = Setting::default();
    let lets = |own: End<'w>, other: End<'w>, direction| {
        let End::Pod(subject) = own else {
            return true;
        };
        if direction == Direction::Ingress && matches!(other, End::Reserved("host")) {
            return true;
        }
        let question = Question {
            subject,
            direction,
            other,
            protocol,
            port,
        };
        let policies = Policies::in_force(objects, &setting, subject);
        let answer = reference::connection(world, &policies, &question);
        !matches!(answer, Answer::Refuse(_))
    };
    lets(from, to, Direction::Egress) && lets(to, from, Direction::Ingress)
}

/// From whom, to whom, at which address, protocol and port: whether it passes.
type Expected<'e> = &'e dyn Fn(&Spot, &Spot, IpAddr, u8, u16) -> anyhow::Result<bool>;

/// A packet of each kind from everybody to everybody.
fn send_all(spots: &[Spot], expected: Expected<'_>) -> anyhow::Result<Vec<Probe>> {
    let of_tcp = TCP_PORTS.map(|port| (TCP, port));
    let of_udp = UDP_PORTS.map(|port| (UDP, port));
    let mut probes = Vec::new();
    for from in spots {
        for to in spots {
            // Nothing of a pod is on that way, or nothing at all.
            if from.name == to.name || from.pod.or(to.pod).is_none() {
                continue;
            }
            for address in &to.addresses {
                let echo = address.is_ipv4().then_some((ICMP, ECHO_REQUEST));
                for (protocol, port) in of_tcp.into_iter().chain(of_udp).chain(echo) {
                    let (socket, key) = Probe::send(from, *address, protocol, port)?;
                    probes.push(Probe {
                        told: format!("{} → {} {address}, {protocol}/{port}", from.name, to.name),
                        socket,
                        protocol,
                        key,
                        passes: expected(from, to, *address, protocol, port)?,
                        outcome: None,
                    });
                }
            }
        }
    }
    Ok(probes)
}

/// Bytes that are the same each time.
fn seeded(seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..400).map(next).collect()
}

/// What the reference says of policies.
fn by_words<'o>(
    world: &'o World,
    objects: &'o [Object],
) -> impl Fn(&Spot, &Spot, IpAddr, u8, u16) -> anyhow::Result<bool> + 'o {
    |from, to, address, protocol, port| {
        let own = from.addresses.iter();
        let own = own.copied().find(|own| own.is_ipv4() == address.is_ipv4());
        let own = own.context("an address of each kind")?;
        let ends = [from.end(world, own), to.end(world, address)];
        Ok(passes(world, objects, ends, protocol, port))
    }
}

/// A node with an agent, and what became of packets on it.
struct Range {
    node: Node,
    agent: Agent,
    spots: Vec<Spot>,
    drops: Drops,
    passed: usize,
    refused: usize,
}

impl Range {
    fn new() -> anyhow::Result<Self> {
        let node = node()?;
        let agent = node.agent()?;
        let observer = node.follow_only(&["--verdict", "DROPPED", "-o", "json"])?;
        Ok(Self {
            spots: spots(&node)?,
            node,
            agent,
            drops: Drops {
                observer,
                read: 0,
                keys: BTreeSet::new(),
            },
            passed: 0,
            refused: 0,
        })
    }

    fn apply(&mut self, policies: &str) -> anyhow::Result<()> {
        let log = self.agent.process.output();
        let applied = log.matches("policies applied").count();
        self.node.policy(policies)?;
        let agent = &mut self.agent.process;
        agent.wait_for_count("policies applied", applied + 1)
    }

    /// Puts policies in force and asserts what becomes of packets.
    fn check(&mut self, policies: &str, expected: Expected<'_>) -> anyhow::Result<()> {
        self.apply(policies)?;
        let mut probes = send_all(&self.spots, expected)?;
        settle(&mut probes, &self.spots, &mut self.drops)?;
        let wrong: Vec<String> = probes
            .iter()
            .filter(|probe| probe.outcome != Some(probe.passes))
            .map(|probe| format!("{}: {:?}", probe.told, probe.outcome))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}\n{policies}");
        let passed = probes.iter().filter(|probe| probe.passes).count();
        self.passed += passed;
        self.refused += probes.len() - passed;
        Ok(())
    }
}

/// Requests of neighbours are judged; one of them is denied a port that all are allowed; of the
/// outside only addresses of one kind may come, and none may ping.
const BY_HAND: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: by-hand, namespace: red }
spec:
  endpointSelector: { matchLabels: { app: web } }
  ingress:
  - fromEndpoints: [ {} ]
    toPorts: [ { ports: [ { port: http, protocol: TCP } ], rules: { http: [ { method: GET } ] } } ]
  - fromEndpoints: [ {} ]
    toPorts: [ { ports: [ { port: "81", endPort: 8080, protocol: ANY } ] } ]
  - fromCIDR: [ 192.0.2.0/24 ]
  ingressDeny:
  - fromEndpoints: [ { matchLabels: { app: db } } ]
    toPorts: [ { ports: [ { port: "81" } ] } ]
  - fromEntities: [ world ]
    icmps: [ { fields: [ { type: EchoRequest } ] } ]
"#;

#[test]
fn real_packets_fare_as_the_words_of_the_policies_say() -> anyhow::Result<()> {
    let mut range = Range::new()?;
    range.check(BY_HAND, &|from, to, address, protocol, port| {
        Ok(match (to.name.as_str(), from.name.as_str()) {
            ("a", "b") => (protocol, port) == (TCP, 80) || port == 8080,
            ("a", "outside") => address.is_ipv4() && protocol != ICMP,
            ("a", from) => from == "node",
            _ => true,
        })
    })?;
    let world = world();
    for seed in 0..12 {
        let objects = drawn::objects(&mut Choices::new(&seeded(seed)), &VOCABULARY);
        range.check(&words::yaml(&objects), &by_words(&world, &objects))?;
    }
    let Range {
        passed, refused, ..
    } = range;
    assert!(
        passed > 500 && refused > 500,
        "{passed} passed, {refused} were refused"
    );
    Ok(())
}

#[test]
fn a_denied_datagram_does_not_arrive_in_fragments_either() -> anyhow::Result<()> {
    let mut range = Range::new()?;
    range.apply(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: { name: one-port, namespace: red }\n\
         spec:\n  endpointSelector: { matchLabels: { app: web } }\n  ingress:\n  \
         - toPorts: [ { ports: [ { port: \"80\", protocol: UDP } ] } ]\n",
    )?;
    let [a, b, ..] = range.spots.as_slice() else {
        anyhow::bail!("two pods");
    };
    let [allowed, denied] = a.datagrams.as_slice() else {
        anyhow::bail!("a socket for each port");
    };
    allowed.set_nonblocking(false)?;
    allowed.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
    let mut buffer = [0; 5000];
    for (any, address) in ["0.0.0.0:0", "[::]:0"].into_iter().zip(&a.addresses) {
        let socket = b.host.inside(|| Ok(std::net::UdpSocket::bind(any)?))?;
        // What comes first by the same way would be there first.
        for port in [8080, 80] {
            socket.send_to(&[7; 4000], (*address, port))?;
        }
        assert_eq!(allowed.recv(&mut buffer)?, 4000, "{address}");
        assert!(denied.recv(&mut buffer).is_err(), "{address}");
    }
    Ok(())
}
