//! Rules of netfilter as kube-proxy writes them, in its iptables and its nftables mode.

use std::fmt::Write as _;

use testbed::Host;

/// Who writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KubeProxy {
    Iptables,
    Nftables,
}

/// A service in one address family.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) protocol: &'static str,
    /// Virtual address; of IPv6 without brackets.
    pub(super) address: &'static str,
    pub(super) port: u16,
    /// Port of the node.
    pub(super) node_port: Option<u16>,
    /// Addresses and port of who serves.
    pub(super) backends: Vec<(String, u16)>,
}

impl Service {
    fn is_ipv6(&self) -> bool {
        self.address.contains(':')
    }
}

/// A backend as DNAT wants it.
fn socket((address, port): &(String, u16)) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

impl KubeProxy {
    pub(super) const ALL: [Self; 2] = [Self::Iptables, Self::Nftables];

    /// Loads the rules of these services.
    pub(super) fn load(self, node: &Host, services: &[Service]) -> anyhow::Result<()> {
        for is_ipv6 in [false, true] {
            let of_family = services.iter().filter(|s| s.is_ipv6() == is_ipv6);
            let services: Vec<&Service> = of_family.collect();
            let script = match self {
                Self::Iptables => iptables(is_ipv6, &services),
                Self::Nftables => nftables(is_ipv6, &services),
            };
            let output = node.output(&["sh", "-ec", &script])?;
            let told = String::from_utf8_lossy(&output.stderr);
            anyhow::ensure!(output.status.success(), "{script}\n{told}");
        }
        Ok(())
    }
}

fn iptables(is_ipv6: bool, services: &[&Service]) -> String {
    let tool = if is_ipv6 {
        "ip6tables-nft -w -t nat"
    } else {
        "iptables-nft -w -t nat"
    };
    let mut script = format!(
        "{tool} -N KUBE-MARK-MASQ\n{tool} -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000\n\
         {tool} -N KUBE-SERVICES\n{tool} -N KUBE-NODEPORTS\n\
         {tool} -A PREROUTING -j KUBE-SERVICES\n{tool} -A OUTPUT -j KUBE-SERVICES\n\
         {tool} -A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE --random-fully\n"
    );
    let mut line = |text: String| {
        // Writing to a string cannot fail.
        let _infallible = writeln!(script, "{tool} {text}");
    };
    for (index, service) in services.iter().enumerate() {
        let (protocol, port, address) = (service.protocol, service.port, service.address);
        line(format!("-N KUBE-SVC-{index}"));
        for (number, backend) in service.backends.iter().enumerate() {
            let left = service.backends.len() - number;
            line(format!("-N KUBE-SEP-{index}-{number}"));
            line(format!(
                "-A KUBE-SEP-{index}-{number} -s {} -j KUBE-MARK-MASQ",
                backend.0
            ));
            line(format!(
                "-A KUBE-SEP-{index}-{number} -p {protocol} -m {protocol} -j DNAT --to-destination {}",
                socket(backend)
            ));
            let share = if left > 1 {
                let share = 1.0 / f64::from(u8::try_from(left).unwrap_or(u8::MAX));
                format!("-m statistic --mode random --probability {share}")
            } else {
                String::new()
            };
            line(format!(
                "-A KUBE-SVC-{index} {share} -j KUBE-SEP-{index}-{number}"
            ));
        }
        line(format!(
            "-A KUBE-SERVICES -d {address} -p {protocol} -m {protocol} --dport {port} -j KUBE-SVC-{index}"
        ));
        if let Some(node_port) = service.node_port {
            let matched = format!("-p {protocol} -m {protocol} --dport {node_port}");
            line(format!("-A KUBE-NODEPORTS {matched} -j KUBE-MARK-MASQ"));
            line(format!("-A KUBE-NODEPORTS {matched} -j KUBE-SVC-{index}"));
        }
    }
    line("-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS".to_owned());
    script
}

fn nftables(is_ipv6: bool, services: &[&Service]) -> String {
    let family = if is_ipv6 { "ip6" } else { "ip" };
    let (mut chains, mut addresses, mut ports) = (String::new(), String::new(), String::new());
    for (index, service) in services.iter().enumerate() {
        let (protocol, port, address) = (service.protocol, service.port, service.address);
        let count = service.backends.len();
        let mut choices = Vec::new();
        for (number, backend) in service.backends.iter().enumerate() {
            choices.push(format!("{number} : goto endpoint-{index}-{number}"));
            let _infallible = write!(
                chains,
                "chain endpoint-{index}-{number} {{\n{family} saddr {} jump mark-for-masquerade\n\
                 meta l4proto {protocol} dnat to {}\n}}\n",
                backend.0,
                socket(backend)
            );
        }
        let _infallible = write!(
            chains,
            "chain service-{index} {{\nnumgen random mod {count} vmap {{ {} }}\n}}\n\
             chain external-{index} {{\njump mark-for-masquerade\ngoto service-{index}\n}}\n",
            choices.join(", ")
        );
        let _infallible = writeln!(
            addresses,
            "{family} daddr {address} {protocol} dport {port} goto service-{index}"
        );
        if let Some(node_port) = service.node_port {
            let _infallible = writeln!(
                ports,
                "fib daddr type local {protocol} dport {node_port} goto external-{index}"
            );
        }
    }
    format!(
        "nft -f - <<'EOF'\ntable {family} kube-proxy {{\n\
         chain mark-for-masquerade {{\nmeta mark set meta mark or 0x4000\n}}\n{chains}\
         chain services {{\n{addresses}{ports}}}\n\
         chain nat-prerouting {{\ntype nat hook prerouting priority dstnat\njump services\n}}\n\
         chain nat-output {{\ntype nat hook output priority -100\njump services\n}}\n\
         chain nat-postrouting {{\ntype nat hook postrouting priority srcnat\n\
         meta mark & 0x4000 == 0 return\nmeta mark set meta mark xor 0x4000\n\
         masquerade fully-random\n}}\n}}\nEOF\n"
    )
}
