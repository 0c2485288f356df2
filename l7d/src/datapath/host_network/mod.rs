//! What the node's network must look like for redirected packets to reach the proxy, and how it is
//! put back.
//!
//! - The portal, a veth pair: packets redirected to its way in pass its hook, which assigns them to
//!   a socket of the proxy.
//! - A rule and a table: whatever comes in by the portal is delivered locally, whoever it is for.
//! - Sysctls: no reverse-path filter where such packets pass, no early demultiplexing (a reply that
//!   netfilter translates back would be matched to the proxy's socket and then dropped when it is
//!   forwarded).
//! - Two netfilter rules: connections of the proxy with both ends inside are not tracked, since the
//!   client's own, translated connection has the same addresses.
//!
//! iproute2 and nftables are run for this: it happens at start and stop, never per packet.

mod links;
mod sysctls;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(super) use links::interface_name;
pub use links::{interface_addresses, interface_index};
use sysctls::Sysctls;

use crate::config::Datapath as Settings;

/// What can go wrong with the node's network.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tool is missing or cannot be run.
    #[error("{tool} cannot be run: {cause}; install iproute2")]
    Tool {
        /// Its name.
        tool: &'static str,
        /// Why.
        cause: std::io::Error,
    },
    /// A tool refused.
    #[error("`{command}` failed: {message}")]
    Refused {
        /// What was run.
        command: String,
        /// What it said.
        message: String,
    },
    /// A sysctl cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Sysctl {
        /// Its file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A sysctl cannot be written here, as in a container that is not privileged.
    #[error(
        "{name} is {before} and must be {value}, but cannot be written here ({cause}): mount the \
         node's /proc/sys/net elsewhere and name that folder in datapath.sysctlDir, or run \
         `sysctl -w {name}={value}` on the node before the agent starts"
    )]
    SysctlClosed {
        /// Its name.
        name: String,
        /// What it must be.
        value: String,
        /// What it is.
        before: String,
        /// Why it cannot be written.
        cause: std::io::Error,
    },
    /// The file that remembers former values cannot be used.
    #[error("{}: {cause}; it remembers the node's former settings", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Marks that others use.
    #[error(
        "datapath.marks.{name}: {value:#x} uses bits of {owner}; choose others, or set allowReserved if that is not here"
    )]
    ReservedMark {
        /// Which mark.
        name: &'static str,
        /// Its value.
        value: u32,
        /// Who uses them.
        owner: &'static str,
    },
    /// Marks that make no sense together.
    #[error(
        "datapath.marks: reply, upstream and upstreamLocal must differ, be non-zero and lie within mask {mask:#x}"
    )]
    Marks {
        /// The mask.
        mask: u32,
    },
    /// An interface is not there.
    #[error("interface {0} does not exist")]
    NoInterface(String),
}

/// Mark bits that others are known to use.
const RESERVED_MARKS: [(u32, &str); 4] = [
    (0x4000 | 0x8000, "kube-proxy"),
    (0xffff_0000, "Calico"),
    (0x0f00, "Cilium"),
    (0x0080, "the AWS VPC CNI"),
];

const NFT_TABLE: &str = "l7d";

/// The node's network as we have changed it. Dropping it changes nothing: redirected connections
/// outlive the process. [`cleanup`] puts everything back.
#[derive(Debug)]
pub struct HostNetwork {
    sysctls: Sysctls,
    portal: String,
    portal_index: u32,
    limitations: Vec<String>,
}

impl HostNetwork {
    /// Makes the portal, the rules, the routes and the sysctls, adopting what is there already.
    /// `state` is the file that remembers former values.
    pub fn set_up(settings: &Settings, state: &Path) -> Result<Self, Error> {
        check_marks(settings)?;
        let mut sysctls = Sysctls::open(&settings.sysctl_dir, state)?;
        let portal = &settings.portal;
        if interface_index(portal).is_err() {
            let peer = peer_name(portal);
            ip(&["link", "add", portal, "type", "veth", "peer", "name", &peer])?;
            ip(&["link", "set", &peer, "up"])?;
        }
        ip(&["link", "set", portal, "up"])?;
        let portal_index = interface_index(portal)?;
        sysctls.pass_anything(portal)?;
        // Packets of this host's own processes come back in by the portal with the host's address.
        sysctls.switch_on(portal, "accept_local")?;
        sysctls.set_if_nonzero("ipv4/conf/all/rp_filter")?;
        sysctls.set_if_nonzero("ipv4/tcp_early_demux")?;
        route_into_proxy("-4", settings)?;
        if super::features::has_ipv6() {
            route_into_proxy("-6", settings)?;
        }
        let limitations: Vec<String> = untrack(settings).into_iter().collect();
        for limitation in &limitations {
            tracing::warn!("{limitation}");
        }
        Ok(Self {
            sysctls,
            portal: portal.clone(),
            portal_index,
            limitations,
        })
    }

    /// Interface index of the portal.
    pub fn portal_index(&self) -> u32 {
        self.portal_index
    }

    /// Name of the portal.
    pub fn portal(&self) -> &str {
        &self.portal
    }

    /// What does not work here, and why.
    pub fn limitations(&self) -> &[String] {
        &self.limitations
    }

    /// Prepares a pod's interface or an uplink.
    pub fn prepare_interface(&mut self, name: &str) -> Result<(), Error> {
        self.sysctls.pass_anything(name)
    }
}

fn peer_name(portal: &str) -> String {
    format!("{portal}p")
}

