//! The node's network: who connects pods, who translates services, sysctls, ports.

use crate::cli::doctor::facts::{Facts, Look, Network, Running, Tables};
use crate::cli::doctor::report::{Finding, Function, State};
use crate::config::{Interface, Uplinks};

/// The share of a table at which it is nearly full, and at which it is full for all that counts.
const CROWDED: u64 = 80;
const FULL: u64 = 95;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let network = &facts.network;
    let mut findings = vec![tools(network), plugin(network), cilium(facts)];
    findings.push(kube_proxy(network));
    findings.extend(legacy(network));
    findings.extend(reverse_path(facts));
    findings.extend(early_demux(facts));
    findings.extend(forwarding(network));
    findings.extend(tracked(network));
    findings.extend(ports(facts));
    findings
}

fn running(facts: &Facts) -> Option<&Running> {
    facts.agent.running.seen()?.as_ref()
}

fn tools(network: &Network) -> Finding {
    const CHECK: &str = "network.tools";
    let missing = &network.missing_tools;
    let has = |tool: &str| !missing.iter().any(|of| of == tool);
    if missing.is_empty() {
        return Finding::ok(CHECK, "ip, nft");
    }
    let found = Finding::ok(CHECK, format!("no {}", missing.join(", ")));
    if has("ip") {
        return found
            .part("service addresses behind netfilter's NAT cannot be proxied")
            .advise("install nftables")
            .on(&[Function::Services, Function::Proxy], State::Part);
    }
    found
        .no("the agent cannot set up the node's network, and does not start")
        .advise("install iproute2 and nftables")
        .on(&Function::OF_PACKETS, State::No)
}

fn plugin(network: &Network) -> Finding {
    const CHECK: &str = "network.cni";
    let veths = || network.interfaces.iter().filter(|of| of.kind == "veth");
    let bridged = veths().filter(|of| of.master.is_some()).count();
    let routed = veths().count() - bridged;
    let pods = match (bridged, routed) {
        (0, 0) => "no pods' interfaces".to_owned(),
        (bridged, 0) => format!("veths: {bridged} on bridges"),
        (0, routed) => format!("veths: {routed} routed"),
        (bridged, routed) => format!("veths: {bridged} on bridges, {routed} routed"),
    };
    match &network.plugins {
        Look::Hidden(how) => Finding {
            found: pods,
            ..Finding::unseen(CHECK, how.clone())
        },
        Look::Seen(plugins) => match plugins.first() {
            // The first by name is what a runtime takes.
            Some(plugin) => {
                let types = plugin.types.join(", ");
                Finding::ok(CHECK, format!("{types} ({}); {pods}", plugin.file))
            }
            None => Finding::ok(CHECK, format!("no plug-in configured; {pods}")),
        },
    }
}

fn cilium(facts: &Facts) -> Finding {
    const CHECK: &str = "network.cilium";
    let is_there = facts
        .network
        .interfaces
        .iter()
        .any(|of| of.name == "cilium_host");
    let policies = &facts.configured.config.policies;
    if !is_there {
        return Finding::ok(CHECK, "not on this node");
    }
    if policies.beside_cilium {
        return Finding::ok(
            CHECK,
            "on this node; both enforce policies (policies.besideCilium: enforce)",
        );
    }
    Finding::ok(CHECK, "on this node")
        .part("it enforces policies: l7d only observes")
        .advise("nothing, or `policies.besideCilium: enforce` to have both enforce them")
        .on(&[Function::Packets, Function::Proxy], State::Part)
}

