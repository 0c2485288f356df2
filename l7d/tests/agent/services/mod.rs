//! Services behind netfilter: flows name the service and who served, as the servers' own logs say.

pub(crate) mod flows;
mod messages;
mod rules;

use std::collections::BTreeMap;

use testbed::{Attach, Host, Process};

use crate::node::{Agent, Node, output};
use flows::{Flow, until};
use rules::{KubeProxy, Service};

const ADDRESSES: [&str; 2] = ["10.96.0.10", "fd00:96::10"];

/// What the configuration tells of the services here.
const SERVICES: &str = "services:\n\
- { name: api, namespace: shop, ips: [10.96.0.10, \"fd00:96::10\"], ports: [ { port: 80, protocol: TCP, nodePort: 30080 } ] }\n\
- { name: dns, namespace: shop, ips: [10.96.0.10, \"fd00:96::10\"], ports: [ { port: 53, protocol: UDP } ] }\n";

/// Takes connections, writes each client's port, and ends them.
pub(crate) const TAKE: &str = r#"
import socket, sys
server = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096)
print("serving", flush=True)
while True:
    connection, peer = server.accept()
    print(peer[1], flush=True)
    connection.close()
"#;

/// Opens connections one after the other, and waits for the end of each.
pub(crate) const CALL: &str = r#"
import socket, sys
for _ in range(int(sys.argv[3])):
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as s:
        s.recv(1)
print("done")
"#;

/// Sends back what comes by datagrams, and writes each client's port.
const ECHO: &str = r#"
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
s.bind(("::", int(sys.argv[1])))
print("serving", flush=True)
while True:
    data, peer = s.recvfrom(100)
    print(peer[1], flush=True)
    s.sendto(data, peer)
"#;

/// Asks by datagrams, each from a socket of its own.
const ASK: &str = r#"
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
for _ in range(int(sys.argv[3])):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect((sys.argv[1], int(sys.argv[2])))
    s.send(b"?")
    s.recv(1)
print("done")
"#;

/// A node with a client, and two pods that serve; services with these backends.
struct Shop {
    node: Node,
}

impl Shop {
    fn new(client: Attach) -> anyhow::Result<Self> {
        let node = Node::with(&[
            ("web", client, "namespace: prod, labels: { app: web }"),
            (
                "api-a",
                Attach::Routed,
                "namespace: shop, labels: { app: api }",
            ),
            (
                "api-b",
                Attach::Routed,
                "namespace: shop, labels: { app: api }",
            ),
        ])?;
        // A pod of another node, which is the outside host here.
        node.configure(&format!(
            "- {{ name: api-far, namespace: shop, labels: {{ app: api }}, ips: [192.0.2.2, \"2001:db8::2\"] }}\n\
             visibility: []\nflows: {{ ring: 65535 }}\n{SERVICES}"
        ))?;
        Ok(Self { node })
    }

    fn pod(&self, name: &str) -> &Host {
        &self.node.pod(name).host
    }

    /// The service of this protocol in both families, with these pods behind it.
    fn services(&self, protocol: &'static str, pods: &[&str]) -> Vec<Service> {
        let (port, behind) = if protocol == "udp" {
            (53, 53)
        } else {
            (80, 8080)
        };
        let backends = |pick: fn(&testbed::Pod) -> &String| {
            let pods = pods.iter().map(|name| self.node.pod(name));
            pods.map(|pod| (pick(pod).clone(), behind)).collect()
        };
        let service = |address, backends| Service {
            protocol,
            address,
            port,
            node_port: (protocol == "tcp").then_some(30_080),
            backends,
        };
        vec![
            service(ADDRESSES[0], backends(|pod| &pod.v4)),
            service(ADDRESSES[1], backends(|pod| &pod.v6)),
        ]
    }

    fn start(&self, proxy: KubeProxy, services: &[Service]) -> anyhow::Result<Agent> {
        proxy.load(&self.node.world.node(), services)?;
        self.node.agent()
    }

