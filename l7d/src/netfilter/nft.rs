//! The table of our own, by the `nft` tool: rules are written by it, and read back as it writes them.

use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use rustix::io::Errno;

use super::watch::{HELD_SECONDS, SELECTED_MAX, Tuple};

/// Name of the table, in each family.
pub(super) const TABLE: &str = "l7d_trace";
/// Where packets go through nftables.
const HOOKS: [&str; 5] = ["prerouting", "input", "forward", "output", "postrouting"];
/// In front of everything that rules are written for.
const PRIORITY: i32 = -500;

/// Why nftables cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The tool is not there, or cannot be run.
    #[error("nft: {0}: install nftables")]
    Tool(std::io::Error),
    /// It refuses.
    #[error("nft: {0}")]
    Refused(String),
    /// What nftables tells cannot be heard.
    #[error("the netlink socket: {0}")]
    Socket(Errno),
}

/// Makes the table. Bridges have rules of their own, where the kernel has them.
pub(super) fn set_up() -> Result<(), Error> {
    run(&["-f", "-"], &table("inet"))?;
    if let Err(error) = run(&["-f", "-"], &table("bridge")) {
        tracing::debug!(%error, "rules of bridges are not found");
    }
    Ok(())
}

/// Tells the table about a tuple, for a while.
pub(super) fn select(tuple: &Tuple) -> Result<(), Error> {
    run(&["-f", "-"], &element("inet", tuple))?;
    // Where there is no such table, that was told.
    let _bridge = run(&["-f", "-"], &element("bridge", tuple));
    Ok(())
}

/// Removes the tables.
pub(super) fn remove() -> Result<(), Error> {
    let bridge = run(&["delete", "table", "bridge", TABLE], "");
    run(&["delete", "table", "inet", TABLE], "")
        .or(bridge)
        .map(drop)
}

/// Removes what an agent has left; says what.
pub fn cleanup() -> Option<String> {
    let is_gone = remove().is_ok();
    is_gone.then(|| format!("nftables table {TABLE}"))
}

/// The text of a rule, as `nft list` writes it.
pub(super) fn rule(family: &str, table: &str, chain: &str, handle: u64) -> Option<String> {
    let words = ["-a", "list", "chain", family, table, chain];
    find(&run(&words, "").ok()?, handle)
}

/// The line of a handle, without it.
fn find(listing: &str, handle: u64) -> Option<String> {
    let end = format!("# handle {handle}");
    let mut lines = listing.lines().map(str::trim);
    let rule = lines.find_map(|line| line.strip_suffix(&end))?.trim();
    (!rule.ends_with('{')).then(|| rule.to_owned())
}

fn table(family: &str) -> String {
    const PORTS: &str = " . inet_proto . inet_service . inet_service";
    const BARE: &str = " . inet_proto";
    let set = |(name, address, rest): (&str, &str, &str)| {
        format!(
            "add set {family} {TABLE} {name} {{ type {address} . {address}{rest}; flags timeout; \
             size {SELECTED_MAX}; }}"
        )
    };
    let rule = |(name, ip, ports): (&str, &str, &str)| {
        format!(
            "add rule {family} {TABLE} select {ip} saddr . {ip} daddr . meta l4proto{ports} @{name} \
             meta nftrace set 1"
        )
    };
    let chain = |hook| {
        format!(
            "add chain {family} {TABLE} {hook} {{ type filter hook {hook} priority {PRIORITY}; }}\n\
             add rule {family} {TABLE} {hook} jump select"
        )
    };
    let sets = [
        ("v4", "ipv4_addr", PORTS),
        ("v6", "ipv6_addr", PORTS),
        ("v4_bare", "ipv4_addr", BARE),
        ("v6_bare", "ipv6_addr", BARE),
    ];
    let ports = " . th sport . th dport";
    let rules = [
        ("v4", "ip", ports),
        ("v6", "ip6", ports),
        ("v4_bare", "ip", ""),
        ("v6_bare", "ip6", ""),
    ];
    let mut lines = vec![format!("add table {family} {TABLE}")];
    lines.extend(sets.map(set));
    lines.push(format!("add chain {family} {TABLE} select"));
    lines.extend(rules.map(rule));
    lines.extend(HOOKS.map(chain));
    lines.push(String::new());
    lines.join("\n")
}

fn element(family: &str, tuple: &Tuple) -> String {
    let Tuple {
        protocol,
        source,
        destination,
    } = tuple;
    let version = match source.ip() {
        IpAddr::V4(_) => "v4",
        IpAddr::V6(_) => "v6",
    };
    let (bare, ports) = if tuple.has_ports() {
        let ports = format!(" . {} . {}", source.port(), destination.port());
        ("", ports)
    } else {
        ("_bare", String::new())
    };
    format!(
        "add element {family} {TABLE} {version}{bare} {{ {} . {} . {protocol}{ports} timeout \
         {HELD_SECONDS}s }}\n",
        source.ip(),
        destination.ip()
    )
}

fn run(words: &[&str], input: &str) -> Result<String, Error> {
    let mut child = Command::new("nft")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Error::Tool)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(Error::Tool)?;
    }
    let output = child.wait_with_output().map_err(Error::Tool)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or_default();
    Err(Error::Refused(first.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_found_by_its_handle() {
        let listing = "table inet filter { # handle 2\n\tchain forward { # handle 7\n\
                       \t\ttype filter hook forward priority filter; policy accept;\n\
                       \t\tip daddr 10.0.0.2 drop # handle 17\n\t}\n}\n";
        assert_eq!(find(listing, 17).as_deref(), Some("ip daddr 10.0.0.2 drop"));
        assert_eq!(find(listing, 7), None);
        assert_eq!(find(listing, 3), None);
    }

    #[test]
    fn elements_name_tuples_with_and_without_ports() {
        let tuple = |protocol, port| Tuple {
            protocol,
            source: ([10, 0, 0, 1], port).into(),
            destination: ([10, 0, 0, 2], 80).into(),
        };
        assert_eq!(
            element("inet", &tuple(6, 4000)),
            "add element inet l7d_trace v4 { 10.0.0.1 . 10.0.0.2 . 6 . 4000 . 80 timeout 10s }\n"
        );
        assert_eq!(
            element("bridge", &tuple(1, 0)),
            "add element bridge l7d_trace v4_bare { 10.0.0.1 . 10.0.0.2 . 1 timeout 10s }\n"
        );
    }
}