fn kube_proxy(network: &Network) -> Finding {
    const CHECK: &str = "network.kube-proxy";
    let has_ipvs = network.interfaces.iter().any(|of| of.name == "kube-ipvs0");
    if has_ipvs {
        let is_seen = network
            .sysctls
            .get("ipv4/vs/conntrack")
            .is_some_and(|of| of == "1");
        let found = Finding::ok(CHECK, "IPVS");
        return if is_seen {
            found
        } else {
            found
                .part("netfilter does not know what IPVS translates: flows tell services without backends")
                .advise("sysctl -w net.ipv4.vs.conntrack=1")
                .on(&[Function::Services], State::Part)
        };
    }
    match &network.tables {
        Look::Hidden(how) => Finding::unseen(CHECK, how.clone()),
        Look::Seen(Tables {
            is_kube_proxy_nftables,
            is_kube_proxy_iptables,
            ..
        }) => Finding::ok(
            CHECK,
            match (is_kube_proxy_nftables, is_kube_proxy_iptables) {
                (true, false) => "nftables",
                (false, true) => "iptables",
                (true, true) => {
                    "rules of both nftables and iptables mode: one of them is a remainder"
                }
                (false, false) => "no rules of it",
            },
        ),
    }
}

/// Nothing where nobody has used it.
fn legacy(network: &Network) -> Option<Finding> {
    const CHECK: &str = "network.iptables-legacy";
    let tables = match &network.legacy_tables {
        Look::Hidden(how) => return Some(Finding::unseen(CHECK, how.clone())),
        Look::Seen(tables) if tables.is_empty() => return None,
        Look::Seen(tables) => tables.join(", "),
    };
    Some(
        Finding::ok(CHECK, format!("tables {tables}"))
            .part("what its rules drop is told with the hook, not with the rule; marks that they set are not looked at")
            .advise("iptables-nft in its place (update-alternatives --config iptables), for kube-proxy too")
            .on(&[Function::Drops], State::Part),
    )
}

/// What the filter does with packets that come in by an interface: the stricter of both settings counts
/// (`IN_DEV_RPFILTER` takes the larger one).
fn filter_of(network: &Network, interface: &str) -> Option<u64> {
    let read = |of: &str| {
        let value = network.sysctls.get(&format!("ipv4/conf/{of}/rp_filter"));
        value.and_then(|value| value.parse::<u64>().ok())
    };
    Some(read(interface)?.max(read("all")?))
}

/// Interfaces that redirected packets come in by.
fn hooked(facts: &Facts) -> Vec<String> {
    let config = &facts.configured.config;
    let mut names = vec![config.datapath.portal.clone()];
    match &config.datapath.uplinks {
        Uplinks::Named(uplinks) => names.extend(uplinks.iter().cloned()),
        Uplinks::Found => names.extend(facts.network.uplinks.iter().cloned()),
    }
    for endpoint in &config.endpoints {
        if let Some(Interface::Named(name)) = &endpoint.interface {
            names.push(name.clone());
        }
    }
    names
}

fn reverse_path(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "network.rp-filter";
    let network = &facts.network;
    let names = hooked(facts);
    let filtered: Vec<String> = names
        .into_iter()
        .filter(|name| filter_of(network, name).is_some_and(|value| value > 0))
        .collect();
    let all = network.sysctls.get("ipv4/conf/all/rp_filter")?;
    if running(facts).is_some() {
        if filtered.is_empty() {
            return Some(Finding::ok(CHECK, "0 where the agent's packets pass"));
        }
        return Some(
            Finding::ok(CHECK, format!("not 0 on {}", filtered.join(", ")))
                .no("the kernel drops packets of proxied connections there: they have a client's address, \
                     and come in where the filter does not expect it. The agent has set it to 0, somebody \
                     has set it back")
                .advise(format!(
                    "sysctl -w net.ipv4.conf.all.rp_filter=0{}; find out who sets it (sysctl.d, the plug-in)",
                    filtered.iter().fold(String::new(), |said, name| {
                        said + &format!(" net.ipv4.conf.{name}.rp_filter=0")
                    })
                ))
                .on(&[Function::Proxy, Function::Dns], State::No),
        );
    }
    Some(settable(facts, CHECK, "net.ipv4.conf.all.rp_filter", all))
}