/// Refuses marks that would confuse others, or ourselves.
///
/// # Errors
/// Which mark, and whose it is.
pub fn check_marks(settings: &Settings) -> Result<(), Error> {
    let marks = &settings.marks;
    let ours = [
        ("reply", marks.reply),
        ("upstream", marks.upstream),
        ("upstreamLocal", marks.upstream_local),
    ];
    let are_distinct = marks.reply != marks.upstream
        && marks.reply != marks.upstream_local
        && marks.upstream != marks.upstream_local;
    let are_within = ours
        .iter()
        .all(|(_, mark)| *mark != 0 && mark & !marks.mask == 0);
    if !are_distinct || !are_within {
        return Err(Error::Marks { mask: marks.mask });
    }
    if marks.allow_reserved {
        return Ok(());
    }
    for (name, value) in ours.into_iter().chain([("mask", marks.mask)]) {
        if let Some((_, owner)) = RESERVED_MARKS.iter().find(|(bits, _)| value & bits != 0) {
            return Err(Error::ReservedMark { name, value, owner });
        }
    }
    Ok(())
}

/// What comes in by the portal is for us.
fn route_into_proxy(family: &str, settings: &Settings) -> Result<(), Error> {
    let table = settings.table.to_string();
    let priority = settings.rule_priority.to_string();
    let rules = run(
        "ip",
        &[family, "rule", "show", "iif", &settings.portal],
        None,
    )?;
    if String::from_utf8_lossy(&rules.stdout).trim().is_empty() {
        ip(&[
            family,
            "rule",
            "add",
            "iif",
            &settings.portal,
            "lookup",
            &table,
            "priority",
            &priority,
        ])?;
    }
    ip(&[
        family, "route", "replace", "local", "default", "dev", "lo", "table", &table,
    ])
}

/// Keeps netfilter from tracking the proxy's connections inside the cluster; `Some` says why not.
fn untrack(settings: &Settings) -> Option<String> {
    let rules = format!(
        "table inet {NFT_TABLE}\n\
         delete table inet {NFT_TABLE}\n\
         table inet {NFT_TABLE} {{\n\
         chain prerouting {{\ntype filter hook prerouting priority -310;\n\
         iifname \"{portal}\" notrack\n}}\n\
         chain output {{\ntype filter hook output priority -310;\n\
         meta mark & {mask:#x} == {local:#x} notrack\n\
         meta mark & {mask:#x} == {world:#x} ct original zone set {zone}\n}}\n\
         }}\n",
        portal = settings.portal,
        mask = settings.marks.mask,
        local = settings.marks.upstream_local,
        world = settings.marks.upstream,
        zone = settings.table,
    );
    let failure = |cause: String| {
        format!(
            "service addresses behind netfilter's NAT cannot be proxied: {cause}; \
             install nftables"
        )
    };
    match run("nft", &["-f", "-"], Some(&rules)) {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(failure(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )),
        Err(error) => Some(failure(error.to_string())),
    }
}

/// Puts the node's network back as it was and says what was removed. Works without a state file
/// and can be repeated.
pub fn cleanup(settings: &Settings, state: &Path) -> Result<Vec<String>, Error> {
    let mut removed = Vec::new();
    for family in ["-4", "-6"] {
        let rules = run(
            "ip",
            &[family, "rule", "show", "iif", &settings.portal],
            None,
        )?;
        let count = String::from_utf8_lossy(&rules.stdout).lines().count();
        for _ in 0..count {
            ip(&[family, "rule", "del", "iif", &settings.portal])?;
            removed.push(format!("rule {family} iif {}", settings.portal));
        }
        let table = settings.table.to_string();
        let routes = run("ip", &[family, "route", "show", "table", &table], None)?;
        if !String::from_utf8_lossy(&routes.stdout).trim().is_empty() {
            ip(&[family, "route", "flush", "table", &table])?;
            removed.push(format!("routes {family} of table {table}"));
        }
    }
    let table = run("nft", &["delete", "table", "inet", NFT_TABLE], None);
    if table.is_ok_and(|output| output.status.success()) {
        removed.push(format!("nftables table inet {NFT_TABLE}"));
    }
    let mut sysctls = Sysctls::open(&settings.sysctl_dir, state)?;
    if interface_index(&settings.portal).is_ok() {
        ip(&["link", "del", &settings.portal])?;
        removed.push(format!("interface {}", settings.portal));
    }
    removed.extend(sysctls.restore()?);
    Ok(removed)
}

fn ip(arguments: &[&str]) -> Result<(), Error> {
    let output = run("ip", arguments, None)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Refused {
        command: format!("ip {}", arguments.join(" ")),
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// Runs a tool, whatever its exit code.
pub(super) fn run(
    tool: &'static str,
    arguments: &[&str],
    input: Option<&str>,
) -> Result<Output, Error> {
    let fault = |cause| Error::Tool { tool, cause };
    let mut child = Command::new(tool)
        .args(arguments)
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(fault)?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input.as_bytes()).map_err(fault)?;
    }
    child.wait_with_output().map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_marks_of_others_by_name() {
        let mut settings = Settings::default();
        assert!(check_marks(&settings).is_ok());
        settings.marks.mask = 0xf000;
        settings.marks.reply = 0x4000;
        let error = check_marks(&settings).expect_err("kube-proxy's bit");
        assert!(error.to_string().contains("kube-proxy"), "{error}");
        settings.marks.allow_reserved = true;
        assert!(check_marks(&settings).is_ok());
    }

    #[test]
    fn refuses_marks_that_cannot_be_told_apart() {
        let mut settings = Settings::default();
        settings.marks.reply = settings.marks.upstream;
        assert!(matches!(check_marks(&settings), Err(Error::Marks { .. })));
    }
}