    /// Servers in these pods: the ports of their clients stand in their logs.
    fn serve(
        &self,
        script: &str,
        port: u16,
        pods: &[&str],
    ) -> anyhow::Result<Vec<(String, Process)>> {
        let start = |name: &&str| {
            let host = self.pod(name);
            Ok((format!("shop/{name}"), serve(host, script, port)?))
        };
        pods.iter().map(start).collect()
    }
}

pub(crate) fn serve(host: &Host, script: &str, port: u16) -> anyhow::Result<Process> {
    let mut command = host.command("python3");
    command.args(["-c", script, &port.to_string()]);
    let mut process = host.start(&format!("taker{port}"), command)?;
    process.wait_for("serving")?;
    Ok(process)
}

pub(crate) fn call(
    host: &Host,
    script: &str,
    address: &str,
    port: u16,
    count: usize,
) -> anyhow::Result<()> {
    let (port, count) = (port.to_string(), count.to_string());
    let told = output(host, &["python3", "-c", script, address, &port, &count])?;
    anyhow::ensure!(told.contains("done"), "{told}");
    Ok(())
}

/// Who served which client's port, by the servers' own words.
fn logs(servers: &[(String, Process)]) -> BTreeMap<String, Vec<u16>> {
    let ports = |process: &Process| {
        let text = process.output();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    };
    servers
        .iter()
        .map(|(name, process)| (name.clone(), ports(process)))
        .collect()
}

/// The flows of first packets that this client sent to the service's address.
fn asked<'f>(flows: &'f [Flow], address: &str) -> Vec<&'f Flow> {
    flows
        .iter()
        .filter(|flow| flow.is_first() && flow.text("/IP/destination") == address)
        .collect()
}

/// The flows of first packets that arrived at who serves.
fn arrived(flows: &[Flow]) -> Vec<&Flow> {
    flows
        .iter()
        .filter(|flow| {
            flow.is_first()
                && flow.source_port() != 0
                && flow.text("/trace_observation_point") == "TO_ENDPOINT"
                && flow.text("/destination/namespace") == "shop"
        })
        .collect()
}

/// Every flow names who served as that one's log has it.
fn assert_served(flows: &[&Flow], logs: &BTreeMap<String, Vec<u16>>) {
    for flow in flows {
        let backend = flow.extension("backend_pod");
        let log = logs.get(&backend).map_or(&[] as &[u16], Vec::as_slice);
        assert!(log.contains(&flow.source_port()), "{backend}: {flow:?}");
    }
}

#[test]
fn both_sides_of_a_connection_name_the_service_and_who_served() -> anyhow::Result<()> {
    for proxy in KubeProxy::ALL {
        let shop = Shop::new(Attach::Bridged)?;
        let servers = shop.serve(TAKE, 8080, &["api-a", "api-b"])?;
        let _agent = shop.start(proxy, &shop.services("tcp", &["api-a", "api-b"]))?;
        for address in ADDRESSES {
            call(shop.pod("web"), CALL, address, 80, 12)?;
        }
        let flows = until(&shop.node, &["--type", "trace"], |flows| {
            arrived(flows).len() >= 24
        })?;
        let logs = logs(&servers);
        for address in ADDRESSES {
            let asked = asked(&flows, address);
            assert_eq!(asked.len(), 12, "{proxy:?} {address}");
            assert_served(&asked, &logs);
            for flow in asked {
                assert_eq!(flow.service("destination"), "shop/api", "{flow:?}");
                assert_eq!(flow.text("/source/pod_name"), "web");
            }
        }
        for flow in arrived(&flows) {
            assert_eq!(
                flow.service("destination"),
                "shop/api",
                "{proxy:?} {flow:?}"
            );
            assert_eq!(flow.text("/source/pod_name"), "web");
            assert!(
                flow.extension("service_address").ends_with(":80"),
                "{flow:?}"
            );
        }
        let replies: Vec<_> = flows.iter().filter(|flow| flow.is_reply()).collect();
        assert!(replies.len() >= 48, "{}", replies.len());
        for flow in replies {
            assert_eq!(flow.service("source"), "shop/api", "{proxy:?} {flow:?}");
            assert_eq!(flow.text("/destination/pod_name"), "web", "{flow:?}");
        }
        let told = shop.node.observe(&["--all", "--to-service", "shop/api"])?;
        assert!(told.contains(":80 (→ shop/api-"), "{told}");
        assert!(told.contains("-> shop/api-a:8080"), "{told}");
    }
    Ok(())
}