fn early_demux(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "network.early-demux";
    let value = facts.network.sysctls.get("ipv4/tcp_early_demux")?;
    if running(facts).is_some() && value != "0" {
        return Some(
            Finding::ok(CHECK, format!("net.ipv4.tcp_early_demux = {value}"))
                .no("replies that netfilter translates back are dropped: the agent has set it to 0, \
                     somebody has set it back")
                .advise("sysctl -w net.ipv4.tcp_early_demux=0")
                .on(&[Function::Proxy], State::Part),
        );
    }
    Some(settable(facts, CHECK, "net.ipv4.tcp_early_demux", value))
}

/// A sysctl that the agent will set to 0 if it may.
fn settable(facts: &Facts, check: &'static str, name: &str, value: &str) -> Finding {
    let found = Finding::ok(check, format!("{name} = {value}"));
    if value == "0" {
        return found;
    }
    match &facts.network.can_write_sysctls {
        Look::Seen(true) => Finding::ok(check, format!("{name} = {value}; an agent sets it to 0")),
        Look::Seen(false) => found
            .no("it must be 0, and cannot be written here: the agent does not start")
            .advise(format!(
                "mount the node's /proc/sys/net elsewhere and name that folder in datapath.sysctlDir, or \
                 `sysctl -w {name}=0` on the node"
            ))
            .on(&[Function::Packets, Function::Proxy, Function::Dns, Function::Tap], State::No),
        Look::Hidden(how) => Finding::unseen(
            check,
            format!("{name} = {value}; whether an agent can set it to 0 is not known: {how}"),
        ),
    }
}

fn forwarding(network: &Network) -> Option<Finding> {
    const CHECK: &str = "network.forwarding";
    let has_pods = network.interfaces.iter().any(|of| of.kind == "veth");
    let value = network.sysctls.get("ipv4/ip_forward")?;
    let found = Finding::ok(CHECK, format!("net.ipv4.ip_forward = {value}"));
    Some(if value == "0" && has_pods {
        found
            .part("routed pods reach nobody beyond this node, with or without l7d")
            .advise("sysctl -w net.ipv4.ip_forward=1, if pods here are routed")
    } else {
        found
    })
}

/// Netfilter's connections.
fn tracked(network: &Network) -> Option<Finding> {
    const CHECK: &str = "network.conntrack";
    let read = |name: &str| network.sysctls.get(name)?.parse::<u64>().ok();
    let max = read("netfilter/nf_conntrack_max")?;
    let Some(count) = read("netfilter/nf_conntrack_count") else {
        return Some(Finding::ok(CHECK, format!("at most {max} connections")));
    };
    let share = count.saturating_mul(100) / max.max(1);
    let found = Finding::ok(CHECK, format!("{count} of {max} connections"));
    let advice = "raise net.netfilter.nf_conntrack_max";
    Some(match share {
        FULL.. => found
            .no("netfilter's table is full: it drops new connections, l7d's among them")
            .advise(advice)
            .on(&[Function::Proxy, Function::Services], State::Part),
        CROWDED.. => found
            .part("netfilter's table is nearly full: it will drop new connections")
            .advise(advice),
        _ => found,
    })
}

fn ports(facts: &Facts) -> Vec<Finding> {
    let config = &facts.configured.config;
    if running(facts).is_some() {
        return Vec::new();
    }
    let wanted = [
        ("network.api-port", "api.tcp.listen", &config.api.tcp),
        (
            "network.metrics-port",
            "metrics.listen",
            &config.metrics.listen,
        ),
    ];
    let wanted = wanted.into_iter().filter_map(|(check, key, tcp)| {
        let port = tcp.as_ref()?.listen.port();
        Some((check, key, port))
    });
    let judge = |(check, key, port): (&'static str, &str, u16)| {
        let found = Finding::ok(check, format!("{key}: port {port}"));
        if port == 0 || !facts.network.listening.contains(&port) {
            return found;
        }
        found
            .no("somebody else listens there: the agent does not start")
            .advise(format!(
                "`ss -ltnp 'sport = :{port}'` tells who; choose another port for {key}"
            ))
            .on(&[Function::Clients], State::No)
    };
    wanted.map(judge).collect()
}