#[test]
fn a_thousand_connections_at_once_name_who_took_them() -> anyhow::Result<()> {
    let shop = Shop::new(Attach::Routed)?;
    let servers = shop.serve(TAKE, 8080, &["api-a", "api-b"])?;
    let _agent = shop.start(
        KubeProxy::Nftables,
        &shop.services("tcp", &["api-a", "api-b"]),
    )?;
    let web = shop.pod("web");
    std::thread::scope(|scope| {
        let callers = [0; 4].map(|_| scope.spawn(|| call(web, CALL, ADDRESSES[0], 80, 250)));
        callers
            .into_iter()
            .try_for_each(|caller| match caller.join() {
                Ok(done) => done,
                Err(_) => anyhow::bail!("a caller panicked"),
            })
    })?;
    let filters = ["--type", "trace", "--tcp-flags", "SYN"];
    let flows = until(&shop.node, &filters, |flows| arrived(flows).len() >= 1000)?;
    let asked = asked(&flows, ADDRESSES[0]);
    assert_eq!((asked.len(), arrived(&flows).len()), (1000, 1000));
    assert_served(&asked, &logs(&servers));
    for flow in arrived(&flows) {
        assert_eq!(flow.service("destination"), "shop/api", "{flow:?}");
    }
    Ok(())
}

#[test]
fn datagrams_to_a_service_name_who_answered() -> anyhow::Result<()> {
    let shop = Shop::new(Attach::Bridged)?;
    let servers = shop.serve(ECHO, 53, &["api-a", "api-b"])?;
    let _agent = shop.start(
        KubeProxy::Nftables,
        &shop.services("udp", &["api-a", "api-b"]),
    )?;
    for address in ADDRESSES {
        call(shop.pod("web"), ASK, address, 53, 10)?;
    }
    let flows = until(&shop.node, &["--type", "trace"], |flows| {
        arrived(flows).len() >= 20
    })?;
    let logs = logs(&servers);
    for address in ADDRESSES {
        let asked = asked(&flows, address);
        assert_eq!(asked.len(), 10, "{address}");
        assert_served(&asked, &logs);
        for flow in asked {
            // Another service has the same address, and another protocol.
            assert_eq!(flow.service("destination"), "shop/dns", "{flow:?}");
        }
    }
    Ok(())
}

#[test]
fn a_pod_that_reaches_itself_by_its_service_is_named_at_both_ends() -> anyhow::Result<()> {
    for proxy in KubeProxy::ALL {
        let shop = Shop::new(Attach::Bridged)?;
        let _server = serve(shop.pod("api-a"), TAKE, 8080)?;
        let _agent = shop.start(proxy, &shop.services("tcp", &["api-a"]))?;
        for address in ADDRESSES {
            call(shop.pod("api-a"), CALL, address, 80, 3)?;
        }
        let flows = until(&shop.node, &["--type", "trace"], |flows| {
            arrived(flows).len() >= 6
        })?;
        for flow in arrived(&flows) {
            assert_eq!(flow.text("/source/pod_name"), "api-a", "{flow:?}");
            assert_eq!(flow.text("/destination/pod_name"), "api-a", "{flow:?}");
            assert_eq!(flow.service("destination"), "shop/api", "{flow:?}");
            let wire = flow.text("/IP/source_xlated");
            assert!(
                !wire.is_empty() && wire != flow.text("/IP/source"),
                "{flow:?}"
            );
        }
        let asked: Vec<_> = ADDRESSES.iter().flat_map(|a| asked(&flows, a)).collect();
        assert_eq!(asked.len(), 6);
        for flow in asked {
            assert_eq!(flow.extension("backend_pod"), "shop/api-a", "{flow:?}");
        }
    }
    Ok(())
}

#[test]
fn a_client_outside_is_named_behind_the_nodes_address_and_port() -> anyhow::Result<()> {
    for proxy in KubeProxy::ALL {
        let shop = Shop::new(Attach::Bridged)?;
        let _server = serve(shop.pod("api-a"), TAKE, 8080)?;
        // Another address of the outside host, which is no pod's.
        let outside = shop.node.world.outside();
        outside.ip("addr add 198.51.100.7/32 dev lo")?;
        shop.node
            .world
            .node()
            .ip("route add 198.51.100.7 via 192.0.2.2")?;
        let _agent = shop.start(proxy, &shop.services("tcp", &["api-a"]))?;
        let script = CALL.replace(
            "int(sys.argv[2])), timeout=5)",
            "int(sys.argv[2])), timeout=5, source_address=('198.51.100.7', 0))",
        );
        call(&outside, &script, "192.0.2.1", 30_080, 3)?;
        let flows = until(&shop.node, &["--type", "trace"], |flows| {
            arrived(flows).len() >= 3
        })?;
        for flow in arrived(&flows) {
            assert_eq!(flow.text("/IP/source"), "198.51.100.7", "{flow:?}");
            assert_eq!(flow.text("/source/labels/0"), "reserved:world", "{flow:?}");
            assert!(!flow.text("/IP/source_xlated").is_empty(), "{flow:?}");
            assert_eq!(flow.service("destination"), "shop/api", "{flow:?}");
            assert_eq!(flow.extension("service_address"), "192.0.2.1:30080");
        }
        let wire = arrived(&flows)
            .first()
            .map(|flow| flow.text("/IP/source_xlated"));
        let wire = wire.unwrap_or_default();
        let found = shop
            .node
            .observe(&["--all", "--snat-ip", &wire, "-o", "jsonpb"])?;
        assert!(found.contains("198.51.100.7"), "{wire}: {found}");
    }
    Ok(())
}

#[test]
fn a_backend_on_another_node_is_named() -> anyhow::Result<()> {
    let shop = Shop::new(Attach::Bridged)?;
    let far = ["192.0.2.2", "2001:db8::2"];
    let mut services = shop.services("tcp", &[]);
    for (service, far) in services.iter_mut().zip(far) {
        service.backends = vec![(far.to_owned(), 8080)];
    }
    let _server = serve(&shop.node.world.outside(), TAKE, 8080)?;
    let _agent = shop.start(KubeProxy::Nftables, &services)?;
    for address in ADDRESSES {
        call(shop.pod("web"), CALL, address, 80, 3)?;
    }
    let all_asked = |flows: &[Flow]| {
        ADDRESSES
            .iter()
            .map(|a| asked(flows, a).len())
            .sum::<usize>()
    };
    let flows = until(&shop.node, &["--type", "trace"], |flows| {
        all_asked(flows) >= 6
    })?;
    for (address, far) in ADDRESSES.iter().zip(far) {
        for flow in asked(&flows, address) {
            assert_eq!(flow.extension("backend_pod"), "shop/api-far", "{flow:?}");
            assert!(flow.extension("backend").contains(far), "{flow:?}");
        }
    }
    Ok(())
}

#[test]
fn what_goes_to_a_backend_directly_is_no_services() -> anyhow::Result<()> {
    let shop = Shop::new(Attach::Bridged)?;
    let _server = serve(shop.pod("api-a"), TAKE, 8080)?;
    let _agent = shop.start(KubeProxy::Nftables, &shop.services("tcp", &["api-a"]))?;
    let direct = shop.node.pod("api-a").v4.clone();
    call(shop.pod("web"), CALL, &direct, 8080, 3)?;
    let flows = until(&shop.node, &["--type", "trace"], |flows| {
        arrived(flows).len() >= 3
    })?;
    for flow in &flows {
        assert_eq!(flow.service("destination"), "", "{flow:?}");
        assert_eq!(flow.extension("backend"), "", "{flow:?}");
    }
    Ok(())
}
